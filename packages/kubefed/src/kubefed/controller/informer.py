"""List and watch of one kind in one cluster: a cache that is whole, and word of every change.

- The cache is replaced only by a list that was read to its end; while a new one is being read the
  old one answers.
- A watch that ends goes on where it was; one whose place is gone (410) starts with a new list.
- 429 is obeyed, failures wait longer and longer, with jitter.
- What our own writes were answered can be put in at once (`learn`), so that a cache never makes
  the controller do twice what it has just done. An answer may hold what somebody else changed
  meanwhile: unless the write excluded that, it is told as a change when the watch brings it.
- A list of nothing isn't believed while an object that was known is still answered, and all is
  listed anew now and then, so that a lost event is not lost for ever.
- What no API server can hold (names that would be paths, objects without end) isn't taken.
- A server whose versions went back (restored, or another one at this address) is believed, but
  nothing that was known of it before is. It would take a watch from a version that it has yet to
  reach, and be silent until then: before a watch that broke goes on, one object is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING

import aiohttp

from kubefed.controller import backoff, listing
from kubefed.controller.answers import TOO_LONG, printable
from kubefed.controller.client import METADATA_ONE, ApiError, MalformedError
from kubefed.controller.listing import MOST_OBJECTS, Source
from kubefed.controller.objects import (
    Json,
    Key,
    key_of,
    mapping,
    metadata,
    newer,
    resource_version,
    sound,
    uid,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kubefed.controller.client import Client

log = logging.getLogger(__name__)
PAGE = 500
LONGEST_RETRY = 30.0
# What a server may ask us to wait at most; its mend must not wait for its mistake.
LONGEST_ASKED = 120.0
SHORTEST_WATCH = 1.0
# A watch that ends so long before its time was broken off, if only by a server's shutdown.
_EARLY = 2.0
# How long a watch is trusted to have told everything.
RELIST_SECONDS = 600.0
# How API servers begin to say that a version is from the future.
_FUTURE = "Too large resource version"
FAILURES = (ApiError, aiohttp.ClientError, OSError, TimeoutError, MalformedError)


class Informer:
    """The cache of one kind in one cluster.

    Args:
        client: the cluster.
        source: what to keep.
        changed: called with the key, the object before and the object after, each None where
            there is none, after the cache has it.
        whole_again: called when the cache became whole, at first or after the kind was not
            served for a while.
        turn: awaited before a connection may be needed; None for at once.
    """

    def __init__(
        self,
        client: Client,
        source: Source,
        changed: Callable[[Key, Json | None, Json | None], None],
        whole_again: Callable[[], None] = lambda: None,
        turn: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.client = client
        self.source = source
        self.store: dict[Key, Json] = {}
        self.synced = asyncio.Event()
        # Set when it became whole, or when it is known that it doesn't at once.
        self.tried = asyncio.Event()
        self.error = ""
        self._changed = changed
        self._whole_again = whole_again
        self._turn = turn
        # What was told last of objects that `learn` replaced since.
        self._untold: dict[Key, Json | None] = {}
        self._version = ""
        # The latest version that a list or a watch had.
        self._reached = ""
        self._listed_at = float("-inf")
        self._kicked = asyncio.Event()
        # Whether the last watch ended before its time, so that the server may be another one.
        self._broken = False
        self._failures = 0
        self._gone = 0
        self._page = PAGE

    @property
    def whole(self) -> bool:
        """Whether the cache was complete once, and the cluster's kind is still served."""
        return self.synced.is_set()

    def kick(self) -> None:
        """Start the watch anew from where it is: the cluster was away and is back."""
        self._kicked.set()

    @property
    def reached(self) -> str:
        """The version up to which the cluster has told what changed."""
        return self._reached

    def learn(self, obj: Json, *, own: bool = False, asked_at: str | None = None) -> None:
        """Take in what the cluster answered, unless the cache is further already.

        Args:
            obj: the object as it is now.
            own: whether it differs from the cache's by our own write alone, since that named the
                version that it changed.
            asked_at: `reached` before it was asked for; None for the answer of a write.
        """
        slim = self._slim(obj)
        key = key_of(slim)
        known = self.store.get(key)
        version = resource_version(slim)
        if known is None and not newer(version, self._reached) and asked_at != self._reached:
            # It was told already, and so was its end.
            return
        if known is None or newer(version, resource_version(known)):
            if not own:
                self._untold.setdefault(key, known)
            self.store[key] = slim

    def unlearn(self, gone: Json, *, deleted: bool) -> None:
        """Take out what a write was answered to be gone; what took its place since stays.

        Args:
            gone: the object as it was before.
            deleted: whether there is no such object any more; else it lost its label, and may
                have got it back.
        """
        key = key_of(gone)
        known = self.store.get(key)
        if known is None or uid(known) != uid(gone):
            return
        if deleted or resource_version(known) == resource_version(gone):
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self.store.pop(key, None)
        self._untold.pop(key, None)

    def forget_place(self) -> None:
        """List anew: the server may be another one now."""
        self._listed_at = float("-inf")
        self.kick()

    async def run(self) -> None:
        """Keep the cache until cancelled."""
        while True:
            if self._kicked.is_set():
                self._kicked.clear()
                self._broken = True
            step = asyncio.create_task(self._step())
            kicked = asyncio.create_task(self._kicked.wait())
            try:
                await asyncio.wait({step, kicked}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                kicked.cancel()
                step.cancel()
                # Its failures are handled inside. To await it would take our own cancellation
                # for its.
                await asyncio.wait({step})

    async def _step(self) -> None:
        try:
            if self._turn is not None:
                await self._turn()
            if asyncio.get_running_loop().time() - self._listed_at >= RELIST_SECONDS:
                self._version = ""
            if self._version and self._broken:
                await self._look_again()
            if not self._version:
                await self._list()
            began, seconds = asyncio.get_running_loop().time(), self._watch_seconds()
            await self._watch(seconds)
            lasted = asyncio.get_running_loop().time() - began
            self._broken = lasted < seconds - _EARLY
            if lasted < SHORTEST_WATCH:
                # Who ends each watch at once is asked less and less often.
                raise ApiError(0, "", "the watch ended at once")
            self._failures = self._gone = 0
        except FAILURES as error:
            await self._failed(error)
        except Exception as error:
            # Whatever a server may hold, it ends neither the others' caches nor the process.
            log.exception("%s %s", self.client.name, self.source.path)
            self._version = ""
            await self._failed(error)

    async def _failed(self, error: Exception) -> None:
        self._broken = True
        if isinstance(error, ApiError) and error.gone:
            self._version = ""
            self._gone += 1
            if self._gone > 1:
                # Who says so again and again is asked less and less often.
                await asyncio.sleep(_pause(self._gone - 1))
            return
        if str(error).find(_FUTURE) >= 0:
            self._version = ""
        self._failures += 1
        self.tried.set()
        self.error = str(error) or type(error).__name__
        pause = _pause(self._failures)
        if isinstance(error, ApiError):
            if error.reason == TOO_LONG:
                self._page = max(1, self._page // 4)
            pause = max(pause, min(error.retry_after or 0.0, LONGEST_ASKED))
            if error.not_found:
                # The kind is no longer served here (its CRD is gone): nothing of it is known.
                self._version = ""
                self.synced.clear()
        log.debug("%s %s: %s", self.client.name, self.source.path, self.error)
        await asyncio.sleep(pause)

    async def _list(self) -> None:
        found, version = await listing.whole(self.client, self.source, self._page, self._kept)
        if self.store and not found:
            await listing.doubt(self.client, self.source, self.store)
        self._replace(found, version)
        # Spread, so that not all caches are listed at the same time.
        spread = RELIST_SECONDS / 4 * random.random()  # noqa: S311
        self._listed_at = asyncio.get_running_loop().time() - spread

    def _kept(self, item: Json) -> Json | None:
        """Give what is kept of an object that was listed, None for nothing."""
        if not self._sound(item):
            return None
        known = self.store.get(key_of(item))
        # What is known already isn't kept twice.
        return known if known and _same(known, item) else self._slim(item)

    def _sound(self, obj: Json) -> bool:
        if sound(obj):
            return True
        name = printable(key_of(obj), 100)
        log.warning("%s %s: not taken for an object: %s", self.client.name, self.source.path, name)
        return False

    async def _look_again(self) -> None:
        """Give up the place of the watch where another history began, or another cluster.

        Told by a version before what was reached, or by an object whose UID isn't the known one:
        an emptied host that was filled again may be further than the old one was.
        """
        first, version = await listing.first(self.client, self.source)
        known = self.store.get(key_of(first)) if first else None
        same = uid(known) == uid(first) if known and first else not (first or self.store)
        if newer(self._reached, version) or not same:
            self._version = ""

    def _replace(self, found: dict[Key, Json], version: str) -> None:
        before, self._version = self.store, version
        if self._reached and newer(self._reached, version):
            # Restored from a backup, or another server: old versions say nothing about new ones.
            log.warning("%s %s: its versions went back", self.client.name, self.source.path)
            learnt: dict[Key, Json] = {}
        else:
            learnt = before
        self._reached = version
        # What was learnt from a write after the list was made is newer than the list.
        for key, obj in learnt.items():
            listed = found.get(key)
            if newer(resource_version(obj), version) or (
                listed is not None and newer(resource_version(obj), resource_version(listed))
            ):
                found[key] = obj
        self.store = found
        if not self.synced.is_set():
            self.synced.set()
            self.tried.set()
            self._whole_again()
        self.error = ""
        for key in before.keys() - found.keys():
            self._untold.pop(key, None)
            self._changed(key, before[key], None)
        for key, obj in found.items():
            self._tell(key, before.get(key), obj)

    async def _watch(self, seconds: int) -> None:
        params = {
            **self.source.params,
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        accept = METADATA_ONE if self.source.metadata_only else "application/json"
        stream = self.client.watch(self.source.path, params=params, accept=accept)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                kind = str(event.get("type") or "")
                if kind != "ERROR":
                    self._failures = self._gone = 0
                self.take(kind, mapping(event.get("object")))

    def _watch_seconds(self) -> int:
        left = self._listed_at + RELIST_SECONDS - asyncio.get_running_loop().time()
        return max(1, min(random.randint(300, 600), int(left) + 1))  # noqa: S311

    def take(self, kind: str, obj: Json) -> None:
        """Take in one event of the watch.

        Raises:
            ApiError: it says that the watch failed.
        """
        if kind == "ERROR":
            code = obj.get("code")
            raise ApiError(
                code if isinstance(code, int) else 0,
                printable(obj.get("reason") or ""),
                printable(obj.get("message") or kind),
            )
        if kind != "BOOKMARK" and not self._sound(obj):
            return
        version = resource_version(obj)
        if version:
            self._version = self._reached = version
        if kind not in ("ADDED", "MODIFIED", "DELETED"):
            return
        key = key_of(obj)
        known = self.store.get(key)
        if known is None and len(self.store) > MOST_OBJECTS:
            raise ApiError(0, "", f"{self.source.path} of {self.client.name}: no end of it")
        if known is not None and newer(resource_version(known), version):
            return
        if kind == "DELETED":
            self._drop(key)
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


def _pause(attempt: int) -> float:
    jitter = random.random()  # noqa: S311 - spreads load, guards nothing
    return backoff.delay(attempt, first=0.25, longest=LONGEST_RETRY, jitter=jitter)


def _same(known: Json, obj: Json) -> bool:
    return uid(known) == uid(obj) and resource_version(known) == resource_version(obj)
