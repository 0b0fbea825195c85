"""The program of the service that has this charm's status follow the agent.

    agent_watch.py ADDRESS PORT CERTIFICATE DIRECTORY UNIT DISPATCH

It asks the agent each second what the charm would ask it. It runs as root, since juju-exec needs
it, and on every unit for ever, so it imports only what it must: http.client alone would add an
eighth to its memory.
"""

import json
import socket
import ssl
import sys
import time
from typing import Any

from federation_dns import told
from status_follower import loop

EVENT = "verdict_changed"
REQUEST = b"GET /v1/verdict HTTP/1.1\r\nHost: agent\r\n\r\n"
# As federation_dns.keys has it, and says why; that would bring its imports along.
NO_CHECK_TIME = 0x200000
ANSWER_S = 1.0
_MOST_BYTES = 1 << 20


class Agent:
    """The agent on this machine, over one connection that is kept.

    Args:
        address: where it listens.
        port: there.
        certificate: path of its certificate, which is pinned.
    """

    def __init__(self, address: str, port: int, certificate: str):
        self._address = (address, port)
        self._certificate = certificate
        self._kept: ssl.SSLSocket | None = None

    def ask(self) -> dict[str, Any] | None:
        """Return its verdict, None if it does not answer in time."""
        was_kept = self._kept is not None
        verdict = self._ask()
        # A kept connection may have ended with the agent before; that is no silence.
        return self._ask() if verdict is None and was_kept else verdict

    def _ask(self) -> dict[str, Any] | None:
        try:
            if self._kept is None:
                self._kept = self._connect()
            self._kept.sendall(REQUEST)
            answer: dict[str, Any] = json.loads(_body(self._kept))
        except (OSError, ValueError):
            self.close()
            return None
        return answer

    def _connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self._certificate)
        context.check_hostname = False  # the certificate itself is pinned
        context.verify_flags |= NO_CHECK_TIME
        plain = socket.create_connection(self._address, timeout=ANSWER_S)
        return context.wrap_socket(plain)

    def look(self, said: str | None, since: float) -> str:
        """Say what an operator should be told of it.

        Args:
            said: what the status says, None if nothing yet.
            since: when it began to.
        """
        verdict = self.ask()
        # The charm's word that the agent is starting is believed for as long as that may take.
        starting = said == told.STARTING and 0 <= time.time() - since < told.START_S
        return told.said(verdict, starting=starting)

    def close(self) -> None:
        """End the connection."""
        if self._kept is not None:
            self._kept.close()
        self._kept = None


def _body(connection: ssl.SSLSocket) -> bytes:
    """Return the body of one answer (RFC 9112); raises OSError, ValueError."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection, len(data))
    head, _, body = data.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    if status.split()[1:2] != ["200"]:
        raise ValueError(status)
    named = {name.lower(): value for name, _, value in (each.partition(":") for each in fields)}
    length = int(named.get("content-length", "none is told"))
    while len(body) < length:
        body += _more(connection, len(body))
    return body


def _more(connection: ssl.SSLSocket, so_far: int) -> bytes:
    chunk = connection.recv(65536)
    if not chunk or so_far > _MOST_BYTES:
        raise ValueError("the answer ends early, or never")
    return chunk


def main() -> None:
    """Have the status follow the agent, for ever."""
    address, port, certificate, directory, unit, dispatch = sys.argv[1:]
    agent = Agent(address, int(port), certificate)
    loop.follow(agent.look, directory, loop.command(unit, dispatch, EVENT))


if __name__ == "__main__":
    main()
