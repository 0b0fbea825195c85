"""The door of the mesh port: what is bounded before anybody has said who he is.

A connection costs memory from its first byte, so it is counted when it is accepted: so many from
an address, so many of strangers in all; whoever is beyond is shown out at once. TLS, a request's
head and a pause between requests have a time each, and a head a size. Who proves to be a member
leaves the strangers' count, so that no crowd of these keeps a member's vote waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
from asyncio import sslproto
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import cast

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 2
HEAD_SECONDS = 2.0
REQUEST_BYTES = 256 * 1024
REQUEST_SECONDS = 60.0
IDLE_SECONDS = 10.0
MEMBER_IDLE_SECONDS = 75.0
STRANGERS = 32
AN_ADDRESS = 8
A_MEMBER = 16
PACE_SECONDS = 0.1
REASONS = ("address", "crowd", "member", "handshake", "slow", "size")
_BACKLOG = 128


@dataclass
class Slots:
    """Who is inside. Pure.

    Attributes:
        known: addresses of members and of this machine: the strangers' sum does not hold there.
    """

    known: frozenset[str] = frozenset()
    strangers: Counter[str] = field(default_factory=Counter[str])
    members: Counter[str] = field(default_factory=Counter[str])

    def refuses(self, address: str) -> str:
        """Why nobody more is let in from an address, if so."""
        most = A_MEMBER if address in self.known else AN_ADDRESS
        if self.strangers[address] >= most:
            return "address"
        crowd = sum(n for a, n in self.strangers.items() if a not in self.known)
        return "crowd" if address not in self.known and crowd >= STRANGERS else ""

    def enter(self, address: str) -> None:
        """Count a stranger."""
        self.strangers[address] += 1

    def prove(self, address: str, member: str) -> bool:
        """Count a stranger as a member from now on; False: that one has enough."""
        if self.members[member] >= A_MEMBER:
            return False
        self.leave(address, "")
        self.members[member] += 1
        return True

    def leave(self, address: str, member: str) -> None:
        """Count somebody no more."""
        counter, key = (self.members, member) if member else (self.strangers, address)
        counter[key] -= 1
        if counter[key] <= 0:
            del counter[key]


class Gate(asyncio.Protocol):
    """One connection: hands everything on to its handler, and keeps the time."""

    def __init__(self, door: Door, address: str):
        self._door = door
        self._address = address
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = True
        self._read = 0
        self._counted = True
        self.member = ""
        self.not_before = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS stands."""
        self._transport = cast("asyncio.Transport", transport)
        pin = shown(transport)
        member = "" if pin is None else self._door.whose(pin) or ""
        if member and not self._door.slots.prove(self._address, member):
            self._end("member")
            return
        self.member = member
        self._inner = self._door.enter(self)
        self._inner.connection_made(transport)
        self._wait(HEAD_SECONDS, "slow")

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._idle:
            self._idle, self._read = False, 0
            self._wait(HEAD_SECONDS, "slow")
        self._read += len(data)
        if self._read > REQUEST_BYTES:
            self._end("size")
        elif self._inner is not None:
            self._inner.data_received(data)

    def request_begins(self) -> None:
        """A head is complete."""
        self._wait(REQUEST_SECONDS, "slow")

    def request_ends(self) -> None:
        """The answer is on its way."""
        self._idle = True
        self._wait(MEMBER_IDLE_SECONDS if self.member else IDLE_SECONDS, "")

    def eof_received(self) -> bool | None:
        """Nothing more comes."""
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """The other side reads too slowly."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self.leave()
        if self._inner is not None:
            self._door.forget(self._inner)
            self._inner.connection_lost(exc)

    def leave(self) -> None:
        """Be counted no more; once."""
        if self._counted:
            self._counted = False
            self._door.slots.leave(self._address, self.member)

    def _wait(self, seconds: float, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._end, reason)

    def _end(self, reason: str) -> None:
        if reason:
            self._door.refused[reason] += 1
        if self._transport is not None:
            self._transport.abort()


class _Tls(sslproto.SSLProtocol):
    """asyncio's TLS with a buffer of two records, where a quarter of a megabyte is its habit."""

    max_size = 32 * 1024


class Door:
    """Listens, and lets in whom the slots allow.

    Args:
        factory: makes a handler for a connection.
        whose: tells a member by a certificate's fingerprint.
    """

    def __init__(
        self, factory: Callable[[], asyncio.Protocol], whose: Callable[[str], str | None]
    ):
        self._factory = factory
        self.whose = whose
        self.slots = Slots()
        self.refused: Counter[str] = Counter()
        self._gates: dict[int, Gate] = {}
        self._context: ssl.SSLContext | None = None
        self._listener: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._shaking: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    def use(self, context: ssl.SSLContext, known: Iterable[str]) -> None:
        """Meet whoever comes from now on with this; open connections go on."""
        self._context = context
        self.slots.known = frozenset(known)

    def listen(self, address: str, port: int) -> None:
        """Open.

        Raises:
            OSError: the port is taken, or not ours to take.
        """
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._task = asyncio.ensure_future(self._accept(listener))

    async def close(self) -> None:
        """Close the port, and give up whom TLS is not yet made with."""
        tasks = [*([self._task] if self._task else []), *self._shaking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                found, where = await loop.sock_accept(listener)
            except OSError as error:  # no file descriptor is left, say: the next may be luckier
                log.warning("the mesh port cannot take a connection: %s", error)
                await asyncio.sleep(0.1)
                continue
            address = str(where[0])
            reason = self.slots.refuses(address)
            if reason:
                self.refused[reason] += 1
                found.close()
                continue
            self.slots.enter(address)
            task = asyncio.ensure_future(self._shake(found, address))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake(self, found: socket.socket, address: str) -> None:
        gate, context, loop = Gate(self, address), self._context, asyncio.get_running_loop()
        if context is None:
            raise RuntimeError("the door was opened without a certificate")
        shaken: asyncio.Future[None] = loop.create_future()
        tls = _Tls(
            loop,
            gate,
            context,
            shaken,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=1.0,
        )
        try:
            await loop.connect_accepted_socket(lambda: tls, found)
            await shaken
        except OSError as error:
            # Its frames hold the future that holds it: buffers would wait for the collector.
            error.__traceback__ = None
            self.refused["handshake"] += 1
            gate.leave()

    def enter(self, gate: Gate) -> asyncio.Protocol:
        """Make the handler of a connection."""
        inner = self._factory()
        self._gates[id(inner)] = gate
        return inner

    def of(self, inner: object) -> Gate | None:
        """The gate of a handler."""
        return self._gates.get(id(inner))

    def forget(self, inner: object) -> None:
        """A connection has ended."""
        self._gates.pop(id(inner), None)


def shown(transport: asyncio.BaseTransport | None) -> str | None:
    """The fingerprint of the certificate that the other side proved to hold."""
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None
    return None if der is None else hashlib.sha256(der).hexdigest()
