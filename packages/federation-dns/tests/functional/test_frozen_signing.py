"""DNSSEC while nobody looks (F39): the agent is dead, weeks pass, named signs anew by itself.

Debian's libfaketime cannot be put under Debian's named (jemalloc asks for the time before it is
ready). So the resolver's clock goes ahead by weeks, over signatures of today; and named's periods
are shortened, a second for a day, to see it sign anew.
"""

from __future__ import annotations

import datetime
import re
import time
from pathlib import Path

import dns.message
import dns.query
import pytest
from dns.rdtypes.ANY.RRSIG import RRSIG
from federation_dns import bind, dnssec

from .conftest import ZONE, Region, eventually
from .resolver import Client, Resolver, anchors, put_keys, shifted

HOST = f"host1.{ZONE}"
SECONDS_A_DAY = 1


@pytest.fixture
def keys() -> dnssec.KeySet:
    return dnssec.KeySet(keys=(dnssec.new_key(datetime.datetime.now(datetime.UTC)),))


def expiry(region: Region) -> datetime.datetime:
    query = dns.message.make_query(HOST, "A", want_dnssec=True)
    answer = dns.query.tcp(query, "127.0.0.1", 10, region.dns_port)
    found = [r for rs in answer.answer for r in rs if isinstance(r, RRSIG)]
    assert found, answer
    return datetime.datetime.fromtimestamp(min(r.expiration for r in found), datetime.UTC)


def tags(region: Region) -> set[int]:
    query = dns.message.make_query(HOST, "A", want_dnssec=True)
    answer = dns.query.tcp(query, "127.0.0.1", 5, region.dns_port)
    return {r.key_tag for rs in answer.answer for r in rs if isinstance(r, RRSIG)}


def test_signatures_of_today_hold_for_weeks(tmp_path: Path, keys: dnssec.KeySet) -> None:
    """A secondary answers for 14 days without its primary; 24 are promised."""
    region = Region("catania", tmp_path / "catania", 1)
    clock = tmp_path / "clock"
    clock.write_text("+0d\n")
    resolver = Resolver(
        tmp_path / "resolver", (region.dns_port,), anchors(keys), env=shifted(clock)
    )
    try:
        region.start_named("host1 IN A 198.51.100.1\n", signing=put_keys(tmp_path / "keys", keys))
        eventually(lambda: bool(region.ask(ZONE, "DNSKEY")), 60, "it is signed")
        resolver.start()
        for days, secure in ((0, True), (14, True), (23, True), (46, False)):
            fresh = clock.with_suffix(".new")
            fresh.write_text(f"+{days}d\n")
            fresh.replace(clock)
            # Another name each time; the cache's times have passed as well.
            eventually(
                lambda secure=secure: (resolver.ask(HOST).rcode == "NOERROR") is secure,
                60,
                f"after {days} days: {'valid' if secure else 'bogus'}",
            )
            assert resolver.ask(HOST).secure is secure
    finally:
        resolver.stop()
        region.stop()


def test_named_signs_anew_without_an_agent(tmp_path: Path, keys: dnssec.KeySet) -> None:
    region = Region("catania", tmp_path / "catania", 1)
    resolver = Resolver(tmp_path / "resolver", (region.dns_port,), anchors(keys))
    try:
        region.start_named("host1 IN A 198.51.100.1\n", signing=put_keys(tmp_path / "keys", keys))
        region.stop()
        conf = region.folder / "named" / "named.conf"
        fast = re.sub(r"(signatures-\S+ )P(\d+)D;", r"\1PT\2S;", conf.read_text())
        assert "PT45S" in fast
        conf.write_text(fast.replace("\tnsec3param", "\tsignatures-jitter PT5S;\n\tnsec3param"))
        for path in (region.folder / "named").glob("zone.db*"):
            if path.suffix != ".db":
                path.unlink()
        region.spawn_named()
        resolver.start()
        eventually(lambda: resolver.ask(HOST).secure, 60, "signed and valid")
        first = expiry(region)
        with Client(resolver, HOST) as client:
            eventually(lambda: expiry(region) > first, 60, "signed anew")
            time.sleep(2 * SECONDS_A_DAY)
        assert client.wrong() == []
        assert all(a.secure for a in client.answers)
    finally:
        resolver.stop()
        region.stop()


def test_signatures_are_taken_away_when_they_are_turned_off(
    tmp_path: Path, keys: dnssec.KeySet
) -> None:
    region = Region("catania", tmp_path / "catania", 1)
    folder = tmp_path / "keys"
    try:
        region.start_named("host1 IN A 198.51.100.1\n", signing=put_keys(folder, keys))
        eventually(lambda: bool(region.ask(ZONE, "DNSKEY")), 60, "it is signed")
        region.stop()
        for path in folder.glob("*.state"):
            path.write_text(dnssec.retired(path.read_text()))
        conf = region.folder / "named" / "named.conf"
        off = conf.read_text().replace('dnssec-policy "federation";', "dnssec-policy insecure;")
        conf.write_text(re.sub(r"(?ms)^dnssec-policy .*?^};\n", "", off))
        region.spawn_named()
        eventually(lambda: region.ask(ZONE, "DNSKEY") == [], 60, "its keys are gone")
        assert region.ask(HOST) == ["198.51.100.1"]
    finally:
        region.stop()


def restart(region: Region, keys: dnssec.KeySet, folder: Path) -> None:
    """As the charm does after a step of a roll."""
    named = region.folder / "named"
    assert region.named is not None
    region.named.terminate()
    region.named.wait(10)
    signing = put_keys(folder, keys)
    for path in folder.glob("K*.state"):
        if not any(f"+{tag:05d}." in path.name for tag in keys.tags):
            path.write_text(dnssec.retired(path.read_text()))
    conf = bind.named_conf(
        zones={ZONE: str(named / "zone.db")},
        key_name=f"agent-{region.name}",
        key_path=str(named / "key.conf"),
        listen=["127.0.0.1"],
        port=region.dns_port,
        directory=str(named),
        signing=signing,
    )
    (named / "named.conf").write_text(conf)
    region.spawn_named()


def test_another_key_takes_over(tmp_path: Path, keys: dnssec.KeySet) -> None:
    """While both sign, the old key's DS and the new one's are right; then the new one's is."""
    region = Region("catania", tmp_path / "catania", 1)
    folder = tmp_path / "keys"
    both = keys.with_successor(datetime.datetime.now(datetime.UTC))
    done = both.without_oldest()
    resolvers: list[Resolver] = []

    def secure(name: str, vouched: dnssec.KeySet) -> bool:
        resolvers.append(Resolver(tmp_path / name, (region.dns_port,), anchors(vouched)))
        resolvers[-1].start()
        return resolvers[-1].ask(HOST).secure

    try:
        region.start_named("host1 IN A 198.51.100.1\n", signing=put_keys(folder, keys))
        eventually(lambda: tags(region) == set(keys.tags), 60, "the first signs")
        restart(region, both, folder)
        eventually(lambda: tags(region) == set(both.tags), 60, "both sign")
        assert secure("old", keys)
        assert secure("new", done)
        restart(region, done, folder)
        eventually(lambda: tags(region) == set(done.tags), 60, "the successor signs alone")
        assert secure("after", done)
    finally:
        for resolver in resolvers:
            resolver.stop()
        region.stop()
