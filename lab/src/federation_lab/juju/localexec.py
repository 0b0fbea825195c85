"""What ``juju-exec`` in a machine asks for: a command in a context of a unit, after its hooks."""

from typing import TYPE_CHECKING

from federation_lab.juju import names, tools
from federation_lab.juju.state import Model, Task, Unit

if TYPE_CHECKING:
    from federation_lab.juju.controller import Controller


def add(model: Model, unit: Unit, command: str, task: Task) -> Task:
    """Puts a task beside those that the controller was asked for; it belongs to no operation."""
    task.id, task.unit, task.machine = str(model.next_task), unit.name, unit.machine
    task.command = command
    model.next_task += 1
    model.tasks[task.id] = task
    return task


def drop_orphans(model: Model) -> None:
    """Forgets what a controller before this one was asked for: nobody waits for it any more."""
    for task in [t for t in model.tasks.values() if not t.operation]:
        del model.tasks[task.id]


async def run(controller: "Controller", uuid: str, name: str, command: str) -> tools.Answer:
    """Runs a command as the unit's next hook, and waits for its end.

    Cancelled before it began (the caller is gone), it does not run.

    Args:
        controller: The controller.
        uuid: The model's.
        name: The unit's.
        command: A line for the shell.
    """
    unit = _unit(controller, uuid, name)
    model = controller.state.models.get(uuid)
    if model is None or unit is None:
        return tools.Answer(1, "", f'ERROR unit "{name}" not found on this machine\n')
    empty = Task(id="", operation="", unit="", action="juju-exec", enqueued=controller.now())
    task = add(model, unit, command, empty)
    controller.touch()

    def ended() -> bool:
        return task.completed is not None or _unit(controller, uuid, name) is None

    try:
        async with controller.changed:
            await controller.changed.wait_for(ended)
    finally:
        if task.status != "running":
            model.tasks.pop(task.id, None)
    if task.completed is None:
        return tools.Answer(1, "", "ERROR the unit is gone\n")
    return tools.Answer(task.return_code, task.stdout, task.stderr)


def _unit(controller: "Controller", uuid: str, name: str) -> Unit | None:
    model = controller.state.models.get(uuid)
    app = model.applications.get(names.application_of(name)) if model else None
    return app.units.get(name) if app else None
