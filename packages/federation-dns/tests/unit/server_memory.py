"""A zone in memory that fails in every way, and a publisher at work on it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from federation_dns import plan as plans
from federation_dns.core import Core, Memory, Settings
from federation_dns.plan import Change, Found, Plan, Rules, Stamp, View
from federation_dns.providers import ProviderError
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
        door: names are written only while this is open.
        mute: an update is done, and its answer lost.
        wrote: all names, in the order in which they were written.
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
    door: threading.Event = field(default_factory=threading.Event)
    wrote: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.gate.set()
        self.door.set()

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

    def due(self, changes: Sequence[Change]) -> Sequence[Change]:
        return changes

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
            assert self.door.wait(20)
            self.wrote.append(change.name)
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
            raise ProviderError("did not answer", "retry", unsure=True)
        return len(plan.changes)

    @property
    def services(self) -> int:
        return len([kind for _, kind in self.records if kind == "A"])


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
            server.door.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def sets(*numbers: int) -> Zone:
    made = [RecordSet(f"s{i}.shop.svc.{ZONE}", "A", 15, (f"10.1.0.{i}",)) for i in numbers]
    return Zone({(s.name, s.type): s for s in made}, complete=True)
