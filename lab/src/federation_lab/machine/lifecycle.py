"""One unit's life: coming up, ending by itself or by order, being started again."""

from __future__ import annotations

import abc
import contextlib
import os
import signal
from collections.abc import Generator

from federation_lab.machine import policy, process
from federation_lab.machine.journal import Journal
from federation_lab.machine.loop import Loop, Until
from federation_lab.machine.notify import Notify
from federation_lab.machine.output import Outputs
from federation_lab.machine.process import SetupError
from federation_lab.machine.service import Command, Service
from federation_lab.machine.unit import Unit

# A generator that ends with the reason of a failure, or None.
Job = Generator[Until, bool, "str | None"]
SELF = "init"
LOOK_EVERY_S = 0.05
KILL_WAIT_S = 5.0


class Lifecycle(abc.ABC):
    """Brings single units up and down, and takes dead children in."""

    def __init__(self, loop: Loop, journal: Journal, notify: Notify) -> None:
        self.loop = loop
        self.journal = journal
        self.units: dict[str, Unit] = {}
        self.stopping = False
        self._notify = notify
        self._outputs = Outputs(loop, journal)
        self._exits: dict[int, int] = {}
        self._children: set[int] = set()

    @abc.abstractmethod
    def start(self, name: str, *, automatic: bool = False) -> Job:
        """Start a unit and what it requires."""

    def log(self, unit: str, text: str) -> None:
        """Write the manager's own words into a unit's journal."""
        self.journal.write(unit, "systemd", 1, text)

    def take(self, unit: Unit) -> Generator[Until, bool, None]:
        """Wait until no other job has the unit, and have it."""
        yield Until(lambda: not unit.busy)
        unit.busy = True

    def give_back(self, unit: Unit) -> None:
        """Let the next job have the unit; an end that came meanwhile is dealt with now."""
        unit.busy = False
        if unit.ended:
            self.loop.spawn(self._after_end(unit))

    # --- starting ---

    def bring_up(self, unit: Unit) -> Job:
        """Start a unit that the caller has taken."""
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
        deadline = self.deadline(service.start_timeout_s)
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
        failed = yield from self.commands(unit, "ExecStartPre", deadline)
        if failed:
            return failed
        unit.set("activating", "start")
        if kind == "oneshot":
            failed = yield from self.commands(unit, "ExecStart", deadline)
        elif kind == "forking":
            failed = yield from self._fork(unit, deadline)
        else:
            failed = yield from self._start_main(unit, deadline)
        if failed:
            return failed
        failed = yield from self.commands(unit, "ExecStartPost", deadline)
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
        failed = yield from self.commands(unit, "ExecStart", deadline)
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

    def commands(self, unit: Unit, key: str, deadline: float | None) -> Job:
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
        output, error = self._outputs.open(unit)
        try:
            pid = process.spawn(
                unit.service, unit.group, program, words, variables, (output, error)
            )
        finally:
            for descriptor in {output, error}:
                os.close(descriptor)
        self._children.add(pid)
        unit.control_pid = pid
        return pid

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
        yield from self.take(unit)
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
            yield from self.commands(
                unit, "ExecStopPost", self.deadline(unit.service.stop_timeout_s)
            )
            yield from self._kill_all(unit)
            self._settle(unit, "inactive" if result == "success" else "failed", result)
            self._plan_restart(unit, result)
        finally:
            self.give_back(unit)
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

    def bring_down(self, unit: Unit) -> Generator[Until, bool, None]:
        """Stop a unit that the caller has taken."""
        service, was_up = unit.service, unit.up
        unit.set("deactivating", "stop")
        self.log(unit.name, f"Stopping {service.description}...")
        if was_up:
            # It fails where the process is gone already; what follows makes sure of the end.
            yield from self.commands(unit, "ExecStop", self.deadline(service.stop_timeout_s))
        result = yield from self._terminate(unit)
        yield from self.commands(unit, "ExecStopPost", self.deadline(service.stop_timeout_s))
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

        met = yield Until(gone, self.deadline(service.stop_timeout_s), LOOK_EVERY_S)
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
        """Clean up behind a unit that has come to its end."""
        unit.set(active, "failed" if active == "failed" else "dead", result)
        unit.main_pid = None
        self._notify.close(unit)
        unit.group.remove()
        if not unit.service.keep_runtime:
            for name in unit.service.directories.get("RuntimeDirectory", ()):
                _remove_tree(os.path.join("/run", name))

    def deadline(self, span: float | None) -> float | None:
        """Give the moment when a span from now is over; None for no end."""
        return None if span is None else self.loop.clock() + span


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
