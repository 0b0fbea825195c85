"""PID 1 of a machine."""

from __future__ import annotations

import _socket
import contextlib
import os
import signal
import sys
import time

from federation_lab.machine import client, tmpfiles
from federation_lab.machine.boot import STARTED
from federation_lab.machine.control import Control
from federation_lab.machine.journal import Journal
from federation_lab.machine.lifecycle import SELF
from federation_lab.machine.loader import Loader
from federation_lab.machine.loop import Loop
from federation_lab.machine.manager import Manager
from federation_lab.machine.notify import Notify
from federation_lab.machine.questions import Call

LONGEST_REQUEST = 1 << 20
SEND_TIMEOUT_S = 2.0
# struct ucred: process, user, group
PEER_BYTES = 12


class Server:
    """The socket that systemctl talks to."""

    def __init__(self, loop: Loop, control: Control, path: str = client.SOCKET) -> None:
        self._loop = loop
        self._control = control
        self._listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._listening.bind(path)
        # Anyone may ask; who may order is told by the peer's credentials.
        os.chmod(path, 0o666)  # noqa: S103
        self._listening.listen(64)
        loop.watch(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        # socket.accept lives in the big module; what is needed of it is this.
        descriptor, _ = self._listening._accept()  # type: ignore[attr-defined]
        connection = _socket.socket(fileno=descriptor)
        connection.setblocking(False)
        _Client(self._loop, self._control, connection)


class _Client:
    """One systemctl call."""

    def __init__(self, loop: Loop, control: Control, connection: _socket.socket) -> None:
        self._loop, self._control, self._connection = loop, control, connection
        self._data = b""
        loop.watch(connection.fileno(), self._read)

    def _read(self) -> None:
        try:
            chunk = self._connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        self._data += chunk
        if len(self._data) > LONGEST_REQUEST:
            self._close()
        elif not chunk:
            self._loop.forget(self._connection.fileno())
            self._serve()

    def _serve(self) -> None:
        peer = self._connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, PEER_BYTES)
        root = int.from_bytes(peer[4:8], sys.byteorder) == 0
        # A caller that doesn't read must not hold PID 1.
        self._connection.settimeout(SEND_TIMEOUT_S)
        call = Call(
            client.parse_request(self._data),
            lambda text: self._send(client.OUT, text.encode(errors="replace")),
            lambda text: self._send(client.ERROR, text.encode(errors="replace")),
        )
        self._loop.spawn(self._control.run(call, root=root), self._done)

    def _done(self, result: object) -> None:
        if isinstance(result, str):
            self._send(client.ERROR, f"{result}\n".encode())
        self._send(client.EXIT, bytes([result if isinstance(result, int) else 1]))
        self._close()

    def _send(self, kind: bytes, payload: bytes) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(client.frame(kind, payload))

    def _close(self) -> None:
        self._loop.forget(self._connection.fileno())
        self._connection.close()


def handle_signals(loop: Loop, manager: Manager) -> None:
    """React to children's ends and to the order to shut down, inside the loop."""
    reader, writer = os.pipe()
    for descriptor in (reader, writer):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def react() -> None:
        numbers = os.read(reader, 4096)
        if signal.SIGTERM in numbers and not manager.stopping:
            loop.spawn(manager.shut_down())
        manager.reap()

    loop.watch(reader, react)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except OSError:
        return ""


def main(report: int) -> None:
    """Be the machine's init; tell `report` as soon as systemctl answers."""
    for directory in ("/run/lab/notify", "/run/systemd/system", "/run/lock"):
        os.makedirs(directory, exist_ok=True)
    tmpfiles.apply(tmpfiles.DIRECTORIES)
    host = os.uname().nodename
    journal = Journal(host)
    loop = Loop(time.monotonic, lambda text: journal.write(SELF, "systemd", 1, text))
    loader = Loader(host=host, machine=_first_line("/etc/machine-id"))
    manager = Manager(loop, loader, journal, Notify(loop))
    handle_signals(loop, manager)
    Server(loop, Control(manager))
    os.write(report, STARTED)
    os.close(report)
    loop.spawn(manager.boot())
    loop.run()
