"""The provider through Keystone's and Designate's real APIs, judged by each region's BIND."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from federation_dns import plan as plans
from federation_dns.passes import Pass
from federation_dns.plan import Rules
from federation_dns.providers import ProviderError, designate
from federation_dns.providers.designate import Access, Designate
from federation_dns.zone import RecordSet, RecordType, Zone

from ..carrying import carry_out
from ..conftest import eventually
from .designate_world import World
from .fault_proxy import Fault

# The first run fetches and prepares OpenStack; on a busy machine it starts slowly.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

WAIT_S = 180


class Kept:
    """One zone, in some regions, as the tests keep it."""

    def __init__(self, world: World, folder: Path, zone: str):
        self.world = world
        self.folder = folder
        self.zone = zone
        self.rules = Rules(zone=zone, federation="of-the-tests")

    def provider(
        self, region: str, clock: Callable[[], float] = time.monotonic, **more: Any
    ) -> Designate:
        file = more.pop("file", None) or self.world.cloud_file(
            self.folder / f"clouds-{region}.yaml", region
        )
        given: dict[str, Any] = {"email": "hostmaster@example.org", "timeout": 20.0, **more}
        return Designate(Access(file=file, **given), self.rules, region, clock=clock)

    def name(self, service: str) -> str:
        return f"{service}.shop.svc.{self.zone}"

    def record(self, service: str, *values: str, kind: RecordType = "A") -> RecordSet:
        return RecordSet(self.name(service), kind, 15, values)

    def wanted(self, *sets: RecordSet) -> Zone:
        gone = frozenset(f"10.{i}.0.1" for i in range(9))
        return Zone({(s.name, s.type): s for s in sets}, complete=True, explained=gone)

    def keep(self, provider: Designate, *sets: RecordSet, **rules: Any) -> Pass:
        return carry_out(provider, self.wanted(*sets), {}, replace(self.rules, **rules), None)

    def passes(self, provider: Designate, *sets: RecordSet, **rules: Any) -> list[Pass]:
        """As the publisher: one after the other, until none runs out of time."""
        end = time.monotonic() + WAIT_S
        done = [self.keep(provider, *sets, **rules)]
        while (done[-1].outcome, done[-1].remedy) == ("failed", "retry"):
            assert time.monotonic() < end, [f"{d.changes} {d.error}" for d in done]
            done.append(self.keep(provider, *sets, **rules))
        return done

    def settles(self, provider: Designate, *sets: RecordSet) -> None:
        """Passes follow each other until there is nothing left to write."""
        done: list[Pass] = []
        end = time.monotonic() + WAIT_S
        while not done or done[-1].outcome != "same":
            assert time.monotonic() < end, [f"{d.outcome} {d.error}" for d in done[-3:]]
            time.sleep(0.2)
            done.append(self.keep(provider, *sets))

    def ask(self, region: str, service: str, kind: str = "A") -> list[str]:
        return self.world.regions[region].ask(self.name(service), kind)

    def answers(self, region: str, service: str, *values: str, kind: str = "A") -> None:
        what = f"{region} answers {service} {kind} {values}"
        eventually(
            lambda: self.ask(region, service, kind) == list(values),
            WAIT_S,
            what,
            lambda: self.world.told(region, self.zone),
        )

    def zone_url(self, region: str) -> str:
        listed = self.api(region, "GET", f"/zones?name={self.zone}.")["zones"]
        return f"/zones/{listed[0]['id']}"

    def serial(self, region: str) -> int:
        return self.api(region, "GET", self.zone_url(region))["serial"]

    def api(self, region: str, method: str, path: str, body: object = None) -> Any:
        """As a person of the same project does it."""
        return self.world.tenant().call(method, self.world.regions[region].direct + path, body)

    def sets(self, region: str) -> dict[tuple[str, str], dict[str, Any]]:
        path = f"{self.zone_url(region)}/recordsets"
        found: list[dict[str, Any]] = []
        while True:
            more = f"&marker={found[-1]['id']}" if found else ""
            part = self.api(region, "GET", f"{path}?limit=10{more}")["recordsets"]
            found += part
            if len(part) < 10:
                return {(s["name"].rstrip("."), s["type"]): s for s in found}


@pytest.fixture
def kept(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Kept:
    label = request.node.name.replace("_", "-").replace("[", "-").strip("]")[-40:].strip("-")
    return Kept(world, tmp_path, f"{label}.example")


def foreign(kept: Kept, region: str, count: int) -> dict[tuple[str, str], dict[str, Any]]:
    """Records of others, more than a page of them, at Designate."""
    path = f"{kept.zone_url(region)}/recordsets"
    for i in range(count):
        body = {"name": f"host{i}.{kept.zone}.", "type": "TXT", "records": [f'"theirs {i}"']}
        kept.api(region, "POST", path, body)
    return foreign_now(kept, region)


def foreign_now(kept: Kept, region: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = {k: s for k, s in kept.sets(region).items() if k[0].startswith("host")}
    # What Designate itself writes into them while it brings them out.
    own = ("status", "action", "version", "updated_at")
    return {k: {a: b for a, b in s.items() if a not in own} for k, s in found.items()}


def test_made_changed_repaired_and_withdrawn_in_three_regions(kept: Kept) -> None:
    regions = tuple(kept.world.regions)
    providers = {region: kept.provider(region) for region in regions}
    web = kept.record("web", "10.1.0.1", "10.2.0.1", "10.3.0.1")
    six = kept.record("web", "2001:db8::1", kind="AAAA")

    def written(changes: int, *sets: RecordSet, **rules: Any) -> None:
        """In all regions at once; in one pass each, if the machine has the time for it."""
        with ThreadPoolExecutor(len(regions)) as executor:
            found = {
                r: executor.submit(kept.passes, providers[r], *sets, **rules) for r in regions
            }
        for region, future in found.items():
            told = [(d.outcome, d.changes, d.error, d.remedy) for d in future.result()]
            assert told[-1][0] != "failed", (region, told)
            assert told == [("changed", changes, "", "")] or len(told) > 1, (region, told)
            assert providers[region].notes() == ()

    written(1, web, six)
    for region in regions:
        kept.answers(region, "web", "10.1.0.1", "10.2.0.1", "10.3.0.1")
        kept.answers(region, "web", "2001:db8::1", kind="AAAA")
    others = {region: foreign(kept, region, 5) for region in regions}
    # One region is lost, and another service comes.
    less = kept.record("web", "10.1.0.1", "10.2.0.1")
    written(2, less, six, kept.record("api", "10.1.0.1"))
    for region in regions:
        kept.answers(region, "web", "10.1.0.1", "10.2.0.1")
        kept.answers(region, "api", "10.1.0.1")
    # Somebody changes ours, and takes some away.
    sets = kept.sets("napoli")
    zone = kept.zone_url("napoli")
    altered = sets[kept.name("web"), "A"]["id"]
    kept.api(
        "napoli", "PUT", f"{zone}/recordsets/{altered}", {"records": ["203.0.113.66"], "ttl": 99}
    )
    gone = sets[kept.name("api"), "A"]["id"]
    kept.api("napoli", "DELETE", f"{zone}/recordsets/{gone}")
    kept.answers("napoli", "web", "203.0.113.66")
    kept.answers("napoli", "api")
    api = kept.record("api", "10.1.0.1")

    kept.settles(providers["napoli"], less, six, api)
    kept.answers("napoli", "web", "10.1.0.1", "10.2.0.1")
    kept.answers("napoli", "api", "10.1.0.1")
    # Nothing is wanted any more.
    written(2, lifted=True)
    for region in regions:
        kept.answers(region, "web")
        kept.answers(region, "web", kind="AAAA")
        kept.answers(region, "api")
        assert foreign_now(kept, region) == others[region]
        for i in range(5):
            theirs = kept.world.regions[region].ask(f"host{i}.{kept.zone}", "TXT")
            assert theirs == [f'"theirs {i}"']


def test_two_writers_and_a_delayed_plan(kept: Kept) -> None:
    slow, fast = kept.provider("catania"), kept.provider("catania")
    view = slow.read()
    late = plans.plan(kept.wanted(kept.record("web", "10.1.0.1")), view, kept.rules)
    for value in ("10.1.0.2", "10.1.0.3"):
        assert kept.keep(fast, kept.record("web", value)).outcome == "changed"
    with pytest.raises(ProviderError) as caught:
        slow.apply(late, view)
    assert caught.value.remedy == "reread"
    kept.answers("catania", "web", "10.1.0.3")
    assert kept.keep(slow, kept.record("web", "10.1.0.4")).outcome == "changed"
    kept.answers("catania", "web", "10.1.0.4")


def test_over_quota_is_named_and_mended(kept: Kept) -> None:
    ticks = Ticks()
    mine = kept.provider("napoli", clock=ticks)
    web = kept.record("web", "10.1.0.1")
    assert kept.keep(mine, web).outcome == "changed"
    kept.world.set_quota("napoli", zone_recordsets=len(kept.sets("napoli")) + 2)
    try:
        more = [kept.record(f"more{i}", "10.1.0.1") for i in range(3)]
        changed = kept.record("web", "10.2.0.1")
        done = kept.keep(mine, changed, *more)
        assert done.outcome == "changed"
        kept.answers("napoli", "web", "10.2.0.1")
        (note,) = mine.notes()
        assert "over quota (Quota exceeded for zone_recordsets.)" in note
        assert "openstack dns quota set" in note
        assert "more" in note
    finally:
        kept.world.set_quota("napoli")
    ticks.ahead += 300
    assert kept.keep(mine, changed, *more).outcome == "changed"
    for i in range(3):
        kept.answers("napoli", f"more{i}", "10.1.0.1")
    assert kept.keep(mine, changed, *more).outcome == "same"
    assert mine.notes() == ()


class Ticks:
    """The clock, and what a test puts before it."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def test_what_a_name_server_does_not_take_is_named_until_it_does(kept: Kept) -> None:
    ticks = Ticks()
    mine = kept.provider("palermo", clock=ticks)
    assert kept.keep(mine, kept.record("web", "10.1.0.1")).outcome == "changed"
    kept.answers("palermo", "web", "10.1.0.1")
    region = kept.world.regions["palermo"]
    region.stop_named()
    try:
        done = kept.keep(mine, kept.record("web", "10.2.0.1"))
        assert done.outcome == "changed"  # Designate takes it all the same

        # The real one leaves it PENDING: its worker failed with the serial before the change.
        def late() -> bool:
            mine.read()
            ticks.ahead += 61
            return f"{kept.name('web')} PENDING for more than 60 s" in mine.behind()

        eventually(late, WAIT_S, "palermo's record set is PENDING")

        # Its recovery fails too, and with the serial of now: that is an ERROR.
        def erring() -> bool:
            time.sleep(0.5)
            mine.stamp()
            return "in ERROR" in mine.behind()

        eventually(erring, WAIT_S, "palermo's zone is in ERROR")
        mine.read()
        assert kept.name("web") in mine.behind()
        # The others know nothing of it.
        other = kept.provider("catania")
        assert kept.keep(other, kept.record("web", "10.2.0.1")).outcome == "changed"
        kept.answers("catania", "web", "10.2.0.1")
        assert other.behind() == ""
        # Written again it is a newer zone, which Designate tries to bring out.
        serial = kept.serial("palermo")
        ticks.ahead += 11
        mine.stamp()
        assert "written again 1 times" in mine.behind()
        eventually(lambda: kept.serial("palermo") > serial, WAIT_S, "Designate tries it again")
    finally:
        region.start_named()

    def well() -> bool:
        ticks.ahead += 5
        mine.stamp()
        time.sleep(0.2)
        return mine.behind() == ""

    eventually(well, WAIT_S, "palermo's zone is ACTIVE")
    kept.answers("palermo", "web", "10.2.0.1")


def test_one_region_s_designate_is_down(kept: Kept) -> None:
    down, up = kept.provider("napoli"), kept.provider("catania")
    web = kept.record("web", "10.1.0.1")
    for provider in (down, up):
        assert kept.keep(provider, web).outcome == "changed"
    kept.answers("napoli", "web", "10.1.0.1")
    region = kept.world.regions["napoli"]
    region.stop_designate()
    try:
        done = kept.keep(down, kept.record("web", "10.2.0.1"))
        assert (done.outcome, done.remedy, done.view) == ("failed", "retry", None)
        assert kept.keep(up, kept.record("web", "10.2.0.1")).outcome == "changed"
        kept.answers("catania", "web", "10.2.0.1")
        kept.answers("napoli", "web", "10.1.0.1")  # the last answer stands
    finally:
        region.start_designate()
    region.await_designate()
    assert kept.keep(down, kept.record("web", "10.2.0.1")).outcome == "changed"
    kept.answers("napoli", "web", "10.2.0.1")


LISTS = r"GET /v2/zones/[^/]+/recordsets\?limit"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(LISTS, "cut"), "cannot be used|is not reached|did not answer"),
        (Fault(LISTS, "answer", 200, '{"recordsets": [], "links": {}}'), "no whole answer"),
        (
            Fault(LISTS, "edit", replace=(r'"next": ?"[^"]*"', '"x": ""')),
            r"listed 10 of \d+ record sets",
        ),
        (Fault(LISTS, "edit", replace=(r'"total_count": ?\d+', '"total_count": 3')), "listed"),
        (Fault("GET /v2/zones", "answer", 503, headers={"Retry-After": "0"}), "failed inside"),
        (Fault("GET /v2/zones", "answer", 302, headers={"Location": "/"}), "sends elsewhere"),
        (Fault("GET /v2/zones", "delay", seconds=8.0), "did not answer|is not reached"),
        (Fault(LISTS, "trickle", seconds=0.01), "did not answer|is not reached|cannot be used"),
        (Fault("GET /v2/zones", "answer", 401), "refuses a token that is new"),
    ],
)
def test_a_bad_answer_is_no_empty_zone(
    standing: Kept, fault: Fault, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault.does == "trickle":
        monkeypatch.setattr(designate, "_READ_S", 3.0)
    timeout = 1.5 if fault.does in ("delay", "trickle") else 20.0
    mine = standing.provider("catania", timeout=timeout)
    proxy = standing.world.proxies["catania"]
    with proxy.fault(fault):
        done = standing.keep(mine, lifted=True)
    assert (done.outcome, done.view) == ("failed", None)
    assert re.search(says, done.error), done.error
    assert standing.ask("catania", "web") == ["10.1.0.1"]


@pytest.fixture(scope="module")
def standing(world: World, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A zone with one service and more than a page of others' records."""
    kept = Kept(world, tmp_path_factory.mktemp("standing"), "standing.example")
    assert kept.keep(kept.provider("catania"), kept.record("web", "10.1.0.1")).outcome == "changed"
    foreign(kept, "catania", 15)  # two whole pages, with what is ours and the pool's
    assert len(kept.sets("catania")) == 20
    kept.answers("catania", "web", "10.1.0.1")
    return kept


def test_a_plan_goes_out_while_the_zone_is_read(standing: Kept) -> None:
    mine = standing.provider("catania", timeout=60.0)
    view = mine.read()
    moved = plans.plan(standing.wanted(standing.record("web", "10.2.0.1")), view, standing.rules)
    proxy = standing.world.proxies["catania"]
    with (
        ThreadPoolExecutor(1) as executor,
        proxy.fault(Fault(LISTS, "delay", seconds=15.0)) as fault,
    ):
        reading = executor.submit(mine.read)
        eventually(lambda: fault.met >= 1, WAIT_S, "the zone is read")
        assert mine.apply(moved, view) == 1
        assert not reading.done()
    standing.answers("catania", "web", "10.2.0.1")
    standing.settles(mine, standing.record("web", "10.1.0.1"))
    standing.answers("catania", "web", "10.1.0.1")


def test_a_token_that_ended_is_replaced(standing: Kept) -> None:
    proxy = standing.world.proxies["catania"]
    mine = standing.provider("catania")
    mine.read()
    with proxy.fault(Fault("GET /v2/zones", "answer", 401, times=1)) as fault:
        mine.read()
        assert fault.met == 1


def test_retry_after_is_kept(standing: Kept) -> None:
    proxy = standing.world.proxies["catania"]
    mine = standing.provider("catania")
    mine.read()
    with proxy.fault(
        Fault("GET /v2/zones", "answer", 429, headers={"Retry-After": "600"})
    ) as fault:
        for _ in range(5):
            with pytest.raises(ProviderError) as caught:
                mine.read()
            assert caught.value.remedy == "retry"
        with pytest.raises(ProviderError, match="Retry-After"):
            mine.read()
        assert fault.met == 1


def test_an_answer_that_is_lost_is_read_and_repeated(standing: Kept) -> None:
    proxy = standing.world.proxies["catania"]
    mine = standing.provider("catania")
    web, lost = standing.record("web", "10.1.0.1"), standing.record("lost", "10.1.0.1")
    with proxy.fault(Fault(r"POST /v2/zones/.*/recordsets", "lose", times=1)) as fault:
        done = standing.keep(mine, web, lost)
        assert (done.outcome, fault.met) == ("failed", 1)
    standing.settles(mine, web, lost)
    standing.answers("catania", "lost", "10.1.0.1")


def test_credentials_that_do_not_serve_are_named(standing: Kept, tmp_path: Path) -> None:
    world = standing.world
    right = world.cloud_file(tmp_path / "right", "catania").read_text()
    cases = {
        "refuses the application credential": right.replace(world.made["secret"], "x" * 40),
        "no public endpoint of the service dns in region genova": right.replace(
            "region_name: catania", "region_name: genova"
        ),
        "certificate that is not trusted": right.replace("cacert", "nothing"),
        "is plain HTTP": right.replace(f"{world.identity.url}", "http://192.0.2.1:5000"),
    }
    for says, text in cases.items():
        file = tmp_path / "clouds.yaml"
        file.write_text(text)
        file.chmod(0o600)
        done = standing.keep(standing.provider("catania", file=file))
        assert (done.outcome, done.remedy) == ("failed", "operator"), (says, done.error)
        assert says in done.error
        assert world.made["secret"] not in done.error


def test_a_credential_revoked_in_a_plan_ends_it_and_its_successor_goes_on(
    kept: Kept, tmp_path: Path
) -> None:
    world = kept.world
    stolen, heir = world.new_credential("stolen"), world.new_credential("heir")
    file = world.cloud_file(tmp_path / "clouds.yaml", "napoli", of=stolen)
    mine = kept.provider("napoli", file=file)
    web = kept.record("web", "10.1.0.1")
    assert kept.keep(mine, web).outcome == "changed"
    kept.answers("napoli", "web", "10.1.0.1")
    more = [kept.record(f"more{i:02}", "10.1.0.1") for i in range(20)]
    proxy = world.proxies["napoli"]
    # Each write waits until the credential is gone, and the token is no longer believed.
    with proxy.fault(Fault(r"POST /v2/zones/.*/recordsets", "delay", seconds=3.5)) as fault:
        ended: list[Pass] = []
        plan = threading.Thread(target=lambda: ended.append(kept.keep(mine, web, *more)))
        plan.start()
        eventually(lambda: fault.met >= 1, WAIT_S, "the plan is on its way")
        world.revoke(stolen)
        plan.join(WAIT_S)
    # On a busy machine the plan's time is over before Keystone has said it.
    end = time.monotonic() + WAIT_S
    while ended[-1].remedy != "operator":
        assert time.monotonic() < end, [f"{d.outcome} {d.remedy} {d.error}" for d in ended]
        assert (ended[-1].outcome, ended[-1].remedy) == ("failed", "retry"), ended[-1].error
        ended.append(kept.keep(mine, web, *more))
    done = ended[-1]
    assert (done.outcome, done.view) == ("failed", None)
    assert f"refuses the application credential in {file}" in done.error
    assert stolen["secret"] not in done.error
    assert kept.ask("napoli", "web") == ["10.1.0.1"]  # the last answer stands
    world.cloud_file(file, "napoli", of=heir)
    kept.settles(mine, web, *more)
    kept.answers("napoli", "more19", "10.1.0.1")


def test_a_new_credential_is_taken_without_a_restart(standing: Kept, tmp_path: Path) -> None:
    file = standing.world.cloud_file(tmp_path / "clouds.yaml", "catania")
    mine = standing.provider("catania", file=file)
    standing.world.cloud_file(file, "catania", of={"id": "f" * 32, "secret": "none"})
    with pytest.raises(ProviderError, match="refuses the application credential"):
        mine.read()
    new = standing.world.new_credential("another")
    standing.world.cloud_file(file, "catania", of=new)
    mine.read()
