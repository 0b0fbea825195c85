"""The own cluster: federated Services of type LoadBalancer, and their ready endpoints.

List, watch for a minute, list again: a missed, doubled or late event, an expired version (410) or
a watch that broke all end in the same place, a fresh list. What is known stays until a list is
whole; when the API server is silent the data grows stale, and that is said, not acted upon.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from federation_dns.config import ConfigError
from federation_dns.core import Core
from federation_dns.kube import Access, read_kubeconfig
from federation_dns.objects import MANAGED, Object, ready_of, service_of

log = logging.getLogger(__name__)

_WATCH_SECONDS = 60
_MAX_OBJECT = 4 * 1024 * 1024
_MAX_LIST = 64 * 1024 * 1024
_PAGE = 500
_MOMENT = 0.05
_MOST_FAULTS = 20
# What passes by itself within so long is no operator's matter.
_LASTING = 15.0
_MEND = "see that its API server is up and reached from here"
_TOKEN = "replace the agent's token by the action rotate-credentials"  # noqa: S105
_RIGHTS = "give the agent's account its rights again by the action rotate-credentials"

ObjectKey = tuple[str, str]


class WatchError(Exception):
    """The API server's answer is of no use.

    Attributes:
        after: when to ask again.
        mend: what an operator can do.
    """

    def __init__(self, text: str, after: float | None = None, mend: str = _MEND):
        super().__init__(text)
        self.after = after
        self.mend = mend


@dataclass(slots=True)
class Kind:
    """One watched kind; `found` keeps of each object only what `reduce` makes of it.

    Attributes:
        trouble: why it is not read, `since` when, and the `mend`.
    """

    path: str
    selector: str
    reduce: Callable[[Object], Any]
    found: dict[ObjectKey, Any] = field(default_factory=dict[ObjectKey, Any])
    synced: bool = False
    trouble: str = "not read yet"
    since: float = float("inf")
    mend: str = _MEND

    @property
    def name(self) -> str:
        """As the API has it."""
        return self.path.rsplit("/", 1)[-1]


class Watcher:
    """Keeps the core told of the own cluster."""

    def __init__(self, kubeconfig: Path, core: Core, clock: Callable[[], float]):
        self._kubeconfig = kubeconfig
        self._core = core
        self._clock = clock
        self._access: Access | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closing: asyncio.Future[None] | None = None
        self._read_at = 0.0
        self._watching: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._well_at: float | None = None
        self._asked_at: float | None = None
        self.services = Kind("api/v1/services", f"{MANAGED}=true", service_of)
        self.slices = Kind("apis/discovery.k8s.io/v1/endpointslices", "", ready_of)

    async def run(self) -> None:
        """Watch both kinds and the API server's health, until cancelled."""
        self.services.since = self.slices.since = self._clock()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(self.services))
                group.create_task(self._follow(self.slices))
                group.create_task(self._health())
                group.create_task(self._telling())
        finally:
            if self._session is not None:
                await self._session.close()

    def notes(self) -> list[str]:
        """What is not well, in words."""
        return [
            f"own cluster, {kind.name}: {kind.trouble}"
            + (" (what was read last is kept)" if kind.synced else "")
            for kind in (self.services, self.slices)
            if kind.trouble
        ] + self._faults()

    def wrong(self) -> list[str]:
        """What an operator has to know: what is published is not what the cluster has."""
        now = self._clock()
        kinds = (self.services, self.slices)
        lasting = [k for k in kinds if k.trouble and now - k.since > _LASTING]
        if not lasting:
            return []
        names, first = " and ".join(k.name for k in lasting), lasting[0]
        kept = "what was read last stands" if first.synced else "nothing was read yet"
        return [
            f"{self._core.settings.region}: the agent cannot read {names} of its own cluster "
            f"({first.trouble}), {kept}: {first.mend}"
        ]

    def _faults(self) -> list[str]:
        said = [
            f"own cluster, {found.service.namespace}/{found.service.name}: {fault}"
            for _, found in sorted(self.services.found.items())
            if found is not None
            for fault in found.faults
        ]
        rest = len(said) - _MOST_FAULTS
        return [*said[:_MOST_FAULTS], *([f"and {rest} more of this kind"] if rest > 0 else [])]

    async def _follow(self, kind: Kind) -> None:
        delay = 0.5
        while True:
            try:
                version = await self._list(kind)
                delay = 0.5
                kind.trouble = ""
                await self._attend(kind, version)
                continue
            except WatchError as error:
                wait = delay if error.after is None else min(30.0, error.after)
                self._trouble(kind, str(error), error.mend)
            except ConfigError as error:
                wait = delay
                self._trouble(kind, str(error), _TOKEN)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                wait = delay
                self._trouble(kind, str(error) or type(error).__name__)
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                wait = delay
                self._trouble(kind, f"the API server's answer is malformed ({error})")
            delay = min(10.0, delay * 2)
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    def _trouble(self, kind: Kind, text: str, mend: str = _MEND) -> None:
        if text != kind.trouble:
            log.warning("own cluster, %s: %s", kind.path, text[:300])
        if not kind.trouble:
            kind.since = self._clock()
        kind.trouble, kind.mend = text[:300], mend

    async def _list(self, kind: Kind) -> str:
        """Read the whole list; what is known is replaced only by a whole one."""
        found: dict[ObjectKey, Any] = {}
        token, version = "", ""
        while True:
            query = {"limit": str(_PAGE), **({"continue": token} if token else {})}
            body = await self._get(kind, query)
            meta = body["metadata"]
            for item in body.get("items") or []:
                found[_key(item)] = kind.reduce(item)
            version, token = str(meta["resourceVersion"]), str(meta.get("continue") or "")
            if not token:
                break
        kind.found = found
        kind.synced = True
        self._changed.set()
        return version

    async def _get(self, kind: Kind, query: dict[str, str]) -> Object:
        session, access = self._open()
        if kind.selector:
            query["labelSelector"] = kind.selector
        timeout = aiohttp.ClientTimeout(total=30, sock_connect=3, sock_read=10)
        async with session.get(
            kind.path,
            params=query,
            headers=access.headers(),
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            self._check(response)
            raw = await response.content.read(_MAX_LIST + 1)
            parts = [raw]
            while raw and sum(map(len, parts)) <= _MAX_LIST:
                raw = await response.content.read(_MAX_LIST)
                parts.append(raw)
        if sum(map(len, parts)) > _MAX_LIST:
            raise WatchError("a list is too big")
        body: object = json.loads(b"".join(parts))
        if not isinstance(body, dict) or not str(body.get("kind", "")).endswith("List"):
            raise WatchError("the API server did not answer with a list")
        return body

    async def _attend(self, kind: Kind, version: str) -> None:
        """Watch until it ends, or until the kubeconfig was renewed.

        Closing a session does not wake who reads from it; the watch itself has to be ended.
        """
        task = asyncio.create_task(self._watch(kind, version))
        self._watching.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self._watching.discard(task)
            task.cancel()
        if not task.cancelled():
            task.result()

    async def _watch(self, kind: Kind, version: str) -> None:
        session, access = self._open()
        query = {
            "watch": "1",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
            "allowWatchBookmarks": "true",
            **({"labelSelector": kind.selector} if kind.selector else {}),
        }
        timeout = aiohttp.ClientTimeout(
            total=_WATCH_SECONDS + 30, sock_connect=3, sock_read=_WATCH_SECONDS + 15
        )
        async with session.get(
            kind.path,
            params=query,
            headers=access.headers(),
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            self._check(response)
            async for line in _lines(response):
                if not self._event(kind, json.loads(line)):
                    return

    def _event(self, kind: Kind, event: Object) -> bool:
        """Take one event; False: list anew."""
        what, item = event["type"], event["object"]
        if what == "BOOKMARK":
            return True
        if what == "ERROR":  # 410 Gone and its like
            return False
        if what == "DELETED":
            kind.found.pop(_key(item), None)
        else:
            kind.found[_key(item)] = kind.reduce(item)
        self._changed.set()
        return True

    async def _telling(self) -> None:
        """Tell the core, once for all the events of a moment."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_MOMENT)
            self._changed.clear()
            if self.services.synced and self.slices.synced:
                self._tell()

    def _tell(self) -> None:
        ready: dict[ObjectKey, int] = {}
        for (namespace, _), (name, count) in self.slices.found.items():
            ready[namespace, name] = ready.get((namespace, name), 0) + count
        self._core.take_own(
            replace(found.service, ready=ready.get(key, 0))
            for key, found in self.services.found.items()
            if found is not None
        )

    def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status == 200:
            return
        after = response.headers.get("Retry-After", "")
        wait = float(after) if after.isascii() and after.isdigit() else None
        if response.status == 401:
            self._read_at = 0.0  # the token may have been renewed
        mend = {401: _TOKEN, 403: _RIGHTS}.get(response.status, _MEND)
        raise WatchError(f"the API server answers {response.status} {response.reason}", wait, mend)

    def _open(self) -> tuple[aiohttp.ClientSession, Access]:
        """The session; the kubeconfig is read anew when it changed."""
        try:
            changed = self._kubeconfig.stat().st_mtime
        except OSError as error:
            raise ConfigError(f"the kubeconfig {self._kubeconfig} cannot be read") from error
        if self._access is None or self._session is None or changed != self._read_at:
            access = read_kubeconfig(self._kubeconfig)
            old, self._session = self._session, access.session()
            self._access, self._read_at = access, changed
            if old is not None:
                for task in self._watching:
                    task.cancel()
                self._closing = asyncio.ensure_future(old.close())
        return self._session, self._access

    async def _health(self) -> None:
        """Tell the core whether the own API server lives; it has the same hold as a region."""
        self._asked_at = self._clock()
        while True:
            now = self._clock()
            if await self._ready():
                self._well_at = self._clock()
                self._core.api = "healthy"
            elif (
                now - (self._well_at or self._asked_at) >= self._core.settings.holds.withdraw_after
            ):
                self._core.api = "lost"
            await asyncio.sleep(max(0.2, self._core.settings.holds.withdraw_after / 5))

    async def _ready(self) -> bool:
        try:
            session, access = self._open()
            timeout = aiohttp.ClientTimeout(total=2)
            async with session.get(
                "readyz", headers=access.headers(), timeout=timeout, allow_redirects=False
            ) as response:
                return response.status < 500  # a refused token is no dead API server
        except (aiohttp.ClientError, OSError, TimeoutError, ConfigError, RuntimeError):
            return False


def _key(item: Object) -> ObjectKey:
    return str(item["metadata"]["namespace"]), str(item["metadata"]["name"])


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length up to a bound (aiohttp's own reader stops at its buffer's size)."""
    rest = b""
    async for part in response.content.iter_any():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > _MAX_OBJECT:
            raise WatchError("an object in the watch is too big")
