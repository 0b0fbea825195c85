"""Which members say what they should not: named, and otherwise ignored. Pure.

A broken or lying peer costs its one vote and nothing else, so nobody would miss it until that
vote is needed. What is remembered here is shown in the status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from federation_dns.verdict import LOST, Judgement

KEEP_S = 60.0
"""For so long a fault is shown after it was seen last."""
STALE = 10
"""So many votes in a row that are older than one that counted are no matter of order."""
BEHIND_S = 6.0
"""For so long what a member's votes announce may be on its way."""
CLOCKS_S = (300.0, 60.0, 5.0)
"""Two clocks differ by more than these; the worst is where TSIG ends (RFC 8945, 5.2.3)."""
HEARD_S = 10.0
"""For so long a member's clock is remembered after its last vote."""


@dataclass(slots=True)
class _Fault:
    text: str
    at: float


@dataclass(slots=True)
class _Clock:
    """A member's clock: how far it was off last, and how many votes say that it is.

    One vote alone may have waited in a socket; one that jumps back and forth is right at times.
    """

    off: float = 0.0
    at: float = 0.0
    score: int = 0

    def take(self, ahead: float, now: float) -> None:
        self.at = now
        if abs(ahead) > CLOCKS_S[-1]:
            self.off, self.score = abs(ahead), min(self.score + 2, 8)
        else:
            self.score = max(self.score - 1, 0)

    @property
    def wrong(self) -> bool:
        return self.score >= 6


class Faults:
    """What was seen of each member lately; time is passed in."""

    def __init__(self) -> None:
        self._wrong: dict[str, _Fault] = {}
        self._stale: dict[str, int] = {}
        self._former: dict[str, tuple[int, float]] = {}
        self._behind: dict[str, float] = {}
        self._clocks: dict[str, _Clock] = {}

    def wrong(self, region: str, text: str, now: float) -> None:
        """A member said what is no message, or speaks for somebody else."""
        self._wrong[region] = _Fault(text, now)

    def counted(self, region: str, now: float, *, accepted: bool, former: bool = False) -> None:
        """A vote came; it counted or was older than one that did, maybe of a former life."""
        self._stale[region] = 0 if accepted else self._stale.get(region, 0) + 1
        if former:
            count, at = self._former.get(region, (0, now))
            self._former[region] = (count + 1 if now - at < HEARD_S else 1, now)

    def announced(self, region: str, now: float, *, newer: bool) -> None:
        """A vote came; it names something newer than what came over, or doesn't."""
        if newer:
            self._behind.setdefault(region, now)
        else:
            self._behind.pop(region, None)

    def came(self, region: str) -> None:
        """What the member announced came over."""
        self._behind.pop(region, None)

    def clock(self, region: str, ahead: float, now: float) -> None:
        """A vote came whose sender's wall clock is so far ahead of ours."""
        self._clocks.setdefault(region, _Clock()).take(ahead, now)

    def clocks(self, own: str, now: float) -> dict[str, str]:
        """Whose wall clock is wrong: a member's, or our own if most others' differ from it."""
        heard = {r: c for r, c in sorted(self._clocks.items()) if now - c.at < HEARD_S}
        off = {region: clock.off for region, clock in heard.items() if clock.wrong}
        if len(off) > 1 and 2 * len(off) > len(heard):
            which = f"this region's clock and those of {len(off)} of {len(heard)} others"
            return {own: f"{which} {_differ(min(off.values()))}"}
        return {region: f"its clock and this region's {_differ(s)}" for region, s in off.items()}

    def forget(self, region: str) -> None:
        """It is a member no more, or one with another identity."""
        self._wrong.pop(region, None)
        self._stale.pop(region, None)
        self._former.pop(region, None)
        self._behind.pop(region, None)
        self._clocks.pop(region, None)

    def shown(self, now: float) -> dict[str, str]:
        """What is wrong, by member."""
        found = {
            region: "its votes come, and what they announce (services, or what it accuses) does "
            f"not within {BEHIND_S:g} s: do large packets pass between the regions (MTU)?"
            for region, since in self._behind.items()
            if now - since >= BEHIND_S
        }
        found |= {
            region: "two agents speak for it: votes of a former life come between those of the "
            "newest one; stop one of them"
            for region, (count, at) in self._former.items()
            if count >= STALE and now - at < HEARD_S
        }
        found |= {r: f.text for r, f in self._wrong.items() if now - f.at < KEEP_S}
        for region, count in self._stale.items():
            if count >= STALE:
                found[region] = (
                    "its votes are older than one that counted, so they are ignored until it has "
                    "a new certificate (its state or clock was put back)"
                )
        return dict(sorted(found.items()))


def _differ(seconds: float) -> str:
    """By how much, in steps: a status shall not change with every second."""
    limit = next(limit for limit in CLOCKS_S if seconds > limit)
    why = "; name servers refuse what is signed so (BADTIME)" if limit == CLOCKS_S[0] else ""
    return f"differ by more than {limit:g} s: set it (NTP){why}"


def alone(judgement: Judgement) -> dict[str, str]:
    """Who alone calls everybody lost: cut off from their answers, or a liar.

    Its vote counts, as one; that all others are heard by others is what shows it.
    """
    found: dict[str, str] = {}
    findings = judgement.findings
    for voter in sorted(judgement.present):
        others = [f for region, f in findings.items() if region != voter]
        if len(others) < 2 or not judgement.quorum:
            continue
        if all(
            f.votes.get(voter) == LOST and list(f.votes.values()).count(LOST) == 1 for f in others
        ):
            found[voter] = "it alone calls all others lost: it cannot hear them, or it lies"
    return found


def ended(ends: Mapping[str, float | None], wall: float) -> dict[str, str]:
    """Whose certificate has ended by its own date, which takes nobody's vote away.

    Args:
        ends: in seconds since the epoch, by member.
        wall: the time now, likewise.
    """
    return {
        member: f"its certificate ended on {datetime.fromtimestamp(end, UTC):%Y-%m-%d}, "
        "and is believed until it shows another"
        for member, end in sorted(ends.items())
        if end is not None and end <= wall
    }
