"""Puts a federation back into a host cluster, with no controller at work meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from kubernetes.client import ApiClient

from kubefed import dryrun, enable, errors, install
from kubefed.api import (
    CONFIG_MAP,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    NAMESPACE,
    SECRET,
    Manifest,
    TargetKind,
)
from kubefed.backup import bodies, envelope, members
from kubefed.backup.apply import Writer
from kubefed.backup.content import Part, Snapshot, asking
from kubefed.backup.pause import controllers_paused
from kubefed.backup.plan import Act, Place, Plan, Target, place_of, plan
from kubefed.clients import Resources
from kubefed.controller.objects import Json, key_of
from kubefed.membership.endpoint import identity_of

_TIMEOUT_S = 30.0
_NAMED = 20


@dataclasses.dataclass(frozen=True)
class Wish:
    """How a backup is to be restored.

    Attributes:
        namespace: the federation's namespace.
        overwrite: whether what differs is replaced.
        rejoin: whether the host takes the place that the former host had among the members.
        host_name: the host's name, for its account in itself; "" for the former one's.
        dry_run: whether nothing is written.
    """

    namespace: str
    overwrite: bool = False
    rejoin: bool = True
    host_name: str = ""
    dry_run: bool = False


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a restore came to.

    Attributes:
        made_at: the moment that the backup shows.
        created: how many objects were made, by part.
        changed: what was replaced.
        beyond: what is in the host and not in the backup; it stays.
        rejoined: the name by which the host joined anew, "" if it didn't.
        members: each member: "" if it lets the federation in, or what is wrong.
    """

    made_at: str
    created: dict[str, int]
    changed: tuple[str, ...]
    beyond: tuple[str, ...]
    rejoined: str
    members: dict[str, str]


def restore(
    api: ApiClient,
    data: bytes,
    key: bytes,
    wish: Wish,
    tell: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Put a federation back; safe to repeat, and then nothing is written.

    Args:
        api: the host cluster, by its administrator's account.
        data: the backup.
        key: its key.
        wish: how.
        tell: told how far it is.

    Raises:
        errors.AskOperator: the backup can't be used, or something else is there already.
    """
    header, content = envelope.unseal(data, key)
    snapshot = Snapshot.from_bytes(content)
    if snapshot.namespace != wish.namespace:
        raise errors.UsageError(
            f"the backup is of namespace {snapshot.namespace}, where the members' accounts are "
            f"too; give --kubefed-namespace {snapshot.namespace}"
        )
    host = Resources(api, timeout_s=_TIMEOUT_S)
    target = Target(identity_of(api).uid, _live(host, snapshot), wish.rejoin)
    planned = plan(snapshot, target)
    _refuse(planned, wish)
    if planned.rejoin:
        members.refuse_living(snapshot, planned.rejoin)
    if wish.dry_run:
        _note(planned)
    elif planned.writes or planned.rejoin or planned.drop:
        _carry_out(api, snapshot, target, planned, wish, tell)
    created: dict[str, int] = {}
    for step in planned.writes:
        if step.act is Act.CREATE:
            created[step.part.value] = created.get(step.part.value, 0) + 1
    return Restored(
        made_at=str(header.get("made_at") or ""),
        created=created,
        changed=tuple(
            step.text
            for step in planned.writes
            if step.act is Act.CHANGE and step.part is not Part.RECORDS
        ),
        beyond=tuple(planned.beyond),
        rejoined=planned.rejoin,
        members={} if wish.dry_run else members.check(host, wish.namespace),
    )


def _refuse(planned: Plan, wish: Wish) -> None:
    if not planned.differs or wish.overwrite:
        return
    named = ", ".join(planned.differs[:_NAMED])
    more = len(planned.differs) - _NAMED
    named += f" and {more} more" if more > 0 else ""
    raise errors.AskOperator(
        f"nothing was restored, since the host has another {named}; --overwrite replaces them by "
        "the backup's"
    )


def _carry_out(
    api: ApiClient,
    snapshot: Snapshot,
    target: Target,
    planned: Plan,
    wish: Wish,
    tell: Callable[[str], None],
) -> None:
    host = Resources(api, timeout_s=_TIMEOUT_S)
    namespace = wish.namespace
    with controllers_paused(host, namespace, tell) as held:
        install.lay_ground(host, namespace, namespaced=snapshot.scope_is_namespaced)
        types = {each.target.full_name: each for each in snapshot.types}
        writer = Writer(host, types, held.need, tell)
        writer.know(_restored_before(snapshot, target))
        for part in Part:
            if part is Part.TYPES:
                # All objects are there; what acts comes now.
                if planned.rejoin:
                    held.need()
                    tell(f"the host joins again as {planned.rejoin}")
                    members.rejoin(api, snapshot, planned.rejoin, wish.host_name)
                writer.delete(bodies.doomed(planned.steps))
                _drop(host, planned.drop, namespace)
            steps = [step for step in planned.writes if step.part is part]
            writer.carry_out(part, steps, without=planned.rejoin)
            if part is Part.CRDS:
                for kind in snapshot.types:
                    enable.grant(host, kind, namespace)


def _drop(host: Resources, names: Iterable[str], namespace: str) -> None:
    for name in names:
        _ = host.delete(FEDERATED_TYPE_CONFIG, name, namespace)


def _note(planned: Plan) -> None:
    steps = dryrun.current_plan()
    for step in planned.writes:
        namespace, name = key_of(step.wanted)
        steps.note(step.act.value, step.kind, name, namespace or None)
    for name in planned.drop:
        steps.note("delete", FEDERATED_TYPE_CONFIG, name)
    if planned.rejoin:
        steps.note("change", KUBEFED_CLUSTER, planned.rejoin)


def _live(host: Resources, snapshot: Snapshot) -> dict[Place, Json]:
    """Give what is in the host of all that a backup may hold."""
    own = snapshot.namespace
    scope = own if snapshot.scope_is_namespaced else None
    kinds = snapshot.kinds()
    targets = {each.target for each in snapshot.types}
    names = {key_of(each)[1] for each in (*snapshot.of(Part.SECRETS), *snapshot.of(Part.POLICIES))}
    in_own = {FEDERATED_TYPE_CONFIG, KUBEFED_CLUSTER}
    found: list[tuple[TargetKind, Manifest]] = []
    for kind in set(kinds.values()) - targets - {SECRET, CONFIG_MAP, NAMESPACE, install.CRD}:
        found += [(kind, each) for each in host.list(kind, own if kind in in_own else scope)]
    found += [(NAMESPACE, each) for each in host.list(NAMESPACE)]
    for kind in (SECRET, CONFIG_MAP):
        found += [(kind, each) for each in host.list(kind, own) if key_of(each)[1] in names]
    for obj in snapshot.of(Part.CRDS):
        if (present := host.get(install.CRD, key_of(obj)[1])) is not None:
            found.append((install.CRD, present))
    for namespace in asking(snapshot.of(Part.NAMESPACES), own):
        wanted = {each for each in targets if _sources(snapshot, kinds, each, namespace)}
        for kind in wanted:
            found += [(kind, each) for each in host.list(kind, namespace)]
    return {place_of(kind, each): each for kind, each in found}


def _sources(
    snapshot: Snapshot,
    kinds: Mapping[tuple[str, str], TargetKind],
    kind: TargetKind,
    namespace: str,
) -> bool:
    return any(
        kinds[str(each["apiVersion"]), str(each["kind"])] == kind and key_of(each)[0] == namespace
        for each in snapshot.of(Part.SOURCES)
    )


def _restored_before(snapshot: Snapshot, target: Target) -> dict[str, str]:
    """Give the UIDs that objects had, to those of the same that are there already."""
    kinds = snapshot.kinds()
    found: dict[str, str] = {}
    for part in Part:
        for obj in snapshot.of(part):
            kind = kinds[str(obj["apiVersion"]), str(obj["kind"])]
            live = target.live.get(place_of(kind, obj))
            if live is not None:
                found[str(obj["metadata"].get("uid"))] = str(live["metadata"]["uid"])
    return found
