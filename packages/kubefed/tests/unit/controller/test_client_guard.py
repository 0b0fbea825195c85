"""What never goes over a connection to an API server, nor into a log."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubefed.controller.client import (
    MERGE_PATCH,
    ApiError,
    Client,
    Connection,
    NotLeaderError,
)

TOKEN = "s3cr3t-t0k3n"
Connect = Callable[..., Client]


@pytest.fixture
def seen() -> list[str]:
    """What an API server was asked, as "METHOD path"."""
    return []


@pytest.fixture
async def connect(seen: list[str]) -> AsyncGenerator[Connect]:
    """Make clients of an API server that lets in who has the token."""

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path}")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"kind": "Status", "message": "who are you"}, status=401)
        return web.json_response({"kind": "List", "items": []})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    made: list[Client] = []

    def make(guard: Callable[[], None] = lambda: None, token: str = TOKEN) -> Client:
        connection = Connection(f"http://127.0.0.1:{server.port}", token=token)
        made.append(Client("member", connection, guard))
        return made[-1]

    yield make
    for client in made:
        await client.close()
    await server.close()


async def test_a_write_that_the_guard_holds_back_is_never_sent(
    connect: Connect, seen: list[str]
) -> None:
    def closed() -> None:
        raise NotLeaderError("another leads")

    client = connect(closed)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(NotLeaderError):
            await client.request(method, "/thing", body={})
    await client.request("GET", "/thing")
    assert seen == ["GET /thing"]


async def test_no_log_has_the_token(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client, other = connect(), connect(token=f"not-{TOKEN}")
    await client.request("GET", "/things")
    await client.request("PATCH", "/thing", body={}, content_type=MERGE_PATCH)
    await client.text("/healthz", timeout_s=5)
    for method in ("GET", "PUT"):
        with pytest.raises(ApiError) as refused:
            await other.request(method, "/thing", body={})
        assert TOKEN not in str(refused.value)
    assert TOKEN not in caplog.text
