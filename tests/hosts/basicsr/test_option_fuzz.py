"""Mutated option files: `paragon check` ends with 0 or 2 and lines, and where it says 0 a run trains and validates."""

import contextlib
import copy
import io
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]


def base(folders: Path) -> dict[str, Any]:
    """A short adversarial run on image folders: it has every kind of block."""
    options = yaml.safe_load((ROOT / "options" / "quickstart_gan.yml").read_text())
    options["num_gpu"] = 0
    options["path"]["pretrain_network_g"] = None
    options["network_g"] = {"type": "paragonsr2_nano", "use_attention": False}
    options["network_d"]["num_feat"] = 4
    for name, dataset in options["datasets"].items():
        dataset |= {"type": "PairedImageDataset", "name": name, "io_backend": {"type": "disk"}, "filename_tmpl": "{}"}
        dataset |= {"dataroot_gt": str(folders / "HR"), "dataroot_lq": str(folders / f"LR{options['scale']}")}
    options["datasets"]["train"] |= {"gt_size": 32, "batch_size_per_gpu": 2, "num_worker_per_gpu": 0}
    losses = [
        {"type": "L1Loss", "loss_weight": 1.0},
        {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1, "start_iter": 3},
    ]
    options["train"]["losses"] = losses
    for key in [key for key in options["train"] if key.endswith("_opt")]:
        del options["train"][key]
    options["train"]["dynamic_loss_scheduling"] = {"enabled": True, "auto_calibrate": True, "momentum": 0.5}
    return options


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


PLACES = list(places(base(Path("/images"))))

numbers = st.one_of(st.integers(-3, 70), st.integers(), st.floats(), st.sampled_from([0, 1, 2**31, 2**63, -1, 0.5]))
words = st.sampled_from(
    [
        *("", "~", "none", "disk", "lmdb", "L1Loss", "GANLoss", "paragonsr2_nano", "ParagonSRModel", "SRModel", "auto"),
        *(
            "PairedImageDataset",
            "SingleImageDataset",
            "MultiStepLR",
            "SGD",
            "..",
            "/",
            "a\nb",
            "\ud800",
            "\0",
            "{0}",
            "é",
        ),
    ]
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words, st.text(max_size=6), st.dates()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(words, st.text(max_size=5), st.integers(), st.none()), inner, max_size=3),
    ),
    max_leaves=5,
)
keys = st.one_of(words, st.text(max_size=8), st.integers(), st.booleans(), st.none())
mutations = st.tuples(st.sampled_from(PLACES), st.sampled_from(["put", "drop", "rename", "add"]), keys, values)


def mutate(options: dict[str, Any], changes: list[tuple[Any, ...]]) -> dict[str, Any]:
    for path, how, key, value in changes:
        target: Any = options
        with contextlib.suppress(LookupError, TypeError):  # an earlier change took the place away
            for step in path[:-1]:
                target = target[step]
            if how == "put":
                target[path[-1]] = value
            elif how == "drop":
                del target[path[-1]]
            elif how == "rename" and isinstance(target, dict):
                target[key] = target.pop(path[-1])
            elif isinstance(target[path[-1]], dict):
                target[path[-1]][key] = value
    return options


def check(file: Path) -> tuple[int, list[str]]:
    from paragon_plugin.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["check", "-opt", file.name])
    lines = (out.getvalue() + err.getvalue()).splitlines()
    assert "Traceback" not in "".join(lines)
    return status, [line for line in lines if not line.startswith((" ", "Learning", "Loss", "Each", "Without"))]


STEPS = 5


class TrainedError(Exception):
    """The run is through; its report is no part of this."""


def train(file: Path) -> int:
    """`paragon train` for the first steps and the first validation: its exit status."""
    from paragon_plugin.cli.main import main
    from paragon_plugin.hosts.basicsr.run import training

    started: list[Any] = []
    original = training.carry_out

    def begin(run: Any, args: Any) -> Any:
        """A run ends with a validation: five steps are all, and no more data workers than that needs."""
        started.append(run)
        run.options["train"]["total_iter"] = min(run.total, STEPS)
        run.data.loader.num_workers = min(run.data.loader.num_workers, 1)
        original(run, args)
        raise TrainedError

    training.carry_out = begin
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["train", "-opt", file.name])
    except TrainedError:
        status = 0
    finally:
        training.carry_out = original
    if not started:
        assert len([line for line in err.getvalue().splitlines() if line.startswith("paragon train: ")]) == 1
        assert status == 2
        assert not (file.parent / "experiments").exists()
        return status
    assert status == 0, err.getvalue()
    for folder in ("experiments", "tb_logger"):
        shutil.rmtree(file.parent / folder, ignore_errors=True)
    return 0


@pytest.fixture(scope="module")
def folders(image_folders: Path) -> Path:
    return image_folders


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, before = tmp_path_factory.mktemp("fuzz"), Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def holds(file: Path, text: str) -> None:
    """What must hold of any file."""
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    status, lines = check(file)
    assert status in (0, 2)
    assert all(line.strip() and line.isprintable() and len(line) < 2000 for line in lines)
    errors = [line for line in lines if line.startswith(("error: ", "paragon check: "))]
    assert (status == 2) == bool(errors)
    assert (train(file) == 0) == (status == 0), lines
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def holds_of_mutations(folders: Path, place: Path, changes: list[tuple[Any, ...]]) -> None:
    options = mutate(copy.deepcopy(base(folders)), changes)
    holds(place / "options.yml", yaml.safe_dump(options, sort_keys=False, allow_unicode=False))


relaxed = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # a found file is small as it is; shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)


def test_the_file_that_is_mutated_is_sound(folders: Path, place: Path) -> None:
    holds_of_mutations(folders, place, [])
    status, lines = check(place / "options.yml")
    assert (status, lines[-1]) == (0, "options.yml: no errors, no warnings")


@settings(relaxed, max_examples=50, derandomize=True)
@given(changes=st.lists(mutations, min_size=1, max_size=3))
@example(changes=[(("train", "total_iter"), "put", "", 10**4000)])
@example(changes=[(("network_g",), "put", "", math.inf), (("name",), "put", "", "..")])
@example(changes=[(("val",), "put", "", {"metrics": {1: {2: 3}}})])
def test_mutated_values_and_structure(folders: Path, place: Path, changes: list[tuple[Any, ...]]) -> None:
    holds_of_mutations(folders, place, changes)


@pytest.mark.slow
@settings(relaxed, max_examples=500)
@given(changes=st.lists(mutations, min_size=1, max_size=5))
def test_mutated_values_and_structure_at_length(folders: Path, place: Path, changes: list[tuple[Any, ...]]) -> None:
    holds_of_mutations(folders, place, changes)


FRAGMENTS = [
    *(
        "!!python/object/apply:os.system ['touch ran']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!binary aGk=",
    ),
    *(
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!timestamp 2001-99-99",
        "!!int x",
        "!!float x",
        "!!bool x",
        "!!null x",
        "!x y",
    ),
    *(
        "&a [*a]",
        "*nothing",
        "<<: 1",
        "<<: [*b]",
        "{a: 1, a: 2}",
        "[",
        "}",
        "? x",
        "- x",
        "|",
        ">",
        "@",
        "`",
        "%YAML 9",
    ),
    *("\t", ": :", "---", "...", "'", '"', "\\u0000", "0x" + "f" * 5000, "9" * 5000, "1e999", ".nan", "0o7", "1:60"),
    "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]),
]


@settings(relaxed, max_examples=40, derandomize=True)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1), st.sampled_from(FRAGMENTS), st.integers(0, 12)), min_size=1, max_size=3)
)
@example(edits=[(0.0, f"{FRAGMENTS[-1]}\n", 0)])
@example(edits=[(0.0, "x: !!python/object/apply:os.system ['touch ran']\n", 0)])
def test_mutated_text(folders: Path, place: Path, edits: list[tuple[float, str, int]]) -> None:
    """Text cut out and put in anywhere: tags, anchors, broken syntax, numbers of any length."""
    text = yaml.safe_dump(base(folders), sort_keys=False)
    for where, fragment, cut in edits:
        at = int(where * len(text))
        text = text[:at] + fragment + text[at + cut :]
    holds(place / "options.yml", text)


@pytest.mark.usefixtures("host")
@settings(relaxed, max_examples=100, derandomize=True)
@given(data=st.binary(max_size=60))
def test_any_bytes(place: Path, data: bytes) -> None:
    (place / "options.yml").write_bytes(data)
    status, lines = check(place / "options.yml")
    assert status == 2
    assert all(line.isprintable() for line in lines)
