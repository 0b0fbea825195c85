"""The controller's process is killed at random moments while objects come, change and go.

Reference: reliability.md, F4 (invariant I9). Two processes run, one leads; the leader is killed
with SIGKILL in the midst of a user's acts, the other takes over, and another one is started. The
dead one's lease is given back by hand, since to wait for its end 50 times shows nothing new.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from controller_harness import FEDERATED, eventually
from faults_harness import MEMBERS, Faulty
from kubefed.api import CONFIG_MAP
from process_harness import Process, free_lease, until_led

SOAK = os.environ.get("FEDERATION_SOAK") == "1"
log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600 if SOAK else 300)]
NS = "killed"
ACTS, KILLS = (500, 50) if SOAK else (60, 5)
QUIET = 60.0 if SOAK else 5.0
SEED = int(os.environ.get("FEDERATION_SEED") or random.randrange(2**32))  # noqa: S311
# Objects that nobody touches.
BYSTANDERS = 5
# How many that come and go there are at most at a time.
ALIVE = 25


@dataclasses.dataclass
class User:
    """Acts at random, and remembers what it asked for.

    Attributes:
        wish: the clusters that each of its objects is to be in.
        turns: how often an object was to appear in a member or to vanish from it.
    """

    faulty: Faulty
    dice: random.Random
    wish: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    turns: Counter[tuple[str, str, str]] = dataclasses.field(default_factory=Counter)
    _former: list[str] = dataclasses.field(default_factory=list)
    _made: int = 0

    def act(self) -> None:
        acts = {"create": 4, "set": 3, "override": 1, "place": 2, "delete": 3}
        act = self.dice.choices(list(acts), list(acts.values()))[0]
        if not self.wish or (act == "create" and len(self.wish) < ALIVE):
            self._create()
            return
        name = self.dice.choice(sorted(self.wish))
        if act == "override":
            self.faulty.override(NS, name, self.dice.choice(MEMBERS), self._value())
        elif act == "place":
            self._turn(name, self._somewhere())
            self.faulty.place(NS, name, *self.wish[name])
        elif act == "delete":
            self._turn(name, ())
            del self.wish[name]
            self._former.append(name)
            self.faulty.delete(NS, name)
        else:
            self.faulty.set(NS, name, self._value())

    def _create(self) -> None:
        self._made += 1
        name = f"one-{self._made}"
        # Sometimes under the name of an object that is gone.
        if self._former and self.dice.random() < 0.5:
            former = self.dice.choice(self._former)
            path = FEDERATED["configmap"].path(NS, former)
            if self.faulty.federation.host.get(path) is None:
                self._former.remove(former)
                name = former
        self._turn(name, self._somewhere())
        self.faulty.post(NS, name, self._value(), *self.wish[name])

    def _turn(self, name: str, where: tuple[str, ...]) -> None:
        before = self.wish.get(name, ())
        for member in MEMBERS:
            if (member in before) != (member in where):
                self.turns[member, "create" if member in where else "delete", name] += 1
        self.wish[name] = where

    def _somewhere(self) -> tuple[str, ...]:
        return self.dice.choice([MEMBERS, *((member,) for member in MEMBERS)])

    def _value(self) -> str:
        return f"{self.dice.random():.6f}"


class Pair:
    """Two processes, one of which leads."""

    def __init__(self, faulty: Faulty, directory: Path) -> None:
        self._faulty = faulty
        self._directory = directory
        self._running: list[Process] = []
        self._started = 0
        for _ in range(2):
            self._start()

    def _start(self) -> None:
        self._started += 1
        log = self._directory / f"controller-{self._started}.log"
        self._running.append(Process(self._faulty.kubeconfig, log))

    def kill_leader(self) -> None:
        leader = until_led(self._faulty.federation)
        (victim,) = (each for each in self._running if each.said(f"{leader} leads"))
        assert all(each.alive for each in self._running)
        victim.kill()
        self._running.remove(victim)
        free_lease(self._faulty.federation)
        self._start()
        until_led(self._faulty.federation, leader)

    def stop(self) -> None:
        for each in self._running:
            each.stop()


@pytest.fixture
def pair(faulty: Faulty, tmp_path: Path) -> Generator[Pair]:
    made = Pair(faulty, tmp_path)
    try:
        eventually(faulty.federation.all_ready, 30)
        yield made
    finally:
        made.stop()


def done(faulty: Faulty) -> Counter[tuple[str, str, str]]:
    """Count what the controllers made and deleted in members, whoever of them it was."""
    found: Counter[tuple[str, str, str]] = Counter()
    for each in faulty.writes(0, rf"^/api/v1/namespaces/{NS}/configmaps"):
        if each.took_effect and each.verb in ("create", "delete"):
            _, _, name = each.path.partition("/configmaps/")
            if each.verb == "create":
                _, _, rest = each.content.decode().partition('"name":"')
                name = rest.partition('"')[0]
            found[each.cluster, each.verb, name] += 1
    return found


@pytest.mark.skipif(not SOAK, reason="every kind of write is in the crash test; FEDERATION_SOAK=1")
def test_killed_at_random(faulty: Faulty, pair: Pair) -> None:
    log.warning("FEDERATION_SEED=%d", SEED)
    dice = random.Random(SEED)  # noqa: S311
    user = User(faulty, dice)
    federation = faulty.federation
    until_led(federation)
    faulty.make_namespace(NS)
    for number in range(BYSTANDERS):
        faulty.post(NS, f"bystander-{number}", "stays")
    eventually(lambda: faulty.settled(NS), 60)

    def bystanders() -> dict[tuple[str, str], str]:
        return {
            (member, name): found["metadata"]["uid"]
            for member in MEMBERS
            for name in (f"bystander-{number}" for number in range(BYSTANDERS))
            if (found := federation.apis[member].get(CONFIG_MAP.path(NS, name)))
        }

    before = bystanders()
    kills = sorted(dice.sample(range(ACTS), KILLS))
    began = time.monotonic()
    for number in range(ACTS):
        user.act()
        if number in kills:
            time.sleep(dice.uniform(0, 1.0))
            pair.kill_leader()
        else:
            time.sleep(dice.uniform(0, 0.05))
    eventually(lambda: faulty.settled(NS) and faulty.booked(NS), 60)
    log.warning("%d kills in %d acts, %.0f s", KILLS, ACTS, time.monotonic() - began)

    wanted = {name: set(where) for name, where in user.wish.items()}
    held = faulty.held(NS)
    for member in MEMBERS:
        names = {name for name, where in wanted.items() if member in where}
        assert {name for name in held[member] if name.startswith("one-")} == names
    assert bystanders() == before
    assert len(before) == len(MEMBERS) * BYSTANDERS
    assert faulty.foreign_untouched(NS)
    ours = {key: count for key, count in done(faulty).items() if key[2].startswith("one-")}
    assert Counter(ours) <= user.turns
    assert not [key for key in done(faulty) if key[1] == "delete" and key not in user.turns]
    faulty.quiet(QUIET)
    assert faulty.settled(NS)
