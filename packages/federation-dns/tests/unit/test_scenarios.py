"""Plays tests/scenarios/*.txt with the real cores and simulated time (see the README there)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

import pytest
from federation_dns import policy as policies
from federation_dns import wire
from federation_dns.core import Core, Member, Memory, Override, Settings
from federation_dns.policy import Policy
from federation_dns.verdict import Holds, Role, Said
from federation_dns.zone import Service

FOLDER = Path(__file__).parent.parent / "scenarios"
STEP = 0.25
WALL = 1_000_000.0
T = TypeVar("T")
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
    shown: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

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
                [Service("shop", "web", (address,), self.ready.get(name, 1), None, policy)]
            )

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

    def answer(self, name: str) -> tuple[str, ...]:
        found = self.agents[name].wanted.records.get((NAME, "A"))
        names = list(self.roles)
        return tuple(sorted(names[int(v.split(".")[1])] for v in (found.values if found else ())))


def _die(w: World, name: str) -> None:
    w.dead[name] = w.agents.pop(name).memory()
    w.shown.pop(name, None)


def _return(w: World, name: str) -> None:
    w.begin(name, w.dead.pop(name))
    w.shown[name] = w.answer(name)


def _say(w: World, who: str, where: str, about: str, said: str, seconds: str) -> None:
    core = w.agents[where]
    word = Override(about, cast("Said", said), who, WALL + w.now + float(seconds))
    core.set_overrides([*core.overrides, word])


def _api(w: World, name: str, what: str) -> None:
    w.agents[name].api = "lost" if what == "dies" else "healthy"


def _endpoints(w: World, name: str, no: str | None) -> None:
    w.ready[name] = 0 if no else 1
    w.own(name)


def _ask(w: World, who: str, name: str, value: str) -> None:
    asked = policies.read({f"{policies.PREFIX}{name}": value})
    assert not asked.faults
    for region in w.roles if who == "everybody" else [who]:
        w.asked[region] = asked.policy
        w.own(region)


N = r"([a-z]+)"
EVENTS: list[tuple[str, Callable[..., object]]] = [
    (rf"the API server of {N} (dies|returns)", _api),
    (rf"{N} dies", _die),
    (rf"{N} returns", _return),
    (rf"{N} sleeps", lambda w, n: w.asleep.add(n)),
    (rf"{N} wakes", lambda w, n: w.asleep.discard(n)),
    (rf"{N} and {N} are cut", lambda w, a, b: w.cuts.add(frozenset({a, b}))),
    (rf"{N} and {N} are joined", lambda w, a, b: w.cuts.discard(frozenset({a, b}))),
    (rf"{N} is cut off", lambda w, n: w.alone.add(n)),
    (rf"{N} is joined again", lambda w, n: w.alone.discard(n)),
    (rf"{N} has (no )?endpoints", _endpoints),
    (rf"{N} annotates (strategy|order|weights) (.+)", _ask),
    (rf"(\w+) says at {N} that {N} is (lost|healthy|cordoned) for (\d+)s", _say),
]
FACTS: list[tuple[str, Callable[..., bool]]] = [
    (rf"{N} answers ([a-z ]+)", lambda w, n, who: w.answer(n) == tuple(sorted(who.split()))),
    (
        rf"{N} calls {N} (healthy|lost|unknown)",
        lambda w, n, r, v: w.agents[n].judgement.findings[r].verdict == v,
    ),
    (rf"{N} has evicted {N}", lambda w, n, r: w.agents[n].judgement.findings[r].evicted),
    (rf"{N} keeps {N}", lambda w, n, r: not w.agents[n].judgement.findings[r].evicted),
    (rf"{N} is frozen", lambda w, n: w.agents[n].judgement.panic),
    (rf"{N} acts", lambda w, n: not w.agents[n].judgement.panic),
]


def found(table: list[tuple[str, T]], text: str) -> tuple[T, tuple[str, ...]]:
    for pattern, do in table:
        if match := re.fullmatch(pattern, text):
            return do, match.groups()
    raise AssertionError(f"nobody understands {text!r}")


def play(lines: list[str]) -> None:
    world = World()
    steps: list[tuple[float, int, str]] = []
    spans: list[tuple[float, float]] = []
    for number, line in enumerate(lines):
        word, _, rest = line.partition(" ")
        if word in ("regions", "witnesses"):
            role: Role = "region" if word == "regions" else "witness"
            world.roles |= dict.fromkeys(rest.split(), role)
        elif match := re.fullmatch(r"from (\d+)s to (\d+)s nobody changes anything", line):
            spans.append((float(match[1]), float(match[2])))
        else:
            steps.append((float(rest.partition("s ")[0]), number, line))
    for name in world.roles:
        world.begin(name, Memory())
    for when, _, line in sorted(steps):
        while world.now < when:
            world.step()
        word, text = line.split(" ")[0], line.split("s ", 1)[1]
        if word == "at":
            act, groups = found(EVENTS, text)
            act(world, *groups)
        else:
            check, groups = found(FACTS, text)
            assert check(world, *groups), f"{line}; so far: {world.changes[-6:]}"
    for start, end in spans:
        assert world.now >= end, "the story ends before the span does"
        assert not [c for c in world.changes if start < c[0] <= end]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda p: p.stem)
def test_scenario(path: Path) -> None:
    lines = [line.strip() for line in path.read_text().splitlines()]
    play([line for line in lines if line and not line.startswith("#")])
