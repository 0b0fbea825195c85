"""How a plain object stands in all clusters, in one annotation (pure).

Not in its status: that belongs to the host's own controllers, which write Deployments' replicas,
Jobs' pods and Services' addresses of the host cluster into it, member or not. A second writer
would be undone at once, and undo.

The annotation is written by way of the status subresource where the API server lets annotations
pass there (the kinds of Kubernetes itself do): that takes no right over the spec, and a Deployment
doesn't count it as a change (its generation stays).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kubefed.api.kinds import DEPLOYMENT, INGRESS, JOB, REPLICA_SET, SERVICE, TargetKind
from kubefed.api.names import PROPAGATION_CONDITION
from kubefed.controller.objects import Json, generation, mapping, sequence
from kubefed.controller.objects import notes as notes_of
from kubefed.controller.transparent.marks import SUMMARY

if TYPE_CHECKING:
    from collections.abc import Mapping

# The name of the host's own numbers where it is no member; no cluster can have it.
HOST = "(host)"
_ADDRESSES = "loadBalancer"
_REPLICAS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    (DEPLOYMENT.group, DEPLOYMENT.kind): _REPLICAS,
    (REPLICA_SET.group, REPLICA_SET.kind): ("replicas", "readyReplicas", "availableReplicas"),
    (JOB.group, JOB.kind): ("active", "succeeded", "failed"),
    (SERVICE.group, SERVICE.kind): (_ADDRESSES,),
    (INGRESS.group, INGRESS.kind): (_ADDRESSES,),
}


def status_fields(target: TargetKind) -> tuple[str, ...]:
    """Give the fields of a kind's status that are folded, and so must be kept of each copy."""
    return _FIELDS.get((target.group, target.kind), ())


def subresource(target: TargetKind) -> str:
    """Give the subresource by which the annotation is written, as the end of a path."""
    # Custom kinds take nothing but the status there.
    return "/status" if status_fields(target) else ""


def summary(
    target: TargetKind, source: Json, federated: Json, statuses: Mapping[str, Json]
) -> str | None:
    """Give the annotation's value; None if there is nothing (yet) to say.

    Args:
        target: the kind.
        source: the plain object.
        federated: the federated object that is kept for it.
        statuses: the status of each cluster's object, of those that answer.
    """
    status = mapping(federated.get("status"))
    if not isinstance(source.get("status"), dict):
        return None
    if status.get("observedGeneration") != generation(federated):
        # About to change; what was true before isn't told as true now.
        return None
    clusters: dict[str, Json] = {}
    for entry in map(mapping, sequence(status.get("clusters"))):
        found = {"propagation": entry["status"]} if entry.get("status") else {}
        clusters[str(entry.get("name"))] = found
    fields = status_fields(target)
    sums: dict[str, int] = {}
    for name, seen in statuses.items():
        if name not in clusters and name != HOST:
            continue
        counts = {field: seen[field] for field in fields if type(seen.get(field)) is int}
        for field, value in counts.items():
            sums[field] = sums.get(field, 0) + value
        if _ADDRESSES in fields and (addresses := _addresses(seen)):
            counts["addresses"] = addresses
        clusters[name] = clusters.get(name, {}) | counts
    said = _condition(status) | {"clusters": clusters} | sums
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def change(source: Json, text: str | None) -> Json | None:
    """Give the merge patch of a plain object that says a summary; None if it says so."""
    if notes_of(source).get(SUMMARY) == text:
        return None
    return {"metadata": {"annotations": {SUMMARY: text}}}


def _condition(status: Json) -> Json:
    for condition in map(mapping, sequence(status.get("conditions"))):
        if condition.get("type") == PROPAGATION_CONDITION:
            said: Json = {"propagated": condition.get("status") == "True"}
            return said | ({"reason": condition["reason"]} if condition.get("reason") else {})
    return {"propagated": False}


def _addresses(status: Json) -> list[str]:
    ingress = sequence(mapping(status.get(_ADDRESSES)).get("ingress"))
    return sorted(
        str(point.get("ip") or point.get("hostname"))
        for point in map(mapping, ingress)
        if point.get("ip") or point.get("hostname")
    )
