"""The measurements: what is written, what the members' watches tell of it, and when.

Posts, direct writes and watches all go through the controller's own client, so that beside the
controller nothing differs between what is measured and its baseline.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any

import machine
from federation import HOST, Controller, Federation, samples
from kubefed.api import CONFIG_MAP, NAMESPACE, FederatedType
from kubefed.api.names import SYNC_FINALIZER, PropagationStatus
from kubefed.controller import versions
from kubefed.controller.client import MERGE_PATCH, Client
from kubefed.controller.context import timestamp
from kubefed.controller.events import PER_SECOND, WAITING
from kubefed.controller.status import Outcome, render

AT_A_TIME = 8
# The work space of everything that is written.
SPACE = "benchmark"
FEDERATED = FederatedType.of(CONFIG_MAP).federated
FEDERATED_NAMESPACE = FederatedType.of(NAMESPACE).federated
DATA = {"text": "x" * 200}
SETTLE_SECONDS = 0.3
# How long the controller may still be writing the events of what it has done.
EVENTS_SECONDS = WAITING / PER_SECOND
POLL_SECONDS = 0.25
# The slowest rate that a phase is given time for, and what it may take beside that.
SLOWEST_RATE, EXTRA_SECONDS = 4.0, 60.0
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE", "APPLY"})
# What a federation's objects are written to; leases, health and events go on at all times.
_CARRIED = (CONFIG_MAP, NAMESPACE, FEDERATED, FEDERATED_NAMESPACE)
_RECORDS = frozenset({"propagatedversions", "clusterpropagatedversions"})

Json = dict[str, Any]


def limit(objects: int) -> float:
    """Give how long a phase with so many objects may take, in seconds."""
    return EXTRA_SECONDS + objects / SLOWEST_RATE


@dataclasses.dataclass(frozen=True)
class Burst:
    """Many objects, posted some at a time.

    Attributes:
        objects: how many.
        posted: seconds until the last post was answered.
        everywhere: seconds until the last object was in its last member.
        latencies: of each object, seconds from its post's answer to its last member; sorted.
        booked: seconds until the last object's status said so.
        cpu: CPU seconds by program.
    """

    objects: int
    posted: float
    everywhere: float
    latencies: list[float]
    booked: float
    cpu: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The same objects written directly.

    Attributes:
        seconds: until the last write was answered.
        cpu: CPU seconds by program.
    """

    seconds: float
    cpu: dict[str, float]

    def __add__(self, other: Baseline) -> Baseline:
        """Put two parts together."""
        names = self.cpu.keys() | other.cpu.keys()
        cpu = {name: self.cpu.get(name, 0.0) + other.cpu.get(name, 0.0) for name in names}
        return Baseline(self.seconds + other.seconds, cpu)


class Sight:
    """What the members' watches have told: when each object was first seen in each member."""

    def __init__(self, names: Iterable[str]) -> None:
        self._seen: dict[str, dict[str, float]] = {name: {} for name in names}
        self._news = asyncio.Event()

    def note(self, cluster: str, name: str) -> None:
        """Note that a member has an object."""
        self._seen[cluster].setdefault(name, time.perf_counter())
        self._news.set()

    async def wait(self, names: Iterable[str]) -> dict[str, float]:
        """Wait until every member has these objects; give when its last member had each."""
        wanted = set(names)
        while any(not wanted <= seen.keys() for seen in self._seen.values()):
            self._news.clear()
            await self._news.wait()
        return {name: max(seen[name] for seen in self._seen.values()) for name in wanted}


class Bench:
    """Writes and watches; made by `bench`."""

    def __init__(self, federation: Federation, planes: dict[str, Client], sight: Sight) -> None:
        self._federation = federation
        self._planes = planes
        self._host = planes[HOST]
        self._sight = sight

    async def create_space(self) -> None:
        """Make the namespace, and federate it to every member."""
        await self._host.request("POST", NAMESPACE.path(), body=_object(NAMESPACE, SPACE))
        body = _object(FEDERATED_NAMESPACE, SPACE, namespace=SPACE, spec=_everywhere())
        await self._host.request("POST", FEDERATED_NAMESPACE.path(SPACE), body=body)
        for client in self._planes.values():
            while True:
                names = [str(item["metadata"]["name"]) for item in await _items(client, NAMESPACE)]
                if SPACE in names:
                    break
                await asyncio.sleep(0.1)

    async def write_directly(self, names: list[str]) -> Baseline:
        """Write plain objects into every member, some at a time."""
        before, began = _cpu(), time.perf_counter()
        await _some_at_a_time([lambda name=name: self._write_everywhere(name) for name in names])
        seconds = time.perf_counter() - began
        return Baseline(seconds, difference(_cpu(), before))

    async def write_all(self, names: list[str]) -> Baseline:
        """Do, without a controller, every write that a federated object costs.

        The object, its finalizer, its copies in the members, its record, the record's status and
        its own: what is left beyond this is the controller's own work.
        """
        before, began = _cpu(), time.perf_counter()
        await _some_at_a_time([lambda name=name: self._write_all(name) for name in names])
        seconds = time.perf_counter() - began
        return Baseline(seconds, difference(_cpu(), before))

    async def _write_all(self, name: str) -> None:
        body = _federated(name)
        made = await self._host.request("POST", FEDERATED.path(SPACE), body=body)
        path = FEDERATED.path(SPACE, name)
        finalizer = {"metadata": {"finalizers": [SYNC_FINALIZER]}}
        await self._host.request("PATCH", path, body=finalizer, content_type=MERGE_PATCH)
        await self._write_everywhere(name)
        record = versions.record(made, FEDERATED, CONFIG_MAP)
        kind = versions.record_kind(FEDERATED)
        there = await self._host.request("POST", kind.path(SPACE), body=record)
        hashes = versions.template_hash(made), versions.overrides_hash(made)
        recorded = versions.Recorded(*hashes, dict.fromkeys(self._planes, "rv:1"))
        there["status"] = versions.record_status(recorded)
        record_path = kind.path(SPACE, there["metadata"]["name"])
        await self._host.request("PUT", f"{record_path}/status", body=there)
        outcome = Outcome(clusters=dict.fromkeys(self._planes, PropagationStatus.OK))
        state = {"status": render(made, outcome, timestamp())}
        await self._host.request("PATCH", f"{path}/status", body=state, content_type=MERGE_PATCH)

    async def _write_everywhere(self, name: str) -> None:
        # Each member has its own body: the client must not be spared any of the work.
        await asyncio.gather(
            *(
                client.request("POST", CONFIG_MAP.path(SPACE), body=_plain(name))
                for client in self._planes.values()
            )
        )

    async def _post(self, name: str) -> float:
        await self._host.request("POST", FEDERATED.path(SPACE), body=_federated(name))
        return time.perf_counter()

    async def post_all(self, names: list[str]) -> Burst:
        """Post federated objects, some at a time, and wait until they are everywhere."""
        answered: dict[str, float] = {}

        async def post(name: str) -> None:
            answered[name] = await self._post(name)

        before = _cpu()
        began = time.perf_counter()
        await _some_at_a_time([lambda name=name: post(name) for name in names])
        posted = time.perf_counter() - began
        seen = await self._sight.wait(names)
        everywhere = max(seen.values()) - began
        await self._booked(names)
        booked = time.perf_counter() - began
        return Burst(
            objects=len(names),
            posted=posted,
            everywhere=everywhere,
            latencies=sorted(seen[name] - answered[name] for name in names),
            booked=booked,
            cpu=difference(_cpu(), before),
        )

    async def _booked(self, names: list[str]) -> None:
        """Wait until the statuses say that the objects are everywhere."""
        while True:
            items = await _items(self._host, FEDERATED, SPACE)
            done = {str(item["metadata"]["name"]) for item in items if _propagated(item)}
            if done >= set(names):
                return
            await asyncio.sleep(POLL_SECONDS)

    async def one_by_one(self, names: list[str]) -> list[float]:
        """Post federated objects alone; give the seconds from answer to last member."""
        took: list[float] = []
        for name in names:
            answered = await self._post(name)
            took.append((await self._sight.wait([name]))[name] - answered)
            # What is written after it, its record and status, is not the next one's to wait for.
            await asyncio.sleep(SETTLE_SECONDS)
        return sorted(took)

    async def one_by_one_directly(self, names: list[str]) -> list[float]:
        """Write plain objects alone into every member at once; give the seconds of each."""
        took: list[float] = []
        for name in names:
            began = time.perf_counter()
            await self._write_everywhere(name)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(SETTLE_SECONDS / 3)
        return sorted(took)

    async def writes(self) -> int:
        """Count the writes that the API servers have answered, of what a federation carries."""
        count = 0.0
        plurals = {kind.plural for kind in _CARRIED} | _RECORDS
        for client in self._planes.values():
            page = await asyncio.to_thread(self._federation.page, client.name)
            count += sum(
                value
                for _, labels, value in samples(page, "apiserver_request_total")
                if labels.get("verb") in _WRITES and labels.get("resource") in plurals
            )
        return round(count)


@contextlib.asynccontextmanager
async def bench(federation: Federation) -> AsyncGenerator[Bench]:
    """Give the writes, while watches stand in all members."""
    planes = {name: federation.client(name) for name in federation.planes}
    sight = Sight(planes)
    try:
        async with asyncio.TaskGroup() as group:
            watches = [
                group.create_task(_watch(client, name, sight)) for name, client in planes.items()
            ]
            yield Bench(federation, planes, sight)
            for task in watches:
                task.cancel()
    finally:
        for client in planes.values():
            await client.close()


async def in_sync(controller: Controller, objects: int) -> float:
    """Wait until a controller that was started anew has looked at every object and is done.

    Returns:
        Seconds since its start.
    """
    name = FEDERATED.kind.lower()

    def done() -> bool:
        looked = controller.metric(
            "controller_runtime_reconcile_total", controller=name, result="success"
        )
        # Some may have been looked at twice.
        waiting = controller.metric("workqueue_depth", name=name)
        busy = controller.metric("controller_runtime_active_workers", controller=name)
        return looked >= objects and not waiting + busy

    while True:
        if await asyncio.to_thread(done):
            return time.monotonic() - controller.began
        await asyncio.sleep(POLL_SECONDS)


async def idle_share(pid: int, seconds: float) -> float:
    """Give the share of one core that a process takes while nothing changes."""
    await asyncio.sleep(EVENTS_SECONDS)
    before, began = machine.cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds)
    return (machine.cpu_seconds(pid) - before) / (time.monotonic() - began)


def difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """Give what was used in between.

    >>> difference({"etcd": 3.0, "new": 1.0}, {"etcd": 2.0})
    {'etcd': 1.0, 'new': 1.0}
    """
    return {name: after[name] - before.get(name, 0.0) for name in after}


def quantile(ordered: list[float], share: float) -> float:
    """Give a quantile of sorted values: the smallest that so many are not above.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([1.0, 2.0, 3.0, 4.0], 0.99)
    (2.0, 4.0)
    """
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]


async def _watch(client: Client, name: str, sight: Sight) -> None:
    place = ""
    while True:
        # The server ends a watch now and then; each object is noted when it is seen first.
        params = {"resourceVersion": place} if place else {}
        path = CONFIG_MAP.path(SPACE)
        async for event in client.watch(path, params=params, accept="application/json"):
            metadata = event["object"]["metadata"]
            place = metadata["resourceVersion"]
            sight.note(name, str(metadata.get("name")))


async def _some_at_a_time(jobs: list[Callable[[], Awaitable[None]]]) -> None:
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(work())


async def _items(client: Client, kind: Any, namespace: str | None = None) -> list[Json]:
    answer = await client.request("GET", kind.path(namespace), timeout_s=60)
    items: list[Json] = answer["items"]
    return items


def _propagated(item: Json) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or [{}]
    return conditions[0].get("status") == "True"


def _object(kind: Any, name: str, *, namespace: str = "", **fields: Any) -> Json:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": metadata,
        **fields,
    }


def _plain(name: str) -> Json:
    return _object(CONFIG_MAP, name, namespace=SPACE, data=DATA)


def _federated(name: str) -> Json:
    template = {"template": {"data": DATA}}
    return _object(FEDERATED, name, namespace=SPACE, spec=template | _everywhere())


def _everywhere() -> Json:
    return {"placement": {"clusterSelector": {}}}


def _cpu() -> dict[str, float]:
    """Give the CPU seconds of this process and those that it has started, by program."""
    found = {"benchmark": time.process_time()}
    for pid, program in machine.children().items():
        name = "controller" if program.startswith("python") else program
        found[name] = found.get(name, 0.0) + machine.cpu_seconds(pid)
    return found
