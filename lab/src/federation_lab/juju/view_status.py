"""``juju status`` in Juju 3.6's JSON. Pure."""

from datetime import datetime
from typing import Any

from federation_lab.juju import JUJU_VERSION, lookup, names
from federation_lab.juju.state import Application, Machine, Model, State, Status, Unit

CONTROLLER = "lab"
CLOUD = "lab"
_SEVERITY = (
    "error", "blocked", "maintenance", "waiting", "active", "terminated", "unknown",
)  # fmt: skip


def _status(status: Status, **more: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"current": status.current}
    if status.message:
        shown["message"] = status.message
    return {**shown, "since": names.since(status.since), **more}


def workload(model: Model, unit: Unit) -> Status:
    """A unit's workload status as status shows it: its own, or what overrules it."""
    machine = model.machines.get(unit.machine)
    if machine is not None and machine.agent.current == "down" and machine.lost_since:
        return Status(
            current="unknown",
            message=f"agent lost, see 'juju show-status-log {unit.name}'",
            since=machine.lost_since,
        )
    if unit.error is not None:
        return Status(
            current="error",
            message=f'hook failed: "{unit.error.name}"',
            since=unit.agent.since,
        )
    return unit.workload


def agent(model: Model, unit: Unit) -> Status:
    """A unit's agent status; lost if its machine is silent."""
    machine = model.machines.get(unit.machine)
    if machine is not None and machine.agent.current == "down" and machine.lost_since:
        return Status(
            current="lost",
            message="agent is not communicating with the server",
            since=machine.lost_since,
        )
    return unit.agent


def application_status(model: Model, app: Application) -> Status:
    """What the leader set, or else the worst of the units'."""
    if app.status_set:
        return app.status
    units = [workload(model, unit) for unit in app.units.values()]
    ranked = sorted(
        units,
        key=lambda s: _SEVERITY.index(s.current) if s.current in _SEVERITY else len(_SEVERITY),
    )
    return ranked[0] if ranked else Status(current="unknown", since=app.status.since)


def _ports(unit: Unit) -> list[str]:
    return sorted({entry.partition(" ")[0] for entry in unit.ports})


def _unit(model: Model, app: Application, unit: Unit) -> dict[str, Any]:
    machine = model.machines.get(unit.machine)
    shown: dict[str, Any] = {
        "workload-status": _status(workload(model, unit)),
        "juju-status": _status(agent(model, unit), version=JUJU_VERSION),
        "machine": unit.machine,
        "public-address": machine.address if machine else "",
    }
    if app.leader == unit.name:
        shown["leader"] = True
    if unit.ports:
        shown["open-ports"] = _ports(unit)
    if unit.life != "alive":
        shown["juju-status"]["life"] = unit.life
    return shown


def _base(text: str) -> dict[str, str]:
    name, _, channel = text.partition("@")
    return {"name": name, "channel": channel.partition("/")[0]}


def _application(state: State, model: Model, app: Application) -> dict[str, Any]:
    relations: dict[str, list[dict[str, str]]] = {}
    for view in lookup.views(state, model.uuid, app.name):
        if view.relation.life == "dying" and not view.own.scope:
            continue
        relations.setdefault(view.own.endpoint, []).append(
            {
                "related-application": view.remote_app,
                "interface": view.own.interface,
                "scope": "global",
            }
        )
    versions = [u.workload_version for u in app.units.values() if u.workload_version]
    shown: dict[str, Any] = {
        "charm": f"local:{app.charm.name}-{app.charm_revision}",
        "base": _base(app.base),
        "charm-origin": "local",
        "charm-name": app.charm.name,
        "charm-rev": app.charm_revision,
        "exposed": app.exposed,
        "application-status": _status(application_status(model, app)),
        "endpoint-bindings": {
            "": app.bindings.get("", "alpha"),
            **{e: app.bindings.get(e, app.bindings.get("", "alpha")) for e in app.charm.endpoints},
        },
    }
    if app.charm.version:
        shown["charm-version"] = app.charm.version
    if app.life != "alive":
        shown["life"] = app.life
    if relations:
        shown["relations"] = relations
    if app.units:
        shown["units"] = {
            unit.name: _unit(model, app, unit)
            for unit in sorted(app.units.values(), key=lambda u: names.number_of(u.name))
        }
    if versions:
        shown["version"] = versions[0]
    return shown


def _machine(model: Model, machine: Machine) -> dict[str, Any]:
    containers = {
        m.id: _machine(model, m)
        for m in model.machines.values()
        if m.id.startswith(f"{machine.id}/") and m.id.count("/") == machine.id.count("/") + 2
    }
    shown: dict[str, Any] = {
        "juju-status": _status(machine.agent, version=JUJU_VERSION),
        "hostname": machine.name,
        "dns-name": machine.address,
        "ip-addresses": [machine.address] if machine.address else [],
        "instance-id": machine.name,
        "machine-status": _status(machine.status),
        "modification-status": {
            "current": "idle",
            "since": names.since(machine.status.since),
        },
        "base": _base(machine.base),
        "network-interfaces": {
            "eth0": {
                "ip-addresses": [machine.address] if machine.address else [],
                "mac-address": "",
                "space": "alpha",
                "is-up": machine.agent.current != "down",
            }
        },
        "constraints": machine.constraints,
        "hardware": "arch=amd64",
    }
    if containers:
        shown["containers"] = containers
    return shown


def _saas(state: State, model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for saas in model.saas.values():
        relations: dict[str, list[str]] = {}
        for relation in state.relations.values():
            for end in relation.ends[1:]:
                if relation.saas == saas.name and end.model == model.uuid:
                    relations.setdefault(relation.ends[0].endpoint, []).append(end.app)
        offering = state.models.get(saas.model)
        offer = offering.offers.get(saas.offer) if offering else None
        status = saas.status
        if (
            offering is not None
            and offer is not None
            and offer.application in (offering.applications)
        ):
            status = application_status(offering, offering.applications[offer.application])
        found[saas.name] = {
            "url": f"{CONTROLLER}:{saas.url}",
            "endpoints": {
                name: {"interface": interface, "role": role}
                for name, (role, interface) in saas.endpoints.items()
            },
            "application-status": _status(status),
            **({"life": saas.life} if saas.life != "alive" else {}),
            **({"relations": relations} if relations else {}),
        }
    return found


def _offers(state: State, model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for offer in model.offers.values():
        app = model.applications[offer.application]
        joined = [r for r in state.relations.values() if r.offer == f"{model.uuid}.{offer.name}"]
        found[offer.name] = {
            "application": offer.application,
            "charm": f"local:{app.charm.name}-{app.charm_revision}",
            "total-connected-count": len(joined),
            "active-connected-count": sum(1 for r in joined if not r.suspended),
            "endpoints": {
                name: {
                    "interface": app.charm.endpoints[name].interface,
                    "role": app.charm.endpoints[name].role,
                }
                for name in offer.endpoints
                if name in app.charm.endpoints
            },
        }
    return found


def matches(app: Application, selectors: list[str]) -> bool:
    """Whether status is to show an application: one named, or whose unit is named."""
    return not selectors or any(
        app.name == s or s in app.units or s.partition("/")[0] == app.name for s in selectors
    )


def status(
    state: State, model: Model, now: datetime, selectors: list[str] | None = None
) -> dict[str, Any]:
    """The whole of ``juju status --format json``.

    Args:
        state: Everything.
        model: The model.
        now: The time.
        selectors: Applications or units to show alone.
    """
    chosen = [a for a in model.applications.values() if matches(a, selectors or [])]
    used = {u.machine.partition("/")[0] for a in chosen for u in a.units.values()}
    current = "destroying" if model.life != "alive" else "available"
    return {
        "model": {
            "name": model.name,
            "type": "iaas",
            "controller": CONTROLLER,
            "cloud": CLOUD,
            "region": model.name,
            "version": JUJU_VERSION,
            "model-status": {"current": current, "since": names.since(model.created)},
            "sla": "unsupported",
        },
        "machines": {
            m.id: _machine(model, m)
            for m in model.machines.values()
            if "/" not in m.id and (not selectors or m.id in used)
        },
        "applications": {a.name: _application(state, model, a) for a in chosen},
        **({"application-endpoints": saas} if (saas := _saas(state, model)) else {}),
        **({"offers": found} if (found := _offers(state, model)) else {}),
        "storage": {},
        "controller": {"timestamp": now.strftime("%H:%M:%SZ")},
    }
