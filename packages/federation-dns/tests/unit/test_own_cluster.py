"""An own API server that doesn't answer takes nothing away (a real one: `test_watch`)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from federation_dns.core import Core, Memory, Settings
from federation_dns.verdict import Holds
from federation_dns.watch import Watcher
from federation_dns.zone import RegionState, Service
from federation_lab.cluster.pki import CertificateAuthority

WEB = {
    "metadata": {"namespace": "shop", "name": "web", "labels": {"kubefed.io/managed": "true"}},
    "spec": {"type": "LoadBalancer"},
    "status": {"loadBalancer": {"ingress": [{"ip": "10.1.0.1"}]}},
}
READY = {
    "metadata": {
        "namespace": "shop",
        "name": "web-1",
        "labels": {"kubernetes.io/service-name": "web"},
    },
    "endpoints": [{"addresses": ["172.16.0.1"], "conditions": {"ready": True}}],
}


@dataclass
class ApiServer:
    """Lists, and watches that tell nothing; `fails` is answered to lists instead."""

    fails: int = 0
    failed: int = 0
    lists: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"services": [WEB], "endpointslices": [READY]}
    )
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        kind = request.path.rpartition("/")[2]
        if kind == "readyz":
            return web.Response(text="ok")
        if "watch" in request.query:
            await self.ended.wait()
            return web.Response()
        if self.fails:
            self.failed += 1
            return web.Response(status=self.fails)
        meta = {"resourceVersion": "1"}
        return web.json_response({"kind": "List", "metadata": meta, "items": self.lists[kind]})


def kubeconfig(folder: Path, url: str, ca: Path) -> Path:
    path = folder / "kubeconfig"
    body = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": str(ca)}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(body))
    return path


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 - what is waited for is a plain value
            await asyncio.sleep(0.01)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def watching(
    folder: Path, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[tuple[Watcher, Core, ApiServer]]:
    """A watcher at work on an API server."""
    authority = CertificateAuthority(folder / "ca", "ca")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("api", "api", hosts=["127.0.0.1"]))
    api = ApiServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", api.answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=context)
    core = Core(Settings("here", "fed", 15, Holds()), [], 1, Memory(), 0.0)
    path = kubeconfig(folder, f"https://127.0.0.1:{server.port}", authority.certificate_file)
    watcher = Watcher(path, core, clock)
    running = asyncio.create_task(watcher.run())
    try:
        yield watcher, core, api
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        api.ended.set()
        await server.close()


@pytest.mark.parametrize("status", [429, 504])
async def test_a_list_that_fails_takes_no_service_away(tmp_path: Path, status: int) -> None:
    """external-dns' issue 2858: all records went when the Kubernetes API timed out."""
    known = RegionState("here", 1, 1, (Service("shop", "web", ("10.1.0.1",), 1),))
    async with watching(tmp_path) as (watcher, core, api):
        await until(lambda: core.own_state() == known)
        api.fails = status
        api.ended.set()
        await until(lambda: api.failed >= 2)
        # As long as the watcher gathers events for, and more.
        await asyncio.sleep(0.5)
        assert core.own_state() == known
        api.ended.clear()
        api.fails = 0
        await until(lambda: not watcher.notes())


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "401 Unauthorized), what was read last stands: replace the agent's token by"),
        (403, "403 Forbidden), what was read last stands: give the agent's account its rights"),
        (504, "504 Gateway Timeout), what was read last stands: see that its API server is up"),
    ],
)
async def test_an_operator_is_told_that_the_cluster_is_not_read(
    tmp_path: Path, status: int, says: str
) -> None:
    clock = Clock()
    async with watching(tmp_path, clock) as (watcher, core, api):
        await until(lambda: core.own_state() is not None and not watcher.notes())
        clock.now = 100.0
        api.fails = status
        api.ended.set()
        await until(lambda: len(watcher.notes()) == 2)
        clock.now = 115.0
        assert watcher.wrong() == [], "that may pass"
        clock.now = 116.0
        (text,) = watcher.wrong()
        begin = "here: the agent cannot read services and endpointslices of its own cluster (the"
        assert text.startswith(begin)
        assert says in text
        api.ended.clear()
        api.fails = 0
        await until(lambda: not watcher.notes())
        assert watcher.wrong() == []


async def test_what_was_never_read_is_told_too(tmp_path: Path) -> None:
    clock = Clock()
    watcher = Watcher(
        tmp_path / "none", Core(Settings("here", "fed", 15, Holds()), [], 1, Memory(), 0.0), clock
    )
    clock.now = 100.0
    assert watcher.wrong() == [], "it has not begun"
    running = asyncio.create_task(watcher.run())
    try:
        await until(lambda: all("cannot be read" in note for note in watcher.notes()))
        assert watcher.wrong() == []
        clock.now = 116.0
        (text,) = watcher.wrong()
        assert "none cannot be read), nothing was read yet: replace the agent's token" in text
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
