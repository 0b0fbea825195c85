"""What an update leaves as the member has it (KubeFed v0.10.0's rules, by kind).

An update replaces the whole object, so that what the member's own controllers have put into it
must be carried over: its addresses, its tokens, and everyone's annotations and finalizers.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from kubefed.api.kinds import NAMESPACE, SERVICE, SERVICE_ACCOUNT, TargetKind
from kubefed.controller.objects import Json, labels, mapping, metadata, sequence, spec
from kubefed.controller.transparent.marks import FEDERATE

if TYPE_CHECKING:
    from collections.abc import Mapping

ALWAYS = ("resourceVersion", "finalizers", "annotations")
_CLUSTER_IPS = ("clusterIP", "clusterIPs")


class RetainError(ValueError):
    """A template into which nothing can be carried over; the text says what is wrong."""


def retain(desired: Json, current: Json, target: TargetKind, *, replicas: bool) -> Json:
    """Give the desired object with the fields that stay as they are in the member.

    Args:
        desired: the object as the template has it; it is left as it is.
        current: the member's object.
        target: its kind.
        replicas: whether `spec.replicas` stays (`spec.retainReplicas` of the federated object).

    Raises:
        RetainError: the template has something else where such a field must go.
    """
    kept = dict(desired)
    kept["metadata"] = _metadata(metadata(desired), metadata(current))
    if target.kind == SERVICE.kind and target.group == SERVICE.group:
        kept["spec"] = _service(_checked_spec(desired), spec(current))
    elif (target.group, target.kind) == (NAMESPACE.group, NAMESPACE.kind):
        _keep_instruction(kept["metadata"], current)
    elif target.kind == SERVICE_ACCOUNT.kind and target.group == SERVICE_ACCOUNT.group:
        if not kept.get("secrets") and current.get("secrets"):
            kept["secrets"] = copy.deepcopy(current["secrets"])
    elif replicas and spec(current).get("replicas") is not None:
        kept["spec"] = _checked_spec(desired) | {"replicas": spec(current)["replicas"]}
    return kept


def needs_whole_object(target: TargetKind) -> bool:
    """Whether more than the metadata of a member's object must be known to update it.

    Any kind but those known not to scale may be retained by `retainReplicas`.
    """
    return (target.group, target.kind) not in _METADATA_IS_ENOUGH


_METADATA_IS_ENOUGH = frozenset(
    {
        ("", "ConfigMap"),
        ("", "Namespace"),
        ("", "Secret"),
        ("batch", "Job"),
        ("networking.k8s.io", "Ingress"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
    }
)


def _metadata(desired: Mapping[str, Any], current: Mapping[str, Any]) -> Json:
    kept = {name: value for name, value in desired.items() if name not in ALWAYS}
    kept |= {name: copy.deepcopy(current[name]) for name in ALWAYS if current.get(name)}
    return kept


def _keep_instruction(kept: Json, current: Json) -> None:
    """Keep the label that asks a cluster's own federation to federate a namespace.

    It is this cluster's business: no template brings it, none takes it away.
    """
    own = {name: value for name, value in labels(current).items() if name == FEDERATE}
    template = mapping(kept.get("labels"))
    kept["labels"] = {name: template[name] for name in template if name != FEDERATE} | own


def _checked_spec(desired: Json) -> Json:
    if not isinstance(desired.get("spec"), dict | None):
        raise RetainError("the template's spec is no object")
    return spec(desired)


def _service(desired: Json, current: Json) -> Json:
    ports = desired.get("ports")
    if not isinstance(ports, list | None) or not all(
        isinstance(port, dict) for port in sequence(ports)
    ):
        raise RetainError("the template's spec.ports is no list of objects")
    kept = dict(desired)
    check = current.get("healthCheckNodePort")
    if isinstance(check, int) and check > 0:
        kept["healthCheckNodePort"] = check
    for name in _CLUSTER_IPS:
        if current.get(name):
            kept[name] = copy.deepcopy(current[name])
    node_ports = {
        _port(port): port["nodePort"]
        for port in map(mapping, sequence(current.get("ports")))
        if port.get("nodePort")
    }
    if isinstance(desired.get("ports"), list):
        kept["ports"] = [
            mapping(port)
            | ({"nodePort": node_ports[_port(port)]} if _port(port) in node_ports else {})
            for port in desired["ports"]
        ]
    return kept


def _port(port: object) -> tuple[str, str, str]:
    entry = mapping(port)
    # The API server fills in TCP where the template names no protocol.
    return (
        str(entry.get("name") or ""),
        str(entry.get("protocol") or "TCP"),
        str(entry.get("port")),
    )
