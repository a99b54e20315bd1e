"""The limits on losses that do not compare the output with its target: their largest and smallest share of a step.

The size of such a loss's gradient does not say what it should be. An adversarial gradient grows as its discriminator
learns, and a penalty knows no target. So they are held under a share at each step, and an adversarial loss above one on
average. Neither needs a window, and nothing that was measured too early stays.
"""

from collections.abc import Mapping, Sequence

RAISED_AT_MOST = 100.0
"""A smaller gradient is that of a discriminator that has learnt nothing, or says it all already."""


def floor_factor(size: float, least: float) -> float:
    """The factor, from 1 to `RAISED_AT_MOST`, that raises losses to their smallest share.

    With r the recent average of their size over O, what the losses make that are not limited, it is
    `least / (1 - least) / r`. One step's gradient may vanish by chance; the average says what is usual.

    Args:
        size: r, the sum over the losses; 0 where nothing is known.
        least: Their smallest share together, in [0, 1).
    """
    return min(max(least / (1 - least) / size, 1.0), RAISED_AT_MOST) if size > 0 else 1.0


def share_limits(
    contributions: Mapping[str, float], names: Sequence[str], others: float, share: float
) -> dict[str, float]:
    """Factors below 1 that keep losses together within their share of a step.

    With c_i the contributions and O what the losses make that are not limited, the room is `share / (1 - share) O`.
    Each loss gets `min(c_i, level)`, with the level at which the sum fills the room: one that asks for little keeps it,
    however much another one asks for.

    Args:
        contributions: u_i m_i n_i by loss, ramp included.
        names: The losses under this limit.
        others: Sum of the contributions of the losses that compare with the target.
        share: Largest share of these losses together, in (0, 1).

    Returns:
        The factor of each loss that is held; nothing where all fit, or where nothing else trains.
    """
    if others <= 0:
        return {}
    rest = share / (1 - share) * others
    asked = sorted((contributions[name], name) for name in names if contributions[name] > 0)
    if sum(size for size, _ in asked) <= rest * (1 + 1e-9):
        return {}
    for place, (size, _) in enumerate(asked):
        level = rest / (len(asked) - place)
        if size > level:
            return {name: level / size for size, name in asked[place:]}
        rest -= size
    return {}
