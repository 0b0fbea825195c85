"""What takes more than a pass: nothing that is lost waits for it, and nothing is half done."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from federation_dns import passes
from federation_dns.plan import Found
from federation_dns.providers import ProviderError
from federation_dns.zone import RecordSet, Zone

from .server_memory import RULES, WEB, Clock, Server, publishing, sets, until

LONG = 3500
A_PASS = 1000
TWO = replace(WEB, values=("10.1.0.1", "10.2.0.1"))


def wanted(*more: RecordSet, many: int = LONG) -> Zone:
    """So many names, and more; 10.2.0.1 has a reason to go."""
    found = sets(*range(many))
    records = {**found.records, **{(r.name, r.type): r for r in more}}
    return replace(found, records=records, explained=frozenset({"10.2.0.1"}))


async def test_a_withdrawal_does_not_wait_for_a_long_update() -> None:
    """A region is lost while thousands of names are written: it goes with the next pass."""
    server = Server()
    async with publishing(server, wanted(TWO, many=0)) as (publisher, core):
        await until(lambda: server.records.get((WEB.name, "A")))
        await until(lambda: not publisher.trouble)
        server.door.clear()
        core.wanted = wanted(TWO)
        publisher.wake()
        writes = server.did.count("apply")
        await until(lambda: server.did.count("apply") > writes)
        before = len(server.wrote)
        core.wanted = wanted(WEB)
        publisher.wake()
        server.door.set()
        await until(lambda: server.records[WEB.name, "A"].values == WEB.values)
        assert server.wrote.index(WEB.name, before) - before <= A_PASS
        await until(lambda: publisher.changes == 1 + LONG + 1)
        await until(lambda: server.did[-1] == "stamp")
    assert len(server.wrote) == 1 + LONG + 1, "each once"
    assert publisher.errors == 0
    owners = [name for name, kind in server.records if kind == "TXT"]
    assert len(owners) == 1 + LONG + 1, "an owner beside each, and the generation"


async def test_what_is_left_goes_on_without_a_reading_in_between() -> None:
    server = Server()
    async with publishing(server, wanted()) as (publisher, _):
        await until(lambda: publisher.changes == LONG)
        await until(lambda: server.did[-1] == "stamp")
        assert server.did[:7] == ["read", "apply", "apply", "apply", "apply", "read", "stamp"]


async def test_another_writer_in_between_is_seen_and_all_is_written() -> None:
    server = Server()
    async with publishing(server, wanted()) as (publisher, _):
        await until(lambda: len(server.wrote) > A_PASS)
        server.moves(99)
        await until(lambda: server.services == LONG)
        await until(lambda: not publisher.trouble and server.did[-1] == "stamp")
    assert publisher.errors == 0


async def test_the_delete_guard_judges_a_long_plan_as_one() -> None:
    """So many may go without a reason; that number does not shrink from pass to pass."""
    server, many = Server(), 5000
    share = 1500
    async with publishing(server, sets(*range(many))) as (publisher, core):
        await until(lambda: publisher.changes == many)
        core.wanted = sets(*range(share, many))
        publisher.wake()
        await until(lambda: publisher.changes == many + share)
        core.wanted = sets(*range(share + 1, many))
        publisher.wake()
        await until(lambda: publisher.plan and publisher.plan.withheld)
    assert server.services == many - share


async def test_what_may_have_gone_counts_for_the_guard() -> None:
    """The answer to an update is lost; the records that went with it went."""
    server = Server()
    async with publishing(server, sets(*range(20))) as (publisher, core):
        await until(lambda: publisher.changes == 20)
        server.mute = True
        core.wanted = sets(*range(4, 20))
        publisher.wake()
        await until(lambda: publisher.trouble == "did not answer")
        server.mute = False
        core.wanted = sets(*range(8, 20))
        publisher.wake()
        await until(lambda: publisher.plan and publisher.plan.withheld)
    assert server.services == 16


def test_what_is_refused_counts_not() -> None:
    server = Server()
    passes.write(server, sets(*range(20)), {}, RULES, server.read())
    view = server.read()
    server.fails = [ProviderError("refuses it", "operator")]
    done = passes.write(server, sets(*range(6, 20)), {}, RULES, view)
    assert (done.outcome, done.spends, server.services) == ("failed", frozenset(), 20)


async def test_a_comparison_comes_when_it_is_time_whoever_wakes() -> None:
    """Woken again and again for nothing: a zone that somebody altered is put right."""
    server, clock = Server(), Clock()
    async with publishing(server, wanted(WEB, many=0), clock, 2.0) as (publisher, _):
        await until(lambda: server.did == ["read", "apply", "read"] and not publisher.trouble)
        server.records[WEB.name, "A"] = Found(15, ("192.0.2.66",))
        server.serial += 1
        for _ in range(20):
            publisher.wake()
            await asyncio.sleep(0.002)
        assert len(server.did) == 3, "nothing is asked before its time"
        async with asyncio.timeout(20):
            while server.records[WEB.name, "A"].values != WEB.values:
                clock.now += 0.1
                publisher.wake()
                await asyncio.sleep(0.002)
        assert clock.now < 2 * 2.0


async def test_a_comparison_comes_in_the_midst_of_a_long_update() -> None:
    class Ticking(Clock):
        def __call__(self) -> float:
            self.now += 0.5
            return self.now

    server = Server()
    async with publishing(server, wanted(), Ticking(), 1.0) as (publisher, _):
        await until(lambda: publisher.changes == LONG)
    last = len(server.did) - server.did[::-1].index("apply")
    assert "read" in server.did[server.did.index("apply") : last]
