"""When a write to a member may go (pure; the time is passed in).

Two things hold a write back. Somebody else may change the same object again and again: to answer
each change at once would be a write for each of theirs, without end. And after a cluster was lost
or came back there is much to write at once, which the members are to be spared.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

# So many writes of the same wish go at once, then one each `BRAKED_SECONDS`.
FREE_WRITES = 5
BRAKED_SECONDS = 1.0
# What is said of an object that is fought over holds for so long.
TOLD_SECONDS = 60.0
_PRUNE_FROM = 1000


@dataclasses.dataclass(slots=True)
class _Fought:
    wish: Hashable
    # When nothing of what was written counts any more.
    free_at: float
    took: bool = True
    told_at: float = float("-inf")


class Brake:
    """Holds back writes of one and the same wish to one object.

    What the user changes is another wish, so that it never waits for what somebody else does.
    """

    def __init__(self) -> None:
        self._objects: dict[Hashable, _Fought] = {}
        self._prune_at = _PRUNE_FROM

    def wait(self, what: Hashable, wish: Hashable, now: float) -> float:
        """Give for how many seconds a write has to wait, 0 if it may go.

        Args:
            what: the object, in its cluster.
            wish: what it is to be.
            now: seconds of a monotonic clock.
        """
        known = self._objects.get(what)
        if known is None or known.wish != wish:
            return 0.0
        return max(0.0, known.free_at - now - (FREE_WRITES - 1) * BRAKED_SECONDS)

    def wrote(self, what: Hashable, wish: Hashable, now: float, *, took: bool = True) -> None:
        """Count a write, and remember whether it took effect."""
        known = self._objects.get(what)
        if known is None or known.wish != wish:
            self._prune(now)
            self._objects[what] = _Fought(wish, now + BRAKED_SECONDS, took)
        else:
            known.free_at = max(known.free_at, now) + BRAKED_SECONDS
            known.took = took

    def tell(self, what: Hashable, now: float) -> bool:
        """Whether it is time to say that an object is fought over; counts as said."""
        known = self._objects.get(what)
        if known is None or not known.took or now - known.told_at < TOLD_SECONDS:
            return False
        known.told_at = now
        return True

    def __len__(self) -> int:
        return len(self._objects)

    def _prune(self, now: float) -> None:
        if len(self._objects) < self._prune_at:
            return
        self._objects = {
            what: known
            for what, known in self._objects.items()
            if known.free_at > now or now - known.told_at < TOLD_SECONDS
        }
        # Twice what is left, so that to look through it costs little a write.
        self._prune_at = max(_PRUNE_FROM, 2 * len(self._objects))


class Pacer:
    """Gives out turns to write, so many a second in each cluster.

    A turn that was given stays its object's: who comes back before it is told how long it is yet.

    Args:
        per_second: how many.
    """

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next: dict[str, float] = {}
        self._turns: dict[tuple[str, Hashable], float] = {}

    def wait(self, cluster: str, what: Hashable, now: float) -> float:
        """Give for how many seconds a write has to wait, 0 if it may go, which uses its turn.

        Args:
            cluster: where it goes to.
            what: the object.
            now: seconds of a monotonic clock.
        """
        turn = self._turns.pop((cluster, what), None)
        if turn is None:
            turn = max(now, self._next.get(cluster, now))
            self._next[cluster] = turn + self._gap
        if turn > now:
            self._turns[cluster, what] = turn
        return max(0.0, turn - now)

    def used(self, cluster: str, what: Hashable) -> None:
        """Take note that a turn was waited for and is used."""
        self._turns.pop((cluster, what), None)

    def forget(self) -> None:
        """Take back all turns: nothing has to wait any more."""
        self._next.clear()
        self._turns.clear()
