"""What differs in one cluster: `spec.overrides` of a federated object.

Rules of KubeFed v0.10.0 (its user guide, "Overrides"): JSON patch with add, remove and replace
(the default); a cluster once, a path once a cluster; the object's identity can't be overridden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from kubefed.controller import jsonpatch
from kubefed.controller.objects import Json, mapping, sequence, spec

if TYPE_CHECKING:
    from collections.abc import Sequence

FORBIDDEN_PATHS = frozenset(
    {"/metadata/namespace", "/metadata/name", "/metadata/generateName", "/kind"}
)
OPERATIONS = frozenset({"add", "remove", "replace"})
DEFAULT_OPERATION = "replace"

# (op, path, value)
Change: TypeAlias = tuple[str, str, Any]
# By cluster, in the order of the object.
Overrides: TypeAlias = dict[str, list[Change]]


class OverrideError(ValueError):
    """Overrides that can't be used; the text says which and why."""


def parse(federated: Json) -> Overrides:
    """Read `spec.overrides`.

    Raises:
        OverrideError: a cluster or a path stands twice, or a path or operation isn't allowed.
    """
    overrides: Overrides = {}
    for item in map(mapping, sequence(spec(federated).get("overrides"))):
        cluster = str(item.get("clusterName") or "")
        if cluster in overrides:
            raise OverrideError(f"cluster {cluster!r} appears more than once in overrides")
        overrides[cluster] = _changes(cluster, sequence(item.get("clusterOverrides")))
    return overrides


def apply(obj: Json, changes: Sequence[Change]) -> Json:
    """Give a copy of an object with one cluster's overrides applied.

    Raises:
        OverrideError: a change needs what the object doesn't have.
    """
    try:
        return jsonpatch.apply(obj, changes)
    except jsonpatch.PatchError as error:
        raise OverrideError(str(error)) from error


def _changes(cluster: str, items: Sequence[object]) -> list[Change]:
    changes: list[Change] = []
    seen: set[str] = set()
    for item in map(mapping, items):
        path = str(item.get("path") or "")
        op = str(item.get("op") or DEFAULT_OPERATION)
        if path in FORBIDDEN_PATHS:
            raise OverrideError(f"{path} of cluster {cluster!r} can't be overridden")
        if path in seen:
            raise OverrideError(f"path {path!r} appears more than once for cluster {cluster!r}")
        if op not in OPERATIONS:
            raise OverrideError(f"operation {op!r} of cluster {cluster!r} isn't supported")
        seen.add(path)
        changes.append((op, path, item.get("value")))
    return changes
