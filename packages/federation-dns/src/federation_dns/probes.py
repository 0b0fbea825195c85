"""What this agent's own probes of services' addresses say. Pure; `prober` makes the connections.

A target is a service's address in a region, and a TCP port. It has three answers, not two: a
target that never answered this agent is unknown and not lost, since the way there may be closed
(a firewall, a private range), which is no fault of the service. Failing means `misses` in a row
over at least the hold that a region has; one success ends it. A target that has missed is asked
again each second, out of a share of its own, so that a whole region that is silent delays nobody:
each region has its own queue, and its own part of the budget.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from federation_dns.zone import RegionState

_AGAIN = 1.0


class Target(NamedTuple):
    """A service's address in one region."""

    region: str
    namespace: str
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to ask.

    Attributes:
        interval: between two questions to one target, if the budget allows.
        budget: questions a second to all targets together.
        hold: how long a target must miss.
        misses: and how often.
    """

    interval: float = 5.0
    budget: float = 100.0
    hold: float = 5.0
    misses: int = 3


@dataclass(slots=True)
class _Seen:
    port: int
    answered: bool = False
    misses: int = 0
    since: float = 0.0
    due: float = 0.0


@dataclass(slots=True)
class _Queue:
    """One region's targets by when they are due: the well ones, and those that missed."""

    due: list[tuple[float, Target]] = field(default_factory=list[tuple[float, Target]])
    again: list[tuple[float, Target]] = field(default_factory=list[tuple[float, Target]])
    turn: bool = False


class Probes:
    """The targets of all regions, and what is known of each."""

    def __init__(self, pace: Pace, failing: Iterable[Target] = ()):
        self.pace = pace
        # What failed before a restart had answered once; it goes on failing until it answers.
        self._before = frozenset(failing)
        self._seen: dict[str, dict[Target, _Seen]] = {}
        self._queues: dict[str, _Queue] = {}

    def take(self, now: float, state: RegionState, allowed: Callable[[str, str], bool]) -> None:
        """Take one region's services; what is known of those that stay is kept.

        Args:
            now: the monotonic clock.
            state: the region's.
            allowed: whether a region may publish an address. No other one is connected to: a
                region must not send its peers to where it likes.
        """
        region = state.region
        ports = {
            Target(region, s.namespace, s.name, address): s.probe
            for s in state.services
            if s.probe
            for address in s.addresses
            if allowed(region, address)
        }
        if not ports:
            self.drop(region)
            return
        old = self._seen.get(region, {})
        queue = self._queues.setdefault(region, _Queue())
        kept = self._seen[region] = {
            t: seen for t, seen in old.items() if ports.get(t) == seen.port
        }
        for target, port in ports.items():
            if target in kept:
                continue
            seen = kept[target] = _Seen(port, due=now + self.pace.interval * _share(target))
            if target in self._before:
                seen.answered, seen.misses, seen.since = True, self.pace.misses, -1e9
            heapq.heappush(queue.due, (seen.due, target))
        self._before = frozenset(t for t in self._before if t.region != region)

    def drop(self, region: str) -> None:
        """Forget a region that left."""
        self._seen.pop(region, None)
        self._queues.pop(region, None)

    @property
    def regions(self) -> Collection[str]:
        """Regions that have targets."""
        return self._queues.keys()

    def rate(self) -> float:
        """Questions a second to each region at most."""
        return self.pace.budget / max(1, len(self._queues))

    def next(self, region: str, now: float) -> tuple[Target, int] | None:
        """The next target to ask and its port; None: none is due.

        Every second question at most goes to those that missed.
        """
        queue = self._queues.get(region)
        if queue is None:
            return None
        queue.turn = not queue.turn
        for heap in (queue.again, queue.due) if queue.turn else (queue.due, queue.again):
            while heap and heap[0][0] <= now:
                due, target = heapq.heappop(heap)
                seen = self._seen[region].get(target)
                if seen is not None and seen.due == due:  # else it went, or came anew
                    return target, seen.port
        return None

    def answered(self, target: Target, now: float, *, well: bool) -> None:
        """Note how a question ended, and when the next one is due."""
        seen, queue = self._found(target), self._queues.get(target.region)
        if seen is None or queue is None:
            return
        if well:
            seen.answered, seen.misses = True, 0
        else:
            seen.since = now if seen.misses == 0 else seen.since
            seen.misses += 1
        missed = seen.answered and 0 < seen.misses <= 10 * self.pace.misses
        seen.due = now + (_AGAIN if missed else self.pace.interval)
        heapq.heappush(queue.again if missed else queue.due, (seen.due, target))

    def skipped(self, target: Target, now: float) -> None:
        """A question could not be asked; it is due again."""
        seen, queue = self._found(target), self._queues.get(target.region)
        if seen is not None and queue is not None:
            seen.due = now + _AGAIN
            heapq.heappush(queue.due, (seen.due, target))

    def doubt(self, regions: Collection[str]) -> None:
        """Forget the misses in `regions`: of a time that proves nothing about their services.

        So when this agent slept, and when a whole region was not heard.
        """
        for region in regions:
            for seen in self._seen.get(region, {}).values():
                seen.misses = 0

    def failing(self, now: float) -> frozenset[Target]:
        """What this agent calls lost."""
        return frozenset(
            target
            for found in self._seen.values()
            for target, seen in found.items()
            if seen.answered
            and seen.misses >= self.pace.misses
            and now - seen.since >= self.pace.hold
        )

    def __len__(self) -> int:
        return sum(map(len, self._seen.values()))

    def _found(self, target: Target) -> _Seen | None:
        return self._seen.get(target.region, {}).get(target)


def _share(target: Target) -> float:
    """A number from 0 to 1 by which the first questions are spread."""
    return int.from_bytes(hashlib.sha256("/".join(target).encode()).digest()[:4], "big") / 2**32
