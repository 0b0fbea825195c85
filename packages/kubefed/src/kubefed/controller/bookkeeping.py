"""What was done is written down after it was done, and never in its way.

A reconcile writes to the members first; its record (PropagatedVersion) and then its status follow
here, by few workers, so that under load the next object's members come before this one's books:
while many objects wait for theirs, books wait too, up to `HELD_SECONDS`.
In memory the record counts at once. If the process ends in between, the next one finds objects
without a record and puts them once more, which changes nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from kubefed.controller import status
from kubefed.controller.client import ApiError
from kubefed.controller.context import timestamp
from kubefed.controller.informer import FAILURES
from kubefed.controller.objects import Json, Key, generation, mapping, uid
from kubefed.controller.queue import RETRY, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubefed.api.kinds import FederatedType
    from kubefed.controller.context import Context
    from kubefed.controller.host_objects import HostObjects
    from kubefed.controller.informer import Informer
    from kubefed.controller.versions import Recorded

log = logging.getLogger(__name__)
WORKERS = 4
# How long books wait at most for objects that are yet to be carried to their members.
HELD_SECONDS = 2.0
LOOK_SECONDS = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class _Page:
    federated: Json
    recorded: Recorded | None
    outcome: status.Outcome
    since: float


class Bookkeeper:
    """Records and statuses of one type.

    Args:
        context: what all controllers share.
        kind: the type.
        cache: the federated objects.
        objects: writes to them.
        pressed: whether many objects wait to be carried to their members.
    """

    def __init__(
        self,
        context: Context,
        kind: FederatedType,
        cache: Informer,
        objects: HostObjects,
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._context = context
        self._kind = kind
        self._cache = cache
        self._objects = objects
        self._pressed = pressed
        self._pages: dict[Key, _Page] = {}
        self._queue: WorkQueue[Key] = WorkQueue(
            f"{kind.name} books", self._handle, workers=WORKERS
        )

    async def run(self) -> None:
        """Write until cancelled."""
        await self._queue.run()

    def note(
        self, key: Key, federated: Json, recorded: Recorded | None, outcome: status.Outcome
    ) -> None:
        """Have a record and a status written; the latest of an object replaces older ones.

        Args:
            key: the object.
            federated: the object as it was reconciled.
            recorded: what its clusters hold now, None if there is nothing to record.
            outcome: what the reconcile came to.
        """
        if recorded is not None:
            self._context.records.note(federated, self._kind, recorded)
        waiting = self._pages.get(key)
        if waiting is not None and uid(waiting.federated) != uid(federated):
            # Of a former object of this name.
            waiting = None
            del self._pages[key]
        if waiting is not None:
            updated = outcome.updated or waiting.outcome.updated
            outcome = dataclasses.replace(outcome, updated=updated)
        elif self._context.records.saved(key, self._kind) and self._says(federated, outcome):
            return
        since = time.monotonic() if waiting is None else waiting.since
        self._pages[key] = _Page(federated, recorded, outcome, since)
        # What a user just did is told before what befell everything.
        told = mapping(federated.get("status")).get("observedGeneration") == generation(federated)
        self._queue.add(key, patient=told)

    def drop(self, key: Key) -> None:
        """Write nothing more of an object that is going."""
        self._pages.pop(key, None)
        self._queue.forget(key)

    async def _handle(self, key: Key) -> float | None:
        await self._hold(key)
        page = self._pages.get(key)
        if page is None:
            return None
        try:
            if page.recorded is not None:
                await self._context.records.save(page.federated, self._kind, page.recorded)
            current = self._cache.store.get(key)
            if current is not None and uid(current) == uid(page.federated):
                # Of the generation that was reconciled, compared with the status as it is now.
                seen = page.federated | {"status": current.get("status")}
                await self._objects.write_status(seen, page.outcome, current)
        except FAILURES as error:
            if isinstance(error, ApiError) and error.conflict:
                # Somebody was faster.
                return RETRY
            log.warning("status of %s %s/%s: %s", self._kind.federated.kind, *key, error)
            return RETRY
        if self._pages.get(key) is page:
            del self._pages[key]
        return None

    async def _hold(self, key: Key) -> None:
        while (page := self._pages.get(key)) is not None and self._pressed():
            if time.monotonic() - page.since >= HELD_SECONDS:
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _says(self, federated: Json, outcome: status.Outcome) -> bool:
        return status.render(federated, outcome, timestamp()) is None
