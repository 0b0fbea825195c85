"""What an update's messages are, without a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rrset
import dns.tsig
import pytest
from federation_dns import bind, keys, plan
from federation_dns.plan import Change, Plan, Rules, View
from federation_dns.providers import ProviderError, rfc2136
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.zone import RecordSet, RecordType, Zone

ZONE = "federation.example"
RULES = Rules(zone=ZONE, federation="f" * 100)
WEB = RecordSet(f"web.shop.svc.{ZONE}", "A", 15, ("10.1.0.1",))


def provider(folder: Path) -> Rfc2136:
    key = folder / "key"
    key.write_text(bind.key_file("agent", keys.new_secret()))
    return Rfc2136(
        server="192.0.2.1", port=53, key_name="agent", key_file=key, rules=RULES, writer="a"
    )


@pytest.mark.parametrize(("regions", "messages"), [(3, 3), (30, 10)])
def test_a_message_is_never_too_long(
    regions: int, messages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many regions there are, each with both kinds of addresses (RFC 1035, 4.2.2)."""
    mine = provider(tmp_path)
    sizes: list[int] = []

    def exchange(message: dns.message.Message) -> dns.message.Message:
        sizes.append(len(message.to_wire()))
        return dns.message.make_response(message)

    monkeypatch.setattr(mine, "_exchange", exchange)
    addresses: dict[RecordType, tuple[str, ...]] = {
        "A": tuple(f"10.{n}.111.222" for n in range(100, 100 + regions)),
        "AAAA": tuple(f"2001:db8:{n:x}:1234:5678:9abc:def0:1234" for n in range(regions)),
    }
    sets = [
        RecordSet(f"service-{i}.of-a-namespace.svc.{ZONE}", kind, 15, values)
        for i in range(250)
        for kind, values in addresses.items()
    ]
    wanted = Zone({(s.name, s.type): s for s in sets}, complete=True)
    view = View.of(1, {})
    assert mine.apply(plan.plan(wanted, view, RULES), view) == 250
    assert max(sizes) < 65_000
    assert len(sizes) <= messages


@pytest.mark.parametrize(
    ("error", "unsure"),
    [
        (dns.exception.Timeout(), True),
        (EOFError(), True),
        (ConnectionResetError(), True),
        (dns.tsig.BadSignature(), True),
        (dns.message.ShortHeader(), True),
        (ConnectionRefusedError(), False),
        (dns.tsig.PeerBadKey(), False),
        (dns.tsig.PeerBadTime(), False),
    ],
)
def test_an_answer_that_is_lost_is_no_refusal(
    error: Exception, unsure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent may have been done, unless the server says that it was not."""

    def tcp(*_: object, **__: object) -> dns.message.Message:
        raise error

    monkeypatch.setattr(dns.query, "tcp", tcp)
    mine = provider(tmp_path)
    wanted = Zone({(WEB.name, "A"): WEB}, complete=True)
    view = View.of(1, {})
    with pytest.raises(ProviderError) as caught:
        mine.apply(plan.plan(wanted, view, RULES), view)
    assert (caught.value.unsure, caught.value.done) == (unsure, 0)


@pytest.mark.parametrize(("withdraws", "way"), [(True, 20.0), (True, 0.1), (False, 20.0)])
def test_a_transfer_stands_back_for_what_is_lost_and_for_nothing_else(
    withdraws: bool, way: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for ever."""
    sent, answered = threading.Event(), threading.Event()

    def tcp(message: dns.message.Message, *_: object, **__: object) -> dns.message.Message:
        sent.set()
        assert answered.wait(20)
        return dns.message.make_response(message)

    def xfr(*_: object, **__: object) -> Iterator[dns.message.Message]:
        soa = dns.rrset.from_text(f"{ZONE}.", 15, "IN", "SOA", "ns. host. 7 1 1 1 1")
        for rrset in (soa, soa):
            message = dns.message.Message()
            message.answer.append(rrset)
            yield message

    monkeypatch.setattr(dns.query, "tcp", tcp)
    monkeypatch.setattr(dns.query, "xfr", xfr)
    monkeypatch.setattr(rfc2136, "_WAY_S", way)
    mine = provider(tmp_path)
    change = Change("update", WEB.name, (WEB,), withdraws=withdraws)
    with ThreadPoolExecutor(2) as threads:
        written = threads.submit(mine.apply, Plan((change,), 1), View.of(1, {}))
        assert sent.wait(20)
        read = threads.submit(mine.read)
        stands = withdraws and way > 1
        ended = wait((read,), timeout=0.5 if stands else 20).done
        assert bool(ended) is not stands
        answered.set()
        assert (written.result(20), read.result(20).serial) == (1, 7)
