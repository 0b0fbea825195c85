from pathlib import Path

import pytest
from dns_settings import Place, Settings
from dns_world import NOW
from federation_dns.dnssec import KeySet, new_key
from name_server import NameServer, NameServerError, SecondariesKey, Served

PLACE = Place("catania", "10.0.0.12", "192.0.2.12", "10.0.0.0/24")
KEYS = KeySet(keys=(new_key(NOW),))
SECONDARIES = {"secondaries": "ns1.example.net=192.0.2.53"}


@pytest.fixture
def server(tmp_path: Path) -> NameServer:
    unit = tmp_path / "units/named.service"
    return NameServer(tmp_path / "bind", tmp_path / "zones", unit, user="root", group="root")


def conf(server: NameServer) -> str:
    return (server.bind / "named.conf").read_text()


def test_every_zone_is_born_and_served(server: NameServer):
    settings = Settings.model_validate({"zones": "shop.example, fed.example, shop.example"})
    assert server.ensure(settings, PLACE, Served())
    for zone in ("federation.example", "shop.example", "fed.example"):
        assert f'zone "{zone}" {{' in conf(server)
        born = (server.zones / f"{zone}.zone").read_text()
        assert "federation=federation.example" in born


def test_the_keys_are_there_before_named_needs_them(server: NameServer):
    settings = Settings.model_validate({"zones": "shop.example"})
    assert server.ensure(settings, PLACE, Served(KEYS))
    assert not server.ensure(settings, PLACE, Served(KEYS))
    assert server.signing.stat().st_mode & 0o777 == 0o700
    for zone in settings.all_zones:
        path = server.signing / f"{KEYS.keys[0].stem(zone)}.private"
        assert path.stat().st_mode & 0o777 == 0o600
        assert f"ExecStartPre=/usr/bin/test -s {path}\n" in server.unit.read_text()
    assert 'dnssec-policy "federation";' in conf(server)


def test_nameds_own_notes_are_left_alone(server: NameServer):
    _ = server.ensure(Settings(), PLACE, Served(KEYS))
    (path,) = server.signing.glob("*.state")
    _ = path.write_text("as named left it")
    assert not server.ensure(Settings(), PLACE, Served(KEYS))
    assert path.read_text() == "as named left it"


def test_a_key_that_signs_no_more_is_retired(server: NameServer):
    both = KEYS.with_successor(NOW)
    _ = server.ensure(Settings(), PLACE, Served(both))
    assert server.ensure(Settings(), PLACE, Served(both.without_oldest()))
    old, new = (server.signing / f"{k.stem('federation.example')}.state" for k in both.keys)
    assert "GoalState: hidden" in old.read_text()
    assert "GoalState: omnipresent" in new.read_text()
    assert "algorithm ecdsap384sha384" in conf(server)
    assert not server.ensure(Settings(), PLACE, Served(both.without_oldest()))


def test_turned_off_the_signatures_are_taken_away(server: NameServer):
    _ = server.ensure(Settings(), PLACE, Served(KEYS))
    assert server.ensure(Settings(), PLACE, Served())
    assert "dnssec-policy insecure;" in conf(server)
    (path,) = server.signing.glob("*.state")
    assert "GoalState: hidden" in path.read_text()
    assert "ExecStartPre" not in server.unit.read_text()


def test_secondaries_get_the_zone_by_their_key(server: NameServer):
    settings = Settings.model_validate(SECONDARIES)
    key = SecondariesKey("others", "A" * 43 + "=")
    assert server.ensure(settings, PLACE, Served(secondaries=key))
    assert 'also-notify { 192.0.2.53 key "others"; };' in conf(server)
    path = server.bind / "secondaries.key"
    assert path.stat().st_mode & 0o777 == 0o640
    assert server.ensure(settings, PLACE, Served(secondaries=SecondariesKey("others", "B" * 44)))
    with pytest.raises(NameServerError, match="without secondaries-key"):
        _ = server.ensure(settings, PLACE, Served())
    with pytest.raises(NameServerError, match="base64"):
        _ = server.ensure(settings, PLACE, Served(secondaries=SecondariesKey("o", "short")))


def test_what_is_kept_comes_back(server: NameServer):
    assert server.keys() is None
    server.keep(KEYS)
    assert server.keys() == server.last == KEYS
    server.forget()
    assert server.keys() is None
