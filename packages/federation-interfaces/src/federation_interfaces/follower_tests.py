"""What the tests of the programs by which a charm's status follows something have in common."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any


class Answers(http.server.ThreadingHTTPServer):
    """Who is asked.

    Attributes:
        connections: how many there were.
        forgets: whether each connection is served once, and then ended without a word.
    """

    daemon_threads = True
    connections = 0
    forgets = False


class Handler(http.server.BaseHTTPRequestHandler):
    """Counts the connections, keeps them and logs nothing."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        if isinstance(self.server, Answers):
            self.server.connections += 1

    def do_GET(self) -> None:
        """Answer."""
        self.answer()

    def answer(self) -> None:
        """Answer; a test's own."""
        raise NotImplementedError

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def answering(server: Answers, certificate: Path, key: Path | None = None) -> Generator[None]:
    """Have it answer by TLS until the block is left; the key may be in the certificate's file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def imported_by(program: ModuleType) -> set[str]:
    """Name the packages that a program beside the charm brings along."""
    code = (
        f"import sys; before = set(sys.modules); import {program.__name__}; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(program.__file__ or "").parent,
    )
    return set(done.stdout.split())
