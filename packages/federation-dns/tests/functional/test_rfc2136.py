"""The provider against a real BIND: what the server refuses, and what its refusals become."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.update
import pytest
from federation_dns import bind, keys, plan
from federation_dns.plan import UNREAD, Rules
from federation_dns.providers import ProviderError
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.zone import Key, RecordSet, Zone

from .carrying import carry_out
from .conftest import FOREIGN, ZONE, Region, free_port

RULES = Rules(zone=ZONE, federation=ZONE)


def record(name: str, *values: str) -> RecordSet:
    return RecordSet(f"{name}.shop.svc.{ZONE}", "A", 15, values)


def zone(*sets: RecordSet) -> Zone:
    return Zone({(s.name, s.type): s for s in sets}, complete=True)


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Generator[Region]:
    made = Region("catania", tmp_path_factory.mktemp("rfc2136") / "catania", 1)
    try:
        made.start_named(FOREIGN)
        yield made
    finally:
        made.stop()


def provider(region: Region, writer: str = "catania", **more: Any) -> Rfc2136:
    given: dict[str, Any] = {
        "server": "127.0.0.1",
        "port": region.dns_port,
        "key_name": f"agent-{region.name}",
        "key_file": region.folder / "named" / "key.conf",
        "rules": RULES,
        "writer": writer,
        **more,
    }
    return Rfc2136(**given)


def test_a_delayed_plan_is_refused_by_the_server(region: Region) -> None:
    """The AWS case by name: a plan is taken, its writer stops, newer ones go in, it continues."""
    slow, fast = provider(region, "slow"), provider(region, "fast")
    # The name is there, so that nothing but the generation tells the old plan from a new one.
    assert carry_out(fast, zone(record("web", "10.1.0.1")), {}, RULES, None).outcome == "changed"
    old_view = slow.read()
    old_plan = plan.plan(zone(record("web", "10.1.0.9")), old_view, RULES)
    for value in ("10.1.0.2", "10.1.0.3"):
        assert carry_out(fast, zone(record("web", value)), {}, RULES, None).outcome == "changed"
    with pytest.raises(ProviderError) as caught:
        slow.apply(old_plan, old_view)
    assert caught.value.remedy == "reread"
    assert region.ask(f"web.shop.svc.{ZONE}") == ["10.1.0.3"]
    done = carry_out(slow, zone(record("web", "10.1.0.4")), {}, RULES, old_view)
    assert done.outcome == "changed"
    assert region.ask(f"web.shop.svc.{ZONE}") == ["10.1.0.4"]


def test_a_name_that_others_took_meanwhile_is_not_overwritten(region: Region) -> None:
    mine = provider(region)
    view = mine.read()
    wanted = plan.plan(
        replace(zone(record("web", "10.1.0.4"), record("new", "10.1.0.5")), complete=False),
        view,
        RULES,
    )
    region.update(lambda u: u.add(f"new.shop.svc.{ZONE}.", 60, "A", "203.0.113.9"))
    with pytest.raises(ProviderError) as caught:
        mine.apply(wanted, view)
    assert caught.value.remedy == "reread"
    assert region.ask(f"new.shop.svc.{ZONE}") == ["203.0.113.9"]


def test_many_names_go_in_parts_and_foreign_ones_stay(region: Region) -> None:
    mine = provider(region)
    before = {k: v for k, v in region.transfer().items() if k[0].startswith("host")}
    many = [record(f"s{i}", f"10.1.{i // 250}.{i % 250}", "10.2.0.1") for i in range(450)]
    done = carry_out(mine, zone(record("web", "10.1.0.4"), *many), {}, RULES, None)
    assert (done.outcome, done.changes) == ("changed", 450)
    assert region.ask(f"s449.shop.svc.{ZONE}") == ["10.1.1.199", "10.2.0.1"]
    lifted = replace(RULES, lifted=True)
    gone = carry_out(mine, zone(record("web", "10.1.0.4")), {}, lifted, done.view)
    assert (gone.outcome, gone.changes) == ("changed", 450)
    after = {k: v for k, v in region.transfer().items() if k[0].startswith("host")}
    assert after == before
    assert len(after) == 2000


def test_an_alias_is_made_moved_and_taken_away(region: Region) -> None:
    mine = provider(region)
    shop = f"shop.{ZONE}"
    services = [record("web", "10.1.0.4"), record("api", "10.1.0.9")]
    for service in services:
        alias = RecordSet(shop, "CNAME", 15, (service.name,))
        done = carry_out(mine, zone(*services, alias), {}, RULES, None)
        assert done.outcome == "changed"
        assert region.ask(shop, "CNAME") == [f"{service.name}."]
        assert carry_out(mine, zone(*services, alias), {}, RULES, None).outcome == "same"
    carry_out(mine, zone(*services), {}, RULES, None)
    assert region.ask(shop, "CNAME") == []
    assert (plan.owner_name(shop), "TXT") not in mine.read().records


def test_what_a_plan_makes_of_a_reading_is_what_is_read_then(region: Region) -> None:
    """All kinds of changes; so the next plan needs no reading."""
    lifted = replace(RULES, lifted=True)
    mine = provider(region)
    web, six = record("web", "10.1.0.4", "10.2.0.4"), f"web.shop.svc.{ZONE}"
    both = zone(web, RecordSet(six, "AAAA", 30, ("2001:db8::1",)))
    alias = RecordSet(f"kind.{ZONE}", "CNAME", 15, (web.name,))
    own: dict[Key, RecordSet] = {
        (ZONE, "NS"): RecordSet(ZONE, "NS", 15, (f"ns.catania.{ZONE}", f"ns.napoli.{ZONE}")),
        **{
            (f"ns.{name}.{ZONE}", "A"): RecordSet(f"ns.{name}.{ZONE}", "A", 15, (f"10.0.{i}.53",))
            for i, name in enumerate(("catania", "napoli"), 1)
        },
    }
    alone = {k: v for k, v in own.items() if "napoli" not in k[0]}
    alone[ZONE, "NS"] = replace(own[ZONE, "NS"], values=(f"ns.catania.{ZONE}",))
    view = mine.read()
    for wanted, apex in (
        (both, own),
        (zone(web, alias), own),
        (zone(record("web", "10.1.0.4"), record("api", "10.1.0.9")), alone),
        (zone(*(record(f"s{i}", "10.1.0.9") for i in range(250))), alone),
        (zone(), alone),
    ):
        made = plan.plan(wanted, view, lifted, apex)
        assert mine.apply(made, view) == len(made.changes) > 0
        told, view = mine.after(made, view), mine.read()
        assert told is not None
        assert (told.serial, told.progress) == (UNREAD, view.progress)
        assert told.records == view.records
        assert told.names == view.names


@pytest.mark.parametrize(
    ("more", "remedy", "says"),
    [
        ({"port": free_port(), "timeout": 1.0}, "retry", "not reached"),
        ({"key_file": Path("/nonexistent/key")}, "operator", "cannot be read"),
        ({"key_name": "another"}, "operator", "has no key named another"),
        ({"rules": replace(RULES, zone="elsewhere.example")}, "operator", "NOTAUTH|REFUSED"),
    ],
)
def test_refusals_are_sorted_and_name_the_server(
    region: Region, more: dict[str, Any], remedy: str, says: str
) -> None:
    broken = provider(region, **more)
    with pytest.raises(ProviderError, match=says) as caught:
        broken.read()
    assert caught.value.remedy == remedy


def test_a_wrong_secret_is_named(region: Region, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(bind.key_file("agent-catania", keys.new_secret()))
    with pytest.raises(ProviderError, match="TSIG key agent-catania") as caught:
        provider(region, key_file=path).read()
    assert caught.value.remedy == "operator"


def test_strangers_neither_update_nor_transfer(region: Region) -> None:
    unsigned = dns.update.UpdateMessage(ZONE)
    unsigned.add(f"evil.{ZONE}.", 60, "A", "203.0.113.66")
    answer = dns.query.tcp(unsigned, "127.0.0.1", port=region.dns_port, timeout=10)
    assert answer.rcode() == dns.rcode.REFUSED
    transfer = dns.message.make_query(ZONE, "AXFR")
    answer = dns.query.tcp(transfer, "127.0.0.1", port=region.dns_port, timeout=10)
    assert answer.rcode() == dns.rcode.REFUSED
    # The right key may not touch other types either.
    with pytest.raises(AssertionError):
        region.update(lambda u: u.add(f"x.{ZONE}.", 60, "MX", "10 elsewhere.example."))
    assert region.ask("example.org") == []
