"""The hook tools about relations and networks."""

import ipaddress
from typing import Any

from federation_lab.juju import lookup, names
from federation_lab.juju.deployment import settings
from federation_lab.juju.errors import ToolError
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.toolargs import Call, mapping_of, pairs, render


def _style(call: Call) -> str:
    return call.option("format")


def relation_ids(context: HookContext, call: Call) -> str:
    """Numbers of an endpoint's relations."""
    name = call.arguments[0] if call.arguments else context.hook.endpoint
    if not name:
        raise ToolError("no endpoint name specified", 2)
    found = [
        view.id
        for view in lookup.views(context.state, context.model.uuid, context.app.name)
        if view.own.endpoint == name and context.knows(view)
    ]
    return render(sorted(found), call.option("format") or "smart")


def relation_list(context: HookContext, call: Call) -> str:
    """Remote units, or with ``--app`` the remote application."""
    view = context.view(call.option("r", "relation"))
    if call.flag("app"):
        return render(view.remote_app, _style(call))
    told = context.unit.local.relations.get(view.relation.uid)
    members = set(told.members) if told else set[str]()
    hook = context.hook
    if hook.kind == "relation-joined" and hook.relation == view.relation.uid:
        members.add(hook.remote_unit)
    if hook.kind == "relation-departed" and hook.relation == view.relation.uid:
        members.discard(hook.remote_unit)
    return render(sorted(members, key=names.number_of), _style(call))


def relation_get(context: HookContext, call: Call) -> str:
    """Settings of a unit or an application in a relation."""
    view = context.view(call.option("r", "relation"))
    arguments = list(call.arguments)
    key = arguments.pop(0) if arguments else "-"
    whom = arguments.pop(0) if arguments else context.hook.remote_unit
    if call.flag("app"):
        whom = whom.partition("/")[0] or context.hook.remote_app or view.remote_app
        data = _app_bag(context, view, whom)
    else:
        if not whom:
            raise ToolError("no unit id specified", 2)
        data = _unit_bag(context, view, whom)
    if key not in {"-", ""}:
        return render(data.get(key), _style(call))
    return render(data, _style(call))


def _app_bag(context: HookContext, view: lookup.View, app: str) -> dict[str, str]:
    if app == context.app.name:
        if not view.peer and not context.leader:
            raise ToolError("permission denied")
        return context.bag(view, None)
    if app != view.remote_app:
        raise ToolError(f'application "{app}" is not part of relation "{view.id}": not found')
    return dict(view.remote.app_data)


def _unit_bag(context: HookContext, view: lookup.View, unit: str) -> dict[str, str]:
    if unit == context.unit.name:
        return context.bag(view, unit)
    app, slash, number = unit.partition("/")
    if not slash:
        # An application's name reads its bag, as Juju allows it.
        return _app_bag(context, view, app)
    if app != view.remote_app or not number.isdigit():
        raise ToolError(f'cannot read settings for unit "{unit}" in relation "{view.id}": '
                        f'unit "{unit}": settings not found')  # fmt: skip
    real = view.real_name(unit)
    if real not in view.remote.unit_data:
        raise ToolError(f'permission denied: unit "{unit}" is not in relation "{view.id}"')
    return dict(view.remote.unit_data[real])


def relation_set(context: HookContext, call: Call) -> str:
    """Notes own settings, flushed when the hook ends well."""
    view = context.view(call.option("r", "relation"))
    changes: dict[str, str] = {}
    name = call.option("file")
    if name:
        changes.update(mapping_of(call.files.get(name, "")))
    changes.update(pairs(call.arguments))
    if call.flag("app"):
        if not context.leader:
            raise ToolError("cannot write relation settings")
        context.write(view, None, changes)
    else:
        context.write(view, context.unit.name, changes)
    return ""


def relation_model_get(context: HookContext, call: Call) -> str:
    """The UUID of the model at the other end."""
    view = context.view(call.option("r", "relation"))
    return render({"uuid": view.remote.model}, call.option("format") or "yaml")


def network_get(context: HookContext, call: Call) -> str:
    """Addresses of an endpoint: in the lab every endpoint is bound to the machine's only one."""
    if not call.arguments:
        raise ToolError("no arguments specified", 2)
    binding = call.arguments[0]
    known = context.app.charm.endpoints.keys() | set(context.app.charm.extra_bindings)
    if binding not in known:
        raise ToolError(f'no network config found for binding "{binding}"')
    relation = call.option("r", "relation")
    if relation:
        number = int(relation.rpartition(":")[2]) if relation.rpartition(":")[2].isdigit() else -1
        if all(
            v.own.id != number
            for v in lookup.views(context.state, context.model.uuid, context.app.name)
        ):
            raise ToolError(f"relation {relation} not found")
    machine = context.model.machines[context.unit.machine]
    network = ipaddress.ip_network(f"{machine.address}/24", strict=False)
    bound: dict[str, Any] = {
        "mac-address": "",
        "interface-name": "eth0",
        "addresses": [
            {
                "hostname": "",
                "value": machine.address,
                "cidr": str(network),
                "address": machine.address,
            }
        ],
    }
    answer: dict[str, Any] = {
        "bind-addresses": [bound],
        "egress-subnets": [f"{machine.address}/32"],
        "ingress-addresses": [machine.address],
    }
    wanted = [
        (flag, value)
        for flag, value in (
            ("bind-address", machine.address),
            ("ingress-address", machine.address),
            ("egress-subnets", answer["egress-subnets"]),
        )
        if call.flag(flag)
    ]
    if len(wanted) == 1:
        return render(wanted[0][1], _style(call))
    return render(dict(wanted) if wanted else answer, call.option("format") or "yaml")


def unit_get(context: HookContext, call: Call) -> str:
    """The unit's address, by its old names."""
    if not call.arguments or call.arguments[0] not in {"private-address", "public-address"}:
        shown = call.arguments[0] if call.arguments else ""
        raise ToolError(f'unknown setting "{shown}"')
    return render(context.model.machines[context.unit.machine].address, _style(call))


def goal_state(context: HookContext, call: Call) -> str:
    """The units and relations that there are to be."""

    def entry(moment: Any, status: str) -> dict[str, str]:
        return {"status": status, "since": moment.strftime("%Y-%m-%d %H:%M:%SZ")}

    units = {
        unit.name: entry(unit.workload.since, unit.workload.current)
        for unit in context.app.units.values()
    }
    goal: dict[str, dict[str, Any]] = {}
    for view in lookup.views(context.state, context.model.uuid, context.app.name):
        if view.peer:
            continue
        there = goal.setdefault(view.own.endpoint, {})
        there[view.remote_app] = entry(view.relation.status.since, view.relation.status.current)
        for member in lookup.members(context.state, view, context.unit.name):
            there[member] = entry(view.relation.status.since, "active")
    return render({"units": units, "relations": goal}, call.option("format") or "yaml")


def config_get(context: HookContext, call: Call) -> str:
    """The charm's configuration: defaults and what was set."""
    values = settings(context.app)
    if call.arguments:
        return render(values.get(call.arguments[0]), _style(call))
    if call.flag("a", "all"):
        values = {name: values.get(name) for name in context.app.charm.options}
    return render(values, call.option("format") or "yaml")
