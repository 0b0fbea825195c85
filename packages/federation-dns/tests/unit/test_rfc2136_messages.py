"""What an update's messages are, without a server."""

from __future__ import annotations

from pathlib import Path

import dns.message
import pytest
from federation_dns import bind, keys, plan
from federation_dns.plan import Rules, View
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.zone import RecordSet, RecordType, Zone

ZONE = "federation.example"
RULES = Rules(zone=ZONE, federation="f" * 100)


@pytest.mark.parametrize(("regions", "messages"), [(3, 3), (30, 10)])
def test_a_message_is_never_too_long(
    regions: int, messages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many regions there are, each with both kinds of addresses (RFC 1035, 4.2.2)."""
    key = tmp_path / "key"
    key.write_text(bind.key_file("agent", keys.new_secret()))
    mine = Rfc2136(
        server="192.0.2.1", port=53, key_name="agent", key_file=key, rules=RULES, writer="a"
    )
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
