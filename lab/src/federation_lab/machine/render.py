"""What systemctl prints. Pure but for the clock's reading that a unit carries."""

from __future__ import annotations

import fnmatch
import time

from federation_lab.machine import policy
from federation_lab.machine.loader import full_name
from federation_lab.machine.options import Options
from federation_lab.machine.service import Service
from federation_lab.machine.unit import Unit

_MARKS = {"active": "●", "reloading": "↻", "activating": "●", "failed": "\u00d7"}
_WHY = {
    "timeout": "because a timeout was exceeded",
    "exit-code": "because the control process exited with error code",
    "signal": "because a fatal signal was delivered to the control process",
    "core-dump": "because a fatal signal was delivered causing the control process to dump core",
    "protocol": "because the service did not take the steps required by its unit configuration",
    "resources": "because of unavailable resources or another system error",
    "start-limit-hit": "because start of the service was attempted too often",
}


def failure(name: str, result: str) -> str:
    """Say that a job failed, and where to look."""
    if result == "dependency":
        return f"A dependency job for {name} failed. See 'journalctl -xe' for details."
    if result not in _WHY:
        return f"Job for {name} failed: {result}."
    return (
        f"Job for {name} failed {_WHY[result]}.\n"
        f'See "systemctl status {name}" and "journalctl -xeu {name}" for details.'
    )


def matching(names: list[str], known: list[str]) -> list[str]:
    """Complete names, and replace patterns by what they match."""
    found: list[str] = []
    for name in names:
        if any(mark in name for mark in "*?["):
            found.extend(fnmatch.filter(known, name) or fnmatch.filter(known, f"{name}.service"))
        else:
            found.append(full_name(name))
    return found


def absent(name: str) -> Unit:
    """Give a unit that stands for one that isn't there."""
    return Unit(name, Service(name))


def show(properties: dict[str, str], options: Options) -> list[str]:
    """Give the lines of `systemctl show`."""
    wanted = options.properties or list(properties)
    found = [(key, properties[key]) for key in wanted if key in properties]
    return [value if options.value else f"{key}={value}" for key, value in found]


def table(units: list[Unit], options: Options) -> list[str]:
    """Give the lines of `systemctl list-units`."""
    shown = [unit for unit in units if _shown(unit, options)]
    rows = [
        (unit.name, "loaded", unit.active, unit.sub, unit.service.description or unit.name)
        for unit in sorted(shown, key=lambda unit: unit.name)
    ]
    if not options.no_legend:
        rows.insert(0, ("UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = [
        "  " + " ".join([*(row[c].ljust(widths[c]) for c in range(4)), row[4]]) for row in rows
    ]
    if not options.no_legend:
        lines.append(f"\n{len(shown)} loaded units listed.")
    return lines


def _shown(unit: Unit, options: Options) -> bool:
    if options.names and unit.name not in matching(options.names, [unit.name]):
        return False
    if options.types and unit.name.rpartition(".")[2] not in options.types:
        return False
    if options.failed:
        return unit.active == "failed"
    if options.states:
        return unit.active in options.states or unit.sub in options.states
    return options.everything or unit.active != "inactive"


def status(unit: Unit, enablement: str, members: list[int], lines: list[str]) -> str:
    """Give the text of `systemctl status` for one unit."""
    mark = _MARKS.get(unit.active, "○")
    active = f"{unit.active} ({unit.sub})"
    if unit.active == "failed":
        active = f"failed (Result: {unit.result})"
    if unit.changed_at:
        moment = time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(unit.changed_at))
        active += f" since {moment}"
    found = [
        f"{mark} {unit.name} - {unit.service.description or unit.name}",
        f"     Loaded: loaded ({unit.service.path}; {enablement})",
        f"     Active: {active}",
    ]
    if unit.main_pid:
        found.append(f"   Main PID: {unit.main_pid}")
    elif unit.status is not None:
        found.append(f"   Main PID: {unit.last_pid} ({_end(policy.end_of(unit.status))})")
    if unit.text:
        found.append(f'     Status: "{unit.text}"')
    if members:
        found.append(f"      Tasks: {', '.join(map(str, members))}")
    return "\n".join([*found, "", *lines] if lines else found)


def _end(end: int | str) -> str:
    return f"code=exited, status={end}" if isinstance(end, int) else f"code=killed, signal={end}"
