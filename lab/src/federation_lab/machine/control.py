"""systemctl's verbs, answered in systemd's words and exit statuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from federation_lab.machine import process, render
from federation_lab.machine.lifecycle import Job
from federation_lab.machine.loader import MaskedError, NotFoundError, full_name
from federation_lab.machine.manager import Manager
from federation_lab.machine.options import UsageError, parse
from federation_lab.machine.questions import FAILED, NOT_LOADED, Answer, Call, Questions
from federation_lab.machine.unitfile import UnitFileError

ROOT_ONLY = {
    "start", "stop", "restart", "try-restart", "reload", "reload-or-restart",
    "try-reload-or-restart", "force-reload", "enable", "disable", "mask", "unmask",
    "reenable",  # codespell:ignore
    "daemon-reload", "daemon-reexec", "reset-failed", "kill", "poweroff", "halt",
}  # fmt: skip


class Control(Questions):
    """Carries systemctl's calls out."""

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        self._verbs: dict[str, Callable[[Call], Answer]] = {
            "start": self._start, "stop": self._stop, "restart": self._restart,
            "try-restart": self._try_restart, "reload": self._reload,
            "reload-or-restart": self._reload_or_restart, "force-reload": self._reload_or_restart,
            "try-reload-or-restart": self._try_reload_or_restart,
            "enable": self._enable, "disable": self._disable,
            "reenable": self._enable_anew,  # codespell:ignore
            "mask": self._mask, "unmask": self._unmask,
            "daemon-reload": self._daemon_reload, "daemon-reexec": self._daemon_reload,
            "is-active": self.is_active, "is-failed": self.is_failed,
            "is-enabled": self.is_enabled, "is-system-running": self.is_running,
            "status": self.status, "show": self.show, "cat": self.cat,
            "list-units": self.list_units, "list-unit-files": self.list_files,
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
        for name in self.named(call):
            status = yield from self._one(call, verb, name, job)
            worst = worst or status
        return worst

    def _one(self, call: Call, verb: str, name: str, job: Callable[[str], Job]) -> Answer:
        try:
            unit = self.manager.unit(name)
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
            self.manager.loop.spawn(job(unit.name))
            return 0
        failed = yield from job(unit.name)
        if failed:
            call.complain(render.failure(unit.name, failed))
            return FAILED
        return 0

    def _start(self, call: Call) -> Answer:
        status = yield from self._each(call, "start", self.manager.start)
        return status

    def _stop(self, call: Call) -> Answer:
        status = yield from self._each(call, "stop", self.manager.stop)
        return status

    def _restart(self, call: Call) -> Answer:
        status = yield from self._each(call, "restart", self.manager.restart)
        return status

    def _try_restart(self, call: Call) -> Answer:
        call.options.names = [name for name in self.named(call) if self.is_up(name)]
        if not call.options.names:
            return 0
        status = yield from self._restart(call)
        return status

    def _reload(self, call: Call) -> Answer:
        for name in self.named(call):
            unit = self.found(name)
            if unit is not None and not unit.service.commands.get("ExecReload"):
                call.complain(f"Failed to reload {name}: Job type reload is not applicable "
                              f"for unit {name}.")  # fmt: skip
                return FAILED
            if unit is not None and not unit.up:
                call.complain(f"{name} is not active, cannot reload.")
                return FAILED
        status = yield from self._each(call, "reload", self.manager.reload)
        return status

    def _reload_or_restart(self, call: Call) -> Answer:
        def job(name: str) -> Job:
            unit = self.manager.unit(name)
            if unit.up and unit.service.commands.get("ExecReload"):
                return self.manager.reload(name)
            return self.manager.restart(name)

        status = yield from self._each(call, "reload-or-restart", job)
        return status

    def _try_reload_or_restart(self, call: Call) -> Answer:
        call.options.names = [name for name in self.named(call) if self.is_up(name)]
        if not call.options.names:
            return 0
        status = yield from self._reload_or_restart(call)
        return status

    # --- unit files ---

    def _files(self, call: Call, work: Callable[[str], list[str]]) -> int:
        what = f"Failed to {call.options.verb} unit"
        for text in call.options.names:
            name = full_name(os.path.basename(text))
            try:
                if text.startswith("/"):
                    self.manager.loader.link(text)
                for line in work(name):
                    if not call.options.quiet:
                        call.complain(line)
            except NotFoundError:
                call.complain(f"{what}: Unit file {name} does not exist.")
                return FAILED
            except MaskedError:
                call.complain(f"{what}: Unit file {name} is masked.")
                return FAILED
            except FileExistsError as error:
                call.complain(f"{what}: File {error.filename2} already exists.")
                return FAILED
            except (OSError, UnitFileError) as error:
                call.complain(f"{what} {name}: {error}")
                return FAILED
        self.manager.reload_files()
        return 0

    def _enable(self, call: Call) -> Answer:
        status = self._files(call, self.manager.loader.enable)
        if status == 0 and call.options.now:
            status = yield from self._start(call)
        return status

    def _disable(self, call: Call) -> Answer:
        status = self._files(call, self.manager.loader.disable)
        if status == 0 and call.options.now:
            status = yield from self._stop(call)
        return status

    def _enable_anew(self, call: Call) -> Answer:
        status = self._files(call, self.manager.loader.disable)
        if status == 0:
            status = yield from self._enable(call)
        return status

    def _mask(self, call: Call) -> Answer:
        if call.options.now:
            yield from self._stop(call)
        return self._files(call, self.manager.loader.mask)

    def _unmask(self, call: Call) -> Answer:
        yield from ()
        return self._files(call, self.manager.loader.unmask)

    def _daemon_reload(self, call: Call) -> Answer:
        yield from ()
        self.manager.reload_files()
        return 0

    def _reset_failed(self, call: Call) -> Answer:
        yield from ()
        names = self.named(call) if call.options.names else [*self.manager.units]
        for name in names:
            unit = self.found(name)
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
        for name in self.named(call):
            unit = self.found(name)
            if unit is None:
                call.complain(f"Failed to kill unit {name}: Unit {name} not loaded.")
                return FAILED
            main = [unit.main_pid] if unit.main_pid else []
            members = main if call.options.whom == "main" else unit.group.members(unit.main_pid)
            process.send(members, call.options.signal or signal.SIGTERM)
        return 0

    def _power_off(self, call: Call) -> Answer:
        yield from ()
        self.manager.loop.spawn(self.manager.shut_down())
        return 0
