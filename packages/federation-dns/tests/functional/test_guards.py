"""What strangers try at the name server, and that none of it counts."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from unittest import mock

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import dns.xfr
import dns.zone
import pytest
from federation_dns import bind, keys
from federation_dns.plan import Rules
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.zone import RecordSet, Zone

from .carrying import carry_out
from .conftest import FOREIGN, ZONE, Region, free_port

RULES = Rules(zone=ZONE, federation=ZONE)
WEB = f"web.shop.svc.{ZONE}"
OTHERS = "the-secondaries"
OTHERS_AT = "127.0.0.3"
STRANGER_AT = "127.0.0.2"
EVIL = "203.0.113.66"


@dataclass
class Guarded:
    """A server, the key of its secondaries, and updates of its agent, overheard."""

    region: Region
    others: str
    heard: list[bytes]

    def keyring(self, name: str, secret: str) -> dict[dns.name.Name, dns.tsig.Key]:
        key = dns.name.from_text(name)
        return {key: dns.tsig.Key(key, secret, dns.tsig.HMAC_SHA256)}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Generator[Guarded]:
    region = Region("catania", tmp_path_factory.mktemp("guards") / "catania", 1)
    secret = keys.new_secret()
    path = region.folder / "others.key"
    path.write_text(bind.key_file(OTHERS, secret))
    given = bind.Secondaries((OTHERS_AT,), OTHERS, str(path))
    heard: list[bytes] = []
    try:
        region.start_named(FOREIGN, secondaries=given)
        _write_a_while(region, heard)
        yield Guarded(region, secret, heard)
    finally:
        region.stop()


def _write_a_while(region: Region, heard: list[bytes]) -> None:
    """The agent's provider writes; who listens on the way keeps what it sends."""
    mine = Rfc2136(
        server="127.0.0.1",
        port=region.dns_port,
        key_name=f"agent-{region.name}",
        key_file=region.folder / "named" / "key.conf",
        rules=RULES,
        writer=region.name,
    )
    sent = dns.query.tcp

    def listen(message: dns.message.Message, *where: object, **how: object) -> object:
        answer = sent(message, *where, **how)  # type: ignore[arg-type]
        if message.opcode() == dns.opcode.UPDATE:
            heard.append(_wire(message))
        return answer

    with mock.patch("dns.query.tcp", listen):
        for last in range(1, 6):
            record = RecordSet(WEB, "A", 15, (f"10.1.0.{last}",))
            done = carry_out(mine, Zone({(WEB, "A"): record}, complete=True), {}, RULES, None)
            assert done.outcome == "changed"


def _wire(message: dns.message.Message) -> bytes:
    """As it was sent: the signature is the one that was made then."""
    made = message.to_wire()
    assert isinstance(made, bytes)
    return made


def tell(region: Region, wire: bytes, source: str = "127.0.0.1") -> int | None:
    """Send a message as it is; the answer's code, None if the server hung up."""
    with socket.socket() as line:
        line.settimeout(5)
        line.bind((source, 0))
        line.connect(("127.0.0.1", region.dns_port))
        line.sendall(struct.pack("!H", len(wire)) + wire)
        head = line.recv(2 + 12, socket.MSG_WAITALL)
    return head[5] & 0x0F if len(head) >= 6 else None


def forged(seed: random.Random, number: int) -> dns.update.UpdateMessage:
    update = dns.update.UpdateMessage(ZONE)
    what = seed.randrange(4)
    if what == 0:
        update.add(f"evil{number}.{ZONE}.", 60, "A", EVIL)
    elif what == 1:
        update.replace(f"{WEB}.", 15, "A", EVIL)
    elif what == 2:
        update.delete(f"{WEB}.")
    else:
        update.delete(f"_federation.{ZONE}.", "TXT")
    return update


def with_key(
    guarded: Guarded, update: dns.update.UpdateMessage, secret: str | None = None, name: str = ""
) -> dns.update.UpdateMessage:
    name = name or f"agent-{guarded.region.name}"
    update.use_tsig(
        guarded.keyring(name, secret or guarded.region.secret), dns.name.from_text(name)
    )
    return update


def cut_mac(update: dns.update.UpdateMessage, size: int) -> bytes:
    """Truncate the signature (RFC 8945, 5.2.2.1), lengths put right."""
    wire = bytearray(update.to_wire())
    assert update.tsig is not None
    mac: bytes = next(iter(update.tsig)).mac
    at = wire.rindex(mac)
    algorithm = b"\x0bhmac-sha256\x00"
    length = wire.rindex(algorithm, 0, at) - 2
    (before,) = struct.unpack_from("!H", wire, length)
    struct.pack_into("!H", wire, length, before - (len(mac) - size))
    struct.pack_into("!H", wire, at - 2, size)
    del wire[at + size : at + len(mac)]
    return bytes(wire)


def attempts(guarded: Guarded, count: int) -> Iterator[tuple[str, bytes, str]]:
    """Kind, message and the address that it comes from, in turn."""
    seed = random.Random(2136)  # noqa: S311
    here = "127.0.0.1"
    out = dns.update.UpdateMessage("elsewhere.example")
    out.add(f"evil.{ZONE}.", 60, "A", EVIL)

    def skewed(update: dns.update.UpdateMessage, seconds: int) -> bytes:
        moment = time.time() + seconds
        with mock.patch("time.time", return_value=moment):
            return update.to_wire()

    def ungranted(update: dns.update.UpdateMessage, number: int) -> bytes:
        """The right key, where or what it may not write."""
        kinds: list[Callable[[], None]] = [
            lambda: update.add(f"x.{ZONE}.", 60, "NS", "ns.evil.example."),
            lambda: update.add(f"{ZONE}.", 60, "MX", "1 evil.example."),
            lambda: update.add("x.elsewhere.example.", 60, "A", EVIL),
            lambda: update.add(f"{ZONE}.", 60, "DNSKEY", "257 3 13 AAAA"),
            lambda: update.delete(f"{ZONE}.", "SOA"),
        ]
        kinds[number % len(kinds)]()
        # With something that is allowed beside it: the whole is refused.
        update.add(f"evil{number}.{ZONE}.", 60, "A", EVIL)
        return with_key(guarded, update).to_wire()

    kinds: dict[str, Callable[[int], tuple[bytes, str]]] = {
        "unsigned": lambda n: (forged(seed, n).to_wire(), here),
        "wrong secret": lambda n: (
            with_key(guarded, forged(seed, n), keys.new_secret()).to_wire(),
            here,
        ),
        "wrong key's name": lambda n: (
            with_key(guarded, forged(seed, n), name="agent-napoli").to_wire(),
            here,
        ),
        "key of the secondaries": lambda n: (
            with_key(guarded, forged(seed, n), guarded.others, OTHERS).to_wire(),
            here if n % 2 else OTHERS_AT,
        ),
        "right key, wrong name": lambda n: (ungranted(dns.update.UpdateMessage(ZONE), n), here),
        "right key, wrong zone": lambda _: (with_key(guarded, out).to_wire(), here),
        "right key, wrong address": lambda n: (
            with_key(guarded, forged(seed, n)).to_wire(),
            STRANGER_AT,
        ),
        "signature cut": lambda n: (
            cut_mac(with_key(guarded, forged(seed, n)), (0, 1, 10, 16, 31)[n % 5]),
            here,
        ),
        "clock 302 s off": lambda n: (
            # 300 s are allowed; the server's clock is coarse, and a busy machine late to send.
            skewed(with_key(guarded, forged(seed, n)), -302 if n % 2 else 310),
            here,
        ),
        "one bit": lambda n: (_flipped(with_key(guarded, forged(seed, n)), seed), here),
        # All but the newest have been overtaken; from elsewhere not even that one.
        "replay": lambda n: (
            (guarded.heard[n % (len(guarded.heard) - 1)], here)
            if n % 2
            else (guarded.heard[-1], STRANGER_AT)
        ),
    }
    for number in range(count):
        kind = list(kinds)[number % len(kinds)]
        wire, source = kinds[kind](number // len(kinds))
        yield kind, wire, source


def _flipped(update: dns.update.UpdateMessage, seed: random.Random) -> bytes:
    """One bit of what is signed; the key's name is not, as far as its case goes."""
    wire = bytearray(update.to_wire())
    assert update.tsig is not None
    end = wire.rindex(update.tsig.name.to_wire() or b"")
    at = seed.randrange(12, end)
    wire[at] ^= 1 << seed.randrange(8)
    return bytes(wire)


def test_a_thousand_forged_updates_change_nothing(guarded: Guarded) -> None:
    region = guarded.region
    before, serial = region.transfer(), region.ask(ZONE, "SOA")
    assert region.ask(WEB) == ["10.1.0.5"]
    codes: dict[str, Counter[str]] = {}
    for kind, wire, source in attempts(guarded, 1_000):
        code = tell(region, wire, source)
        said = "hung up" if code is None else dns.rcode.to_text(dns.rcode.Rcode(code))
        codes.setdefault(kind, Counter())[said] += 1
    assert len(codes) == 11
    assert "NOERROR" not in set().union(*codes.values()), codes
    assert region.transfer() == before
    assert region.ask(ZONE, "SOA") == serial
    # And none of it was a mistake of this test: the same, right, is taken.
    assert tell(region, with_key(guarded, _right()).to_wire()) == dns.rcode.NOERROR
    assert region.ask(f"right.{ZONE}") == ["192.0.2.1"]


def _right() -> dns.update.UpdateMessage:
    update = dns.update.UpdateMessage(ZONE)
    update.add(f"right.{ZONE}.", 60, "A", "192.0.2.1")
    return update


@pytest.mark.parametrize(
    ("name", "source", "given"),
    [
        ("", "127.0.0.1", False),
        ("agent", "127.0.0.1", True),
        ("agent", STRANGER_AT, False),
        (OTHERS, OTHERS_AT, True),
        (OTHERS, "127.0.0.1", False),
        (OTHERS, STRANGER_AT, False),
    ],
)
def test_the_zone_is_given_to_key_and_address_only(
    guarded: Guarded, name: str, source: str, given: bool
) -> None:
    zone = dns.zone.Zone(ZONE, relativize=False)
    query, _ = dns.xfr.make_query(zone)
    if name == "agent":
        query.use_tsig(guarded.region.keyring())
    elif name:
        query.use_tsig(guarded.keyring(name, guarded.others))
    with ExitStack() as stack:
        if not given:
            stack.enter_context(pytest.raises((dns.xfr.TransferError, dns.tsig.PeerError)))
        dns.query.inbound_xfr(
            "127.0.0.1", zone, query, port=guarded.region.dns_port, lifetime=5, source=source
        )
    assert (len(list(zone.iterate_rdatasets())) > 2000) is given


def asked(
    region: Region, name: str, kind: str, rdclass: str = "IN", *, recurse: bool = False
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, rdclass, use_edns=0)
    if not recurse:
        query.flags &= ~dns.flags.RD
    return dns.query.udp(query, "127.0.0.1", port=region.dns_port, timeout=10)


@pytest.mark.parametrize("name", ["version.bind", "authors.bind", "hostname.bind", "id.server"])
def test_it_says_nothing_of_itself(guarded: Guarded, name: str) -> None:
    answer = asked(guarded.region, name, "TXT", "CH")
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.answer


def test_answers_are_small_and_for_its_own_zone_only(guarded: Guarded) -> None:
    region = guarded.region
    found = asked(region, WEB, "A")
    assert [len(part) for part in (found.answer, found.authority, found.additional)] == [1, 0, 0]
    assert found.flags & dns.flags.AA
    assert len(asked(region, f"host1.{ZONE}", "ANY").answer) == 1
    for name in ("example.org", "."):
        other = asked(region, name, "NS", recurse=True)
        assert other.rcode() == dns.rcode.REFUSED
        assert not other.flags & dns.flags.RA
        assert not other.answer + other.authority


def test_a_flood_is_answered_thinly(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Loopback is exempt as it comes; here it isn't."""
    region = Region("palermo", tmp_path_factory.mktemp("flood") / "palermo", 3)
    try:
        region.start_named()
        conf = region.folder / "named" / "named.conf"
        bare = conf.read_text().replace("exempt-clients { 127.0.0.0/8; ::1; };", "")
        assert bare != conf.read_text()
        conf.write_text(bare)
        region.stop()
        region.dns_port = free_port()
        conf.write_text(_at_port(bare, region.dns_port))
        region.spawn_named()
        query = dns.message.make_query(ZONE, "SOA").to_wire()
        whole = cut = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            line.connect(("127.0.0.1", region.dns_port))
            line.settimeout(0.5)
            started = time.monotonic()
            for _ in range(1_000):
                line.send(query)
            took = time.monotonic() - started
            try:
                while True:
                    answer = line.recv(4096)
                    cut += bool(answer[2] & 0x02)
                    whole += not answer[2] & 0x02
            except TimeoutError:
                pass
        assert whole <= 100 * (took + 2)
        assert cut > 0  # who is real asks again over TCP
        assert dns.query.tcp(dns.message.make_query(ZONE, "SOA"), "127.0.0.1", 10, region.dns_port)
    finally:
        region.stop()


def _at_port(conf: str, port: int) -> str:
    lines = [
        f"\tlisten-on port {port} {{ 127.0.0.1; }};" if "listen-on port" in line else line
        for line in conf.splitlines()
    ]
    return "\n".join(lines) + "\n"
