"""What an update's messages are, without a server."""

from __future__ import annotations

from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.tsig
import pytest
from federation_dns import bind, keys, plan
from federation_dns.plan import Rules, View
from federation_dns.providers import ProviderError
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
