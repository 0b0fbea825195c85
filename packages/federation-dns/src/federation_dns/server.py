"""What an agent answers: the mesh port (HTTPS) and the metrics port (plain HTTP).

On the mesh port `GET /v1/verdict` is for anybody; the rest is for members, known by the
fingerprint of the certificate they prove to hold. Limits on number, size and time come before
anything is parsed (`federation_dns.door`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry, generate_latest

from federation_dns import door, keys, wire
from federation_dns.config import Config, Peers, host_of
from federation_dns.core import Core
from federation_dns.mesh import Mesh

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

_BODY_SECONDS = 2.0


class MeshServer:
    """The mesh port."""

    def __init__(
        self,
        config: Config,
        core: Core,
        mesh: Mesh,
        clock: Callable[[], float],
        notes: Callable[[], list[str]],
        *,
        wrong: Callable[[], list[str]] = list,
    ):
        self._config = config
        self._core = core
        self._mesh = mesh
        self._clock = clock
        self._notes = notes
        self._wrong = wrong
        app = web.Application(client_max_size=wire.MAX_VOTE, middlewares=[self._keep_time])
        app.router.add_post("/v1/votes", self._votes)
        app.router.add_get("/v1/state", self._state)
        app.router.add_get("/v1/accused", self._accused)
        app.router.add_get("/v1/verdict", self._verdict)
        app.router.add_get("/v1/zone", self._zone)
        app.router.add_get("/v1/peers", self._peers)
        # No body is unpacked: a packed one may be a thousand times its size.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_http_log(),
            keepalive_timeout=75,
            auto_decompress=False,
            lingering_time=1.0,
        )
        self.opened: door.Door | None = None
        self._known: set[str] = set()

    async def set_peers(self, peers: Peers) -> None:
        """Trust these members from now on, and open the port at the first time.

        Connections that are open go on; each request on them is checked against the new list.

        Raises:
            OSError: the port or the agent's own certificate cannot be used.
        """
        self._mesh.pins.take({e.region: e.certificates for e in peers.entries})
        self._known = {host_of(e.url) for e in peers.entries}
        await self.renew()

    async def renew(self) -> None:
        """Meet whoever comes from now on with the certificates as they are now."""
        context = keys.server_context(
            self._config.certificate, self._config.key, self._mesh.pins.all()
        )
        if self.opened is None:
            await self._runner.setup()
            factory = self._runner.server
            if factory is None:
                raise RuntimeError("the runner has not been set up")
            self.opened = door.Door(factory, self._mesh.pins.whose)
        listen = self._config.listen
        self.opened.use(context, {*self._known, listen.address})
        if not self.opened.open:
            self.opened.listen(listen.address, listen.port)

    async def close(self) -> None:
        """Close the port."""
        if self.opened is not None:
            await self.opened.close()
        await self._runner.cleanup()

    @web.middleware
    async def _keep_time(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        gate = None if self.opened is None else self.opened.of(request.protocol)
        if gate is None:
            return await handler(request)
        gate.request_begins()
        if not gate.member:  # who asks the verdict asks it each second, not thousands of times
            now = self._clock()
            await asyncio.sleep(max(0.0, gate.not_before - now))
            gate.not_before = max(now, gate.not_before) + door.PACE_SECONDS
        try:
            return await handler(request)
        finally:
            gate.request_ends()

    def _member(self, request: web.Request) -> str:
        """Whose certificate the client proved to hold."""
        pin = door.shown(request.transport)
        region = None if pin is None else self._mesh.pins.whose(pin)
        if region is None or pin is None:
            raise web.HTTPForbidden(text="this is for members of the federation only")
        self._mesh.pins.shown(pin, self._clock())
        return region

    async def _votes(self, request: web.Request) -> web.Response:
        region = self._member(request)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await request.read()
            heard = self._mesh.take(wire.parse_vote(body), region)
        except wire.WireError as error:
            self._mesh.faults.wrong(region, str(error), self._clock())
            raise web.HTTPBadRequest(text=str(error)) from error
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text="the body did not come in time") from error
        if not heard.accepted:
            log.debug("a vote of %s is older than one that counted", region)
        return web.Response(body=self._mesh.vote(), content_type="application/json")

    async def _state(self, request: web.Request) -> web.Response:
        self._member(request)
        state = self._core.own_state()
        if state is None:
            raise web.HTTPNotFound(text="the own cluster has not been read yet")
        return _json(wire.dump_state(state))

    async def _accused(self, request: web.Request) -> web.Response:
        self._member(request)
        return _json(wire.dump_accusation(self._core.health.own(self._core.incarnation)))

    async def _verdict(self, _request: web.Request) -> web.Response:
        verdict = self._core.verdict(self._clock(), self._notes())
        own = {"faults": self._mesh.wrong(), "dns": self._wrong()}
        return _json(verdict | own)

    async def _zone(self, request: web.Request) -> web.Response:
        self._member(request)
        wanted = self._core.wanted
        records = [
            {"name": r.name, "type": r.type, "ttl": r.ttl, "values": list(r.values)}
            for _, r in sorted(wanted.records.items())
        ]
        return _json(
            {
                "zone": self._config.zone,
                "complete": wanted.complete,
                "notes": [*wanted.notes, *self._notes()],
                "records": records,
            }
        )

    async def _peers(self, request: web.Request) -> web.Response:
        self._member(request)
        own = self._config.region
        peers = {
            name: {
                "role": member.role,
                "url": self._mesh.links[name].peer.url if name in self._mesh.links else "",
                "own": name == own,
                "latency_s": self._mesh.links[name].latency if name in self._mesh.links else None,
                "trouble": self._mesh.links[name].trouble if name in self._mesh.links else "",
            }
            for name, member in sorted(self._core.members.items())
        }
        return _json({"region": own, "peers": peers})


class _OursOnly(logging.Filter):
    """Lets pass what we did wrong; who sends no HTTP, or hangs up in the middle, fills no log."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | ConnectionError)


def _http_log() -> logging.Logger:
    found = logging.getLogger(f"{__name__}.http")
    if not found.filters:
        found.addFilter(_OursOnly())
    return found


class MetricsServer:
    """The metrics port."""

    def __init__(self, registry: CollectorRegistry, health: Callable[[], tuple[bool, str]]):
        self._registry = registry
        self._health = health
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        self._runner = web.AppRunner(app, access_log=None)

    async def open(self, address: str, port: int) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, reuse_address=True).start()

    async def close(self) -> None:
        """Close the port."""
        await self._runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _healthz(self, _request: web.Request) -> web.Response:
        well, text = self._health()
        return web.Response(status=200 if well else 503, text=text + "\n")


def _json(body: dict[str, Any]) -> web.Response:
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(text=text, content_type="application/json")
