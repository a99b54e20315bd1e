"""Reads BasicSR option files: YAML without code, typed overrides, and the host's derived entries.

An option file is data. No tag constructs an object, `--force_yml` takes values as YAML, and nothing is evaluated.
"""

import argparse
import copy
import random
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from yaml.composer import ComposerError

from ....errors import OptionError, shown, whole_number
from ....resilience.ranks import as_torchrun, from_first_rank
from . import known
from .command_line import argument_parser
from .metrics import complete_directions
from .problems import FirstProblem, Problems
from .scheduling_block import PARSED, parse_block
from .step import accumulation

Options = dict[str, Any]

IN_FORCE = "options_in_force"
"""Key at the top of prepared options under which the options travel that would make the same run, read from a file."""

DERIVED = ("rank", "world_size", "dist", "auto_resume", "is_train", "root_path", PARSED, IN_FORCE)
"""Keys at the top of prepared options that no option file has."""

MAX_VALUES = 100_000
"""Values an option file may hold once its aliases are written out: a few lines of them can stand for billions."""

MAX_BYTES = 1 << 23
"""Size of an option file. One that names ten thousand images has an eighth of it, others a thousandth."""

MAX_DIGITS = 64
"""Characters of a number: PyYAML takes the square of its length in time."""


class OptionLoader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys and reads `1e-4` as a number, as YAML 1.2 does.

    Values are counted before anything is built: keys, and the values behind an alias, count too. A file with too many
    values is refused.
    """

    def __init__(self, stream: str):
        super().__init__(stream)
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark
        node = super().compose_node(parent, index)
        if node is None:
            return None
        if alias and id(node) not in self._sizes:
            raise ComposerError(None, None, "holds a YAML alias that refers to itself", mark)
        if not alias:
            self._sizes[id(node)] = self._checked(node)
        # What has been composed so far counts too: the values of a long list come before the list.
        if max(self._sizes[id(node)], len(self._sizes)) > MAX_VALUES:
            raise ComposerError(None, None, f"holds more than {MAX_VALUES:,} values; look at its YAML aliases", mark)
        return node

    def _checked(self, node: yaml.Node) -> int:
        """How many values a node stands for."""
        if isinstance(node, yaml.ScalarNode):
            if any("\ud800" <= character <= "\udfff" for character in node.value):
                raise ComposerError(None, None, "holds half of a character", node.start_mark)
            return 1
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        return 1 + sum(self._sizes[id(part)] for part in parts)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = 2**63 if len(node.value) > MAX_DIGITS else super().construct_yaml_int(node)
        if abs(value) >= 2**63:  # no option is; Python does not even print the longest
            raise yaml.constructor.ConstructorError(None, None, "a whole number is too large", node.start_mark)
        return value


OptionLoader.add_constructor("tag:yaml.org,2002:int", OptionLoader.construct_yaml_int)

OptionLoader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
EXPONENTS = ("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))
"""How `1e-4` is told from text: tag, form, first characters."""

OptionLoader.add_implicit_resolver(*EXPONENTS)


def _load(text: str, source: str) -> Any:
    try:
        return _copied(yaml.load(text, OptionLoader))
    except yaml.YAMLError as error:
        mark = _mark(error)
        where = f"{source}, line {mark.line + 1}" if mark else source
        problem = (getattr(error, "problem", None) or str(error)).replace("\n", " ")
        if "could not determine a constructor for the tag" in problem:
            tag = problem.split("'")[1].replace("tag:yaml.org,2002:", "!!")
            problem = f"the tag {tag} is not allowed in an option file; write plain values"
        raise OptionError(where, problem) from None
    except (ValueError, RecursionError, TypeError, AttributeError, LookupError, OverflowError) as error:
        # What PyYAML lets through of a value that its own tags cannot make: a date of no calendar, a map in a set.
        raise OptionError(source, f"not readable as YAML: {error}") from None


def _mark(error: yaml.YAMLError) -> Any:
    """Where the mistake is. Of what is not closed, and of a key without a colon, that is where it begins: the reader
    only notices a line later, or at the end."""
    mark, begin = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    context, problem = str(getattr(error, "context", "")), str(getattr(error, "problem", ""))
    is_open = "scanning a simple key" in context or "scanning a quoted scalar" in context
    is_open |= "parsing a flow" in context and problem.endswith(("got ':'", "got '<stream end>'"))
    return begin if is_open and begin is not None else mark


def read_option_file(path: str | Path) -> Options:
    """Read an option file.

    Raises:
        OptionError: The file is missing, unreadable, not YAML, or not a mapping; one line with the place.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OptionError(str(path), f"cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise OptionError(str(path), f"has more than {MAX_BYTES:,} bytes: it is no option file")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise OptionError(str(path), "is not a text file in UTF-8") from None
    options = _load(text, str(path))
    if not isinstance(options, dict):
        raise OptionError(str(path), f"must be a mapping of options, is {type(options).__name__}")
    return options


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


def parse_options(root_path: str, is_train: bool = True) -> tuple[Options, argparse.Namespace]:
    """The host's entry point of that name: command line in, options and arguments out."""
    args = argument_parser().parse_args()
    options = load_options(args, root_path, is_train=is_train)
    del options[IN_FORCE]  # the host writes all that it gets into its log
    return options, args


def load_options(
    args: argparse.Namespace, root_path: str, *, is_train: bool, problems: Problems | None = None
) -> Options:
    """Read the option file and derive what the host adds to it; starts distributed training if asked to.

    Args:
        args: Flags of `command_line.add_arguments`.
        root_path: Folder under which `experiments/`, `results/` and `tb_logger/` stand.
        is_train: Training, else testing.
        problems: Takes what is wrong; by default the first of it is raised.

    Raises:
        OptionError: Anything in the file that the host could not work with; with `problems`, only a file that cannot
            be read at all.
    """
    problems = FirstProblem() if problems is None else problems
    options = read_option_file(args.opt)
    for entry in args.force_yml or []:
        with problems.collected():
            apply_overrides(options, [entry])
    _named_keys(options, "", problems)
    _require_blocks(options, is_train, problems)
    _type_blocks(options, is_train, problems)
    _start_distributed(options, args.launcher)

    from basicsr.utils import set_random_seed

    seed = options.get("manual_seed")
    # One for all ranks, though each draws its own: what training sees is keyed by it.
    options["manual_seed"] = seed = from_first_rank(random.randint(1, 10000)) if seed is None else seed
    set_random_seed(seed + options["rank"])

    options["auto_resume"] = is_train and args.auto_resume
    options["is_train"] = is_train
    if args.debug and not options["name"].startswith("debug"):
        options["name"] = f"debug_{options['name']}"
    options["num_gpu"] = _usable_gpus(options.get("num_gpu", "auto"), problems)
    for block in [key for key in options if key.startswith("network_")]:
        wanted = options.pop(block)
        with problems.collected():
            options[block] = normalised_network(wanted, block, options.get("scale"))
    if is_train and "debug" in options["name"]:
        if options.get("val"):
            options["val"]["val_freq"] = 8
        options["logger"]["print_freq"] = 1
        options["logger"]["save_checkpoint_freq"] = 8
    in_force = copy.deepcopy({key: value for key, value in options.items() if key not in DERIVED})
    _derive_datasets(options, problems)
    _derive_paths(options, root_path)
    options[IN_FORCE] = in_force
    return options


def _named_keys(block: Options, path: str, problems: Problems) -> None:
    """Take out what has no text for a key, such as `1: x` or `yes: x`; a network's own blocks may have such keys."""
    for key, value in list(block.items()):
        if not isinstance(key, str):
            del block[key]
            problems.error(f"{path}{shown(key)}", "an option's name must be text")
        elif isinstance(value, dict) and not key.startswith("network_"):
            _named_keys(value, f"{path}{key}.", problems)


def _require_blocks(options: Options, is_train: bool, problems: Problems) -> None:
    """Refuse a file without what every run needs, before anything looks inside."""
    empty: Options = {"path": {}, "logger": {}} if is_train else {"path": {}}
    for block in ("network_g", "datasets", "path", *(("train", "logger") if is_train else ())):
        if options.get(block) is None:  # also a block whose lines are all commented out
            options[block] = empty.get(block)
        if not isinstance(options[block], dict):
            problems.error(block, f"must be a block of options, is {shown(options[block])}")
            options[block] = {}
    if not options["network_g"]:
        del options["network_g"]
        problems.error("network_g", "has no 'type'")
    for key, stand_in in (("name", "unnamed"), ("model_type", None)):
        try:
            (known.path_part if key == "name" else known.name)(key, options.get(key))
        except OptionError as error:
            options[key] = stand_in
            problems.error(error.path, error.problem)
    checks: tuple[tuple[str, Callable[[Any], int]], ...] = (
        ("manual_seed", _seed),
        ("scale", lambda value: whole_number("scale", value, 1, 64)),
    )
    for key, check in checks:
        value = options.pop(key, None)
        if value is not None:
            with problems.collected():
                options[key] = check(value)
    if not isinstance(options.get("val") or {}, dict):
        problems.error("val", f"must be a block of options, is {shown(options['val'])}")
        options["val"] = {}


def _seed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise OptionError("manual_seed", f"must be a whole number from 0 to 2147483647, is {shown(value)}")
    return value


def _type_blocks(options: Options, is_train: bool, problems: Problems) -> None:
    """Give every known option the type that the host wants; what has another kind of value is refused."""
    known.take_types("", options, known.TOP, problems)
    known.take_types("path.", options["path"], known.PATH, problems)
    if options.get("val"):
        known.take_types("val.", options["val"], known.VAL, problems)
        complete_directions(options["val"], problems)
    for name, dataset in list(options["datasets"].items()):
        if not isinstance(dataset, dict):
            problems.error(f"datasets.{name}", f"must be a block of options, is {shown(dataset)}")
            del options["datasets"][name]
            continue
        if "io_backend" in dataset and not isinstance(dataset["io_backend"], dict):
            problems.error(f"datasets.{name}.io_backend", "must be a block such as 'type: disk'")
            dataset["io_backend"] = {"type": "disk"}
        table = known.TRAIN_DATASET if is_train and name == "train" else known.DATASET
        known.take_types(f"datasets.{name}.", dataset, table, problems)
    if is_train:
        logger: Options = options["logger"]
        logger.setdefault("print_freq", 100)
        logger.setdefault("save_checkpoint_freq", 5000)
        logger.setdefault("use_tb_logger", True)
        known.take_types("logger.", logger, known.LOGGER, problems)
        known.take_types("train.", options["train"], known.TRAIN, problems)
        parse_block(options, problems)


def _start_distributed(options: Options, launcher: str) -> None:
    from basicsr.utils.dist_util import get_dist_info, init_dist

    options["dist"] = launcher != "none"
    if options["dist"]:
        try:
            if launcher == "slurm":
                as_torchrun((options.get("dist_params") or {}).get("port"))
            init_dist("pytorch")
        except (KeyError, ValueError, OSError, subprocess.CalledProcessError) as error:
            # a variable that the launcher sets is missing, or its list of hosts
            tool = "torchrun" if launcher == "pytorch" else "srun"
            raise OptionError(f"--launcher {launcher}", f"must be started by {tool} ({error})") from error
    options["rank"], options["world_size"] = get_dist_info()


def _usable_gpus(wanted: Any, problems: Problems) -> int:
    available = torch.cuda.device_count()
    if wanted == "auto":
        return available
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        problems.error("num_gpu", f"must be a number of GPUs or 'auto', is {shown(wanted)}")
        return available
    if wanted > available:
        # The community's files say `num_gpu: 1`; without a GPU they train on the CPU rather than not at all.
        where = f"{available} are used" if available else "training runs on the CPU"
        problems.warn("num_gpu", f"is {wanted}, but {available} can be used here; {where}")
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


def _derive_datasets(options: Options, problems: Problems) -> None:
    for name, dataset in options["datasets"].items():
        dataset["phase"] = name.split("_")[0]
        if "scale" in options:
            dataset["scale"] = options["scale"]
        if "accum_iter" in dataset and "batch_size_per_gpu" in dataset:
            # One batch of the loader is one optimizer step; the model computes it in accum_iter parts.
            with problems.collected():
                dataset["batch_size_per_gpu"] *= accumulation(dataset)


def _derive_paths(options: Options, root_path: str) -> None:
    paths: Options = options["path"]
    if options["is_train"]:
        root = Path(root_path) / "experiments" / options["name"]
        paths["experiments_root"] = paths["log"] = str(root)
        for part in ("models", "training_states", "visualization"):
            paths[part] = str(root / part)
    else:
        root = Path(root_path) / "results" / options["name"]
        paths["results_root"] = paths["log"] = str(root)
        paths["visualization"] = str(root / "visualization")
