"""sd_notify: one datagram socket for each unit that tells its readiness."""

from __future__ import annotations

import _socket
import contextlib
import os

from federation_lab.machine.loop import Loop
from federation_lab.machine.unit import Unit

DIRECTORY = "/run/lab/notify"


class Notify:
    """Opens, reads and closes the units' notification sockets."""

    def __init__(self, loop: Loop, directory: str = DIRECTORY) -> None:
        self._loop = loop
        self._directory = directory
        self._sockets: dict[str, _socket.socket] = {}
        os.makedirs(directory, exist_ok=True)

    def path(self, unit: Unit) -> str:
        """Give NOTIFY_SOCKET's value for a unit."""
        return os.path.join(self._directory, unit.name.replace("/", "_"))

    def open(self, unit: Unit) -> int:
        """Listen for a unit; give the descriptor."""
        self.close(unit)
        listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
        listening.bind(self.path(unit))
        # The service may run as any user.
        os.chmod(self.path(unit), 0o777)  # noqa: S103
        self._sockets[unit.name] = listening
        self._loop.watch(listening.fileno(), lambda: self._read(unit, listening))
        return listening.fileno()

    def close(self, unit: Unit) -> None:
        """Listen no more."""
        unit.notify_fd = None
        listening = self._sockets.pop(unit.name, None)
        if listening is not None:
            self._loop.forget(listening.fileno())
            listening.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(unit))

    def _read(self, unit: Unit, listening: _socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            apply(unit, listening.recv(8192).decode(errors="replace"))


def apply(unit: Unit, message: str) -> None:
    """Take in what a service told about itself."""
    for line in message.splitlines():
        key, _, value = line.partition("=")
        if key == "READY" and value == "1":
            unit.ready = True
        elif key == "STATUS":
            unit.text = value
        elif key == "MAINPID" and value.isdigit():
            unit.main_pid = unit.last_pid = int(value)
