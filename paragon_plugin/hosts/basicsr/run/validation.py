"""Validation within a run: the metrics of each set, and what classical upscalers reach on it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ....report.metrics import metric_text
from ....report.results import ValidationResult
from ....resilience.random_state import random_state_kept
from ..options.file import Options
from .validation_record import recorded_references


def validate(
    options: Options, model: Any, loaders: Sequence[Any], iteration: int, tb_logger: Any
) -> dict[str, dict[str, float]]:
    """Validate on every set. Draws no random numbers: training goes on as it would have.

    Returns:
        {set: {metric: mean}}, as the model leaves them.
    """
    results: dict[str, dict[str, float]] = {}
    with random_state_kept():
        for loader in loaders:
            model.validation(loader, iteration, tb_logger, options["val"].get("save_img", False))
            name, metrics = loader.dataset.opt["name"], dict(getattr(model, "metric_results", {}))
            results[name] = metrics
            if options["rank"] != 0:
                continue
            if metrics:
                logging.getLogger("basicsr").info(f"Validation {name}, iteration {iteration:,}: {_words(metrics)}")
            # Here and not at the end alone, so that the report of a run under way can compare.
            wanted = options["val"].get("metrics") or {}
            recorded_references(options["path"]["experiments_root"], loader, wanted, options.get("scale", 1))
    return results


def validate_before_training(
    options: Options, model: Any, loaders: Sequence[Any], tb_logger: Any
) -> dict[str, dict[str, float]]:
    """As `validate`, of the network that a run begins with: what training brings is measured from there.

    Nothing is kept as the best, and no image is written.
    """
    results: dict[str, dict[str, float]] = {}
    if not (options.get("val") or {}).get("metrics"):
        return results
    for loader in loaders:
        with random_state_kept():
            model.validation(loader, 0, tb_logger, False)
        name, metrics = loader.dataset.opt["name"], dict(getattr(model, "metric_results", {}))
        results[name] = metrics
        for attribute in ("metric_results", "best_metric_results"):
            vars(model).pop(attribute, None)
        if options["rank"] == 0:
            logging.getLogger("basicsr").info(f"Validation {name}, before training: {_words(metrics)}")
    return results


def _words(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{metric} {metric_text(value)}" for metric, value in metrics.items())


def final_results(
    options: Options,
    loaders: Sequence[Any],
    metrics: Mapping[str, Mapping[str, float]],
    before: Mapping[str, Mapping[str, float]],
) -> list[ValidationResult]:
    """What a run that is done ended with; empty without validation and on ranks other than 0.

    Args:
        options: The run's.
        loaders: Of the validation sets.
        metrics: Of the last validation, by set.
        before: Of the network that the run began with, by set.
    """
    if not options.get("val") or options["rank"] != 0:
        return []
    wanted = options["val"].get("metrics") or {}
    return [
        ValidationResult(
            dataset=loader.dataset.opt["name"],
            images=len(loader.dataset),
            metrics=dict(metrics.get(loader.dataset.opt["name"], {})),
            before=dict(before.get(loader.dataset.opt["name"], {})),
            reference=recorded_references(options["path"]["experiments_root"], loader, wanted, options.get("scale", 1)),
        )
        for loader in loaders
    ]
