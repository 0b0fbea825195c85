"""Whether a service's address is lost: the verdict beside the one about regions. Pure.

The voters and the majority are those of the regions' verdict. Each names the addresses that don't
answer its probes (`federation_dns.probes`); who doesn't name one does not accuse it. An address
that a majority of all accuses leaves its service's answer at once, since each accuser has held it
back already; it returns when no majority has accused it for `return_after`, and longer after each
loss within the hour, as a region does. Without a quorum nothing changes, nor for addresses of a
region that is itself lost: there the region's verdict speaks.

That this never empties an answer is the zone's rule: if every address of a service is accused,
nobody is believed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from federation_dns.probes import Target
from federation_dns.verdict import Holds, Judgement, Standing, return_hold

Accused = Mapping[str, Collection[Target]]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One address that somebody accuses, or that is out.

    Attributes:
        withdrawn: it is out of its service's answer.
        since: when that last changed.
        accusers: who calls it lost now.
        needed: how many are needed.
        waits: seconds until it returns if nothing comes between.
    """

    withdrawn: bool
    since: float
    accusers: tuple[str, ...]
    needed: int
    waits: float | None


@dataclass(frozen=True, slots=True)
class Doubts:
    """The verdict about addresses; only those that are not simply well are in it."""

    found: Mapping[Target, Doubt] = field(default_factory=dict[Target, Doubt])
    standings: Mapping[Target, Standing] = field(default_factory=dict[Target, Standing])

    @property
    def withdrawn(self) -> frozenset[Target]:
        """The addresses that are out."""
        return frozenset(t for t, doubt in self.found.items() if doubt.withdrawn)


def judge(
    now: float,
    judgement: Judgement,
    accused: Accused,
    before: Mapping[Target, Standing],
    known: Mapping[str, Collection[Target]],
    holds: Holds,
) -> Doubts:
    """Judge every address that is accused or was.

    Args:
        now: this agent's monotonic clock.
        judgement: the verdict about regions, of this moment.
        accused: by voter, this agent among them; only members that are heard count.
        before: the standings of the last judgement.
        known: all addresses that there are, by region; others are nobody's business, and
            forgotten.
        holds: the times.
    """
    votes = _votes(judgement, accused, known)
    silent = {r for r, f in judgement.findings.items() if f.verdict == "lost"}
    found: dict[Target, Doubt] = {}
    standings: dict[Target, Standing] = {}
    for target in sorted({*votes, *(t for t in before if t in known.get(t.region, ()))}):
        accusers = votes.get(target, ())
        standing = _recent(before.get(target, Standing(changed=now)), now, holds)
        if not judgement.quorum or judgement.all_lost or target.region in silent:
            standing = replace(standing, steady_since=None)
        else:
            standing = _step(now, target, len(accusers) >= judgement.needed, standing, holds)
        if standing.withdrawn or standing.withdrawals:
            standings[target] = standing
        if standing.withdrawn or accusers:
            waits = None
            if standing.steady_since is not None:
                hold = return_hold("/".join(target), standing, holds)
                waits = max(0.0, hold - (now - standing.steady_since))
            found[target] = Doubt(
                standing.withdrawn, standing.changed, accusers, judgement.needed, waits
            )
    return Doubts(found, standings)


def _votes(
    judgement: Judgement, accused: Accused, known: Mapping[str, Collection[Target]]
) -> dict[Target, tuple[str, ...]]:
    votes: dict[Target, tuple[str, ...]] = {}
    for voter in sorted(judgement.present):
        for target in accused.get(voter, ()):
            if target in known.get(target.region, ()):
                votes[target] = (*votes.get(target, ()), voter)
    return votes


def _recent(standing: Standing, now: float, holds: Holds) -> Standing:
    kept = tuple(at for at in standing.withdrawals if now - at <= holds.flap_window)
    if standing.withdrawn and not kept:
        kept = standing.withdrawals[-1:]
    return replace(standing, withdrawals=kept)


def _step(now: float, target: Target, lost: bool, standing: Standing, holds: Holds) -> Standing:
    if lost:
        if standing.withdrawn:
            return replace(standing, steady_since=None)
        return Standing(
            withdrawn=True, changed=now, withdrawals=(*standing.withdrawals, now)[-16:]
        )
    if not standing.withdrawn:
        return standing
    since = now if standing.steady_since is None else standing.steady_since
    if now - since < return_hold("/".join(target), standing, holds):
        return replace(standing, steady_since=since)
    return Standing(changed=now, withdrawals=standing.withdrawals)


def explain(target: Target, doubt: Doubt, electorate: Iterable[str]) -> str:
    """Why an address stands as it does, in words."""
    size = len(tuple(electorate))
    count = len(doubt.accusers)
    if not doubt.withdrawn:
        who = ", ".join(doubt.accusers)
        return f"only {who} cannot connect to {target.address}: {count} of {doubt.needed} needed"
    if count >= doubt.needed:
        return (
            f"{count} of {size} members cannot connect to {target.address} (needs {doubt.needed})"
        )
    if doubt.waits is None:
        return f"{target.address} is out, and {target.region} is not judged now"
    return f"{target.address} answers again and returns in {doubt.waits:.0f} s if that lasts"
