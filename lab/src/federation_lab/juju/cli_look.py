"""Verbs that look: status, units, logs."""

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from federation_lab.juju.cliargs import Command, Namespace, Parser, emit, render, table
from federation_lab.juju.client import call

_SHOWN = ("tabular", "json", "yaml")


def _status_args(parser: Parser) -> None:
    parser.add_argument("selectors", nargs="*")
    for flag in ("--relations", "--storage", "--utc", "--color", "--no-color", "--integrations"):
        parser.add_argument(flag, action="store_true")


def _status(space: Namespace) -> int:
    found = call("status", model=space.model, selectors=space.selectors)
    return emit(
        space, found, lambda: tabular(found, relations=space.relations or space.integrations)
    )


def tabular(status: dict[str, Any], *, relations: bool = False) -> str:
    """Status as a person reads it, in Juju's tables."""
    model = status["model"]
    parts = [
        table(
            ("Model", "Controller", "Cloud/Region", "Version", "SLA", "Timestamp"),
            [(model["name"], model["controller"], f"{model['cloud']}/{model['region']}",
              model["version"], model["sla"], status["controller"]["timestamp"])],
        )
    ]  # fmt: skip
    parts += _saas(status.get("application-endpoints", {}))
    applications: dict[str, Any] = status["applications"]
    if applications:
        parts += [_applications(applications), _units(applications)]
    if status["machines"]:
        parts.append(_machines(status["machines"]))
    parts += _offers(status.get("offers", {}))
    if relations:
        parts.append(_relations(applications))
    if not applications and not status.get("application-endpoints"):
        parts.append(f'Model "admin/{model["name"]}" is empty.\n')
    return "\n".join(parts)


def _applications(applications: dict[str, Any]) -> str:
    rows = [
        (name, app.get("version", ""), app["application-status"]["current"],
         len(app.get("units", {})), app["charm-name"], app.get("charm-channel", ""),
         app["charm-rev"], "yes" if app["exposed"] else "no",
         app["application-status"].get("message", ""))
        for name, app in sorted(applications.items())
    ]  # fmt: skip
    head = ("App", "Version", "Status", "Scale", "Charm", "Channel", "Rev", "Exposed", "Message")
    return table(head, rows)


def _units(applications: dict[str, Any]) -> str:
    rows: list[tuple[object, ...]] = []
    for _, app in sorted(applications.items()):
        for name, unit in app.get("units", {}).items():
            work, agent = unit["workload-status"], unit["juju-status"]
            message = work.get("message", "") or (
                f"({agent['message']})" if agent.get("message") else ""
            )
            rows.append(
                (name + ("*" if unit.get("leader") else ""), work["current"], agent["current"],
                 unit["machine"], unit.get("public-address", ""),
                 ",".join(unit.get("open-ports", [])), message)
            )  # fmt: skip
    return table(
        ("Unit", "Workload", "Agent", "Machine", "Public address", "Ports", "Message"), rows
    )


def _machines(machines: dict[str, Any]) -> str:
    rows: list[tuple[object, ...]] = []
    todo = list(machines.items())
    while todo:
        name, machine = todo.pop(0)
        rows.append(
            (name, machine["juju-status"]["current"], machine["dns-name"],
             machine["instance-id"], f"{machine['base']['name']}@{machine['base']['channel']}",
             machine["machine-status"].get("message", ""))
        )  # fmt: skip
        todo = [*machine.get("containers", {}).items(), *todo]
    return table(("Machine", "State", "Address", "Inst id", "Base", "Message"), rows)


def _saas(saas: dict[str, Any]) -> list[str]:
    if not saas:
        return []
    rows = [
        (name, s["application-status"]["current"], s["url"].partition(":")[0],
         s["url"].partition(":")[2])
        for name, s in sorted(saas.items())
    ]  # fmt: skip
    return [table(("SAAS", "Status", "Store", "URL"), rows)]


def _offers(offers: dict[str, Any]) -> list[str]:
    rows = [
        (name, o["application"], o["charm"].rpartition(":")[2].rpartition("-")[0],
         o["charm"].rpartition("-")[2],
         f"{o['active-connected-count']}/{o['total-connected-count']}", endpoint,
         e["interface"], e["role"])
        for name, o in sorted(offers.items())
        for endpoint, e in o["endpoints"].items()
    ]  # fmt: skip
    head = ("Offer", "Application", "Charm", "Rev", "Connected", "Endpoint", "Interface", "Role")
    return [table(head, rows)] if rows else []


def _relations(applications: dict[str, Any]) -> str:
    rows = [
        (f"{name}:{endpoint}", relation["related-application"], relation["interface"])
        for name, app in sorted(applications.items())
        for endpoint, found in app.get("relations", {}).items()
        for relation in found
    ]
    return table(("Integration", "With", "Interface"), rows)


def _names(parser: Parser) -> None:
    parser.add_argument("names", nargs="+")
    parser.add_argument("--app", action="store_true")
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--related-unit", default="")


def _show_unit(space: Namespace) -> int:
    found = call("show_unit", model=space.model, units=space.names)
    return emit(space, found, lambda: render(found, "yaml"))


def _show_application(space: Namespace) -> int:
    found = call("show_application", model=space.model, apps=space.names)
    return emit(space, found, lambda: render(found, "yaml"))


def _log_args(parser: Parser) -> None:
    parser.add_argument("-n", "--lines", type=int, default=10)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--level", "-l", default="")
    parser.add_argument("-i", "--include", action="append", default=[])
    parser.add_argument("-x", "--exclude", action="append", default=[])
    for flag in ("--replay", "--tail", "--no-tail", "--date", "--ms", "--utc", "--color"):
        parser.add_argument(flag, action="store_true")


def _wanted(line: str, space: Namespace) -> bool:
    source = line.partition(":")[0]
    level = line.split(" ", 3)[2] if line.count(" ") > 2 else ""
    levels = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    if space.level and level in levels and levels.index(level) < levels.index(space.level.upper()):
        return False
    tags = [tag.replace("/", "-") for tag in space.include]
    if tags and not any(source in {tag, f"unit-{tag}", f"machine-{tag}"} for tag in tags):
        return False
    return not any(source.endswith(tag.replace("/", "-")) for tag in space.exclude)


def _debug_log(space: Namespace) -> int:
    path = Path(call("log_file", model=space.model))
    everything = space.replay or space.limit is not None
    lines: deque[str] = deque(maxlen=None if everything else space.lines)
    position = 0
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            lines.extend(line for line in file if _wanted(line, space))
            position = file.tell()
    shown = list(lines)[: space.limit] if space.limit else list(lines)
    sys.stdout.writelines(shown)
    follow = space.tail or (
        not space.no_tail and space.limit is None and os.isatty(sys.stdout.fileno())
    )
    while follow:
        sys.stdout.flush()
        time.sleep(0.3)
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                file.seek(position if path.stat().st_size >= position else 0)
                sys.stdout.writelines(line for line in file if _wanted(line, space))
                position = file.tell()
    return 0


def _status_log_args(parser: Parser) -> None:
    parser.add_argument("name")
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--type", default="unit")


def _status_log(space: Namespace) -> int:
    path = Path(call("log_file", model=space.model))
    call("show_unit", model=space.model, units=[space.name])
    tag = "unit-" + space.name.replace("/", "-") + ":"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith(tag)]
    sys.stdout.writelines(f"{line}\n" for line in lines[-space.n :])
    return 0


COMMANDS = {
    "status": Command("Shows a model's status.", _status_args, _status, formats=_SHOWN),
    "show-unit": Command("Shows units in full.", _names, _show_unit, formats=("yaml", "json")),
    "show-application": Command(
        "Shows applications in full.", _names, _show_application, formats=("yaml", "json")
    ),
    "show-status-log": Command("Shows what a unit said.", _status_log_args, _status_log),
    "debug-log": Command("Shows a model's log.", _log_args, _debug_log),
}
