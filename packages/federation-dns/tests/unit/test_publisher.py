"""The publisher and a server that fails in every way it can."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from federation_dns import plan as plans
from federation_dns.passes import caught_up, look
from federation_dns.plan import Plan, View
from federation_dns.providers import ProviderError, Remedy
from federation_dns.publisher import Publisher
from federation_dns.zone import Zone

from ..functional.carrying import carry_out
from .server_memory import RULES, WANTED, WEB, Clock, Server, publishing, sets, until


def test_a_pass_reads_writes_and_reads_again() -> None:
    server = Server()
    done = carry_out(server, WANTED, {}, RULES, None)
    assert (done.outcome, done.changes, server.did) == ("changed", 1, ["read", "apply", "read"])
    again = carry_out(server, WANTED, {}, RULES, done.view)
    assert (again.outcome, len(server.did)) == ("same", 3)


def test_a_stale_reading_is_refused_by_the_server_and_made_anew() -> None:
    server = Server()
    old = server.read()
    server.moves(7)
    done = carry_out(server, WANTED, {}, RULES, old)
    assert done.outcome == "changed"
    assert server.did == ["read", "apply", "read", "apply", "read"]


def test_a_zone_that_never_rests_is_given_up_for_now() -> None:
    @dataclass
    class Restless(Server):
        def read(self) -> View:
            found = super().read()
            self.moves(self.serial)
            return found

    server = Restless()
    done = carry_out(server, WANTED, {}, RULES, None)
    assert (done.outcome, done.error) == ("failed", "holds a newer plan")
    assert not server.services


def test_a_failed_reading_is_not_an_empty_zone() -> None:
    server = Server(fails=[ProviderError("did not answer", "retry")])
    done = carry_out(server, Zone({}, complete=True), {}, RULES, None)
    assert (done.outcome, done.view, server.did) == ("failed", None, ["read"])
    server.fails = [ProviderError("did not answer", "retry")]
    with pytest.raises(ProviderError):
        look(server, None, RULES)


@pytest.mark.parametrize("remedy", ["retry", "operator"])
async def test_a_server_that_fails_is_asked_again_and_said(remedy: Remedy) -> None:
    server = Server(fails=[ProviderError("refuses", remedy)])
    async with publishing(server) as (publisher, _):
        assert publisher.notes()
        await until(lambda: publisher.errors)
        assert publisher.notes() == ["refuses"]
        publisher.wake()
        await until(lambda: publisher.changes)
        await until(lambda: not publisher.trouble)
        assert publisher.notes() == []
        # Emptied by somebody: seen by the stamp, put right.
        server.records.clear()
        server.serial = 99
        await until(lambda: publisher.changes >= 2)
    assert (WEB.name, "A") in server.records


async def test_a_server_that_fails_is_not_stormed() -> None:
    server = Server(fails=[ProviderError("refuses", "retry")] * 100)
    async with publishing(server) as (publisher, _):
        for _ in range(5):
            publisher.wake()
            await asyncio.sleep(0.05)
    assert len(server.did) <= 12  # two for each time that it was woken


async def test_an_operator_is_told_of_what_lasts() -> None:
    server, clock = Server(), Clock()
    async with publishing(server, clock=clock) as (publisher, _):
        assert publisher.wrong() == []  # just started
        await until(lambda: publisher.changes)
        await until(lambda: not publisher.trouble)
    clock.now = 100.0
    assert publisher.wrong() == []
    publisher.trouble = "web in ERROR"
    publisher.well_at = 90.0
    assert publisher.wrong() == []
    clock.now = 106.0
    assert publisher.wrong() == ["web in ERROR"]


async def test_the_delete_cap_is_of_a_window_and_not_of_a_pass() -> None:
    """What goes bit by bit, each bit below the cap, is held back as if it went at once."""
    server, clock = Server(), Clock()
    left = list(range(20))
    async with publishing(server, sets(*left), clock) as (publisher, core):
        await until(lambda: publisher.changes == 20)
        del left[:4]
        core.wanted = sets(*left)
        await until(lambda: publisher.changes == 24)
        del left[:4]
        core.wanted = sets(*left)
        await until(lambda: publisher.plan and publisher.plan.withheld)
        assert publisher.changes == 24
        clock.now = 601.0
        await until(lambda: publisher.changes == 28)
    assert server.services == 12


def test_nothing_is_written_while_the_server_signs() -> None:
    server = Server(signing=True)
    done = carry_out(server, WANTED, {}, RULES, None)
    assert (done.outcome, done.waits, done.changes) == ("failed", True, 0)
    assert "its server signs all of it; 1 names wait" in done.error
    assert server.did == ["read"]
    assert carry_out(server, WANTED, {}, RULES, None, wait=False).outcome == "changed"
    assert carry_out(server, WANTED, {}, RULES, None).outcome == "same"


async def test_a_signing_that_never_ends_holds_up_once() -> None:
    """A failover must not wait a minute for each change of a server that is stuck."""
    server, clock = Server(signing=True), Clock()
    async with publishing(server, sets(1), clock) as (publisher, core):
        await until(lambda: "signs" in publisher.trouble)
        for now, expected in ((59.0, 0), (61.0, 1), (62.0, 2)):
            clock.now = now
            core.wanted = sets(*range(1, expected + 2))
            asked = len(server.did)
            publisher.wake()
            await until(lambda asked=asked: len(server.did) > asked)
            await until(lambda n=expected: publisher.changes >= n)
            await until(lambda n=expected: ("signs" in publisher.trouble) is (n == 0))
        assert publisher.errors == 0


class TestAReadingUnderWay:
    """It holds back nothing that another reading serves for."""

    async def begun(self, server: Server, publisher: Publisher) -> None:
        """All is written; then a reading is made, and does not come."""
        await until(lambda: publisher.changes)
        await until(lambda: not publisher.trouble and server.did[-1] == "stamp")
        server.gate.clear()
        server.serial += 1
        before = server.did.count("read")
        await until(lambda: server.did.count("read") > before)

    async def test_holds_nothing_back(self) -> None:
        """Nor does the one after a write: three changes, and none of the readings came."""
        server = Server()
        async with publishing(server) as (publisher, core):
            await self.begun(server, publisher)
            reads = server.did.count("read")
            for many in (2, 3, 4):
                core.wanted = sets(*range(many))
                publisher.wake()
                await until(lambda many=many: server.services == many)
            assert server.did.count("read") == reads
            writes = server.did.count("apply")
            server.gate.set()
            # The reading was made before these were written; it is not believed against them.
            await until(lambda: server.did[-3:] == ["stamp"] * 3)
            assert server.did.count("apply") == writes
            assert publisher.errors == 0
            assert publisher.well_at is not None

    async def test_is_dropped_where_a_write_s_end_is_not_known(self) -> None:
        server = Server()
        async with publishing(server) as (publisher, core):
            await self.begun(server, publisher)
            server.mute = True
            core.wanted = sets(1, 2)
            publisher.wake()
            await until(lambda: publisher.trouble == "did not answer")
            server.mute = False
            server.gate.set()
            await until(lambda: not publisher.trouble)
            assert (server.services, server.did.count("apply")) == (2, 2)

    async def test_is_dropped_where_no_provider_tells_what_was_made(self) -> None:
        """As Designate's: the next change waits for a reading that is newer than the last one."""
        server = Server(keeps=False)
        async with publishing(server) as (publisher, core):
            await self.begun(server, publisher)
            core.wanted = sets(1, 2)
            publisher.wake()
            await until(lambda: server.services == 2)
            core.wanted = sets(1, 2, 3)
            publisher.wake()
            reads = server.did.count("read")
            await asyncio.sleep(0.05)
            assert server.services == 2
            server.gate.set()
            await until(lambda: server.services == 3)
            assert server.did.count("read") > reads
            assert (server.did.count("apply"), publisher.errors) == (3, 0)

    async def test_that_fails_keeps_the_one_before(self) -> None:
        """A transfer that is refused is no reason to answer with a region that is lost."""
        server = Server()
        async with publishing(server) as (publisher, core):
            await until(lambda: publisher.changes)
            await until(lambda: not publisher.trouble and server.did[-1] == "stamp")
            server.fails = [ProviderError("refuses to be read", "operator")] * 2
            await until(lambda: publisher.trouble == "refuses to be read")
            core.wanted = sets(1, 2)
            publisher.wake()
            await until(lambda: server.services == 2)
            await until(lambda: not publisher.trouble)

    async def test_spends_what_goes_meanwhile(self) -> None:
        server = Server()
        async with publishing(server, sets(*range(20))) as (publisher, core):
            await self.begun(server, publisher)
            core.wanted = sets(*range(4, 20))
            publisher.wake()
            await until(lambda: publisher.changes == 24)
            core.wanted = sets(*range(8, 20))
            publisher.wake()
            await until(lambda: publisher.plan and publisher.plan.withheld)
            assert server.services == 16


def test_what_was_written_since_is_done_to_what_was_found() -> None:
    """Whatever part of it was found; and not at all where another's plan was found."""
    server, views, written = Server(), list[View](), list[Plan]()
    view = server.read()
    for numbers in ((1, 2), (2, 3), (3,)):
        views.append(server.read())
        made = plans.plan(sets(*numbers), view, RULES)
        server.apply(made, view)
        written.append(made)
        view = server.read()
    for found in (*views, view):
        now = caught_up(server, found, written, RULES)
        assert now is not None
        assert (now.serial, now.records, now.names) == (plans.UNREAD, view.records, view.names)
    assert caught_up(server, view, [], RULES) is view
    server.moves(77)
    assert caught_up(server, server.read(), written, RULES) is None
    server.records.clear()
    assert caught_up(server, server.read(), written[1:], RULES) is None
