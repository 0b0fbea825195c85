"""What a way between regions does to some packets only, a region that pauses, and its users.

Reliability.md, rows F7, F19, F25 and invariant I18; the rest of the network's faults is in
`test_wan.py`, as are the rules of both.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import pytest

from .conftest import ZONE, endpoints, eventually, free_port, service
from .wan import WEB, WITHDRAW, Place, Wan, enter, standing

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
NAMES = ("catania", "napoli", "palermo")
SOAK = os.environ.get("FEDERATION_SOAK") == "1"
SOON = 60.0
SHOP = f"shop.shop.svc.{ZONE}"


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Generator[Wan]:
    with standing(tmp_path_factory.mktemp("paths"), NAMES) as made:
        yield made


@pytest.fixture(autouse=True)
def begins_and_ends_whole(wan: Wan) -> Iterator[None]:
    """Nobody's answer was ever empty, and what others hold is as it was."""
    wan.whole()
    began, foreign = time.monotonic(), wan.foreign()
    yield
    wan.whole()
    for eye in wan.eyes.values():
        assert all(eye.since(began)), "an answer was empty"
    assert wan.foreign() == foreign


def test_a_way_that_eats_large_packets_is_named(wan: Wan) -> None:
    """F25: votes pass, so the region is healthy; its new services do not, so it is not well."""
    talker, names = wan["catania"], [f"s{i}.shop.svc.{ZONE}" for i in range(4)]
    others = wan.others("catania")
    before = {place.name: place.serial for place in others}
    with wan.rule("meta length > 1200 drop"):
        for number in range(len(names)):
            large = service(f"s{number}", talker.address(100 + number))
            large["status"]["loadBalancer"]["ingress"] = [
                {"ip": talker.address(100 + 30 * number + i)} for i in range(30)
            ]
            talker.api.put("endpointslices", endpoints(f"s{number}", 1))
            talker.api.put("services", large)
        eventually(lambda: bool(talker.ask(names[-1])), SOON, "its own server has them")
        began = time.monotonic()
        for place in others:
            eventually(
                lambda p=place: "MTU" in p.verdict()["faults"].get("catania", ""),
                SOON,
                f"{place.name} names it",
            )
        assert time.monotonic() - began < 10.0 or not SOAK
        for place in others:
            told = place.verdict()["regions"]["catania"]
            assert (told["verdict"], told["withdrawn"]) == ("healthy", False)
        assert {place.name: place.serial for place in others} == before
    for place in others:
        eventually(lambda p=place: all(p.ask(n) for n in names), SOON, "they came")
        eventually(lambda p=place: not p.verdict()["faults"], SOON, "forgiven")
    talker.api.drop("services", *[("shop", f"s{i}") for i in range(len(names))])
    for place in wan.others():
        eventually(lambda p=place: not p.ask(names[-1]), SOON, "gone again")


def test_nothing_but_the_mesh_is_needed_between_regions(wan: Wan) -> None:
    """F19, F30: no other port, nor anything else there is, and a region is lost meanwhile."""
    ports = ", ".join(str(place.mesh_port) for place in wan.others())
    serials = wan.serials()
    other_ports = f"tcp dport != {{ {ports} }} tcp sport != {{ {ports} }} drop"
    with wan.rule(other_ports, "meta l4proto != tcp drop"):
        time.sleep(2 * WITHDRAW)
        for place in wan.others():
            told = place.verdict()
            assert told["quorum"]
            assert not told["faults"]
        assert wan.serials() == serials
        rest = wan.without("palermo")
        with wan.cut("palermo", "all"):
            took = eventually(
                lambda: all(p.ask(WEB) == rest for p in wan.others("palermo")), SOON, "out"
            )
            assert took < 10.0 or not SOAK


def test_a_region_that_pauses_as_a_whole_brings_nothing_old(wan: Wan) -> None:
    """F7: agent and server at the same moment, as when their machine is suspended."""
    paused, rest = wan["napoli"], wan.without("napoli")
    moved = wan["catania"]
    assert paused.agent is not None
    assert paused.named is not None
    both = (paused.agent.pid, paused.named.pid)
    others = wan.others("napoli")
    try:
        for pid in both:
            os.kill(pid, signal.SIGSTOP)
        eventually(lambda: all(p.ask(WEB) == rest for p in others), SOON, "it is out")
        moved.api.publish("web", moved.address(99))
        now = sorted((moved.address(99), wan["palermo"].address()))
        eventually(lambda: all(p.ask(WEB) == now for p in others), SOON, "catania's has moved")
    finally:
        woken = time.monotonic()
        for pid in both:
            os.kill(pid, signal.SIGCONT)
    everywhere = sorted((*now, paused.address()))
    eventually(lambda: all(p.ask(WEB) == everywhere for p in wan.others()), SOON, "it is back")
    for place in others:
        found = wan.eyes[place.name].since(woken)
        assert not any(moved.address() in answer for answer in found)
        assert all({*now} <= {*answer} for answer in found)
    moved.api.publish("web", moved.address())


@dataclass
class Shop:
    """What answers at a region's address, one word a connection."""

    place: Place
    port: int
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        enter(self.place.namespace)
        with socket.create_server((self.place.host, self.port)) as listener:
            listener.settimeout(0.2)
            while not self._ended.is_set():
                with contextlib.suppress(OSError):
                    line, _ = listener.accept()
                    with line:
                        line.sendall(self.place.name.encode())

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)


@dataclass
class User:
    """Asks the region's server for the shop, goes there, and tries one other address if it fails.

    Attributes:
        visits: when, and from whom it got an answer in the end; empty: from none.
    """

    place: Place
    port: int
    visits: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._random = random.Random(18)  # noqa: S311
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self._thread.start()

    def _visit(self) -> None:
        enter(self.place.namespace)
        while not self._ended.wait(0.05):
            began = time.monotonic()
            failed: list[str] = []
            got = ""
            for _ in range(2):
                found = [a for a in self.place.ask(SHOP) if a not in failed]
                address = self._random.choice(found) if found else ""
                got = self._go(address)
                if got:
                    break
                failed.append(address)
            self.visits.append((began, got))

    def _go(self, address: str) -> str:
        try:
            with socket.create_connection((address, self.port), 0.5) as line:
                line.settimeout(0.5)
                return line.recv(100).decode()
        except OSError:
            return ""

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)


def test_users_notice_nothing_once_the_answer_has_changed(wan: Wan) -> None:
    """I18: who asks again and tries one other address gets an answer, each time."""
    port = free_port()
    shops = [Shop(place, port) for place in wan.others()]
    for place in wan.others():
        place.api.publish("shop", place.host, probe=str(port))
    everywhere = sorted(place.host for place in wan.others())
    eventually(lambda: all(p.ask(SHOP) == everywhere for p in wan.others()), SOON, "open")
    user = User(wan["catania"], port)
    try:
        time.sleep(WITHDRAW / 2)
        with wan.cut("napoli", "all"):
            rest = sorted(place.host for place in wan.others("napoli"))
            eventually(lambda: wan["catania"].ask(SHOP) == rest, SOON, "napoli is out")
            changed = time.monotonic()
            time.sleep((10 if SOAK else 1.5) * WITHDRAW)
            ended = time.monotonic()
        eventually(lambda: wan["catania"].ask(SHOP) == everywhere, SOON, "napoli is back")
        time.sleep(WITHDRAW)
    finally:
        user.close()
        for shop in shops:
            shop.close()
    after = [name for at, name in user.visits if at >= changed]
    assert after.count("") == 0
    assert {name for at, name in user.visits if changed <= at < ended} <= {"catania", "palermo"}
    assert {"catania", "napoli", "palermo"} <= {name for _, name in user.visits}
    # The shop stays: after the deletions of the first test the delete guard would keep its name.
