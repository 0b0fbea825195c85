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


@dataclass(slots=True)
class _Fault:
    text: str
    at: float


class Faults:
    """What was seen of each member lately; time is passed in."""

    def __init__(self) -> None:
        self._wrong: dict[str, _Fault] = {}
        self._stale: dict[str, int] = {}

    def wrong(self, region: str, text: str, now: float) -> None:
        """A member said what is no message, or speaks for somebody else."""
        self._wrong[region] = _Fault(text, now)

    def counted(self, region: str, *, accepted: bool) -> None:
        """A vote came; it counted or was older than one that did."""
        self._stale[region] = 0 if accepted else self._stale.get(region, 0) + 1

    def forget(self, region: str) -> None:
        """It is a member no more, or one with another identity."""
        self._wrong.pop(region, None)
        self._stale.pop(region, None)

    def shown(self, now: float) -> dict[str, str]:
        """What is wrong, by member."""
        found = {r: f.text for r, f in self._wrong.items() if now - f.at < KEEP_S}
        for region, count in self._stale.items():
            if count >= STALE:
                found[region] = (
                    "its votes are older than one that counted, so they are ignored until it has "
                    "a new certificate (its state or clock was put back)"
                )
        return dict(sorted(found.items()))


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
