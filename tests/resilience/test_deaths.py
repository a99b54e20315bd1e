"""What a run says of a data worker that was killed and of a rank that is gone: real workers, real words."""

import os
import signal
from typing import Any

import pytest
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

from paragon_plugin.errors import OptionError, RunError
from paragon_plugin.resilience import deaths, ranks
from paragon_plugin.resilience.deaths import death_behind

posix = pytest.mark.skipif(os.name != "posix", reason="kills processes as POSIX does")


class Fatal(Dataset[int]):
    """Ends the process that asks for its second item."""

    def __init__(self, number: int):
        self.number = number

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 1:
            os.kill(os.getpid(), self.number)
        return index


@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_a_killed_data_worker_is_named(number: int) -> None:
    loader = DataLoader(Fatal(number), batch_size=1, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(RuntimeError) as raised:
        list(loader)
    said = death_behind(raised.value)
    assert said is not None
    assert said.startswith("a data worker (process ")
    assert "num_worker_per_gpu" in said
    assert "\n" not in said


def test_a_death_while_a_file_is_written_is_told_for_what_it_is() -> None:
    class Zip:
        def __enter__(self) -> None:
            raise RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed.")

        def __exit__(self, *_: object) -> None: ...

    def write() -> None:
        try:
            with Zip():
                pass
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 42304 vs 42192")

    with pytest.raises(RuntimeError, match="enforce") as raised:
        write()
    said = death_behind(raised.value)
    assert said is not None
    assert said.startswith("a data worker (process 3) was ended by the signal Killed")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("Caught ValueError in DataLoader worker process 0."),
        ValueError("DataLoader worker (pid 3) is killed by signal: Killed."),
        RunError("a data worker is gone"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_none_of_it(error: BaseException) -> None:
    assert death_behind(error) is None


@pytest.mark.parametrize(
    "text",
    [
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:5678",
        "Application timeout caused pair closure (gloo)",
        "NCCL communicator was aborted on rank 0",
    ],
)
def test_a_lost_rank_is_named_where_there_are_several(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert death_behind(RuntimeError(text)) is None
    monkeypatch.setattr(deaths, "distributed", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    said = death_behind(RuntimeError(text))
    assert said is not None
    assert said.startswith("rank 1 has lost another process of this run")
    assert death_behind(dist.DistNetworkError("x")) is not None
    assert death_behind(RuntimeError("CUDA out of memory")) is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([{"a": "1"}, {"a": "1"}], None),
        ([{"a": "1"}, {"a": "1"}, {"a": "2"}], "a: rank 2 has 2, rank 0 has 1: all ranks must read the same"),
        ([{"a": "1"}, {"a": "1", "b": "2"}], "b: rank 1 has 2, rank 0 has nothing: all ranks must read the same"),
        ([{"a": "1", "b": "2"}, {"a": "1"}], "b: rank 1 has nothing, rank 0 has 2: all ranks must read the same"),
    ],
)
def test_ranks_that_differ_are_told_where(
    given: list[dict[str, str]], problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On rank 0; what the others hear of it is what it sends them."""

    def gathered(_: Any) -> list[dict[str, str]]:
        return given

    monkeypatch.setattr(ranks, "of_all_ranks", gathered)
    if problem is None:
        ranks.refuse_differences(given[0])
        return
    with pytest.raises(OptionError) as raised:
        ranks.refuse_differences(given[0])
    assert str(raised.value) == problem
