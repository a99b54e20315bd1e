"""Two processes on gloo with other data and other losses decide alike, with one reduction a step and no deadlock."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from balance_runs import FORMS, Form


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each case, with what each rank held."""
    root = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("balance_ranks.py")
    result = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"),
            *(script, root),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    return root


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_ranks_decide_alike(form: Form, parts: int, trained: Path) -> None:
    folder = trained / f"{form}{parts}"
    first, second = (json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["reductions"] == second["reductions"] == 24  # one a step
    assert first["iteration"] == second["iteration"] == 24
    assert first["factors"] == second["factors"]
    assert first["state"] == second["state"]
    assert first["factors"][-1]["gan"] not in (0, 1)
    assert first["factors"][-1]["l1"] != first["factors"][0]["l1"]
    assert first["skipped"] == second["skipped"] == [number == 15 for number in range(1, 25)]
    assert first["weights"] == second["weights"]
    tags = [tag for tag in first["log"] if tag.startswith("loss_")]
    assert [first["log"][tag] for tag in tags] == [second["log"][tag] for tag in tags]
    assert first["records"]
    assert not second["records"]
    assert (folder / "run" / "run_record.jsonl").is_file()
