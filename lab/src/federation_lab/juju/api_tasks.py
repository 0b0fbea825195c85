"""The controller's methods about actions and commands on units."""

import asyncio
import contextlib
from typing import Any, cast

from federation_lab.juju import lookup, names, view_details
from federation_lab.juju.controller import Controller
from federation_lab.juju.errors import JujuError
from federation_lab.juju.state import Model, Task

_ENDED = {"completed", "failed", "cancelled", "aborted", "error"}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def check_params(action: str, schema: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """An action's parameters, with defaults, checked against what the charm says of them.

    Raises:
        JujuError: One is missing, unknown or of another type.
    """
    known = cast("dict[str, dict[str, Any]]", schema.get("params") or {})
    if schema.get("additionalProperties") is False:
        for name in params:
            if name not in known:
                raise JujuError(
                    f'validation failed: (root) : additional property "{name}" is not allowed, '
                    f"given {params} (action {action} knows {', '.join(known) or 'none'})"
                )
    for name in cast("list[str]", schema.get("required") or []):
        if name not in params:
            raise JujuError(f'validation failed: (root) : "{name}" property is missing and '
                            f"required, given {params}")  # fmt: skip
    for name, value in params.items():
        _check_value(name, known.get(name) or {}, value)
    defaults = {n: body["default"] for n, body in known.items() if "default" in (body or {})}
    return {**defaults, **params}


def _check_value(name: str, body: dict[str, Any], value: object) -> None:
    kind = str(body.get("type", ""))
    allowed = _TYPES.get(kind)
    wrong = allowed is not None and not isinstance(value, allowed)
    if wrong or (isinstance(value, bool) and kind in {"integer", "number"}):
        raise JujuError(
            f"validation failed: (root).{name} : must be of type {kind}, given {value!r}"
        )
    choices = body.get("enum")
    if isinstance(choices, list) and value not in cast("list[object]", choices):
        raise JujuError(f"validation failed: (root).{name} : must be one of {choices}, "
                        f"given {value!r}")  # fmt: skip


class Tasks:
    """Methods about tasks.

    Args:
        controller: The controller.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def _model(self, name: str) -> Model:
        return lookup.model_named(self._controller.state, name or self._controller.state.current)

    def _enqueue(self, model: Model, tasks: list[Task]) -> dict[str, Any]:
        operation = str(model.next_task)
        model.next_task += 1
        for task in tasks:
            task.operation, task.id = operation, str(model.next_task)
            model.next_task += 1
            model.tasks[task.id] = task
        _prune(model)
        self._controller.touch()
        return {"operation": operation, "tasks": {t.id: t.unit or t.machine for t in tasks}}

    def api_run(self, model: str, units: list[str], action: str,
                params: dict[str, Any]) -> dict[str, Any]:  # fmt: skip
        """Asks units to run an action."""
        held = self._model(model)
        tasks: list[Task] = []
        for name in units:
            unit = lookup.unit(held, name)
            app = held.applications[names.application_of(unit.name)]
            schema = app.charm.actions.get(action)
            if schema is None:
                known = ", ".join(sorted(app.charm.actions)) or "no actions"
                raise JujuError(
                    f'action "{action}" not defined on unit "{unit.name}" (not found); '
                    f"charm {app.charm.name} has {known}",
                    "not found",
                )
            task = Task(
                id="", operation="", unit=unit.name, machine=unit.machine, action=action,
                params=check_params(action, schema, params), enqueued=self._controller.now(),
            )  # fmt: skip
            tasks.append(task)
        return self._enqueue(held, tasks)

    def api_exec(self, model: str, units: list[str], machines: list[str], apps: list[str],
                 command: str) -> dict[str, Any]:  # fmt: skip
        """Asks units, or units on machines, to run a command."""
        held = self._model(model)
        chosen = [lookup.unit(held, name).name for name in units]
        for app in apps:
            chosen += list(lookup.application(held, app).units)
        for identifier in machines:
            lookup.machine(held, identifier)
            there = [u.name for u in lookup.units(held) if u.machine == identifier]
            if not there:
                raise JujuError(f"machine {identifier} has no units whose agent could run it")
            chosen.append(there[0])
        now = self._controller.now()
        return self._enqueue(
            held,
            [
                Task(id="", operation="", unit=name, machine=held_unit.machine,
                     action="juju-exec", command=command, enqueued=now)
                for name in chosen
                for held_unit in [lookup.unit(held, name)]
            ],
        )  # fmt: skip

    async def api_wait_tasks(self, model: str, tasks: list[str], timeout_s: float) -> bool:
        """Waits until tasks have ended.

        Returns:
            Whether they have.
        """
        held = self._model(model)

        def ended() -> bool:
            return all((held.tasks[t].status in _ENDED and held.tasks[t].completed)
                       or held.tasks[t].status == "cancelled"
                       for t in tasks if t in held.tasks)  # fmt: skip

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._controller.changed:
                await self._controller.changed.wait_for(ended)
        return ended()

    def api_tasks(self, model: str, tasks: list[str]) -> dict[str, Any]:
        """Results of tasks, by unit."""
        held = self._model(model)
        for task in tasks:
            if task not in held.tasks:
                raise JujuError(f'task "{task}" not found', "not found")
        return {
            held.tasks[t].unit or held.tasks[t].machine: view_details.task(held.tasks[t])
            for t in tasks
        }

    def api_operation(self, model: str, operation: str) -> dict[str, Any]:
        """One operation with its tasks."""
        held = self._model(model)
        found = [t for t in held.tasks.values() if t.operation == operation]
        if not found:
            raise JujuError(f'operation "{operation}" not found', "not found")
        return {
            operation: {
                "summary": f"{found[0].action} run on {', '.join(t.unit for t in found)}",
                "status": _summary(found),
                "action": {"name": found[0].action, "parameters": found[0].params},
                "timing": view_details.task(found[0])["timing"],
                "tasks": {t.id: {"host": t.unit, **view_details.task(t)} for t in found},
            }
        }

    def api_operations(self, model: str) -> dict[str, Any]:
        """All operations that are remembered."""
        held = self._model(model)
        # What juju-exec in a machine asked for is no operation.
        found = sorted({t.operation for t in held.tasks.values() if t.operation}, key=int)
        return {o: self.api_operation(model, o)[o] for o in found}

    def api_cancel_task(self, model: str, task: str) -> None:
        """Cancels a task that has not begun."""
        held = self._model(model).tasks.get(task)
        if held is None:
            raise JujuError(f'task "{task}" not found', "not found")
        if held.status == "pending":
            held.status, held.completed = "cancelled", self._controller.now()
        self._controller.touch()

    def api_actions(self, model: str, app: str) -> dict[str, Any]:
        """The actions of an application's charm."""
        return lookup.application(self._model(model), app).charm.actions


def _summary(tasks: list[Task]) -> str:
    for status in ("running", "pending", "failed", "cancelled"):
        if any(t.status == status for t in tasks):
            return status
    return "completed"


def _prune(model: Model, keep: int = 200) -> None:
    """Forgets the oldest tasks that have ended."""
    ended = [t for t in model.tasks.values() if t.status in _ENDED]
    for task in sorted(ended, key=lambda t: int(t.id))[:-keep]:
        del model.tasks[task.id]
