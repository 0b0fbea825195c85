"""What stays in a member that the operator has given up, and its end when the member comes back.

The host's KubeFedClusters list it (`kubefed.api.given_up`), and the condition Offline counts it.
If the cluster does come back, exactly these objects are deleted and struck off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kubefed.api import given_up
from kubefed.api.kinds import KUBEFED_CLUSTER, TargetKind
from kubefed.api.names import LEFT_BEHIND_ANNOTATION
from kubefed.controller import amend
from kubefed.controller.objects import Json, Key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kubefed.controller.client import Client


class LeftBehind:
    """What was left in the members; the KubeFedClusters hold it across restarts.

    Args:
        host: the host cluster.
        namespace: the federation's.
    """

    def __init__(self, host: Client, namespace: str) -> None:
        self._host = host
        self._namespace = namespace
        self._items: dict[str, frozenset[str]] = {}
        self._written: dict[str, frozenset[str]] = {}
        self._lock = asyncio.Lock()

    def load(self, cluster: str, obj: Json) -> None:
        """Read what a KubeFedCluster lists, when it is seen first."""
        if cluster not in self._items:
            self._items[cluster] = self._written[cluster] = given_up.left_behind(obj)

    def drop(self, cluster: str) -> None:
        """Forget a cluster that is no member any more."""
        self._items.pop(cluster, None)
        self._written.pop(cluster, None)

    def of(self, cluster: str) -> frozenset[str]:
        """Give what was left in a cluster."""
        return self._items.get(cluster, frozenset())

    def holders(self, target: TargetKind, key: Key) -> list[str]:
        """Give the clusters whose entries list an object, as known or as last written."""
        what = given_up.item(target, *key)
        return [name for name in self._items if self._lists(name, what)]

    def keys(self, target: TargetKind) -> set[Key]:
        """Give all listed objects of a kind, by their keys in the members."""
        books = [*self._items.values(), *self._written.values()]
        return {key for listed in books for key in given_up.keys(listed, target)}

    async def add(self, clusters: Iterable[str], target: TargetKind, key: Key) -> None:
        """Note that an object stays in clusters, before anybody forgets it.

        Raises:
            ApiError: the host refused.
        """
        for cluster in clusters:
            self._items[cluster] = self.of(cluster) | {given_up.item(target, *key)}
            await self._write(cluster)

    async def settle(self, cluster: str, target: TargetKind, key: Key) -> None:
        """Note that an object doesn't stay any more, or is wanted there again.

        Raises:
            ApiError: the host refused.
        """
        what = given_up.item(target, *key)
        if self._lists(cluster, what):
            self._items[cluster] = self.of(cluster) - {what}
            await self._write(cluster)

    def _lists(self, cluster: str, what: str) -> bool:
        return what in self.of(cluster) or what in self._written.get(cluster, ())

    async def _write(self, cluster: str) -> None:
        # Who waits here meanwhile is written with the next.
        async with self._lock:
            wanted = self.of(cluster)
            if cluster not in self._items or wanted == self._written.get(cluster):
                return
            path = KUBEFED_CLUSTER.path(self._namespace, cluster)
            entry = await self._host.request("GET", path)
            note = {"annotations": {LEFT_BEHIND_ANNOTATION: given_up.render(wanted)}}
            await amend.patch(self._host, path, entry, note)
            self._written[cluster] = wanted
