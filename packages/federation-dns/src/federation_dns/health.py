"""What is known of services beyond their region's verdict: probes, accusations, returns. Pure.

A part of `federation_dns.core`, which hands in states, votes and the verdict about regions, and
gets back which addresses are out of their service's answer, and which services of a region that
returns wait for their step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation_dns import judging, ramp
from federation_dns.judging import Doubts
from federation_dns.probes import Pace, Probes, Target
from federation_dns.ramp import Ramp
from federation_dns.verdict import Holds, Judgement, Standing
from federation_dns.zone import RegionState

_JUDGE_EVERY = 0.5
_TELL_EVERY = 2.0
_MOST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Accusation:
    """All that one member accuses; (incarnation, sequence) only grows."""

    region: str
    incarnation: int
    sequence: int
    targets: frozenset[Target]


@dataclass(frozen=True, slots=True)
class HealthMemory:
    """What outlives a restart."""

    accused: frozenset[Target] = frozenset()
    standings: Mapping[Target, Standing] = field(default_factory=dict[Target, Standing])


class Health:
    """The addresses of all services, as this agent and its peers find them."""

    def __init__(self, own: str, pace: Pace, holds: Holds, memory: HealthMemory):
        self.probes = Probes(pace, memory.accused)
        self.sequence = 0
        self.doubts = Doubts(standings=dict(memory.standings))
        self.ramps: dict[str, Ramp] = {}
        self._own = own
        self._holds = holds
        self._accused: frozenset[Target] = memory.accused
        self._said: dict[str, Accusation] = {}
        self._states: Mapping[str, RegionState] = {}
        self._known: dict[str, frozenset[Target]] = {}
        self._out: frozenset[str] | None = None
        self._judge_at = self._tell_at = 0.0

    def take_states(
        self, now: float, states: Mapping[str, RegionState], allowed: Callable[[str, str], bool]
    ) -> None:
        """Take the services of all regions; only what changed costs time."""
        before, self._states = self._states, dict(states)
        for region in self._known.keys() - states.keys():
            del self._known[region]
            self.probes.drop(region)
        for region, state in states.items():
            if before.get(region) is state:
                continue
            self._known[region] = frozenset(
                Target(region, s.namespace, s.name, address)
                for s in state.services
                for address in s.addresses
            )
            if self.probes.pace.budget > 0:
                self.probes.take(now, state, allowed)

    def is_newer(self, voter: str, incarnation: int, sequence: int) -> bool:
        """Whether a vote names an accusation that is not here yet."""
        said = self._said.get(voter)
        if said is not None and said.incarnation != incarnation:
            del self._said[voter]  # of an earlier life
            said = None
        have = 0 if said is None else said.sequence
        return sequence > have

    def take(self, accusation: Accusation) -> None:
        """Take what a member accuses, fetched from that very member."""
        old = self._said.get(accusation.region)
        mark = (accusation.incarnation, accusation.sequence)
        if old is None or mark > (old.incarnation, old.sequence):
            self._said[accusation.region] = accusation
            self._judge_at = 0.0

    def forget(self, members: Iterable[str]) -> None:
        """Drop members that left, or have another identity; what remains is looked at anew."""
        self._states = {}
        for member in members:
            self._said.pop(member, None)
            self.ramps.pop(member, None)

    def own(self, incarnation: int) -> Accusation:
        """What `/v1/accusations` tells."""
        return Accusation(self._own, incarnation, self.sequence, self._accused)

    def memory(self) -> HealthMemory:
        """What belongs on disk."""
        return HealthMemory(self._accused, dict(self.doubts.standings))

    def tick(self, now: float, judgement: Judgement, heard: Collection[str]) -> list[str] | None:
        """Look again; None: nothing changed, else what to say about what did.

        Args:
            now: the monotonic clock.
            judgement: the verdict of this moment.
            heard: members that this agent hears now. Of a region that it doesn't hear it judges no
                service: the region's verdict does.
        """
        say = self._returns(now, judgement)
        changed = say is not None
        lines = say or []
        if now >= self._tell_at:
            self._tell_at = now + _JUDGE_EVERY
            self._accuse(now, heard)
        if now >= self._judge_at:
            self._judge_at = now + _JUDGE_EVERY
            before = self.doubts
            said = {voter: a.targets for voter, a in self._said.items()}
            said[self._own] = self._accused
            self.doubts = judging.judge(
                now, judgement, said, before.standings, self._known, self._holds
            )
            moved = self.doubts.withdrawn ^ before.withdrawn
            changed = changed or bool(moved)
            lines += [self._line(t, judgement) for t in sorted(moved)[:10]]
            if len(moved) > 10:
                lines.append(f"and {len(moved) - 10} more addresses")
        return lines if changed else None

    def _accuse(self, now: float, heard: Collection[str]) -> None:
        silent = frozenset(self._states).difference(heard, [self._own])
        if silent:
            self.probes.doubt(silent)
        accused = self.probes.failing(now)
        if accused != self._accused or (accused and not self.sequence):
            self._accused = accused
            self.sequence += 1
            self._tell_at = now + _TELL_EVERY
            self._judge_at = 0.0

    def _line(self, target: Target, judgement: Judgement) -> str:
        doubt = self.doubts.found.get(target)
        name = f"{target.namespace}/{target.name} at {target.region}"
        if doubt is None or not doubt.withdrawn:
            return f"{name}: {target.address} is answered again"
        return f"{name}: {judging.explain(target, doubt, judgement.electorate)}"

    # --- a region that returns ---

    def _returns(self, now: float, judgement: Judgement) -> list[str] | None:
        out = frozenset(r for r, f in judgement.findings.items() if f.withdrawn)
        if judgement.panic:
            return None
        back = frozenset[str]() if self._out is None else self._out - out
        self._out = out
        lines: list[str] = []
        changed = False
        for region in {*back, *self.ramps}:
            old = self.ramps.pop(region, None)
            if region in out or region not in judgement.findings:
                changed = changed or old is not None
                continue
            new = ramp.advance(now, old, self._well(region), self._holds.return_after / 6)
            if new is not None:
                self.ramps[region] = new
            if (old is None) != (new is None) or (old and new and old.step != new.step):
                changed = True
                lines.append(self._standing(region) or f"{region} is wholly back")
        return lines if changed else None

    def _well(self, region: str) -> dict[ramp.Name, bool]:
        state = self._states.get(region)
        out = self.doubts.withdrawn
        return {
            (s.namespace, s.name): s.ready > 0
            and any(Target(region, s.namespace, s.name, a) not in out for a in s.addresses)
            for s in (() if state is None else state.services)
        }

    def _standing(self, region: str) -> str:
        found = self.ramps.get(region)
        if found is None:
            return ""
        well = self._well(region)
        count = len(ramp.admitted(well, found.step))
        return (
            f"{region} comes back in steps: {count} of {len(well)} services are answered with; "
            "more follow while these hold"
        )

    # --- what the zone and the reader need ---

    def failed(self, region: str) -> frozenset[tuple[str, str, str]]:
        """Addresses of a region that are out: namespace, name, address."""
        return frozenset(
            (t.namespace, t.name, t.address) for t in self.doubts.withdrawn if t.region == region
        )

    def waiting(self, region: str) -> frozenset[ramp.Name]:
        """Services of a returning region whose step has not come."""
        found = self.ramps.get(region)
        if found is None:
            return frozenset()
        names = self._well(region)
        return frozenset(names) - ramp.admitted(names, found.step)

    def document(self, now: float, electorate: Collection[str]) -> dict[str, Any]:
        """The part of `GET /v1/verdict` that is about services."""
        found = sorted(
            self.doubts.found.items(), key=lambda item: (not item[1].withdrawn, item[0])
        )
        return {
            "services": [
                {
                    "service": f"{t.namespace}/{t.name}",
                    "region": t.region,
                    "address": t.address,
                    "withdrawn": doubt.withdrawn,
                    "since_s": round(max(0.0, now - doubt.since), 1),
                    "accusers": list(doubt.accusers),
                    "explain": judging.explain(t, doubt, electorate),
                }
                for t, doubt in found[:_MOST_SHOWN]
            ],
            "services_withdrawn": len(self.doubts.withdrawn),
            "returning": {region: self._standing(region) for region in sorted(self.ramps)},
        }
