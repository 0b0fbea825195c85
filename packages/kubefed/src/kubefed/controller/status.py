"""The status of a federated object: one Propagation condition, one entry a cluster.

Shapes of KubeFed v0.10.0's generic status: an entry without `status` is in order, a condition
without `reason` is True.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from kubefed.api.names import PROPAGATION_CONDITION, AggregateReason, PropagationStatus
from kubefed.controller.objects import Json, generation, mapping, sequence

if TYPE_CHECKING:
    from collections.abc import Mapping


# Of the 1.5 MiB that etcd takes, the template and everything else has the rest.
LONGEST_REMOTE = 768 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconcile came to.

    Attributes:
        reason: why nothing could be done at all; empty if it could.
        clusters: the clusters that the object concerns, and how it stands in each.
        remote: the member objects' own status by cluster; None if it isn't collected.
        updated: whether something was written to a member.
    """

    reason: AggregateReason = AggregateReason.SUCCESS
    clusters: Mapping[str, PropagationStatus] = dataclasses.field(
        default_factory=dict[str, PropagationStatus]
    )
    remote: Mapping[str, Any] | None = None
    updated: bool = False


def render(federated: Json, outcome: Outcome, now: str) -> Json | None:
    """Give the status to write, or None if what is there says the same.

    Args:
        federated: the federated object with its present status.
        outcome: what the reconcile came to.
        now: the time as RFC 3339 in UTC.
    """
    present = mapping(federated.get("status"))
    reason = outcome.reason or _reason(outcome)
    clusters_changed = _entries(present) != _wanted_entries(outcome)
    condition = _condition(present)
    state = "True" if reason == AggregateReason.SUCCESS else "False"
    transition = (
        condition.get("status") != state or (condition.get("reason") or "") != reason.value
    )
    same_generation = (present.get("observedGeneration") or 0) == generation(federated)
    if same_generation and not (clusters_changed or transition or outcome.updated):
        return None
    new: Json = {
        "type": PROPAGATION_CONDITION,
        "status": state,
        "lastUpdateTime": now,
        "lastTransitionTime": now if transition else condition.get("lastTransitionTime") or now,
    }
    if reason != AggregateReason.SUCCESS:
        new["reason"] = reason.value
    return {
        "observedGeneration": generation(federated),
        "conditions": [new],
        "clusters": [
            entry for _, entry in sorted(_wanted_entries(outcome).items(), key=lambda it: it[0])
        ],
    }


def bounded(remote: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    """Give the members' status without those too long for one object, and whose they were.

    All of them together must fit into what etcd takes, and none may crowd out the others.

    >>> bounded({"a": {"ready": 1}, "b": {"text": "x" * 10**6}})
    ({'a': {'ready': 1}}, ['b'])
    """
    share = LONGEST_REMOTE // max(1, len(remote))
    left_out = [name for name, value in remote.items() if len(json.dumps(value)) > share]
    return {name: value for name, value in remote.items() if name not in left_out}, left_out


def recoverable(outcome: Outcome) -> bool:
    """Whether trying again by itself can help any cluster."""
    return any(status.recoverable for status in outcome.clusters.values())


def _reason(outcome: Outcome) -> AggregateReason:
    if any(status != PropagationStatus.OK for status in outcome.clusters.values()):
        return AggregateReason.CHECK_CLUSTERS
    # A status that is collected and isn't there yet is something to look at, as upstream has it.
    if outcome.remote is not None and any(
        not outcome.remote.get(cluster) for cluster in outcome.clusters
    ):
        return AggregateReason.CHECK_CLUSTERS
    return AggregateReason.SUCCESS


def _condition(present: Json) -> Json:
    for condition in map(mapping, sequence(present.get("conditions"))):
        if condition.get("type") == PROPAGATION_CONDITION:
            return condition
    return {}


def _wanted_entries(outcome: Outcome) -> dict[str, Json]:
    entries: dict[str, Json] = {}
    for cluster, status in outcome.clusters.items():
        entry: Json = {"name": cluster}
        if status != PropagationStatus.OK:
            entry["status"] = status.value
        if outcome.remote is not None and outcome.remote.get(cluster):
            entry["remoteStatus"] = outcome.remote[cluster]
        entries[cluster] = entry
    return entries


def _entries(present: Json) -> dict[str, Json]:
    # Upstream's order is random, so the order says nothing.
    return {
        str(entry.get("name")): {name: value for name, value in entry.items() if value}
        for entry in map(mapping, sequence(present.get("clusters")))
    }
