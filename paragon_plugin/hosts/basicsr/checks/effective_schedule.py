"""Says how a recipe's losses will be scheduled, without training: what `paragon check` prints."""

from collections.abc import Sequence

from torch import nn

from ....errors import OptionError, errors_under
from ....scheduling.network_size import detect_size
from ....scheduling.scheduler import DynamicLossScheduler, LossInfo
from ....scheduling.wish import limit_texts, target_text
from ..options.file import Options
from ..options.problems import Problems
from ..options.scheduling_block import BLOCK, scheduling_of
from ..recipe.recipe import LossTerm, RecipeLoss


def effective_schedule(
    options: Options, recipe: Sequence[RecipeLoss], network: nn.Module, problems: Problems
) -> list[str]:
    """The losses with role, weight and begin, the target rule, and the scheduler's parameters at the first iteration.

    Args:
        options: Prepared options whose `train.total_iter` and scheduling block are sound.
        recipe: The losses.
        network: The network that trains; its size chooses the preset.
        problems: Takes what the scheduler refuses, and a warning where it has nothing to do.

    Returns:
        Lines to print; those about the scheduler only where it is on.
    """
    terms = [term for loss in recipe for term in loss.terms]
    total = options["train"]["total_iter"]
    block = scheduling_of(options)
    for option, what in block.warnings():
        problems.warn(f"{BLOCK}.{option}", what)
    width = max(len(term.name) for term in terms)
    lines = [f"Losses over {total:,} iterations:"]
    lines += [f"  {term.name:<{width}}  {term.role:<11}  weight {term.weight:g}{_when(term)}" for term in terms]
    if not block.enabled:
        return [*lines, "Loss scheduling: off; the weights are constant."]
    infos = [LossInfo(term.name, term.role, term.weight) for term in terms if term.weight != 0]
    if len(infos) == 1:
        problems.warn(BLOCK, f"{infos[0].name} is the only loss that trains: there is nothing to balance")
    size, reason = detect_size(network)
    try:
        with errors_under(BLOCK):
            scheduler = DynamicLossScheduler(infos, block, total_iter=total, size=size)
    except OptionError as error:
        problems.error(error.path, error.problem)
        return lines
    window = scheduler.parameters(1).baseline_iterations
    if window >= total and block.baseline_iterations is None:
        problems.warn(BLOCK, f"its baseline takes {window} iterations, total_iter is {total}: it never acts")
    target = target_text(block, [info.role for info in infos])
    balanced = [info.name for info in infos if scheduler.signal.holds(info.name)]
    each = "Each loss is" if len(balanced) == len(infos) else f"{', '.join(balanced) or 'No loss'}:"
    return [
        *lines,
        f"Loss scheduling: on; target {target}; {reason}. Parameters at the first iteration:",
        *scheduler.describe_parameters().splitlines(),
        f"{each} observed for {window} iterations, then calibrated.",
        *limit_texts(scheduler.signal.limits([info.name for info in infos])),
    ]


def _when(term: LossTerm) -> str:
    begin = f", from iteration {term.start_iter}" if term.start_iter > 1 else ""
    ramp = f", rising over {term.ramp_iter}" if term.ramp_iter > 0 else ""
    return f"{begin}{ramp}" + (" (computed and logged only)" if term.weight == 0 else "")
