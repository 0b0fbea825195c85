"""Plays tests/scenarios/*.txt with the real cores and simulated time (see the README there)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest
from federation_dns import policy as policies
from federation_dns.core import Memory, Override
from federation_dns.verdict import Role, Said

from .world import WALL, World

FOLDER = Path(__file__).parent.parent / "scenarios"
T = TypeVar("T")


def _say(w: World, who: str, where: str, about: str, said: str, seconds: str) -> None:
    core = w.agents[where]
    word = Override(about, cast("Said", said), who, WALL + w.now + float(seconds))
    core.set_overrides([*core.overrides, word])


def _api(w: World, name: str, what: str) -> None:
    w.agents[name].api = "lost" if what == "dies" else "healthy"


def _ask(w: World, who: str, name: str, value: str) -> None:
    asked = policies.read({f"{policies.PREFIX}{name}": value})
    assert not asked.faults
    for region in w.roles if who == "everybody" else [who]:
        w.asked[region] = asked.policy
        w.own(region)


N = r"([a-z]+)"
EVENTS: list[tuple[str, Callable[..., object]]] = [
    (rf"the API server of {N} (dies|returns)", _api),
    (rf"{N} dies", World.die),
    (rf"{N} returns", World.revive),
    (rf"{N} sleeps", lambda w, n: w.asleep.add(n)),
    (rf"{N} wakes", lambda w, n: w.asleep.discard(n)),
    (rf"{N} and {N} are cut", lambda w, a, b: w.cuts.add(frozenset({a, b}))),
    (rf"{N} and {N} are joined", lambda w, a, b: w.cuts.discard(frozenset({a, b}))),
    (rf"{N} is cut off", lambda w, n: w.alone.add(n)),
    (rf"{N} is joined again", lambda w, n: w.alone.discard(n)),
    (rf"{N} has (no )?endpoints", lambda w, n, no: w.endpoints(n, 0 if no else 1)),
    (rf"the service at {N} breaks", lambda w, n: w.broken.add(n)),
    (rf"the service at {N} is mended", lambda w, n: w.broken.discard(n)),
    (rf"{N} cannot connect to {N}", lambda w, a, b: w.blocked.add((a, b))),
    (rf"{N} can connect to {N}", lambda w, a, b: w.blocked.discard((a, b))),
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
