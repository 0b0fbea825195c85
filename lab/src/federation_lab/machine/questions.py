"""systemctl's questions, answered in systemd's words and exit statuses."""

from __future__ import annotations

from collections.abc import Callable, Generator

from federation_lab.machine import render
from federation_lab.machine.loader import full_name
from federation_lab.machine.loop import Until
from federation_lab.machine.manager import Manager
from federation_lab.machine.options import Options
from federation_lab.machine.unit import Unit
from federation_lab.machine.unitfile import UnitFileError

# Exit statuses: of the program (LSB), and of a unit that isn't there.
FAILED, INACTIVE, UNKNOWN, NOT_LOADED = 1, 3, 4, 5

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


class Questions:
    """Answers what changes nothing."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    def named(self, call: Call) -> list[str]:
        """Give the units that a call names, with patterns resolved among the loaded ones."""
        return render.matching(call.options.names, list(self.manager.units))

    def found(self, name: str) -> Unit | None:
        """Give a unit, None when there is none that can be understood."""
        try:
            return self.manager.unit(name)
        except (LookupError, UnitFileError):
            return None

    def is_up(self, name: str) -> bool:
        """Say whether a unit is active."""
        unit = self.found(name)
        return unit is not None and unit.up

    def _state(self, name: str) -> tuple[str, bool]:
        unit = self.found(name)
        if unit is not None:
            return unit.active, True
        return "inactive", self.manager.loader.find(name) is not None

    def is_active(self, call: Call) -> Answer:
        """Answer is-active."""
        yield from ()
        states = [self._state(name) for name in self.named(call)]
        for state, _ in states:
            if not call.options.quiet:
                call.say(state)
        if any(state in ("active", "reloading") for state, _ in states):
            return 0
        return INACTIVE if any(known for _, known in states) else UNKNOWN

    def is_failed(self, call: Call) -> Answer:
        """Answer is-failed."""
        yield from ()
        names = self.named(call) or [*self.manager.units]
        states = [self._state(name)[0] for name in names]
        if call.options.names and not call.options.quiet:
            for state in states:
                call.say(state)
        return 0 if "failed" in states else FAILED

    def is_enabled(self, call: Call) -> Answer:
        """Answer is-enabled."""
        yield from ()
        answers: list[str] = []
        for name in call.options.names:
            try:
                answers.append(self.manager.loader.enablement(full_name(name)))
            except (LookupError, UnitFileError):
                answers.append("bad")
        if not call.options.quiet:
            for answer in answers:
                call.say(answer)
        if any(answer in ("enabled", "static", "alias", "indirect") for answer in answers):
            return 0
        return UNKNOWN if set(answers) == {"not-found"} else FAILED

    def is_running(self, call: Call) -> Answer:
        """Answer is-system-running."""
        yield from ()
        bad = any(unit.active == "failed" for unit in self.manager.units.values())
        state = "stopping" if self.manager.stopping else ("degraded" if bad else "running")
        if not call.options.quiet:
            call.say(state)
        return 0 if state == "running" else FAILED

    def _enablement(self, name: str) -> str:
        try:
            return self.manager.loader.enablement(name)
        except (LookupError, UnitFileError):
            return "bad"

    def status(self, call: Call) -> Answer:
        """Answer status."""
        yield from ()
        if not call.options.names:
            for line in render.table(list(self.manager.units.values()), call.options):
                call.say(line)
            return 0
        worst = 0
        for name in self.named(call):
            unit = self.found(name)
            if unit is None:
                if self._enablement(name).startswith("masked"):
                    call.say(f"○ {name}\n     Loaded: masked\n     Active: inactive (dead)")
                    worst = worst or INACTIVE
                    continue
                call.complain(f"Unit {name} could not be found.")
                worst = worst or UNKNOWN
                continue
            lines = self.manager.journal.tail(unit.name, call.options.lines or 10)
            members = unit.group.members(unit.main_pid) if unit.invocation else []
            call.say(render.status(unit, self._enablement(unit.name), members, lines))
            worst = worst or (0 if unit.up else INACTIVE)
        return worst

    def show(self, call: Call) -> Answer:
        """Answer show."""
        yield from ()
        for number, name in enumerate(self.named(call)):
            unit, load = self.found(name), "loaded"
            if unit is None:
                masked = self._enablement(name).startswith("masked")
                load = "masked" if masked else "not-found"
                unit = render.absent(name)
            if number:
                call.say("")
            for line in render.show(unit.properties(self._enablement(name), load), call.options):
                call.say(line)
        return 0

    def cat(self, call: Call) -> Answer:
        """Answer cat."""
        yield from ()
        for name in self.named(call):
            path = self.manager.loader.find(name)
            if path is None:
                call.complain(f"No files found for {name}.")
                return FAILED
            for part in (path, *self.manager.loader.drop_ins(name)):
                with open(part, encoding="utf-8", errors="replace") as file:
                    call.say(f"# {part}\n{file.read()}")
        return 0

    def list_units(self, call: Call) -> Answer:
        """Answer list-units."""
        yield from ()
        for line in render.table(list(self.manager.units.values()), call.options):
            call.say(line)
        return 0

    def list_files(self, call: Call) -> Answer:
        """Answer list-unit-files."""
        yield from ()
        patterns = call.options.names
        names = self.manager.loader.names()
        if patterns:
            wanted = set(render.matching(patterns, names))
            names = [name for name in names if name in wanted]
        if not call.options.no_legend:
            call.say("UNIT FILE STATE PRESET")
        for name in names:
            if not call.options.types or name.rpartition(".")[2] in call.options.types:
                call.say(f"{name} {self._enablement(name)} -")
        return 0
