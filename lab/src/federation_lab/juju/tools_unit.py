"""The hook tools about the unit itself: status, leadership, ports, actions, state, logs."""

from typing import Any

from federation_lab.juju.errors import ToolError
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.state import Status, Task
from federation_lab.juju.toolargs import Call, mapping_of, pairs, render

_SETTABLE = ("active", "blocked", "maintenance", "waiting", "terminated", "unknown")
_LEVELS = {"TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


def status_set(context: HookContext, call: Call) -> str:
    """Sets the workload's status, at once."""
    if not call.arguments:
        raise ToolError("invalid args, require <status> [message]", 2)
    current, *rest = call.arguments
    if current not in _SETTABLE:
        raise ToolError(f'invalid status "{current}", expected one of {list(_SETTABLE)}', 2)
    app = call.flag("application")
    if app and not context.leader:
        raise ToolError("this unit is not the leader")
    context.set_status(current, " ".join(rest), app=app)
    return ""


def _status(status: Status) -> dict[str, Any]:
    return {"status": status.current, "message": status.message, "status-data": status.data}


def status_get(context: HookContext, call: Call) -> str:
    """The workload's status."""
    full = call.flag("include-data")
    if call.flag("application"):
        if not context.leader:
            raise ToolError("finding application status: this unit is not the leader")
        answer: dict[str, Any] = {
            "application-status": {
                **_status(context.app.status),
                "units": {u.name: _status(u.workload) for u in context.app.units.values()},
            }
        }
        return render(answer if full else context.app.status.current, call.option("format"))
    held = context.unit.workload
    return render(_status(held) if full else held.current, call.option("format"))


def is_leader(context: HookContext, call: Call) -> str:
    """Whether this unit leads."""
    return render(context.leader, call.option("format"))


def leader_get(context: HookContext, call: Call) -> str:
    """The leader's settings, of before application databags."""
    settings = context.app.leader_settings
    key = call.arguments[0] if call.arguments else "-"
    value: Any = settings if key == "-" else settings.get(key)
    return render(value, call.option("format"))


def leader_set(context: HookContext, call: Call) -> str:
    """Sets the leader's settings."""
    if not context.leader:
        raise ToolError("cannot write leadership settings: not the leader")
    for key, value in pairs(call.arguments).items():
        if value:
            context.app.leader_settings[key] = value
        else:
            context.app.leader_settings.pop(key, None)
    return ""


def _port(text: str) -> str:
    ports, slash, protocol = text.partition("/")
    if text == "icmp":
        return "icmp"
    protocol = (protocol if slash else "tcp").lower()
    first, dash, last = ports.partition("-")
    low = int(first) if first.isdigit() else 0
    high = int(last) if last.isdigit() else low if not dash else 0
    if protocol not in {"tcp", "udp"} or not 1 <= low <= high <= 65535:
        raise ToolError(
            f'"{text}": expected <port>[/<protocol>] or <from>-<to>[/<protocol>] or icmp', 2
        )
    return f"{low}/{protocol}" if low == high else f"{low}-{high}/{protocol}"


def _endpoints(context: HookContext, call: Call) -> list[str]:
    named = [e for e in call.option("endpoints").split(",") if e and e != "*"]
    for endpoint in named:
        if endpoint not in context.app.charm.endpoints:
            raise ToolError(f'endpoint "{endpoint}" not found')
    return named or [""]


def open_port(context: HookContext, call: Call) -> str:
    """Notes that a port is open."""
    if not call.arguments:
        raise ToolError("no port or range specified", 2)
    ports = list(context.unit.ports if context.ports is None else context.ports)
    for endpoint in _endpoints(context, call):
        entry = f"{_port(call.arguments[0])} {endpoint}".strip()
        if entry not in ports:
            ports.append(entry)
    context.ports = sorted(ports)
    return ""


def close_port(context: HookContext, call: Call) -> str:
    """Notes that a port is closed."""
    if not call.arguments:
        raise ToolError("no port or range specified", 2)
    ports = list(context.unit.ports if context.ports is None else context.ports)
    for endpoint in _endpoints(context, call):
        entry = f"{_port(call.arguments[0])} {endpoint}".strip()
        ports = [p for p in ports if p != entry]
    context.ports = ports
    return ""


def opened_ports(context: HookContext, call: Call) -> str:
    """What is open."""
    ports = context.unit.ports if context.ports is None else context.ports
    if call.flag("endpoints"):
        grouped: dict[str, list[str]] = {}
        for entry in ports:
            port, _, endpoint = entry.partition(" ")
            grouped.setdefault(port, []).append(endpoint or "*")
        found = [f"{port} ({', '.join(names)})" for port, names in sorted(grouped.items())]
    else:
        found = sorted({entry.partition(" ")[0] for entry in ports})
    return render(found, call.option("format"))


def juju_log(context: HookContext, call: Call) -> str:
    """Writes into the model's log."""
    if not call.arguments:
        raise ToolError("no message specified", 2)
    level = (call.option("l", "log-level") or "INFO").upper()
    context.log("DEBUG" if call.flag("debug") else level if level in _LEVELS else "INFO",
                " ".join(call.arguments))  # fmt: skip
    return ""


def application_version_set(context: HookContext, call: Call) -> str:
    """The workload's version."""
    if len(call.arguments) != 1:
        raise ToolError("no version specified" if not call.arguments else "too many arguments", 2)
    context.unit.workload_version = call.arguments[0]
    return ""


def _task(context: HookContext, tool: str) -> Task:
    if context.task is None:
        raise ToolError(f"not running an action: {tool} works in actions only")
    return context.task


def action_get(context: HookContext, call: Call) -> str:
    """An action's parameters."""
    value: Any = _task(context, "action-get").params
    if call.arguments:
        for part in call.arguments[0].split("."):
            value = value.get(part) if isinstance(value, dict) else None  # pyright: ignore
    return render(value, call.option("format"))


def action_set(context: HookContext, call: Call) -> str:
    """An action's results; dots in keys make nested ones."""
    task = _task(context, "action-set")
    for key, value in pairs(call.arguments).items():
        place = task.results
        *path, last = key.split(".")
        if path and path[0] in {"stdout", "stderr", "return-code"}:
            raise ToolError(f'cannot set reserved action key "{path[0]}"')
        for part in path:
            held = place.get(part)
            if not isinstance(held, dict):
                held = place[part] = {}
            place = held
        place[last] = value
    return ""


def action_fail(context: HookContext, call: Call) -> str:
    """Makes an action failed."""
    task = _task(context, "action-fail")
    task.status = "failed"
    task.message = (
        " ".join(call.arguments) or "action failed without reason given, check action for errors"
    )
    return ""


def action_log(context: HookContext, call: Call) -> str:
    """A progress message of an action."""
    stamp = context.clock().strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    _task(context, "action-log").log.append(f"{stamp} {' '.join(call.arguments)}")
    return ""


def state_get(context: HookContext, call: Call) -> str:
    """What the charm keeps in the controller."""
    held = context.unit.state if context.kept is None else context.kept
    key = call.arguments[0] if call.arguments else "-"
    return render(held if key == "-" else held.get(key, ""), call.option("format"))


def state_set(context: HookContext, call: Call) -> str:
    """Keeps values in the controller."""
    held = dict(context.unit.state if context.kept is None else context.kept)
    if call.option("file"):
        held.update(mapping_of(call.files.get(call.option("file"), "")))
    held.update(pairs(call.arguments))
    context.kept = held
    return ""


def state_delete(context: HookContext, call: Call) -> str:
    """Drops a value kept in the controller."""
    held = dict(context.unit.state if context.kept is None else context.kept)
    for key in call.arguments:
        held.pop(key, None)
    context.kept = held
    return ""


def juju_reboot(context: HookContext, call: Call) -> str:
    """Asks for the machine to be restarted: after the hook, or now."""
    context.reboot = "now" if call.flag("now") else "after"
    return ""


def resource_get(context: HookContext, call: Call) -> str:
    """The path of a resource in the machine."""
    if not call.arguments:
        raise ToolError("missing resource name", 2)
    name = call.arguments[0]
    if name not in context.app.charm.resources:
        raise ToolError(f'could not download resource: resource "{name}" not found')
    if name not in context.app.resources:
        raise ToolError(f'could not download resource: resource "{name}" was not given to deploy '
                        f'(--resource {name}=FILE)')  # fmt: skip
    return context.app.resources[name] + "\n"


def credential_get(context: HookContext, call: Call) -> str:
    """The cloud's credential, for trusted applications."""
    if not context.app.trust:
        raise ToolError("permission denied")
    answer = {"type": "lab", "name": "lab", "region": context.model.name, "endpoint": "",
              "credential": {"auth-type": "empty", "attrs": {}}}  # fmt: skip
    return render(answer, call.option("format"))


def storage_list(context: HookContext, call: Call) -> str:
    """Storage attached to the unit: the lab attaches none."""
    return render([], call.option("format"))


def storage_get(context: HookContext, call: Call) -> str:
    """One attached storage: the lab attaches none."""
    raise ToolError("no storage id specified: the lab attaches no storage", 2)
