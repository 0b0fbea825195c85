"""What a ReplicaSchedulingPreference reads of the members and writes into a federated object."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from kubefed.controller.objects import Json, mapping, sequence, spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPLICAS_PATH = "/spec/replicas"
# A pod that finds no node is only believed to find none after this time.
UNSCHEDULABLE_SECONDS = 60.0
_EXPRESSIONS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",  # codespell:ignore
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """What a cluster runs.

    Attributes:
        running: replicas that run.
        capacity: the most that it has room for, None if nothing says that it lacks room.
        unsure: whether a pod waits for a node, but not long enough to conclude anything.
    """

    running: int
    capacity: int | None = None
    unsure: bool = False


def settled(workload: Json) -> int | None:
    """Give the replicas of a workload if all that are wanted are ready, else None."""
    wanted = spec(workload).get("replicas")
    ready = mapping(workload.get("status")).get("readyReplicas") or 0
    return int(ready) if wanted == ready else None


def from_pods(workload: Json, pods: Sequence[Json], now: datetime.datetime) -> Observed:
    """Count what runs and what finds no room, as KubeFed v0.10.0 does.

    A pod counts as running when its phase is Running and it has a Ready condition, whatever that
    condition says.
    """
    running = unschedulable = 0
    unsure = False
    for pod in pods:
        status = mapping(pod.get("status"))
        found = {
            item.get("type"): item for item in map(mapping, sequence(status.get("conditions")))
        }
        if status.get("phase") == "Running" and "Ready" in found:
            running += 1
        scheduled = mapping(found.get("PodScheduled"))
        if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
            if _age(scheduled.get("lastTransitionTime"), now) > UNSCHEDULABLE_SECONDS:
                unschedulable += 1
            else:
                unsure = True
    capacity = None
    if unschedulable:
        capacity = max(0, int(spec(workload).get("replicas") or 0) - unschedulable)
    return Observed(running, capacity, unsure)


def selector(workload: Json) -> str:
    """Give the label selector of a workload's pods, "" if it has none.

    v0.10.0 reads matchLabels only, and fails where there are none.
    """
    wanted = mapping(spec(workload).get("selector"))
    labels = mapping(wanted.get("matchLabels"))
    parts = [f"{name}={value}" for name, value in sorted(labels.items())]
    for item in map(mapping, sequence(wanted.get("matchExpressions"))):
        key, values = item.get("key"), ",".join(map(str, sequence(item.get("values"))))
        form = _EXPRESSIONS.get(str(item.get("operator")))
        parts += [form.format(key=key, values=values)] if form else []
    return ",".join(parts)


def change(federated: Json, result: Mapping[str, int]) -> Json | None:
    """Give the merge patch of `spec` that brings a plan into a federated object.

    Args:
        federated: the federated object.
        result: every planned cluster's replicas, 0 included.

    Returns:
        The new placement and overrides, or None if they are as planned.
    """
    present = spec(federated)
    listed = sequence(mapping(present.get("placement")).get("clusters"))
    placed = {str(mapping(item).get("name")) for item in listed}
    before = [mapping(item) for item in sequence(present.get("overrides"))]
    wanted = _overrides(before, result)
    if placed == set(result) and len(listed) == len(result) and wanted == before:
        return None
    clusters = [{"name": name} for name in sorted(result)]
    return {"placement": {"clusters": clusters}, "overrides": wanted}


def _overrides(before: Sequence[Json], result: Mapping[str, int]) -> list[Json]:
    items: list[Json] = []
    named: set[str] = set()
    for item in before:
        cluster = str(item.get("clusterName"))
        changes = [mapping(entry) for entry in sequence(item.get("clusterOverrides"))]
        if cluster in result and cluster not in named:
            changes = _set(changes, result[cluster])
        else:
            changes = [entry for entry in changes if entry.get("path") != REPLICAS_PATH]
        named.add(cluster)
        if changes:
            items.append({"clusterName": cluster, "clusterOverrides": changes})
    items += [
        {
            "clusterName": cluster,
            "clusterOverrides": [{"path": REPLICAS_PATH, "value": result[cluster]}],
        }
        for cluster in sorted(result.keys() - named)
    ]
    return items


def _set(changes: Sequence[Json], replicas: int) -> list[Json]:
    wanted: Json = {"path": REPLICAS_PATH, "value": replicas}
    found = [entry for entry in changes if entry.get("path") == REPLICAS_PATH]
    if len(found) == 1 and found[0].get("op") in (None, "", "replace"):
        same = found[0].get("value") == replicas
        return [
            entry if entry.get("path") != REPLICAS_PATH or same else wanted for entry in changes
        ]
    return [entry for entry in changes if entry.get("path") != REPLICAS_PATH] + [wanted]


def _age(since: object, now: datetime.datetime) -> float:
    try:
        return (now - datetime.datetime.fromisoformat(str(since))).total_seconds()
    except (ValueError, TypeError):
        return 0.0
