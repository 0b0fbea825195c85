"""What Designate refused or did not bring out yet, and when to try again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from federation_dns.plan import Change
from federation_dns.providers.recordsets import Key, Reading, ZoneSeen

_FIRST, _LONGEST = 15.0, 120.0
_NUDGES = 5
_FIRST_NUDGE = 10.0
_SHOWN = 3


@dataclass
class _Refusal:
    change: Change
    why: str
    times: int
    until: float


@dataclass
class Refusals:
    """Names that were refused; each waits alone, and longer each time it is refused again."""

    _by_name: dict[str, _Refusal] = field(default_factory=dict[str, _Refusal])

    def holds(self, change: Change, now: float) -> bool:
        """Whether a change has to wait; another change of the same name has not."""
        found = self._by_name.get(change.name)
        return found is not None and found.change == change and now < found.until

    def times(self, change: Change) -> int:
        """How often this very change was refused."""
        found = self._by_name.get(change.name)
        return 0 if found is None or found.change != change else found.times

    def add(self, change: Change, why: str, now: float) -> None:
        """One more refusal."""
        times = self.times(change)
        wait = min(_LONGEST, _FIRST * 2**times)
        self._by_name[change.name] = _Refusal(change, why, times + 1, now + wait)

    def forget(self, name: str) -> None:
        """It was written."""
        self._by_name.pop(name, None)

    def keep(self, changes: Iterable[Change]) -> None:
        """Forget what is no longer planned: it was written, or is not wanted any more."""
        planned = {change.name: change for change in changes}
        for name, found in list(self._by_name.items()):
            if planned.get(name) != found.change:
                del self._by_name[name]

    def notes(self) -> tuple[str, ...]:
        """One text a reason."""
        by_why: dict[str, list[str]] = {}
        for name, found in sorted(self._by_name.items()):
            by_why.setdefault(found.why, []).append(name)
        return tuple(f"{shown(names)}: {why}" for why, names in by_why.items())


@dataclass
class Settling:
    """Changes that were taken and are not at the name servers yet.

    Args:
        limit: seconds after which they are late.
    """

    limit: float
    _pending: dict[Key, tuple[int, float]] = field(default_factory=dict[Key, tuple[int, float]])
    _erring: tuple[str, ...] = ()
    _in_error: bool = False
    _nudges: int = 0
    _nudge_at: float = 0.0

    def saw_zone(self, zone: ZoneSeen, now: float) -> None:
        """What the zone says of itself."""
        if zone.status == "ACTIVE":
            self._pending = {}
            self._erring, self._in_error, self._nudges = (), False, 0
        elif zone.status == "ERROR" and not self._in_error:
            self._in_error = True
            self._nudge_at = max(self._nudge_at, now + _FIRST_NUDGE)

    def saw(self, reading: Reading, now: float) -> None:
        """What each record set of ours says."""
        versions = {k: h.version for k, h in reading.ours.items() if h.status == "PENDING"}
        versions |= dict.fromkeys(reading.leaving, -1)
        pending: dict[Key, tuple[int, float]] = {}
        for key, version in versions.items():
            old = self._pending.get(key)
            pending[key] = old if old and old[0] == version else (version, now)
        self._pending = pending  # read by another thread meanwhile: never changed in place
        self._erring = reading.erring
        self.saw_zone(reading.zone, now)

    def nudge(self, now: float) -> bool:
        """Whether Designate is to be made to try again now."""
        if not (self._in_error or self._erring) or self._nudges >= _NUDGES or now < self._nudge_at:
            return False
        self._nudges += 1
        self._nudge_at = now + _FIRST_NUDGE * 2**self._nudges
        return True

    def behind(self, now: float) -> str:
        """Why the name servers do not answer what was written; nothing if they do."""
        if self._in_error or self._erring:
            what = shown(self._erring) if self._erring else "the zone"
            tries = (
                f"written again {self._nudges} times" if self._nudges else "to be written again"
            )
            if self._nudges >= _NUDGES:
                tries = f"written again {_NUDGES} times, now left to Designate's own recovery"
            return (
                f"{what} in ERROR: Designate's name servers do not take it ({tries}); look at "
                "designate-worker's log and at the pool's servers"
            )
        late = sorted(key[0] for key, (_, at) in self._pending.items() if now - at > self.limit)
        if late:
            return (
                f"{shown(late)} PENDING for more than {self.limit:g} s: Designate took it and "
                "does not bring it out; look at designate-worker and designate-producer"
            )
        return ""


def shown(names: Iterable[str]) -> str:
    """Some names, and how many more."""
    listed = sorted(set(names))
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
