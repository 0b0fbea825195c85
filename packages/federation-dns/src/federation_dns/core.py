"""The agent's mind: messages and ticks go in, a batch of things to do comes out. Pure.

No clock, network, file or random here: the shell (`federation_dns.agent`) carries the batch out,
and a test can live through hours in a moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from federation_dns import explain
from federation_dns import zone as zones
from federation_dns.health import Accusation, Health, HealthMemory
from federation_dns.probes import Pace
from federation_dns.verdict import (
    Ballot,
    Holds,
    Judgement,
    Observations,
    Role,
    Said,
    Standing,
    Vote,
    Word,
    judge,
)
from federation_dns.wire import VoteMessage
from federation_dns.zone import Key, RecordSet, RegionState, RegionView, Service, Zone

# Thirty regions of a thousand services are built in some tenths of a second. States that change
# all the time must not leave the agent without time for votes; a verdict never waits.
_SECONDS_A_SERVICE = 1 / 20_000


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the mesh, as `peers.json` has it.

    Attributes:
        pin: its certificate's fingerprint.
        next_pin: that of the certificate which it will show next: the same identity.
    """

    name: str
    role: Role
    pin: str
    ranges: tuple[str, ...] = ()
    nameserver: str | None = None
    next_pin: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's word with its end, in seconds since the epoch."""

    region: str
    said: Said
    who: str
    until: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What doesn't change while the agent runs."""

    region: str
    zone: str
    ttl: int
    holds: Holds
    zones: tuple[str, ...] = ()
    secondaries: tuple[str, ...] = ()
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives a restart. Times in `standings` are of the reading process's clock."""

    standings: Mapping[str, Standing] = field(default_factory=dict[str, Standing])
    states: Mapping[str, RegionState] = field(default_factory=dict[str, RegionState])
    records: Mapping[Key, RecordSet] = field(default_factory=dict[Key, RecordSet])
    marks: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    pins: Mapping[str, str] = field(default_factory=dict[str, str])
    health: HealthMemory = field(default_factory=HealthMemory)


@dataclass(frozen=True, slots=True)
class Batch:
    """What to do after a tick, in this order.

    Attributes:
        say: lines for the log.
        publish: whether `Core.wanted` changed and belongs to the DNS server now.
        remember: whether `Core.memory()` changed and belongs on disk.
    """

    say: tuple[str, ...] = ()
    publish: bool = False
    remember: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a vote: whether it counted, and what of its member should be fetched.

    Attributes:
        former: it is of a life before the newest that was heard.
    """

    accepted: bool
    former: bool = False
    fetch: bool = False
    accused: bool = False


class Core:
    """The state of one agent and its rules."""

    def __init__(
        self,
        settings: Settings,
        members: Iterable[Member],
        incarnation: int,
        memory: Memory,
        now: float,
    ):
        self.settings = settings
        self.incarnation = incarnation
        self.sequence = 0
        self.api: Vote = "unknown"
        self.members: dict[str, Member] = {}
        self.overrides: tuple[Override, ...] = ()
        self.states = dict(memory.states)
        self.standings = dict(memory.standings)
        self.verdict_sequence = 0
        self.apex: dict[Key, RecordSet] = {}
        self.wire_notes: dict[str, tuple[str, ...]] = {}
        self._marks = dict(memory.marks)
        self._pins = dict(memory.pins)
        self._last = dict(memory.records)
        self._former: dict[str, RegionState] = {}
        self._ballots: dict[str, Ballot] = {}
        self._ears = Observations(now, set(memory.marks) | set(memory.states))
        self.health = Health(settings.region, settings.pace, settings.holds, memory.health)
        self._own_sequence = 0
        self._fresh = settings.holds.fresh_for
        self._shown: object = None
        self._dirty = True
        self._states_moved = True
        self._states_due = now
        self._remember = True
        self.judgement = judge(now, {}, {}, {}, {}, settings.holds)
        self.wanted = Zone(self._last, complete=False)
        self.set_members(members)

    # --- what comes in ---

    def set_members(self, members: Iterable[Member]) -> None:
        """Take the mesh's members; those that left are forgotten, their addresses may go."""
        found = {m.name: m for m in members}
        for name in set(self.states) - set(found):
            self._former[name] = self.states.pop(name)
        gone = (set(self.members) | set(self._marks) | set(self.standings)) - set(found)
        self._ears.forget(gone)
        self.health.forget(gone)
        for name in gone:
            self._marks.pop(name, None)
            self._ballots.pop(name, None)
            self.standings.pop(name, None)
            self.wire_notes.pop(name, None)
        for name, member in found.items():
            self._former.pop(name, None)
            known = self.members.get(name)
            announced = known is not None and known.next_pin == member.pin
            if self._pins.get(name, member.pin) != member.pin and not announced:
                # A new identity counts anew.
                self._marks.pop(name, None)
                self.health.forget([name])
                if name in self.states and name != self.settings.region:
                    self.states[name] = replace(self.states[name], incarnation=0, sequence=0)
        self._pins = {name: m.pin for name, m in found.items()}
        self.members = found
        self._dirty = self._states_moved = self._remember = True

    def set_overrides(self, overrides: Sequence[Override]) -> None:
        """Take the operators' words; when they end is seen at each tick."""
        self.overrides = tuple(overrides)

    def take_own(self, services: Iterable[Service]) -> bool:
        """Take the own cluster's services after a complete reading; True: they changed."""
        kept = tuple(sorted(services, key=lambda s: (s.namespace, s.name)))
        old = self.states.get(self.settings.region)
        if self._own_sequence and old is not None and old.services == kept:
            return False
        self._own_sequence += 1
        state = RegionState(self.settings.region, self.incarnation, self._own_sequence, kept)
        self.states[self.settings.region] = state
        self._states_moved = self._remember = True
        return True

    def heard(self, now: float, message: VoteMessage) -> Heard:
        """Take a vote that came over a connection which proved to be `message.region`'s."""
        name = message.region
        if name not in self.members or name == self.settings.region:
            return Heard(accepted=False)
        mark = (message.incarnation, message.sequence)
        newest = self._marks.get(name, (-1, -1))
        if mark <= newest:
            return Heard(accepted=False, former=mark[0] < newest[0])
        if message.incarnation != newest[0]:
            self._remember = True
        self._marks[name] = mark
        self._ears.heard(name, now)
        self._ballots[name] = Ballot(dict(message.ages), now, message.api)
        accused = self.health.is_newer(name, message.incarnation, message.accused)
        return Heard(accepted=True, fetch=self._is_newer(message), accused=accused)

    def _is_newer(self, message: VoteMessage) -> bool:
        if message.state == 0 or self.members[message.region].role != "region":
            return False
        state = self.states.get(message.region)
        have = (-1, -1) if state is None else (state.incarnation, state.sequence)
        return (message.incarnation, message.state) > have

    def take_state(self, state: RegionState, notes: tuple[str, ...] = ()) -> bool:
        """Take a peer's state, fetched from that very peer; False: it is not newer."""
        member = self.members.get(state.region)
        if member is None or member.role != "region" or state.region == self.settings.region:
            return False
        old = self.states.get(state.region)
        if old is not None and (state.incarnation, state.sequence) <= (
            old.incarnation,
            old.sequence,
        ):
            return False
        self.states[state.region] = state
        self.wire_notes[state.region] = notes
        self._states_moved = self._remember = True
        return True

    def take_accusation(self, accusation: Accusation) -> None:
        """Take what a peer accuses, fetched from that very peer."""
        if accusation.region in self.members and accusation.region != self.settings.region:
            self.health.take(accusation)

    # --- what goes out ---

    def vote(self, now: float, wall: float | None = None) -> VoteMessage:
        """This agent's next vote.

        Args:
            now: the monotonic clock.
            wall: the wall clock: told so that a wrong one is seen; nobody counts by it.
        """
        self.sequence += 1
        ages = self._ears.ages(now, (m for m in self.members if m != self.settings.region))
        return VoteMessage(
            region=self.settings.region,
            incarnation=self.incarnation,
            sequence=self.sequence,
            state=self._own_sequence,
            api=self.api,
            accused=self.health.sequence,
            clock=None if wall is None else round(max(0.0, wall), 1),
            ages={m: None if age is None else round(age, 3) for m, age in ages.items()},
        )

    def own_state(self) -> RegionState | None:
        """What `/v1/state` tells; None until the own cluster was read in this life."""
        return self.states.get(self.settings.region) if self._own_sequence else None

    def tick(self, now: float, wall: float) -> Batch:
        """Judge, and say what to do.

        Args:
            now: the monotonic clock.
            wall: the wall clock; only the end of an operator's word is read from it.
        """
        say: list[str] = []
        slept = self._ears.tick(now, self.settings.holds.fresh_for)
        if slept:
            say.append(f"this agent slept {slept:.1f} s; that time proves nothing about others")
            self.health.probes.doubt(self.states)
        ages = self._ears.ages(now, (m for m in self.members if m != self.settings.region))
        ballots = {**self._ballots, self.settings.region: Ballot(ages, now, self.api)}
        roles: dict[str, Role] = {name: m.role for name, m in self.members.items()}
        words = {
            o.region: Word(o.said, o.who)
            for o in self.overrides
            if o.until > wall and o.region in roles
        }
        judged = judge(now, roles, ballots, self.standings, words, self.settings.holds)
        say += self._changes(judged)
        self.judgement = judged
        self.standings = dict(judged.standings)
        if self._states_moved and now >= self._states_due:
            count = sum(len(state.services) for state in self.states.values())
            self._states_due = now + count * _SECONDS_A_SERVICE
            self._states_moved = False
            self._dirty = True
            self.health.take_states(now, self.states, self._allowed)
        heard = [m for m, age in ages.items() if age is not None and age < self._fresh]
        moved = self.health.tick(now, judged, heard)
        if moved is not None:
            say += moved
            self._dirty = self._remember = True
        publish = self._dirty and self._rebuild()
        remember, self._remember = self._remember or publish, False
        return Batch(tuple(say), publish, remember)

    def _changes(self, judged: Judgement) -> list[str]:
        shown = (
            judged.quorum,
            judged.panic,
            judged.electorate,
            {r: (f.verdict, f.withdrawn, f.evicted, f.api) for r, f in judged.findings.items()},
        )
        if shown == self._shown:
            return []
        before = self.judgement
        self._shown = shown
        self.verdict_sequence += 1
        self._dirty = self._remember = True
        lines: list[str] = []
        if (before.quorum, before.panic) != (judged.quorum, judged.panic):
            lines.append(explain.federation(judged))
        for region, finding in judged.findings.items():
            old = before.findings.get(region)
            was = None if old is None else (old.verdict, old.withdrawn, old.evicted, old.api)
            if was != (finding.verdict, finding.withdrawn, finding.evicted, finding.api):
                act = "evicted" if finding.evicted else "withdrawn" if finding.withdrawn else "in"
                lines.append(
                    f"{region} {finding.verdict}, {act}: {explain.region(region, judged)}"
                )
        return lines

    def _rebuild(self) -> bool:
        self._dirty = False
        views = [
            RegionView(
                m.name,
                self.states.get(m.name),
                self._out(m.name),
                m.ranges,
                m.nameserver,
                self.health.failed(m.name),
                self.health.waiting(m.name),
            )
            for m in self.members.values()
            if m.role == "region"
        ]
        apex: dict[Key, RecordSet] = {}
        for zone in self.settings.zones or (self.settings.zone,):
            apex |= zones.nameservers(zone, self.settings.ttl, views, self.settings.secondaries)
        if self.judgement.panic:
            # Frozen: what was answered last stands, and nothing is taken away.
            wanted = Zone(self._last, complete=False, notes=("frozen: the last answers stand",))
        else:
            wanted = zones.build(
                self.settings.zone,
                self.settings.ttl,
                views,
                self._last,
                self._former.values(),
                more=self.settings.zones,
                here=self.settings.region,
            )
            self._last = dict(wanted.records) if wanted.complete else self._widen(wanted)
            self.apex = apex
        changed = wanted != self.wanted
        self.wanted = wanted
        return changed

    def _widen(self, wanted: Zone) -> dict[Key, RecordSet]:
        """Some regions have not been heard since the memory was lost: keep names unspoken of."""
        names = {name for name, _ in wanted.records}
        kept = {key: r for key, r in self._last.items() if key[0] not in names}
        return {**kept, **wanted.records}

    def _allowed(self, region: str, address: str) -> bool:
        member = self.members.get(region)
        return member is not None and zones.refused(address, member.ranges) is None

    def _out(self, region: str) -> bool:
        finding = self.judgement.findings.get(region)
        return finding is not None and finding.withdrawn

    def verdict(self, now: float, extra: Iterable[str] = ()) -> dict[str, Any]:
        """`GET /v1/verdict`."""
        notes = [*self.wanted.notes, *(n for ns in self.wire_notes.values() for n in ns), *extra]
        return {
            **explain.document(
                self.settings.region, self.verdict_sequence, now, self.judgement, notes
            ),
            **self.health.document(now, self.judgement.electorate),
        }

    def memory(self) -> Memory:
        """What belongs on disk."""
        return Memory(
            dict(self.standings),
            dict(self.states),
            dict(self._last),
            dict(self._marks),
            self._pins,
            self.health.memory(),
        )
