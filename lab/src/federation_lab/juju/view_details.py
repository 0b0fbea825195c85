"""Units, applications, configuration, models, secrets and tasks as Juju's JSON. Pure."""

import hashlib
from datetime import datetime
from typing import Any

from federation_lab.juju import JUJU_VERSION, lookup, names
from federation_lab.juju.deployment import settings
from federation_lab.juju.state import Application, Model, Secret, State, Task, Unit
from federation_lab.juju.view_status import CLOUD, CONTROLLER


def unit(state: State, model: Model, held: Unit) -> dict[str, Any]:
    """``show-unit`` of one unit."""
    app = model.applications[names.application_of(held.name)]
    machine = model.machines.get(held.machine)
    return {
        "workload-version": held.workload_version,
        "machine": held.machine,
        "opened-ports": sorted({entry.partition(" ")[0] for entry in held.ports}),
        "public-address": machine.address if machine else "",
        "charm": f"local:{app.charm.name}-{app.charm_revision}",
        "leader": app.leader == held.name,
        "life": held.life,
        "relation-info": [_relation(state, view, held) for view in
                          lookup.views(state, model.uuid, app.name)],
        "provider-id": machine.name if machine else "",
        "address": machine.address if machine else "",
    }  # fmt: skip


def _relation(state: State, view: lookup.View, held: Unit) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "relation-id": view.own.id,
        "endpoint": view.own.endpoint,
        "related-endpoint": view.remote.endpoint,
        "application-data": dict(view.remote.app_data),
        "local-unit": {
            "in-scope": held.name in view.own.scope,
            "data": dict(view.own.unit_data.get(held.name, {})),
        },
    }
    if view.relation.cross_model:
        shown["cross-model"] = True
    related = {
        name: {
            "in-scope": True,
            "data": dict(view.remote.unit_data.get(view.real_name(name), {})),
        }
        for name in lookup.members(state, view, held.name)
    }
    if related:
        shown["related-units"] = related
    return shown


def application(model: Model, app: Application) -> dict[str, Any]:
    """``show-application`` of one application."""
    return {
        "charm": app.charm.name,
        "base": app.base.removesuffix("/stable"),
        "channel": "",
        "principal": True,
        "exposed": app.exposed,
        "remote": False,
        "life": app.life,
        "endpoint-bindings": {e: app.bindings.get(e, "alpha") for e in app.charm.endpoints},
        "units": {
            u.name: {
                "machine": u.machine,
                "workload-version": u.workload_version,
                "leader": app.leader == u.name,
                "life": u.life,
                "public-address": model.machines[u.machine].address,
            }
            for u in app.units.values()
            if u.machine in model.machines
        },
        **({"constraints": app.constraints} if app.constraints else {}),
    }


def config(app: Application) -> dict[str, Any]:
    """``config --format json`` of an application."""
    values = settings(app)
    shown: dict[str, Any] = {}
    for name, option in app.charm.options.items():
        entry: dict[str, Any] = {"description": option.description, "type": option.type}
        if option.default is not None:
            entry["default"] = option.default
        if name in values:
            entry["value"] = values[name]
        default = app.config.get(name, option.default) == option.default
        entry["source"] = "unset" if name not in values else "default" if default else "user"
        shown[name] = entry
    return {
        "application": app.name,
        "application-config": {
            "trust": {
                "default": False,
                "description": "Does this application have access to trusted credentials",
                "source": "user" if app.trust else "default",
                "type": "bool",
                "value": app.trust,
            }
        },
        "charm": app.charm.name,
        "settings": shown,
    }


def model(state: State, held: Model) -> dict[str, Any]:
    """``show-model`` of one model."""
    return {
        "name": f"admin/{held.name}",
        "short-name": held.name,
        "model-uuid": held.uuid,
        "model-type": "iaas",
        "controller-uuid": state.controller_uuid,
        "controller-name": CONTROLLER,
        "is-controller": False,
        "owner": "admin",
        "cloud": CLOUD,
        "region": held.name,
        "type": "lab",
        "life": held.life,
        "status": {
            "current": "available" if held.life == "alive" else "destroying",
            "since": names.since(held.created),
        },
        "users": {"admin": {"display-name": "admin", "access": "admin",
                            "last-connection": "just now"}},
        "machines": {m.id: {"cores": 0} for m in held.machines.values()},
        "secret-backends": {"internal": {"num-secrets": len(held.secrets), "status": "active"}},
        "agent-version": JUJU_VERSION,
        "credential": {"name": "lab", "owner": "admin", "cloud": CLOUD,
                       "validity-check": "valid"},
    }  # fmt: skip


_MODEL_DEFAULTS: dict[str, Any] = {
    "agent-version": JUJU_VERSION,
    "automatically-retry-hooks": True,
    "default-base": "",
    "default-space": "alpha",
    "development": False,
    "logging-config": "<root>=INFO",
    "net-bond-reconfigure-delay": 17,
    "test-mode": False,
    "update-status-hook-interval": "5m",
}


def model_config(held: Model) -> dict[str, Any]:
    """``model-config --format json``."""
    fixed: dict[str, Any] = {"name": held.name, "type": "lab", "uuid": held.uuid}
    shown: dict[str, Any] = {
        key: {"Value": value, "Source": "default"} for key, value in _MODEL_DEFAULTS.items()
    }
    for key, value in {**fixed, **held.config}.items():
        shown[key] = {"Value": value, "Source": "model"}
    return dict(sorted(shown.items()))


def model_keys() -> frozenset[str]:
    """The model options that can be set."""
    return frozenset(_MODEL_DEFAULTS.keys() - {"agent-version"})


def _owner(owner: str) -> str:
    kind, _, name = owner.partition(":")
    return "<model>" if kind == "user" else name


def secret(
    state: State,
    held: Secret,
    *,
    reveal: bool = False,
    revision: int | None = None,
    revisions: bool = False,
) -> dict[str, Any]:
    """One secret as ``secrets`` and ``show-secret`` have it."""
    shown: dict[str, Any] = {
        "revision": held.latest.number,
        "owner": _owner(held.owner),
        "created": names.iso(held.created),
        "updated": names.iso(held.updated),
        "checksum": _checksum(held.latest.content),
    }
    optional = {
        "name": held.name,
        "label": held.label,
        "description": held.description,
        "rotation": held.rotate if held.rotate != "never" else "",
        "rotates": names.iso(held.rotate_at) if held.rotate_at else "",
        "expires": names.iso(held.latest.expires) if held.latest.expires else "",
    }
    shown |= {key: value for key, value in optional.items() if value}
    if held.grants:
        shown["access"] = [_grant(state, held, g.target, g.relation) for g in held.grants]
    if revisions:
        shown["revisions"] = [
            {
                "revision": r.number,
                "backend": "internal",
                "created": names.iso(r.created),
                "updated": names.iso(r.created),
                **({"expires": names.iso(r.expires)} if r.expires else {}),
            }
            for r in held.revisions
        ]
    if reveal:
        wanted = revision or held.latest.number
        content = next(r.content for r in held.revisions if r.number == wanted)
        shown["content"] = {"Data": dict(content)}
    return shown


def _checksum(content: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for key in sorted(content):
        digest.update(f"{key}={content[key]}\n".encode())
    return digest.hexdigest()


def _grant(state: State, held: Secret, target: str, relation: str) -> dict[str, str]:
    kind, model_uuid, name = target.split(":", 2)
    if model_uuid != held.model and model_uuid in state.models:
        app = state.models[model_uuid].applications.get(names.application_of(name))
        name = f"remote-{app.token}" if app else name
    joined = state.relations.get(relation)
    keys = [f"{e.alias}:{e.endpoint}" for e in joined.ends] if joined else []
    scope = f"relation-{'#'.join(keys).replace(':', '.')}" if keys else f"model-{held.model}"
    return {"target": f"{kind}-{name.replace('/', '-')}", "scope": scope, "role": "view"}


def task(held: Task) -> dict[str, Any]:
    """One task's result, as ``run`` and ``show-task`` have it."""
    results = dict(held.results)
    if held.completed is not None and held.started is not None:
        results["return-code"] = held.return_code
        if held.stdout:
            results["stdout"] = held.stdout
        if held.stderr:
            results["stderr"] = held.stderr
    timing = {
        name: _moment(moment)
        for name, moment in (
            ("enqueued", held.enqueued),
            ("started", held.started),
            ("completed", held.completed),
        )
        if moment
    }
    shown: dict[str, Any] = {"id": held.id, "status": held.status, "timing": timing}
    if held.unit:
        shown["unit"] = held.unit
    if held.machine:
        shown["machine"] = held.machine
    if held.message:
        shown["message"] = held.message
    if results:
        shown["results"] = results
    if held.log:
        shown["log"] = list(held.log)
    return shown


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
