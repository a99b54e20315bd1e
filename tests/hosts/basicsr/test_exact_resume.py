"""A run that was interrupted and resumed is, bit for bit, the run that was not: real training, real photographs."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from test_recipes_run import ADVERSARIAL, RRDB, UNET, USM, cut_down, stock
from training_parts import random_vgg

pytestmark = pytest.mark.usefixtures("host")

ADVERSARIAL = {key: value for key, value in ADVERSARIAL.items() if key != "perceptual_opt"}


@pytest.fixture(autouse=True)
def _without_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    random_vgg(monkeypatch)


class Killed(BaseException):
    """The process ends here: nothing after this line is written."""


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Iterations after whose step the process dies, once each."""
    from paragon_plugin.hosts.basicsr.models.paragon_sr_model import ParagonSRModel

    moments: set[int] = set()
    original = ParagonSRModel.update_learning_rate

    def update_learning_rate(self: Any, current_iter: int, warmup_iter: int = -1) -> None:
        if current_iter - 1 in moments:
            moments.remove(current_iter - 1)
            raise Killed
        original(self, current_iter, warmup_iter)

    monkeypatch.setattr(ParagonSRModel, "update_learning_rate", update_learning_rate)
    yield moments
    assert not moments, "an interruption did not happen"


def run(options: dict[str, Any], folder: Path, *flags: str) -> Any:
    from paragon_plugin.hosts.basicsr.options.file import argument_parser
    from paragon_plugin.hosts.basicsr.run.training import train

    folder.mkdir(exist_ok=True)
    file = folder / "options.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    return train(argument_parser().parse_args(["-opt", str(file), *flags]), str(folder))


def run_to_the_end(options: dict[str, Any], folder: Path) -> list[int]:
    """Train, start again after each interruption. Returns where each resume began."""
    starts: list[int] = []
    flags: list[str] = []
    while True:
        try:
            run(options, folder, *flags)
            return starts
        except Killed:
            states = [int(path.stem) for path in folder.glob("experiments/stock/training_states/*.state")]
            starts.append(max(states, default=0))
            flags = ["--auto_resume"]


def ended_with(folder: Path) -> dict[str, Any]:
    """Everything that a run leaves for a later one, and the values it logged at each iteration."""
    root = folder / "experiments" / "stock"
    found: dict[str, Any] = {}
    for path in sorted([*root.glob("models/*.pth"), *root.glob("training_states/*.state")]):
        found[path.name] = torch.load(path, weights_only=True)
    found["decisions"] = [json.loads(line) for line in lines(root / "loss_schedule.jsonl")]
    found["log"] = {
        line.split("][")[1].split(", lr")[0]: (line.split("lr:(")[1].split(")")[0], line.split(")] ", 2)[-1])
        for log in sorted(root.glob("train_*.log"), key=lambda path: path.stat().st_mtime)
        for line in lines(log)
        if "[epoch:" in line
    }
    return found


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    """Equal to the last bit."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for place, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{where}/{place}")
    else:
        assert ours == theirs, where


def recipe(kind: str, images: Path) -> dict[str, Any]:
    """Twelve steps in epochs of five, validated and saved in between, of a recipe that draws random numbers."""
    adversarial = {**ADVERSARIAL, "net_d_iters": 2}
    options = {
        "paired": lambda: stock("ParagonSRModel", RRDB),
        "adversarial": lambda: {**stock("ParagonGANModel", RRDB, **adversarial), "network_d": UNET},
        "degradations": lambda: {**stock("ParagonRealESRNetModel", RRDB), "gt_usm": True},
        "adversarial degradations": lambda: {
            **{**stock("ParagonRealESRGANModel", RRDB, **ADVERSARIAL), "network_d": UNET},
            **USM,
        },
    }[kind]()
    options = cut_down(json.loads(json.dumps(options)), images)
    options["datasets"]["train"] |= {"dataset_enlarge_ratio": 2.5, "gt_size": 64}
    options["network_g"] |= {"num_feat": 8}
    options["train"] |= {"total_iter": 12, "ema_decay": 0.9, "warmup_iter": 4}
    options["train"]["losses"] = [{"type": "FFTLoss", "loss_weight": 0.05}]
    options["train"]["scheduler"] = {"type": "MultiStepLR", "milestones": [5, 9], "gamma": 0.5}
    options["train"]["dynamic_loss_scheduling"]["baseline_iterations"] = 3
    options["logger"]["save_checkpoint_freq"] = 3
    if "val" in options:
        options["val"]["val_freq"] = 3
    if kind.endswith("degradations"):  # on patches of 400 x 400, which the host's dataset cuts whatever the options say
        options["datasets"]["train"] |= {"batch_size_per_gpu": 1, "dataset_enlarge_ratio": 0.75}
        options["queue_size"] = 2
        options["train"] |= {"total_iter": 5, "warmup_iter": 2}
        options["train"]["dynamic_loss_scheduling"]["baseline_iterations"] = 2
        options["logger"]["save_checkpoint_freq"] = 2
    return options


@pytest.mark.parametrize("kind", ["adversarial degradations", pytest.param("degradations", marks=pytest.mark.slow)])
def test_the_pool_of_degraded_pairs_is_resumed(
    kind: str, image_folders: Path, tmp_path: Path, interrupted: set[int]
) -> None:
    """From iteration 2, when it is full: from then on each step takes an earlier pair out of it."""
    options = recipe(kind, image_folders)
    assert run_to_the_end(options, tmp_path / "whole") == []
    interrupted |= {3}
    assert run_to_the_end(options, tmp_path / "parts") == [2]
    whole, parts = ended_with(tmp_path / "whole"), ended_with(tmp_path / "parts")
    pool = whole["4.state"]["ranks"][0]["pool"]
    assert len(pool["lr"]) == 2
    assert pool["lr"].dtype == torch.uint8
    assert pool["gt"].dtype == (torch.uint8 if "adversarial" in kind else torch.float32)  # gt_usm: sharpened ones
    assert_same(parts, whole)


@pytest.mark.parametrize("kind", ["paired", "adversarial"])
def test_interrupted_runs_end_as_the_one_that_was_not(
    kind: str, image_folders: Path, tmp_path: Path, interrupted: set[int]
) -> None:
    """Before the first checkpoint, within an epoch, twice from the same checkpoint, at the end of an epoch."""
    options = recipe(kind, image_folders)
    assert run_to_the_end(options, tmp_path / "whole") == []
    interrupted |= {1, 4, 7, 8, 10}
    assert run_to_the_end(options, tmp_path / "parts") == [0, 3, 6, 6, 9]
    whole, parts = ended_with(tmp_path / "whole"), ended_with(tmp_path / "parts")
    assert len(whole["log"]) == 12
    assert whole["12.state"]["finished"]
    assert_same(parts, whole)


def test_at_the_end_of_an_epoch_and_by_workers(image_folders: Path, tmp_path: Path, interrupted: set[int]) -> None:
    """Two workers that live on from epoch to epoch see what the main process sees alone."""
    options = recipe("paired", image_folders)
    options["logger"]["save_checkpoint_freq"] = 5
    assert run_to_the_end(options, tmp_path / "whole") == []
    options["datasets"]["train"] |= {"num_worker_per_gpu": 2, "persistent_workers": True, "prefetch_mode": "cpu"}
    interrupted |= {5, 11}
    assert run_to_the_end(options, tmp_path / "parts") == [5, 10]
    assert_same(ended_with(tmp_path / "parts"), ended_with(tmp_path / "whole"))


def test_without_scheduling_and_without_a_seed(image_folders: Path, tmp_path: Path, interrupted: set[int]) -> None:
    """Where the file names no seed, the run goes on with the one it drew."""
    options = recipe("paired", image_folders)
    del options["train"]["dynamic_loss_scheduling"]
    options["manual_seed"] = None
    interrupted |= {5}
    random.seed(7)
    assert run_to_the_end(options, tmp_path / "parts") == [3]
    random.seed(7)
    assert run_to_the_end(options, tmp_path / "whole") == []
    assert_same(ended_with(tmp_path / "parts"), ended_with(tmp_path / "whole"))


# -- augmentations -----------------------------------------------------------------------------------------------------


class Draws(torch.utils.data.Dataset[Any]):
    """Says its index and a draw of each generator."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        self.loaded.append(index)
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))

    def __len__(self) -> int:
        return 6


def samples(epoch: int, place: int = 0, seed: int = 3, world: int = 1, rank: int = 0) -> list[Any]:
    from basicsr.data.data_sampler import EnlargedSampler

    from paragon_plugin.resilience.placed_samples import PlacedSampler, PlacedSamples

    dataset = Draws()
    sampler = PlacedSampler(EnlargedSampler(dataset, world, rank, 2), world, rank)
    sampler.start(epoch, place)
    placed = PlacedSamples(dataset, seed)
    result = [placed[key] for key in sampler]
    assert placed.loaded == [index for index, *_ in result]  # nothing is loaded to be thrown away
    return result


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def test_augmentations_depend_on_seed_epoch_and_place_alone() -> None:
    first = samples(0)
    seed_all(99)
    assert samples(0) == first
    assert samples(0, place=5) == first[5:]
    others = [first, samples(1), samples(0, seed=4)]
    draws = [{sample[1:] for sample in other} for other in others]
    assert not draws[0] & draws[1]
    assert not draws[0] & draws[2]
    assert len(draws[0]) == 12  # the same image twice in an epoch is augmented twice
    ranks = [samples(0, world=2, rank=rank) for rank in range(2)]
    assert [sample for pair in zip(*ranks, strict=True) for sample in pair] == first
    assert samples(0, place=4, world=2, rank=1) == ranks[1][2:]


def test_loading_leaves_the_generators_of_training_alone() -> None:
    from paragon_plugin.resilience.random_state import random_state, random_state_kept, set_random_state

    seed_all(1)
    before = random_state()
    samples(0)
    assert_same(random_state(), before)
    with random_state_kept():
        drawn = random.random(), np.random.randn(), torch.rand(3).tolist()
    assert_same(random_state(), before)
    set_random_state(before)
    assert (random.random(), np.random.randn(), torch.rand(3).tolist()) == drawn


# -- around it ---------------------------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_a_finished_run_started_again_changes_nothing(
    image_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from paragon_plugin.cli.main import main

    options: dict[str, Any] = {**recipe("paired", image_folders), "name": "done"}
    run(options, tmp_path)
    before = snapshot(tmp_path)
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    assert main(["train", "-opt", "options.yml", "--auto_resume"]) == 0
    said = capfd.readouterr()
    assert said.out == "done is finished: all 12 iterations are trained. Raise train.total_iter to go on.\n"
    assert not [line for line in said.err.splitlines() if "unknown option" not in line]
    assert snapshot(tmp_path) == before
    options["train"]["total_iter"] = 14
    assert run(options, tmp_path, "--auto_resume").iteration == 14


def test_a_kill_after_the_last_step_is_made_up_for(
    image_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last validation was under way: the run is not finished, and ends as it would have."""
    from paragon_plugin.hosts.basicsr.models.paragon_sr_model import ParagonSRModel

    options = recipe("paired", image_folders)
    options["val"]["val_freq"] = 5
    run(options, tmp_path / "whole")

    def killed(self: Any, dataloader: Any, current_iter: int, *_: Any) -> None:
        if current_iter == 12:
            raise Killed
        original(self, dataloader, current_iter, *_)

    original = ParagonSRModel.nondist_validation
    with monkeypatch.context() as patch:
        patch.setattr(ParagonSRModel, "nondist_validation", killed)
        with pytest.raises(Killed):
            run(options, tmp_path / "parts")
    assert run(options, tmp_path / "parts", "--auto_resume").validation[0].metrics
    assert_same(ended_with(tmp_path / "parts"), ended_with(tmp_path / "whole"))


def test_the_stock_pipeline_resumes_from_our_state_and_we_from_one_of_the_host(
    image_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: set[int]
) -> None:
    import basicsr.train
    from basicsr.utils.logger import initialized_logger

    options = recipe("paired", image_folders)
    interrupted |= {7}
    with pytest.raises(Killed):
        run(options, tmp_path)
    monkeypatch.chdir(tmp_path)
    initialized_logger.clear()
    monkeypatch.setattr("sys.argv", ["train.py", "-opt", "options.yml", "--auto_resume"])
    basicsr.train.train_pipeline(str(tmp_path))
    root = tmp_path / "experiments" / "stock"
    assert {path.name for path in (root / "training_states").iterdir()} == {f"{i}.state" for i in (3, 6, 9, 12)}

    (root / "training_states" / "12.state").unlink()
    state = torch.load(root / "training_states" / "9.state", weights_only=True)
    torch.save({k: state[k] for k in ("epoch", "iter", "optimizers", "schedulers")}, root / "training_states/9.state")
    result = run(options, tmp_path, "--auto_resume")
    assert result.iteration == 12
    assert torch.load(root / "training_states" / "12.state", weights_only=True)["place"] == 4  # two steps of two
