"""Kills a training with SIGKILL at random moments, resumes it each time, and compares what it ends with.

    python benchmarks/kill_and_resume.py [--kills 50] [--seed 0] [--json FILE] [--short]

A short adversarial training on the bundled photographs, with two data workers, runs once undisturbed: the reference.
Then it is killed while it trains, validates or writes, or at any moment from its start on, and started again with
`--auto_resume`, up to five times before it may end, until there have been as many kills as wanted. Each time it must
go on from no earlier than the last checkpoint that it had reported as written. At its end all of its checkpoints,
optimizer states, metrics and decisions must equal the reference's to the last bit, and so must every value that any
of its processes logged. Exit status 1 where something does not.
"""

import argparse
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
import yaml

ROOT = Path(__file__).resolve().parent.parent
NAME = "killed"
SAVE_FREQ, VAL_FREQ = 4, 8
MOMENTS = ("training", "validating", "writing", "any moment")
KILLS_OF_A_TRAINING = 5


def write_options(folder: Path, total_iter: int, workers: int = 2) -> Path:
    """The quickstart, cut down, with a discriminator."""
    options = yaml.safe_load((ROOT / "options" / "quickstart.yml").read_text())
    options |= {"name": NAME, "model_type": "ParagonGANModel", "num_gpu": 0}
    options["network_g"]["type"] = "paragonsr2_nano"
    options["network_d"] = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
    options["datasets"]["train"] |= {"gt_size": 32, "batch_size_per_gpu": 4, "num_worker_per_gpu": workers}
    options["datasets"]["train"]["dataset_enlarge_ratio"] = 6  # epochs of 12 steps
    train = options["train"]
    train |= {"total_iter": total_iter, "optim_d": {"type": "Adam", "lr": 1e-3}, "ema_decay": 0.9, "warmup_iter": 5}
    train["gan_opt"] = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1}
    train["scheduler"]["periods"] = [total_iter]
    train["dynamic_loss_scheduling"] |= {"baseline_iterations": 6, "adaptation_threshold": 0.0}
    options["val"] |= {"val_freq": VAL_FREQ, "save_img": False}
    options["logger"] = {"print_freq": 1, "save_checkpoint_freq": SAVE_FREQ, "use_tb_logger": False}
    folder.mkdir(parents=True)
    file = folder / "options.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    return file


class Process:
    """`paragon train` in a folder, and what it says, line by line."""

    def __init__(self, folder: Path, resume: bool):
        command = [sys.executable, "-u", "-m", "paragon_plugin.train", "-opt", "options.yml"]
        self.folder = folder
        self.popen = subprocess.Popen(
            [*command, *(["--auto_resume"] if resume else [])],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line)

    def wait_for(self, happens: Any) -> bool:
        """Wait until something is so; False where the process ended before."""
        while self.popen.poll() is None:
            if happens():
                return True
            time.sleep(0.0005)
        return False

    def said(self, pattern: str) -> list[int]:
        """The numbers in the lines that match."""
        found = (re.search(pattern, line) for line in list(self.lines))
        return [int(match[1].replace(",", "")) for match in found if match]

    def kill(self) -> None:
        self.popen.kill()
        self.finish()

    def finish(self) -> int:
        status = self.popen.wait()
        self._reader.join(10)
        return status


def wait_for_moment(process: Process, moment: str, source: random.Random) -> bool:
    """Wait for a moment of a kind, then a little longer; False where the process ended before."""
    steps, checkpoints = r"iter: +([\d,]+),", r"Checkpoint of iteration ([\d,]+) saved"
    count = source.randint(1, 8)
    if moment == "any moment":
        delay = source.uniform(0, 12)
        began = time.monotonic()
        return process.wait_for(lambda: time.monotonic() - began > delay)
    if moment == "training":
        reached = process.wait_for(lambda: len(process.said(steps)) >= count)
    elif moment == "validating":
        reached = process.wait_for(lambda: any(i % VAL_FREQ == 0 for i in process.said(checkpoints)))
    else:
        if not process.wait_for(lambda: len(process.said(steps)) >= count):
            return False
        return process.wait_for(lambda: is_writing(process.folder))  # kill at once
    time.sleep(source.uniform(0, 0.15))
    return reached and process.popen.poll() is None


def is_writing(folder: Path) -> bool:
    root = folder / "experiments" / NAME
    return any(name.endswith(".tmp") for part in ("models", "training_states") for name in listed(root / part))


def listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def what_it_did(process: Process) -> str:
    """What a process was doing when it was killed, from what it left."""
    if is_writing(process.folder):
        return "writing"
    if not process.said(r"iter: +([\d,]+),"):
        return "starting"
    validating = [line for line in process.lines if "Checkpoint of" in line or "Validation" in line or "iter:" in line]
    saved = re.search(r"Checkpoint of iteration ([\d,]+) saved", validating[-1])
    return "validating" if saved and int(saved[1].replace(",", "")) % VAL_FREQ == 0 else "training"


def train_with_kills(folder: Path, kills: int, source: random.Random, moments: Any = None) -> list[str]:
    """Train to the end through so many kills. Returns what the process did at each of them.

    Args:
        folder: With `options.yml`.
        kills: The training may end before there have been as many.
        source: Of the moments.
        moments: The kinds, in turn, in place of random ones.

    Raises:
        AssertionError: A checkpoint that had been reported is lost, or a process failed.
    """
    did: list[str] = []
    reported, resume = 0, False
    while True:
        process = Process(folder, resume)
        resume = True
        moment = source.choice(MOMENTS) if moments is None else moments[len(did) % len(moments)]
        killed = len(did) < kills and wait_for_moment(process, moment, source)
        if killed:
            process.kill()
            did.append(what_it_did(process))
        else:
            status = process.finish()
            assert status == 0, "".join(process.lines)
        text = "".join(process.lines)
        began = max(process.said(r"Resuming from iteration ([\d,]+)"), default=0)
        if began or process.said(r"iter: +([\d,]+),"):
            assert began >= reported, (
                f"iteration {reported} was reported as saved, the run went on from {began}:\n{text}"
            )
        reported = max([reported, *process.said(r"Checkpoint of iteration ([\d,]+) saved")])
        if not killed:
            return did


def what_is_left(folder: Path) -> dict[str, Any]:
    """Checkpoints, states and decisions of a run."""
    root = folder / "experiments" / NAME
    files = [*root.glob("models/*.pth"), *root.glob("training_states/*.state")]
    left: dict[str, Any] = {path.name: torch.load(path, weights_only=True) for path in sorted(files)}
    left["decisions"] = [json.loads(line) for line in (root / "loss_schedule.jsonl").read_text().splitlines()]
    return left


def logged_values(folder: Path) -> set[tuple[str, str]]:
    """(place, values) of every line that any process of a run logged."""
    found = set()
    for log in folder.glob("experiments/*/train_*.log"):
        for line in log.read_text().split("\n")[:-1]:  # the last one may be cut off
            match = re.search(r"\[(epoch:.*?, lr:\(.*?\))\].*?time \(data\).*?\] (.*)$", line)
            if match:
                found.add((match[1], match[2].strip()))
    return found


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two nested values are not equal to the last bit."""
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [where]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return [f"{where}: {sorted(map(str, ours.keys() ^ theirs.keys()))}"]
        return [d for key in ours for d in differences(ours[key], theirs[key], f"{where}/{key}")]
    if isinstance(ours, list | tuple) and len(ours) == len(theirs):
        return [d for i, pair in enumerate(zip(ours, theirs, strict=True)) for d in differences(*pair, f"{where}/{i}")]
    return [] if ours == theirs else [where]


def run_reference(folder: Path) -> None:
    process = Process(folder, resume=False)
    assert process.finish() == 0, "".join(process.lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--total-iter", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="two kills")
    args = parser.parse_args()
    if args.short:
        args.kills = 2
    source = random.Random(args.seed)
    did: collections.Counter[str] = collections.Counter()
    trainings, wrong = 0, []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        reference = Path(root, "reference")
        write_options(reference, args.total_iter)
        run_reference(reference)
        wanted, logged = what_is_left(reference), logged_values(reference)
        while did.total() < args.kills:
            folder = Path(root, f"training_{trainings}")
            write_options(folder, args.total_iter)
            did.update(train_with_kills(folder, min(KILLS_OF_A_TRAINING, args.kills - did.total()), source))
            trainings += 1
            found = differences(what_is_left(folder), wanted)
            found += [f"logged: {line}" for line in sorted(logged_values(folder) - logged)]
            wrong += [f"training {trainings}: {line}" for line in found]
            print(f"{did.total()} kills, {trainings} trainings, {len(wrong)} differences", flush=True)
    result = {
        "kills": did.total(),
        "while": dict(did),
        "trainings": trainings,
        "steps_of_a_training": args.total_iter,
        "differences_from_the_reference": len(wrong),
        "reported_checkpoints_lost": 0,  # each loss ends this script with an AssertionError
        "seconds": round(time.monotonic() - began),
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=1), *wrong[:20], sep="\n")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
