"""A proxy before API servers that fails by script, and keeps a history of all that passed it.

`Rule`s are plain data: which requests they mean (cluster, verb, path), how often they apply, and
what is done. The first rule that fits and isn't used up has a request; for events of watches the
same holds for each event. TLS ends here, with a certificate of the proxy's own CA.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from federation_lab.cluster.pki import CertificateAuthority

T = TypeVar("T")
WRITES = "create update patch delete"
READS = "get list watch"
_JSON = "application/json"
# A collection's path ends with its plural: its depth after the version says so.
_COLLECTION = re.compile(r"/(?:api/v1|apis/[^/]+/[^/]+)/(?:namespaces/[^/]+/)?[^/]+")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Do(Enum):
    """What is done with a request, or with an event of a watch."""

    ANSWER = "answer with `status`, `headers` and `body`; the server isn't asked"
    ANSWER_AFTER = "let the server do it, then answer as ANSWER"
    CUT = "close the connection; the server isn't asked"
    CUT_AFTER = "let the server do it, then close the connection without an answer"
    HANG = "no answer, ever; the server isn't asked"
    HOLD = "the request is held back until `release`, then passed on"
    HOLD_AFTER = "let the server do it, but hold its answer back until `release`"
    STALL = "half of the server's answer, then nothing, ever"
    TRICKLE = "the server's answer, a byte each `seconds`"
    ENDLESS = "an answer that never stops: `body` again and again; the server isn't asked"
    EMPTY = "the server's list without its items"
    DROP_EVENT = "an event of a watch is left out"
    DOUBLE_EVENT = "an event of a watch comes twice"
    LATE_EVENT = "an event of a watch, and all after it, come `seconds` later"
    END_BY_EVENT = "the watch ends with `body` as an ERROR event"


_OF_EVENTS = frozenset({Do.DROP_EVENT, Do.DOUBLE_EVENT, Do.LATE_EVENT, Do.END_BY_EVENT})

_INSTEAD = frozenset({Do.ANSWER, Do.CUT, Do.HANG, Do.ENDLESS})
_LASTING = frozenset({Do.HANG, Do.STALL, Do.TRICKLE, Do.ENDLESS})


@dataclasses.dataclass
class Rule:
    """A fault.

    Attributes:
        do: what is done.
        verbs: Kubernetes' verbs, as in "create update"; "" for all.
        path: a regular expression that occurs in the path.
        query: one that occurs in the query.
        cluster: the one it is about; "" for all.
        times: how often it applies; None for always.
        body: of the answer, text or what becomes JSON; of END_BY_EVENT the event's object.
        event: a regular expression that occurs in the event (as JSON); "" for all.
        used: how often it applied so far.
    """

    do: Do
    verbs: str = ""
    path: str = ""
    cluster: str = ""
    times: int | None = None
    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    event: str = ""
    seconds: float = 0.0
    used: int = 0
    query: str = ""

    def fits(self, cluster: str, verb: str, path: str, query: str = "") -> bool:
        return (
            (self.times is None or self.used < self.times)
            and self.cluster in ("", cluster)
            and (not self.verbs or verb in self.verbs.split())
            and re.search(self.path, path) is not None
            and re.search(self.query, query) is not None
        )


@dataclasses.dataclass
class Request:
    """One request that reached the proxy.

    Attributes:
        at: when, by the monotonic clock.
        status: what the client was answered; 0 for nothing (yet).
        reached: what the server answered; 0 where it wasn't asked or didn't answer.
        content: the body that was sent.
        agent: who sent it, by its User-Agent.
        done: when the server answered, by the monotonic clock; 0 for not (yet).
    """

    cluster: str
    verb: str
    path: str
    at: float
    status: int = 0
    reached: int = 0
    content: bytes = b""
    agent: str = ""
    done: float = 0.0
    query: str = ""

    @property
    def write(self) -> bool:
        return self.verb in WRITES.split()

    @property
    def took_effect(self) -> bool:
        return self.write and 200 <= self.reached < 300


@dataclasses.dataclass(frozen=True)
class Upstream:
    """An API server: its URL, and its CA in PEM ("" for plain HTTP)."""

    url: str
    ca: str = ""


class FaultProxy:
    """A proxy before several API servers, each with an endpoint of its own here.

    Args:
        directory: for its CA.
        upstreams: the API servers by cluster.

    Attributes:
        rules: the faults, the first that fits has its way; change it at any time.
        history: every request, in the order in which they came.
        wrote: called in the proxy's thread when a server has done a write, before its answer is
            delivered; what it gives back is done: True for delivering it.
        shut: nothing passes: connections are closed at once.
    """

    def __init__(self, directory: Path, upstreams: Mapping[str, Upstream]) -> None:
        self.rules: list[Rule] = []
        self.history: list[Request] = []
        self.wrote: Callable[[Request], bool] | None = None
        self.shut = False
        self._upstreams = dict(upstreams)
        self._authority = CertificateAuthority(directory, "fault-proxy")
        self._serving = self._authority.issue("proxy", "proxy", hosts=["127.0.0.1"])
        self._ports: dict[str, int] = {}
        self._open: dict[asyncio.Task[Any], tuple[Request, web.Request]] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    @property
    def ca(self) -> str:
        """The CA's certificate in PEM."""
        return self._authority.pem

    def endpoint(self, cluster: str) -> str:
        return f"https://127.0.0.1:{self._ports[cluster]}"

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        assert self._ready.wait(10), "the proxy doesn't start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the proxy doesn't end"

    # -- what tests do ------------------------------------------------------------------------

    def heal(self) -> None:
        """Take away all rules, and cut what they hold up."""
        rules, self.rules[:] = list(self.rules), []
        if any(rule.do in _LASTING for rule in rules):
            self._call(self._cut_where(lambda request: request.status == 0))

    def cut(self, cluster: str = "", verbs: str = "", path: str = "") -> None:
        """Close the connections of requests (watches above all) that are under way."""
        wanted = Rule(Do.CUT, verbs, path, cluster)
        self._call(
            self._cut_where(
                lambda request: wanted.fits(request.cluster, request.verb, request.path)
            )
        )

    def shut_down(self) -> None:
        """Let nothing pass any more; to be called in the proxy's thread, as by `wrote`."""
        self.shut = True
        for task, (_, request) in list(self._open.items()):
            if task is not asyncio.current_task():
                _abort(request)
                task.cancel()

    def reopen(self) -> None:
        self.shut = False

    def release(self) -> None:
        """Let go what HOLD and HOLD_AFTER have held back so far."""
        self._call(self._let_go())

    def since(self, moment: float, *, verbs: str = "", path: str = "") -> list[Request]:
        """Give the requests that came after a moment of the monotonic clock."""
        wanted = Rule(Do.CUT, verbs, path)
        return [
            each
            for each in list(self.history)
            if each.at >= moment and wanted.fits(each.cluster, each.verb, each.path)
        ]

    # -- the server ---------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut_where(self, which: Callable[[Request], bool]) -> None:
        for task, (record, request) in list(self._open.items()):
            if which(record):
                _abort(request)
                task.cancel()

    async def _held(self) -> None:
        waits = self._loop.create_future()
        self._waiting.append(waits)
        await waits

    async def _let_go(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waits in waiting:
            if not waits.done():
                waits.set_result(None)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*self._serving)
        async with contextlib.AsyncExitStack() as stack:
            for cluster, upstream in self._upstreams.items():
                verify = ssl.create_default_context(cadata=upstream.ca) if upstream.ca else True
                session = await stack.enter_async_context(
                    aiohttp.ClientSession(
                        upstream.url,
                        connector=aiohttp.TCPConnector(ssl=verify, limit=0),
                        timeout=aiohttp.ClientTimeout(total=None),
                        read_bufsize=16 * 1024 * 1024,
                    )
                )
                app = web.Application(client_max_size=64 * 1024 * 1024)
                app.router.add_route("*", "/{path:.*}", self._handler(cluster, session))
                runner = web.AppRunner(
                    app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
                )
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
                await site.start()
                self._ports[cluster] = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
            await self._cut_where(lambda _: True)

    def _handler(
        self, cluster: str, session: aiohttp.ClientSession
    ) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if self.shut:
                return _abort(request)
            path = request.rel_url.path
            agent = request.headers.get("User-Agent", "")
            record = Request(cluster, _verb(request), path, time.monotonic(), agent=agent)
            record.query = request.rel_url.query_string
            task = asyncio.current_task()
            assert task is not None
            self._open[task] = record, request
            self.history.append(record)
            try:
                record.content = await request.read()
                return await self._answer(record, request, session)
            except (aiohttp.ClientError, OSError):
                return _abort(request)
            finally:
                del self._open[task]

        return handle

    async def _answer(
        self, record: Request, request: web.Request, session: aiohttp.ClientSession
    ) -> web.StreamResponse:
        rule = self._take(record)
        do = rule.do if rule else None
        if rule and do in _INSTEAD:
            return await _instead(rule, record, request)
        if do is Do.HOLD:
            await self._held()
        async with session.request(
            request.method,
            request.rel_url,
            data=record.content or None,
            headers=_passed(request.headers),
            skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
            allow_redirects=False,
        ) as upstream:
            record.reached, record.done = upstream.status, time.monotonic()
            if record.verb == "watch" and upstream.status == 200:
                return await self._stream(record, request, upstream)
            return await self._deliver(rule, record, request, upstream)

    async def _deliver(
        self,
        rule: Rule | None,
        record: Request,
        request: web.Request,
        upstream: aiohttp.ClientResponse,
    ) -> web.StreamResponse:
        do = rule.do if rule else None
        content = await upstream.read()
        if do is Do.HOLD_AFTER:
            await self._held()
        deliver = self.wrote is None or not record.took_effect or self.wrote(record)
        if do is Do.CUT_AFTER or not deliver:
            return _abort(request)
        if rule and do is Do.ANSWER_AFTER:
            return _scripted(rule, record)
        headers = {"Content-Type": upstream.headers.get("Content-Type", _JSON)}
        if do is Do.STALL:
            half = web.StreamResponse(status=upstream.status, headers=headers)
            half.content_length = len(content)
            await half.prepare(request)
            await half.write(content[: len(content) // 2])
            await asyncio.Event().wait()
        if rule and do is Do.TRICKLE:
            await _trickle(rule, request, content)
        if do is Do.EMPTY and upstream.status == 200:
            content = json.dumps(json.loads(content) | {"items": []}).encode()
        record.status = upstream.status
        answer = web.Response(status=upstream.status, body=content, headers=headers)
        if self.shut:
            # The last answer that gets out.
            await answer.prepare(request)
            await answer.write_eof()
        return answer

    async def _stream(
        self, record: Request, request: web.Request, upstream: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        record.status = 200
        answer = web.StreamResponse(headers={"Content-Type": _JSON})
        await answer.prepare(request)
        async with contextlib.aclosing(self._events(record, upstream)) as events:
            async for line in events:
                await answer.write(line)
        return answer

    async def _events(
        self, record: Request, upstream: aiohttp.ClientResponse
    ) -> AsyncGenerator[bytes]:
        async for line in upstream.content:
            rule = self._take(record, line)
            do = rule.do if rule else None
            if do is Do.DROP_EVENT:
                continue
            if rule and do is Do.LATE_EVENT:
                await asyncio.sleep(rule.seconds)
            if rule and do is Do.END_BY_EVENT:
                yield json.dumps({"type": "ERROR", "object": rule.body}).encode() + b"\n"
                return
            yield line
            if do is Do.DOUBLE_EVENT:
                yield line

    def _take(self, record: Request, event: bytes | None = None) -> Rule | None:
        for rule in self.rules:
            if (rule.do in _OF_EVENTS) != (event is not None):
                continue
            if not rule.fits(record.cluster, record.verb, record.path, record.query):
                continue
            if event is None or re.search(rule.event, event.decode()):
                rule.used += 1
                return rule
        return None


def status(code: int, reason: str = "", **headers: str) -> dict[str, Any]:
    """Give the parts of a `Rule` that answer with a Status object."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return {
        "status": code,
        "body": {**body, "code": code, "reason": reason, "message": f"by script: {reason}"},
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
    }


def too_many(seconds: int) -> dict[str, Any]:
    """Give the parts of a `Rule` that answers 429."""
    return status(429, "TooManyRequests", Retry_After=str(seconds))


HTML: dict[str, Any] = {
    "status": 200,
    "body": "<html><body>Please log in.</body></html>",
    "headers": {"Content-Type": "text/html"},
}
GONE = status(410, "Expired")


def _scripted(rule: Rule, record: Request) -> web.Response:
    record.status = rule.status
    text = rule.body if isinstance(rule.body, str) else json.dumps(rule.body)
    headers = {"Content-Type": _JSON, **rule.headers}
    return web.Response(status=rule.status, body=text.encode(), headers=headers)


async def _instead(rule: Rule, record: Request, request: web.Request) -> web.StreamResponse:
    """Do what a rule says without the server."""
    if rule.do is Do.CUT:
        return _abort(request)
    if rule.do is Do.HANG:
        await asyncio.Event().wait()
    if rule.do is Do.ENDLESS:
        await _endless(rule, request)
    return _scripted(rule, record)


async def _endless(rule: Rule, request: web.Request) -> None:
    answer = web.StreamResponse(headers={"Content-Type": _JSON})
    await answer.prepare(request)
    content = str(rule.body).encode()
    while request.transport is not None and not request.transport.is_closing():
        await answer.write(content)
        # To write where nobody reads doesn't wait.
        await asyncio.sleep(0)
    await asyncio.Event().wait()


async def _trickle(rule: Rule, request: web.Request, content: bytes) -> None:
    answer = web.StreamResponse(headers={"Content-Type": _JSON})
    await answer.prepare(request)
    for place in range(len(content)):
        await answer.write(content[place : place + 1])
        await asyncio.sleep(rule.seconds)
    await asyncio.Event().wait()


def _verb(request: web.Request) -> str:
    if request.method != "GET":
        return _VERBS.get(request.method, request.method.lower())
    if request.query.get("watch") in ("true", "1"):
        return "watch"
    return "list" if _COLLECTION.fullmatch(request.rel_url.path) else "get"


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    wanted = ("Authorization", "Accept", "Content-Type", "User-Agent")
    return {name: headers[name] for name in wanted if name in headers}


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
