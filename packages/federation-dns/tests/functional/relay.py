"""Between an agent and its name server: does with each message what a test says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig

from .conftest import free_port

RCODES = {"SERVFAIL": 2, "REFUSED": 5, "YXRRSET": 7, "NXRRSET": 8, "NOTAUTH": 9}
_LONGEST = 20.0


@dataclass
class Told:
    """One message to the server: `what` is UPDATE, AXFR or ASK, `number` counts each of these."""

    what: str
    number: int
    message: bytes


Rule = Callable[[Told], str]
"""What becomes of a message: `pass`, an rcode (as the server would say it), `forge` (an unsigned
"done" in the server's place), `lose` (the server gets it, the answer is lost), `drop` (the server
doesn't get it), `cut` (half of the answer comes), `empty` (of a transfer only its first and last
record), `late` (the answer comes after 3 s), `held` (it comes once the gate is open), `mute` (some
bytes of it come, and the line stays)."""


def passes(_: Told) -> str:
    return "pass"


@dataclass
class Relay:
    """A port before the server's; TCP, as the provider asks."""

    target: int
    keyring: dict[dns.name.Name, dns.tsig.Key]
    rule: Rule = passes
    port: int = field(default_factory=free_port)
    counts: dict[str, int] = field(default_factory=dict[str, int])
    gate: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(0.2)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                line, _ = self._listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            line.settimeout(_LONGEST)
            while (message := _message(line)) is not None:
                what = _kind(message)
                number = self.counts.get(what, 0)
                self.counts[what] = number + 1
                if not self._do(self.rule(Told(what, number, message)), what, message, line):
                    return

    def _do(self, act: str, what: str, message: bytes, line: socket.socket) -> bool:
        if act == "drop":
            return False
        if act == "forge":
            line.sendall(_framed(_forged(message)))
            return True
        if act in RCODES:
            line.sendall(_framed(self._refusal(message, RCODES[act])))
            return True
        return self._answer(act, self._ask(what, message), line)

    def _answer(self, act: str, answers: list[bytes], line: socket.socket) -> bool:
        if act == "late":
            self._ended.wait(3)
        if act == "held":
            self.gate.wait(_LONGEST)
        if act == "empty":
            line.sendall(_framed(_hollow(answers[0])))
        if act == "cut":
            whole = b"".join(map(_framed, answers))
            line.sendall(whole[: len(whole) // 2])
        if act == "mute":
            line.sendall(_framed(answers[0])[:20])
            self.gate.wait(_LONGEST)
        if act in ("empty", "lose", "cut", "mute"):
            return False
        for answer in answers:
            line.sendall(_framed(answer))
        return True

    def _refusal(self, message: bytes, code: int) -> bytes:
        """Signed where the question was (RFC 8945, 5.3)."""
        query = dns.message.from_wire(message, keyring=self.keyring)
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.Rcode(code))
        return answer.to_wire()

    def _ask(self, what: str, message: bytes) -> list[bytes]:
        """All messages of the answer; a transfer has several and the server keeps the line."""
        with socket.create_connection(("127.0.0.1", self.target), 5) as server:
            server.settimeout(10)
            server.sendall(_framed(message))
            answers: list[bytes] = []
            with contextlib.suppress(TimeoutError):
                while (answer := _message(server)) is not None:
                    answers.append(answer)
                    if what != "AXFR":
                        break
                    server.settimeout(1)
            return answers


def _message(line: socket.socket) -> bytes | None:
    head = line.recv(2, socket.MSG_WAITALL)
    if len(head) < 2:
        return None
    (length,) = struct.unpack("!H", head)
    return line.recv(length, socket.MSG_WAITALL)


def _framed(message: bytes) -> bytes:
    return struct.pack("!H", len(message)) + message


def _kind(message: bytes) -> str:
    if message[2] >> 3 & 0x0F == 5:
        return "UPDATE"
    at = 12
    while message[at]:
        at += message[at] + 1
    (kind,) = struct.unpack_from("!H", message, at + 1)
    return "AXFR" if kind in (251, 252) else "ASK"


def _hollow(answer: bytes) -> bytes:
    """A transfer of nothing but the SOA, twice, unsigned."""
    found = dns.message.from_wire(answer, xfr=True, ignore_trailing=True, keyring=False)
    soa = next(rrset for rrset in found.answer if rrset.rdtype == dns.rdatatype.SOA)
    made = dns.message.make_response(dns.message.make_query(soa.name, "AXFR"))
    made.id = found.id
    made.answer = [soa, soa]
    return made.to_wire()


def _forged(message: bytes) -> bytes:
    """Head and question of an answer without an error."""
    at = 12
    while message[at]:
        at += message[at] + 1
    head = message[:2] + bytes((message[2] | 0x80, 0)) + bytes((0, 1)) + bytes(6)
    return head + message[12 : at + 5]
