"""The fault proxy itself, before a server that answers what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from fault_proxy import GONE, HTML, Do, FaultProxy, Rule, Upstream, too_many

MAPS = "/api/v1/namespaces/n/configmaps"


class Near:
    """A client of the proxy, and what the server behind was asked."""

    def __init__(self, proxy: FaultProxy, session: aiohttp.ClientSession) -> None:
        self.proxy = proxy
        self.asked: list[str] = []
        self._session = session

    async def request(self, method: str, path: str, **query: str) -> tuple[int, str]:
        url = self.proxy.endpoint("one") + path
        async with self._session.request(method, url, params=query, data=b"{}") as answer:
            self.headers = answer.headers
            return answer.status, await answer.text()

    def stream(self, method: str, **query: str) -> Any:
        return self._session.request(method, self.proxy.endpoint("one") + MAPS, params=query)

    async def watch(self, path: str = MAPS) -> list[Any]:
        _, text = await self.request("GET", path, watch="true")
        return [json.loads(line) for line in text.splitlines()]


@pytest_asyncio.fixture
async def near(tmp_path: Path) -> AsyncGenerator[Near]:
    async def answer(request: web.Request) -> web.StreamResponse:
        client.asked.append(f"{request.method} {request.path}")
        if request.query.get("watch"):
            stream = web.StreamResponse()
            await stream.prepare(request)
            for number in range(3):
                await stream.write(
                    json.dumps({"type": "ADDED", "number": number}).encode() + b"\n"
                )
            return stream
        body = {"kind": "List", "metadata": {"resourceVersion": "7"}, "items": [{"a": "b"}]}
        return web.json_response(body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream = Upstream(f"http://127.0.0.1:{runner.addresses[0][1]}")
    with FaultProxy(tmp_path, {"one": upstream}) as proxy:
        tls = ssl.create_default_context(cadata=proxy.ca)
        connector = aiohttp.TCPConnector(ssl=tls)
        async with aiohttp.ClientSession(connector=connector) as session:
            client = Near(proxy, session)
            yield client
    await runner.cleanup()


async def test_what_no_rule_is_about_passes_and_is_noted(near: Near) -> None:
    near.proxy.rules.append(Rule(Do.CUT, "create", cluster="another"))
    status, text = await near.request("POST", MAPS)
    assert (status, json.loads(text)["items"]) == (200, [{"a": "b"}])
    assert [event["number"] for event in await near.watch()] == [0, 1, 2]
    await near.request("GET", MAPS)
    await near.request("GET", f"{MAPS}/a")
    history = near.proxy.history
    assert [each.verb for each in history] == ["create", "watch", "list", "get"]
    assert [each.took_effect for each in history] == [True, False, False, False]


async def test_answers_of_its_own_so_often_and_no_more(near: Near) -> None:
    near.proxy.rules += [
        Rule(Do.ANSWER, "update", "configmaps", times=2, **too_many(3)),
        Rule(Do.ANSWER, "list", **HTML),
    ]
    for _ in range(2):
        status, _ = await near.request("PUT", f"{MAPS}/a")
        assert (status, near.headers["Retry-After"]) == (429, "3")
    assert near.asked == []
    assert (await near.request("PUT", f"{MAPS}/a"))[0] == 200
    assert (await near.request("GET", MAPS))[1].startswith("<html>")
    assert near.headers["Content-Type"] == "text/html"


async def test_a_write_takes_effect_though_its_answer_says_no(near: Near) -> None:
    near.proxy.rules += [
        Rule(Do.ANSWER_AFTER, "update", status=504, body={}),
        # aiohttp tries again what is idempotent by HTTP's word, PUT and DELETE among it.
        Rule(Do.CUT_AFTER, "create"),
        Rule(Do.CUT, "patch"),
    ]
    assert (await near.request("PUT", f"{MAPS}/a"))[0] == 504
    with pytest.raises(aiohttp.ClientError):
        await near.request("POST", MAPS)
    with pytest.raises(aiohttp.ClientError):
        await near.request("PATCH", f"{MAPS}/a")
    assert near.asked == [f"PUT {MAPS}/a", f"POST {MAPS}"]
    assert [each.took_effect for each in near.proxy.history] == [True, True, False]


async def test_an_empty_list_has_the_servers_version(near: Near) -> None:
    near.proxy.rules.append(Rule(Do.EMPTY, "list"))
    _, text = await near.request("GET", MAPS)
    assert json.loads(text) == {"kind": "List", "metadata": {"resourceVersion": "7"}, "items": []}


@pytest.mark.parametrize("do", [Do.HANG, Do.STALL])
async def test_answers_that_never_end_until_healed(near: Near, do: Do) -> None:
    near.proxy.rules.append(Rule(do, "create"))
    waiting = asyncio.create_task(near.request("POST", MAPS))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    near.proxy.heal()
    with pytest.raises(aiohttp.ClientError):
        await waiting
    assert (await near.request("GET", MAPS))[0] == 200


@pytest.mark.parametrize(("do", "asked"), [(Do.HOLD, 0), (Do.HOLD_AFTER, 1)])
async def test_held_back_until_released(near: Near, do: Do, asked: int) -> None:
    near.proxy.rules.append(Rule(do, "create", times=1))
    waiting = asyncio.create_task(near.request("POST", MAPS))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    assert len(near.asked) == asked
    near.proxy.release()
    assert (await waiting)[0] == 200
    (held,) = near.proxy.history
    assert held.took_effect
    assert held.done >= held.at + (0.1 if do is Do.HOLD else 0)


async def test_answers_byte_by_byte_and_without_end(near: Near) -> None:
    near.proxy.rules += [
        Rule(Do.TRICKLE, "list", seconds=0.01),
        Rule(Do.ENDLESS, "create", body="x" * 1000, query="much=yes"),
    ]
    async with near.stream("GET") as answer:
        assert await answer.content.readexactly(5) == b'{"kin'
    async with near.stream("POST", much="yes") as answer:
        assert len(await answer.content.readexactly(100_000)) == 100_000
    assert (await near.request("POST", MAPS, much="no"))[0] == 200
    near.proxy.heal()
    assert (await near.request("GET", MAPS))[0] == 200


async def test_events_dropped_doubled_and_late(near: Near) -> None:
    near.proxy.rules += [
        Rule(Do.DROP_EVENT, "watch", event='"number": 0'),
        Rule(Do.DOUBLE_EVENT, "watch", event='"number": 1'),
        Rule(Do.LATE_EVENT, "watch", event='"number": 2', seconds=0.2),
    ]
    began = time.monotonic()
    assert [event["number"] for event in await near.watch()] == [1, 1, 2]
    assert time.monotonic() - began >= 0.2


async def test_a_watch_ended_by_an_event(near: Near) -> None:
    near.proxy.rules.append(Rule(Do.END_BY_EVENT, "watch", event='"number": 1', body=GONE["body"]))
    first, last = await near.watch()
    assert first["number"] == 0
    assert (last["type"], last["object"]["code"]) == ("ERROR", 410)


@pytest.mark.parametrize("delivered", [True, False])
async def test_nothing_passes_after_a_certain_write(near: Near, delivered: bool) -> None:
    def wrote(_: object) -> bool:
        near.proxy.shut_down()
        return delivered

    near.proxy.wrote = wrote
    if delivered:
        assert (await near.request("POST", MAPS))[0] == 200
    else:
        with pytest.raises(aiohttp.ClientError):
            await near.request("POST", MAPS)
    with pytest.raises(aiohttp.ClientError):
        await near.request("GET", MAPS)
    near.proxy.reopen()
    assert (await near.request("GET", MAPS))[0] == 200
    assert near.asked == [f"POST {MAPS}", f"GET {MAPS}"]
