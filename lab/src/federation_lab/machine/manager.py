"""The service manager: starts, watches, restarts and stops units."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator

from federation_lab.machine import policy, process
from federation_lab.machine.journal import Journal, Lines
from federation_lab.machine.loader import Loader, MaskedError, NotFoundError
from federation_lab.machine.loop import Loop, Task, Until
from federation_lab.machine.notify import Notify
from federation_lab.machine.process import SetupError
from federation_lab.machine.service import Command, Service
from federation_lab.machine.unit import Unit
from federation_lab.machine.unitfile import UnitFileError

# A generator that ends with the reason of a failure, or None.
Job = Generator[Until, bool, "str | None"]
SELF = "init"
LOOK_EVERY_S = 0.05
KILL_WAIT_S = 5.0


class Manager:
    """All units of a machine."""

    def __init__(self, loop: Loop, loader: Loader, journal: Journal, notify: Notify) -> None:
        self.loop = loop
        self.loader = loader
        self.journal = journal
        self.units: dict[str, Unit] = {}
        self._notify = notify
        self._exits: dict[int, int] = {}
        self._children: set[int] = set()
        self.stopping = False

    def log(self, unit: str, text: str) -> None:
        """Write the manager's own words into a unit's journal."""
        self.journal.write(unit, "systemd", 1, text)

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
            except MaskedError:
                continue
            except NotFoundError:
                if unit.active in ("inactive", "failed") and not unit.busy:
                    del self.units[name]
            except UnitFileError as error:
                self.log(name, f"{name}: {error}")

    # --- jobs ---

    def start(self, name: str, *, automatic: bool = False) -> Job:
        """Start a unit and what it requires; ends with the reason when it doesn't come up."""
        unit = self.unit(name)
        failed = yield from self._start_required(unit)
        if failed:
            return failed
        epoch = unit.epoch
        if not automatic:
            unit.epoch += 1
        yield from self._take(unit)
        try:
            if unit.up or self.stopping or (automatic and epoch != unit.epoch):
                return None
            if automatic:
                unit.restarts += 1
            failed = yield from self._start(unit)
        finally:
            self._give_back(unit)
        return failed

    def stop(self, name: str) -> Job:
        """Stop a unit and the units that require it."""
        unit = self.unit(name)
        unit.epoch += 1
        for other in self._requiring(unit):
            if other.up or other.busy:
                yield from self.stop(other.name)
        yield from self._take(unit)
        try:
            if unit.active not in ("inactive", "failed"):
                yield from self._stop(unit)
            unit.ended = False
        finally:
            self._give_back(unit)
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
        yield from self._take(unit)
        try:
            if not unit.up:
                return "not active"
            unit.set("reloading", "reload")
            deadline = self._deadline(unit.service.start_timeout_s)
            failed = yield from self._commands(unit, "ExecReload", deadline)
            if unit.active == "reloading":
                unit.set("active", "running" if unit.main_pid else "exited")
        finally:
            self._give_back(unit)
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

    def _take(self, unit: Unit) -> Generator[Until, bool, None]:
        yield Until(lambda: not unit.busy)
        unit.busy = True

    def _give_back(self, unit: Unit) -> None:
        unit.busy = False
        if unit.ended:
            self.loop.spawn(self._after_end(unit))

    # --- starting ---

    def _start(self, unit: Unit) -> Job:
        service, now = unit.service, self.loop.clock()
        missing = _unmet(service)
        if missing:
            self.log(unit.name, f"{service.description} was skipped: {missing}")
            return None
        if not policy.within_limit(service, unit.starts, now):
            self.log(unit.name, f"{unit.name}: Start request repeated too quickly.")
            unit.set("failed", "failed", "start-limit-hit")
            return "start-limit-hit"
        unit.starts.append(now)
        unit.begin()
        unit.set("activating", "start-pre", "success")
        self.log(unit.name, f"Starting {service.description}...")
        deadline = self._deadline(service.start_timeout_s)
        try:
            unit.group.make()
            process.make_directories(service)
            failed = yield from self._run_start(unit, deadline)
        except (SetupError, OSError) as error:
            self.log(unit.name, f"{unit.name}: {error}")
            failed = "resources"
        if failed:
            # The next lines end the unit; its end is not another event.
            unit.ended = False
            self.log(unit.name, f"{unit.name}: Failed with result '{failed}'.")
            yield from self._kill_all(unit)
            self._settle(unit, "failed", failed)
            self._plan_restart(unit, failed)
            return failed
        self.log(unit.name, f"Started {service.description}.")
        return None

    def _run_start(self, unit: Unit, deadline: float | None) -> Job:
        kind = unit.service.kind
        failed = yield from self._commands(unit, "ExecStartPre", deadline)
        if failed:
            return failed
        unit.set("activating", "start")
        if kind == "oneshot":
            failed = yield from self._commands(unit, "ExecStart", deadline)
        elif kind == "forking":
            failed = yield from self._fork(unit, deadline)
        else:
            failed = yield from self._start_main(unit, deadline)
        if failed:
            return failed
        failed = yield from self._commands(unit, "ExecStartPost", deadline)
        if failed:
            return failed
        if unit.main_pid or unit.ended:
            unit.set("active", "running")
        elif unit.service.remain:
            unit.set("active", "exited")
        else:
            self._settle(unit, "inactive", "success")
        return None

    def _start_main(self, unit: Unit, deadline: float | None) -> Job:
        notifies = unit.service.kind.startswith("notify")
        if notifies:
            unit.notify_fd = self._notify.open(unit)
        pid = self._spawn(unit, unit.service.commands["ExecStart"][0])
        unit.main_pid = unit.last_pid = pid
        if notifies:
            met = yield Until(lambda: unit.ready or unit.main_pid is None, deadline)
            if not met:
                return "timeout"
            if not unit.ready:
                return policy.result_of(unit.service, unit.status or 0).replace(
                    "success", "protocol"
                )
        return None

    def _fork(self, unit: Unit, deadline: float | None) -> Job:
        failed = yield from self._commands(unit, "ExecStart", deadline)
        if failed:
            return failed
        path = unit.service.pid_file
        if path:
            end = deadline if deadline is not None else self.loop.clock() + KILL_WAIT_S
            yield Until(lambda: _read_pid(path) is not None, end, LOOK_EVERY_S)
        members = unit.group.members()
        pid = _read_pid(path) if path else (members[0] if members else None)
        if pid is None:
            return "protocol"
        unit.main_pid = unit.last_pid = pid
        self._children.add(pid)
        return None

    def _commands(self, unit: Unit, key: str, deadline: float | None) -> Job:
        """Run the commands of one setting, one after the other."""
        for command in unit.service.commands.get(key, ()):
            try:
                pid = self._spawn(unit, command)
            except SetupError as error:
                if command.ignore_failure:
                    continue
                self.log(unit.name, f"{unit.name}: {error}")
                return "exit-code"
            if key == "ExecStart" and unit.service.kind == "oneshot":
                unit.last_pid = pid
            met = yield Until(lambda pid=pid: pid in self._exits, deadline)
            if not met:
                process.send([pid], signal.SIGKILL)
                self._children.discard(pid)
                return "timeout"
            status = self._exits.pop(pid)
            if key == "ExecStart":
                unit.status = status
            result = policy.result_of(unit.service, status)
            if result != "success" and not command.ignore_failure:
                self.log(unit.name, f"{unit.name}: {key}={command.words[0]} ended with "
                                    f"{policy.end_of(status)}")  # fmt: skip
                return result
        return None

    def _spawn(self, unit: Unit, command: Command) -> int:
        extra = {"INVOCATION_ID": unit.invocation}
        if unit.main_pid:
            extra["MAINPID"] = str(unit.main_pid)
        if unit.notify_fd is not None:
            extra["NOTIFY_SOCKET"] = self._notify.path(unit)
        variables = process.environment(unit.service, extra)
        program, words = process.argv(unit.service, command, variables)
        output, error = self._open_outputs(unit)
        try:
            pid = process.spawn(
                unit.service, unit.group, program, words, variables, (output, error)
            )
        finally:
            for descriptor in {output, error}:
                os.close(descriptor)
        self._children.add(pid)
        return pid

    # --- output ---

    def _open_outputs(self, unit: Unit) -> tuple[int, int]:
        service = unit.service
        output = self._open_output(unit, service.output)
        if service.error in ("inherit", service.output):
            return output, output
        return output, self._open_output(unit, service.error)

    def _open_output(self, unit: Unit, where: str) -> int:
        kind, _, path = where.partition(":")
        if kind in ("file", "append", "truncate"):
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if kind == "truncate" else os.O_APPEND)
            return os.open(path, flags, 0o644)
        if kind == "null":
            return os.open(os.devnull, os.O_WRONLY)
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        unit.outputs[reader] = Lines()
        self.loop.watch(reader, lambda: self._read_output(unit, reader))
        return writer

    def _read_output(self, unit: Unit, reader: int) -> None:
        lines = unit.outputs[reader]
        identifier = unit.service.identifier or unit.name.rpartition(".")[0]
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(reader, 65536)
            text = lines.feed(data) if data else lines.end()
            if text:
                self.journal.write(unit.name, identifier, unit.main_pid or unit.last_pid, text)
            if not data:
                self.loop.forget(reader)
                del unit.outputs[reader]
                os.close(reader)

    # --- ending ---

    def reap(self) -> None:
        """Take all dead children in; in reaction to SIGCHLD."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self._children:
                continue
            self._children.discard(pid)
            unit = next((u for u in self.units.values() if u.main_pid == pid), None)
            if unit is None:
                self._exits[pid] = status
                continue
            unit.main_pid, unit.status, unit.ended = None, status, True
            if not unit.busy:
                self.loop.spawn(self._after_end(unit))

    def _after_end(self, unit: Unit) -> Job:
        """Deal with a main process that ended by itself."""
        yield from self._take(unit)
        try:
            if not unit.ended:
                return None
            unit.ended = False
            status = unit.status or 0
            result = policy.result_of(unit.service, status)
            self.log(unit.name, f"{unit.name}: Main process exited, {policy.end_of(status)}")
            if result == "success" and unit.service.remain:
                unit.set("active", "exited", result)
                return None
            yield from self._commands(
                unit, "ExecStopPost", self._deadline(unit.service.stop_timeout_s)
            )
            yield from self._kill_all(unit)
            self._settle(unit, "inactive" if result == "success" else "failed", result)
            self._plan_restart(unit, result)
        finally:
            self._give_back(unit)
        return None

    def _plan_restart(self, unit: Unit, result: str) -> None:
        again = policy.restarts(unit.service, result, unit.status)
        if again and not self.stopping and result != "start-limit-hit":
            unit.set("activating", "auto-restart")
            self.loop.spawn(self._restart_later(unit, unit.epoch))

    def _restart_later(self, unit: Unit, epoch: int) -> Job:
        at = self.loop.clock() + unit.service.restart_s
        yield Until(lambda: unit.epoch != epoch or self.stopping, at)
        if unit.epoch == epoch and not self.stopping:
            self.log(unit.name, f"{unit.name}: Scheduled restart job.")
            yield from self.start(unit.name, automatic=True)
        return None

    def _stop(self, unit: Unit) -> Generator[Until, bool, None]:
        service = unit.service
        unit.set("deactivating", "stop")
        self.log(unit.name, f"Stopping {service.description}...")
        if unit.main_pid:
            # It fails where the process is gone already; what follows makes sure of the end.
            yield from self._commands(unit, "ExecStop", self._deadline(service.stop_timeout_s))
        result = yield from self._terminate(unit)
        yield from self._commands(unit, "ExecStopPost", self._deadline(service.stop_timeout_s))
        yield from self._kill_all(unit)
        self._settle(unit, "failed" if result else "inactive", result or "success")
        self.log(unit.name, f"Stopped {service.description}.")

    def _terminate(self, unit: Unit) -> Job:
        service = unit.service
        if service.kill_mode == "none":
            return None
        main = [unit.main_pid] if unit.main_pid else []
        whole = service.kill_mode == "control-group"
        targets = unit.group.members(unit.main_pid) if whole else main
        process.send(targets, service.kill_signal)
        process.send(targets, signal.SIGCONT)

        def gone() -> bool:
            left = unit.group.members(unit.main_pid) if whole else unit.main_pid
            return unit.main_pid is None and not left

        met = yield Until(gone, self._deadline(service.stop_timeout_s), LOOK_EVERY_S)
        if not met:
            self.log(unit.name, f"{unit.name}: State 'stop-sigterm' timed out. Killing.")
            return "timeout"
        return None

    def _kill_all(self, unit: Unit) -> Generator[Until, bool, None]:
        if unit.service.kill_mode in ("none", "process") or not unit.service.send_kill:
            process.send([unit.main_pid] if unit.main_pid else [], signal.SIGKILL)
            return
        end = self.loop.clock() + KILL_WAIT_S
        process.send(unit.group.members(unit.main_pid), signal.SIGKILL)

        def gone() -> bool:
            left = unit.group.members(unit.main_pid)
            process.send(left, signal.SIGKILL)
            return unit.main_pid is None and not left

        yield Until(gone, end, LOOK_EVERY_S)
        unit.ended = False

    def _settle(self, unit: Unit, active: str, result: str) -> None:
        """The unit has come to its end: clean up behind it."""
        unit.set(active, "failed" if active == "failed" else "dead", result)
        unit.main_pid = None
        self._notify.close(unit)
        unit.group.remove()
        if not unit.service.keep_runtime:
            for name in unit.service.directories.get("RuntimeDirectory", ()):
                _remove_tree(os.path.join("/run", name))

    def _deadline(self, span: float | None) -> float | None:
        return None if span is None else self.loop.clock() + span

    def _tell_ignored(self, unit: Unit) -> None:
        if unit.service.ignored and unit.service.ignored != unit.told:
            unit.told = unit.service.ignored
            names = ", ".join(unit.told)
            self.log(unit.name, f"{unit.name}: settings without effect in the lab: {names}")


def _unmet(service: Service) -> str:
    """Give the first condition on a path that doesn't hold."""
    for key in ("ConditionPathExists", "AssertPathExists"):
        for text in service.lists.get(key, ()):
            negated = text.startswith("!")
            if os.path.exists(text.lstrip("!|")) == negated:
                return f"{key}={text}"
    return ""


def _read_pid(path: str) -> int | None:
    with contextlib.suppress(OSError, ValueError), open(path) as file:
        return int(file.read().strip())
    return None


def _remove_tree(path: str) -> None:
    for folder, directories, files in os.walk(path, topdown=False):
        for name in files:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))
        for name in directories:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(folder, name))
    with contextlib.suppress(OSError):
        os.rmdir(path)
