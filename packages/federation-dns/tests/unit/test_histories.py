"""Whole federations through random histories: what must hold whatever happens, in what order.

Every agent is the real core, the votes travel as bytes; only clock and network are simulated.
FEDERATION_SOAK=1 plays thousands.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise

from federation_dns.core import Memory
from federation_dns.policy import Policy
from hypothesis import given, settings
from hypothesis import strategies as st

from .world import STEP, World

SOAK = os.environ.get("FEDERATION_SOAK") == "1"
MANY = settings(max_examples=3000 if SOAK else 50, deadline=None)
HOLD = 30.0

POLICIES = [
    Policy(),
    Policy("failover", order=("b", "a")),
    Policy("local"),
    Policy("weighted", (("c", 0),)),
]
EVENTS = ["empty", "alone", "die", "cut", "sleep", "fill", "heal", "return", "join", "wake"]
Event = tuple[float, str, int, int]


@st.composite
def stories(draw: st.DrawFn) -> tuple[int, int, Policy, list[Event]]:
    events = st.tuples(
        st.sampled_from([0.5, 2.0, 4.0, 7.0, 12.0, 33.0]),
        st.sampled_from(EVENTS),
        st.integers(0, 4),
        st.integers(0, 4),
    )
    regions, witnesses = draw(
        st.sampled_from([(1, 0), (2, 0), (2, 1), (3, 0), (3, 0), (3, 2), (5, 0)])
    )
    policy = draw(st.sampled_from(POLICIES))
    return regions, witnesses, policy, draw(st.lists(events, min_size=5, max_size=12))


def begin(regions: int, witnesses: int, policy: Policy) -> World:
    world = World()
    world.roles |= dict.fromkeys("abcdefg"[:regions], "region")
    world.roles |= dict.fromkeys("wv"[:witnesses], "witness")
    world.asked = dict.fromkeys("abcdefg"[:regions], policy)
    for name in world.roles:
        world.begin(name, Memory())
    return world


def happen(world: World, what: str, one: str, other: str) -> None:
    """One event; what can't happen now doesn't."""
    alive = one in world.agents
    acts: dict[str, Callable[[], object]] = {
        "cut": lambda: one != other and world.cuts.add(frozenset({one, other})),
        "join": lambda: world.cuts.discard(frozenset({one, other})),
        "alone": lambda: world.alone.add(one),
        "heal": lambda: world.alone.discard(one),
        "sleep": lambda: alive and world.asleep.add(one),
        "wake": lambda: world.asleep.discard(one),
        "die": lambda: alive and world.die(one),
        "return": lambda: alive or world.revive(one),
        "empty": lambda: alive and world.endpoints(one, 0),
        "fill": lambda: alive and world.endpoints(one, 1),
    }
    acts[what]()


def live(world: World) -> bool:
    return any(world.ready.get(n, 1) for n, role in world.roles.items() if role == "region")


class Watcher:
    """What must hold at every moment."""

    def __init__(self, world: World):
        self.world = world
        self.moves: dict[tuple[str, str], list[float]] = {}
        self.frozen: dict[str, tuple[str, ...]] = {}

    def look(self) -> None:
        world = self.world
        for name, core in world.agents.items():
            answer = world.answer(name)
            # Never empty, from the moment that the first answer was there.
            if world.answered.get(name):
                assert answer, f"{name} answers with nothing at {world.now}"
            if answer:
                world.answered[name] = True
            judged = core.judgement
            # Whoever hears no majority has changed nothing since it froze.
            if judged.panic:
                assert self.frozen.setdefault(name, answer) == answer
            else:
                self.frozen.pop(name, None)
            for region, finding in judged.findings.items():
                self._believed(name, region)
                assert not (finding.evicted and not finding.withdrawn)
            assert not all(f.withdrawn for f in judged.findings.values())

    def _believed(self, name: str, region: str) -> None:
        """Only a majority's votes, here and now, take a region out; and it stays for its hold."""
        core = self.world.agents[name]
        finding = core.judgement.findings[region]
        out = self.moves.setdefault((name, region), [])
        if finding.withdrawn == (len(out) % 2 == 1):
            return
        if finding.withdrawn:
            accusers = sum(v == "lost" for v in finding.votes.values())
            assert accusers > len(self.world.roles) / 2
        else:
            assert core.judgement.quorum
            assert self.world.now - out[-1] >= HOLD
        out.append(self.world.now)


def play(world: World, events: list[Event]) -> Watcher:
    watcher = Watcher(world)

    def pass_time(seconds: float) -> None:
        until = world.now + seconds
        while world.now < until:
            world.step()
            watcher.look()

    pass_time(3.0)
    names = list(world.roles)
    for gap, what, one, other in events:
        happen(world, what, names[one % len(names)], names[other % len(names)])
        pass_time(gap)
    return watcher


def settle(world: World) -> None:
    """All is well again, and stays so for as long as the longest hold."""
    world.cuts.clear()
    world.alone.clear()
    world.asleep.clear()
    for name in list(world.dead):
        world.revive(name)
    for _ in range(int(400 / STEP)):
        world.step()


@MANY
@given(stories())
def test_whatever_happens(story: tuple[int, int, Policy, list[Event]]) -> None:
    regions, witnesses, policy, events = story
    world = begin(regions, witnesses, policy)
    watcher = play(world, events)
    for moves in watcher.moves.values():
        # At most two changes in any return hold: a withdrawal and the return before it.
        for first, third in zip(moves, moves[2:], strict=False):
            assert third - first >= HOLD
        assert all(later > earlier for earlier, later in pairwise(moves))


@settings(MANY, max_examples=300 if SOAK else 5)
@given(stories())
def test_after_the_storm_all_answer_the_same(
    story: tuple[int, int, Policy, list[Event]],
) -> None:
    regions, witnesses, policy, events = story
    world = begin(regions, witnesses, policy)
    play(world, events)
    settle(world)
    answers = {name: world.answer(name) for name in world.agents}
    assert all(answers.values())
    if policy.strategy != "local":
        assert len(set(answers.values())) == 1, answers
    assert not any(c.judgement.panic for c in world.agents.values())
