"""What stays in a member that the operator has given up, and its end when the member comes back.

A deletion waits for every cluster that holds the object. Where one is gone for good, the
operator says so on its KubeFedCluster (annotation `kubefed.io/forget: "true"`): deletions end
without it, and what they left there is listed in the annotation `kubefed.io/left-behind` and
counted in the condition Offline. If the cluster does come back, exactly these objects are
deleted. Both annotations are ours; v0.10.0 knows neither, and waits for ever.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from kubefed.api.kinds import KUBEFED_CLUSTER, TargetKind
from kubefed.controller.client import MERGE_PATCH
from kubefed.controller.objects import Json, Key, notes, sequence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kubefed.controller.client import Client

FORGET_ANNOTATION = "kubefed.io/forget"
LEFT_BEHIND_ANNOTATION = "kubefed.io/left-behind"
# Annotations of one object may have 256 KiB together.
LARGEST = 200_000


def forgotten(cluster: Json) -> bool:
    """Whether the operator has said of a KubeFedCluster that nobody is to wait for it."""
    return notes(cluster).get(FORGET_ANNOTATION) == "true"


def item(target: TargetKind, key: Key) -> str:
    """Give how an object is listed.

    >>> item(TargetKind("apps", "v1", "Deployment", "deployments"), ("shop", "web"))
    'deployments.apps shop/web'
    """
    return f"{target.full_name} {key[0]}/{key[1]}"


def parse(cluster: Json) -> frozenset[str]:
    """Read what a KubeFedCluster lists; what is malformed lists nothing."""
    try:
        listed = json.loads(notes(cluster).get(LEFT_BEHIND_ANNOTATION) or "[]")
    except ValueError:
        return frozenset()
    return frozenset(str(each) for each in sequence(listed))


def render(items: Iterable[str]) -> str | None:
    """Give the annotation's value, None for none; cut where an annotation would be too long."""
    kept: list[str] = []
    size = 2
    for each in sorted(items):
        size += len(json.dumps(each)) + 1
        if size > LARGEST:
            break
        kept.append(each)
    return json.dumps(kept, separators=(",", ":")) if kept else None


def summary(items: frozenset[str]) -> str:
    """Say what was left, "" for nothing.

    >>> summary(frozenset({"configmaps shop/web"}))
    '; 1 deleted object was left there (configmaps shop/web)'
    """
    if not items:
        return ""
    some = ", ".join(sorted(items)[:3]) + (", ..." if len(items) > 3 else "")
    what = "1 deleted object was" if len(items) == 1 else f"{len(items)} deleted objects were"
    return f"; {what} left there ({some})"


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
            self._items[cluster] = self._written[cluster] = parse(obj)

    def drop(self, cluster: str) -> None:
        """Forget a cluster that is no member any more."""
        self._items.pop(cluster, None)
        self._written.pop(cluster, None)

    def of(self, cluster: str) -> frozenset[str]:
        """Give what was left in a cluster."""
        return self._items.get(cluster, frozenset())

    def any(self) -> bool:
        """Whether anything was left anywhere."""
        return any(self._items.values())

    async def add(self, clusters: Iterable[str], target: TargetKind, key: Key) -> None:
        """Note that an object stays in clusters, before anybody forgets it.

        Raises:
            ApiError: the host refused.
        """
        for cluster in clusters:
            self._items[cluster] = self.of(cluster) | {item(target, key)}
            await self._write(cluster)

    async def settle(self, cluster: str, target: TargetKind, key: Key) -> None:
        """Note that an object doesn't stay any more, or is wanted there again.

        Raises:
            ApiError: the host refused.
        """
        if item(target, key) in self.of(cluster):
            self._items[cluster] = self.of(cluster) - {item(target, key)}
            await self._write(cluster)

    async def _write(self, cluster: str) -> None:
        # Who waits here meanwhile is written with the next.
        async with self._lock:
            wanted = self.of(cluster)
            if cluster not in self._items or wanted == self._written.get(cluster):
                return
            await self._host.request(
                "PATCH",
                KUBEFED_CLUSTER.path(self._namespace, cluster),
                body={"metadata": {"annotations": {LEFT_BEHIND_ANNOTATION: render(wanted)}}},
                content_type=MERGE_PATCH,
            )
            self._written[cluster] = wanted
