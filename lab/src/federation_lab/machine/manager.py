"""The service manager's jobs: what a start or a stop of a unit means for others."""

from __future__ import annotations

import contextlib

from federation_lab.machine import policy
from federation_lab.machine.journal import Journal
from federation_lab.machine.lifecycle import Job, Lifecycle
from federation_lab.machine.loader import Loader, MaskedError, NotFoundError
from federation_lab.machine.loop import Loop, Task, Until
from federation_lab.machine.notify import Notify
from federation_lab.machine.service import Service
from federation_lab.machine.unit import Unit
from federation_lab.machine.unitfile import UnitFileError


class Manager(Lifecycle):
    """All units of a machine."""

    def __init__(self, loop: Loop, loader: Loader, journal: Journal, notify: Notify) -> None:
        super().__init__(loop, journal, notify)
        self.loader = loader

    def unit(self, name: str) -> Unit:
        """Give a unit; its file is read at the first time and after `reload_files`.

        Raises:
            NotFoundError: there is no such unit.
            MaskedError: it is masked.
            UnitFileError: its file cannot be understood.
        """
        if name in self.units:
            return self.units[name]
        try:
            real = self.loader.canonical(name)
            if real in self.units:
                return self.units[real]
            service = self.loader.load(real)
        except NotFoundError:
            if not name.endswith(".target"):
                raise
            # A target without a file is a name for its .wants directory.
            real, service = name, Service(name, kind="oneshot", remain=True)
        unit = self.units[real] = Unit(real, service)
        self._tell_ignored(unit)
        return unit

    def reload_files(self) -> None:
        """Read all unit files again; what runs goes on with what it was started with."""
        for name, unit in list(self.units.items()):
            try:
                unit.service = self.loader.load(name)
                self._tell_ignored(unit)
            except (MaskedError, NotFoundError):
                if unit.active in ("inactive", "failed") and not unit.busy:
                    del self.units[name]
            except UnitFileError as error:
                self.log(name, f"{name}: {error}")

    def start(self, name: str, *, automatic: bool = False) -> Job:
        """Start a unit and what it requires; ends with the reason when it doesn't come up."""
        unit = self.unit(name)
        failed = yield from self._start_required(unit)
        if failed:
            return failed
        epoch = unit.epoch
        if not automatic:
            unit.epoch += 1
        yield from self.take(unit)
        try:
            if unit.up or self.stopping or (automatic and epoch != unit.epoch):
                return None
            if automatic:
                unit.restarts += 1
            failed = yield from self.bring_up(unit)
        finally:
            self.give_back(unit)
        return failed

    def stop(self, name: str) -> Job:
        """Stop a unit and the units that require it."""
        unit = self.unit(name)
        unit.epoch += 1
        for other in self._requiring(unit):
            if other.up or other.busy:
                yield from self.stop(other.name)
        yield from self.take(unit)
        try:
            if unit.active not in ("inactive", "failed"):
                yield from self.bring_down(unit)
            unit.ended = False
        finally:
            self.give_back(unit)
        return None

    def restart(self, name: str) -> Job:
        """Stop and start a unit, and start again what had to stop with it."""
        unit = self.unit(name)
        also = [other.name for other in self._requiring(unit) if other.up]
        yield from self.stop(name)
        failed = yield from self.start(name)
        for other in also:
            if not failed:
                yield from self.start(other)
        return failed

    def reload(self, name: str) -> Job:
        """Run a unit's ExecReload."""
        unit = self.unit(name)
        yield from self.take(unit)
        try:
            if not unit.up:
                return "not active"
            unit.set("reloading", "reload")
            deadline = self.deadline(unit.service.start_timeout_s)
            failed = yield from self.commands(unit, "ExecReload", deadline)
            if unit.active == "reloading":
                unit.set("active", "running" if unit.main_pid else "exited")
        finally:
            self.give_back(unit)
        return failed

    def boot(self) -> Job:
        """Start what is enabled, each behind the units that it is to be after."""
        names = self.loader.wanted_by("multi-user.target") + self.loader.wanted_by(
            "default.target"
        )
        units: dict[str, Unit] = {}
        for name in names:
            with contextlib.suppress(LookupError, UnitFileError):
                unit = self.unit(name)
                units[unit.name] = unit
        after = {name: list(unit.service.lists.get("After", ())) for name, unit in units.items()}
        for name, unit in units.items():
            for later in unit.service.lists.get("Before", ()):
                after.setdefault(later, []).append(name)
        tasks: dict[str, Task] = {}
        for name in policy.ordered(units, after):
            earlier = [tasks[other] for other in after[name] if other in tasks]
            tasks[name] = self.loop.spawn(self._behind(name, earlier))
        yield Until(lambda: all(task.done for task in tasks.values()))
        return None

    def shut_down(self) -> Job:
        """Stop all units at once, and then the loop."""
        self.stopping = True
        tasks = [self.loop.spawn(self.stop(name)) for name, unit in list(self.units.items())
                 if unit.active not in ("inactive", "failed")]  # fmt: skip
        yield Until(lambda: all(task.done for task in tasks))
        self.loop.running = False
        return None

    def _behind(self, name: str, earlier: list[Task]) -> Job:
        yield Until(lambda: all(task.done for task in earlier))
        failed = yield from self.start(name)
        return failed

    def _start_required(self, unit: Unit) -> Job:
        lists = unit.service.lists
        for key in ("Requires", "BindsTo", "Requisite", "Wants"):
            for name in lists.get(key, ()):
                if not name.endswith(".service") or name == unit.name:
                    continue
                try:
                    failed = None if self.unit(name).up else (yield from self.start(name))
                except (LookupError, UnitFileError) as error:
                    failed = f"{name}: {error}"
                if failed and key != "Wants":
                    return "dependency"
        return None

    def _requiring(self, unit: Unit) -> list[Unit]:
        keys = ("Requires", "BindsTo", "Requisite", "PartOf")
        return [
            other for other in list(self.units.values())
            if other is not unit
            and any(unit.name in other.service.lists.get(key, ()) for key in keys)
        ]  # fmt: skip

    def _tell_ignored(self, unit: Unit) -> None:
        if unit.service.ignored and unit.service.ignored != unit.told:
            unit.told = unit.service.ignored
            names = ", ".join(unit.told)
            self.log(unit.name, f"{unit.name}: settings without effect in the lab: {names}")
