"""F78: thirty regions with a thousand services each, in one zone at a real server.

At night: BIND and dnspython take minutes to make and to read its 62,000 records.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dns.message
import dns.query
import dns.rrset
import pytest
from federation_dns import zone as zones
from federation_dns.core import Core, Memory, Settings
from federation_dns.plan import Rules
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.publisher import Publisher
from federation_dns.verdict import Holds
from federation_dns.zone import RegionState, RegionView, Service

from .conftest import FOREIGN, ZONE, Region

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.environ.get("FEDERATION_SOAK") != "1", reason="FEDERATION_SOAK=1"),
]
REGIONS, SERVICES = 30, 1000
WORST = 30.0
"""On a busy machine (6 s were seen at a load of 14); 3 s are promised."""


def view(number: int, *, out: bool = False) -> RegionView:
    found = tuple(
        Service("shop", f"s{i:03}", (f"10.{number}.{i // 250}.{i % 250 + 1}",), 2)
        for i in range(SERVICES)
    )
    name = f"r{number:02}"
    return RegionView(name, RegionState(name, 1, 1, found), out, (f"10.{number}.0.0/16",))


def answer(region: Region, name: str) -> list[dns.rrset.RRset]:
    """Over TCP: thirty addresses are more than 512 bytes."""
    query = dns.message.make_query(name, "A")
    return dns.query.tcp(query, "127.0.0.1", 20, region.dns_port).answer


def ask(region: Region, name: str) -> list[str]:
    return sorted(str(r) for rrset in answer(region, name) for r in rrset)


def has_ttl(region: Region, name: str, ttl: int) -> bool:
    return [rrset.ttl for rrset in answer(region, name)] == [ttl]


async def until(what: Callable[[], bool], seconds: float, text: str) -> float:
    began = time.monotonic()
    while not await asyncio.to_thread(what):
        assert time.monotonic() - began < seconds, text
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_what_is_lost_goes_whatever_is_read_or_written(tmp_path: Path) -> None:
    region = Region("r01", tmp_path / "r01", 1)
    core = Core(Settings("r01", ZONE, 15, Holds()), [], 1, Memory(), 0.0)
    regions = [view(number) for number in range(1, REGIONS + 1)]
    rules = Rules(zone=ZONE, federation="f")
    told: list[str] = []
    try:
        region.start_named(FOREIGN)
        provider = Rfc2136(
            server="127.0.0.1",
            port=region.dns_port,
            key_name="agent-r01",
            key_file=region.folder / "named" / "key.conf",
            rules=rules,
            writer="r01",
            timeout=2.0,
        )
        before = {k: v for k, v in region.transfer().items() if k[0].startswith("host")}
        with ThreadPoolExecutor(2) as executor:
            publisher = Publisher(
                core,
                provider,
                rules,
                interval=2.0,
                window=600,
                executor=executor,
                clock=time.monotonic,
                lifted=lambda: False,
            )
            running = asyncio.create_task(publisher.run())

            def want(lost: set[int], ttl: int) -> None:
                made = [replace(r, out=int(r.name[1:]) in lost) for r in regions]
                core.wanted = zones.build(ZONE, ttl, made, core.wanted.records)
                publisher.wake()

            async def written(what: str, lost: set[int], most: float, ttl: int = 15) -> None:
                want(lost, ttl)
                last = f"s999.shop.svc.{ZONE}"
                left = core.wanted.records[last, "A"].values
                took = await until(
                    lambda: ask(region, last) == sorted(left), most, f"{what}: {publisher.notes()}"
                )
                told.append(f"{what}: {took:.1f} s")

            try:
                await written("all made", set(), 900)
                await until(lambda: bool(publisher.changes), 300, "the last message is sent")
                # The whole zone is being read after this write, which takes longer than a pass.
                await written("one lost", {30}, WORST)
                await written("fourteen lost", set(range(17, 31)), WORST)
                await written("all are back", set(), WORST)
                took = await until(lambda: not publisher.trouble, 300, "all is well")
                names = (1 + REGIONS + 3) * SERVICES  # all once, and three times each service's
                await until(lambda: publisher.changes == names, 60, f"{names} were written")
                await asyncio.sleep(3 * 2.0)
                assert publisher.changes == names, "nothing was left to do"
                told.append(f"and read: {took:.1f} s more")
                # Every name changes; one that comes late in that is lost early in it.
                want(set(), 14)
                first = f"s000.shop.svc.{ZONE}"
                await until(lambda: has_ttl(region, first, 14), 60, "it has begun")
                await written("one lost while all is written", {30}, WORST, 14)
                last = f"s999.shop.svc.r30.{ZONE}"
                await until(lambda: has_ttl(region, last, 14), 300, "all is written")
                await until(lambda: not publisher.trouble, 300, "all is well")
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                provider.close()
        after = {k: v for k, v in region.transfer().items() if k[0].startswith("host")}
        assert after == before
    finally:
        region.stop()
        (tmp_path / "told").write_text("\n".join(told))
