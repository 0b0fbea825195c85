"""One federated object and what is known of each cluster: what to do there.

`propagate` and `remove` give a batch of operations, at most one a cluster, together with how the
object stands in the clusters where there is nothing to do. The shell (`sync.py`) carries it out.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import TYPE_CHECKING

from kubefed.api.kinds import FederatedType
from kubefed.api.names import (
    DELETE_OPTION_ANNOTATION,
    MANAGED,
    MANAGED_LABEL,
    ORPHAN_ANNOTATION,
    PropagationStatus,
)
from kubefed.controller import overrides, retain, versions
from kubefed.controller.objects import (
    Json,
    deleting,
    labels,
    mapping,
    metadata,
    notes,
    spec,
    uid,
)
from kubefed.controller.transparent import marks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Recorded for a cluster that holds a copy of which only that is known; no object has this version.
UNKNOWN_VERSION = "rv:0"


class DesiredError(ValueError):
    """What a cluster should have can't be computed.

    Attributes:
        status: how the object stands in the cluster for that.
    """

    def __init__(self, status: PropagationStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Verb(StrEnum):
    """What can be done with an object in a member; the value is upstream's word in events."""

    CREATE = "Create"
    UPDATE = "Update"
    DELETE = "Delete"
    RELEASE = "RemoveManagedLabelFrom"
    # Ours: of a source (see `transparent.marks`) nothing but the label is written.
    CLAIM = "AddManagedLabelTo"

    @property
    def failed(self) -> PropagationStatus:
        """How the object stands if this fails."""
        return _FAILED[self]

    @property
    def timed_out(self) -> PropagationStatus:
        """How the object stands while this has got no answer."""
        return _TIMED_OUT[self]


_FAILED = {
    Verb.CREATE: PropagationStatus.CREATION_FAILED,
    Verb.UPDATE: PropagationStatus.UPDATE_FAILED,
    Verb.DELETE: PropagationStatus.DELETION_FAILED,
    Verb.RELEASE: PropagationStatus.LABEL_REMOVAL_FAILED,
    Verb.CLAIM: PropagationStatus.UPDATE_FAILED,
}
_TIMED_OUT = {
    Verb.CREATE: PropagationStatus.CREATION_TIMED_OUT,
    Verb.UPDATE: PropagationStatus.UPDATE_TIMED_OUT,
    Verb.DELETE: PropagationStatus.DELETION_TIMED_OUT,
    Verb.RELEASE: PropagationStatus.LABEL_REMOVAL_TIMED_OUT,
    Verb.CLAIM: PropagationStatus.UPDATE_TIMED_OUT,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """What is known of one cluster and the object in it.

    Attributes:
        name: the cluster.
        ready: whether it can be written to.
        known: whether the cache of it is whole, so that `current` can be believed.
        pending: for how many seconds the cache may still become whole by itself, so that
            nothing is to be said of it yet.
        current: the managed object in it, None if there is none.
        home: whether it is the host cluster itself; None while nobody knows.
    """

    name: str
    ready: bool = True
    known: bool = True
    pending: float = 0.0
    current: Json | None = None
    home: bool | None = False


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One write to one cluster.

    Attributes:
        cluster: its name.
        verb: what to do.
        body: the object to create or to put; what is released or deleted as it is cached; of
            what is claimed the key and the UID.
    """

    cluster: str
    verb: Verb
    body: Json


@dataclasses.dataclass(slots=True)
class Plan:
    """What to do, and how things stand where nothing is to be done.

    Attributes:
        operations: at most one a cluster.
        statuses: the clusters where nothing is to be done; the others get theirs from the result.
        errors: what to tell the user, by cluster.
    """

    operations: list[Operation] = dataclasses.field(default_factory=list[Operation])
    statuses: dict[str, PropagationStatus] = dataclasses.field(
        default_factory=dict[str, PropagationStatus]
    )
    errors: dict[str, str] = dataclasses.field(default_factory=dict[str, str])


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """A federated object with what was derived from it once for all clusters.

    Attributes:
        federated: the object.
        kind: its type.
        host_uid: UID of the host's own Namespace, for a FederatedNamespace; "" otherwise.
    """

    federated: Json
    kind: FederatedType
    host_uid: str = ""

    def is_host_namespace(self, current: Json | None) -> bool:
        """Whether a member's object is the host's own Namespace: the host is that member."""
        return bool(self.host_uid) and current is not None and uid(current) == self.host_uid

    @property
    def kept(self) -> bool:
        """Whether it is kept for a plain object in the host (`kubefed.controller.transparent`)."""
        return marks.marked(self.federated)

    def is_source(self, current: Json | None) -> bool:
        """Whether a member's object is the plain object itself: the host is that member."""
        source = marks.source_uid(self.federated, self.kind.target)
        return bool(source) and current is not None and uid(current) == source

    @property
    def orphan(self) -> bool:
        """Whether the members' objects are to live on when it is deleted."""
        return notes(self.federated).get(ORPHAN_ANNOTATION) == "true"

    @property
    def delete_options(self) -> str:
        """DeleteOptions (JSON) for the members' objects, "" for the default."""
        return notes(self.federated).get(DELETE_OPTION_ANNOTATION) or ""


def propagate(
    subject: Subject,
    placed: frozenset[str],
    members: Sequence[Member],
    recorded: Mapping[str, str],
) -> Plan:
    """Give what makes the members hold the object where it is placed, and nowhere else.

    Args:
        subject: the federated object.
        placed: the clusters that it is placed in.
        members: every registered cluster.
        recorded: the version that each cluster was last given of this template.
    """
    plan = Plan()
    for member in members:
        selected = member.name in placed
        if not member.ready:
            if selected:
                plan.statuses[member.name] = PropagationStatus.CLUSTER_NOT_READY
        elif not member.known:
            if selected:
                plan.statuses[member.name] = PropagationStatus.CACHED_RETRIEVAL_FAILED
        elif subject.kept and member.home is not False:
            _at_home(plan, subject, member, selected=selected)
        elif selected:
            _put(plan, subject, member, recorded.get(member.name, ""))
        elif member.current is not None:
            _take_away(plan, subject, member)
    return plan


def remove(
    subject: Subject,
    placed: frozenset[str],
    members: Sequence[Member],
    recorded: Mapping[str, str],
) -> Plan:
    """Give what a deletion must do, and which clusters it has to wait for.

    Besides the clusters where it is placed now it concerns those that were given the object
    before: a cluster dropped from the placement while it was away still holds it.

    Args:
        subject: the federated object, being deleted.
        placed: the clusters that it is placed in.
        members: every registered cluster; what left the federation has no claim any more.
        recorded: the version that each cluster was last given, of whatever template.
    """
    plan = Plan()
    for member in members:
        claim = member.name in placed or member.name in recorded
        if not member.ready:
            # A label that stays behind in an orphan is taken off when the cluster is back.
            # Nobody waits to let go of a source.
            own = subject.kept and member.home
            if claim and not (subject.orphan or own):
                plan.statuses[member.name] = PropagationStatus.CLUSTER_NOT_READY
        elif not member.known:
            if claim:
                plan.statuses[member.name] = PropagationStatus.CACHED_RETRIEVAL_FAILED
        elif member.current is not None:
            if subject.orphan or (subject.kept and member.home):
                plan.operations.append(Operation(member.name, Verb.RELEASE, member.current))
            else:
                _take_away(plan, subject, member)
    return plan


def desired(subject: Subject, changes: Sequence[overrides.Change], current: Json | None) -> Json:
    """Give the object as one cluster should have it.

    Args:
        subject: the federated object.
        changes: the cluster's overrides.
        current: the cluster's object, None to create it.

    Raises:
        DesiredError: it can't be computed.
    """
    target = subject.kind.target
    template = mapping(spec(subject.federated).get("template"))
    for what, value in (
        ("metadata", template.get("metadata")),
        ("metadata.labels", metadata(template).get("labels")),
    ):
        if not isinstance(value, dict | None):
            raise DesiredError(
                PropagationStatus.COMPUTE_RESOURCE_FAILED, f"the template's {what} is no object"
            )
    # Copies go only as deep as something is changed here; overrides make their own deep copy.
    obj = dict(template)
    meta = {
        name: value
        for name, value in metadata(template).items()
        if name not in ("annotations", "finalizers")
    }
    meta["name"] = metadata(subject.federated)["name"]
    if target.namespaced:
        meta["namespace"] = metadata(subject.federated).get("namespace")
    obj["metadata"] = meta
    obj["kind"] = target.kind
    obj["apiVersion"] = obj.get("apiVersion") or target.api_version
    if current is not None:
        replicas = spec(subject.federated).get("retainReplicas") is True
        try:
            obj = retain.retain(obj, current, target, replicas=replicas)
        except retain.RetainError as error:
            raise DesiredError(PropagationStatus.FIELD_RETENTION_FAILED, str(error)) from error
    if changes:
        try:
            obj = overrides.apply(obj, changes)
        except overrides.OverrideError as error:
            raise DesiredError(PropagationStatus.APPLY_OVERRIDES_FAILED, str(error)) from error
    return with_label(obj)


def desired_in(subject: Subject, cluster: str, current: Json | None) -> Json:
    """Give the object as a cluster should have it, its overrides read from the object.

    Raises:
        DesiredError: it can't be computed.
    """
    try:
        changes = overrides.parse(subject.federated).get(cluster, [])
    except overrides.OverrideError as error:
        raise DesiredError(PropagationStatus.APPLY_OVERRIDES_FAILED, str(error)) from error
    return desired(subject, changes, current)


def with_label(obj: Json) -> Json:
    """Give an object with the label that says that the federation manages it."""
    marked = {**labels(obj), MANAGED_LABEL: MANAGED}
    return obj | {"metadata": metadata(obj) | {"labels": marked}}


def next_record(
    template: str,
    overrides_version: str,
    before: versions.Recorded,
    members: Sequence[Member],
    written: Mapping[str, str],
) -> versions.Recorded:
    """Give what the (Cluster)PropagatedVersion must say after a batch.

    Args:
        template: hash of the template.
        overrides_version: hash of the overrides.
        before: what it says.
        members: the clusters as they were before the batch.
        written: the version of each object that was written.
    """
    valid = before.valid_for(template, overrides_version)
    clusters: dict[str, str] = {}
    for member in members:
        name = member.name
        # A cache that isn't whole yet says as little as a cluster that is away.
        may_hold = member.current is not None or not (member.ready and member.known)
        if name in written:
            clusters[name] = written[name]
        elif name in valid and may_hold:
            clusters[name] = valid[name]
        elif name in before.clusters and not (member.ready and member.known):
            # It holds something, but no longer what this record is about.
            clusters[name] = UNKNOWN_VERSION
    return versions.Recorded(template, overrides_version, clusters)


def _put(plan: Plan, subject: Subject, member: Member, recorded: str) -> None:
    current = member.current
    if current is not None and deleting(current):
        # It is made anew when it is gone.
        plan.statuses[member.name] = PropagationStatus.WAITING_FOR_REMOVAL
        return
    try:
        body = desired_in(subject, member.name, current)
        if current is None:
            plan.operations.append(Operation(member.name, Verb.CREATE, body))
        elif versions.needs_update(body, current, recorded):
            plan.operations.append(Operation(member.name, Verb.UPDATE, body))
        else:
            plan.statuses[member.name] = PropagationStatus.OK
    except DesiredError as error:
        plan.statuses[member.name] = error.status
        plan.errors[member.name] = f"{member.name}: {error}"
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        # A field of a shape that nobody thought of, which is no reason to leave out the others.
        plan.statuses[member.name] = PropagationStatus.COMPUTE_RESOURCE_FAILED
        plan.errors[member.name] = f"{member.name}: {type(error).__name__}: {error}"


def _at_home(plan: Plan, subject: Subject, member: Member, *, selected: bool) -> None:
    """Give what is done in the host cluster for an object that is kept for a plain one there.

    The plain object is the copy. It is never made (who deletes it wants it gone, and what stands
    for it follows), never put and never deleted; it only gets the label or loses it.
    """
    source = marks.source_uid(subject.federated, subject.kind.target)
    if member.home is None:
        # A write to a cluster that may be the host could go to the source.
        if selected:
            plan.statuses[member.name] = PropagationStatus.CACHED_RETRIEVAL_FAILED
    elif not selected:
        if member.current is not None:
            plan.operations.append(Operation(member.name, Verb.RELEASE, member.current))
    elif source and (member.current is None or marks.SOURCE not in labels(member.current)):
        meta = metadata(subject.federated)
        identity = {"name": meta.get("name"), "uid": source}
        if subject.kind.target.namespaced:
            identity["namespace"] = meta.get("namespace")
        plan.operations.append(Operation(member.name, Verb.CLAIM, {"metadata": identity}))
    else:
        plan.statuses[member.name] = PropagationStatus.OK


def _take_away(plan: Plan, subject: Subject, member: Member) -> None:
    current = member.current
    if current is None:
        return
    if (
        subject.is_host_namespace(current)
        or subject.is_source(current)
        or marks.SOURCE in labels(current)
    ):
        plan.operations.append(Operation(member.name, Verb.RELEASE, current))
    elif deleting(current):
        plan.statuses[member.name] = PropagationStatus.WAITING_FOR_REMOVAL
    else:
        plan.operations.append(Operation(member.name, Verb.DELETE, current))
