"""Somebody who asks a region's server ten times a second and forgets no answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from .conftest import Region

EVERY = 0.1


@dataclass
class Eye:
    """Asks one region's server, and remembers every answer.

    Attributes:
        enter: called in its thread before it asks.
        answers: when, and the addresses; None where the server didn't answer at all.
    """

    region: Region
    name: str
    enter: Callable[[], None] = lambda: None
    answers: list[tuple[float, tuple[str, ...] | None]] = field(
        default_factory=list[tuple[float, "tuple[str, ...] | None"]]
    )
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        self.enter()
        query = dns.message.make_query(self.name, "A")
        while not self._closed.wait(EVERY):
            found: tuple[str, ...] | None = None
            with contextlib.suppress(OSError, dns.exception.DNSException):
                answer = dns.query.udp(query, "127.0.0.1", port=self.region.dns_port, timeout=1)
                records = [r for rs in answer.answer for r in rs if r.rdtype == dns.rdatatype.A]
                found = tuple(sorted(map(str, records)))
            self.answers.append((time.monotonic(), found))

    def close(self) -> None:
        """Stop asking."""
        self._closed.set()
        self._thread.join(5)

    def since(self, moment: float) -> list[tuple[str, ...]]:
        """Every answer that came after a moment."""
        return [found for at, found in self.answers if at >= moment and found is not None]
