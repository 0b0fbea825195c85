"""Whether a region is lost: a pure function over the votes of all.

Nobody believes one observer. Each agent measures, by its own monotonic clock, how long ago it last
heard every other member, and sends those ages around; a region is out when more than half of the
electorate (every region and witness, the accused among them) have not heard it for
`Holds.withdraw_after`. An age is a duration, so no two clocks need to agree; a ballot counts only
while the receiver heard its voter within `Holds.fresh_for`. Who hears no majority freezes: it can
neither withdraw nor bring back.

Flapping lengthens the proof of *health*, not that of loss: a region that is dead again is as dead
as before, and leaving it in the answers longer would punish the clients. Each withdrawal within
`Holds.flap_window` beyond the first `Holds.flap_free` doubles the hold before the return, up to
`Holds.flap_most`; after `Holds.flap_limit` of them only an operator's word brings it back.

What follows from what (API: the region's own word about its API server):

====================  ===========  =================  ==========================================
agent heard           API server   addresses in DNS   new replicas, eviction
====================  ===========  =================  ==========================================
by a majority         healthy      yes                as placed
by a majority         dead         yes: pods go on    none new (`api` says so), none evicted
lost by a majority    any          no                 evicted after `evict_after`
no majority here      any          as before          frozen
====================  ===========  =================  ==========================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Vote = Literal["healthy", "lost", "unknown"]
Role = Literal["region", "witness"]
Said = Literal["healthy", "lost", "cordoned"]

HEALTHY: Vote = "healthy"
LOST: Vote = "lost"
UNKNOWN: Vote = "unknown"


@dataclass(frozen=True, slots=True)
class Holds:
    """How long each proof takes, in seconds."""

    withdraw_after: float = 5.0
    evict_after: float = 20.0
    return_after: float = 30.0
    fresh_for: float = 2.0
    jitter: float = 0.2
    flap_window: float = 3600.0
    flap_free: int = 2
    flap_factor: float = 2.0
    flap_most: float = 8.0
    flap_limit: int = 6


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one voter said: seconds since it last heard each member (None: never yet).

    Attributes:
        ages: by member.
        received: when it came, by the receiver's monotonic clock.
        api: the voter's word about its own API server.
    """

    ages: Mapping[str, float | None]
    received: float
    api: Vote = UNKNOWN


@dataclass(frozen=True, slots=True)
class Word:
    """An operator's word about a region, which ends by itself."""

    said: Said
    who: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of a member between two judgements.

    Attributes:
        withdrawn: its addresses are out.
        evicted: its replicas are given up.
        changed: when `withdrawn` last changed.
        steady_since: since when no majority has called it lost, while it is out.
        withdrawals: when it was withdrawn, newest last, within the flap window.
    """

    withdrawn: bool = False
    evicted: bool = False
    changed: float = 0.0
    steady_since: float | None = None
    withdrawals: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict about one region, with what led to it."""

    verdict: Vote
    withdrawn: bool
    evicted: bool
    since: float
    votes: Mapping[str, Vote]
    youngest: float | None
    word: Word | None
    waits: float | None
    needs_word: bool
    api: Vote


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict about every region at one moment.

    Attributes:
        electorate: who counts, sorted.
        needed: how many make a majority.
        quorum: whether this agent hears a majority, itself included.
        panic: whether everything stays as it was (no quorum, or all regions look lost).
        findings: by region (witnesses have none).
        standings: what to hand to the next judgement.
        present: the members whose ballots counted.
    """

    electorate: tuple[str, ...]
    needed: int
    quorum: bool
    panic: bool
    all_lost: bool
    findings: Mapping[str, Finding]
    standings: Mapping[str, Standing]
    present: frozenset[str]


@dataclass(slots=True)
class Observations:
    """This agent's own ears: when it last heard each member, by its own monotonic clock.

    Attributes:
        started: when listening began; a member that was known in an earlier life and has not
            been heard since counts from here, an utterly new one is unknown and not lost.
    """

    started: float
    known: set[str] = field(default_factory=set[str])
    last: dict[str, float] = field(default_factory=dict[str, float])
    ticked: float | None = None

    def heard(self, member: str, now: float) -> None:
        """Note a success."""
        self.last[member] = max(now, self.last.get(member, now))
        self.known.add(member)

    def tick(self, now: float, stall: float) -> float:
        """Note that this agent is awake; returns how long it slept beyond `stall`, else 0.

        Time in which the agent did not listen (stopped, starved, paused with its machine) proves
        nothing about others: it is taken out of every age. (Lifeguard: doubt yourself first.)
        """
        slept = 0.0 if self.ticked is None else now - self.ticked
        self.ticked = now
        if slept <= stall:
            return 0.0
        self.started += slept
        self.last = {member: min(now, at + slept) for member, at in self.last.items()}
        return slept

    def ages(self, now: float, members: Iterable[str]) -> dict[str, float | None]:
        """Seconds since each member was heard."""
        return {member: self._age(now, member) for member in members}

    def _age(self, now: float, member: str) -> float | None:
        if member in self.last:
            return max(0.0, now - self.last[member])
        return max(0.0, now - self.started) if member in self.known else None

    def forget(self, members: Iterable[str]) -> None:
        """Drop members that left the federation."""
        for member in members:
            self.last.pop(member, None)
            self.known.discard(member)


def vote(age: float | None, holds: Holds) -> Vote:
    """What an age says."""
    if age is None:
        return UNKNOWN
    return LOST if age >= holds.withdraw_after else HEALTHY


def return_hold(region: str, standing: Standing, holds: Holds) -> float:
    """How long a withdrawn region must be heard before it comes back.

    The jitter is drawn from the region's name and its withdrawals, so that regions that were lost
    together come back apart and every agent draws the same.
    """
    count = len(standing.withdrawals)
    factor = min(holds.flap_most, holds.flap_factor ** max(0, count - holds.flap_free))
    drawn = hashlib.sha256(f"{region}/{count}".encode()).digest()[0] / 255
    return holds.return_after * factor * (1 + holds.jitter * drawn)


def judge(
    now: float,
    members: Mapping[str, Role],
    ballots: Mapping[str, Ballot],
    before: Mapping[str, Standing],
    words: Mapping[str, Word],
    holds: Holds,
) -> Judgement:
    """Judge every region.

    Args:
        now: this agent's monotonic clock.
        members: the electorate by role.
        ballots: the newest of each voter, this agent's own among them; stale ones are ignored.
        before: the standings of the last judgement.
        words: operators' words that are in force.
        holds: the times.
    """
    fresh = {
        voter: ballot
        for voter, ballot in ballots.items()
        if voter in members and 0 <= now - ballot.received <= holds.fresh_for
    }
    # A member that the operator calls lost, and that is silent, no longer counts: this is what
    # lets a survivor act on the operator's word alone.
    absent = {m for m, word in words.items() if word.said == "lost" and m not in fresh}
    electorate = tuple(sorted(m for m in members if m not in absent))
    needed = len(electorate) // 2 + 1
    quorum = len(fresh) >= needed
    after: dict[str, Standing] = {}
    for member in members:
        standing = _recent(before.get(member, Standing(changed=now)), now, holds)
        if quorum:
            standing = _step(now, member, fresh, standing, needed, holds)
        else:
            standing = replace(standing, steady_since=None)
        after[member] = standing
    regions = [m for m, role in members.items() if role == "region"]
    all_lost = bool(regions) and all(_out(after[r], words.get(r)) for r in regions)
    if all_lost:  # believe nobody: whoever stood before stands on
        after = {m: _recent(before.get(m, Standing(changed=now)), now, holds) for m in members}
    findings = {
        region: _finding(now, region, fresh, after[region], quorum, words.get(region), holds)
        for region in regions
    }
    return Judgement(
        electorate=electorate,
        needed=needed,
        quorum=quorum,
        panic=all_lost or not quorum,
        all_lost=all_lost,
        findings=findings,
        standings=after,
        present=frozenset(fresh),
    )


def _recent(standing: Standing, now: float, holds: Holds) -> Standing:
    kept = tuple(at for at in standing.withdrawals if now - at <= holds.flap_window)
    # While it is out, the withdrawal that put it out stays on the record.
    if standing.withdrawn and not kept:
        kept = standing.withdrawals[-1:]
    return replace(standing, withdrawals=kept)


def _votes(region: str, fresh: Mapping[str, Ballot], holds: Holds) -> dict[str, Vote]:
    return {
        voter: HEALTHY if voter == region else vote(ballot.ages.get(region), holds)
        for voter, ballot in sorted(fresh.items())
    }


def _step(
    now: float,
    member: str,
    fresh: Mapping[str, Ballot],
    standing: Standing,
    needed: int,
    holds: Holds,
) -> Standing:
    votes = list(_votes(member, fresh, holds).values())
    if votes.count(LOST) >= needed:
        aged = [b.ages.get(member) for voter, b in fresh.items() if voter != member]
        gone = sum(age is not None and age >= holds.evict_after for age in aged) >= needed
        if standing.withdrawn:
            return replace(standing, evicted=standing.evicted or gone, steady_since=None)
        withdrawals = (*standing.withdrawals, now)
        return Standing(withdrawn=True, evicted=gone, changed=now, withdrawals=withdrawals)
    if not standing.withdrawn:
        return standing
    if HEALTHY not in votes:
        return replace(standing, steady_since=None)
    since = now if standing.steady_since is None else standing.steady_since
    if _needs_word(standing, holds) or now - since < return_hold(member, standing, holds):
        return replace(standing, steady_since=since)
    return Standing(changed=now, withdrawals=standing.withdrawals)


def _needs_word(standing: Standing, holds: Holds) -> bool:
    return 0 < holds.flap_limit <= len(standing.withdrawals) and standing.withdrawn


def _out(standing: Standing, word: Word | None) -> bool:
    return standing.withdrawn if word is None else word.said != "healthy"


def _finding(
    now: float,
    region: str,
    fresh: Mapping[str, Ballot],
    standing: Standing,
    quorum: bool,
    word: Word | None,
    holds: Holds,
) -> Finding:
    votes = _votes(region, fresh, holds)
    ages = [
        age
        for voter, ballot in fresh.items()
        if voter != region and (age := ballot.ages.get(region)) is not None
    ]
    withdrawn = _out(standing, word)
    evicted = standing.evicted if word is None else word.said == "lost"
    waits = None
    if standing.steady_since is not None and word is None:
        hold = return_hold(region, standing, holds)
        waits = max(0.0, hold - (now - standing.steady_since))
    own = fresh.get(region)
    return Finding(
        verdict=_verdict(quorum, votes, standing, word),
        withdrawn=withdrawn,
        evicted=evicted,
        since=standing.changed,
        votes=votes,
        youngest=min(ages, default=None),
        word=word,
        waits=waits,
        needs_word=_needs_word(standing, holds) and word is None,
        api=UNKNOWN if own is None else own.api,
    )


def _verdict(
    quorum: bool, votes: Mapping[str, Vote], standing: Standing, word: Word | None
) -> Vote:
    if word is not None and word.said != "cordoned":
        return word.said
    if not quorum:
        return UNKNOWN
    if standing.withdrawn:
        return LOST
    return HEALTHY if HEALTHY in votes.values() else UNKNOWN
