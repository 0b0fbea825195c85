"""Regions in network namespaces of their own, joined by the lab's router, and what may befall it.

Only agents, BIND and a small API server stand there, so that a fault costs seconds. Everything
that a test asks of a region is asked from inside it: a region that is cut off can still be asked.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import os
import subprocess
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from federation_lab.network import Network
from federation_lab.paths import Paths

from .conftest import FOREIGN, WORKER, ZONE, FakeApi, Federation, Region, T, eventually
from .eyes import Eye

# A network for each of pytest's processes, beside those of the labs' tests.
LAB_ID = int(os.environ.get("WAN_TEST_ID") or 20 + WORKER)
MACHINE = 10
CLONE_NEWNET = 0x40000000
# How much shorter than in production the periods are.
SPEED = 2.5
WITHDRAW = 5 / SPEED
WEB = f"web.shop.svc.{ZONE}"


class WanError(Exception):
    """A command of the harness failed; the text says which and why."""


def enter(namespace: str) -> None:
    """Take this thread into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open() as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def run(*argv: str, text: str | None = None) -> str:
    """Run a command to its end."""
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode != 0:
        raise WanError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


@dataclass
class Place(Region):
    """A region in a network namespace."""

    namespace: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.through = ("ip", "netns", "exec", self.namespace)
        self.api = FakeApi(self.folder, enter=lambda: enter(self.namespace))
        self._inside = concurrent.futures.ThreadPoolExecutor(
            1, initializer=enter, initargs=(self.namespace,)
        )

    def entry(self) -> dict[str, Any]:
        """Its own address too may be a service's: there something can really answer."""
        found = super().entry()
        return found | {"address_ranges": [*found["address_ranges"], f"{self.host}/32"]}

    def here(self, call: Callable[[], T]) -> T:
        """Do something inside."""
        return self._inside.submit(call).result(30)

    def stop(self) -> None:
        """End its programs and the thread inside."""
        super().stop()
        self._inside.shutdown()

    @property
    def serial(self) -> str:
        """The zone's SOA, which changes with every update."""
        return "".join(self.ask(ZONE, "SOA"))


@contextlib.contextmanager
def standing(folder: Path, names: Iterable[str]) -> Generator[Wan]:
    """Give a whole `Wan`, gone at the end; without root the test is skipped."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = Wan(folder, names)
    try:
        made.start()
        made.whole()
        yield made
    finally:
        made.stop()


class Wan:
    """Three regions and the router between them.

    Args:
        folder: everything's files.
        names: the regions.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.network = Network(Paths(folder, folder / "cache", LAB_ID))
        self.network.remove()  # what a killed run left
        self.places: dict[str, Place] = {}
        for name in names:
            index = self.network.ensure_region(name)
            namespace = self.network.attach(index, MACHINE)
            self.places[name] = Place(
                name,
                folder / name,
                index,
                host=self.network.plan.address(index, MACHINE),
                namespace=namespace,
            )
        self.router = self.network.plan.router
        self.federation = Federation(dict(self.places))
        self.eyes: dict[str, Eye] = {}

    def start(self) -> None:
        """Start servers and agents, 2,000 records of somebody else's in each zone."""
        self.federation.peers()
        for place in self.places.values():
            place.api.start()
            place.start_named(FOREIGN)
            place.write_config(SPEED, **{"return-after": 2}, flap={"free": 1000, "limit": 0})
            place.api.publish("web", place.address())
        for place in self.places.values():
            place.start_agent()
            self.eyes[place.name] = Eye(place, WEB, lambda p=place: enter(p.namespace))

    def stop(self) -> None:
        """Take everything away."""
        for eye in self.eyes.values():
            eye.close()
        for place in self.places.values():
            place.stop()
            if hasattr(place.api, "_thread"):
                place.api.stop()
        self.network.remove()

    def __getitem__(self, name: str) -> Place:
        return self.places[name]

    @property
    def everywhere(self) -> list[str]:
        """The addresses of all regions."""
        return sorted(place.address() for place in self.places.values())

    def without(self, *names: str) -> list[str]:
        """The addresses of all regions but these."""
        return sorted(p.address() for p in self.places.values() if p.name not in names)

    def others(self, *names: str) -> list[Place]:
        """All regions but these."""
        return [place for place in self.places.values() if place.name not in names]

    def whole(self) -> None:
        """Wait until every server answers with all regions, and everybody hears everybody."""
        eventually(
            lambda: all(p.ask(WEB) == self.everywhere for p in self.places.values()),
            60,
            "every server answers with every region",
        )
        eventually(
            lambda: all(self._well(place) for place in self.places.values()), 60, "all is well"
        )

    def _well(self, place: Place) -> bool:
        try:
            told = place.verdict()
        except OSError:
            return False
        well = [r["verdict"] == "healthy" and not r["withdrawn"] for r in told["regions"].values()]
        return bool(told["quorum"]) and len(well) == len(self.places) and all(well)

    def serials(self) -> dict[str, str]:
        """The SOA of every server."""
        return {place.name: place.serial for place in self.places.values()}

    def foreign(self) -> dict[str, dict[tuple[str, str], tuple[str, ...]]]:
        """What others hold in every zone."""
        return {
            place.name: {k: v for k, v in place.transfer().items() if k[0].startswith("host")}
            for place in self.places.values()
        }

    @contextlib.contextmanager
    def cut(self, a: str, b: str, *, one_way: bool = False) -> Generator[None]:
        """Cut two places from one another, as long as the block lasts."""
        self.network.cut(a, b, one_way=one_way)
        try:
            yield
        finally:
            self.network.heal(a, b, one_way=one_way)

    @contextlib.contextmanager
    def rule(self, *texts: str) -> Generator[None]:
        """Have the router obey more rules of nft on what it forwards, while the block lasts."""
        nft = ("ip", "netns", "exec", self.router, "nft")
        chain = "chain forward { type filter hook forward priority -1; policy accept; }"
        run(*nft, "-f", "-", text=f"table inet fault {{\n{chain}\n}}\n")
        try:
            for text in texts:
                run(*nft, "add", "rule", "inet", "fault", "forward", *text.split())
            yield
        finally:
            run(*nft, "delete", "table", "inet", "fault")

    @contextlib.contextmanager
    def narrow(self, rate: str) -> Generator[None]:
        """Let no more than so much into each region, while the block lasts."""
        tc = ("ip", "netns", "exec", self.router, "tc", "qdisc")
        bridges = [self.network.plan.bridge(p.number) for p in self.places.values()]
        for bridge in bridges:
            bound = ["rate", rate, "burst", "4kb", "latency", "400ms"]
            run(*tc, "add", "dev", bridge, "root", "tbf", *bound)
        try:
            yield
        finally:
            for bridge in bridges:
                run(*tc, "del", "dev", bridge, "root")
