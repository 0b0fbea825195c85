"""The service that gives the charm a hook when its status has become untrue.

    python -m federation_dns.tell ADDRESS PORT CERTIFICATE DIRECTORY UNIT DISPATCH

A charm can set its status in a hook only, and Juju runs the next one after minutes. So this asks
the agent each second what the charm would ask it, compares with what the charm said last
(`DIRECTORY/said`, written by the charm), and runs `juju-exec` when they differ. It runs as root,
since juju-exec needs it, and on every unit for ever, so it imports only what it must: http.client
alone would add an eighth to its memory.
"""

import json
import os
import shlex
import socket
import ssl
import subprocess
import sys
import time
from typing import Any

from federation_dns import told

JUJU_EXEC = "/usr/bin/juju-exec"
EVENT = "verdict_changed"
REQUEST = b"GET /v1/verdict HTTP/1.1\r\nHost: agent\r\n\r\n"
# As federation_dns.keys has it, and says why; that would bring its imports along.
NO_CHECK_TIME = 0x200000
PAUSE_S = 1.0
ANSWER_S = 1.0
EXEC_S = 60.0
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


def command(unit: str, dispatch: str) -> list[str]:
    """Return what gives the charm its hook."""
    line = f"JUJU_DISPATCH_PATH=hooks/{EVENT} {shlex.quote(dispatch)}"
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


def step(agent: Agent, notes: Notes, teller: told.Teller, argv: list[str]) -> None:
    """Look once, and tell if it is time."""
    verdict = agent.ask()
    said, since = notes.said()
    # The charm's word that the agent is starting is believed for as long as that may take.
    starting = said == told.STARTING and 0 <= time.time() - since < told.START_S
    seen = told.said(verdict, starting=starting)
    if teller.due(time.monotonic(), seen, said):
        _log(f"the status has become untrue, the charm is told: {seen or 'all is well'}")
        why = run(argv)
        teller.told(time.monotonic(), done=not why)
        if why:
            _log(f"the charm cannot be told: {why}")
    notes.keep(teller.asked, teller.tries)


def _log(text: str) -> None:
    sys.stderr.write(text + "\n")


def main() -> None:
    """Look each second, for ever."""
    address, port, certificate, directory, unit, dispatch = sys.argv[1:]
    agent, notes = Agent(address, int(port), certificate), Notes(directory)
    teller = told.Teller(*notes.asked())
    argv = command(unit, dispatch)
    while True:
        step(agent, notes, teller, argv)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
