"""The agent of one unit: runs the next hook as long as there is one."""

import asyncio
import contextlib
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from federation_lab.juju import names, planner
from federation_lab.juju.errors import JujuError
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.hookrun import Outcome, Runner
from federation_lab.juju.planner import Hook
from federation_lab.juju.state import HookError, Model, Status, Task, Unit

if TYPE_CHECKING:
    from federation_lab.juju.controller import Controller

_RETRY_FIRST = timedelta(seconds=5)
_RETRY_MOST = timedelta(minutes=5)
_OUTPUT_MOST = 64 * 1024


def retry_delay(attempts: int) -> timedelta:
    """How long until a failed hook is tried again: 5 s, doubling, at most 5 min."""
    return min(_RETRY_FIRST * 2 ** min(attempts - 1, 10), _RETRY_MOST)


class UnitAgent:
    """One unit's agent, a task of the controller.

    Args:
        controller: The controller, with state, machines and locks.
        model: UUID of the unit's model.
        unit: The unit's name.
    """

    def __init__(self, controller: "Controller", model: str, unit: str) -> None:
        self._controller = controller
        self._model = model
        self._name = unit
        self.wake = asyncio.Event()
        self._runner = Runner(controller)

    @property
    def model(self) -> Model | None:
        """The unit's model, while it is there."""
        return self._controller.state.models.get(self._model)

    @property
    def unit(self) -> Unit | None:
        """The unit, while it is there."""
        app = self.model.applications.get(names.application_of(self._name)) if self.model else None
        return app.units.get(self._name) if app else None

    async def run(self) -> None:
        """Works until the unit is gone."""
        while True:
            self.wake.clear()
            model, unit = self.model, self.unit
            if model is None or unit is None:
                return
            if unit.life != "alive" and (unit.force or planner.finished(unit)):
                unit.life = "dead"
                self._controller.touch()
                return
            if not await self._step(model, unit):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), timeout=5)

    async def _step(self, model: Model, unit: Unit) -> bool:
        """One hook, if there is one to run.

        Returns:
            Whether something was run and there may be more.
        """
        machine = self._controller.machine(model, unit.machine)
        if machine is None or not machine.alive:
            return False
        boot = model.machines[unit.machine].boot
        if unit.local.boot != boot:
            unit.local.restarted = unit.local.restarted or unit.local.started
            unit.local.boot = boot
        if planner.enter_scopes(self._controller.state, model, unit):
            self._controller.touch()
        hook = self._next(model, unit)
        if hook is None:
            self._idle(unit)
            return False
        # Somebody waits for an action's end, so it doesn't wait itself.
        slot = contextlib.nullcontext() if hook.task else self._controller.slots.place()
        async with self._controller.machine_lock(model, unit.machine), slot:
            if not machine.alive:
                return False
            again = self._next(model, unit)
            if again is not None:
                await self._execute(model, unit, again)
        return True

    def _next(self, model: Model, unit: Unit) -> Hook | None:
        now = self._controller.now()
        error = unit.error
        if error is None:
            return planner.next_hook(self._controller.state, model, unit, now)
        if error.resolved == "skip":
            unit.error = None
            failed = Hook.model_validate(error.hook)
            planner.complete(self._controller.state, model, unit, failed, now)
            self._controller.touch()
            return planner.next_hook(self._controller.state, model, unit, now)
        due = error.retry_at is not None and error.retry_at <= now
        if error.resolved == "retry" or due:
            return Hook.model_validate(error.hook)
        return None

    def _idle(self, unit: Unit) -> None:
        if unit.error is None and unit.agent.current != "idle":
            unit.agent = Status(current="idle", since=self._controller.now())
            self._controller.touch(wake=False)

    async def _execute(self, model: Model, unit: Unit, hook: Hook) -> None:
        controller = self._controller
        what = "action" if hook.kind == "action" else "hook"
        unit.agent = Status(
            current="executing", message=f"running {hook.name} {what}", since=controller.now()
        )
        task = model.tasks.get(hook.task) if hook.task else None
        if task is not None:
            task.status, task.started = "running", controller.now()
        context = HookContext(
            state=controller.state,
            model=model,
            unit=unit,
            hook=hook,
            clock=controller.now,
            log=lambda level, text: controller.log(
                model, names.unit_tag(unit.name), level, f"unit.{unit.name}.juju-log {text}"
            ),
            task=task,
        )
        if hook.kind == "install":
            context.set_status("maintenance", "installing charm software", app=False)
        started = time.monotonic()
        try:
            outcome = await self._runner.run(context)
        except (OSError, JujuError) as error:
            outcome = Outcome(code=1, stderr=str(error))
        seconds = time.monotonic() - started
        controller.store.record_hook(
            {
                "time": names.iso(controller.now()),
                "model": model.name,
                "unit": unit.name,
                "hook": hook.name,
                "seconds": round(seconds, 4),
                "exit": outcome.code,
            }
        )
        self._after(model, unit, context, outcome)
        controller.touch()
        await controller.save()

    def _after(self, model: Model, unit: Unit, context: HookContext, outcome: Outcome) -> None:
        controller = self._controller
        machine = controller.machine(model, unit.machine)
        if outcome.code != 0 and (machine is None or not machine.alive):
            # The machine went down under the hook; it is run again when the machine is back.
            if context.task is not None:
                context.task.status = "pending"
            return
        now = controller.now()
        self._log_output(model, unit, context.hook, outcome)
        if context.task is not None:
            _finish_task(context.task, outcome, now)
            if outcome.code == 0:
                context.flush()
        elif outcome.code == 0:
            context.flush()
            unit.error = None
            planner.complete(controller.state, model, unit, context.hook, now)
            if context.hook.kind == "stop":
                context.set_status("terminated", "", app=False)
        else:
            self._failed(model, unit, context.hook, outcome)
        if context.reboot and outcome.code == 0:
            controller.reboot_soon(model, unit.machine)

    def _failed(self, model: Model, unit: Unit, hook: Hook, outcome: Outcome) -> None:
        controller = self._controller
        attempts = unit.error.attempts + 1 if unit.error else 1
        retries = str(model.config.get("automatically-retry-hooks", True)).lower() == "true"
        now = controller.now()
        unit.error = HookError(
            hook=hook.model_dump(),
            name=hook.name,
            attempts=attempts,
            retry_at=now + retry_delay(attempts) if retries else None,
        )
        unit.agent = Status(current="idle", since=now)
        controller.log(
            model,
            names.unit_tag(unit.name),
            "ERROR",
            f'juju.worker.uniter.operation hook "{hook.name}" (via explicit, bespoke hook script) '
            f"failed: exit status {outcome.code}",
        )

    def _log_output(self, model: Model, unit: Unit, hook: Hook, outcome: Outcome) -> None:
        if hook.kind == "action":
            return
        for level, text in (("INFO", outcome.stdout), ("WARNING", outcome.stderr)):
            if text.strip():
                lines = "\n".join(
                    f"unit.{unit.name}.{hook.name} {line}" for line in text.splitlines()
                )
                self._controller.log(model, names.unit_tag(unit.name), level, lines)


def _finish_task(task: Task, outcome: Outcome, now: datetime) -> None:
    task.completed = now
    task.return_code = outcome.code
    task.stdout = outcome.stdout[-_OUTPUT_MOST:]
    task.stderr = outcome.stderr[-_OUTPUT_MOST:]
    if task.status == "failed":
        return
    task.status = "completed"
    if outcome.code != 0 and task.action:
        task.status = "failed"
        task.message = task.message or f"exit status {outcome.code}"
