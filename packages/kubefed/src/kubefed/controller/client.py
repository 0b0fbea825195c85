"""A small asynchronous client of one Kubernetes API server, on aiohttp.

`kubernetes.aio` would build a model or at least copy of every object, re-reads its configuration
on each call and can't change its CA while it runs. What the controller needs is less and hot:
JSON in, JSON out, one pooled session a cluster, credentials that can be swapped at any time, and
a guard that is asked before each write (fencing): once before a connection is looked for, and
again, whenever aiohttp sends or repeats it, in the moment before its bytes go. Redirects are not
followed, answers are capped, everything has a time limit.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import dataclasses
import json
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from typing import TYPE_CHECKING, Any

import aiohttp

from kubefed.controller.answers import (
    LONGEST_ANSWER,
    Allowance,
    ApiError,
    lines,
    parse,
    printable,
    read_capped,
)
from kubefed.controller.objects import Json, mapping

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter

__all__ = [
    "ApiError",
    "Client",
    "Connection",
    "MalformedError",
    "NotLeaderError",
    "decode_base64",
]
REQUEST_SECONDS = 30.0
# How long a server's word that it takes no writes for now (429) is heeded at most.
LONGEST_PAUSE = 120.0
# The API server sends a bookmark about every minute, so a watch silent for longer is dead.
SILENT_SECONDS = 100.0
MERGE_PATCH = "application/merge-patch+json"
# By which managedFields name us, too.
USER_AGENT = "kubefed"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
# aiohttp's own limit takes the end of the task for the end of the time, if both come in one turn
# of the loop, so that who is told to end goes on for ever; asyncio's tells them apart.
UNTIMED = aiohttp.ClientTimeout(total=None)
LONGEST_PROBE = 64 * 1024
_READS = frozenset({"GET"})
# What asyncio keeps for each TLS connection and asks for at each read; its own 256 KiB for a
# hundred watches are 25 MB of memory, and a TLS record has at most 16 KiB anyway.
TLS_BUFFER = 32 * 1024
# What the other end's kernel hasn't acknowledged for so long is dropped by ours, which no longer
# delivers it then when a network heals, whatever became of this process. See `leader`.
UNACKNOWLEDGED_SECONDS = 3.0
_encode = json.JSONEncoder(separators=(",", ":")).encode
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for.
_NO_CHECK_TIME = 0x200000


class NotLeaderError(Exception):
    """A write was held back because this process isn't the leader (any more)."""


class MalformedError(ValueError):
    """A connection that can't be made of what is configured; the text says why."""


@dataclasses.dataclass(frozen=True)
class Connection:
    """Where an API server is and how to enter it.

    Attributes:
        url: its URL, without a final slash.
        ca: certificates (PEM) to check it by; "" for the system's.
        token: the bearer token; "" for none.
        verify: False to check nothing at all.
        check_name: False to leave the certificate's names unchecked.
        check_time: False to leave its period of validity unchecked.
        proxy: URL of an HTTP proxy, "" for none.
        client_certificate: files of a certificate and its key.
    """

    url: str
    ca: str = ""
    token: str = dataclasses.field(default="", repr=False)
    verify: bool = True
    check_name: bool = True
    check_time: bool = True
    proxy: str = ""
    client_certificate: tuple[str, str] | None = None

    def context(self) -> ssl.SSLContext:
        """Make the TLS context.

        Raises:
            MalformedError: the certificates are none.
        """
        try:
            context = ssl.create_default_context(cadata=self.ca or None)
            if self.client_certificate:
                context.load_cert_chain(*self.client_certificate)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise MalformedError(f"the CA or client certificate is unusable: {error}") from error
        # Certificates of private CAs lack extensions that Python 3.13's strict mode demands.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self.check_time:
            context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
        if not (self.verify and self.check_name):
            context.check_hostname = False
        if not self.verify:
            context.verify_mode = ssl.CERT_NONE
        return context


def decode_base64(value: object, what: str) -> str:
    """Decode a base64 field that holds text.

    Raises:
        MalformedError: it isn't base64 or no text.
    """
    try:
        return base64.b64decode(str(value or ""), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"{what} is not base64 text") from error


class _Body(aiohttp.BytesPayload):
    """The body of a write.

    aiohttp holds the head of a request back until its body is written, and hands both to the
    socket at once: nothing but this call stands between the guard and the wire.
    """

    def __init__(self, content: bytes, guard: Callable[[], None]) -> None:
        super().__init__(content)
        self._guard = guard
        self.held_back: NotLeaderError | None = None

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        try:
            self._guard()
        except NotLeaderError as error:
            # aiohttp makes an error of the connection of it.
            self.held_back = error
            raise
        await super().write_with_length(writer, content_length)


class Client:
    """Requests to one API server.

    Args:
        name: the cluster, for messages.
        connection: where it is; `configure` changes it.
        guard: called before each write; raises `NotLeaderError` to hold it back.
        agent: the User-Agent, which audit logs name; up to its "/" it is the field manager.

    Attributes:
        allowance: what is held of answers that are being read.
    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        guard: Callable[[], None] = lambda: None,
        agent: str = USER_AGENT,
    ) -> None:
        self.name = name
        self.agent = agent
        self._guard = guard
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.allowance = Allowance()
        # When, by the loop's clock, the server takes writes again.
        self._paused_until = 0.0

    @property
    def connection(self) -> Connection:
        """The connection in use."""
        return self._connection

    def configure(self, connection: Connection) -> bool:
        """Use another connection from the next request on; say whether it differs.

        A new token is used at once on the connections that stand; a new address or CA opens new
        ones, and requests and watches on the old ones end.
        """
        before = self._connection
        if connection == before:
            return False
        self._connection = connection
        if dataclasses.replace(before, token=connection.token) != connection:
            self._drop_session()
        return True

    async def close(self) -> None:
        """Close all connections."""
        self._drop_session()
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout_s: float = REQUEST_SECONDS,
        longest: int = LONGEST_ANSWER,
    ) -> Json:
        """Do one request and give the JSON object that it answers.

        Raises:
            ApiError: it was refused, or the answer is no JSON object.
            NotLeaderError: it is a write and this process isn't the leader.
            aiohttp.ClientError, TimeoutError, OSError: there was no answer.
        """
        written = None
        if method not in _READS:
            await self._until_allowed(timeout_s)
            self._guard()
            # Never without a body: it is what asks the guard again.
            written = _Body(_encode({} if body is None else body).encode(), self._guard)
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._open().request(
                    method,
                    self._connection.url + path,
                    data=written,
                    params=params,
                    headers=self._headers(accept, content_type if written is not None else None),
                    timeout=UNTIMED,
                    allow_redirects=False,
                    proxy=self._connection.proxy or None,
                ) as response,
            ):
                content = await read_capped(response, longest, self.allowance)
        except aiohttp.ClientError:
            if written is not None and written.held_back is not None:
                raise written.held_back from None
            raise
        try:
            return self._parse(response, content, f"{method} {path}")
        except ApiError as error:
            if error.status == 429 and written is not None:
                pause = min(error.retry_after or 0.0, LONGEST_PAUSE)
                self._paused_until = asyncio.get_running_loop().time() + pause
            raise

    async def _until_allowed(self, timeout_s: float) -> None:
        """Wait for as long as the server asked to, if that is no longer than a write may take."""
        pause = self._paused_until - asyncio.get_running_loop().time()
        if pause > timeout_s:
            text = f"{self.name} takes no writes for {pause:.0f} s yet"
            raise ApiError(429, "TooManyRequests", text, pause)
        if pause > 0:
            await asyncio.sleep(pause)

    async def text(self, path: str, *, timeout_s: float) -> str:
        """Get a short text, such as that of /healthz, whatever its status but 401.

        Raises:
            ApiError: the token is refused.
            aiohttp.ClientError, TimeoutError, OSError: there was no answer.
        """
        async with (
            asyncio.timeout(timeout_s),
            self._open().get(
                self._connection.url + path,
                headers=self._headers("*/*", None),
                timeout=UNTIMED,
                allow_redirects=False,
                proxy=self._connection.proxy or None,
            ) as response,
        ):
            if response.status == 401:
                raise ApiError(401, "Unauthorized", f"{self.name}: its token is refused")
            return (await read_capped(response, LONGEST_PROBE)).decode(errors="replace")

    async def version(self, *, timeout_s: float) -> str:
        """Get the server's version, as in "v1.35.4"."""
        answer = parse((await self.text("/version", timeout_s=timeout_s)).encode())
        if not isinstance(answer, dict):
            raise ApiError(0, "", f"{self.name}: /version is no JSON")
        return printable(mapping(answer).get("gitVersion") or "", 64)  # pyright: ignore[reportUnknownArgumentType]

    async def watch(
        self, path: str, *, params: Mapping[str, str], accept: str
    ) -> AsyncGenerator[Json]:
        """Give the events of a watch, one by one, until the server ends it.

        Raises:
            ApiError: it was refused, or an event is too long or no JSON object.
            aiohttp.ClientError, TimeoutError, OSError: the connection broke.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENT_SECONDS)
        async with self._open().get(
            self._connection.url + path,
            params={**params, "watch": "true"},
            headers=self._headers(accept, None),
            timeout=limits,
            allow_redirects=False,
            proxy=self._connection.proxy or None,
        ) as response:
            if response.status != 200:
                content = await read_capped(response, LONGEST_ANSWER, self.allowance)
                self._parse(response, content, f"watch {path}")
                raise ApiError(response.status, "", f"watch {path}: no watch")
            async for line in lines(response.content, self.allowance):
                yield self._event(line, path)

    def _event(self, line: bytes, path: str) -> Json:
        event = parse(line)
        if not isinstance(event, dict):
            raise ApiError(0, "", f"watch {path} of {self.name}: an event is no JSON object")
        return mapping(event)  # pyright: ignore[reportUnknownArgumentType]

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            SSLProtocol.max_size = TLS_BUFFER
            connector = aiohttp.TCPConnector(
                ssl=self._connection.context(),
                limit=0,
                limit_per_host=0,
                keepalive_timeout=60,
                socket_factory=_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session

    def _drop_session(self) -> None:
        if self._session is not None:
            task = asyncio.get_running_loop().create_task(self._session.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._session = None

    def _headers(self, accept: str, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": self.agent}
        if self._connection.token:
            headers["Authorization"] = f"Bearer {self._connection.token}"
        if content_type:
            headers["Content-Type"] = content_type
        return headers

    def _parse(self, response: aiohttp.ClientResponse, content: bytes, what: str) -> Json:
        answer = parse(content)
        if response.status >= 300:
            status = mapping(answer)
            message = printable(status.get("message") or "")
            retry_after = None
            with contextlib.suppress(KeyError, ValueError):
                retry_after = max(0.0, float(response.headers["Retry-After"]))
            raise ApiError(
                response.status,
                printable(status.get("reason") or ""),
                f"{self.name}: {what}: {response.status} {message}".strip(),
                retry_after,
            )
        if not isinstance(answer, dict) or "kind" not in answer:
            raise ApiError(0, "", f"{self.name}: {what}: the answer is no Kubernetes object")
        return mapping(answer)  # pyright: ignore[reportUnknownArgumentType]


def _socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    # Linux alone has it.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(UNACKNOWLEDGED_SECONDS * 1000)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return made
