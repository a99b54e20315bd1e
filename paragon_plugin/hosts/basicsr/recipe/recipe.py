"""Turns the `train:` options into the recipe: which losses, under which names, with which weights, from when on.

Two forms, freely mixed: BasicSR's `pixel_opt:`, `perceptual_opt:`, ... blocks and the `losses:` list of the newer
forks. A loss is named after its type in snake case (`L1Loss` -> `l1_loss`); two losses of one type need a `name`.
"""

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from ....errors import OptionError, suggestion, whole_number
from ....losses.ldl_loss import LDLLoss
from ....scheduling.options import ROLES, LossRole
from ....scheduling.roles import role_of
from ..options.scheduling_block import BLOCK
from .criterion_calls import Call, call_for, relativistic_call
from .downloaded_weights import named_downloads
from .step_inputs import StepInputs

_OURS = ("type", "name", "role", "start_iter", "ramp_iter")
"""Keys of a loss block that are not the criterion's own arguments."""

HOST_ORDER = ("pixel_opt", "ldl_opt", "perceptual_opt", "gan_opt")
"""Blocks in the order in which the host sums them: floating-point sums depend on it."""


@dataclass(frozen=True)
class LossTerm:
    """One scalar of the recipe."""

    name: str
    role: LossRole
    weight: float
    """Base weight; with 0 the loss is computed and logged but never trains."""
    start_iter: int
    """First iteration at which it counts."""
    ramp_iter: int = 0
    """Iterations over which it then rises linearly to its full weight."""

    def ramp(self, iteration: int) -> float:
        """Part of the weight that counts at an iteration from `start_iter` on: in (0, 1]."""
        if self.ramp_iter <= 0:
            return 1.0
        return min(1.0, (iteration - max(self.start_iter, 1) + 1) / self.ramp_iter)


class RecipeLoss(nn.Module):
    """One criterion of the host, and the terms its result holds (VGG losses give two from one pass).

    Args:
        criterion: The host's criterion, its base weight inside (1 for a term of weight 0).
        terms: The terms in the order of the criterion's results.
        call: How the criterion is called, see `criterion_calls`.
        outer_weight: Factor on the result, for criteria that take no weight.
    """

    def __init__(self, criterion: nn.Module, terms: tuple[LossTerm, ...], call: Call, outer_weight: float = 1.0):
        super().__init__()
        self.criterion = criterion
        self.terms = terms
        self.call = call
        self.outer_weight = outer_weight

    @property
    def trains(self) -> bool:
        return any(term.weight != 0 for term in self.terms)

    @property
    def compares_with_truth(self) -> bool:
        """Whether the output's distance from the ground truth is all that it looks at."""
        return not (self.call.uses_discriminator or self.call.uses_ema)

    def active(self, iteration: int) -> bool:
        return iteration >= self.terms[0].start_iter

    def forward(self, output: Tensor, inputs: StepInputs) -> dict[str, Tensor]:
        """Scalar losses by term name. output: (B, C, H, W)."""
        result = self.call.run(self.criterion, output, inputs, self.terms[0].role)
        values = [v for v in result if v is not None] if isinstance(result, tuple) else [result]
        weigh = self.outer_weight
        return {
            term.name: value if weigh == 1 else value * weigh for term, value in zip(self.terms, values, strict=True)
        }


def loss_blocks(train: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The loss blocks of the `train:` options with their paths, in the order written.

    Raises:
        OptionError: A block that is not a mapping or has no type.
    """
    keys = [key for key in HOST_ORDER if key in train]
    for key in keys + [key for key in train if str(key).endswith("_opt") and key not in HOST_ORDER]:
        if train[key] is not None:
            yield _checked_block(f"train.{key}", train[key])
    listed = train.get("losses") or []
    if not isinstance(listed, list):
        raise OptionError("train.losses", f"must be a list of losses ('- type: L1Loss'), is {listed!r}")
    for position, block in enumerate(listed):
        yield _checked_block(f"train.losses[{position}]", block)


def _checked_block(path: str, block: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(block, Mapping):
        raise OptionError(path, f"must be a block with 'type: ...', is {block!r}")
    if not isinstance(block.get("type"), str):
        raise OptionError(f"{path}.type", f"must name a loss, is {block.get('type')!r}")
    return path, dict(block)


def build_recipe(
    train: Mapping[str, Any],
    manual_weights: Mapping[str, float],
    *,
    discriminator: bool = False,
    relativistic: bool = False,
) -> list[RecipeLoss]:
    """Build every loss of the `train:` options.

    Args:
        train: The option file's `train:` block.
        manual_weights: Base weights by loss name that replace the configured ones.
        discriminator: Whether the model trains one, so that adversarial losses can be had.
        relativistic: Whether an adversarial loss is relativistic where its block does not say.

    Raises:
        OptionError: No loss at all, an unknown loss or option, names that clash, a weight for a loss that is not there.
    """
    known = {name.removesuffix("_basicsr") for name, _ in LOSS_REGISTRY}
    blocks = list(loss_blocks(train))
    names: dict[str, str] = {}
    for path, block in blocks:
        if block["type"] not in known:
            raise OptionError(f"{path}.type", f"no loss '{block['type']}'{suggestion(block['type'], known)}")
        if not discriminator and _needs_discriminator(block["type"]):
            raise OptionError(
                path, f"{block['type']} needs a discriminator; use 'model_type: ParagonGANModel' and a block network_d"
            )
        for name, _ in _weights(path, block):
            if name in names:
                raise OptionError(path, f"'{name}' is also the name of {names[name]}; give one of them a 'name'")
            names[name] = path
    for name in manual_weights:
        if name not in names:
            raise OptionError(f"{BLOCK}.manual_weights.{name}", f"no such loss{suggestion(name, names)}")
    if not names:
        raise OptionError("train", "no loss: give pixel_opt, perceptual_opt or a losses list")
    recipe = [_build(path, block, manual_weights, relativistic) for path, block in blocks]
    if not any(loss.trains for loss in recipe):
        raise OptionError("train", "every loss has weight 0; nothing would train")
    first = min(loss.terms[0].start_iter for loss in recipe if loss.trains)
    if first > 1:
        raise OptionError("train", f"no loss trains before iteration {first} (start_iter); one must from the start")
    return recipe


def snake_case(loss_type: str) -> str:
    """`L1Loss` -> `l1_loss`, `GANLoss` -> `gan_loss`, `WeightedTVLoss` -> `weighted_tv_loss`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", loss_type)
    return words.lower()


def _criterion_arguments(loss_type: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(LOSS_REGISTRY.get(loss_type)).parameters


def _weights(path: str, block: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(term name, option that holds its base weight) of a block.

    A VGG criterion holds two terms with a weight each; like in the host, one whose weight is 0 is off.
    """
    name = block.get("name", "ldl_loss" if path == "train.ldl_opt" else snake_case(block["type"]))
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        raise OptionError(f"{path}.name", f"must be a word of letters, digits and _, is {name!r}")
    arguments = _criterion_arguments(block["type"])
    if "perceptual_weight" not in arguments:
        return [(name, "loss_weight")]
    style = f"{name}_style" if "name" in block else "style_loss"
    pairs = [(name, "perceptual_weight"), (style, "style_weight")]
    on = [(n, key) for n, key in pairs if _number(path, key, block.get(key, arguments[key].default)) != 0]
    if not on:
        raise OptionError(path, "perceptual_weight and style_weight are both 0; leave the block out instead")
    return on


def _number(path: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise OptionError(f"{path}.{key}", f"must be a finite number, is {value!r}")
    return float(value)


def _needs_discriminator(loss_type: str) -> bool:
    return is_adversarial(loss_type) or getattr(LOSS_REGISTRY.get(loss_type), "looks_at_features", False)


def is_adversarial(loss_type: str) -> bool:
    """Whether a registered loss is one that trains a discriminator: it has a `gan_type`."""
    return "gan_type" in _criterion_arguments(loss_type)


def _build(path: str, block: Mapping[str, Any], manual_weights: Mapping[str, float], relativistic: bool) -> RecipeLoss:
    loss_type = block["type"]
    options = {key: value for key, value in block.items() if key not in _OURS}
    arguments = _criterion_arguments(loss_type)
    local_map = path == "train.ldl_opt"  # the host's block names the pixel loss inside
    role = block.get("role", "structural" if local_map else role_of(loss_type))
    if "role" in block and role not in ROLES:
        raise OptionError(f"{path}.role", f"must be one of {', '.join(ROLES)}, is {role!r}")
    start, ramp = (whole_number(f"{path}.{key}", block.get(key, 0)) for key in ("start_iter", "ramp_iter"))
    if is_adversarial(loss_type):
        relativistic = options.pop("relativistic", relativistic)
        if not isinstance(relativistic, bool):
            raise OptionError(f"{path}.relativistic", f"must be true or false, is {relativistic!r}")

    terms: list[LossTerm] = []
    outer_weight = 1.0
    for name, key in _weights(path, block):
        default = arguments[key].default if key in arguments else 1.0
        weight = _number(path, key, manual_weights.get(name, options.get(key, default)))
        if weight < 0 and key != "loss_weight":
            raise OptionError(f"{path}.{key}", f"{loss_type} takes no negative weight, is {weight:g}")
        if weight == 0 and key != "loss_weight":  # one half of a VGG criterion: off, as in the host
            options[key] = 0
            continue
        terms.append(LossTerm(name, cast(LossRole, role), weight, start, ramp))
        inside = weight if weight != 0 else 1.0
        if key in arguments:
            options[key] = inside
        else:
            options.pop(key, None)
            outer_weight = inside

    if not terms:
        raise OptionError(path, "every weight of it is 0; leave the block out instead")
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in arguments.values())
    for key in options:
        if key not in arguments and not takes_any:
            raise OptionError(f"{path}.{key}", f"unknown option of {loss_type}{suggestion(key, {*arguments, *_OURS})}")
    try:
        with named_downloads():
            criterion = LOSS_REGISTRY.get(loss_type)(**options)
    except (OSError, TypeError, ValueError, NotImplementedError, KeyError, AttributeError) as error:
        raise OptionError(path, f"{loss_type} cannot be built: {error}") from error
    if is_adversarial(loss_type) and relativistic:
        call = relativistic_call(path, criterion)
    elif local_map:
        criterion = LDLLoss(criterion=criterion)
        call = call_for(criterion)
    else:
        call = call_for(criterion)
    return RecipeLoss(criterion, tuple(terms), call, outer_weight)
