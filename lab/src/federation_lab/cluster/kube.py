"""A small asynchronous Kubernetes client: what the kubelet and the proxy need, and no more.

aiohttp with the kubeconfig's token, since the generated client costs four times the memory that
both programs may use together.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Object = dict[str, Any]
Key = tuple[str, str]

MERGE_PATCH = "application/merge-patch+json"
REQUEST_SECONDS = 10.0
WATCH_SECONDS = 240
# The API server sends a bookmark a minute; silence for longer means that the connection is dead.
SILENCE_SECONDS = 100.0
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: the HTTP status.
        reason: Kubernetes' own word for it, such as ``NotFound``.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


# What a caller may retry: the server isn't there, or not yet, or too slow.
UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)


class ExpiredError(ApiError):
    """The resource version is too old to watch from; list again."""


@dataclasses.dataclass(frozen=True)
class Connection:
    """Where the API server is and how to be let in."""

    server: str
    token: str
    certificate_authority: str

    @classmethod
    def load(cls, path: Path) -> Connection:
        """Read a kubeconfig's current context; it must hold a token and the CA's data."""
        config: dict[str, Any] = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(cluster["server"].rstrip("/"), user["token"], authority)


class KubeApi:
    """Requests to one API server."""

    def __init__(self, connection: Connection, session: aiohttp.ClientSession) -> None:
        self._server = connection.server
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, connection: Connection) -> AsyncGenerator[KubeApi]:
        """Open a session; it is closed when the block is left."""
        context = ssl.create_default_context(cadata=connection.certificate_authority)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=64),
            headers={"Authorization": f"Bearer {connection.token}"},
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        ) as session:
            yield cls(connection, session)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send one request and give the answer's object.

        Raises:
            ApiError: the server refused.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else None
        async with self._session.request(
            method, self._server + path, data=data, params=params, headers=headers
        ) as response:
            await _check(response)
            return await response.json()

    async def get(self, path: str) -> Object | None:
        """Give an object, or None if it isn't there."""
        try:
            return await self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def patch(self, path: str, body: Object) -> Object:
        """Apply a JSON merge patch."""
        return await self.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def watch(
        self, path: str, version: str, params: Mapping[str, str]
    ) -> AsyncIterator[tuple[str, Object]]:
        """Give (type, object) of each event after ``version``, bookmarks among them.

        Raises:
            ExpiredError: ``version`` is too old.
            ApiError: the server ended the watch with another error.
        """
        query = {
            **params,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "resourceVersion": version,
        }
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_SECONDS, sock_read=SILENCE_SECONDS
        )
        async with self._session.get(
            self._server + path, params=query, timeout=timeout
        ) as response:
            await _check(response)
            buffer = b""
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _error(event["object"])
                    yield event["type"], event["object"]


class Store:
    """All objects of one kind, kept up to date by `follow`.

    Args:
        api: where they are.
        path: the collection's path, such as ``/api/v1/services``.
        changed: called with (event type, object) after each change has been stored; a list after
            a lost watch yields ``ADDED``, ``MODIFIED`` and ``DELETED`` for what differs.
        params: such as a field selector.
    """

    def __init__(
        self,
        api: KubeApi,
        path: str,
        changed: Callable[[str, Object], None],
        params: Mapping[str, str] | None = None,
    ) -> None:
        self.items: dict[Key, Object] = {}
        self.synced = asyncio.Event()
        self._api = api
        self._path = path
        self._changed = changed
        self._params = dict(params or {})

    async def follow(self) -> None:
        """List and watch for ever; what fails is tried again."""
        failures = 0
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                async for kind, item in self._api.watch(self._path, version, self._params):
                    failures = 0
                    version = item["metadata"]["resourceVersion"]
                    self._apply(kind, item)
            except ApiError as error:
                # Expired or refused, what is known may be wrong: list again.
                version = ""
                if not isinstance(error, ExpiredError):
                    logger.warning("cannot watch %s: %s", self._path, error)
            except UNREACHABLE as error:
                # It may come back with an emptied etcd, whose versions begin anew.
                version = ""
                logger.info("lost %s: %s", self._path, error or type(error).__name__)
            else:
                continue
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _list(self) -> str:
        answer = await self._api.request("GET", self._path, params=self._params)
        # Items of a list carry no kind; no one here needs it.
        found = {key_of(item): item for item in answer.get("items") or []}
        for key in [key for key in self.items if key not in found]:
            self._apply("DELETED", self.items[key])
        for key, item in found.items():
            known = self.items.get(key)
            if known is None:
                self._apply("ADDED", item)
            elif known["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                if known["metadata"]["uid"] != item["metadata"]["uid"]:
                    self._apply("DELETED", known)
                self._apply("MODIFIED", item)
        self.synced.set()
        return answer["metadata"]["resourceVersion"]

    def _apply(self, kind: str, item: Object) -> None:
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self.items.pop(key_of(item), None)
        else:
            self.items[key_of(item)] = item
        self._changed(kind, item)


def key_of(item: Object) -> Key:
    """Give (namespace, name)."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text()
    try:
        status = json.loads(text)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {"reason": response.reason or "", "message": text[:200]}
    raise _error({"code": response.status, **status})


def _error(status: Object) -> ApiError:
    code = int(status.get("code", 500))
    kind = ExpiredError if code == 410 else ApiError
    return kind(code, str(status.get("reason", "")), str(status.get("message", "")))


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(f"the kubeconfig has no entry named {name!r}")
