"""Deleting what a federation wrote in a cluster, where an operator asks for that."""

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from federation_interfaces.cluster import Cluster, ClusterError
from federation_interfaces.kubefed_member import FederatedKind

# In a host that is a member, what its users made carries the label too, and a mark of its own.
MANAGED = "kubefed.io/managed=true,kubefed.io/source!=true"
DELETE_SECONDS = 20.0


def delete_managed(
    cluster: Cluster,
    kinds: Iterable[FederatedKind],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Delete the federation's objects, namespaces last.

    Returns:
        How many were deleted.

    Raises:
        ClusterError: refused, unreachable, or more than one pass can take: call again.
    """
    end = clock() + DELETE_SECONDS
    deleted = 0
    for kind in sorted(kinds, key=lambda kind: (kind.plural == "namespaces", kind.plural)):
        for path in _managed(cluster, kind):
            if clock() > end:
                raise ClusterError(f"{deleted} objects deleted, more to go; it goes on by itself")
            deleted += cluster.delete(path)
    return deleted


def _managed(cluster: Cluster, kind: FederatedKind) -> list[str]:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    query = urlencode({"labelSelector": MANAGED})
    answer = cluster.request("GET", f"{root}/{kind.plural}?{query}")
    listed: list[dict[str, Any]] = answer.get("items") or []
    paths: list[str] = []
    for item in listed:
        place = f"/namespaces/{item['metadata']['namespace']}" if kind.namespaced else ""
        paths.append(f"{root}{place}/{kind.plural}/{item['metadata']['name']}")
    return paths
