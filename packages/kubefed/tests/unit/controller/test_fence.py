"""No write leaves after the fence has closed, whatever happens before its bytes go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from aiohttp import web
from kubefed.controller.client import (
    UNACKNOWLEDGED_SECONDS,
    USER_AGENT,
    Client,
    Connection,
    NotLeaderError,
)
from kubefed.controller.leader import DURATION, RENEW_DEADLINE

PATH = "/api/v1/namespaces/n/configmaps/a"
OBJECT = {"kind": "ConfigMap"}


class Fence:
    """Lets a number of questions through."""

    def __init__(self, passes: int) -> None:
        self.passes = passes

    def __call__(self) -> None:
        self.passes -= 1
        if self.passes < 0:
            raise NotLeaderError("not any more")


class Wire:
    """An HTTP server that notes what reaches it.

    Attributes:
        seen: what reached it, as "METHOD".
        agents: their User-Agents.
        cut: how many of the next writes are not answered; their connection is closed.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.agents: set[str] = set()
        self.cut = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.method)
        self.agents.add(request.headers["User-Agent"])
        await request.read()
        if request.method != "GET" and self.cut:
            self.cut -= 1
            assert request.transport is not None
            request.transport.close()
        return web.json_response(OBJECT)


@pytest.fixture
async def wire() -> AsyncGenerator[Wire]:
    made = Wire()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@contextlib.asynccontextmanager
async def client(wire: Wire, guard: Callable[[], None]) -> AsyncGenerator[Client]:
    made = Client("member", Connection(wire.url), guard, f"{USER_AGENT}/first")
    try:
        yield made
    finally:
        await made.close()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_the_library_repeats_is_a_write_like_the_first(wire: Wire, method: str) -> None:
    # Before the connection, before the bytes; the repetition finds the fence closed.
    async with client(wire, Fence(2)) as sender:
        await sender.request("GET", PATH)
        wire.seen.clear()
        wire.cut = 1
        with pytest.raises(NotLeaderError):
            await sender.request(method, PATH, body=OBJECT)
    assert wire.seen == [method]


async def test_a_leader_repeats_what_a_broken_connection_took(wire: Wire) -> None:
    async with client(wire, Fence(3)) as sender:
        wire.cut = 1
        await sender.request("PUT", PATH, body=OBJECT)
    assert wire.seen == ["PUT", "PUT"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_fence_that_closes_while_a_connection_is_made_holds_the_write_back(
    wire: Wire, method: str
) -> None:
    async with client(wire, Fence(1)) as sender:
        with pytest.raises(NotLeaderError):
            await sender.request(method, PATH)
        assert wire.seen == []
        # Reads ask nobody.
        assert await sender.request("GET", PATH) == OBJECT
    assert wire.agents == {"kubefed/first"}


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone has it")
async def test_the_kernel_drops_what_nobody_acknowledged_before_another_may_lead(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    connect = asyncio.get_running_loop().sock_connect

    async def seen(sock: socket.socket, address: Any) -> None:
        made.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        await connect(sock, address)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", seen)
    async with client(wire, lambda: None) as sender:
        await sender.request("GET", PATH)
    assert made == [3000]
    assert RENEW_DEADLINE + UNACKNOWLEDGED_SECONDS <= DURATION
