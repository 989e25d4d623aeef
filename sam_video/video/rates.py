"""Derive frame rates from the times between frames."""

from collections.abc import Sequence
from fractions import Fraction

MAX_DENOMINATOR = 1001
"""Largest denominator of a rate, as in television."""


def rate_of(steps: Sequence[float], tick: float, quantile: float = 0.5) -> Fraction | None:
    """Return the simplest rate that agrees with all steps near the typical one.

    Args:
        steps: Seconds from each frame to the next.
        tick: The unit of time stamps in seconds.
        quantile: Selects the typical step: 0.5 is the median, 0 the shortest.

    Returns:
        Frames per second, or None if no step is above 0.
    """
    positive = sorted(step for step in steps if step > 0)
    if not positive:
        return None
    typical = positive[round(quantile * (len(positive) - 1))]
    similar = [step for step in positive if 0.75 * typical < step < 1.25 * typical]
    rate = len(similar) / sum(similar)
    # If ticks are fine and all steps are equal, the tick was chosen to fit the rate exactly.
    is_exact = tick < typical / 100 and max(similar) - min(similar) < tick / 2
    tolerance = rate * (1e-10 if is_exact else tick / sum(similar))
    for denominator in range(1, MAX_DENOMINATOR + 1):
        simple = Fraction(rate).limit_denominator(denominator)
        if simple > 0 and abs(simple - rate) <= tolerance:
            return simple
    return Fraction(rate).limit_denominator(MAX_DENOMINATOR)
