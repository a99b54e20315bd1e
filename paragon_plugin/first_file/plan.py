"""The numbers of a first option file: a pure function of the photographs, the machine and what is wished."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import OptionError
from .photographs import Machine, Photograph

Recipe = Literal["fidelity", "perceptual", "gan", "realesrgan"]
RECIPES: tuple[Recipe, ...] = ("fidelity", "perceptual", "gan", "realesrgan")
SCALES = (2, 3, 4, 8)
MEANT_FOR: dict[Recipe, str] = {
    "fidelity": "the highest PSNR",
    "perceptual": "natural texture without a discriminator",
    "gan": "sharp texture, against a discriminator",
    "realesrgan": "photographs with unknown blur, noise and JPEG artefacts",
}

PREFER: dict[Recipe, str] = {
    "fidelity": "nearness to the target image before looks",
    "perceptual": "looks before nearness to the target image",
}
"""The scheduler's wish that a recipe implies, with the reason; the others want both, which is the default."""

CARD_GB = {"nano": 2, "micro": 2, "tiny": 4, "xs": 6, "s": 8, "m": 12, "l": 16, "xl": 24}
"""Memory of the cards that a size is meant for, with 16 patches of 64 LR pixels."""

RATE = {"nano": 2e-3, "micro": 2e-3, "tiny": 2e-3, "xs": 1e-3, "s": 1e-3, "m": 4e-4, "l": 2e-4, "xl": 2e-4}
"""Learning rate of a training from scratch; the larger the network, the smaller."""

LEAST_PATCH = 16
"""Smallest useful patch, in LR pixels."""

DISCRIMINATOR_UNIT = 8
"""The U-Net discriminator halves a patch three times."""

STEPS_AN_EPOCH = 100
MOST_VALIDATION = 10


@dataclass(frozen=True)
class Choice:
    """A value and why it is that."""

    value: int | float
    reason: str


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    scale: int = 2
    recipe: Recipe = "fidelity"
    size: str = "tiny"
    iterations: int | None = None

    @property
    def adversarial(self) -> bool:
        """Whether the recipe has a discriminator."""
        return self.recipe in ("gan", "realesrgan")

    @property
    def card_gb(self) -> float:
        """Memory of the card that this training is meant for."""
        return CARD_GB[self.size] * (1.5 if self.adversarial else 1)


@dataclass(frozen=True)
class Plan:
    """All numbers of the file."""

    wish: Wish
    training: tuple[str, ...]
    validation: tuple[str, ...]
    unusable: tuple[Photograph, ...]
    split: str
    patch: Choice
    batch: Choice
    enlarge: Choice
    workers: Choice
    cache_mb: Choice
    iterations: Choice
    rate: Choice
    warmup: Choice
    ema: Choice
    validate_every: Choice
    save_every: Choice
    adversarial_from: Choice
    discriminator_features: Choice


def make_plan(photos: Sequence[Photograph], machine: Machine, wish: Wish) -> Plan:
    """Numbers that fit the images, the machine and each other.

    Raises:
        OptionError: There are fewer than two images that can be trained on.
    """
    least = LEAST_PATCH * wish.scale
    usable, unusable = _usable(photos, least)
    if len(usable) < 2:
        first = f"; {unusable[0].name} {unusable[0].problem}" if unusable else ""
        raise OptionError(
            "PHOTOS", f"holds {len(usable)} image(s) that can be used; one must train and another validate{first}"
        )
    step = max(2, math.ceil(len(usable) / (MOST_VALIDATION if machine.gpu_gb else 4)), min(10, len(usable)))
    validation = tuple(photo.name for photo in usable[step - 1 :: step])
    training = [photo for photo in usable if photo.name not in validation]
    patch = _patch(training, machine, wish)
    batch = _batch(machine, wish)
    iterations = _iterations(machine, wish)
    total = int(iterations.value)
    checks = max(1, _round(total / 10))
    warmup = min(2000, _round(total / 20))
    start = _round(total * 0.3)
    return Plan(
        wish=wish,
        training=tuple(photo.name for photo in training),
        validation=validation,
        unusable=tuple(unusable),
        split=f"every {_ordinal(step)} of {len(usable)} images, sorted by name, validates and is never trained on",
        patch=patch,
        batch=batch,
        enlarge=Choice(
            max(1, math.ceil(STEPS_AN_EPOCH * batch.value / len(training))),
            f"an epoch is about {STEPS_AN_EPOCH} steps: {len(training)} images, each seen several times",
        ),
        workers=_workers(machine),
        cache_mb=_cache(training, machine),
        iterations=iterations,
        rate=Choice(RATE[wish.size], f"for {wish.size} from scratch; falls to a hundredth along a cosine"),
        warmup=Choice(warmup, "a twentieth of the run, at most 2,000: the rate rises to its full value"),
        ema=Choice(
            _ema(total), "the average that is validated and used reaches back over about a twentieth of the run"
        ),
        validate_every=Choice(checks, "ten validations in the run"),
        save_every=Choice(checks, "a checkpoint beside each validation"),
        adversarial_from=Choice(start, "the network first learns to be faithful, for three tenths of the run"),
        discriminator_features=Choice(
            64 if machine.gpu_gb else 32, "as published" if machine.gpu_gb else "half of what is published: no GPU"
        ),
    )


def _usable(photos: Sequence[Photograph], least: int) -> tuple[list[Photograph], list[Photograph]]:
    usable, unusable = [], []
    for photo in photos:
        if not photo.problem and min(photo.width, photo.height) < least:
            small = f"is {photo.width} x {photo.height}, smaller than the smallest useful patch of {least}"
            photo = Photograph(photo.name, photo.width, photo.height, small)
        (unusable if photo.problem else usable).append(photo)
    return usable, unusable


def _patch(training: Sequence[Photograph], machine: Machine, wish: Wish) -> Choice:
    wanted = 64 if machine.gpu_gb else 32 if wish.adversarial else 48
    smallest = min(min(photo.width, photo.height) for photo in training)
    # The host cuts 400 pixels out of an HR image before Real-ESRGAN's degradations.
    most = min(smallest, 400) if wish.recipe == "realesrgan" else smallest
    unit = math.lcm(wish.scale, DISCRIMINATOR_UNIT)
    size = min(wanted * wish.scale, most) // unit * unit
    if size < wanted * wish.scale and most == smallest:
        return Choice(size, f"HR pixels; the smallest image that trains has a side of {smallest}")
    return Choice(size, f"HR pixels; the network sees {size // wish.scale} x {size // wish.scale}")


def _batch(machine: Machine, wish: Wish) -> Choice:
    if machine.gpu_gb is None:
        return Choice(4, "a discriminator and no GPU") if wish.adversarial else Choice(8, "without a GPU")
    batch = 16
    while batch > 2 and machine.gpu_gb * 16 < wish.card_gb * batch:
        batch //= 2
    return Choice(batch, f"{wish.size} on {machine.gpu_gb:.0f} GB; halve it if memory runs out")


def _iterations(machine: Machine, wish: Wish) -> Choice:
    if wish.iterations is not None:
        return Choice(wish.iterations, "as asked for (--iterations)")
    if machine.gpu_gb is None:
        return Choice(2000, "minutes without a GPU; --iterations or this line for more")
    long = wish.size in ("m", "l", "xl")
    return Choice(200_000 if long else 100_000, f"usual for {wish.size}; --iterations or this line for less")


def _workers(machine: Machine) -> Choice:
    if machine.gpu_gb is None:
        return Choice(0, "the network needs all cores")
    return Choice(max(1, min(4, machine.cores - 1)), f"processes that read images, of {machine.cores} cores")


def _cache(training: Sequence[Photograph], machine: Machine) -> Choice:
    needed = math.ceil(sum(photo.width * photo.height * 3 for photo in training) / 1e6)
    readers = max(1, int(_workers(machine).value))
    room = int(machine.memory_gb * 1000 / 4 / readers)
    if needed <= room:
        return Choice(max(needed, 1), f"megabytes; all {len(training)} images stay decoded in memory")
    return Choice(room, f"megabytes; a quarter of the memory, of {needed} that all images need decoded")


def _ema(total: int) -> float:
    return min(0.999, round(1 - 20 / max(total, 40), 4))


def _round(value: float) -> int:
    """To one significant digit, and a 5 after it: 1, 1.5, 2, 2.5, ... times a power of ten; at least 1."""
    if value < 10:
        return max(1, round(value))
    unit = 10 ** (len(str(int(value))) - 1) // 2
    return max(1, round(value / unit) * unit)


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
