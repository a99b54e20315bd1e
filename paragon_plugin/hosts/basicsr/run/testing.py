"""The host's test pipeline, with options checked before anything is written and classical upscalers beside the network.

An option file for testing is the host's: `datasets` (`test_1: ...`), `network_g`, `path.pretrain_network_g`, `val`.
"""

import argparse
from pathlib import Path
from typing import Any

from ....errors import OptionError
from ....report.results import ValidationResult
from ....resilience.fault_tolerant_dataset import FaultTolerantDataset
from ....resilience.model_state import model_state_kept
from ....resilience.random_state import random_state_kept
from ....resilience.ranks import is_first_rank
from ..checks.host_refusals import host_refusals
from ..checks.pretrained import check_all_pretrained
from ..checks.registered import check_known, check_network
from ..checks.rehearsal import rehearse_validation
from ..checks.rules import check_folders, check_metrics, check_set_names
from ..options.file import IN_FORCE, Options, load_options
from ..options.problems import FirstProblem
from ..options.scheduling_block import PARSED
from .folders import make_folders, owned
from .reference_upscalers import reference_metrics
from .run_log import RunLog


def test(args: argparse.Namespace, root_path: str) -> tuple[Options, list[ValidationResult]]:
    """Run every test set of an option file through its network.

    Writes the folder `results/NAME`, with a log and, with `val.save_img`, the images; an older one is moved aside.

    Args:
        args: Parsed arguments (see `options.command_line.add_arguments`).
        root_path: Folder under which `results/` is written.

    Returns:
        The options in effect, and the metrics of each test set beside those of classical upscalers.

    Raises:
        OptionError: The options cannot work; nothing has been written.
    """
    from basicsr.data import build_dataloader, build_dataset
    from basicsr.models import build_model
    from basicsr.utils import get_env_info, get_time_str
    from basicsr.utils.options import dict2str

    log = RunLog(live=False, main_process=is_first_rank(args.launcher))
    options = load_options(args, root_path, is_train=False)
    _check(options)
    log.logger.info(get_env_info(), extra={"file_only": True})
    log.logger.info(
        dict2str({key: value for key, value in options.items() if key not in (PARSED, IN_FORCE)}),
        extra={"file_only": True},
    )
    loaders: list[Any] = []
    for key, block in sorted(options["datasets"].items()):
        path = f"datasets.{key}"
        with host_refusals(path):
            dataset = FaultTolerantDataset(build_dataset(block), path, replace=False)
            loader = build_dataloader(
                dataset, block, num_gpu=options["num_gpu"], dist=options["dist"], seed=options["manual_seed"]
            )
        loaders.append(loader)
    with host_refusals(f"model_type {options['model_type']}"):
        model = build_model(options)
    for key, loader in zip(sorted(options["datasets"]), loaders, strict=True):
        with random_state_kept(), model_state_kept(model):
            rehearse_validation(f"datasets.{key}", loader.dataset, model, options)
    with owned(options):
        try:
            make_folders(options)
        except OSError as error:
            raise OptionError(str(error.filename), f"cannot be written: {error.strerror}") from error
        first = options["rank"] == 0  # the only one that makes folders
        log.open(Path(options["path"]["log"]) / f"test_{options['name']}_{get_time_str()}.log" if first else None)
        return options, [_test_on(loader, model, options) for loader in loaders]


def _test_on(loader: Any, model: Any, options: Options) -> ValidationResult:
    model.validation(loader, current_iter=options["name"], tb_logger=None, save_img=options["val"]["save_img"])
    metrics = options["val"]["metrics"] if options["rank"] == 0 else {}
    return ValidationResult(
        dataset=loader.dataset.opt["name"],
        images=len(loader.dataset),
        metrics=dict(getattr(model, "metric_results", {})),
        reference=reference_metrics(loader, metrics, options.get("scale", 1)),
    )


def _check(options: Options) -> None:
    from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY

    check_known("model_type", options["model_type"], MODEL_REGISTRY)
    check_known("network_g.type", options["network_g"].get("type"), ARCH_REGISTRY)
    check_network("network_g", options["network_g"])
    weights = options["path"].get("pretrain_network_g")
    if weights is None:
        raise OptionError("path.pretrain_network_g", "is missing; it names the checkpoint to test")
    check_all_pretrained(options, FirstProblem())
    if not options["datasets"]:
        raise OptionError("datasets", "is empty; it holds what to test on, such as 'test_1: ...'")
    for key, dataset in options["datasets"].items():
        path = f"datasets.{key}"
        if dataset["phase"] not in ("test", "val"):
            raise OptionError(path, "must be called test, test_<something>, val or val_<something>")
        check_known(f"{path}.type", dataset.get("type"), DATASET_REGISTRY)
        if "name" not in dataset:
            raise OptionError(f"{path}.name", "is missing")
        check_folders(path, dataset)
    check_set_names(options, FirstProblem())
    options["val"] = val = {"save_img": False, "suffix": None, **(options.get("val") or {})}
    val["metrics"] = val.get("metrics") or {}
    check_metrics(val["metrics"], FirstProblem())
