"""The limit on adversarial losses: how much of a step's update they may have.

Before its discriminator has learnt something an adversarial gradient means nothing, and its size does not say what
it will be. Without a limit from the first step on, a scheduler does harm here.
"""

from collections.abc import Mapping, Sequence


def adversarial_limits(
    contributions: Mapping[str, float],
    new: Sequence[str],
    settled: Sequence[str],
    *,
    unsettled_share: float,
    settled_share: float,
) -> tuple[dict[str, float], float]:
    """Factors below 1 that keep adversarial losses within their share of this step, and that share.

    New losses have `unsettled_share` together. Settled ones have the larger of the two shares, with the new ones
    counted in. New losses give way to settled ones, but keep half of what there is.

    Args:
        contributions: u_i m_i n_i of every active loss.
        new: Adversarial losses without a baseline.
        settled: Adversarial losses with one, as far as they are limited.
        unsettled_share: Limit of the new ones.
        settled_share: Limit of the settled ones, where larger.
    """
    allowed = max(unsettled_share, settled_share) if settled else unsettled_share
    others = sum(size for name, size in contributions.items() if name not in new and name not in settled)
    if others <= 0 or allowed >= 1:
        return {}, allowed
    of_new, of_settled = (sum(contributions[name] for name in names) for names in (new, settled))
    room = allowed / (1 - allowed) * others
    room_of_new = min(unsettled_share / (1 - unsettled_share) * others, max(room - of_settled, room / 2))
    limits: dict[str, float] = {}
    if of_new > room_of_new:
        limits |= dict.fromkeys(new, room_of_new / of_new)
        of_new = room_of_new
    if of_settled + of_new > room * (1 + 1e-9):
        limits |= dict.fromkeys(settled, (room - of_new) / of_settled)
    return limits, allowed
