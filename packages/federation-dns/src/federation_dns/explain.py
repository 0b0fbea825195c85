"""What a verdict is and why, in words an operator understands. Pure."""

from __future__ import annotations

from typing import Any

from federation_dns.verdict import HEALTHY, LOST, Finding, Judgement


def region(name: str, judgement: Judgement, *, counts: bool = True) -> str:
    """Why `name` stands as it does.

    Args:
        name: the region.
        judgement: what was decided.
        counts: say for how long too. A status shows a text for minutes: there a number that
            counts down would be untrue at once, and a change in every second.
    """
    finding = judgement.findings[name]
    if finding.word is not None:
        return f"{finding.word.who} says that {name} is {finding.word.said}"
    if not judgement.quorum:
        kept = "stays withdrawn" if finding.withdrawn else "keeps its last answers"
        return f"{federation(judgement)}; {name} {kept}"
    if judgement.all_lost:
        return f"all regions look lost, so nobody is believed; {name} keeps its last answers"
    if not finding.withdrawn:
        return _inside(name, finding, judgement)
    if finding.needs_word:
        return f"{name} was lost too often within the hour: force-region {name} healthy ends it"
    if finding.waits is not None:
        when = f" in {finding.waits:.0f} s" if counts else ""
        return f"{name} is heard again and comes back{when} if that lasts"
    return _lost(name, finding, judgement)


def federation(judgement: Judgement) -> str:
    """How the electorate stands as a whole."""
    heard, size = len(judgement.present), len(judgement.electorate)
    if judgement.quorum:
        return f"{heard} of {size} members are heard (needs {judgement.needed})"
    if size == 2:
        return (
            "two members are no majority of each other, so there is no automatic verdict: "
            "add a witness, or use force-region"
        )
    return (
        f"this agent is in a minority: it hears {heard} of {size} members "
        f"(needs {judgement.needed}) and changes nothing"
    )


def _lost(name: str, finding: Finding, judgement: Judgement) -> str:
    against = sum(vote == LOST for vote in finding.votes.values())
    noun = "members" if set(judgement.electorate) - set(judgement.findings) else "regions"
    size = len(judgement.electorate)
    return f"{against} of {size} {noun} cannot reach {name} (needs {judgement.needed})"


def _inside(name: str, finding: Finding, judgement: Judgement) -> str:
    against = [voter for voter, vote in finding.votes.items() if vote == LOST]
    hearing = [v for v, vote in finding.votes.items() if vote == HEALTHY and v != name]
    if against:
        who = ", ".join(against)
        return f"only {who} cannot reach {name}: {len(against)} of {judgement.needed} needed"
    if not hearing and finding.verdict != HEALTHY:
        return f"nobody has heard {name} yet"
    if finding.api == LOST:
        return f"{name} is reached, its API server is not: it serves on, and takes nothing new"
    return f"{name} is reached"


def document(
    own: str, sequence: int, now: float, judgement: Judgement, notes: list[str]
) -> dict[str, Any]:
    """`GET /v1/verdict` (docs/design.md, section 4), a superset of the contract."""
    return {
        "region": own,
        "sequence": sequence,
        "quorum": judgement.quorum,
        "panic": judgement.panic,
        "electorate": list(judgement.electorate),
        "present": sorted(judgement.present),
        "needed": judgement.needed,
        "explain": federation(judgement),
        "notes": notes,
        "regions": {
            name: {
                "verdict": finding.verdict,
                "withdrawn": finding.withdrawn,
                "evicted": finding.evicted,
                "since_s": round(max(0.0, now - finding.since), 1),
                "heard_s": None if finding.youngest is None else round(finding.youngest, 1),
                "api": finding.api,
                "votes": dict(finding.votes),
                "word": None if finding.word is None else finding.word.said,
                "explain": region(name, judgement),
                "standing": region(name, judgement, counts=False),
            }
            for name, finding in sorted(judgement.findings.items())
        },
    }
