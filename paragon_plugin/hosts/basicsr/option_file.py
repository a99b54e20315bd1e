"""Reads BasicSR option files: YAML without code, typed overrides, and the host's derived entries.

An option file is data. No tag constructs an object, `--force_yml` takes values as YAML, and nothing is evaluated.
"""

import argparse
import logging
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from ...options import OptionError
from ...step_options import accumulation

Options = dict[str, Any]


class OptionLoader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys and reads `1e-4` as a number, as YAML 1.2 and people do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


OptionLoader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
OptionLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _load(text: str, source: str) -> Any:
    try:
        return yaml.load(text, OptionLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}, line {mark.line + 1}" if mark else source
        problem = (getattr(error, "problem", None) or str(error)).replace("\n", " ")
        if "could not determine a constructor for the tag" in problem:
            tag = problem.split("'")[1].replace("tag:yaml.org,2002:", "!!")
            problem = f"the tag {tag} is not allowed in an option file; write plain values"
        raise OptionError(where, problem) from None
    except (ValueError, RecursionError) as error:
        raise OptionError(source, f"not readable as YAML: {error}") from None


def read_option_file(path: str | Path) -> Options:
    """Read an option file.

    Raises:
        OptionError: The file is missing, unreadable, not YAML, or not a mapping; one line with the place.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise OptionError(str(path), f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise OptionError(str(path), "is not a text file in UTF-8") from None
    options = _load(text, str(path))
    if not isinstance(options, dict):
        raise OptionError(str(path), f"must be a mapping of options, is {type(options).__name__}")
    try:
        return _copied(options)
    except RecursionError:
        raise OptionError(str(path), "holds a YAML alias that refers to itself") from None


def _copied(value: Any) -> Any:
    """A copy in which blocks that YAML aliases share are separate: the host takes entries out of its blocks."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def apply_overrides(options: Options, entries: Sequence[str]) -> None:
    """Apply `--force_yml` entries such as `train:ema_decay=0.999`, in place; new keys are allowed.

    Values are YAML (`[1, 2]`, `1e-4`, `true`); `none` and `~` are null.

    Raises:
        OptionError: An entry without `=`, or one whose path goes through a plain value.
    """
    for entry in entries:
        path, equals, text = entry.partition("=")
        keys = [key.strip() for key in path.split(":")]
        if not equals or not all(keys):
            raise OptionError(f"--force_yml {entry}", "must look like train:ema_decay=0.999")
        value = None if text.strip().lower() in ("none", "~") else _load(text, f"--force_yml {entry}")
        target = options
        for depth, key in enumerate(keys[:-1], start=1):
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise OptionError(f"--force_yml {entry}", f"{':'.join(keys[:depth])} is a value, not a block")
        target[keys[-1]] = value


def argument_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The host's command-line flags."""
    parser = argparse.ArgumentParser(prog=prog)
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the host's command-line flags to a parser."""
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], default="none", help="job launcher")
    parser.add_argument("--auto_resume", action="store_true", help="go on from the newest checkpoint of this name")
    parser.add_argument("--debug", action="store_true", help="log, validate and save every few iterations")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        "--force_yml",
        nargs="+",
        default=[],
        metavar="KEY:KEY=VALUE",
        help="set options over the file's, for example train:ema_decay=0.999",
    )


def parse_options(root_path: str, is_train: bool = True) -> tuple[Options, argparse.Namespace]:
    """The host's entry point of that name: command line in, options and arguments out."""
    args = argument_parser().parse_args()
    return load_options(args, root_path, is_train=is_train), args


def load_options(args: argparse.Namespace, root_path: str, *, is_train: bool) -> Options:
    """Read the option file and derive what the host adds to it; starts distributed training if asked to.

    Args:
        args: Flags of `add_arguments`.
        root_path: Folder under which `experiments/`, `results/` and `tb_logger/` stand.
        is_train: Training, else testing.

    Raises:
        OptionError: Anything in the file that the host could not work with.
    """
    options = read_option_file(args.opt)
    apply_overrides(options, args.force_yml or [])
    _require_blocks(options, is_train)
    _start_distributed(options, args.launcher)

    from basicsr.utils import set_random_seed

    seed = options.get("manual_seed")
    options["manual_seed"] = seed = random.randint(1, 10000) if seed is None else seed
    set_random_seed(seed + options["rank"])

    options["auto_resume"] = args.auto_resume
    options["is_train"] = is_train
    if args.debug and not options["name"].startswith("debug"):
        options["name"] = f"debug_{options['name']}"
    options["num_gpu"] = _usable_gpus(options.get("num_gpu", "auto"))
    for block in [key for key in options if str(key).startswith("network_")]:
        options[block] = normalised_network(options[block], block, options.get("scale"))
    _derive_datasets(options)
    _derive_paths(options, root_path)
    if is_train and "debug" in options["name"]:
        if "val" in options:
            options["val"]["val_freq"] = 8
        options["logger"]["print_freq"] = 1
        options["logger"]["save_checkpoint_freq"] = 8
    return options


def _require_blocks(options: Options, is_train: bool) -> None:
    """Refuse a file without what every run needs, before anything looks inside."""
    blocks = ["datasets", "network_g", "path"]
    if is_train:
        blocks += ["train", "logger"]
    options.setdefault("path", {})
    if is_train:
        options.setdefault("logger", {})
    for block in blocks:
        if not isinstance(options.get(block), dict):
            raise OptionError(block, f"must be a block of options, is {options.get(block)!r}")
    for key in ("name", "model_type"):
        if not isinstance(options.get(key), str) or not options[key]:
            raise OptionError(key, f"must be a name, is {options.get(key)!r}")
    if Path(options["name"]).name != options["name"]:
        raise OptionError("name", f"becomes a folder's name and cannot be {options['name']!r}")
    seed = options.get("manual_seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31):
        raise OptionError("manual_seed", f"must be a whole number from 0 to 2147483647, is {seed!r}")
    scale = options.get("scale")
    if scale is not None and (not isinstance(scale, int) or isinstance(scale, bool) or scale < 1):
        raise OptionError("scale", f"must be a whole number of at least 1, is {scale!r}")
    if not isinstance(options.get("val") or {}, dict):
        raise OptionError("val", f"must be a block of options, is {options['val']!r}")
    if is_train:
        logger: Options = options["logger"]
        logger.setdefault("print_freq", 100)
        logger.setdefault("save_checkpoint_freq", 5000)
        logger.setdefault("use_tb_logger", True)
        for path in (("train", "total_iter"), ("logger", "print_freq"), ("logger", "save_checkpoint_freq")):
            options[path[0]][path[1]] = _whole(options[path[0]].get(path[1]), ".".join(path))
        if isinstance(options.get("val"), dict) and "val_freq" in options["val"]:
            options["val"]["val_freq"] = _whole(options["val"]["val_freq"], "val.val_freq")


def _whole(value: Any, path: str) -> int:
    """A whole number of at least 1, also when written `5e3`, as the community's files do."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise OptionError(path, f"must be a whole number of at least 1, is {value!r}")
    return value


def _start_distributed(options: Options, launcher: str) -> None:
    from basicsr.utils.dist_util import get_dist_info, init_dist

    options["dist"] = launcher != "none"
    if options["dist"]:
        params = options.get("dist_params", {}) if launcher == "slurm" else {}
        try:
            init_dist(launcher, **params)
        except (KeyError, ValueError) as error:  # a variable that the launcher sets is missing
            tool = "torchrun" if launcher == "pytorch" else "srun"
            raise OptionError(f"--launcher {launcher}", f"must be started by {tool} ({error})") from error
    options["rank"], options["world_size"] = get_dist_info()


def _usable_gpus(wanted: Any) -> int:
    available = torch.cuda.device_count()
    if wanted == "auto":
        return available
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        raise OptionError("num_gpu", f"must be a number of GPUs or 'auto', is {wanted!r}")
    if wanted > available:
        # The community's files say `num_gpu: 1`; without a GPU they train on the CPU rather than not at all.
        where = f"{available} are used" if available else "training runs on the CPU"
        logging.getLogger("basicsr").warning(f"num_gpu is {wanted}, but {available} can be used here; {where}.")
    return min(wanted, available)


def normalised_network(network: Any, block: str, scale: int | None) -> Options:
    """A network block in the host's form `{type: NAME, ...}`.

    The one-key form `{paragonsr2_s: {use_attention: true}}` is accepted, and our networks take the file's `scale`
    where their block gives none.
    """
    if not isinstance(network, Mapping):
        raise OptionError(block, f"must be a block with 'type: ...', is {network!r}")
    if "type" not in network:
        if len(network) != 1:
            raise OptionError(block, "has no 'type'")
        name, options = next(iter(network.items()))
        if options is not None and not isinstance(options, Mapping):
            raise OptionError(f"{block}.{name}", f"must be a block of options, is {options!r}")
        network = {"type": name, **(options or {})}
    result = dict(network)
    if str(result["type"]).startswith("paragonsr2_"):
        if scale is None and "scale" not in result:
            raise OptionError("scale", "is missing; write the upscaling factor, such as 'scale: 4'")
        if result.setdefault("scale", scale) != scale and scale is not None:
            raise OptionError(f"{block}.scale", f"is {result['scale']!r}, but the file's scale is {scale}")
    return result


def _derive_datasets(options: Options) -> None:
    for name, dataset in options["datasets"].items():
        if not isinstance(dataset, dict):
            raise OptionError(f"datasets.{name}", f"must be a block of options, is {dataset!r}")
        if "io_backend" in dataset and not isinstance(dataset["io_backend"], dict):
            raise OptionError(f"datasets.{name}.io_backend", "must be a block such as 'type: disk'")
        dataset["phase"] = str(name).split("_")[0]
        if "scale" in options:
            dataset["scale"] = options["scale"]
        if "accum_iter" in dataset and isinstance(dataset.get("batch_size_per_gpu"), int):
            # One batch of the loader is one optimizer step; the model computes it in accum_iter parts.
            dataset["batch_size_per_gpu"] *= accumulation(dataset)
        for key in ("dataroot_gt", "dataroot_lq"):
            if isinstance(dataset.get(key), str):
                dataset[key] = str(Path(dataset[key]).expanduser())


def _derive_paths(options: Options, root_path: str) -> None:
    paths: Options = options["path"]
    for key, value in paths.items():
        if value is not None and not isinstance(value, str) and ("resume_state" in key or "pretrain_network" in key):
            raise OptionError(f"path.{key}", f"must be a file's path, is {value!r}")
        if isinstance(value, str) and ("resume_state" in key or "pretrain_network" in key):
            paths[key] = str(Path(value).expanduser())
    if options["is_train"]:
        root = Path(root_path) / "experiments" / options["name"]
        paths["experiments_root"] = paths["log"] = str(root)
        for part in ("models", "training_states", "visualization"):
            paths[part] = str(root / part)
    else:
        root = Path(root_path) / "results" / options["name"]
        paths["results_root"] = paths["log"] = str(root)
        paths["visualization"] = str(root / "visualization")
