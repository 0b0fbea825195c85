"""What a KubeFedCluster says of a member that is gone for good. Pure.

A deletion waits for every cluster that holds the object. Where one is gone for good, the operator
says so on its KubeFedCluster (annotation `kubefed.io/forget: "true"`): deletions end without it,
and what they left there is listed in the annotation `kubefed.io/left-behind`. Both annotations are
ours; v0.10.0 knows neither, and waits for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kubefed.api.kinds import TargetKind
from kubefed.api.names import FORGET_ANNOTATION, LEFT_BEHIND_ANNOTATION

# Annotations of one object may have 256 KiB together.
LARGEST = 200_000


def forgotten(cluster: Mapping[str, Any]) -> bool:
    """Whether the operator has said of a KubeFedCluster that nobody is to wait for it."""
    return _annotations(cluster).get(FORGET_ANNOTATION) == "true"


def left_behind(cluster: Mapping[str, Any]) -> frozenset[str]:
    """Read what a KubeFedCluster lists; what is malformed lists nothing."""
    try:
        listed = json.loads(_annotations(cluster).get(LEFT_BEHIND_ANNOTATION) or "[]")
    except ValueError:
        return frozenset()
    return frozenset(str(each) for each in listed) if isinstance(listed, list) else frozenset()


def item(target: TargetKind, namespace: str, name: str) -> str:
    """Give how an object is listed.

    >>> item(TargetKind("apps", "v1", "Deployment", "deployments"), "shop", "web")
    'deployments.apps shop/web'
    """
    return f"{target.full_name} {namespace}/{name}"


def keys(items: Iterable[str], target: TargetKind) -> set[tuple[str, str]]:
    """Give namespace and name of the listed objects of a kind.

    >>> keys(["configmaps shop/web", "namespaces /shop"], TargetKind("", "v1", "Namespace",
    ...      "namespaces", namespaced=False))
    {('', 'shop')}
    """
    of_kind = (each.partition(" ") for each in items)
    places = (place.partition("/") for kind, _, place in of_kind if kind == target.full_name)
    return {(namespace, name) for namespace, _, name in places}


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


def _annotations(cluster: Mapping[str, Any]) -> Mapping[str, str]:
    return (cluster.get("metadata") or {}).get("annotations") or {}
