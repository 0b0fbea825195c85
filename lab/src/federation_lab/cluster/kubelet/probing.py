"""Asks a container how it is: httpGet, tcpSocket and exec, as its probes say."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

from federation_lab.cluster.kube import Object
from federation_lab.cluster.kubelet.container import Container
from federation_lab.cluster.kubelet.lifecycle import Probe
from federation_lab.cluster.kubelet.processes import Process

LIVENESS_GRACE = 30.0

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Prober:
    """Runs the probes of one pod's containers.

    Attributes:
        session: without the API server's token.
        address: the pod's.
        grace: the pod's termination grace period, for those that liveness kills.
        changed: a container's view is not as it was.
        event: tells users: type, reason, message.
    """

    session: aiohttp.ClientSession
    address: str
    grace: float
    changed: Callable[[], None]
    event: Callable[[str, str, str], None]

    async def watch(self, container: Container) -> None:
        """Run a container's probes until cancelled: startup first, then the others."""
        spec, view = container.spec, container.view
        if startup := spec.get("startupProbe"):
            await self._follow(container, Probe("startup", startup), self._on_startup)
        view.started = True
        others: list[Awaitable[None]] = []
        if readiness := spec.get("readinessProbe"):
            others.append(
                self._follow(container, Probe("readiness", readiness), self._on_readiness)
            )
        else:
            view.ready = True
        self.changed()
        if liveness := spec.get("livenessProbe"):
            others.append(self._follow(container, Probe("liveness", liveness), self._on_liveness))
        await asyncio.gather(*others)

    async def _follow(
        self,
        container: Container,
        probe: Probe,
        act: Callable[[Container, Probe], Awaitable[bool]],
    ) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(probe.initial_delay)
        due = loop.time()
        while True:
            failure = await self._ask(container, probe)
            if failure:
                text = f"{probe.kind.capitalize()} probe failed: {failure}"
                self.event("Warning", "Unhealthy", text)
            if probe.record(not failure) and await act(container, probe):
                return
            due = max(due + probe.period, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _on_startup(self, container: Container, probe: Probe) -> bool:
        if probe.verdict == "success":
            return True
        return await self._restart(container, probe)

    async def _on_readiness(self, container: Container, probe: Probe) -> bool:
        container.view.ready = probe.verdict == "success"
        self.changed()
        return False

    async def _on_liveness(self, container: Container, probe: Probe) -> bool:
        return probe.verdict == "failure" and await self._restart(container, probe)

    async def _restart(self, container: Container, probe: Probe) -> bool:
        reason = f"Container {container.name} failed {probe.kind} probe, will be restarted"
        self.event("Normal", "Killing", reason)
        grace = float(probe.spec.get("terminationGracePeriodSeconds") or self.grace)
        # Stopping ends the container, which cancels its probes: this very task among them.
        await asyncio.shield(asyncio.ensure_future(container.stop(grace, reason=reason)))
        return True

    async def _ask(self, container: Container, probe: Probe) -> str:
        """Ask once; give why it failed, or nothing."""
        spec = probe.spec
        try:
            async with asyncio.timeout(probe.timeout):
                if http := spec.get("httpGet"):
                    return await self._http(container, http)
                if command := (spec.get("exec") or {}).get("command"):
                    return await self._exec(container, command)
                # A gRPC probe is reduced to whether its port is open.
                target = spec.get("tcpSocket") or spec.get("grpc") or {}
                return await self._tcp(container, target)
        except TimeoutError:
            return f"no answer within {probe.timeout:g} s"

    async def _http(self, container: Container, target: Object) -> str:
        scheme = str(target.get("scheme") or "HTTP").lower()
        host = target.get("host") or self.address
        port = port_number(container.spec, target["port"])
        path = "/" + str(target.get("path") or "").lstrip("/")
        headers = {item["name"]: item["value"] for item in target.get("httpHeaders") or []}
        url = f"{scheme}://{host}:{port}{path}"
        try:
            async with self.session.get(url, headers=headers, allow_redirects=False) as answer:
                good = 200 <= answer.status < 400
                return "" if good else f"HTTP probe failed with statuscode: {answer.status}"
        except (aiohttp.ClientError, OSError) as error:
            return f"Get {url!r}: {error}"

    async def _tcp(self, container: Container, target: Object) -> str:
        host = target.get("host") or self.address
        port = port_number(container.spec, target["port"])
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            return f"dial tcp {host}:{port}: {error}"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return ""

    async def _exec(self, container: Container, command: Sequence[str]) -> str:
        code = await run_inside(container, command)
        return "" if code == 0 else f"command ended with {code}"


async def run_inside(container: Container, command: Sequence[str]) -> int:
    """Run a command in a container until it ends or the caller gives up; give its exit status."""
    leader = container.leader
    if not leader:
        return 1
    argv = ["nsenter", "-t", str(leader), "-m", "-n", "-u", "-i", "-p", "--", *command]
    process = Process(argv, env=container.environment)
    try:
        return await process.wait()
    finally:
        process.kill()


def port_number(container: Object, port: int | str) -> int:
    """Give a port's number; it may be named as in the container's ports."""
    if isinstance(port, int):
        return port
    for item in container.get("ports") or []:
        if item.get("name") == port:
            return int(item["containerPort"])
    return int(port) if port.isdigit() else 0
