"""Which namespaces and which plain objects are federated as they are (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubefed import federate
from kubefed.api.names import (
    GUARDED_NAMESPACES,
    IGNORED_NAMESPACES,
    MANAGED_LABEL,
    UNMANAGED,
)
from kubefed.controller.objects import Json, deleting, labels, managed, metadata, notes, uid
from kubefed.controller.transparent import marks

if TYPE_CHECKING:
    from kubefed.api.kinds import TargetKind

_HELM_RELEASE = "helm.sh/release.v1"
_HELM_OWNER = "owner"
# Written every few seconds by the program that holds it.
LOCK = "control-plane.alpha.kubernetes.io/leader"


def namespace_refused(name: str, federation: str) -> str:
    """Say why a namespace is not federated although it asks; "" if it is.

    Args:
        name: the namespace.
        federation: the federation's own.
    """
    if name == federation:
        return "it is the federation's own namespace"
    if name in IGNORED_NAMESPACES | GUARDED_NAMESPACES or name.startswith("kube-"):
        return "it is a namespace of the system"
    return ""


def kind_excluded(target: TargetKind) -> bool:
    """Whether the objects of a kind belong to one cluster, whoever federates the kind."""
    group_kind = (target.group, target.kind)
    return not target.namespaced or group_kind in federate.LEFT_OUT or group_kind == ("", "Pod")


def object_excluded(obj: Json) -> str:
    """Say why a plain object is not federated, its own word included; "" if it is.

    Args:
        obj: the object, with apiVersion and kind.
    """
    if marks.kept_out(obj):
        return f'the annotation {marks.FEDERATE}: "false" keeps it out'
    if labels(obj).get(MANAGED_LABEL) == UNMANAGED:
        return f'the label {MANAGED_LABEL}: "{UNMANAGED}" keeps it out'
    if not metadata(obj).get("name"):
        return "it has no name"
    if reason := federate.skip_reason(obj):
        return reason
    if obj.get("kind") == "Secret" and _of_helm(obj):
        return "it is Helm's record of a release in this cluster"
    if obj.get("kind") == "ConfigMap" and (_of_helm(obj) or LOCK in notes(obj)):
        return "a program of this cluster keeps its own state in it"
    return ""


def is_copy(obj: Json, federated: Json | None, target: TargetKind) -> bool:
    """Whether a plain object in the host is what the federation has put there.

    It carries the label, not that of a source, and no federated object says that it is kept for
    this very object.

    Args:
        obj: the plain object.
        federated: the federated object of its name, None if there is none.
        target: its kind.
    """
    if marks.SOURCE in labels(obj):
        return False
    return managed(obj) and not (
        federated is not None and marks.source_uid(federated, target) == uid(obj)
    )


def leaving(obj: Json | None) -> bool:
    """Whether a plain object is gone or going."""
    return obj is None or deleting(obj)


def _of_helm(obj: Json) -> bool:
    if obj.get("type") == _HELM_RELEASE:
        return True
    # Helm's other driver, and version 2: a release is known by its labels.
    found = labels(obj)
    owner = found.get(_HELM_OWNER, found.get("OWNER", "")).lower()
    return owner in ("helm", "tiller")
