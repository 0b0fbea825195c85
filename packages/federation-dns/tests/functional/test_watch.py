"""The watcher against a real API server."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from federation_dns.core import Core, Memory, Settings
from federation_dns.kube import Access, read_kubeconfig
from federation_dns.verdict import Holds
from federation_dns.watch import Watcher
from federation_dns.zone import Service
from federation_lab.cluster import loopback
from federation_lab.tools import binaries

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SERVICES = "api/v1/namespaces/default/services"
SLICES = "apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    folder = tmp_path_factory.mktemp("cluster")
    with loopback.running("here", folder, binaries()) as plane:
        path = folder / "kubeconfig.test"
        path.write_text(yaml.safe_dump(plane.kubeconfig()))
        yield path


def swap(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


async def send(access: Access, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    async with (
        access.session() as session,
        session.request(
            method, path, json=body, headers={**access.headers(), "Content-Type": kind}
        ) as got,
    ):
        assert got.status < 300, await got.text()
        found: dict[str, Any] = await got.json()
        return found


async def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)


def web(*addresses: str, ready: int = 0, ttl: int | None = None) -> Service:
    return Service("default", "web", addresses, ready, ttl, probe=80)


async def test_services_and_endpoints_are_followed(kubeconfig: Path) -> None:
    access = read_kubeconfig(kubeconfig)
    core = Core(Settings("here", "fed", 15, Holds()), [], 1, Memory(), 0.0)
    watcher = Watcher(kubeconfig, core, time.monotonic)
    running = asyncio.create_task(watcher.run())

    def services() -> tuple[Service, ...]:
        state = core.own_state()
        # When they were made is the server's to say.
        found = () if state is None else state.services
        assert all(abs(s.created - time.time()) < 600 for s in found)
        return tuple(replace(s, created=0) for s in found)

    try:
        await until(lambda: core.own_state() is not None)
        assert services() == ()
        meta = {"name": "web", "labels": {"kubefed.io/managed": "true"}}
        spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
        await send(access, "POST", SERVICES, {"metadata": meta, "spec": spec})
        other = {"name": "other", "labels": {}}
        await send(access, "POST", SERVICES, {"metadata": other, "spec": spec})
        await until(lambda: services() == (web(),))
        status = {"status": {"loadBalancer": {"ingress": [{"ip": "10.1.0.1"}]}}}
        await send(access, "PATCH", f"{SERVICES}/web/status", status)
        await send(
            access,
            "POST",
            SLICES,
            {
                "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": ["172.16.0.1"], "conditions": {"ready": True}},
                    {"addresses": ["172.16.0.2"], "conditions": {"ready": False}},
                    {"addresses": ["172.16.0.3"]},
                ],
                "ports": [],
            },
        )
        await until(lambda: services() == (web("10.1.0.1", ready=2),))
        ttl = {"metadata": {"annotations": {"dns.kubefed.io/ttl": "60"}}}
        await send(access, "PATCH", f"{SERVICES}/web", ttl)
        await until(lambda: [s.ttl for s in services()] == [60])
        await until(lambda: core.api == "healthy")
        assert watcher.notes() == []
        # The kubeconfig is renewed with a token that is worth nothing: what is known stays.
        swap(kubeconfig, "token: ", "token: x")
        await until(lambda: any("401" in note for note in watcher.notes()), 90)
        assert services() == (web("10.1.0.1", ready=2, ttl=60),)
        swap(kubeconfig, "token: x", "token: ")
        await until(lambda: watcher.notes() == [], 30)
        await send(access, "DELETE", f"{SERVICES}/web", {})
        await until(lambda: services() == ())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_dead_api_server_is_told_and_data_stays(tmp_path: Path, kubeconfig: Path) -> None:
    path = tmp_path / "kubeconfig"
    shutil.copy(kubeconfig, path)
    swap(path, read_kubeconfig(kubeconfig).server, "https://127.0.0.1:9")
    core = Core(Settings("here", "fed", 15, Holds(withdraw_after=0.3)), [], 1, Memory(), 0.0)
    watcher = Watcher(path, core, time.monotonic)
    running = asyncio.create_task(watcher.run())
    try:
        await until(lambda: core.api == "lost")
        assert core.own_state() is None
        assert watcher.notes()
    finally:
        running.cancel()
        with pytest.raises((asyncio.CancelledError, aiohttp.ClientError)):
            await running
