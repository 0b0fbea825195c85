"""One bounded file a unit, each line with its time."""

from __future__ import annotations

import contextlib
import os
import time

DIRECTORY = "/var/log/journal-lab"
# Two files of this size at most: the current one and the one before.
LIMIT = 4 * 1024 * 1024
LONGEST_LINE = 16 * 1024


def stamp(moment: float) -> str:
    """Give a time as the journal writes it: UTC, to the microsecond."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment % 1 * 1e6):06d}+00:00"


class Journal:
    """Appends lines to the units' files."""

    def __init__(self, host: str, directory: str = DIRECTORY, limit: int = LIMIT) -> None:
        self._host = host
        self._directory = directory
        self._limit = limit
        os.makedirs(directory, exist_ok=True)

    def path(self, unit: str) -> str:
        """Give a unit's file."""
        return os.path.join(self._directory, f"{unit.replace('/', '_')}.log")

    def write(self, unit: str, identifier: str, pid: int, text: str) -> None:
        """Append lines; a full disk loses them and nothing else."""
        head = f"{stamp(time.time())} {self._host} {identifier}[{pid}]: "
        lines = "".join(f"{head}{line}\n" for line in text.splitlines())
        path = self.path(unit)
        with contextlib.suppress(OSError):
            self._rotate(path)
            with open(path, "a", encoding="utf-8") as file:
                file.write(lines)

    def tail(self, unit: str, count: int) -> list[str]:
        """Give a unit's last lines."""
        return read([self.path(unit)])[-count:] if count else []

    def _rotate(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.path.getsize(path) > self._limit:
                os.replace(path, f"{path}.1")


class Lines:
    """Cuts a stream into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> str:
        """Take bytes; give the whole lines among them, and an endless line in parts."""
        self._rest += data
        end = self._rest.rfind(b"\n") + 1
        if not end and len(self._rest) > LONGEST_LINE:
            end = len(self._rest)
        found, self._rest = self._rest[:end], self._rest[end:]
        return found.decode(errors="replace")

    def end(self) -> str:
        """Give what is left without a newline."""
        found, self._rest = self._rest, b""
        return found.decode(errors="replace")


def read(paths: list[str]) -> list[str]:
    """Give the lines of files and of their predecessors; several are merged by time."""
    lines: list[str] = []
    for path in paths:
        for part in (f"{path}.1", path):
            with (
                contextlib.suppress(FileNotFoundError),
                open(part, encoding="utf-8", errors="replace") as file,
            ):
                lines.extend(line.rstrip("\n") for line in file)
    # Stable: lines of one moment keep their order.
    return sorted(lines, key=lambda line: line[:32]) if len(paths) > 1 else lines
