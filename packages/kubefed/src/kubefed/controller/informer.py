"""List and watch of one kind in one cluster: a cache that is whole, and word of every change.

- The cache is replaced only by a list that was read to its end; while a new one is being read the
  old one answers.
- A watch that ends goes on where it was; one whose place is gone (410) starts with a new list.
- 429 is obeyed, failures wait longer and longer, with jitter.
- What our own writes were answered can be put in at once (`learn`), so that a cache never makes
  the controller do twice what it has just done. An answer may hold what somebody else changed
  meanwhile: unless the write excluded that, it is told as a change when the watch brings it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
from typing import TYPE_CHECKING

import aiohttp

from kubefed.controller import backoff
from kubefed.controller.client import METADATA_LIST, METADATA_ONE, ApiError, MalformedError
from kubefed.controller.objects import (
    Json,
    Key,
    key_of,
    mapping,
    metadata,
    newer,
    resource_version,
    sequence,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubefed.api.kinds import TargetKind
    from kubefed.controller.client import Client

log = logging.getLogger(__name__)
PAGE = 500
LONGEST_RETRY = 30.0
SHORTEST_WATCH = 1.0
FAILURES = (ApiError, aiohttp.ClientError, OSError, TimeoutError, MalformedError)


@dataclasses.dataclass(frozen=True)
class Source:
    """What an informer lists and watches.

    Attributes:
        kind: the kind.
        namespace: one namespace, "" for all.
        selector: a label selector.
        metadata_only: whether only `metadata` is asked for.
        slim: drops what need not be kept of an object, before it is kept.
    """

    kind: TargetKind
    namespace: str = ""
    selector: str = ""
    metadata_only: bool = False
    slim: Callable[[Json], Json] | None = None

    @property
    def path(self) -> str:
        """The URL path of the collection."""
        return self.kind.path(self.namespace or None)


class Informer:
    """The cache of one kind in one cluster.

    Args:
        client: the cluster.
        source: what to keep.
        changed: called with the key, the object before and the object after, each None where
            there is none, after the cache has it.
        whole_again: called when the cache became whole, at first or after the kind was not
            served for a while.
    """

    def __init__(
        self,
        client: Client,
        source: Source,
        changed: Callable[[Key, Json | None, Json | None], None],
        whole_again: Callable[[], None] = lambda: None,
    ) -> None:
        self.client = client
        self.source = source
        self.store: dict[Key, Json] = {}
        self.synced = asyncio.Event()
        self.error = ""
        self._changed = changed
        self._whole_again = whole_again
        # What was told last of objects that `learn` replaced since.
        self._untold: dict[Key, Json | None] = {}
        self._version = ""
        self._kicked = asyncio.Event()
        self._failures = 0

    @property
    def whole(self) -> bool:
        """Whether the cache was complete once, and the cluster's kind is still served."""
        return self.synced.is_set()

    def kick(self) -> None:
        """Start the watch anew from where it is: the cluster was away and is back."""
        self._kicked.set()

    def learn(self, obj: Json, *, own: bool = False) -> None:
        """Take in what the cluster answered, unless the cache is further already.

        Args:
            obj: the object as it is now.
            own: whether it differs from the cache's by our own write alone, since that named the
                version that it changed.
        """
        slim = self._slim(obj)
        key = key_of(slim)
        known = self.store.get(key)
        if known is None or newer(resource_version(slim), resource_version(known)):
            if not own:
                self._untold.setdefault(key, known)
            self.store[key] = slim

    def unlearn(self, key: Key) -> None:
        """Take out what a delete was answered to be gone."""
        self.store.pop(key, None)
        self._untold.pop(key, None)

    async def run(self) -> None:
        """Keep the cache until cancelled."""
        while True:
            self._kicked.clear()
            step = asyncio.create_task(self._step())
            kicked = asyncio.create_task(self._kicked.wait())
            try:
                await asyncio.wait({step, kicked}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                kicked.cancel()
                if not step.done():
                    step.cancel()
                # Its failures are handled inside; what is left is its cancellation.
                with contextlib.suppress(asyncio.CancelledError):
                    await step

    async def _step(self) -> None:
        try:
            if not self._version:
                await self._list()
            began = asyncio.get_running_loop().time()
            await self._watch()
            if asyncio.get_running_loop().time() - began < SHORTEST_WATCH:
                # Who ends each watch at once is asked less and less often.
                raise ApiError(0, "", "the watch ended at once")
            self._failures = 0
        except FAILURES as error:
            await self._failed(error)

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, ApiError) and error.gone:
            self._version = ""
            return
        self._failures += 1
        self.error = str(error) or type(error).__name__
        pause = backoff.delay(
            self._failures,
            first=0.25,
            longest=LONGEST_RETRY,
            jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
        )
        if isinstance(error, ApiError):
            pause = max(pause, error.retry_after or 0.0)
            if error.not_found:
                # The kind is no longer served here (its CRD is gone): nothing of it is known.
                self._version = ""
                self.synced.clear()
        log.debug("%s %s: %s", self.client.name, self.source.path, self.error)
        await asyncio.sleep(pause)

    def _params(self) -> dict[str, str]:
        return {"labelSelector": self.source.selector} if self.source.selector else {}

    async def _list(self) -> None:
        found: dict[Key, Json] = {}
        params = {**self._params(), "limit": str(PAGE)}
        accept = METADATA_LIST if self.source.metadata_only else "application/json"
        while True:
            page = await self.client.request(
                "GET", self.source.path, params=params, accept=accept, timeout_s=60
            )
            items, meta = page.get("items"), metadata(page)
            if not isinstance(items, list | None) or not meta.get("resourceVersion"):
                raise ApiError(0, "", f"{self.source.path} of {self.client.name}: no list")
            for item in map(mapping, sequence(items)):
                found[key_of(item)] = self._slim(item)
            if not meta.get("continue"):
                break
            params["continue"] = str(meta["continue"])
        self._replace(found, str(meta["resourceVersion"]))

    def _replace(self, found: dict[Key, Json], version: str) -> None:
        before, self._version = self.store, version
        # What was learnt from a write after the list was made is newer than the list.
        for key, obj in before.items():
            listed = found.get(key)
            if newer(resource_version(obj), version) or (
                listed is not None and newer(resource_version(obj), resource_version(listed))
            ):
                found[key] = obj
        self.store = found
        if not self.synced.is_set():
            self.synced.set()
            self._whole_again()
        self.error = ""
        for key in before.keys() - found.keys():
            self._untold.pop(key, None)
            self._changed(key, before[key], None)
        for key, obj in found.items():
            self._tell(key, before.get(key), obj)

    async def _watch(self) -> None:
        params = {
            **self._params(),
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(300, 600)),  # noqa: S311
        }
        accept = METADATA_ONE if self.source.metadata_only else "application/json"
        stream = self.client.watch(self.source.path, params=params, accept=accept)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                self._failures = 0
                self.take(str(event.get("type") or ""), mapping(event.get("object")))

    def take(self, kind: str, obj: Json) -> None:
        """Take in one event of the watch.

        Raises:
            ApiError: it says that the watch failed.
        """
        if kind == "ERROR":
            code = int(obj.get("code") or 0)
            raise ApiError(code, str(obj.get("reason") or ""), str(obj.get("message") or kind))
        version = resource_version(obj)
        if version:
            self._version = version
        if kind not in ("ADDED", "MODIFIED", "DELETED"):
            return
        key = key_of(obj)
        if not key[1]:
            raise ApiError(0, "", f"{self.source.path}: an event without a name")
        known = self.store.get(key)
        if known is not None and newer(resource_version(known), version):
            return
        if kind == "DELETED":
            self.unlearn(key)
            self._changed(key, known, None)
            return
        slim = self._slim(obj)
        self.store[key] = slim
        self._tell(key, known, slim)

    def _tell(self, key: Key, known: Json | None, obj: Json) -> None:
        told = key not in self._untold
        # The answer of our own write is no news, but what else was in it is.
        if told and known is not None and resource_version(known) == resource_version(obj):
            return
        self._changed(key, self._untold.pop(key, known), obj)

    def _slim(self, obj: Json) -> Json:
        metadata(obj).pop("managedFields", None)
        return self.source.slim(obj) if self.source.slim else obj
