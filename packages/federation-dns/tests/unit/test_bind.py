"""What BIND's configuration says, and what never gets into it."""

from __future__ import annotations

from typing import Any

import pytest
from federation_dns import bind, keys


def conf(**more: Any) -> str:
    given: dict[str, Any] = {
        "zones": {"fed.example": "/var/lib/bind/fed.example.zone"},
        "key_name": "agent",
        "key_path": "/etc/bind/agent.key",
        "listen": ["127.0.0.1", "10.0.0.5", "fd00::5"],
        **more,
    }
    return bind.named_conf(**given)


def test_it_says_what_it_must() -> None:
    text = conf()
    for part in (
        "recursion no;",
        'grant "agent" name fed.example. NS;',
        'grant "agent" zonesub A AAAA CNAME TXT;',
        'allow-transfer { { !not-the-agent; key "agent"; }; };',
        'acl "not-the-agent" { !127.0.0.1; !::1; any; };',
        "minimal-responses yes;",
        "rate-limit {",
        "version none;",
        'view "nobody" chaos {',
        "listen-on port 53 { 127.0.0.1; 10.0.0.5; };",
        "listen-on-v6 port 53 { fd00::5; };",
    ):
        assert part in text
    for part in ("local", "dnssec-policy", "also-notify"):
        assert part not in text


def test_the_agents_key_is_known_in_its_own_view_only() -> None:
    text = conf()
    before, _, after = text.partition('view "agent" {')
    assert 'include "/etc/bind/agent.key";' not in before
    assert 'include "/etc/bind/agent.key";' not in after.partition("\n};")[2]


def test_several_zones_are_served_alike() -> None:
    text = conf(zones={"fed.example": "/z/a.zone", "shop.example": "/z/b.zone"})
    for zone in ("fed.example", "shop.example"):
        assert f'zone "{zone}" {{ in-view "agent"; }};' in text
        assert f'grant "agent" name {zone}. NS;' in text
    with pytest.raises(bind.BindError, match="no zone"):
        conf(zones={})


def test_secondaries_need_address_and_key_and_are_notified() -> None:
    given = bind.Secondaries(("192.0.2.53", "2001:db8::53"), "others", "/etc/bind/others.key")
    text = conf(secondaries=given)
    for part in (
        'acl "not-a-secondary" { !192.0.2.53; !2001:db8::53; any; };',
        '{ !not-the-agent; key "agent"; }; { !not-a-secondary; key "others"; };',
        'also-notify { 192.0.2.53 key "others"; 2001:db8::53 key "others"; };',
        "notify explicit;",
        "provide-ixfr no;",
    ):
        assert part in text
    with pytest.raises(bind.BindError, match="no address"):
        conf(secondaries=bind.Secondaries(("ns1.example",), "others", "/k"))
    with pytest.raises(bind.BindError, match="without an address"):
        conf(secondaries=bind.Secondaries((), "others", "/k"))


def test_signatures_outlast_every_copy_of_the_zone() -> None:
    text = conf(signing=bind.Signing("/var/lib/bind/keys"))
    for part in (
        "keys { csk lifetime unlimited algorithm ecdsap256sha256; };",
        'dnssec-policy "federation";',
        'key-directory "/var/lib/bind/keys";',
        "nsec3param iterations 0 optout no salt-length 0;",
        "signatures-refresh P24D;",
    ):
        assert part in text
    assert bind.SOA_EXPIRE < 24 * 86400
    with pytest.raises(bind.BindError, match="algorithm 5"):
        conf(signing=bind.Signing("/k", (5,)))


def test_the_zone_is_born_with_its_servers() -> None:
    text = bind.zone_file(
        zone="fed.example", region="a", nameservers={"a": "10.1.0.1", "b": "fd00::2"}, ttl=15
    )
    assert "@ IN SOA ns.a hostmaster 1 3600 600 1209600 15" in text
    assert "ns.b IN AAAA fd00::2" in text
    with pytest.raises(bind.BindError, match="no name server"):
        bind.zone_file(zone="fed.example", region="c", nameservers={"a": "10.1.0.1"})


@pytest.mark.parametrize("value", ['a"; };', "a b", "a\nb", "", "../x", "A"])
def test_nothing_slips_in(value: str) -> None:
    with pytest.raises(bind.BindError):
        bind.zone_file(zone=value, region="a", nameservers={"a": "10.0.0.1"})
    with pytest.raises(bind.BindError):
        conf(zones={value: "/z"})
    with pytest.raises(bind.BindError):
        conf(zones={"fed.example": value})
    with pytest.raises(bind.BindError):
        conf(signing=bind.Signing(value))
    with pytest.raises(bind.BindError):
        conf(agent_at=[value])
    with pytest.raises(bind.BindError):
        bind.key_file(value, keys.new_secret())
    with pytest.raises(bind.BindError):
        bind.key_file("agent", value)
