"""Debian's unbound as the resolver of a client: plain or validating, caching, on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
from federation_dns import bind, dnssec

from .conftest import ZONE, eventually, free_port

UNBOUND = shutil.which("unbound") or "/usr/sbin/unbound"
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def shifted(clock: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is what the file says (`+14d`), at any time.

    libfaketime fakes the monotonic clock too if it isn't told not to.
    """
    assert FAKETIME is not None, "Debian's package faketime is missing: tools/bootstrap"
    return {
        **os.environ,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@dataclass(frozen=True)
class Answer:
    """What the client was told, and when."""

    at: float
    rcode: str
    values: tuple[str, ...]
    secure: bool


@dataclass
class Resolver:
    """One unbound; `anchors` (DS or DNSKEY of the zone, as text) make it validate.

    Attributes:
        servers: ports on loopback, or `address@port`.
        host: its own address.
        through: what it is started through.
    """

    folder: Path
    servers: tuple[int | str, ...]
    anchors: tuple[str, ...] = ()
    env: dict[str, str] | None = None
    host: str = "127.0.0.1"
    through: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir()
        modules = "validator iterator" if self.anchors else "iterator"
        lines = [
            "server:",
            f" interface: {self.host}@{self.port}",
            " access-control: 0.0.0.0/0 allow",
            f' directory: "{self.folder}"',
            ' chroot: ""',
            ' username: ""',
            ' pidfile: ""',
            " use-syslog: no",
            ' logfile: ""',
            " do-daemonize: no",
            " do-not-query-localhost: no",
            " num-threads: 1",
            " val-log-level: 2",
            f' module-config: "{modules}"',
            *(f' trust-anchor: "{ZONE}. {anchor}"' for anchor in self.anchors),
            "remote-control:",
            " control-enable: no",
            "stub-zone:",
            f' name: "{ZONE}."',
            *(f" stub-addr: {_at(server)}" for server in self.servers),
        ]
        conf = self.folder / "unbound.conf"
        conf.write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.through, UNBOUND, "-d", "-c", str(conf)],
                stdout=log,
                stderr=log,
                env=self.env,
            )
        eventually(lambda: self.ask(ZONE, "SOA").rcode == "NOERROR", 15, "unbound answers")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def ask(self, name: str, kind: str = "A") -> Answer:
        query = dns.message.make_query(name, kind, use_edns=0, want_dnssec=True)
        query.flags |= dns.flags.AD
        try:
            found = dns.query.udp(query, self.host, port=self.port, timeout=4)
        except (OSError, dns.exception.Timeout):
            return Answer(time.monotonic(), "silence", (), secure=False)
        wanted = dns.rdatatype.from_text(kind)
        values = sorted(str(r) for rs in found.answer if rs.rdtype == wanted for r in rs)
        return Answer(
            time.monotonic(),
            dns.rcode.to_text(found.rcode()),
            tuple(values),
            bool(found.flags & dns.flags.AD),
        )

    def log(self) -> str:
        return (self.folder / "log").read_text()


def _at(server: int | str) -> str:
    return server if isinstance(server, str) else f"127.0.0.1@{server}"


@dataclass
class Client:
    """Asks a resolver ten times a second and keeps every answer."""

    resolver: Resolver
    name: str
    answers: list[Answer] = field(default_factory=list[Answer])

    def __enter__(self) -> Client:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            self.answers.append(self.resolver.ask(self.name))

    def wrong(self) -> list[Answer]:
        """What no client may ever see: an error, or nothing where there was something."""
        return [a for a in self.answers if a.rcode != "NOERROR" or not a.values]


@dataclass
class Split:
    """One address (UDP) that gives keys from one server and all else from another."""

    keys_from: int
    rest_from: int
    port: int = field(default_factory=free_port)
    asked: dict[int, int] = field(default_factory=dict[int, int])

    def __enter__(self) -> Split:
        self._ended = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.settimeout(0.2)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                query, source = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            port = self.keys_from if _qtype(query) == dns.rdatatype.DNSKEY else self.rest_from
            self.asked[port] = self.asked.get(port, 0) + 1
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
                line.settimeout(1)
                with contextlib.suppress(OSError):
                    line.sendto(query, ("127.0.0.1", port))
                    self._socket.sendto(line.recv(4096), source)


def _qtype(query: bytes) -> int:
    at = 12
    while query[at]:
        at += query[at] + 1
    (kind,) = struct.unpack_from("!H", query, at + 1)
    return kind


def put_keys(folder: Path, keys: dnssec.KeySet) -> bind.Signing:
    """As the charm does: what is missing."""
    folder.mkdir(exist_ok=True)
    for key in keys.keys:
        for name, text in dnssec.key_files(ZONE, key).items():
            if not (folder / name).exists():
                (folder / name).write_text(text)
                (folder / name).chmod(0o600)
    return bind.Signing(str(folder), keys.algorithms)


def anchors(keys: dnssec.KeySet) -> tuple[str, ...]:
    """What the parent would say of the keys."""
    return tuple(f"DS {text}" for text in dnssec.ds(ZONE, [key.record for key in keys.keys]))
