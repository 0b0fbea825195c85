"""TLS before one of OpenStack's services, and what it may do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import re
import ssl
import threading
import weakref
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp import web
from federation_dns import keys

from ..conftest import free_port


@dataclass
class Fault:
    """What becomes of requests that match.

    Attributes:
        what: as `POST /v2/zones/.*/recordsets`, a regular expression over method and path.
        does: `answer` instead of the service; `delay` and pass on; pass on, but lose the answer
            (`lose`); `cut` it short; hold it and send it byte by byte (`trickle`); `edit` it.
        times: how often; None: always.
    """

    what: str
    does: Literal["answer", "delay", "lose", "cut", "trickle", "edit"]
    status: int = 500
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0
    replace: tuple[str, str] = ("", "")
    times: int | None = None
    met: int = 0

    def matches(self, line: str) -> bool:
        if self.times is not None and self.met >= self.times:
            return False
        if re.match(self.what, line) is None:
            return False
        self.met += 1
        return True


class FaultProxy:
    """One service behind it."""

    def __init__(self, folder: Path, target: str, of: FaultProxy | None = None):
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._target = target
        self.faults: list[Fault] = []
        self._open: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        if of is None:
            folder.mkdir()
            now = datetime.datetime.now(datetime.UTC)
            self.certificate = keys.generate("openstack", "127.0.0.1", folder, now)
        else:  # one authority for all
            self.certificate = of.certificate

    @contextlib.contextmanager
    def fault(self, fault: Fault) -> Generator[Fault]:
        """For a while."""
        self.faults.insert(0, fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context).start()
        async with aiohttp.ClientSession(auto_decompress=False) as self._client:
            ready.set()
            await self._stop.wait()
            # TLS would wait for each client's word of parting.
            for transport in self._open:
                transport.abort()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        line = f"{request.method} {request.path_qs}"
        if request.transport is not None:
            self._open.add(request.transport)
        fault = next((f for f in self.faults if f.matches(line)), None)
        if fault is not None and fault.does == "answer":
            return web.Response(status=fault.status, text=fault.body, headers=fault.headers)
        if fault is not None and fault.does == "delay":
            await asyncio.sleep(fault.seconds)
        try:
            status, headers, body = await self._pass_on(request)
        except aiohttp.ClientError:
            _drop(request)
            raise
        if fault is None or fault.does == "delay":
            return web.Response(status=status, headers=headers, body=body)
        return await self._spoilt(request, fault, status, headers, body)

    async def _pass_on(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
        async with self._client.request(
            request.method,
            self._target + request.path_qs,
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            kept = {
                k: v
                for k, v in answer.headers.items()
                if k.lower() not in ("transfer-encoding", "connection", "content-length", "date")
            }
            return answer.status, kept, body

    async def _spoilt(
        self,
        request: web.Request,
        fault: Fault,
        status: int,
        headers: dict[str, str],
        body: bytes,
    ) -> web.StreamResponse:
        if fault.does == "edit":
            text = re.sub(*fault.replace, body.decode(), flags=re.DOTALL)
            return web.Response(status=status, headers=headers, body=text.encode())
        if fault.does == "lose":
            _drop(request)
            return web.Response()
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = len(body)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for piece in body if fault.does == "trickle" else [body[: len(body) // 2]]:
                sent = bytes([piece]) if isinstance(piece, int) else piece
                await response.write(sent)
                await asyncio.sleep(fault.seconds)
        _drop(request)
        return response


def _drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
