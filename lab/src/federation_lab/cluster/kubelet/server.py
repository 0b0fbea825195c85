"""The kubelet's own port: `kubectl logs`, and whether it lives."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

POLL_SECONDS = 0.25
CHUNK = 1 << 16
TAIL_BLOCK = 1 << 14

# (namespace, pod, container, previous) -> its log file; None: not here
FindLog = Callable[[str, str, str, bool], Path | None]
# -> still writing
Alive = Callable[[str, str, str], bool]


def tls(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Give a context that lets nobody in without a certificate of the cluster's CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    return context


class LogServer:
    """Answers the API server's questions about this node's pods.

    Args:
        find: where a container's log is.
        alive: whether a container may still write.
        client: the common name of the one who may ask.
    """

    def __init__(self, find: FindLog, alive: Alive, client: str) -> None:
        self._find = find
        self._alive = alive
        self._client = client

    def application(self) -> web.Application:
        """Give the routes."""

        @web.middleware
        async def authorize(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            shown = request.get_extra_info("peercert") or {}
            if (("commonName", self._client),) not in shown.get("subject", ()):
                raise web.HTTPForbidden(text=f"only {self._client} may ask\n")
            return await handler(request)

        app = web.Application(middlewares=[authorize])
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        where = request.match_info
        key = (where["namespace"], where["pod"], where["container"])
        query = request.query
        path = self._find(*key, query.get("previous") == "true")
        if path is None or not path.exists():
            raise web.HTTPNotFound(text=f"no log of container {key[2]} of pod {key[1]} here\n")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        left = int(query["limitBytes"]) if "limitBytes" in query else None
        with path.open("rb") as file:
            if "tailLines" in query:
                file.seek(tail_offset(path, int(query["tailLines"])))
            while True:
                chunk = file.read(CHUNK if left is None else min(CHUNK, left))
                if chunk:
                    await response.write(chunk)
                    left = None if left is None else left - len(chunk)
                elif query.get("follow") != "true" or not self._alive(*key):
                    break
                else:
                    await asyncio.sleep(POLL_SECONDS)
        return response


def tail_offset(path: Path, lines: int) -> int:
    """Give where the last so many lines of a file begin."""
    if lines <= 0:
        return path.stat().st_size
    with path.open("rb") as file:
        position = end = file.seek(0, 2)
        # A newline that ends the file ends its last line, it doesn't begin another.
        wanted = lines + 1
        while position > 0:
            step = min(TAIL_BLOCK, position)
            position -= step
            file.seek(position)
            block = file.read(step)
            if position + step == end and not block.endswith(b"\n"):
                wanted -= 1
            for index in range(len(block) - 1, -1, -1):
                if block[index] == 0x0A:
                    wanted -= 1
                    if wanted == 0:
                        return position + index + 1
    return 0
