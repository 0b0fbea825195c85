"""What stands beside a plain object: a federated one, and its namespace's (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubefed import federate
from kubefed.api.kinds import REPLICA_SCHEDULING_PREFERENCE
from kubefed.controller import placement
from kubefed.controller.objects import (
    Json,
    labels,
    mapping,
    metadata,
    sequence,
    spec,
    uid,
)
from kubefed.controller.transparent import marks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubefed.api.kinds import FederatedType, TargetKind
    from kubefed.controller.transparent.policy import Policy

_PVC = ("", "PersistentVolumeClaim")


def template(source: Json, kind: FederatedType) -> Json:
    """Give the template of a plain object: what the user said, not what the server filled in.

    Args:
        source: the plain object, with apiVersion and kind.
        kind: its federated type.
    """
    made = federate.federate(source, kind)["spec"]["template"]
    kept = {name: value for name, value in labels(made).items() if not _ours(name)}
    meta = metadata(made)
    if kept:
        made["metadata"] = meta | {"labels": kept}
    else:
        made.pop("metadata", None)
    if (kind.target.group, kind.target.kind) == _PVC:
        # The volume that this cluster bound.
        mapping(made.get("spec")).pop("volumeName", None)
    return without_null(made)


def federated(source: Json, kind: FederatedType, policy: Policy, *, planned: bool) -> Json:
    """Give the federated object that is to stand beside a plain one.

    Args:
        source: the plain object, with apiVersion and kind.
        kind: its federated type.
        policy: where it goes.
        planned: whether a ReplicaSchedulingPreference is to say where, and how many.
    """
    meta: Json = {
        "name": metadata(source)["name"],
        "labels": {marks.MARK: "true"},
        "ownerReferences": [owner(source, kind.target)],
    }
    if kind.is_namespace:
        meta["namespace"] = meta["name"]
    else:
        meta["namespace"] = metadata(source)["namespace"]
    if planned:
        meta["annotations"] = {marks.PLANNED: "true"}
    return {
        "apiVersion": kind.federated.api_version,
        "kind": kind.federated.kind,
        "metadata": meta,
        "spec": {
            "template": template(source, kind),
            # Nowhere until it is planned: else every cluster would start them all first.
            "placement": {"clusters": []} if planned else policy.placement,
        },
    }


def owner(source: Json, target: TargetKind) -> Json:
    """Give the owner reference to a plain object: the garbage collector follows its deletion."""
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "name": metadata(source)["name"],
        "uid": uid(source),
    }


def namespace_placement(
    present: Json | None, policy: Policy, clusters: Mapping[str, Mapping[str, str]]
) -> Json:
    """Give the placement of a FederatedNamespace: the policy's, but never less than before.

    A cluster that is dropped from a FederatedNamespace loses the namespace with all that is in
    it, volumes and other people's objects too. A changed annotation doesn't say that.

    Args:
        present: the FederatedNamespace as it is, None if there is none.
        policy: where the namespace's objects go.
        clusters: the registered clusters, name to labels.

    Raises:
        placement.SelectorError: the policy's selector is none.
    """
    wanted = policy.placement
    chosen = placement.select({"spec": {"placement": wanted}}, clusters)
    try:
        before = placement.select(present or {}, clusters)
    except placement.SelectorError:
        before = frozenset[str]()
    if before <= chosen:
        return wanted
    return {"clusters": [{"name": name} for name in sorted(before | chosen)]}


def preference(
    source: Json,
    kind: FederatedType,
    policy: Policy,
    home: str,
    clusters: Mapping[str, Mapping[str, str]],
) -> Json:
    """Give the ReplicaSchedulingPreference of a policy with a total.

    In the host the plain object runs with the number that its manifest says, and nobody but its
    user changes that; so the plan is told that number, and shares out the rest.

    Args:
        source: the plain object.
        kind: its federated type.
        policy: the policy; it has a total.
        home: the host cluster's name among the members, "" if it is none.
        clusters: the registered clusters, name to labels.

    Raises:
        placement.SelectorError: the policy's selector is none.
    """
    own = _count(spec(source).get("replicas"), 1)
    shares = _shares(policy, clusters)
    total = policy.total or 0
    if home:
        shares[home] = {"minReplicas": own, "maxReplicas": own, "weight": 0}
    else:
        total = max(0, total - own)
    wanted = {
        "targetKind": kind.federated.kind,
        "totalReplicas": total,
        "rebalance": policy.rebalance,
        "clusters": shares,
    }
    target = REPLICA_SCHEDULING_PREFERENCE
    meta = metadata(source)
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": {marks.MARK: "true"},
            "ownerReferences": [owner(source, kind.target)],
        },
        "spec": wanted,
    }


def without_null(value: Any) -> Any:
    """Give a value without the nulls in its objects: they say nothing, and undo in a patch."""
    if isinstance(value, dict):
        return {
            name: without_null(each) for name, each in mapping(value).items() if each is not None
        }
    return [without_null(each) for each in sequence(value)] if isinstance(value, list) else value


def _shares(policy: Policy, clusters: Mapping[str, Mapping[str, str]]) -> Json:
    preferences = policy.preferences or {"*": {"weight": 1}}
    if policy.clusters is None and not policy.selector:
        return dict(preferences)
    chosen = placement.select({"spec": {"placement": policy.placement}}, clusters)
    fallback = preferences.get("*")
    return {
        name: preferences.get(name, fallback)
        for name in sorted(chosen)
        if name in preferences or fallback is not None
    }


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) and value >= 0 else default


def _ours(label: str) -> bool:
    return label.startswith(marks.PREFIX)
