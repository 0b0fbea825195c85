"""Delays that grow with each failure (pure; the random part is passed in)."""

from __future__ import annotations


def delay(attempt: int, *, first: float, longest: float, jitter: float) -> float:
    """Give the delay before attempt `attempt` (from 1), in seconds.

    Args:
        attempt: which attempt it is; the delay doubles with each.
        first: the first delay.
        longest: the bound.
        jitter: a number from 0 to 1; the delay is spread from half of it to all of it, so that
            many who failed together don't come again together.

    >>> [delay(n, first=1, longest=8, jitter=1.0) for n in (1, 2, 3, 4, 5)]
    [1.0, 2.0, 4.0, 8.0, 8.0]
    """
    # The exponent is bounded, since 2 ** attempt grows without end while a member is away.
    full = min(longest, first * 2.0 ** min(attempt - 1, 32))
    return full * (0.5 + 0.5 * jitter)
