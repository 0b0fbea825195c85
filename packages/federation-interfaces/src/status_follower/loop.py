"""Looks for ever, and has Juju run a hook of the charm when that is due."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable

from status_follower.rule import Teller

JUJU_EXEC = "/usr/bin/juju-exec"
PAUSE_S = 1.0
EXEC_S = 60.0

Look = Callable[[str | None, float], str]
"""Returns what an operator should be told now. Given: what the status says, and since when."""


class Notes:
    """What the charm said last, and what this did about it; they outlive a restart.

    Args:
        directory: holds both files.
    """

    def __init__(self, directory: str):
        self._said = os.path.join(directory, "said")
        self._asked = os.path.join(directory, "asked")
        self._written = self.asked()

    def said(self) -> tuple[str | None, float]:
        """Return what the charm's status says, and since when; None: it has not spoken."""
        try:
            with open(self._said, encoding="utf-8") as file:
                return file.read(), os.fstat(file.fileno()).st_mtime
        except OSError:
            return None, 0.0

    def asked(self) -> tuple[str, int]:
        """Return for what the charm was given a hook last, and how often."""
        try:
            with open(self._asked, encoding="utf-8") as file:
                tries, _, text = file.read().partition(" ")
            return text, int(tries)
        except (OSError, ValueError):
            return "", 0

    def keep(self, asked: str, tries: int) -> None:
        """Write it down if it is new."""
        if (asked, tries) == self._written:
            return
        temporary = f"{self._asked}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(f"{tries} {asked}")
        os.replace(temporary, self._asked)
        self._written = (asked, tries)


def command(unit: str, dispatch: str, event: str) -> list[str]:
    """Return what gives the charm its hook."""
    line = f"JUJU_DISPATCH_PATH=hooks/{event} {shlex.quote(dispatch)}"
    return [JUJU_EXEC, "-u", unit, line]


def run(argv: list[str]) -> str:
    """Give the charm its hook; return why that failed, or nothing."""
    # juju-exec refuses to work where it takes itself to be in a hook.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JUJU_")}
    try:
        done = subprocess.run(
            argv,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=EXEC_S,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {EXEC_S:.0f} s"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def step(look: Look, notes: Notes, teller: Teller, argv: list[str]) -> None:
    """Look once, and tell if it is time."""
    said, since = notes.said()
    seen = look(said, since)
    if teller.due(time.monotonic(), seen, said):
        _log(f"the status has become untrue, the charm is told: {seen or 'all is well'}")
        why = run(argv)
        teller.told(time.monotonic(), done=not why)
        if why:
            _log(f"the charm cannot be told: {why}")
    notes.keep(teller.asked, teller.tries)


def follow(look: Look, directory: str, argv: list[str], pause_s: float = PAUSE_S) -> None:
    """Look again and again, for ever.

    Args:
        look: looks, bounded in time, and raises nothing.
        directory: holds what the charm said last (`said`, written by the charm), and what this did
            about it.
        argv: what gives the charm its hook.
        pause_s: between two looks.
    """
    notes = Notes(directory)
    teller = Teller(*notes.asked())
    while True:
        step(look, notes, teller, argv)
        time.sleep(pause_s)


def _log(text: str) -> None:
    sys.stderr.write(text + "\n")
