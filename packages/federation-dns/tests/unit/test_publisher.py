"""The publisher and a server that fails in every way it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from federation_dns import plan as plans
from federation_dns.core import Core, Memory, Settings
from federation_dns.plan import Found, Plan, Rules, Stamp, View
from federation_dns.providers import ProviderError, Remedy
from federation_dns.publisher import Publisher, carry_out
from federation_dns.verdict import Holds
from federation_dns.zone import RecordSet, Zone

ZONE = "fed.example"
RULES = Rules(zone=ZONE, federation="fed")
WEB = RecordSet(f"web.shop.svc.{ZONE}", "A", 15, ("10.1.0.1",))
WANTED = Zone({(WEB.name, WEB.type): WEB}, complete=True)


@dataclass
class Server:
    """A zone in memory; `fails` are raised in turn before anything is done."""

    records: dict[tuple[str, str], Found] = field(default_factory=dict[tuple[str, str], Found])
    serial: int = 1
    fails: list[ProviderError] = field(default_factory=list[ProviderError])
    did: list[str] = field(default_factory=list[str])
    refused: tuple[str, ...] = ()
    slow: str = ""
    signing: bool = False

    def _do(self, what: str) -> None:
        self.did.append(what)
        if self.fails:
            raise self.fails.pop(0)

    def stamp(self) -> Stamp:
        self._do("stamp")
        return Stamp(self.serial, ())

    def read(self) -> View:
        self._do("read")
        return replace(View.of(self.serial, dict(self.records)), signing=self.signing)

    def notes(self) -> tuple[str, ...]:
        return self.refused

    def behind(self) -> str:
        return self.slow

    def close(self) -> None:
        self.did.append("close")

    def apply(self, plan: Plan, view: View) -> int:
        self._do("apply")
        if view.serial != self.serial:
            raise ProviderError("holds a newer plan", "reread")
        self.serial += 1
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
        return len(plan.changes)


def test_a_pass_reads_writes_and_reads_again() -> None:
    server = Server()
    done = carry_out(server, WANTED, {}, RULES, None)
    assert (done.outcome, done.changes, server.did) == ("changed", 1, ["read", "apply", "read"])
    again = carry_out(server, WANTED, {}, RULES, done.view)
    assert (again.outcome, len(server.did)) == ("same", 3)


def test_a_stale_reading_is_refused_by_the_server_and_made_anew() -> None:
    server = Server()
    old = server.read()
    server.serial = 7
    done = carry_out(server, WANTED, {}, RULES, old)
    assert done.outcome == "changed"
    assert server.did == ["read", "apply", "read", "apply", "read"]


def test_a_zone_that_never_rests_is_given_up_for_now() -> None:
    @dataclass
    class Restless(Server):
        def read(self) -> View:
            found = super().read()
            self.serial += 1
            return found

    server = Restless()
    done = carry_out(server, WANTED, {}, RULES, None)
    assert (done.outcome, done.error) == ("failed", "holds a newer plan")
    assert not server.records


def test_a_failed_reading_is_not_an_empty_zone() -> None:
    server = Server(fails=[ProviderError("did not answer", "retry")])
    done = carry_out(server, Zone({}, complete=True), {}, RULES, None)
    assert (done.outcome, done.view, server.did) == ("failed", None, ["read"])


async def until(what: Callable[[], object]) -> None:
    while not what():  # noqa: ASYNC110 - what is waited for is a plain number
        await asyncio.sleep(0.001)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("remedy", ["retry", "operator"])
async def test_a_server_that_fails_is_asked_again_and_said(remedy: Remedy) -> None:
    server = Server(fails=[ProviderError("refuses", remedy)])
    core = Core(Settings("a", ZONE, 15, Holds()), [], 1, Memory(), 0.0)
    core.wanted = WANTED
    with ThreadPoolExecutor(1) as executor:
        publisher = Publisher(
            core,
            server,
            RULES,
            interval=0.01,
            window=600,
            executor=executor,
            clock=Clock(),
            lifted=lambda: False,
        )
        assert publisher.notes()
        running = asyncio.create_task(publisher.run())
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
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (WEB.name, "A") in server.records


async def test_an_operator_is_told_of_what_lasts() -> None:
    server, clock = Server(), Clock()
    core = Core(Settings("a", ZONE, 15, Holds()), [], 1, Memory(), 0.0)
    core.wanted = WANTED
    with ThreadPoolExecutor(1) as executor:
        publisher = Publisher(
            core,
            server,
            RULES,
            interval=0.01,
            window=600,
            executor=executor,
            clock=clock,
            lifted=lambda: False,
        )
        assert publisher.wrong() == []  # just started
        running = asyncio.create_task(publisher.run())
        await until(lambda: publisher.changes)
        await until(lambda: not publisher.trouble)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
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
    core = Core(Settings("a", ZONE, 15, Holds()), [], 1, Memory(), 0.0)
    with ThreadPoolExecutor(1) as executor:
        publisher = Publisher(
            core,
            server,
            RULES,
            interval=0.01,
            window=600,
            executor=executor,
            clock=clock,
            lifted=lambda: False,
        )
        left = list(range(20))
        core.wanted = sets(*left)
        running = asyncio.create_task(publisher.run())
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
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len([kind for _, kind in server.records if kind == "A"]) == 12


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
    core = Core(Settings("a", ZONE, 15, Holds()), [], 1, Memory(), 0.0)
    core.wanted = sets(1)
    with ThreadPoolExecutor(1) as executor:
        publisher = Publisher(
            core,
            server,
            RULES,
            interval=0.01,
            window=600,
            executor=executor,
            clock=clock,
            lifted=lambda: False,
        )
        running = asyncio.create_task(publisher.run())
        await until(lambda: "signs" in publisher.trouble)
        for now, expected in ((59.0, 0), (61.0, 1), (62.0, 2)):
            clock.now = now
            core.wanted = sets(*range(1, expected + 2))
            asked = len(server.did)
            publisher.wake()
            await until(lambda asked=asked: len(server.did) > asked)
            await until(lambda n=expected: publisher.changes >= n)
            assert ("signs" in publisher.trouble) is (expected == 0)
        assert publisher.errors == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
