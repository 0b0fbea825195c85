"""Which hook a unit runs next, and what is true after it ran. Pure.

As Juju's own agent does it: the agent remembers what it has told the charm (``UnitLocal``), the
controller knows what is; the next hook is the first difference in a fixed order. So an agent that
was away for an hour catches up by the same rule, with as few hooks as the differences need.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from federation_lab.juju import lookup, names, relations, secretbook
from federation_lab.juju.state import Application, Model, RelationLocal, Secret, State, Task, Unit

Kind = Literal[
    "install", "upgrade-charm", "leader-elected", "config-changed", "start", "stop", "remove",
    "update-status", "relation-created", "relation-joined", "relation-changed",
    "relation-departed", "relation-broken", "secret-changed", "secret-rotate", "secret-expired",
    "secret-remove", "action",
]  # fmt: skip


class Hook(BaseModel):
    """One hook or action to run."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    relation: str = ""
    endpoint: str = ""
    relation_id: int = 0
    remote_app: str = ""
    remote_unit: str = ""
    departing_unit: str = ""
    version: int = 0
    secret: str = ""
    secret_label: str = ""
    revision: int = 0
    task: str = ""
    action: str = ""

    @property
    def name(self) -> str:
        """The hook's name as Juju has it, ``members-relation-changed``."""
        return f"{self.endpoint}-{self.kind}" if self.endpoint else self.action or self.kind


def next_hook(state: State, model: Model, unit: Unit, now: datetime) -> Hook | None:
    """The next hook of a unit, or None if there is nothing to say to it.

    Args:
        state: Everything.
        model: The unit's model.
        unit: The unit; one in error gets its failed hook again elsewhere.
        now: The time, for what is due.
    """
    app = model.applications[unit.name.partition("/")[0]]
    if unit.life != "alive":
        return _ending(state, model, unit)
    for hook in _steps(state, model, app, unit, now):
        return hook
    return None


def finished(unit: Unit) -> bool:
    """Whether a dying unit has nothing left to run."""
    return unit.life != "alive" and (unit.local.stopped or not unit.local.installed)


def _steps(
    state: State, model: Model, app: Application, unit: Unit, now: datetime
) -> Iterator[Hook]:
    local = unit.local
    if not local.installed:
        yield Hook(kind="install")
        return
    if local.charm_sha256 != app.charm.sha256:
        yield Hook(kind="upgrade-charm")
    if not local.started:
        # At first deployment the charm knows its relations before it is leader or configured.
        yield from _created(state, model, unit)
    if local.restarted:
        yield Hook(kind="start")
    if app.leader == unit.name and not local.leader:
        yield Hook(kind="leader-elected")
    if local.config_seen != config_seen(model, app, unit):
        yield Hook(kind="config-changed")
    if not local.started:
        yield Hook(kind="start")
    task = next_task(model, unit.name)
    if task is not None:
        yield Hook(kind="action", task=task.id, action=task.action)
    yield from _created(state, model, unit)
    yield from _relations(state, model, unit)
    yield from secret_hooks(state, model, unit, now)
    if _update_status_due(model, unit, now):
        yield Hook(kind="update-status")


def _ending(state: State, model: Model, unit: Unit) -> Hook | None:
    if not unit.local.installed or unit.local.stopped:
        return None
    for hook in _relations(state, model, unit):
        return hook
    if unit.local.started:
        return Hook(kind="stop")
    return Hook(kind="remove")


def next_task(model: Model, unit: str) -> Task | None:
    """The oldest action that waits for a unit."""
    waiting = [t for t in model.tasks.values() if t.unit == unit and t.status == "pending"]
    return min((t for t in waiting if t.action), key=lambda t: int(t.id), default=None)


def config_seen(model: Model, app: Application, unit: Unit) -> str:
    """A digest of everything that config-changed tells about."""
    machine = model.machines.get(unit.machine)
    told = [app.config, app.trust, machine.address if machine else "", app.charm.sha256]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _update_status_due(model: Model, unit: Unit, now: datetime) -> bool:
    interval = update_status_interval(model)
    last = unit.local.last_update_status
    return interval is not None and last is not None and now - last >= interval


def update_status_interval(model: Model) -> timedelta | None:
    """How often update-status runs; None if the model has it switched off."""
    interval = names.parse_duration(str(model.config.get("update-status-hook-interval", "5m")))
    return interval if interval.total_seconds() > 0 else None


def _hook(kind: Kind, view: lookup.View, unit: str = "", departing: str = "") -> Hook:
    return Hook(
        kind=kind,
        relation=view.relation.uid,
        endpoint=view.own.endpoint,
        relation_id=view.own.id,
        remote_app=view.remote_app,
        remote_unit=unit,
        departing_unit=departing,
    )


def _app(unit: Unit) -> str:
    return unit.name.partition("/")[0]


def _created(state: State, model: Model, unit: Unit) -> Iterator[Hook]:
    for view in lookup.views(state, model.uuid, _app(unit)):
        if view.active and view.relation.uid not in unit.local.relations:
            yield _hook("relation-created", view)


def _relations(state: State, model: Model, unit: Unit) -> Iterator[Hook]:
    for view in lookup.views(state, model.uuid, _app(unit)):
        local = unit.local.relations.get(view.relation.uid)
        if local is None:
            continue
        leaving = unit.life != "alive" or not view.active
        there = {} if leaving else lookup.members(state, view, unit.name)
        for gone in sorted(local.members.keys() - there.keys(), key=_by_number):
            departing = unit.name if unit.life != "alive" else gone
            yield _hook("relation-departed", view, gone, departing)
        if leaving:
            yield _hook("relation-broken", view)
            continue
        yield from _changes(view, local, there)


def _changes(view: lookup.View, local: RelationLocal, there: dict[str, int]) -> Iterator[Hook]:
    pending = local.changed_pending
    if pending in there:
        yield _hook("relation-changed", view, pending).model_copy(
            update={"version": there[pending]}
        )
    if view.remote.app_version != local.app_version:
        yield _hook("relation-changed", view).model_copy(
            update={"version": view.remote.app_version}
        )
    for name in sorted(there, key=_by_number):
        if name not in local.members:
            yield _hook("relation-joined", view, name).model_copy(update={"version": there[name]})
        elif there[name] != local.members[name]:
            yield _hook("relation-changed", view, name).model_copy(update={"version": there[name]})


def _by_number(unit: str) -> tuple[str, int]:
    app, _, number = unit.partition("/")
    return app, int(number)


def secret_hooks(state: State, model: Model, unit: Unit, now: datetime) -> Iterator[Hook]:
    """What a unit is to hear about secrets: those it reads, then those it owns."""
    seen = unit.local.secrets
    for secret, tracking in secretbook.tracked(state, model, unit.name):
        latest = secret.latest.number
        told = tracking.revision >= latest or seen.changed.get(secret.id) == latest
        if not told and not secretbook.manages(secret, model, unit.name):
            yield _secret("secret-changed", secret, model, latest, tracking.label)
    for secret in model.secrets.values():
        if secretbook.manages(secret, model, unit.name):
            yield from _owned(state, model, unit, secret, now)


def _owned(
    state: State, model: Model, unit: Unit, secret: Secret, now: datetime
) -> Iterator[Hook]:
    seen = unit.local.secrets
    if secret.rotate_at and secret.rotate_at <= now:
        yield _secret("secret-rotate", secret, model, secret.latest.number)
    for revision in secret.revisions:
        key = f"{secret.id}/{revision.number}"
        if revision.expires and revision.expires <= now and key not in seen.expired:
            yield _secret("secret-expired", secret, model, revision.number)
        if secretbook.obsolete(state, secret, revision.number) and key not in seen.removed:
            yield _secret("secret-remove", secret, model, revision.number)


def _secret(
    kind: Kind, secret: Secret, model: Model, revision: int, label: str | None = None
) -> Hook:
    return Hook(
        kind=kind,
        secret=secretbook.uri(secret, model.uuid),
        secret_label=secret.label if label is None else label,
        revision=revision,
    )


def complete(state: State, model: Model, unit: Unit, hook: Hook, now: datetime) -> None:
    """Writes down that a hook ran (or was skipped by the operator's word)."""
    if hook.relation:
        _complete_relation(state, model, unit, hook)
    elif hook.secret:
        _complete_secret(model, unit, hook)
    else:
        _complete_own(model, unit, hook, now)


def _complete_own(model: Model, unit: Unit, hook: Hook, now: datetime) -> None:
    local = unit.local
    app = model.applications[_app(unit)]
    match hook.kind:
        case "install" | "upgrade-charm":
            local.installed, local.charm_sha256 = True, app.charm.sha256
        case "leader-elected":
            local.leader = True
        case "config-changed":
            local.config_seen = config_seen(model, app, unit)
        case "start":
            local.started, local.restarted = True, False
            local.last_update_status = local.last_update_status or now
        case "stop":
            local.started = False
        case "remove":
            local.stopped = True
        case "update-status":
            local.last_update_status = now
        case _:
            pass


def enter_scopes(state: State, model: Model, unit: Unit) -> bool:
    """Lets a unit take part in all its relations at once, as the agent does before any hook.

    So the first relation-created hook sees the other relations too, and the other side sees the
    unit before its charm was told. A relation that ended before it was told of is left at once.

    Returns:
        Whether anything changed.
    """
    if not unit.local.installed or unit.life != "alive":
        return False
    changed = False
    machine = model.machines.get(unit.machine)
    settings = network_settings(machine.address if machine else "")
    for view in lookup.views(state, model.uuid, _app(unit)):
        inside = unit.name in view.own.scope
        if view.active and not inside:
            relations.enter(view.own, unit.name, settings)
            changed = True
        elif inside and not view.active and view.relation.uid not in unit.local.relations:
            relations.leave(view.own, unit.name)
            changed = True
    return changed


def _complete_relation(state: State, model: Model, unit: Unit, hook: Hook) -> None:
    view = lookup.view_of(state, hook.relation, model.uuid, _app(unit))
    local = unit.local.relations.setdefault(hook.relation, RelationLocal())
    remote = hook.remote_unit
    match hook.kind:
        case "relation-created":
            pass
        case "relation-joined":
            local.members[remote] = hook.version
            local.changed_pending = remote
        case "relation-changed" if not remote:
            local.app_version = hook.version
        case "relation-changed":
            local.members[remote] = hook.version
        case "relation-departed":
            local.members.pop(remote, None)
        case _:
            unit.local.relations.pop(hook.relation, None)
            if view is not None:
                relations.leave(view.own, unit.name)
    if hook.kind != "relation-joined" and remote and local.changed_pending == remote:
        local.changed_pending = ""


def network_settings(address: str) -> dict[str, str]:
    """What Juju itself puts into a unit's relation settings."""
    return {
        "egress-subnets": f"{address}/32" if address else "",
        "ingress-address": address,
        "private-address": address,
    }


def _complete_secret(model: Model, unit: Unit, hook: Hook) -> None:
    seen = unit.local.secrets
    identifier = hook.secret.rpartition("/")[2].removeprefix("secret:")
    key = f"{identifier}/{hook.revision}"
    if hook.kind == "secret-changed":
        seen.changed[identifier] = hook.revision
    elif hook.kind == "secret-rotate":
        secret = model.secrets.get(identifier)
        if secret is not None:
            secretbook.rotated(secret)
    elif hook.kind == "secret-expired":
        seen.expired.append(key)
    elif hook.kind == "secret-remove":
        seen.removed.append(key)
