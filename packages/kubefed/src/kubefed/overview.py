"""What `kubefed status` says: clusters, types, and every object that isn't where it should be."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kubernetes.client import ApiClient

from kubefed import errors
from kubefed.api import FEDERATED_TYPE_CONFIG as TYPE_CONFIG
from kubefed.api import (
    PROPAGATION_CONDITION,
    AggregateReason,
    ControllerState,
    FederatedType,
    Manifest,
    PropagationStatus,
    TargetKind,
    TypeConfig,
)
from kubefed.clients import Resources
from kubefed.membership import Cluster, list_clusters

_CLUSTER_WORDS: Mapping[str, str] = {
    PropagationStatus.WAITING_FOR_REMOVAL: "is being removed there",
    PropagationStatus.CLUSTER_NOT_READY: "the cluster is not ready",
    PropagationStatus.APPLY_OVERRIDES_FAILED: "an override for the cluster can't be applied",
    PropagationStatus.CREATION_FAILED: "the cluster refuses to create it",
    PropagationStatus.UPDATE_FAILED: "the cluster refuses to change it",
    PropagationStatus.DELETION_FAILED: "the cluster refuses to delete it",
    PropagationStatus.ALREADY_EXISTS: "exists there already, and adoption is disabled",
    PropagationStatus.MANAGED_LABEL_FALSE: "is marked there as not managed",
    PropagationStatus.CREATION_TIMED_OUT: "the cluster didn't answer in time",
    PropagationStatus.UPDATE_TIMED_OUT: "the cluster didn't answer in time",
    PropagationStatus.DELETION_TIMED_OUT: "the cluster didn't answer in time",
    PropagationStatus.CLIENT_RETRIEVAL_FAILED: "the cluster can't be entered",
}
# What only the cluster can say more about; the controller records its words as an event.
_CAUSED = frozenset(each for each in PropagationStatus if each.value.endswith("Failed"))
_EVENT = TargetKind("", "v1", "Event", "events")
_OBJECT_WORDS: Mapping[str, str] = {
    AggregateReason.NAMESPACE_NOT_FEDERATED: "its namespace is not federated",
    AggregateReason.COMPUTE_PLACEMENT_FAILED: "its placement can't be computed",
    AggregateReason.CLUSTER_RETRIEVAL_FAILED: "the clusters couldn't be read",
    AggregateReason.CHECK_CLUSTERS: "its clusters are not in order",
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """An object that is not everywhere where it should be.

    Attributes:
        object: kind, namespace and name of the federated object.
        cluster: where; "" if it isn't about one cluster.
        reason: the reason as the API has it.
        explain: the reason in words.
    """

    object: str
    cluster: str
    reason: str
    explain: str


@dataclasses.dataclass(frozen=True)
class TypeState:
    """A federated type.

    Attributes:
        name: the FederatedTypeConfig's name.
        kind: the federated kind.
        propagation: whether it is carried to the members.
        running: whether a controller does so; None if none has said.
        objects: how many federated objects there are.
    """

    name: str
    kind: str
    propagation: bool
    running: bool | None
    objects: int

    @property
    def well(self) -> bool:
        """Whether somebody carries it, or nothing is to be carried.

        A Namespaced federation doesn't run cluster-scoped types, which then have no objects.
        """
        if not self.propagation or self.running:
            return True
        return self.running is False and self.objects == 0


@dataclasses.dataclass(frozen=True)
class Overview:
    """The federation at a glance."""

    clusters: tuple[Cluster, ...]
    types: tuple[TypeState, ...]
    problems: tuple[Problem, ...]

    @property
    def healthy(self) -> bool:
        """Whether clusters are ready, types carried, and all objects where they should be."""
        return (
            not self.problems
            and all(each.ready for each in self.clusters)
            and all(each.well for each in self.types)
        )


def read(api: ApiClient, *, namespace: str) -> Overview:
    """Look at a federation.

    Args:
        api: the host cluster.
        namespace: the federation's namespace.
    """
    host = Resources(api)
    types: list[TypeState] = []
    found: list[Problem] = []
    said = warnings_of(_warnings(host))
    for manifest in host.list(TYPE_CONFIG, namespace):
        type_config = TypeConfig.from_object(manifest)
        items = host.list(type_config.type.federated)
        types.append(type_state(manifest, len(items)))
        if type_config.propagation:
            kinds = type_config.type
            found += [each for item in items for each in problems(item, kinds, said)]
    return Overview(
        clusters=tuple(list_clusters(api, namespace=namespace)),
        types=tuple(sorted(types, key=lambda each: each.name)),
        problems=tuple(found),
    )


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the one table that a person sees.

    Attributes:
        what: "cluster", "type" or "object".
        name: its name.
        where: a cluster's endpoint, a type's federated kind, the cluster that an object isn't
            right in.
        state: its state; an object's is the reason as the API has it.
        explain: the state in words.
    """

    what: str
    name: str
    where: str
    state: str
    explain: str


def rows(found: Overview) -> list[Row]:
    """Give the overview as one table: clusters, types, then objects that aren't in order (pure).

    Args:
        found: the overview.
    """
    table = [
        Row("cluster", each.name, each.endpoint, _readiness(each.ready), _about_cluster(each))
        for each in found.clusters
    ]
    table += [
        Row("type", each.name, each.kind, _running(each), f"{each.objects} objects")
        for each in found.types
    ]
    table += [
        Row("object", each.object, each.cluster, each.reason, each.explain)
        for each in found.problems
    ]
    return table


def _readiness(ready: bool | None) -> str:
    return {True: "ready", False: "not ready", None: "unknown"}[ready]


def _about_cluster(cluster: Cluster) -> str:
    said = [cluster.version, cluster.message]
    if cluster.forgotten:
        said.append("no deletion waits for it (kubefed forget --undo ends that)")
    return ", ".join(each for each in said if each)


def _running(state: TypeState) -> str:
    if not state.propagation:
        return "disabled"
    return {True: "running", False: "not running", None: "unknown"}[state.running]


def type_state(manifest: Mapping[str, Any], objects: int) -> TypeState:
    """Read the state of a type from its FederatedTypeConfig.

    Args:
        manifest: the FederatedTypeConfig.
        objects: how many federated objects there are.
    """
    type_config = TypeConfig.from_object(manifest)
    state = (manifest.get("status") or {}).get("propagationController")
    return TypeState(
        name=type_config.name,
        kind=type_config.type.federated.kind,
        propagation=type_config.propagation,
        running=None if state is None else state == ControllerState.RUNNING,
        objects=objects,
    )


def warnings_of(events: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Give the warnings about each object, the newest first.

    Args:
        events: the host's events.
    """
    said: dict[str, list[str]] = {}
    for event in sorted(events, key=_time_of, reverse=True):
        about = event.get("involvedObject") or {}
        name = _name(str(about.get("kind")), about.get("namespace"), str(about.get("name")))
        said.setdefault(name, []).append(str(event.get("message") or ""))
    return said


def problems(
    item: Manifest, kinds: FederatedType, said: Mapping[str, list[str]] | None = None
) -> Iterator[Problem]:
    """Say what is wrong with a federated object, a cluster at a time.

    Args:
        item: the federated object.
        kinds: its type.
        said: the warnings about each object, by `warnings_of`.
    """
    metadata, status = item["metadata"], item.get("status") or {}
    where = metadata.get("namespace") if kinds.federated.namespaced else None
    name = _name(kinds.federated.kind, where, metadata["name"])
    condition = next(
        (
            each
            for each in status.get("conditions") or []
            if each.get("type") == PROPAGATION_CONDITION
        ),
        None,
    )
    if condition is None:
        yield Problem(name, "", "NoStatus", "no controller has looked at it yet")
        return
    unwell = [each for each in status.get("clusters") or [] if each.get("status")]
    for each in unwell:
        reason, cluster = str(each["status"]), str(each["name"])
        words = _CLUSTER_WORDS.get(reason, reason)
        if reason in _CAUSED and (cause := _cause(cluster, (said or {}).get(name, []))):
            words = f"{words}: {cause}"
        yield Problem(name, cluster, reason, words)
    reason = str(condition.get("reason") or "")
    if reason and not unwell:
        yield Problem(name, "", reason, _OBJECT_WORDS.get(reason, reason))
    elif not reason and status.get("observedGeneration", 0) < metadata.get("generation", 0):
        yield Problem(name, "", "Outdated", "its last change has not been carried yet")


def _cause(cluster: str, messages: Iterable[str]) -> str:
    word = re.compile(rf"(?<![-\w]){re.escape(cluster)}(?![-\w])")
    return next((each for each in messages if word.search(each)), "")


def _name(kind: str, namespace: str | None, name: str) -> str:
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _time_of(event: Mapping[str, Any]) -> str:
    # All in UTC and in one form, so they sort as text.
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _warnings(host: Resources) -> list[Manifest]:
    try:
        return host.list(_EVENT, fields="type=Warning")
    except errors.Forbidden:
        return []  # an account that may not read events still learns the reasons
