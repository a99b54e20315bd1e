"""What disks do to checkpoints: cut off, flipped, full, mixed up. Real checkpoints of a real run."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_exact_resume import Killed, recipe, run

pytestmark = pytest.mark.usefixtures("host")

Corrupt = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def finished(image_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an adversarial run with checkpoints at 3, 6, 9 and 12."""
    folder = tmp_path_factory.mktemp("finished")
    run(recipe("adversarial", image_folders), folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def experiment(folder: Path) -> Path:
    return folder / "experiments" / "stock"


def resumed_from(folder: Path) -> int | None:
    """The iteration that `--auto_resume` goes on from."""
    from paragon_plugin.hosts.basicsr.options.file import argument_parser, load_options
    from paragon_plugin.hosts.basicsr.run.resume import load_resume_state

    args = argument_parser().parse_args(["-opt", str(folder / "options.yml"), "--auto_resume"])
    state = load_resume_state(load_options(args, str(folder), is_train=True))
    return None if state is None else state["iter"]


def damages(original: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut off at every 1 % of the length and at each of the last bytes, and with one of 200 random bits flipped."""
    for percent in range(100):
        yield f"cut off at {percent} %", original[: len(original) * percent // 100]
    for last in range(1, 110):
        yield f"without its last {last} bytes", original[:-last]
    source = random.Random(0)
    for place in [source.randrange(8 * len(original)) for _ in range(200)]:
        yield f"with bit {place} flipped", flipped(original, place)
    for place in range(8 * (len(original) - 101), 8 * len(original)):  # the end record, the mark, the digits
        yield f"with bit {place} flipped", flipped(original, place)


def flipped(original: bytes, place: int) -> bytes:
    changed = bytearray(original)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


@pytest.mark.parametrize("name", ["training_states/12.state", "models/net_g_12.pth"])
def test_every_truncation_and_bit_flip_is_detected(finished: Path, tmp_path: Path, name: str) -> None:
    from paragon_plugin.resilience.checkpoints import CheckpointError, read_checkpoint

    original = (experiment(finished) / name).read_bytes()
    file = tmp_path / Path(name).name
    file.write_bytes(original)
    read_checkpoint(file)
    problems: dict[str, str | None] = {}
    for what, content in damages(original):
        file.write_bytes(content)
        problems[what] = None
        try:
            read_checkpoint(file)
        except CheckpointError as error:
            problems[what] = str(error)
    assert len(problems) > 1000
    silent = [what for what, problem in problems.items() if not problem or "damaged" not in problem or "\n" in problem]
    assert silent == []


def test_torch_does_not_see_them(finished: Path, tmp_path: Path) -> None:
    """Why there is a checksum: torch.load gives changed weights. May go, checksum and all, when it does not."""
    original = (experiment(finished) / "models/net_g_12.pth").read_bytes()
    file = tmp_path / "a.pth"
    loaded, source = 0, random.Random(0)
    for place in [source.randrange(8 * len(original)) for _ in range(50)]:
        file.write_bytes(flipped(original, place))
        try:
            torch.load(file, weights_only=True)
            loaded += 1
        except Exception:
            pass
    assert loaded > 25


def test_a_checkpoint_with_its_checksum_is_read_by_all(finished: Path) -> None:
    import zipfile

    from basicsr.archs.rrdbnet_arch import RRDBNet
    from basicsr.models.base_model import BaseModel

    file = experiment(finished) / "models/net_g_12.pth"
    net = RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=8)
    BaseModel({"num_gpu": 0, "is_train": False}).load_network(net, str(file), True, "params_ema")
    mapped = torch.load(file, weights_only=True, mmap=True)["params_ema"]
    assert all(torch.equal(value, mapped[name]) for name, value in net.state_dict().items())
    assert zipfile.ZipFile(file).comment.startswith(b"paragon-sha256:")


@pytest.mark.parametrize("name", ["training_states/12.state", "models/net_g_12.pth", "models/net_d_12.pth"])
@pytest.mark.parametrize("damage", ["missing", "cut off", "flipped", "another run's", "empty"])
def test_a_damaged_newest_checkpoint_is_named_and_passed_over(
    folder: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
    file = experiment(folder) / name
    assert resumed_from(folder) == 12
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "another run's":  # whole, but not what was saved together
        shutil.copy(file.with_name(file.name.replace("12", "9")), file)
    else:
        middle = 8 * (len(content) // 2)
        file.write_bytes({"cut off": content[:-100], "flipped": flipped(content, middle), "empty": b""}[damage])
    expected = 9
    caplog.clear()
    if damage == "missing" and name.endswith("state"):
        assert resumed_from(folder) == expected
        return
    if damage == "another run's" and name.endswith("state"):
        assert resumed_from(folder) == expected  # it says itself that it is of iteration 9
        return
    assert resumed_from(folder) == expected
    warning = next(record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "12.state " in warning
    assert file.name in warning
    assert warning.endswith("; trying an older one")


def test_where_no_checkpoint_can_be_used_the_run_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
    for file in (experiment(folder) / "training_states").iterdir():
        file.write_bytes(b"")
    assert resumed_from(folder) is None
    assert caplog.records[-1].getMessage() == "No checkpoint of this run can be used; it starts afresh."


def test_a_damaged_state_that_is_asked_for_is_refused(folder: Path) -> None:
    from paragon_plugin.errors import OptionError
    from paragon_plugin.hosts.basicsr.options.file import argument_parser, load_options
    from paragon_plugin.hosts.basicsr.run.resume import load_resume_state

    network = experiment(folder) / "models/net_d_9.pth"
    network.write_bytes(flipped(network.read_bytes(), 4000))
    options = load_options(
        argument_parser().parse_args(["-opt", str(folder / "options.yml")]), str(folder), is_train=True
    )
    options["path"]["resume_state"] = str(experiment(folder) / "training_states/9.state")
    with pytest.raises(OptionError, match=r"path\.resume_state: .*9\.state has no readable network: net_d_9\.pth is d"):
        load_resume_state(options)


# -- which checkpoints stay --------------------------------------------------------------------------------------------


def numbers(folder: Path, pattern: str) -> list[int]:
    return sorted(int("".join(filter(str.isdigit, p.name))) for p in experiment(folder).glob(pattern))


def test_the_last_checkpoints_stay_and_the_best(image_folders: Path, tmp_path: Path) -> None:
    options = recipe("adversarial", image_folders)
    options["logger"] |= {"keep_last": 2, "save_checkpoint_freq": 2}
    run(options, tmp_path)
    assert numbers(tmp_path, "training_states/*.state") == [10, 12]
    for network in ("net_g", "net_d"):
        assert numbers(tmp_path, f"models/{network}_[0-9]*.pth") == [10, 12]
    assert (experiment(tmp_path) / "models/net_g_latest.pth").is_file()
    assert (experiment(tmp_path) / "models/net_g_best.pth").is_file()
    assert resumed_from(tmp_path) == 12


def test_what_a_resume_needs_is_never_deleted(image_folders: Path, tmp_path: Path) -> None:
    """The newest checkpoints are damaged: the older one that the run goes on from stays until there is a newer."""
    options = recipe("paired", image_folders)
    run(options, tmp_path)
    for name in ("9.state", "12.state"):
        (experiment(tmp_path) / "training_states" / name).write_bytes(b"")
    options["logger"] |= {"keep_last": 1, "save_checkpoint_freq": 2}
    from paragon_plugin.hosts.basicsr.run import training

    original, kept = training.rotate, []

    def rotate(options: Any, iteration: int) -> None:
        original(options, iteration)
        kept.append((iteration, resumed_from(tmp_path)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "rotate", rotate)
        run(options, tmp_path, "--auto_resume")
    assert kept == [(8, 8), (10, 10), (12, 12)]


@pytest.mark.parametrize("value", [0, -1, 1.5, "two", True, []])
def test_keep_last_is_checked(image_folders: Path, tmp_path: Path, value: Any) -> None:
    from paragon_plugin.errors import OptionError

    options = recipe("paired", image_folders)
    options["logger"]["keep_last"] = value
    with pytest.raises(OptionError, match=r"logger\.keep_last: must be a whole number of at least 1, is"):
        run(options, tmp_path)
    assert not (tmp_path / "experiments").exists()


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_best_network_is_the_one_of_the_best_validation(
    image_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: str
) -> None:
    """By the first metric of the first set; here the metric is made to say what it should."""
    import basicsr.metrics
    import basicsr.models.sr_model as host

    values = {"higher": [20, 25, 22, 24], "lower": [0.4, 0.2, 0.3, 0.35]}[better]
    scripted = dict(zip((3, 6, 9, 12), values, strict=True))
    untrained = {"higher": 90, "lower": 0.1}[better]  # better than all, and never kept
    value: dict[str, float] = {}
    options = recipe("paired", image_folders)
    options["val"]["metrics"] = {
        "first": {"type": "calculate_psnr", "crop_border": 4, "better": better},
        "second": {"type": "calculate_psnr", "crop_border": 5, "better": "higher"},
    }

    def scripted_metric(_data: Any, opt: dict[str, Any]) -> float:
        return value["now"] if opt["crop_border"] == 4 else 10.0

    original = host.SRModel.nondist_validation

    def validation(self: Any, loader: Any, iteration: Any, *args: Any) -> None:
        value["now"] = scripted.get(iteration, untrained)
        original(self, loader, iteration, *args)

    options["val"]["metrics"]["second"]["better"] = "lower" if better == "higher" else "higher"
    monkeypatch.setattr(basicsr.metrics, "calculate_metric", scripted_metric)
    monkeypatch.setattr(host.SRModel, "nondist_validation", validation)
    run(options, tmp_path)
    models = experiment(tmp_path) / "models"
    best, sixth = (torch.load(models / f"net_g_{label}.pth", weights_only=True) for label in ("best", 6))
    assert all(
        torch.equal(best[level][key], sixth[level][key]) for level in ("params", "params_ema") for key in best[level]
    )


# -- disks -------------------------------------------------------------------------------------------------------------


def test_what_a_killed_run_was_writing_is_removed(image_folders: Path, tmp_path: Path) -> None:
    from paragon_plugin.hosts.basicsr.models import paragon_sr_model

    options = recipe("paired", image_folders)

    def dies_writing(state: Any, path: str) -> str:
        if path.endswith("9.state"):
            Path(path).with_name(".9.state.4711.tmp").write_bytes(b"half of it")
            raise Killed
        return original(state, path)

    original = paragon_sr_model.save_atomically
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paragon_sr_model, "save_atomically", dies_writing)
        with pytest.raises(Killed):
            run(options, tmp_path)
    (experiment(tmp_path) / "models" / ".mine.tmp").write_text("not ours")
    assert run(options, tmp_path, "--auto_resume").iteration == 12
    assert [path.name for path in experiment(tmp_path).rglob("*.tmp")] == [".mine.tmp"]


def test_a_full_disk_ends_the_run_with_one_line_and_the_older_checkpoint(
    image_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The device that is always full stands in for the file: torch's own writer meets a real ENOSPC."""
    import yaml

    from paragon_plugin.cli.main import main
    from paragon_plugin.resilience import atomic_file

    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    options = recipe("paired", image_folders)
    (tmp_path / "options.yml").write_text(yaml.safe_dump(options))

    def full(path: Any, mode: str) -> Any:
        return open("/dev/full" if ".9.state" in str(path) else path, mode)

    monkeypatch.setattr(atomic_file, "open", full, raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-opt", "options.yml"]) == 1
    error = [line for line in capfd.readouterr().err.splitlines() if "unknown option" not in line]
    assert len(error) == 1
    assert error[0].startswith("paragon train: ")
    assert "No space left on device; stopped at iteration 9. The last checkpoint is " in error[0]
    assert error[0].endswith("6.state; --auto_resume goes on from it.")
    assert not list(experiment(tmp_path).rglob("*.tmp"))
    assert resumed_from(tmp_path) == 6
    monkeypatch.undo()
    assert run(options, tmp_path, "--auto_resume").iteration == 12


def test_images_that_cannot_be_written_end_the_run_with_one_line(
    image_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    from paragon_plugin.errors import RunError

    def refuses(*_: Any) -> Any:
        return False, None

    monkeypatch.setattr(cv2, "imencode", refuses)
    with pytest.raises(
        RunError, match=r"cannot be written as PNG; stopped at iteration 3\. The last checkpoint is .*3\."
    ):
        run(recipe("paired", image_folders), tmp_path)
