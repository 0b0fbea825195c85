"""The controller: holds the state, starts machines, runs the agents and answers hook tools."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

from federation_lab.juju import (
    deployment,
    hookrun,
    localexec,
    lookup,
    names,
    offers,
)
from federation_lab.juju.agent import UnitAgent
from federation_lab.juju.errors import JujuError
from federation_lab.juju.provider import Machine, Provider, inside
from federation_lab.juju.slots import Slots
from federation_lab.juju.state import Machine as MachineState
from federation_lab.juju.state import Model, Status
from federation_lab.juju.store import Store
from federation_lab.juju.toolserver import ToolServer
from federation_lab.juju.trees import Trees
from federation_lab.tasks import end

logger = logging.getLogger(__name__)


LEVELS = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def log_level(model: Model) -> str:
    """From which level on a model's units are logged, by its ``logging-config``."""
    level = "INFO"
    for part in str(model.config.get("logging-config", "")).replace(";", " ").split():
        name, _, wanted = part.partition("=")
        if name in {"<root>", "unit"} and wanted.upper() in LEVELS:
            level = wanted.upper()
    return level


class Controller:
    """State, machines and agents.

    Args:
        folder: ``LAB_HOME/juju``.
        provider: What makes machines.
        clock: Gives the time.
    """

    def __init__(self, folder: Path, provider: Provider, clock: Callable[[], datetime]) -> None:
        self.store = Store(folder)
        self.provider = provider
        self.now = clock
        self.state = self.store.load()
        provider.trees.mkdir(parents=True, exist_ok=True)
        self.trees = Trees(provider.trees)
        self.slots = Slots()
        self.tools = ToolServer(lambda: self.touch(wake=False))
        self.changed = asyncio.Condition()
        self._machines: dict[str, Machine] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._agents: dict[tuple[str, str], tuple[UnitAgent, asyncio.Task[None]]] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._kick = asyncio.Event()

    # What agents ask for.

    def machine(self, model: Model, identifier: str) -> Machine | None:
        """A machine that was started, or None if it is not there yet."""
        held = model.machines.get(identifier)
        return self._machines.get(held.name) if held else None

    def machine_lock(self, model: Model, identifier: str) -> asyncio.Lock:
        """The machine's lock: one hook at a time on a machine."""
        return self._locks.setdefault(f"{model.uuid}/{identifier}", asyncio.Lock())

    def charm_file(self, sha256: str) -> Path:
        """The controller's own copy of a packed charm."""
        return self.store.folder / "charms" / f"{sha256}.charm"

    def running_file(self, model: Model, unit: str) -> Path:
        """Where the process of a unit's running hook is noted."""
        name = f"{model.name}-{names.unit_tag(unit)}"
        return self.store.folder / "running" / name

    def log(self, model: Model, source: str, level: str, text: str) -> None:
        """Writes into a model's log, from the level on that the model asks for."""
        if LEVELS.index(level) < LEVELS.index(log_level(model)):
            return
        self.store.log(model.name, self.now(), source, level, text)

    def touch(self, *, wake: bool = True) -> None:
        """Says that the state changed: it is saved soon, and agents look again."""
        self.store.mark()
        self._kick.set()
        if wake:
            for agent, _ in self._agents.values():
                agent.wake.set()

    async def save(self) -> None:
        """Returns when the state is on disk."""
        await self.store.save(self.state)
        async with self.changed:
            self.changed.notify_all()

    # The loop.

    async def run(self) -> None:
        """Works until cancelled."""
        for record in (self.store.folder / "running").iterdir():
            await asyncio.to_thread(hookrun.kill_left_over, record)
        self._recover()
        try:
            while True:
                self._kick.clear()
                try:
                    self._turn()
                except Exception:
                    # A fault about one thing must not end the agents of all the others.
                    logger.exception("fault in the lab's controller")
                if self.store.dirty:
                    await self.save()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._kick.wait(), timeout=1)
                # Several changes in a row are one turn.
                await asyncio.sleep(0.02)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        await end([*(task for _, task in self._agents.values()), *self._jobs.values()])
        self.tools.close()
        await self.save()

    def _recover(self) -> None:
        """Puts right what a controller that died left half done."""
        for model in self.state.models.values():
            localexec.drop_orphans(model)
            for task in model.tasks.values():
                if task.status == "running":
                    task.status = "failed"
                    task.message = "the controller was restarted while it ran"
                    task.completed = self.now()
            for machine in model.machines.values():
                if machine.status.current == "provisioning":
                    machine.status = Status(current="pending", since=self.now())
        self.store.mark()

    def _turn(self) -> None:
        for model in list(self.state.models.values()):
            for gone in deployment.reap(self.state, model):
                self._destroy(model, gone)
            offers.drop_saas(self.state, model)
            for machine in model.machines.values():
                self._watch(model, machine)
            self._lead(model)
            for unit in lookup.units(model):
                self._ensure_agent(model, unit.name)
            if model.life == "dying" and not model.applications and not model.machines:
                self._finish_model(model)
        for key, (_, task) in list(self._agents.items()):
            if task.done():
                del self._agents[key]
                if not task.cancelled() and task.exception() is not None:
                    logger.error("agent of %s ended", key[1], exc_info=task.exception())

    def _ensure_agent(self, model: Model, unit: str) -> None:
        key = (model.uuid, unit)
        if key not in self._agents:
            agent = UnitAgent(self, model.uuid, unit)
            task = asyncio.create_task(agent.run(), name=f"{model.name}:{unit}")
            self._agents[key] = (agent, task)
            task.add_done_callback(lambda _: self._kick.set())

    def job(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs one thing in the background, once at a time under its name."""
        if name not in self._jobs:
            self._jobs[name] = asyncio.create_task(self._job(name, work), name=name)

    async def _job(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except (OSError, RuntimeError, JujuError, ValueError) as error:
            logger.error("%s: %s", name, error)
            await asyncio.sleep(2)
        finally:
            self._jobs.pop(name, None)
            self._kick.set()

    # Machines.

    def _watch(self, model: Model, machine: MachineState) -> None:
        held = self._machines.get(machine.name)
        if held is None:
            # One after the other, so that addresses follow the machines' numbers.
            self.job(f"start machines of {model.name}", lambda: self._start(model, machine))
            return
        if held.alive:
            if machine.agent.current != "started":
                machine.agent = Status(current="started", since=self.now())
                machine.lost_since = None
                self.job(f"boot {machine.name}", lambda: self._booted(model, machine, held))
        elif machine.agent.current != "down":
            machine.agent = Status(
                current="down",
                message="agent is not communicating with the server",
                since=self.now(),
            )
            machine.lost_since = self.now()
            self.touch()

    async def _start(self, model: Model, machine: MachineState) -> None:
        found = await asyncio.to_thread(self.provider.find, model.name, machine.name)
        # One that never ran was being made when the controller ended: it is made to its end. One
        # that ran and is down was killed, and stays so.
        if found is None or machine.status.current != "running":
            machine.status = Status(current="provisioning", since=self.now())
            try:
                found = await asyncio.to_thread(self.provider.create, model.name, machine.name)
            except (OSError, RuntimeError, ValueError) as error:
                machine.status = Status(
                    current="provisioning error", message=str(error), since=self.now()
                )
                self.touch()
                raise
        machine.address = found.address
        if machine.status.current != "running":
            machine.status = Status(current="running", message="Running", since=self.now())
        machine.agent = Status(current="pending", since=self.now())
        self._machines[machine.name] = found
        self.touch()

    async def _booted(self, model: Model, machine: MachineState, held: Machine) -> None:
        """Tells a boot of the machine from the one before, by a mark that no boot survives."""
        mark = inside(held, f"{self.provider.run_dir}/lab-juju-boot")
        if mark.exists():
            machine.boot = mark.read_text()
        else:
            machine.boot = names.new_uuid()
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(machine.boot)
        # juju-exec is there before the first hook after a boot, and of this controller.
        for unit in lookup.units(model):
            if unit.machine == machine.id and unit.local.installed:
                await hookrun.listen(self, model, unit, held)
        self.touch()

    def reboot_soon(self, model: Model, identifier: str) -> None:
        """Restarts a machine, as ``juju-reboot`` asked."""
        machine = model.machines[identifier]

        async def work() -> None:
            async with self.machine_lock(model, identifier):
                await asyncio.to_thread(self.provider.reboot, model.name, machine.name)
            found = await asyncio.to_thread(self.provider.find, model.name, machine.name)
            if found is not None:
                self._machines[machine.name] = found
            machine.agent = Status(current="pending", since=self.now())
            self.touch()

        self.job(f"reboot {machine.name}", work)

    def _destroy(self, model: Model, machine: MachineState) -> None:
        self._machines.pop(machine.name, None)
        self.tools.close(machine.name)
        region, name = model.name, machine.name
        self.job(f"destroy {name}", lambda: asyncio.to_thread(self.provider.destroy, region, name))

    def _finish_model(self, model: Model) -> None:
        self.job(f"remove {model.name}", lambda: self._remove_model(model))

    async def _remove_model(self, model: Model) -> None:
        """Takes a model's region away, then the model: until that succeeds it is tried again."""
        # Not beside what still makes or ends its machines: one's folders would go under the other.
        prefixes = (f"destroy {model.name}-", f"start machines of {model.name}")
        busy = [task for name, task in self._jobs.items() if name.startswith(prefixes)]
        await asyncio.gather(*busy, return_exceptions=True)
        await asyncio.to_thread(self.provider.remove_region, model.name)
        del self.state.models[model.uuid]
        if self.state.current == model.name:
            self.state.current = next((m.name for m in self.state.models.values()), "")
        self.touch()

    def _lead(self, model: Model) -> None:
        """Passes leadership on where the leader has been silent for a lease's time."""
        for app in model.applications.values():
            present: set[str] = set()
            for unit in app.units.values():
                machine = model.machines.get(unit.machine)
                lost = machine.lost_since if machine else None
                if lost is None or self.now() - lost < deployment.LEASE:
                    present.add(unit.name)
            if deployment.elect(app, present):
                self.log(model, "controller", "INFO", f"{app.leader} is leader of {app.name}")
                self.touch()

    # Charms.

    async def keep_charm(self, source: Path, sha256: str) -> None:
        """Copies a packed charm, so that the next build does not change what is deployed."""
        target = self.charm_file(sha256)
        if not target.exists():
            partial = target.with_suffix(".partial")
            await asyncio.to_thread(shutil.copyfile, source, partial)
            partial.replace(target)
        # Unpacked while the machine boots.
        self.job(f"unpack {sha256}", lambda: self._unpack(sha256))

    async def _unpack(self, sha256: str) -> None:
        await self.trees.get(self.charm_file(sha256), sha256)
