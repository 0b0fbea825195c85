"""What is done about one plain object and the federated one of its name (pure)."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import TYPE_CHECKING

from kubefed.api.names import ORPHAN_ANNOTATION
from kubefed.controller.objects import (
    Json,
    deleting,
    mapping,
    metadata,
    notes,
    resource_version,
    sequence,
    spec,
    uid,
)
from kubefed.controller.replicas import REPLICAS_PATH
from kubefed.controller.transparent import eligible, marks, wanted

if TYPE_CHECKING:
    from kubefed.api.kinds import FederatedType
    from kubefed.controller.transparent.policy import Policy


class Act(StrEnum):
    """What is done with a federated object."""

    NOTHING = "nothing"
    CREATE = "create"
    CHANGE = "change"
    # It goes, and what it has put into the members stays.
    RELEASE = "release"


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What is done, and what the user is told.

    Attributes:
        act: what is done.
        body: the object to create, or the merge patch that changes it.
        reason: the reason of an event on the plain object, "" for none.
        explain: its text.
        kept: whether the federated object stands for the plain one, as things are.
    """

    act: Act
    body: Json = dataclasses.field(default_factory=dict[str, object])
    reason: str = ""
    explain: str = ""
    kept: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Planning:
    """Who says how many replicas there are in each cluster.

    Attributes:
        asked: whether the policy asks for a total.
        present: whether a ReplicaSchedulingPreference is there, whoever wrote it.
    """

    asked: bool = False
    present: bool = False


NOTHING = Decision(Act.NOTHING)


def decide(
    kind: FederatedType,
    source: Json | None,
    federated: Json | None,
    policy: Policy,
    planning: Planning,
) -> Decision:
    """Give what is done about an object in a namespace that is federated.

    Args:
        kind: the type.
        source: the plain object, with apiVersion and kind; None if there is none.
        federated: the federated object of its name, None if there is none.
        policy: the policy for it.
        planning: who plans its replicas.
    """
    if source is None or eligible.leaving(source):
        # The garbage collector takes what hangs on it; it asks the API server and no cache.
        return NOTHING
    if reason := eligible.object_excluded(source):
        if federated is not None and marks.marked(federated):
            return Decision(Act.RELEASE, reason="NoLongerFederated", explain=reason)
        return NOTHING
    if eligible.is_copy(source, federated, kind.target):
        return NOTHING
    if federated is None:
        made = wanted.federated(source, kind, policy, planned=planning.asked)
        return Decision(Act.CREATE, made)
    if not marks.marked(federated):
        text = (
            f"a {kind.federated.kind} of this name was written by somebody; it is left alone, "
            "and this object isn't federated"
        )
        return Decision(Act.NOTHING, reason="AlreadyFederated", explain=text)
    if deleting(federated) or marks.source_uid(federated, kind.target) not in ("", uid(source)):
        # It stands for an object that was deleted, and goes; then another is made.
        return NOTHING
    return _kept(kind, source, federated, policy, planning)


def decide_namespace(
    kind: FederatedType, namespace: Json, federated: Json | None, placement: Json
) -> Decision:
    """Give what is done about the FederatedNamespace of a namespace that is federated.

    Args:
        kind: the type of namespaces.
        namespace: the Namespace, with apiVersion and kind.
        federated: its FederatedNamespace, None if there is none.
        placement: where it is to be (`wanted.namespace_placement`).
    """
    if federated is None:
        meta = {
            "namespace": metadata(namespace)["name"],
            "name": metadata(namespace)["name"],
            "labels": {marks.MARK: "true"},
            "ownerReferences": [wanted.owner(namespace, kind.target)],
        }
        made: Json = {
            "apiVersion": kind.federated.api_version,
            "kind": kind.federated.kind,
            "metadata": meta,
            "spec": {"template": wanted.template(namespace, kind), "placement": placement},
        }
        return Decision(Act.CREATE, made)
    if deleting(federated) or not marks.marked(federated):
        return NOTHING
    change = {"template": wanted.template(namespace, kind), "placement": placement}
    meta = _taken_back(federated)
    return _changed(federated, difference(spec(federated), spec(federated) | change), meta)


def difference(before: Json, after: Json) -> Json:
    """Give the merge patch (RFC 7396) that makes one JSON object of another; {} if equal.

    >>> difference({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 2}, "e": [1]})
    {'b': {'d': None}, 'e': [1], 'a': None}
    """
    patch: Json = {}
    for name, value in after.items():
        present = before.get(name)
        if name in before and present == value and type(present) is type(value):
            continue
        if isinstance(value, dict) and isinstance(present, dict):
            patch[name] = difference(mapping(present), mapping(value))
        else:
            patch[name] = value
    return patch | {name: None for name in before if name not in after}


def _kept(
    kind: FederatedType, source: Json, federated: Json, policy: Policy, planning: Planning
) -> Decision:
    present = spec(federated)
    change: Json = {"template": wanted.template(source, kind)}
    meta = _taken_back(federated)
    if not marks.source_uid(federated, kind.target):
        # Its owner was deleted with --cascade=orphan, and is back.
        owners = sequence(metadata(federated).get("ownerReferences"))
        meta["ownerReferences"] = [*owners, wanted.owner(source, kind.target)]
    noted = notes(federated).get(marks.PLANNED) == "true"
    if planning.asked and not noted:
        meta.setdefault("annotations", {})[marks.PLANNED] = "true"
    if not (planning.asked or planning.present):
        change["placement"] = policy.placement
        if noted:
            # The plan is over: its numbers go with it.
            meta.setdefault("annotations", {})[marks.PLANNED] = None
            change["overrides"] = _without_replicas(present)
    return _changed(federated, difference(present, present | change), meta)


def _taken_back(federated: Json) -> Json:
    """Give the change of metadata that undoes a release that wasn't carried to its end."""
    if marks.RELEASED not in notes(federated):
        return {}
    return {"annotations": {marks.RELEASED: None, ORPHAN_ANNOTATION: None}}


def _changed(federated: Json, change: Json, meta: Json) -> Decision:
    if not (change or meta):
        return Decision(Act.NOTHING, kept=True)
    # Against a change that came meanwhile; its own answer brings it here again.
    body: Json = {"metadata": meta | {"resourceVersion": resource_version(federated)}}
    return Decision(Act.CHANGE, body | ({"spec": change} if change else {}), kept=True)


def _without_replicas(present: Json) -> list[Json]:
    left: list[Json] = []
    for item in map(mapping, sequence(present.get("overrides"))):
        changes = [
            entry
            for entry in map(mapping, sequence(item.get("clusterOverrides")))
            if entry.get("path") != REPLICAS_PATH
        ]
        if changes:
            left.append(item | {"clusterOverrides": changes})
    return left
