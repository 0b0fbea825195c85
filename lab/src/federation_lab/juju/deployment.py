"""Applications, units and machines: made, scaled and taken away. Changes the state; no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from federation_lab.juju import bundle_check, charm, lookup, names, relations, secretbook
from federation_lab.juju.charm import Charm
from federation_lab.juju.errors import JujuError
from federation_lab.juju.state import Application, Machine, Model, State, Status, Unit

LEASE = timedelta(seconds=30)
"""How long a silent leader stays leader."""


@dataclass(frozen=True)
class Wanted:
    """An application to deploy."""

    name: str
    charm: Charm
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    num_units: int = 1
    to: Sequence[str] = ()
    trust: bool = False
    base: str = ""
    constraints: str = ""
    expose: bool = False
    bindings: Mapping[str, str] = field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    resources: Mapping[str, str] = field(default_factory=dict[str, str])


def register_charm(state: State, metadata: Charm) -> int:
    """The local revision of a charm: new content, new number, as ``local:`` charms have it."""
    seen = state.charm_revisions.setdefault(metadata.name, [])
    if metadata.sha256 not in seen:
        seen.append(metadata.sha256)
    return seen.index(metadata.sha256)


def deploy(state: State, model: Model, wanted: Wanted, now: datetime) -> Application:
    """Adds an application with its units.

    Raises:
        JujuError: Juju would refuse it.
    """
    if not names.APPLICATION.match(wanted.name):
        raise JujuError(f'invalid application name "{wanted.name}"')
    if wanted.name in model.applications:
        raise JujuError(
            f'cannot add application "{wanted.name}": application already exists '
            "(refresh upgrades it, config changes it, add-unit scales it)",
            "already exists",
        )
    if wanted.name in model.saas:
        raise JujuError(
            f'cannot add application "{wanted.name}": remote application with same name '
            "already exists",
            "already exists",
        )
    if wanted.charm.subordinate:
        raise JujuError(
            f'charm "{wanted.charm.name}" is subordinate: the lab runs principal charms only'
        )
    wrong = bundle_check.check_constraints(wanted.constraints)
    if wrong:
        raise JujuError(wrong)
    config = charm.parse_config(wanted.charm, dict(wanted.config))
    app = Application(
        name=wanted.name,
        charm=wanted.charm,
        charm_revision=register_charm(state, wanted.charm),
        config=config,
        trust=wanted.trust,
        base=wanted.base or str(model.config.get("default-base") or "ubuntu@24.04/stable"),
        constraints=wanted.constraints,
        bindings=dict(wanted.bindings),
        annotations=dict(wanted.annotations),
        resources=dict(wanted.resources),
        exposed=wanted.expose,
        status=Status(current="waiting", message="waiting for machine", since=now),
        token=names.new_uuid().replace("-", ""),
    )
    model.applications[app.name] = app
    try:
        relations.add_peers(state, model, app.name, now)
        add_units(model, app, wanted.num_units, wanted.to, now)
    except JujuError:
        del model.applications[app.name]
        raise
    return app


def add_units(
    model: Model, app: Application, count: int, to: Sequence[str], now: datetime
) -> list[Unit]:
    """Adds units; if there are fewer placements than units the last one holds for the rest.

    Raises:
        JujuError: A placement that cannot be.
    """
    if app.life != "alive":
        raise JujuError(f'cannot add unit: application "{app.name}" is not alive')
    added: list[Unit] = []
    for index in range(count):
        directive = to[min(index, len(to) - 1)] if to else ""
        machine = place(model, app, directive, now)
        number = model.next_units.get(app.name, 0)
        model.next_units[app.name] = number + 1
        unit = Unit(
            name=f"{app.name}/{number}",
            machine=machine.id,
            workload=Status(current="waiting", message="waiting for machine", since=now),
            agent=Status(current="allocating", since=now),
        )
        app.units[unit.name] = unit
        if not app.leader:
            app.leader = unit.name
        added.append(unit)
    return added


def place(model: Model, app: Application, directive: str, now: datetime) -> Machine:
    """The machine that a placement directive means, made if need be.

    Raises:
        JujuError: It names something that is not there.
    """
    if not directive:
        return new_machine(model, app.base, app.constraints, now)
    placement = bundle_check.parse_placement(directive)
    host = ""
    if placement.machine:
        host = lookup.machine(model, placement.machine).id
    elif placement.application:
        target = lookup.application(model, placement.application)
        names_there = sorted(target.units, key=names.number_of)
        number = placement.unit if placement.unit is not None else len(app.units)
        if not names_there:
            raise JujuError(f'cannot place beside "{target.name}": it has no units')
        host = target.units[names_there[min(number, len(names_there) - 1)]].machine
    if placement.container:
        host = host or new_machine(model, app.base, app.constraints, now).id
        return new_machine(model, app.base, "", now, container=f"{host}/{placement.container}")
    return model.machines[host] if host else new_machine(model, app.base, app.constraints, now)


def new_machine(
    model: Model, base: str, constraints: str, now: datetime, container: str = ""
) -> Machine:
    """Adds a machine to a model; the provider starts it."""
    if container:
        taken = [m for m in model.machines if m.startswith(f"{container}/")]
        identifier = f"{container}/{len(taken)}"
    else:
        identifier = str(model.next_machine)
        model.next_machine += 1
    machine = Machine(
        id=identifier,
        name=f"{model.name}-{identifier.replace('/', '-')}",
        base=base,
        constraints=constraints,
        status=Status(current="pending", since=now),
        agent=Status(current="pending", since=now),
    )
    model.machines[identifier] = machine
    return machine


def set_config(app: Application, values: Mapping[str, Any], reset: Sequence[str] = ()) -> bool:
    """Changes configuration.

    Returns:
        Whether anything changed.

    Raises:
        JujuError: An unknown option or a wrong value; nothing is changed then.
    """
    values = dict(values)
    trust = values.pop("trust", None)
    parsed = charm.parse_config(app.charm, values)
    for key in reset:
        if key not in app.charm.options and key != "trust":
            raise JujuError(f'unknown option "{key}"')
    before = (dict(app.config), app.trust)
    for key in reset:
        app.config.pop(key, None)
    app.config.update(parsed)
    if trust is not None or "trust" in reset:
        app.trust = str(trust).lower() in {"true", "1"}
    return before != (app.config, app.trust)


def settings(app: Application) -> dict[str, Any]:
    """The configuration as the charm sees it: defaults and what was set."""
    return {**app.charm.defaults(), **app.config}


def refresh(state: State, app: Application, metadata: Charm) -> bool:
    """Puts another revision of its charm into an application.

    Returns:
        Whether it is another one.

    Raises:
        JujuError: It would break what is there.
    """
    if metadata.name != app.charm.name:
        raise JujuError(
            f'cannot upgrade application "{app.name}" to charm "{metadata.name}": '
            f'it is of charm "{app.charm.name}" (--switch is not supported by the lab)'
        )
    if metadata.sha256 == app.charm.sha256:
        return False
    lost = app.charm.endpoints.keys() - metadata.endpoints.keys()
    for relation in state.relations.values():
        for end in relation.ends:
            if end.app == app.name and end.endpoint in lost:
                raise JujuError(
                    f'cannot upgrade application "{app.name}": would break relation '
                    f'"{app.name}:{end.endpoint}"'
                )
    app.charm_revision = register_charm(state, metadata)
    app.charm = metadata
    # Options that the new charm does not know, or knows otherwise, fall back to its defaults.
    kept: dict[str, Any] = {}
    for key, value in app.config.items():
        try:
            kept.update(charm.parse_config(metadata, {key: value}))
        except JujuError:
            continue
    app.config = kept
    return True


def remove_application(state: State, model: Model, name: str, *, force: bool) -> None:
    """Marks an application, its units and its relations for their end.

    Raises:
        JujuError: It is still offered.
    """
    app = lookup.application(model, name)
    offers = [o for o in model.offers.values() if o.application == name]
    if offers and not force:
        plural = "s" if len(offers) > 1 else ""
        raise JujuError(
            f'cannot destroy application "{name}": application is used by '
            f"{len(offers)} offer{plural}: {', '.join(sorted(o.name for o in offers))} "
            "(remove-offer first)"
        )
    for offer in offers:
        model.offers.pop(offer.name)
    app.life = "dying"
    for view in lookup.views(state, model.uuid, name):
        relations.end_relation(view.relation)
    for unit in app.units.values():
        remove_unit(unit, force=force)


def remove_unit(unit: Unit, *, force: bool) -> None:
    """Marks a unit for its end; by force it is not asked."""
    unit.life = "dying"
    unit.force = unit.force or force
    if unit.error is not None and force:
        unit.error = None


def reap(state: State, model: Model) -> list[Machine]:
    """Drops what is dead: units that ended, applications without units, machines without use.

    Returns:
        The machines that are to be destroyed.
    """
    for app in list(model.applications.values()):
        for unit in [u for u in app.units.values() if u.life == "dead"]:
            _drop_unit(state, model, app, unit)
        if app.life != "alive" and not app.units:
            _drop_application(state, model, app)
    used = {u.machine for u in lookup.units(model)}
    used |= {m.rpartition("/")[0].rpartition("/")[0] for m in used if "/" in m}
    gone = [m for m in model.machines.values() if m.life == "dying" and m.id not in used]
    for machine in gone:
        del model.machines[machine.id]
    relations.prune(state)
    return gone


def _drop_unit(state: State, model: Model, app: Application, unit: Unit) -> None:
    del app.units[unit.name]
    for view in lookup.views(state, model.uuid, app.name):
        relations.leave(view.own, unit.name)
    secretbook.remove_of(state, model, f"unit:{unit.name}")
    for consumers in state.tracking.values():
        consumers.pop(f"{model.uuid}:{unit.name}", None)
    for task in model.tasks.values():
        if task.unit == unit.name and task.status in {"pending", "running"}:
            task.status = "cancelled"
            task.message = "unit was removed"
    if app.leader == unit.name:
        app.leader = ""
        elect(app, set(app.units))
    if all(u.machine != unit.machine for u in lookup.units(model)):
        model.machines[unit.machine].life = "dying"


def _drop_application(state: State, model: Model, app: Application) -> None:
    for view in list(lookup.views(state, model.uuid, app.name)):
        view.own.scope.clear()
        relations.end_relation(view.relation)
    secretbook.remove_of(state, model, f"application:{app.name}")
    del model.applications[app.name]


def elect(app: Application, present: set[str]) -> bool:
    """Gives leadership to the oldest unit that is alive and present, if nobody has it.

    Returns:
        Whether someone new was elected.
    """
    if app.leader in app.units and app.leader in present:
        return False
    for name in sorted(app.units, key=names.number_of):
        if name in present and app.units[name].life == "alive" and name != app.leader:
            if app.leader in app.units:
                app.units[app.leader].local.leader = False
            app.leader = name
            return True
    return False
