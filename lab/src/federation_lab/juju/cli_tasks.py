"""Verbs that run something on units."""

import shlex
from typing import Any

from federation_lab.juju.cliargs import (
    Command,
    Namespace,
    Parser,
    emit,
    key_values,
    list_of,
    read_yaml,
    render,
    say,
    table,
)
from federation_lab.juju.client import call
from federation_lab.juju.errors import JujuError, UsageError

_SHOWN = ("plain", "json", "yaml")
_DEFAULT_WAIT_S = 60.0


def _wait_args(parser: Parser) -> None:
    parser.add_argument("--wait", default="", help="how long to wait, such as 5m (default 60s)")
    parser.add_argument("--background", action="store_true", help="do not wait")
    parser.add_argument("--utc", action="store_true")
    parser.add_argument("--color", action="store_true")
    parser.add_argument("--no-color", action="store_true")
    parser.add_argument("--max-wait", default="")


def _run_args(parser: Parser) -> None:
    parser.add_argument("words", nargs="+", help="units, the action, and key=value parameters")
    parser.add_argument("--params", default="", help="a YAML file with parameters")
    parser.add_argument("--string-args", action="store_true", help="take values as texts")
    _wait_args(parser)


def split(words: list[str]) -> tuple[list[str], str, list[str]]:
    """Units, action and parameters of ``run``'s words.

    Raises:
        UsageError: There is no unit, or no action.
    """
    units: list[str] = []
    rest = list(words)
    while rest and "/" in rest[0] and "=" not in rest[0]:
        units.append(rest.pop(0))
    if not units:
        raise UsageError("no unit specified")
    if not rest or "=" in rest[0]:
        raise UsageError("no action specified")
    action, *params = rest
    for word in params:
        if "=" not in word:
            raise UsageError(f'argument "{word}" must be of the form key.key.key...=value')
    return units, action, params


def parameters(words: list[str], path: str, *, texts: bool) -> dict[str, Any]:
    """Parameters of an action: a file's, then the command line's; dots nest.

    Raises:
        JujuError: The file cannot be read.
    """
    found: dict[str, Any] = read_yaml(path) if path else {}
    for key, text in key_values(words, files=False).items():
        place = found
        *nest, last = key.split(".")
        for part in nest:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UsageError(f'"{key}": "{part}" is a value already')
        place[last] = text if texts else _typed(text)
    return found


def _typed(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return text


def _seconds(text: str) -> float:
    from federation_lab.juju.names import parse_duration

    return parse_duration(text).total_seconds() if text else _DEFAULT_WAIT_S


def _run(space: Namespace) -> int:
    units, action, words = split(space.words + space.rest)
    params = parameters(words, space.params, texts=space.string_args)
    try:
        started = call("run", model=space.model, units=units, action=action, params=params)
    except JujuError as error:
        if "(not found)" in error.message:
            raise JujuError(
                f"Operation failed to schedule any tasks:\n{error.message}", error.code
            ) from error
        raise
    return _follow(space, started)


def _follow(space: Namespace, started: dict[str, Any]) -> int:
    tasks: dict[str, str] = started["tasks"]
    plural = "s" if len(tasks) > 1 else ""
    say(f"Running operation {started['operation']} with {len(tasks)} task{plural}")
    for task, unit in tasks.items():
        say(f"  - task {task} on unit-{unit.replace('/', '-')}")
    if space.background:
        say(f"\nCheck operation status with 'juju show-operation {started['operation']}'")
        return 0
    say("")
    for task in tasks:
        say(f"Waiting for task {task}...")
    seconds = _seconds(space.wait or space.max_wait)
    ended = call(
        "wait_tasks",
        wait_s=seconds + 15,
        model=space.model,
        tasks=list(tasks),
        timeout_s=seconds,
    )
    results: dict[str, Any] = call("tasks", model=space.model, tasks=list(tasks))
    if not ended:
        waiting = [u for u, r in results.items() if r["status"] in {"pending", "running"}]
        emit(space, {u: r for u, r in results.items() if u not in waiting}, lambda: "")
        shown = "\n".join(f"unit {unit}" for unit in waiting)
        raise JujuError(f"timed out waiting for results from: {shown}")
    emit(space, results, lambda: _plain(results))
    failed = [
        r
        for r in results.values()
        if r["status"] != "completed" or r.get("results", {}).get("return-code", 0) != 0
    ]
    if not failed:
        return 0
    lines = [
        f' - id "{r["id"]}" with return code {r.get("results", {}).get("return-code", 1)}'
        for r in failed
    ]
    plural = "s" if len(failed) > 1 else ""
    raise JujuError(
        f"the following task{plural} failed:\n"
        + "\n".join(lines)
        + "\n\nuse 'juju show-task' to inspect the failure"
        + ("s" if plural else "")
    )


def _plain(results: dict[str, Any]) -> str:
    """What a person reads: one unit's results alone, several under their names."""
    if len(results) == 1:
        return _result(next(iter(results.values())))
    return "".join(f"{unit}:\n{_result(result)}" for unit, result in results.items())


def _result(result: dict[str, Any]) -> str:
    values: dict[str, Any] = dict(result.get("results", {}))
    values.pop("return-code", None)
    out, err = values.pop("stdout", ""), values.pop("stderr", "")
    text = "".join(f"{line}\n" for line in result.get("log", []))
    if result["status"] != "completed":
        text += f"Action id {result['id']} {result['status']}: {result.get('message', '')}\n"
    if values:
        text += render(dict(sorted(values.items())), "yaml")
    for part in (out, err):
        text += part if not part or part.endswith("\n") else part + "\n"
    return text


def _exec_args(parser: Parser) -> None:
    parser.add_argument("words", nargs="*", help="the command")
    parser.add_argument("-u", "--unit", action="append", default=[])
    parser.add_argument("--machine", action="append", default=[])
    parser.add_argument("-a", "--application", "--app", action="append", default=[])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--execution-group", default="")
    parser.add_argument("--parallel", default="")
    parser.add_argument("--operator", action="store_true")
    _wait_args(parser)


def _exec(space: Namespace) -> int:
    named = {
        key: [part for word in getattr(space, key) for part in list_of(word)]
        for key in ("unit", "machine", "application")
    }
    if not any(named.values()) and not space.all:
        raise UsageError(
            "You must specify a target with --all, --machine, --application or --unit "
            "(the lab's own form is: exec REGION -- COMMAND)"
        )
    words = [*space.words, *space.rest]
    if not words:
        raise UsageError("no commands specified")
    if space.all:
        shown = call("status", model=space.model, selectors=[])
        named["application"] = list(shown["applications"])
    started = call(
        "exec",
        model=space.model,
        units=named["unit"],
        machines=named["machine"],
        apps=named["application"],
        # One word is a line for the shell; several are a command whose words are kept apart.
        command=words[0] if len(words) == 1 else shlex.join(words),
    )
    return _follow(space, started)


def _actions_args(parser: Parser) -> None:
    parser.add_argument("app")
    parser.add_argument("--schema", action="store_true")


def _actions(space: Namespace) -> int:
    found: dict[str, Any] = call("actions", model=space.model, app=space.app)
    short = {name: body.get("description", "") for name, body in found.items()}
    rows = [(n, text.strip().partition("\n")[0]) for n, text in sorted(short.items())]
    return emit(
        space, found if space.schema else short, lambda: table(("Action", "Description"), rows)
    )


def _task_args(parser: Parser) -> None:
    parser.add_argument("id")
    _wait_args(parser)
    parser.add_argument("--watch", action="store_true")


def _show_task(space: Namespace) -> int:
    if space.wait:
        call("wait_tasks", wait_s=_seconds(space.wait) + 15, model=space.model,
             tasks=[space.id], timeout_s=_seconds(space.wait))  # fmt: skip
    found: dict[str, Any] = call("tasks", model=space.model, tasks=[space.id])
    result = next(iter(found.values()))
    return emit(space, result, lambda: _result(result))


def _show_operation(space: Namespace) -> int:
    found = call("operation", model=space.model, operation=space.id)
    return emit(space, found, lambda: render(found, "yaml"))


def _no_args(_: Parser) -> None:
    return None


def _operations(space: Namespace) -> int:
    found: dict[str, Any] = call("operations", model=space.model)
    rows = [
        (number, o["status"], o["timing"].get("started", ""), o["timing"].get("completed", ""),
         ",".join(o["tasks"]), o["summary"])
        for number, o in found.items()
    ]  # fmt: skip
    head = ("ID", "Status", "Started", "Finished", "Task IDs", "Summary")
    return emit(space, found, lambda: table(head, rows))


def _cancel_args(parser: Parser) -> None:
    parser.add_argument("ids", nargs="+")


def _cancel(space: Namespace) -> int:
    for task in space.ids:
        call("cancel_task", model=space.model, task=task)
    return 0


_RUN = Command("Runs an action on units and waits for it.", _run_args, _run, formats=_SHOWN)
_LISTED = ("tabular", "json", "yaml")

COMMANDS = {
    "run": _RUN,
    "run-action": _RUN,
    "exec": Command(
        "Runs a command on units (or: exec REGION -- COMMAND).", _exec_args, _exec, formats=_SHOWN
    ),
    "actions": Command("Lists a charm's actions.", _actions_args, _actions, formats=_LISTED),
    "show-task": Command("Shows a task.", _task_args, _show_task, formats=_SHOWN),
    "show-operation": Command("Shows an operation.", _task_args, _show_operation, formats=_SHOWN),
    "operations": Command("Lists operations.", _no_args, _operations, formats=_LISTED),
    "cancel-task": Command("Cancels tasks that have not begun.", _cancel_args, _cancel),
}
