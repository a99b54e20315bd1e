"""Options that nothing reads: a warning, or an error where the option is a likely misspelling of a missing one.

An option file of another fork holds options that have no effect here, and it must still train. But with `ema_deca:
0.999` a run trains for days without the average that was wanted, and with `pretrain_network_G: FILE` it starts from
scratch. So an unknown option stops a run if it is close to a known option that the same block does not have. If the
block has the known option too, it is no misspelling. A different number at the end, as in `blur_sigma3`, is no
misspelling either.
"""

import difflib
import inspect
from collections.abc import Collection, Iterable
from typing import Any

from ..options import known
from ..options.file import Options
from ..options.problems import Problems
from ..options.scheduling_block import PARSED
from ..scheduled_model import ScheduledModel

NEAR = 0.85
"""Ratio of `difflib` from which two names are taken for one: one letter in six."""

_OWN_SCHEDULING = ("dynamic_loss_scheduling", "losses")
"""Their near misses stop a run even beside the right one."""


def check_unknown_options(options: Options, problems: Problems) -> None:
    """Report the options of the host's blocks that nothing reads.

    Blocks of networks, losses, optimizers and learning-rate schedulers are left out: the code that builds these refuses
    unknown options itself.
    """
    from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

    model = _registered(MODEL_REGISTRY, options["model_type"])
    read_by_model = known.words_in(_readers(model))
    networks = [key.removeprefix("network_") for key in options if key.startswith("network_")]
    derived = {"rank", "world_size", "dist", "auto_resume", "is_train", "root_path", PARSED}
    _report("", options, {*known.TOP, *derived, *_starting_with(options, "network_")}, read_by_model, problems)
    for key, dataset in options["datasets"].items():
        read = known.words_in([cls for cls in [_registered(DATASET_REGISTRY, dataset.get("type"))] if cls])
        _report(f"datasets.{key}.", dataset, known.TRAIN_DATASET, read, problems)
    of_networks = {f"{key}_{n}" for n in networks for key in ("pretrain_network", "param_key", "strict_load")}
    _report("path.", options["path"], {*known.PATH, *of_networks}, read_by_model, problems)
    train = options["train"]
    blocks = {key for key in train if key.endswith("_opt") or key.startswith("optim_")}
    misspelt = {key for key in blocks if _near(key, set(known.TRAIN) - set(train))}
    _report("train.", train, {*known.TRAIN, *(blocks - misspelt)}, read_by_model, problems)
    _report("val.", options.get("val") or {}, known.VAL, read_by_model, problems)
    for name, metric in ((options.get("val") or {}).get("metrics") or {}).items():
        function = _registered(METRIC_REGISTRY, metric.get("type")) if isinstance(metric, dict) else None
        if function is not None:
            arguments = set(inspect.signature(function).parameters) - {"img", "img2", "kwargs"}
            _report(f"val.metrics.{name}.", metric, arguments | {*known.METRIC}, (), problems)
    _report("logger.", options["logger"], known.LOGGER, (), problems)
    _report("dist_params.", options.get("dist_params") or {}, known.DIST, (), problems)


def _readers(model: Any) -> tuple[type, ...]:
    if model is None:
        return ()
    return model.readers_of_options() if issubclass(model, ScheduledModel) else (model,)


def _registered(registry: Any, name: Any) -> Any:
    for key in (name, f"{name}_basicsr"):
        if isinstance(name, str) and key in registry:
            return registry.get(key)
    return None


def _starting_with(options: Options, start: str) -> set[str]:
    return {key for key in options if key.startswith(start)}


def _near(key: str, others: Iterable[str]) -> str | None:
    others = [other for other in others if other.rstrip("0123456789") != key.rstrip("0123456789")]  # numbered: meant
    lower = {other.lower(): other for other in others}
    found = difflib.get_close_matches(key, sorted(others), n=1, cutoff=NEAR)
    return lower.get(key.lower()) or (found[0] if found else None)


def _belongs(path: str, key: str) -> str | None:
    """Where an option has its place that stands at another one; None where it is known nowhere, or too common."""
    own = path.split(".")[0]
    places = {
        "": known.TOP,
        "datasets": known.TRAIN_DATASET,
        "path": known.PATH,
        "train": known.TRAIN,
        "val": known.VAL,
        "logger": known.LOGGER,
    }
    found = [place for place, table in places.items() if place != own and key in table]
    if own not in places or len(found) != 1:
        return None
    words = {"": "at the top of the file", "datasets": "under 'datasets: train:'"}
    return words.get(found[0], f"under '{found[0]}:'")


def _report(path: str, block: Options, table: Collection[str], read: Collection[str], problems: Problems) -> None:
    """Report what is neither in the table nor read by the classes that the block is for."""
    table = set(table)
    for key in block:
        elsewhere = _belongs(path, key) if key not in table else None
        if key in table or (key in read and elsewhere is None):
            continue
        if elsewhere is not None and block.get(key) is not None:
            problems.warn(f"{path}{key}", f"nothing reads it here; it belongs {elsewhere}")
            continue
        meant = _near(key, {name for name in table if block.get(name) is None or name in _OWN_SCHEDULING})
        if meant:
            problems.error(f"{path}{key}", f"unknown option; did you mean '{meant}'?")
        else:
            near = difflib.get_close_matches(key, sorted(table), n=1, cutoff=0.6)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            problems.warn(f"{path}{key}", f"unknown option; nothing reads it{hint}")
