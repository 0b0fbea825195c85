"""A backup and what is in the host cluster: what a restore does (pure).

What is there and says the same is left alone, so that to repeat a restore changes nothing. What
differs is named, and only replaced where the operator says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from enum import StrEnum

from kubefed.api import (
    CLUSTER_UID_ANNOTATION,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    LEFT_BEHIND_ANNOTATION,
    REPLICA_SCHEDULING_PREFERENCE,
    SYNC_FINALIZER,
    TYPE_CONFIG_FINALIZER,
    FederatedType,
    TargetKind,
)
from kubefed.backup.content import Part, Snapshot
from kubefed.controller.objects import (
    Json,
    finalizers,
    key_of,
    labels,
    managed,
    mapping,
    metadata,
    notes,
    sequence,
    uid,
)
from kubefed.controller.transparent import marks, wanted
from kubefed.dryrun import label

# Kind, namespace, name.
Place = tuple[str, str, str]
# A controller's own writing, of which a backup can only be older.
_VOLATILE = frozenset({marks.SUMMARY, LEFT_BEHIND_ANNOTATION})
_OWN_FINALIZERS = frozenset({SYNC_FINALIZER, TYPE_CONFIG_FINALIZER})
_OURS = "kubefed.io/"
# Of a federation that carries nothing yet these are defaults that nobody chose.
_DEFAULTS = frozenset({Part.NAMESPACES, Part.POLICIES, Part.TYPES, Part.CONFIG})
_PARTS = {
    REPLICA_SCHEDULING_PREFERENCE: Part.PREFERENCES,
    KUBEFED_CLUSTER: Part.CLUSTERS,
    FEDERATED_TYPE_CONFIG: Part.TYPES,
}
_COMPARED_BEYOND = frozenset({Part.FEDERATED, Part.PREFERENCES, Part.CLUSTERS, Part.TYPES})


class Act(StrEnum):
    """What is done with one object."""

    LEAVE = "leave"
    CREATE = "create"
    CHANGE = "change"


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One object of a backup, and what is done with it.

    Attributes:
        part: the part that it belongs to.
        kind: its kind.
        wanted: the object as it was.
        act: what is done.
        live: the object as it is in the host, None if it isn't there.
    """

    part: Part
    kind: TargetKind
    wanted: Json
    act: Act
    live: Json | None = None

    @property
    def text(self) -> str:
        """The object in words."""
        namespace, name = key_of(self.wanted)
        return label(self.kind, name, namespace or None)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a restore does.

    Attributes:
        steps: every object, in order.
        differs: what is there and says something else.
        beyond: what is there and isn't in the backup; it stays.
        drop: types that nobody chose, which go.
        rejoin: the name by which the host joins anew, "" if it doesn't.
    """

    steps: list[Step]
    differs: list[str]
    beyond: list[str]
    drop: list[str]
    rejoin: str = ""

    @property
    def writes(self) -> list[Step]:
        """The steps that write."""
        return [step for step in self.steps if step.act is not Act.LEAVE]


@dataclasses.dataclass(frozen=True)
class Target:
    """The cluster that a backup is restored to.

    Attributes:
        uid: which it is: the UID of its namespace kube-system.
        live: what is in it, of all that the backup knows.
        rejoin: whether it is to take the place that the former host had among the members.
    """

    uid: str
    live: Mapping[Place, Json]
    rejoin: bool = True


def place_of(kind: TargetKind, obj: Json) -> Place:
    """Give where an object is."""
    return (kind.full_name, *key_of(obj))


def plan(snapshot: Snapshot, target: Target) -> Plan:
    """Compare a backup with what is there."""
    compared = _Comparison(snapshot, target)
    steps = [compared.step(part, obj) for part in Part for obj in snapshot.of(part)]
    beyond = compared.beyond()
    unchosen = [obj for part, obj in beyond if compared.fresh and part is Part.TYPES]
    return Plan(
        steps=steps,
        differs=[step.text for step in steps if compared.asks(step)],
        beyond=sorted(compared.text(obj) for _, obj in beyond if obj not in unchosen),
        drop=sorted(key_of(obj)[1] for obj in unchosen),
        rejoin="" if compared.joined else compared.rejoin,
    )


def marks_of(obj: Json) -> Json:
    """Give the federation's labels and annotations of an object, as a patch of its metadata."""
    meta: Json = {"labels": _ours(labels(obj)), "annotations": _ours(notes(obj))}
    return {name: value for name, value in meta.items() if value}


class _Comparison:
    """A backup beside the cluster that it is restored to."""

    def __init__(self, snapshot: Snapshot, target: Target) -> None:
        self._target = target
        self._kinds = snapshot.kinds()
        self._types = {each.target: each for each in snapshot.types}
        self._federated = {self._place(each): each for each in snapshot.of(Part.FEDERATED)}
        self._clusters = {key_of(each)[1]: each for each in snapshot.of(Part.CLUSTERS)}
        self._known = {self._place(obj) for part in _COMPARED_BEYOND for obj in snapshot.of(part)}
        self._present = list(self._live_parts())
        self.fresh = {part for part, _ in self._present}.isdisjoint(
            {Part.FEDERATED, Part.CLUSTERS}
        )
        self.rejoin = self._rejoins(snapshot)

    @property
    def joined(self) -> bool:
        """Whether the host is a member already under the name that it is to have."""
        entry = self._clusters.get(self.rejoin)
        live = self._live(entry) if entry else None
        return live is not None and notes(live).get(CLUSTER_UID_ANNOTATION) == self._target.uid

    def text(self, obj: Json) -> str:
        """Name an object."""
        namespace, name = key_of(obj)
        return label(self._kind(obj), name, namespace or None)

    def step(self, part: Part, obj: Json) -> Step:
        """Give what is done with one object."""
        live = self._live(obj)
        return Step(part, self._kind(obj), obj, self._act(part, obj, live), live)

    def asks(self, step: Step) -> bool:
        """Whether to change an object takes the operator's word."""
        if step.act is not Act.CHANGE or step.part is Part.RECORDS:
            return False
        return not (self.fresh and step.part in _DEFAULTS) and not _copy(step.part, step.live)

    def beyond(self) -> list[tuple[Part, Json]]:
        """Give what is there of the federation and isn't in the backup."""
        return [(part, obj) for part, obj in self._present if self._place(obj) not in self._known]

    def _rejoins(self, snapshot: Snapshot) -> str:
        """Give the name by which the host is to be a member again, "" if it isn't to.

        A former host that was a member lost its account in itself with everything else. Where
        the federation is restored to another member, that one's account is still there.
        """
        known = {notes(each).get(CLUSTER_UID_ANNOTATION) for each in self._clusters.values()}
        known.add(snapshot.host_uid)
        if not self._target.rejoin or self._target.uid in known:
            return ""
        return snapshot.host_member()

    def _act(self, part: Part, obj: Json, live: Json | None) -> Act:
        name = key_of(obj)[1]
        match part:
            case Part.CLUSTERS if name == self.rejoin:
                return Act.LEAVE
            case Part.SECRETS if self.rejoin and name == self._secret_of(self.rejoin):
                return Act.LEAVE
            case Part.RECORDS:
                return self._act_on_record(obj, live)
            case _ if live is None:
                return Act.CREATE
            case Part.CRDS | Part.SECRETS:
                # Those that are there are newer than a backup can be.
                return Act.LEAVE
            case Part.NAMESPACES:
                same = all(
                    mapping(metadata(live).get(field)).items() >= values.items()
                    for field, values in marks_of(obj).items()
                )
            case Part.SOURCES:
                same = _same_source(obj, live, self._types[self._kind(obj)])
            case _:
                same = _said(obj) == _said(live)
        return Act.LEAVE if same else Act.CHANGE

    def _act_on_record(self, obj: Json, live: Json | None) -> Act:
        """Give what is done with what the members were given of one federated object.

        It holds only for the federated object that it was made for, unchanged.
        """
        owner = mapping(next(iter(sequence(metadata(obj).get("ownerReferences"))), {}))
        kind = self._kinds.get((str(owner.get("apiVersion")), str(owner.get("kind"))))
        if kind is None:
            return Act.LEAVE
        where = (kind.full_name, key_of(obj)[0], str(owner.get("name")))
        before, present = self._federated.get(where), self._target.live.get(where)
        if before is None or uid(before) != owner.get("uid"):
            return Act.LEAVE
        if present is None:
            return Act.CREATE if live is None else Act.CHANGE
        if _said(present) != _said(before):
            return Act.LEAVE
        if live is None:
            return Act.CREATE
        owners = map(mapping, sequence(metadata(live).get("ownerReferences")))
        is_its = uid(present) in {str(each.get("uid")) for each in owners}
        return Act.LEAVE if is_its and live.get("status") else Act.CHANGE

    def _live_parts(self) -> Iterable[tuple[Part, Json]]:
        federated = {each.federated for each in self._types.values()}
        for obj in self._target.live.values():
            kind = self._kinds.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
            if kind in federated:
                yield Part.FEDERATED, obj
            elif kind in _PARTS:
                yield _PARTS[kind], obj

    def _secret_of(self, cluster: str) -> str:
        entry = self._clusters.get(cluster, {})
        return str(mapping(mapping(entry.get("spec")).get("secretRef")).get("name") or "")

    def _live(self, obj: Json) -> Json | None:
        return self._target.live.get(self._place(obj))

    def _kind(self, obj: Json) -> TargetKind:
        return self._kinds[str(obj["apiVersion"]), str(obj["kind"])]

    def _place(self, obj: Json) -> Place:
        return place_of(self._kind(obj), obj)


def _same_source(obj: Json, live: Json, kind: FederatedType) -> bool:
    if wanted.template(obj, kind) != wanted.template(live, kind):
        return False
    # The copy that a member has becomes the plain object itself; the controller marks it so.
    return _copy(Part.SOURCES, live) or _policy(obj) == _policy(live)


def _policy(obj: Json) -> dict[str, str]:
    return {name: value for name, value in _ours(notes(obj)).items() if name not in _VOLATILE}


def _copy(part: Part, live: Json | None) -> bool:
    """Whether what stands in a plain object's place is what the federation has put there."""
    if part is not Part.SOURCES or live is None:
        return False
    return managed(live) and marks.SOURCE not in labels(live)


def _said(obj: Json) -> Json:
    meta = metadata(obj)
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")} | {
        "labels": labels(obj),
        "annotations": {k: v for k, v in notes(obj).items() if k not in _VOLATILE},
        "finalizers": sorted(set(finalizers(obj)) - _OWN_FINALIZERS),
        "owners": sorted(
            (str(each.get("kind")), str(each.get("name")))
            for each in map(mapping, sequence(meta.get("ownerReferences")))
        ),
    }


def _ours(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name.startswith(_OURS)}
