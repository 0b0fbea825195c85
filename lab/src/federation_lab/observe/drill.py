"""`lab drill region-loss`: lose a region while clients ask, and say what happened when."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

from federation_lab.errors import LabError
from federation_lab.observe import overview, probe, timeline
from federation_lab.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from federation_lab.observe.access import Federation, Region

PREFERENCES = "/apis/scheduling.kubefed.io/v1alpha1/replicaschedulingpreferences"
LISTS = {
    "Deployment": f"/apis/apps/v1/deployments?{overview.MANAGED}",
    "Service": f"/api/v1/services?{overview.MANAGED}",
    "ConfigMap": f"/api/v1/configmaps?{overview.MANAGED}",
    "Secret": f"/api/v1/secrets?{overview.MANAGED}",
    "Namespace": f"/api/v1/namespaces?{overview.MANAGED}",
}
STEADY_SECONDS = 2.0
LOSS_SECONDS = 90.0
AFTER_SECONDS = 3.0
RECOVERY_SECONDS = 240.0
HEALTHY_SECONDS = 30.0
CLIENT_PERIOD = 0.2
DNS_PERIOD = 0.1
POLL_PERIOD = 0.5
REQUEST_SECONDS = 1.5


class DrillError(LabError):
    """The drill can't begin; the text says why and what to do."""


class Acts(Protocol):
    """What a drill does to a region; both return when it is done."""

    def kill(self, region: str) -> None:
        """End every process of the region at once."""
        ...

    def revive(self, region: str) -> None:
        """Start the region's machines with the disks that they had."""
        ...


@dataclasses.dataclass
class Samples:
    """What the watchers saw, by server or client; times are of the loop's clock until `since`."""

    answers: dict[str, list[timeline.Answer]] = dataclasses.field(default_factory=dict)
    requests: list[timeline.Request] = dataclasses.field(default_factory=list)
    detected: float | None = None
    replicas_back: float | None = None

    def since(self, start: float) -> Samples:
        """Give the same with times counted from ``start``."""
        answers = {
            server: [dataclasses.replace(a, at=a.at - start) for a in each]
            for server, each in self.answers.items()
        }
        requests = [dataclasses.replace(r, at=r.at - start) for r in self.requests]
        back = None if self.replicas_back is None else self.replicas_back - start
        detected = None if self.detected is None else self.detected - start
        return Samples(answers, requests, detected, back)


class RegionLoss:
    """One drill: what it loses, what it watches, what it has seen.

    Args:
        federation: the standing lab's regions.
        name: the region to lose.
        acts: how a region is killed and revived.
        say: told of each step as it happens.
    """

    def __init__(
        self, federation: Federation, name: str, acts: Acts, say: Callable[[str], None]
    ) -> None:
        self.federation = federation
        self.lost = federation.region(name)
        self.survivors = [r for r in federation.regions if r.name != name]
        self.acts = acts
        self.say = say
        self.samples = Samples()
        self.service = ""
        self.lost_addresses: frozenset[str] = frozenset()
        self.wanted: dict[str, int] = {}

    async def run(self) -> dict[str, Any]:
        """Run the drill; the result is what ``--format json`` prints.

        Raises:
            DrillError: the federation isn't healthy or serves no name to ask for.
        """
        async with probe.http_session() as session:
            before = await self._healthy(session)
            await self._choose_service(session)
            async with self._watchers(session):
                await asyncio.sleep(STEADY_SECONDS)
                self.say(f"killing {self.lost.name}")
                start = time.monotonic()
                await asyncio.to_thread(self.acts.kill, self.lost.name)
                await self._until(lambda: self._settled(start), LOSS_SECONDS)
                await asyncio.sleep(AFTER_SECONDS)
            seen = self.samples.since(start)
            self.say(f"reviving {self.lost.name}")
            revived = time.monotonic()
            await asyncio.to_thread(self.acts.revive, self.lost.name)
            different = await self._recovered(session, before)
            return self._result(seen, time.monotonic() - revived, different)

    def _result(self, seen: Samples, recovered: float, different: list[str]) -> dict[str, Any]:
        out = {
            server: timeline.dns_out(answers, self.lost_addresses)
            for server, answers in seen.answers.items()
        }
        times = [at for at in out.values() if at is not None]
        after = max(times) if len(times) == len(out) else None
        requests = timeline.counted(seen.requests, after)
        member_lost = not self.lost.host
        ok = (
            not different
            and after is not None
            and requests["failed_after_dns"] == 0
            and (seen.replicas_back is not None or not member_lost)
        )
        return {
            "region": self.lost.name,
            "detected_s": _rounded(seen.detected),
            "dns_out_s": {server: _rounded(at) for server, at in out.items()},
            "replicas_back_s": _rounded(seen.replicas_back),
            "requests": requests,
            "empty_answers": sum(timeline.empty_answers(a) for a in seen.answers.values()),
            "federation_api": "reachable" if member_lost else overview.absence(self.federation),
            "recovered_s": None if different else _rounded(recovered),
            "different": different,
            "ok": ok,
        }

    async def _healthy(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        """Wait for a whole federation and give its snapshot."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while True:
            missing = await self._unhealthy(session)
            if not missing:
                return await self._snapshot(session)
            if time.monotonic() > deadline:
                raise DrillError(
                    f"the federation isn't whole: {'; '.join(missing)}. `lab overview` shows more"
                )
            await asyncio.sleep(POLL_PERIOD)

    async def _unhealthy(self, session: aiohttp.ClientSession) -> list[str]:
        host = self.federation.host
        listing = await probe.kube(session, host, overview.CLUSTERS)
        if listing is None:
            return [f"the API in {host.name} does not answer"]
        ready = {c["metadata"]["name"] for c in listing["items"] if overview.is_ready(c)}
        missing = [
            f"{region.name} is not ready"
            for region in self.federation.regions
            if region.name not in ready
        ]
        preferences = await probe.kube(session, host, PREFERENCES)
        self.wanted = {
            f"{p['metadata']['namespace']}/{p['metadata']['name']}": p["spec"]["totalReplicas"]
            for p in (preferences or {"items": []})["items"]
        }
        if not timeline.all_back(await self._replicas(session), self.wanted):
            missing.append("not all replicas are ready")
        return missing

    async def _snapshot(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        """Take what must be the same again: objects, replicas and answers of each region."""
        taken: dict[str, Any] = {}
        for region in self.federation.regions:
            for kind, path in LISTS.items():
                listing = await probe.kube(session, region, path)
                items = None if listing is None else listing["items"]
                taken[f"{kind}s in {region.name}"] = (
                    None if items is None else sorted(_identity(item) for item in items)
                )
                if kind == "Deployment" and items is not None:
                    ready = timeline.ready_replicas({region.name: items})
                    taken[f"replicas in {region.name}"] = dict(sorted(ready.items()))
            name = self.service or await self._any_service(session)
            taken[f"answer in {region.name}"] = await probe.addresses(region, name)
        return taken

    async def _any_service(self, session: aiohttp.ClientSession) -> str:
        """Give the DNS name of a service with an address in the region to lose."""
        listing = await probe.kube(session, self.lost, LISTS["Service"])
        for service in (listing or {"items": []})["items"]:
            if _ingress(service):
                meta = service["metadata"]
                return f"{meta['name']}.{meta['namespace']}.svc.{self.federation.zone}"
        raise DrillError(
            f"no federated LoadBalancer Service has an address in {self.lost.name}; "
            "apply one first, such as examples/federated/application.yaml"
        )

    async def _choose_service(self, session: aiohttp.ClientSession) -> None:
        self.service = await self._any_service(session)
        listing = await probe.kube(session, self.lost, LISTS["Service"])
        services = (listing or {"items": []})["items"]
        self.lost_addresses = frozenset(a for service in services for a in _ingress(service))
        for server in self.survivors:
            self.samples.answers[server.name] = []

    @contextlib.asynccontextmanager
    async def _watchers(self, session: aiohttp.ClientSession) -> AsyncGenerator[None]:
        """Watch answers, requests, verdicts and replicas until the block is left."""
        work: list[Coroutine[Any, Any, None]] = [self._watch_replicas(session)]
        for region in self.survivors:
            work += [self._watch_dns(region), self._client(region)]
            work.append(self._watch_verdict(session, region))
        tasks = [asyncio.create_task(each) for each in work]
        try:
            yield
        finally:
            await end(tasks)

    async def _watch_dns(self, region: Region) -> None:
        while True:
            at = time.monotonic()
            found = await probe.addresses(region, self.service, seconds=1)
            answer = timeline.Answer(at, None if found is None else tuple(found))
            self.samples.answers[region.name].append(answer)
            await asyncio.sleep(DNS_PERIOD)

    async def _client(self, region: Region) -> None:
        """Ask as a client of the region does: resolve, request, and once more if that failed."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while True:
                at = time.monotonic()
                ok = await self._request(session, region) or await self._request(session, region)
                self.samples.requests.append(timeline.Request(at, ok))
                await asyncio.sleep(CLIENT_PERIOD)

    async def _request(self, session: aiohttp.ClientSession, region: Region) -> bool:
        found = await probe.addresses(region, self.service, seconds=1)
        if not found:
            return False
        address = random.choice(found)  # noqa: S311 (load is spread, nothing is guarded)
        try:
            async with session.get(f"http://{address}/", headers={"Host": self.service}) as reply:
                await reply.read()
                return reply.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    async def _watch_verdict(self, session: aiohttp.ClientSession, region: Region) -> None:
        while True:
            verdict = await probe.agent(session, region, "/v1/verdict")
            row = (verdict or {}).get("regions", {}).get(self.lost.name, {})
            if row.get("verdict") == "lost" and self.samples.detected is None:
                self.samples.detected = time.monotonic()
            await asyncio.sleep(DNS_PERIOD)

    async def _watch_replicas(self, session: aiohttp.ClientSession) -> None:
        while True:
            back = timeline.all_back(await self._replicas(session, self.survivors), self.wanted)
            if not back:
                self.samples.replicas_back = None
            elif self.samples.replicas_back is None:
                self.samples.replicas_back = time.monotonic()
            await asyncio.sleep(POLL_PERIOD)

    async def _replicas(
        self, session: aiohttp.ClientSession, regions: list[Region] | None = None
    ) -> dict[str, int]:
        asked = list(self.federation.regions) if regions is None else regions
        answers = await asyncio.gather(
            *(probe.kube(session, region, LISTS["Deployment"]) for region in asked)
        )
        found = {
            region.name: answer["items"]
            for region, answer in zip(asked, answers, strict=True)
            if answer is not None
        }
        return timeline.ready_replicas(found)

    def _settled(self, start: float) -> bool:
        seen = self.samples.since(start)
        out = (timeline.dns_out(a, self.lost_addresses) for a in seen.answers.values())
        replicas = self.lost.host or (seen.replicas_back is not None and seen.replicas_back > 0)
        return replicas and all(at is not None for at in out)

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            if done() or time.monotonic() > deadline:
                return
            await asyncio.sleep(DNS_PERIOD)

    async def _recovered(
        self, session: aiohttp.ClientSession, before: dict[str, Any]
    ) -> list[str]:
        """Wait until all is as before; give what still differs when the time is up."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            different = await self._unhealthy(session)
            if not different:
                different = timeline.differences(before, await self._snapshot(session))
            if not different or time.monotonic() > deadline:
                return different
            await asyncio.sleep(POLL_PERIOD)


def _identity(item: dict[str, Any]) -> str:
    meta = item["metadata"]
    return f"{meta.get('namespace', '')}/{meta['name']}".lstrip("/")


def _ingress(service: dict[str, Any]) -> list[str]:
    entries = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [entry["ip"] for entry in entries if entry.get("ip")]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
