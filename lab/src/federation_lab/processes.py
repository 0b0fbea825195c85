"""Processes as the host's kernel tells of them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")


@dataclasses.dataclass(frozen=True)
class Proc:
    """A process; `started` tells it from a later one with its number, 0 for any."""

    pid: int
    started: int = 0

    @property
    def state(self) -> str:
        """The kernel's letter for its state, empty when it is gone."""
        fields = _stat(self.pid)
        return fields[0] if fields and self.started in (0, int(fields[19])) else ""

    def send(self, number: int) -> None:
        """Signal it, if it is still there."""
        if self.state:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def is_alive(process: Proc) -> bool:
    """Say whether a process runs; one that only waits to be reaped doesn't."""
    return process.state not in ("", "Z", "X")


def start_time(pid: int) -> int:
    """Give the kernel's start time of a process, 0 when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def _stat(pid: int) -> list[str]:
    """Give the fields behind the command's name, which may hold anything."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _all() -> list[int]:
    return [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]


def members(init: int) -> list[Proc]:
    """List the processes of the PID namespace of a machine's init."""
    try:
        namespace = os.stat(PROC / str(init) / "ns" / "pid").st_ino
    except OSError:
        return []
    return _with("pid", {namespace})


def in_namespaces(names: set[str]) -> list[Proc]:
    """List the processes in any of these named network namespaces."""
    inodes: set[int] = set()
    for name in names:
        with contextlib.suppress(OSError):
            inodes.add(os.stat(f"/run/netns/{name}").st_ino)
    return _with("net", inodes) if inodes else []


def _with(kind: str, inodes: set[int]) -> list[Proc]:
    found: list[Proc] = []
    for pid in _all():
        with contextlib.suppress(OSError):
            if os.stat(PROC / str(pid) / "ns" / kind).st_ino in inodes:
                found.append(Proc(pid, start_time(pid)))
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition; False when the time is over first."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
