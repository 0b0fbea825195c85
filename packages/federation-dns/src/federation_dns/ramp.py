"""How a region that was lost comes back: in steps, not to be hit by all at once. Pure.

Of its services a tenth is answered with again, then half, then all, in an order drawn from their
names, the same at every agent. A step is taken when those answered with so far have held for its
time: none of them has lost its last ready endpoint, or its address to the probes. If one has, the
time begins anew without it; so each service delays a return once, and what fails leaves the
answers by itself.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

SHARES = (0.1, 0.5, 1.0)

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Ramp:
    """A region on its way back.

    Attributes:
        step: which of `SHARES` it has reached.
        since: when that step's time began.
        held: the services that must hold while it runs.
        failed: those that did not, once.
    """

    step: int
    since: float
    held: frozenset[Name]
    failed: frozenset[Name] = frozenset()


def admitted(services: Collection[Name], step: int) -> frozenset[Name]:
    """The services that are answered with at a step."""
    ranked = sorted(services, key=_draw)
    return frozenset(ranked[: math.ceil(SHARES[step] * len(ranked))])


@functools.lru_cache(maxsize=65536)
def _draw(name: Name) -> tuple[bytes, Name]:
    return hashlib.sha256("/".join(name).encode()).digest(), name


def advance(
    now: float, ramp: Ramp | None, services: Mapping[Name, bool], hold: float
) -> Ramp | None:
    """One look at a region that is back; None: it is wholly back.

    Args:
        now: the monotonic clock.
        ramp: where it stands; None: it begins.
        services: all its services, and whether each is well.
        hold: a step's time.
    """
    if ramp is None:
        return _at(now, 0, services, frozenset())
    failed = frozenset(name for name in ramp.held if not services.get(name, True))
    if failed:
        return _at(now, ramp.step, services, ramp.failed | failed)
    if now - ramp.since < hold:
        return ramp
    return _at(now, ramp.step + 1, services, ramp.failed)


def _at(
    now: float, step: int, services: Mapping[Name, bool], failed: frozenset[Name]
) -> Ramp | None:
    if step >= len(SHARES) - 1:
        return None
    inside = admitted(services, step)
    return Ramp(step, now, frozenset(n for n in inside - failed if services[n]), failed)
