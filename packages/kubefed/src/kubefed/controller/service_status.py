"""FederatedServiceStatus: each cluster's status of an object, side by side in one object.

The older way of KubeFed v0.10.0 to collect status (its status controller): for types whose
FederatedTypeConfig names a `statusType` and has `statusCollection: Enabled`, while the feature
gate RawResourceStatusCollection is off. Every ready cluster has an entry, sorted by name.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from kubefed.controller.informer import FAILURES, Informer
from kubefed.controller.listing import Source
from kubefed.controller.objects import Json, Key, deleting, mapping, metadata, sequence, uid
from kubefed.controller.queue import RETRY, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubefed.api.kinds import TargetKind
    from kubefed.controller.context import Context
    from kubefed.controller.sync import TypeSync

log = logging.getLogger(__name__)


def entries(statuses: Mapping[str, Json]) -> list[Json]:
    """Give `clusterStatus`.

    Args:
        statuses: every ready cluster, and the object's status in it; empty for none.

    >>> entries({"b": {}, "a": {"loadBalancer": {}}})
    [{'clusterName': 'a', 'status': {'loadBalancer': {}}}, {'clusterName': 'b', 'status': {}}]
    """
    # The CRD wants a status; v0.10.0 leaves an empty one out, and is refused.
    return [{"clusterName": name, "status": statuses[name]} for name in sorted(statuses)]


def status_object(federated: Json, kind: TargetKind, listed: list[Json]) -> Json:
    """Give a new status object, which goes with its federated object."""
    meta = metadata(federated)
    owner = {
        "apiVersion": federated.get("apiVersion"),
        "kind": federated.get("kind"),
        "name": meta.get("name"),
        "uid": meta.get("uid"),
    }
    names = {name: meta[name] for name in ("name", "namespace") if name in meta}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": names | {"ownerReferences": [owner]},
        "clusterStatus": listed,
    }


class StatusGatherer:
    """Keeps the status objects of one type.

    Args:
        context: what all controllers share.
        sync: the type's controller, whose caches hold the members' status.
        kind: the kind of the status objects.
    """

    def __init__(self, context: Context, sync: TypeSync, kind: TargetKind) -> None:
        self._context = context
        self._sync = sync
        self._kind = kind
        scope = context.namespace if context.config.namespaced_scope else ""
        self._present = Informer(
            context.host, Source(kind, scope), lambda key, _before, _after: self._queue.add(key)
        )
        self._queue: WorkQueue[Key] = WorkQueue(
            kind.kind.lower(), self._handle, workers=4, metrics=context.metrics
        )

    async def run(self) -> None:
        """Gather until cancelled."""
        self._sync.listeners.append(self._queue.add)
        self._context.clusters.listeners.append(self._cluster_changed)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._present.run())
                await self._present.synced.wait()
                await self._sync.started.wait()
                self._cluster_changed("")
                group.create_task(self._queue.run())
        finally:
            self._sync.listeners.remove(self._queue.add)
            self._context.clusters.listeners.remove(self._cluster_changed)

    def _cluster_changed(self, _name: str) -> None:
        for key in self._sync.federated.store:
            self._queue.add(key)

    async def _handle(self, key: Key) -> float | None:
        federated = self._sync.federated.store.get(key)
        if federated is None or deleting(federated):
            # What is there goes with its owner.
            return None
        listed = entries(
            {
                name: mapping((self._sync.members.get(name, key) or {}).get("status"))
                for name, member in self._context.clusters.members.items()
                if member.track.ready
            }
        )
        try:
            await self._write(key, federated, listed)
        except FAILURES as error:
            log.warning("%s %s/%s: %s", self._kind.kind, *key, error)
            return RETRY
        return None

    async def _write(self, key: Key, federated: Json, listed: list[Json]) -> None:
        present = self._present.store.get(key)
        path = self._kind.path(key[0] or None)
        if present is None:
            body = status_object(federated, self._kind, listed)
            answer = await self._context.host.request("POST", path, body=body)
        elif sequence(present.get("clusterStatus")) != listed or _owner(present) != uid(federated):
            body = status_object(federated, self._kind, listed)
            body["metadata"] = metadata(present) | body["metadata"]
            answer = await self._context.host.request("PUT", f"{path}/{key[1]}", body=body)
        else:
            return
        self._present.learn(answer, own=True)


def _owner(obj: Json) -> str:
    owners = sequence(metadata(obj).get("ownerReferences"))
    return str(mapping(owners[0]).get("uid") or "") if owners else ""
