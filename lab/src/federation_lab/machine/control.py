"""systemctl's verbs, answered in systemd's words and exit statuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator

from federation_lab.machine import process, render
from federation_lab.machine.loader import MaskedError, NotFoundError, full_name
from federation_lab.machine.loop import Until
from federation_lab.machine.manager import Job, Manager
from federation_lab.machine.options import Options, UsageError, parse
from federation_lab.machine.unit import Unit
from federation_lab.machine.unitfile import UnitFileError

# Exit statuses: of the program (LSB), and of a unit that isn't there.
FAILED, INACTIVE, UNKNOWN, NOT_LOADED = 1, 3, 4, 5
ROOT_ONLY = {
    "start", "stop", "restart", "try-restart", "reload", "reload-or-restart",
    "try-reload-or-restart", "force-reload", "enable", "disable", "reenable", "mask", "unmask",
    "daemon-reload", "daemon-reexec", "reset-failed", "kill", "poweroff", "halt",
}  # fmt: skip

# What a verb gives: its exit status; it may wait on the way.
Answer = Generator[Until, bool, int]


class Call:
    """One systemctl call: what it asks, and where its words go."""

    def __init__(self, arguments: list[str], say: Callable[[str], None],
                 complain: Callable[[str], None]) -> None:  # fmt: skip
        self.arguments = arguments
        self._say, self._complain = say, complain
        self.options = Options()

    def say(self, text: str) -> None:
        """Write a line to standard output."""
        self._say(text + "\n")

    def complain(self, text: str) -> None:
        """Write a line to standard error."""
        self._complain(text + "\n")


class Control:
    """Carries systemctl's calls out."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._verbs: dict[str, Callable[[Call], Answer]] = {
            "start": self._start, "stop": self._stop, "restart": self._restart,
            "try-restart": self._try_restart, "reload": self._reload,
            "reload-or-restart": self._reload_or_restart, "force-reload": self._reload_or_restart,
            "try-reload-or-restart": self._try_reload_or_restart,
            "enable": self._enable, "disable": self._disable, "reenable": self._reenable,
            "mask": self._mask, "unmask": self._unmask,
            "daemon-reload": self._daemon_reload, "daemon-reexec": self._daemon_reload,
            "is-active": self._is_active, "is-failed": self._is_failed,
            "is-enabled": self._is_enabled, "is-system-running": self._is_running,
            "status": self._status, "show": self._show, "cat": self._cat,
            "list-units": self._list_units, "list-unit-files": self._list_files,
            "reset-failed": self._reset_failed, "kill": self._kill,
            "poweroff": self._power_off, "halt": self._power_off,
        }  # fmt: skip

    def run(self, call: Call, *, root: bool) -> Answer:
        """Do what a call asks; ends with its exit status."""
        try:
            call.options = parse(call.arguments)
        except UsageError as error:
            call.complain(str(error))
            return FAILED
        verb = call.options.verb
        if verb not in self._verbs:
            call.complain(f"Unknown command verb '{verb}'.")
            return FAILED
        if verb in ROOT_ONLY and not root:
            call.complain(f"Failed to {verb}: Access denied")
            return FAILED
        status = yield from self._verbs[verb](call)
        return status

    # --- jobs ---

    def _each(self, call: Call, verb: str, job: Callable[[str], Job]) -> Answer:
        worst = 0
        if not call.options.names:
            call.complain("Too few arguments.")
            return FAILED
        for name in self._named(call):
            status = yield from self._one(call, verb, name, job)
            worst = worst or status
        return worst

    def _one(self, call: Call, verb: str, name: str, job: Callable[[str], Job]) -> Answer:
        try:
            unit = self._manager.unit(name)
        except NotFoundError:
            not_here = "not loaded" if verb in ("stop", "reload") else "not found"
            call.complain(f"Failed to {verb} {name}: Unit {name} {not_here}.")
            return NOT_LOADED
        except MaskedError:
            if verb == "stop":
                return 0
            call.complain(f"Failed to {verb} {name}: Unit {name} is masked.")
            return FAILED
        except UnitFileError as error:
            call.complain(
                f"Failed to {verb} {name}: Unit {name} has a bad unit file setting: {error}"
            )
            return FAILED
        if not unit.name.endswith((".service", ".target")):
            kind = unit.name.rpartition(".")[2]
            call.complain(f"Failed to {verb} {name}: the lab's manager runs no {kind} units.")
            return FAILED
        if call.options.no_block:
            self._manager.loop.spawn(job(unit.name))
            return 0
        failed = yield from job(unit.name)
        if failed:
            call.complain(render.failure(unit.name, failed))
            return FAILED
        return 0

    def _named(self, call: Call) -> list[str]:
        """Give the units that a call names, with patterns resolved among the loaded ones."""
        return render.matching(call.options.names, list(self._manager.units))

    def _start(self, call: Call) -> Answer:
        status = yield from self._each(call, "start", self._manager.start)
        return status

    def _stop(self, call: Call) -> Answer:
        status = yield from self._each(call, "stop", self._manager.stop)
        return status

    def _restart(self, call: Call) -> Answer:
        status = yield from self._each(call, "restart", self._manager.restart)
        return status

    def _try_restart(self, call: Call) -> Answer:
        call.options.names = [name for name in self._named(call) if self._is_up(name)]
        if not call.options.names:
            return 0
        status = yield from self._restart(call)
        return status

    def _reload(self, call: Call) -> Answer:
        for name in self._named(call):
            unit = self._found(name)
            if unit is not None and not unit.service.commands.get("ExecReload"):
                call.complain(f"Failed to reload {name}: Job type reload is not applicable "
                              f"for unit {name}.")  # fmt: skip
                return FAILED
            if unit is not None and not unit.up:
                call.complain(f"{name} is not active, cannot reload.")
                return FAILED
        status = yield from self._each(call, "reload", self._manager.reload)
        return status

    def _reload_or_restart(self, call: Call) -> Answer:
        def job(name: str) -> Job:
            unit = self._manager.unit(name)
            if unit.up and unit.service.commands.get("ExecReload"):
                return self._manager.reload(name)
            return self._manager.restart(name)

        status = yield from self._each(call, "reload-or-restart", job)
        return status

    def _try_reload_or_restart(self, call: Call) -> Answer:
        call.options.names = [name for name in self._named(call) if self._is_up(name)]
        if not call.options.names:
            return 0
        status = yield from self._reload_or_restart(call)
        return status

    def _found(self, name: str) -> Unit | None:
        try:
            return self._manager.unit(name)
        except (LookupError, UnitFileError):
            return None

    def _is_up(self, name: str) -> bool:
        unit = self._found(name)
        return unit is not None and unit.up

    # --- unit files ---

    def _files(self, call: Call, work: Callable[[str], list[str]]) -> int:
        for text in call.options.names:
            # A path may be given: enabling it links it first. Its name is enough for ours.
            name = full_name(os.path.basename(text))
            try:
                for line in work(name):
                    if not call.options.quiet:
                        call.complain(line)
            except NotFoundError:
                call.complain(
                    f"Failed to {call.options.verb} unit: Unit file {name} does not exist."
                )
                return FAILED
            except MaskedError:
                call.complain(f"Failed to {call.options.verb} unit: Unit file {name} is masked.")
                return FAILED
            except UnitFileError as error:
                call.complain(f"Failed to {call.options.verb} unit {name}: {error}")
                return FAILED
            except OSError as error:
                call.complain(f"Failed to {call.options.verb} unit: File {error.filename} "
                              "already exists.")  # fmt: skip
                return FAILED
        self._manager.reload_files()
        return 0

    def _enable(self, call: Call) -> Answer:
        status = self._files(call, self._manager.loader.enable)
        if status == 0 and call.options.now:
            status = yield from self._start(call)
        return status

    def _disable(self, call: Call) -> Answer:
        status = self._files(call, self._manager.loader.disable)
        if status == 0 and call.options.now:
            status = yield from self._stop(call)
        return status

    def _reenable(self, call: Call) -> Answer:
        status = self._files(call, self._manager.loader.disable)
        if status == 0:
            status = yield from self._enable(call)
        return status

    def _mask(self, call: Call) -> Answer:
        if call.options.now:
            yield from self._stop(call)
        return self._files(call, self._manager.loader.mask)

    def _unmask(self, call: Call) -> Answer:
        yield from ()
        return self._files(call, self._manager.loader.unmask)

    def _daemon_reload(self, call: Call) -> Answer:
        yield from ()
        self._manager.reload_files()
        return 0

    # --- questions ---

    def _state(self, name: str) -> tuple[str, bool]:
        unit = self._found(name)
        if unit is not None:
            return unit.active, True
        return "inactive", self._manager.loader.find(name) is not None

    def _is_active(self, call: Call) -> Answer:
        yield from ()
        states = [self._state(name) for name in self._named(call)]
        for state, _ in states:
            if not call.options.quiet:
                call.say(state)
        if any(state in ("active", "reloading") for state, _ in states):
            return 0
        return INACTIVE if any(known for _, known in states) else UNKNOWN

    def _is_failed(self, call: Call) -> Answer:
        yield from ()
        names = self._named(call) or [*self._manager.units]
        states = [self._state(name)[0] for name in names]
        if call.options.names and not call.options.quiet:
            for state in states:
                call.say(state)
        return 0 if "failed" in states else FAILED

    def _is_enabled(self, call: Call) -> Answer:
        yield from ()
        answers: list[str] = []
        for name in call.options.names:
            try:
                answers.append(self._manager.loader.enablement(full_name(name)))
            except (LookupError, UnitFileError):
                answers.append("bad")
        if not call.options.quiet:
            for answer in answers:
                call.say(answer)
        if any(answer in ("enabled", "static", "alias", "indirect") for answer in answers):
            return 0
        return UNKNOWN if set(answers) == {"not-found"} else FAILED

    def _is_running(self, call: Call) -> Answer:
        yield from ()
        bad = any(unit.active == "failed" for unit in self._manager.units.values())
        state = "stopping" if self._manager.stopping else ("degraded" if bad else "running")
        if not call.options.quiet:
            call.say(state)
        return 0 if state == "running" else FAILED

    def _enablement(self, name: str) -> str:
        try:
            return self._manager.loader.enablement(name)
        except (LookupError, UnitFileError):
            return "bad"

    def _status(self, call: Call) -> Answer:
        yield from ()
        if not call.options.names:
            for line in render.table(list(self._manager.units.values()), call.options):
                call.say(line)
            return 0
        worst = 0
        for name in self._named(call):
            unit = self._found(name)
            if unit is None:
                if self._enablement(name).startswith("masked"):
                    call.say(f"○ {name}\n     Loaded: masked\n     Active: inactive (dead)")
                    worst = worst or INACTIVE
                    continue
                call.complain(f"Unit {name} could not be found.")
                worst = worst or UNKNOWN
                continue
            lines = self._manager.journal.tail(unit.name, call.options.lines or 10)
            members = unit.group.members(unit.main_pid) if unit.invocation else []
            call.say(render.status(unit, self._enablement(unit.name), members, lines))
            worst = worst or (0 if unit.up else INACTIVE)
        return worst

    def _show(self, call: Call) -> Answer:
        yield from ()
        for number, name in enumerate(self._named(call)):
            unit, load = self._found(name), "loaded"
            if unit is None:
                masked = self._enablement(name).startswith("masked")
                load = "masked" if masked else "not-found"
                unit = render.absent(name)
            if number:
                call.say("")
            for line in render.show(unit.properties(self._enablement(name), load), call.options):
                call.say(line)
        return 0

    def _cat(self, call: Call) -> Answer:
        yield from ()
        for name in self._named(call):
            path = self._manager.loader.find(name)
            if path is None:
                call.complain(f"No files found for {name}.")
                return FAILED
            for part in (path, *self._manager.loader.drop_ins(name)):
                with open(part, encoding="utf-8", errors="replace") as file:
                    call.say(f"# {part}\n{file.read()}")
        return 0

    def _list_units(self, call: Call) -> Answer:
        yield from ()
        for line in render.table(list(self._manager.units.values()), call.options):
            call.say(line)
        return 0

    def _list_files(self, call: Call) -> Answer:
        yield from ()
        patterns = call.options.names
        names = self._manager.loader.names()
        if patterns:
            wanted = set(render.matching(patterns, names))
            names = [name for name in names if name in wanted]
        if not call.options.no_legend:
            call.say("UNIT FILE STATE PRESET")
        for name in names:
            if not call.options.types or name.rpartition(".")[2] in call.options.types:
                call.say(f"{name} {self._enablement(name)} -")
        return 0

    def _reset_failed(self, call: Call) -> Answer:
        yield from ()
        names = self._named(call) if call.options.names else [*self._manager.units]
        for name in names:
            unit = self._found(name)
            if unit is None:
                call.complain(f"Failed to reset failed state of unit {name}: "
                              f"Unit {name} not loaded.")  # fmt: skip
                return FAILED
            unit.starts.clear()
            unit.restarts = 0
            if unit.active == "failed":
                unit.set("inactive", "dead", "success")
        return 0

    def _kill(self, call: Call) -> Answer:
        yield from ()
        for name in self._named(call):
            unit = self._found(name)
            if unit is None:
                call.complain(f"Failed to kill unit {name}: Unit {name} not loaded.")
                return FAILED
            main = [unit.main_pid] if unit.main_pid else []
            members = main if call.options.whom == "main" else unit.group.members(unit.main_pid)
            process.send(members, call.options.signal or signal.SIGTERM)
        return 0

    def _power_off(self, call: Call) -> Answer:
        yield from ()
        self._manager.loop.spawn(self._manager.shut_down())
        return 0
