"""What Linux tells of processes: CPU time, memory, children."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, counted from the field behind the command's name.
_PARENT, _USER, _SYSTEM = 1, 11, 12


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process has used so far."""
    fields = _stat(pid)
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICK


def resident_mb(pid: int) -> float:
    """Give the memory of a process that is in RAM, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) / 1024
    return 0.0


def children() -> dict[int, str]:
    """Give the processes that this one has started, with their programs' names."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if int(_stat(int(entry.name))[_PARENT]) == os.getpid():
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except (OSError, IndexError):
            continue  # ended meanwhile
    return found


def load() -> float:
    """Give the load average of the last minute."""
    return os.getloadavg()[0]


def description() -> str:
    """Name the machine, as the tables do."""
    return f"{os.cpu_count()} cores, {platform.machine()}"
