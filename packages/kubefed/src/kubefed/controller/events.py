"""Events on federated objects, without ever holding up or outweighing the work itself.

Events are written behind the work's back, at most `PER_SECOND` on average, warnings first; what is
more is dropped and counted, warnings last. The same event on the same object is written once in a
while only.
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import logging
import uuid
from typing import TYPE_CHECKING

import aiohttp

from kubefed.api.kinds import TargetKind
from kubefed.api.names import CONTROLLER_NAME
from kubefed.controller.client import ApiError, NotLeaderError
from kubefed.controller.objects import Json, metadata

if TYPE_CHECKING:
    from kubefed.controller.client import Client
    from kubefed.controller.metrics import Metrics

log = logging.getLogger(__name__)
EVENT = TargetKind("", "v1", "Event", "events")
PER_SECOND = 5.0
WAITING = 200
# The same event on the same object within this time says nothing new.
SAME_SECONDS = 60.0
_REMEMBERED = 2000


class Events:
    """The writer of events.

    Args:
        client: the host cluster.
        metrics: counts what is dropped.
    """

    def __init__(self, client: Client, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics
        self._warnings: collections.deque[Json] = collections.deque()
        self._normal: collections.deque[Json] = collections.deque()
        self._wake = asyncio.Event()
        self._seen: collections.OrderedDict[tuple[str, str, str], float] = (
            collections.OrderedDict()
        )

    def normal(self, obj: Json, reason: str, message: str) -> None:
        """Note what went well; dropped first when there is too much."""
        self._add(obj, "Normal", reason, message)

    def warning(self, obj: Json, reason: str, message: str) -> None:
        """Note what somebody should look at."""
        self._add(obj, "Warning", reason, message)

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while waiting := self._warnings or self._normal:
                await self._write(waiting.popleft())
                await asyncio.sleep(1 / PER_SECOND)

    def _add(self, obj: Json, kind: str, reason: str, message: str) -> None:
        meta = metadata(obj)
        now = asyncio.get_running_loop().time()
        same = (str(meta.get("uid")), reason, message)
        if now - self._seen.get(same, -SAME_SECONDS) < SAME_SECONDS:
            return
        self._seen[same] = now
        self._seen.move_to_end(same)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        # Normal events leave half of the room to warnings.
        waiting = self._warnings if kind == "Warning" else self._normal
        most = WAITING if kind == "Warning" else WAITING // 2
        if len(self._warnings) + len(self._normal) >= most:
            self._metrics.events_dropped.inc()
            return
        waiting.append(_event(obj, kind, reason, message))
        self._wake.set()

    async def _write(self, event: Json) -> None:
        namespace = str(metadata(event)["namespace"])
        try:
            await self._client.request("POST", EVENT.path(namespace), body=event, timeout_s=5)
        except (ApiError, aiohttp.ClientError, OSError, NotLeaderError) as error:
            self._metrics.events_dropped.inc()
            log.debug("event not written: %s", error)


def _event(obj: Json, kind: str, reason: str, message: str) -> Json:
    meta = metadata(obj)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    namespace = meta.get("namespace") or "default"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{meta.get('name')}.{uuid.uuid4().hex[:16]}",
            "namespace": namespace,
        },
        "involvedObject": {
            "apiVersion": obj.get("apiVersion"),
            "kind": obj.get("kind"),
            "name": meta.get("name"),
            "namespace": meta.get("namespace"),
            "uid": meta.get("uid"),
            "resourceVersion": meta.get("resourceVersion"),
        },
        "type": kind,
        "reason": reason,
        "message": message[:1000],
        "source": {"component": CONTROLLER_NAME},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
