"""Where a service's words go: its journal, a file, or nowhere."""

from __future__ import annotations

import contextlib
import os

from federation_lab.machine.journal import Journal, Lines
from federation_lab.machine.loop import Loop
from federation_lab.machine.unit import Unit


class Outputs:
    """Opens what a service writes to, and reads the pipes among it."""

    def __init__(self, loop: Loop, journal: Journal) -> None:
        self._loop = loop
        self._journal = journal

    def open(self, unit: Unit) -> tuple[int, int]:
        """Give the descriptors for standard output and error; the caller closes them."""
        service = unit.service
        output = self._one(unit, service.output)
        if service.error in ("inherit", service.output):
            return output, output
        return output, self._one(unit, service.error)

    def _one(self, unit: Unit, where: str) -> int:
        kind, _, path = where.partition(":")
        if kind in ("file", "append", "truncate"):
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if kind == "truncate" else os.O_APPEND)
            return os.open(path, flags, 0o644)
        if kind == "null":
            return os.open(os.devnull, os.O_WRONLY)
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        unit.outputs[reader] = Lines()
        self._loop.watch(reader, lambda: self._read(unit, reader))
        return writer

    def _read(self, unit: Unit, reader: int) -> None:
        lines = unit.outputs[reader]
        identifier = unit.service.identifier or unit.name.rpartition(".")[0]
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(reader, 65536)
            text = lines.feed(data) if data else lines.end()
            if text:
                self._journal.write(unit.name, identifier, unit.main_pid or unit.control_pid, text)
            if not data:
                self._loop.forget(reader)
                del unit.outputs[reader]
                os.close(reader)
