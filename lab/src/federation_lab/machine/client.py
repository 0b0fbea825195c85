"""systemctl and journalctl as programs: they pass their arguments to the manager.

Imports next to nothing: this is started for every systemctl that a charm calls.
"""

from __future__ import annotations

import _socket
import os
import sys

SOCKET = "/run/lab/manager.sock"
# A frame is one of these letters, four bytes of length, and the payload.
OUT, ERROR, EXIT = b"o", b"e", b"x"


def frame(kind: bytes, payload: bytes) -> bytes:
    """Give one frame of the manager's answer."""
    return kind + len(payload).to_bytes(4, "big") + payload


def request(arguments: list[str]) -> bytes:
    """Give the client's whole request."""
    return b"\0".join(os.fsencode(argument) for argument in arguments)


def parse_request(data: bytes) -> list[str]:
    """Undo `request`."""
    return [os.fsdecode(part) for part in data.split(b"\0")] if data else []


def _exactly(connection: _socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise OSError("the service manager went away")
        data += chunk
    return data


def systemctl(arguments: list[str], path: str = SOCKET) -> int:
    """Let the manager do it; give the exit status."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
        connection.sendall(request(arguments))
        connection.shutdown(_socket.SHUT_WR)
        while True:
            head = _exactly(connection, 5)
            payload = _exactly(connection, int.from_bytes(head[1:], "big"))
            if head[:1] == EXIT:
                return payload[0]
            stream = sys.stdout if head[:1] == OUT else sys.stderr
            stream.write(payload.decode(errors="replace"))
            stream.flush()
    except OSError as error:
        sys.stderr.write(f"Failed to connect to the service manager: {error}\n")
        return 1
    finally:
        connection.close()


def main(verb: str, arguments: list[str]) -> int:
    """Be `systemctl` or `journalctl`."""
    try:
        if verb == "systemctl":
            return systemctl(arguments)
        from federation_lab.machine import journalctl

        return journalctl.main(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has seen enough; nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
