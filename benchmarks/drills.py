"""The loss of a region, again and again: how soon servers and clients are right.

    sudo .venv/bin/python benchmarks/drills.py [--count 6] [--format table|json]
    .venv/bin/python benchmarks/drills.py --read FILE... [--format table|json]

Three regions stand in network namespaces (the functional tests' `wan.py`): an agent with its
default periods, a BIND that signs, with 2,000 records of others. On a fourth site stand two
unbounds, one of them validating, that ask all three servers. Each drill first breaks a region's
cable for less than `withdraw-after` (1 to 4 s), which must change no zone. Then it takes that
region away, by turns by its cable and by killing agent and server, and asks ten times a second:
every surviving server, and both unbounds as a client does. The region comes back before the next.

`--read` puts together what several runs gave as JSON. Exit status 1: a promise was not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import importlib
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from federation_dns import dnssec
from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parents[1] / "packages/federation-dns/tests"
sys.path.insert(0, str(TESTS))
conftest: Any = importlib.import_module("functional.conftest")
resolvers: Any = importlib.import_module("functional.resolver")
wans: Any = importlib.import_module("functional.wan")

NAMES = ("catania", "napoli", "palermo")
WAYS = ("cut", "killed")
BLIPS = (1.0, 2.0, 3.0, 4.0)
WITHDRAW_S, TTL_S = 5.0, 15.0
# What issue 5 promises, in seconds.
MEDIAN, WORST, CLIENT = 6.0, 10.0, 25.0
# How long a client that has become right is watched.
RIGHT_S = 3.0
CLIENTS = ("plain", "validating")


@dataclasses.dataclass
class Drill:
    """One region's loss.

    Attributes:
        region: who was lost.
        way: how.
        servers: until its address was gone, by surviving server.
        clients: until its address was gone for good, by client.
        empty: answers of servers and clients without an address.
        failed: a client's answers that were errors, or did not come within 4 s.
        insecure: answers of the validating unbound without its word for them.
        blip: how long the cable was broken before.
        moved: servers whose zone that changed.
        load: of the machine.
    """

    region: str
    way: str
    servers: dict[str, float]
    clients: dict[str, float]
    empty: int
    failed: int
    insecure: int
    blip: float
    moved: list[str]
    load: float

    @property
    def gone(self) -> float:
        """Until no surviving server had it."""
        return max(self.servers.values())

    @property
    def kept(self) -> bool:
        """Whether all promises were, but for the median."""
        well = self.gone <= WORST and max(self.clients.values()) <= CLIENT
        return well and not (self.empty or self.insecure or self.moved)


class Site:
    """The regions, and a fourth site with the clients' resolvers."""

    def __init__(self, folder: Path):
        self.wan = wans.Wan(folder, NAMES)
        self.keys = dnssec.KeySet(keys=(dnssec.new_key(datetime.datetime.now(datetime.UTC)),))
        index = self.wan.network.ensure_region("clients")
        namespace = self.wan.network.attach(index, wans.MACHINE)
        servers = tuple(f"{p.host}@{p.dns_port}" for p in self.wan.places.values())
        anchors = {"plain": (), "validating": resolvers.anchors(self.keys)}
        self.resolvers = {
            name: resolvers.Resolver(
                folder / name,
                servers,
                anchors[name],
                host=self.wan.network.plan.address(index, wans.MACHINE),
                through=("ip", "netns", "exec", namespace),
            )
            for name in CLIENTS
        }

    def start(self) -> None:
        """Start servers, and agents when all is signed; then the resolvers."""
        wan = self.wan
        wan.federation.peers()
        for place in wan.places.values():
            place.api.start()
            signing = resolvers.put_keys(place.folder / "keys", self.keys)
            place.start_named(conftest.FOREIGN, signing=signing)
            # Thirty losses in an hour: the holds of a region that flaps are not what is measured.
            place.write_config(speed=1, flap={"free": 1000, "limit": 0})
            place.api.publish("web", place.address())
        for place in wan.places.values():
            conftest.eventually(lambda place=place: signed(place), 90, f"{place.name} is signed")
            place.start_agent()
            wan.eyes[place.name] = wans.Eye(
                place, wans.WEB, lambda place=place: wans.enter(place.namespace)
            )
        wan.whole()
        for resolver in self.resolvers.values():
            resolver.start()
        self.right()

    def stop(self) -> None:
        """Take everything away."""
        for resolver in self.resolvers.values():
            resolver.stop()
        self.wan.stop()

    def right(self) -> None:
        """Wait until servers and clients know all regions."""
        everywhere, places = self.wan.everywhere, self.wan.places.values()
        conftest.eventually(
            lambda: all(p.ask(wans.WEB) == everywhere for p in places), 180, "all regions are back"
        )
        self.wan.whole()
        for resolver in self.resolvers.values():
            conftest.eventually(
                lambda resolver=resolver: [*resolver.ask(wans.WEB).values] == self.wan.everywhere,
                60,
                "the clients know all regions",
            )


def signed(place: Any) -> bool:
    """Whether every name has its signature."""
    found = place.transfer()
    names = {name for name, kind in found if kind in ("A", "TXT")}
    done = {name for name, kind in found if kind == "RRSIG"}
    return place.ask(conftest.ZONE, "NSEC3PARAM") != [] and names <= done


def blip(site: Site, region: str, seconds: float) -> list[str]:
    """Break a region's cable for a moment; who changed its zone for that?"""
    before = site.wan.serials()
    with site.wan.cut(region, "all"):
        time.sleep(seconds)
    time.sleep(WITHDRAW_S + 1)
    after = site.wan.serials()
    return [name for name in NAMES if before[name] != after[name]]


@contextlib.contextmanager
def lost(site: Site, region: str, way: str) -> Generator[None]:
    """Take a region away while the block lasts."""
    place = site.wan[region]
    if way == "cut":
        with site.wan.cut(region, "all"):
            yield
        return
    place.kill_agent()
    place.named.kill()
    place.named.wait(10)
    try:
        yield
    finally:
        place.spawn_named()
        place.start_agent()


def until_gone(answers: Iterable[tuple[float, Any]], address: str, began: float) -> float | None:
    """Seconds until an answer came without the address, after the last one with it."""
    since: float | None = None
    for at, values in answers:
        if at < began or not values:
            continue
        since = None if address in values else since or at
    return None if since is None else since - began


def drill(site: Site, region: str, way: str, pause: float) -> Drill:
    """Break one region's cable for a moment, then take it away."""
    site.right()
    moved = blip(site, region, pause)
    site.right()
    address, eyes = site.wan[region].address(), site.wan.eyes
    others = [name for name in NAMES if name != region]
    with contextlib.ExitStack() as stack:
        clients = {
            name: stack.enter_context(resolvers.Client(resolver, wans.WEB))
            for name, resolver in site.resolvers.items()
        }
        # At any age of what the resolvers hold.
        time.sleep(random.uniform(0, TTL_S))  # noqa: S311 - no secret
        began = time.monotonic()
        stack.enter_context(lost(site, region, way))

        def servers() -> dict[str, float | None]:
            return {n: until_gone(list(eyes[n].answers), address, began) for n in others}

        def seen() -> dict[str, float | None]:
            return {
                n: until_gone([(a.at, a.values) for a in list(c.answers)], address, began)
                for n, c in clients.items()
            }

        def all_right() -> bool:
            times = [*servers().values(), *seen().values()]
            passed = time.monotonic() - began
            return all(t is not None and passed - t >= RIGHT_S for t in times)

        conftest.eventually(all_right, 90, f"{region} is gone everywhere")
        told = [a for client in clients.values() for a in client.answers]
        failed = [a for a in told if a.rcode != "NOERROR"]
        empty = [a for a in told if a.rcode == "NOERROR" and not a.values]
        bare = [v for n in others for v in eyes[n].since(began) if not v]
        if failed:
            sys.stderr.write(f"failed: {[(a.rcode, round(a.at - began, 1)) for a in failed]}\n")
        insecure = [a for a in clients["validating"].answers if not a.secure and a.values]
        return Drill(
            region,
            way,
            {n: round(t, 2) for n, t in servers().items() if t is not None},
            {n: round(t, 2) for n, t in seen().items() if t is not None},
            len(empty) + len(bare),
            len(failed),
            len(insecure),
            pause,
            moved,
            round(os.getloadavg()[0], 1),
        )


def others(site: Site) -> dict[str, dict[tuple[str, str], tuple[str, ...]]]:
    """What others hold in every zone; the signatures beside it are the server's."""
    return {
        name: {key: values for key, values in found.items() if key[1] != "RRSIG"}
        for name, found in site.wan.foreign().items()
    }


def drills(count: int) -> Generator[Drill]:
    """Drill so often, in one standing federation."""
    turns = itertools.cycle((name, way) for way in WAYS for name in NAMES)
    planned = zip(itertools.islice(turns, count), itertools.cycle(BLIPS), strict=False)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        try:
            site.start()
            foreign = others(site)
            for (region, way), pause in planned:
                yield drill(site, region, way, pause)
            site.right()
            if others(site) != foreign:
                raise SystemExit("records of others were changed")
        finally:
            site.stop()


def kept(found: list[Drill]) -> bool:
    """Whether issue 5's promises were."""
    return all(d.kept for d in found) and statistics.median(d.gone for d in found) <= MEDIAN


def show(found: list[Drill]) -> Table:
    """The figures as a table."""
    loads = [d.load for d in found]
    table = Table(
        "",
        "median s",
        "worst s",
        "promised s",
        title=f"{len(found)} losses of a region; load {min(loads):.0f} to {max(loads):.0f}",
    )
    gone = [d.gone for d in found]

    def row(name: str, values: list[float], promised: str) -> None:
        table.add_row(name, f"{statistics.median(values):.2f}", f"{max(values):.2f}", promised)

    row("out of DNS at every surviving server", gone, f"{MEDIAN:.0f}, {WORST:.0f}")
    for way in WAYS:
        if some := [d.gone for d in found if d.way == way]:
            row(f"  {way} ({len(some)})", some, "")
    for name in CLIENTS:
        row(f"client right, {name} unbound", [d.clients[name] for d in found], f"{CLIENT:.0f}")
    table.add_row("empty answers", str(sum(d.empty for d in found)), "", "0")
    # While it still asks the server that is dead; how long is the resolver's own affair.
    table.add_row("clients' questions failed", str(sum(d.failed for d in found)), "", "")
    table.add_row("not validated", str(sum(d.insecure for d in found)), "", "0")
    for pause in BLIPS:
        some = [d for d in found if d.blip == pause]
        table.add_row(
            f"blips of {pause:g} s / zones changed",
            f"{len(some)} / {sum(len(d.moved) for d in some)}",
            "",
            "0",
        )
    return table


def main() -> None:
    """Drill, or read what was drilled, and print it."""
    parser = argparse.ArgumentParser(description="Lose regions and measure.")
    _ = parser.add_argument("--count", type=int, default=6)
    _ = parser.add_argument("--format", choices=("table", "json"), default="table")
    _ = parser.add_argument("--read", nargs="+", type=Path, default=[])
    asked = parser.parse_args()
    found = [Drill(**each) for path in asked.read for each in json.loads(path.read_text())]
    try:
        if not asked.read:
            for each in drills(asked.count):
                sys.stderr.write(f"{each}\n")
                found.append(each)
    finally:  # what was measured is told, whatever came after it
        if asked.format == "json":
            sys.stdout.write(json.dumps([dataclasses.asdict(d) for d in found], indent=1) + "\n")
        elif found:
            Console(width=99).print(show(found))
    sys.exit(0 if found and kept(found) else 1)


if __name__ == "__main__":
    main()
