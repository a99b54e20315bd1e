"""The limit on losses that do not compare the output with its target: how much of a step's update they may have.

The size of such a loss's gradient does not say what it should be. An adversarial gradient grows as its discriminator
learns, and a penalty knows no target. So they are held under a share and never raised. The limit follows the step's own
gradients: it needs no window, and nothing that was measured too early stays.
"""

from collections.abc import Mapping, Sequence


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
