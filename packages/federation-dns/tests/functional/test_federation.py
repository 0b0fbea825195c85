"""Agents and servers for real, the periods shortened (see `Region.write_config`)."""

from __future__ import annotations

import json
import os
import re
import urllib.request

import dns.update
import pytest

from .conftest import ZONE, Federation, eventually

WEB = f"web.shop.svc.{ZONE}"
pytestmark = pytest.mark.timeout(300)
SOAK = os.environ.get("FEDERATION_SOAK") == "1"
soak = pytest.mark.skipif(
    not SOAK,
    reason="FEDERATION_SOAK=1: test_zone_faults or a scenario shows it in less time",
)


def standing(federation: Federation) -> list[str]:
    everywhere = sorted(r.address() for r in federation)
    eventually(
        lambda: all(r.ask(WEB) == everywhere for r in federation), 100, "all answer with all"
    )
    return everywhere


def foreign(found: dict[tuple[str, str], tuple[str, ...]]) -> dict[tuple[str, str], object]:
    return {k: v for k, v in found.items() if k[0].startswith("host")}


def test_a_killed_region_leaves_and_returns(federation: Federation) -> None:
    everywhere = standing(federation)
    before = {r.name: foreign(r.transfer()) for r in federation}
    victim = federation["napoli"]
    victim.kill_agent()
    rest = [a for a in everywhere if a != victim.address()]
    took = eventually(
        lambda: all(r.ask(WEB) == rest for r in federation.others("napoli")), 60, "napoli is out"
    )
    # The promise itself, on a machine of its own; withdraw-after is 2 here.
    assert took < 10.0 or not SOAK
    # Its own name keeps its answer, and its server, alone, changes nothing.
    assert federation["palermo"].ask(f"web.shop.svc.napoli.{ZONE}") == [victim.address()]
    assert victim.ask(WEB) == everywhere
    eventually(
        lambda: federation["palermo"].verdict()["regions"]["napoli"]["evicted"], 60, "evicted"
    )
    told = federation["palermo"].verdict()
    assert told["quorum"]
    assert not told["panic"]
    assert told["regions"]["napoli"]["explain"] == "2 of 3 regions cannot reach napoli (needs 2)"
    victim.start_agent()
    eventually(
        lambda: all(r.ask(WEB) == everywhere for r in federation), 60, "napoli is back everywhere"
    )
    assert {r.name: foreign(r.transfer()) for r in federation} == before
    assert all(len(found) == 2000 for found in before.values())


def test_a_minority_freezes_and_keeps_answering(federation: Federation) -> None:
    everywhere = standing(federation)
    federation["catania"].kill_agent()
    federation["napoli"].kill_agent()
    alone = federation["palermo"]
    eventually(lambda: not alone.verdict()["quorum"], 60, "palermo knows that it is alone")
    alone.api.publish("late", alone.address(201))
    serial = alone.ask(ZONE, "SOA")
    eventually(lambda: alone.verdict()["panic"], 60, "panic")
    assert alone.ask(WEB) == everywhere
    assert alone.ask(ZONE, "SOA") == serial
    assert alone.ask(f"late.shop.svc.{ZONE}") == []
    # The operator's word lets the survivor act, in its own region.
    for name in ("catania", "napoli"):
        done = alone.cli("force-region", name, "lost", "--who", "ada", "--until", "10m")
        assert done.returncode == 0, done.stderr
    eventually(lambda: alone.ask(WEB) == [alone.address()], 60, "only the survivor answers")
    refused = alone.cli("force-region", "palermo", "lost", "--who", "ada", "--until", "10m")
    assert refused.returncode == 2
    assert "no region" in refused.stderr
    for name in ("catania", "napoli"):
        assert alone.cli("force-region", name, "clear").returncode == 0
        federation[name].start_agent()
    alone.api.drop("services", ("shop", "late"))
    standing(federation)


@soak
def test_an_emptied_zone_is_put_right(federation: Federation) -> None:
    everywhere = standing(federation)
    region = federation["catania"]
    eventually(lambda: (WEB, "A") in region.transfer(), 60, "read")
    before = set(region.transfer())

    def empty(update: dns.update.UpdateMessage) -> None:
        for name, kind in before:
            # BIND itself refuses to leave the zone's NS without an address; their marks stay too.
            if name != ZONE and not re.match(r"(_federation\.)?(ns|apex-ns)\.", name):
                update.delete(f"{name}.", kind)

    region.update(empty)
    assert region.ask(WEB) == []
    took = eventually(lambda: region.ask(WEB) == everywhere, 60, "the zone is whole again")
    assert took < 15.0  # the promise itself, for a busy machine
    region.update(lambda u: u.replace(f"{WEB}.", 15, "A", "203.0.113.66"))
    eventually(lambda: region.ask(WEB) == everywhere, 60, "an altered answer is put right")


def test_strategies_and_names_of_the_users_own(federation: Federation) -> None:
    standing(federation)
    name, shop = f"cart.shop.svc.{ZONE}", f"cart.{ZONE}"
    for each in federation:
        each.api.publish("cart", each.address(210), strategy="local", hostname=shop)
    for each in federation:
        eventually(lambda r=each: r.ask(name) == [r.address(210)], 60, "each answers itself")
        eventually(lambda r=each: r.ask(shop, "CNAME") == [f"{name}."], 60, "the user's name")
        assert each.ask(shop) == [each.address(210)]
    second = federation["napoli"].address(210)
    for each in federation:
        each.api.publish("cart", each.address(210), order="napoli,catania", ttl="5x")
    eventually(lambda: all(r.ask(name) == [second] for r in federation), 60, "the first in order")
    eventually(lambda: not any(r.ask(shop, "CNAME") for r in federation), 60, "no name any more")
    assert any(
        "dns.kubefed.io/ttl '5x'" in note for note in federation["napoli"].verdict()["notes"]
    )
    for each in federation:
        each.api.drop("services", ("shop", "cart"))


@soak
def test_what_others_hold_is_left_alone(federation: Federation) -> None:
    standing(federation)
    region = federation["catania"]
    taken = f"taken.shop.svc.{ZONE}"
    region.update(lambda u: u.add(f"{taken}.", 300, "A", "203.0.113.7"))
    for each in federation:
        each.api.publish("taken", each.address(202))
    others = federation.others("catania")
    eventually(lambda: all(len(r.ask(taken)) == 3 for r in others), 60, "the others publish it")
    assert region.ask(taken) == ["203.0.113.7"]
    eventually(
        lambda: any("held by others" in note for note in region.verdict()["notes"]), 60, "said"
    )
    for each in federation:
        each.api.drop("services", ("shop", "taken"))
    region.update(lambda u: u.delete(f"{taken}."))
    eventually(lambda: all(r.ask(taken) == [] for r in federation), 60, "gone")


def test_endpoints_and_deletions_move_answers(federation: Federation) -> None:
    everywhere = standing(federation)
    region = federation["napoli"]
    region.api.publish("web", region.address(), ready=0)
    rest = [a for a in everywhere if a != region.address()]
    eventually(lambda: all(r.ask(WEB) == rest for r in federation), 60, "no endpoints, no answer")
    region.api.publish("web", region.address(), ready=1)
    eventually(lambda: all(r.ask(WEB) == everywhere for r in federation), 60, "back at once")
    for each in federation:
        each.api.drop("services", ("shop", "web"))
    eventually(lambda: all(r.ask(WEB) == [] for r in federation), 60, "deleted everywhere")
    eventually(
        lambda: not any("web" in name for r in federation for name, _ in r.transfer()), 60, "all"
    )
    for each in federation:
        each.api.publish("web", each.address())
    standing(federation)


@soak
def test_a_dead_api_server_takes_nothing_away(federation: Federation) -> None:
    everywhere = standing(federation)
    region = federation["napoli"]
    region.api.status = 503
    eventually(
        lambda: federation["palermo"].verdict()["regions"]["napoli"]["api"] == "lost", 60, "told"
    )
    assert all(r.ask(WEB) == everywhere for r in federation)
    told = federation["palermo"].verdict()["regions"]["napoli"]
    assert not told["withdrawn"]
    assert "its API server is not" in told["explain"]
    region.api.status = 200
    eventually(
        lambda: federation["palermo"].verdict()["regions"]["napoli"]["api"] == "healthy",
        60,
        "well",
    )


def test_metrics_and_health(federation: Federation) -> None:
    standing(federation)
    base = f"http://127.0.0.1:{federation['catania'].metrics_port}"
    with urllib.request.urlopen(f"{base}/healthz", timeout=20) as answer:  # noqa: S310
        assert answer.read() == b"ok\n"
    with urllib.request.urlopen(f"{base}/metrics", timeout=20) as answer:  # noqa: S310
        text = answer.read().decode()
    assert 'federation_dns_region_verdict{region="napoli",verdict="healthy"} 1.0' in text
    assert "federation_dns_quorum 1.0" in text
    shown = federation["catania"].cli("zone", "--format", "json")
    names = {r["name"] for r in json.loads(shown.stdout)["records"]}
    assert {WEB, f"web.shop.svc.napoli.{ZONE}"} <= names
    assert "REGION" in federation["catania"].cli("verdict").stdout
    assert "palermo" in federation["catania"].cli("peers").stdout
    assert federation["catania"].cli("check").returncode == 0


def servers(federation: Federation) -> list[str]:
    """For `verify`: all servers are on loopback here, by their ports."""
    return [f"--server={r.name}=127.0.0.1:{r.dns_port}" for r in federation]


def test_a_cordoned_region_is_out_where_it_is_said(federation: Federation) -> None:
    everywhere = standing(federation)
    here, there = federation["catania"], federation["palermo"]
    napoli = federation["napoli"].address()
    for _ in range(2):
        done = here.cli("cordon", "napoli", "--who", "ada", "--until", "10m", "--format", "json")
        assert json.loads(done.stdout)["said"] == "cordoned", done.stderr
    rest = [a for a in everywhere if a != napoli]
    eventually(lambda: here.ask(WEB) == rest, 60, "out here")
    assert there.ask(WEB) == everywhere
    told = here.verdict()["regions"]["napoli"]
    assert told["explain"] == "ada says that napoli is cordoned"
    assert not told["evicted"]
    differs = there.cli("verify", "--format", "json", *servers(federation))
    assert differs.returncode == 0, differs.stderr
    found = json.loads(differs.stdout)["regions"]["catania"]
    assert (found["intends-otherwise"], found["differs"]) == (1, [])
    refused = here.cli("cordon", "nowhere", "--who", "ada")
    assert refused.returncode == 2
    assert "there is no region nowhere; there are catania, napoli, palermo" in refused.stderr
    assert here.cli("cordon", "palermo", "--who", "ada").returncode == 0
    refused = here.cli("cordon", "catania", "--who", "ada")
    assert refused.returncode == 2
    assert "that would leave no region in the answers" in refused.stderr
    for name in ("napoli", "palermo", "palermo"):
        assert here.cli("uncordon", name).returncode == 0
    eventually(lambda: here.ask(WEB) == everywhere, 60, "back here")


def test_verify_says_what_differs_and_who_is_silent(federation: Federation) -> None:
    everywhere = standing(federation)
    here, there = federation["catania"], federation["palermo"]
    eventually(lambda: here.cli("verify", *servers(federation)).returncode == 0, 30, "all agree")
    there.freeze()  # nobody puts right what is changed now
    try:
        there.update(lambda m: m.replace(f"{WEB}.", 15, "A", "192.0.2.66"))
        # Once the others have withdrawn it: what they want moves no more while they are asked.
        rest = [a for a in everywhere if a != there.address()]
        eventually(
            lambda: all(r.ask(WEB) == rest for r in federation.others("palermo")), 60, "out"
        )
        others = [each for each in servers(federation) if "napoli" not in each]
        silent = "--server=napoli=127.0.0.1:1"
        done = here.cli("verify", "--timeout", "5", "--format", "json", silent, *others)
    finally:
        there.thaw()
    assert done.returncode == 1, done.stderr
    body = json.loads(done.stdout)
    assert not body["agrees"]
    # Evicted meanwhile, on a busy machine, more differs.
    assert ["192.0.2.66"] in [d["has"] for d in body["regions"]["palermo"]["differs"]]
    assert "Connect call failed" in body["regions"]["napoli"]["trouble"]
    assert body["regions"]["catania"]["differences"] == 0
    assert body["notes"][-1] == "the agent of palermo does not say what it wants"
    eventually(lambda: here.cli("verify", *servers(federation)).returncode == 0, 60, "put right")


def test_a_region_leaves_the_mesh(federation: Federation) -> None:
    everywhere = standing(federation)
    survivor = federation["catania"]
    eventually(lambda: len(survivor.ask(ZONE, "NS")) == 3, 60, "three name servers")
    federation["napoli"].kill_agent()
    federation.peers("catania", "palermo")
    rest = [a for a in everywhere if a != federation["napoli"].address()]
    eventually(lambda: survivor.ask(WEB) == rest, 60, "its address is gone")
    eventually(
        lambda: not any("napoli" in name for name, _ in survivor.transfer()), 60, "its names too"
    )
    eventually(lambda: len(survivor.ask(ZONE, "NS")) == 2, 60, "and its name server")
