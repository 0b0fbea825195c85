"""A federation without network and clock: the real cores, votes as bytes, simulated time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from federation_dns import wire
from federation_dns.core import Core, Member, Memory, Settings
from federation_dns.policy import Policy
from federation_dns.verdict import Holds, Role
from federation_dns.zone import Service

STEP = 0.25
WALL = 1_000_000.0
NAME = "web.shop.svc.fed.example"


@dataclass
class World:
    """Agents, links between them, and what they answered at each moment."""

    now: float = 0.0
    agents: dict[str, Core] = field(default_factory=dict[str, Core])
    roles: dict[str, Role] = field(default_factory=dict[str, Role])
    dead: dict[str, Memory] = field(default_factory=dict[str, Memory])
    asleep: set[str] = field(default_factory=set[str])
    cuts: set[frozenset[str]] = field(default_factory=set[frozenset[str]])
    alone: set[str] = field(default_factory=set[str])
    ready: dict[str, int] = field(default_factory=dict[str, int])
    asked: dict[str, Policy] = field(default_factory=dict[str, Policy])
    lives: int = 0
    changes: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    broken: set[str] = field(default_factory=set[str])
    blocked: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    shown: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    answered: dict[str, bool] = field(default_factory=dict[str, bool])

    def begin(self, name: str, memory: Memory) -> None:
        self.lives += 1
        everyone = [
            Member(n, role, f"pin-{n}", (f"10.{i}.0.0/16",))
            for i, (n, role) in enumerate(self.roles.items())
        ]
        core = Core(
            Settings(name, "fed.example", 15, Holds()), everyone, self.lives, memory, self.now
        )
        self.agents[name] = core
        self.own(name)

    def own(self, name: str) -> None:
        if self.roles[name] == "region":
            address = f"10.{list(self.roles).index(name)}.0.1"
            policy = self.asked.get(name, Policy())
            self.agents[name].take_own(
                [Service("shop", "web", (address,), self.ready.get(name, 1), None, policy, 0, 80)]
            )

    def die(self, name: str) -> None:
        self.dead[name] = self.agents.pop(name).memory()
        self.asleep.discard(name)
        self.shown.pop(name, None)

    def revive(self, name: str) -> None:
        self.begin(name, self.dead.pop(name))
        self.shown[name] = self.answer(name)

    def endpoints(self, name: str, ready: int) -> None:
        self.ready[name] = ready
        self.own(name)

    def connects(self, one: str, region: str) -> bool:
        """Whether the service's address in a region answers an agent."""
        if region in self.broken | self.dead.keys() or (one, region) in self.blocked:
            return False
        return one == region or (
            not {one, region} & self.alone and frozenset({one, region}) not in self.cuts
        )

    def probe(self, name: str) -> None:
        probes = self.agents[name].health.probes
        for region in list(probes.regions):
            while found := probes.next(region, self.now):
                probes.answered(found[0], self.now, well=self.connects(name, region))

    def hears(self, one: str, other: str) -> bool:
        up = one in self.agents and other in self.agents and not {one, other} & self.asleep
        return up and not {one, other} & self.alone and frozenset({one, other}) not in self.cuts

    def step(self) -> None:
        self.now += STEP
        if (self.now / STEP) % 2 == 0:
            for one in list(self.agents):
                for other in list(self.agents):
                    if one != other and self.hears(one, other):
                        self.exchange(one, other)
        for name, core in self.agents.items():
            if name not in self.asleep:
                self.probe(name)
                core.tick(self.now, WALL + self.now)
            answer = self.answer(name)
            if self.shown.get(name) != answer:
                self.changes.append((self.now, f"{name} answers {' '.join(answer)}"))
            self.shown[name] = answer

    def exchange(self, one: str, other: str) -> None:
        """`one` tells `other`, through the real bytes."""
        sender, receiver = self.agents[one], self.agents[other]
        heard = receiver.heard(self.now, wire.parse_vote(wire.dump_vote(sender.vote(self.now))))
        state = sender.own_state()
        if heard.fetch and state is not None:
            receiver.take_state(state)
        if heard.accused:
            accused = json.dumps(wire.dump_accusation(sender.health.own(sender.incarnation)))
            receiver.take_accusation(wire.parse_accusation(accused.encode()))

    def answer(self, name: str) -> tuple[str, ...]:
        found = self.agents[name].wanted.records.get((NAME, "A"))
        names = list(self.roles)
        return tuple(sorted(names[int(v.split(".")[1])] for v in (found.values if found else ())))
