"""The publisher and a server that fails in every way it can."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from federation_dns import plan as plans
from federation_dns.core import Core, Memory, Settings
from federation_dns.passes import carry_out, caught_up, look
from federation_dns.plan import Found, Plan, Rules, Stamp, View
from federation_dns.providers import ProviderError, Remedy
from federation_dns.publisher import Publisher
from federation_dns.verdict import Holds
from federation_dns.zone import RecordSet, Zone

ZONE = "fed.example"
RULES = Rules(zone=ZONE, federation="fed")
WEB = RecordSet(f"web.shop.svc.{ZONE}", "A", 15, ("10.1.0.1",))
WANTED = Zone({(WEB.name, WEB.type): WEB}, complete=True)
GENERATION = plans.owner_name(ZONE), "TXT"


@dataclass
class Server:
    """A zone in memory; `fails` are raised in turn before anything is done.

    Args:
        keeps: whether it tells what a plan makes of a reading.
        gate: a reading that was made comes only when this is open.
        mute: an update is done, and its answer lost.
    """

    records: dict[tuple[str, str], Found] = field(default_factory=dict[tuple[str, str], Found])
    serial: int = 1
    fails: list[ProviderError] = field(default_factory=list[ProviderError])
    did: list[str] = field(default_factory=list[str])
    refused: tuple[str, ...] = ()
    slow: str = ""
    signing: bool = False
    keeps: bool = True
    mute: bool = False
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def _do(self, what: str) -> None:
        self.did.append(what)
        if self.fails:
            raise self.fails.pop(0)

    def stamp(self) -> Stamp:
        self._do("stamp")
        return View.of(self.serial, dict(self.records)).stamp(ZONE)

    def read(self) -> View:
        self._do("read")
        found = replace(View.of(self.serial, dict(self.records)), signing=self.signing)
        assert self.gate.wait(20)
        return found

    def after(self, plan: Plan, view: View) -> View | None:
        text = plans.generation_text("fed", (plan.generation or 0) + 1, "w")
        return plans.carried_out(view, plan, RULES, text) if self.keeps else None

    def notes(self) -> tuple[str, ...]:
        return self.refused

    def behind(self) -> str:
        return self.slow

    def close(self) -> None:
        self.did.append("close")

    def moves(self, number: int) -> None:
        """Another's plan."""
        self.serial += 1
        text = plans.generation_text("fed", number, "other")
        self.records[GENERATION] = Found(15, (text,))

    def apply(self, plan: Plan, view: View) -> int:
        self._do("apply")
        if view.records.get(GENERATION) != self.records.get(GENERATION):
            raise ProviderError("holds a newer plan", "reread")
        self.serial += 1
        text = plans.generation_text("fed", (plan.generation or 0) + 1, "w")
        self.records[GENERATION] = Found(15, (text,))
        for change in plan.changes:
            if change.kind == "delete":
                for kind in ("A", "AAAA"):
                    self.records.pop((change.name, kind), None)
                self.records.pop((plans.owner_name(change.name), "TXT"))
                continue
            mark = plans.owner_text("fed")
            self.records[plans.owner_name(change.name), "TXT"] = Found(15, (mark,))
            for s in change.sets:
                self.records[s.name, s.type] = Found(s.ttl, s.values)
        if self.mute:
            raise ProviderError("did not answer", "retry")
        return len(plan.changes)

    @property
    def services(self) -> int:
        return len([kind for _, kind in self.records if kind == "A"])


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


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - what is waited for is a plain number
            await asyncio.sleep(0.001)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def publishing(
    server: Server, wanted: Zone = WANTED, clock: Clock | None = None, interval: float = 0.01
) -> AsyncGenerator[tuple[Publisher, Core]]:
    """A publisher at work."""
    core = Core(Settings("a", ZONE, 15, Holds()), [], 1, Memory(), 0.0)
    core.wanted = wanted
    with ThreadPoolExecutor(2) as executor:
        publisher = Publisher(
            core,
            server,
            RULES,
            interval=interval,
            window=600,
            executor=executor,
            clock=clock or Clock(),
            lifted=lambda: False,
        )
        running = asyncio.create_task(publisher.run())
        try:
            yield publisher, core
        finally:
            server.gate.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


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


def sets(*numbers: int) -> Zone:
    made = [RecordSet(f"s{i}.shop.svc.{ZONE}", "A", 15, (f"10.1.0.{i}",)) for i in numbers]
    return Zone({(s.name, s.type): s for s in made}, complete=True)


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
