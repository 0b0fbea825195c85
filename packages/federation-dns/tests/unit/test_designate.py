"""The Designate provider: order, fence, refusals, and what is never taken for an empty zone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from federation_dns import passes
from federation_dns import plan as plans
from federation_dns.plan import Rules
from federation_dns.providers import ProviderError
from federation_dns.providers.designate import Access, Designate
from federation_dns.providers.keystone import Refused
from federation_dns.zone import Key, RecordSet, RecordType, Zone

from ..functional.carrying import carry_out

sys.path.insert(0, str(Path(__file__).parent))

from designate_memory import Memory

ZONE = "fed.example"
RULES = Rules(zone=ZONE, federation="fed")
GENERATION = f"_federation.{ZONE}"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def name(service: str) -> str:
    return f"{service}.shop.svc.{ZONE}"


def record(service: str, *values: str, kind: RecordType = "A") -> RecordSet:
    return RecordSet(name(service), kind, 15, values)


def zone(*sets: RecordSet) -> Zone:
    gone = frozenset(f"10.1.0.{i}" for i in range(1, 99))
    return Zone({(s.name, s.type): s for s in sets}, complete=True, explained=gone)


@pytest.fixture
def memory() -> Memory:
    return Memory(ZONE)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mine(memory: Memory, clock: Clock, tmp_path: Path) -> Designate:
    return provider(memory, clock, tmp_path)


def provider(memory: Memory, clock: Clock, tmp_path: Path, email: str = "") -> Designate:
    access = Access(file=tmp_path / "clouds.yaml", email=email)
    return Designate(access, RULES, "catania", connect=lambda _: memory, clock=clock)


def writes(memory: Memory) -> list[str]:
    short = [
        d.replace(f".shop.svc.{ZONE}.", "").replace(f"{GENERATION}.", "GEN") for d in memory.did
    ]
    return [d for d in short if not d.startswith("GET")]


def test_the_owner_comes_first_and_goes_last(memory: Memory, mine: Designate) -> None:
    both = (record("web", "10.1.0.1"), record("web", "2001:db8::1", kind="AAAA"))
    assert carry_out(mine, zone(*both), {}, RULES, None).outcome == "changed"
    assert writes(memory) == [
        "POST GEN TXT",
        "POST _federation.web TXT",
        "POST web A",
        "POST web AAAA",
    ]
    memory.did.clear()
    lifted = replace(RULES, lifted=True)
    assert carry_out(mine, zone(), {}, lifted, None).outcome == "changed"
    assert writes(memory) == [
        "PUT GEN TXT",
        "DELETE web A",
        "DELETE web AAAA",
        "DELETE _federation.web TXT",
    ]
    assert not memory.values(name("web"))


def test_a_withdrawal_is_one_put_and_comes_before_what_is_new_and_what_goes(
    memory: Memory, mine: Designate
) -> None:
    before = (record("old", "10.1.0.3"), record("web", "10.1.0.1", "10.1.0.2"))
    done = carry_out(mine, zone(*before), {}, RULES, None)
    memory.did.clear()
    after = zone(record("web", "10.1.0.1"), record("a-new-one", "10.1.0.9"))
    assert carry_out(mine, after, {}, RULES, done.view).changes == 3
    found = writes(memory)
    assert found[0] == "PUT GEN TXT"
    assert set(found[1:4]) == {"PUT web A", "POST _federation.a-new-one TXT", "POST a-new-one A"}
    assert found[4:] == ["DELETE old A", "DELETE _federation.old TXT"]
    assert memory.values(name("web")) == ["10.1.0.1"]
    assert mine.read().records[GENERATION, "TXT"].values == (
        "heritage=federation-dns,federation=fed,generation=2,writer=catania",
    )


def test_another_family_is_there_before_the_first_goes(memory: Memory, mine: Designate) -> None:
    carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None)
    memory.did.clear()
    carry_out(mine, zone(record("web", "2001:db8::1", kind="AAAA")), {}, RULES, None)
    assert writes(memory)[1:] == ["POST web AAAA", "DELETE web A"]


def test_a_delayed_plan_writes_nothing(memory: Memory, mine: Designate, tmp_path: Path) -> None:
    """The AWS case by name: a plan is taken, its writer stops, newer ones go in, it continues."""
    view = mine.read()
    late = plans.plan(zone(record("web", "10.1.0.1")), view, RULES)
    fast = provider(memory, Clock(), tmp_path)
    for value in ("10.1.0.2", "10.1.0.3"):
        assert carry_out(fast, zone(record("web", value)), {}, RULES, None).outcome == "changed"
    memory.did.clear()
    with pytest.raises(ProviderError) as caught:
        mine.apply(late, view)
    assert caught.value.remedy == "reread"
    assert writes(memory) == []
    assert memory.values(name("web")) == ["10.1.0.3"]


def test_a_writer_that_stops_in_the_middle_looks_again(
    memory: Memory, mine: Designate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from federation_dns.providers import designate

    monkeypatch.setattr(designate, "_FENCE_S", -1.0)  # as if each write came a second later

    def newer(line: str) -> None:
        if line.startswith(f"POST {name('web')}. A"):
            found = memory.find(GENERATION, "TXT")
            assert found is not None
            found["records"] = ['"heritage=federation-dns,federation=fed,generation=9,writer=x"']

    memory.on = newer
    view = mine.read()
    wanted = zone(record("web", "10.1.0.1"), record("web", "2001:db8::1", kind="AAAA"))
    with pytest.raises(ProviderError) as caught:
        mine.apply(plans.plan(wanted, view, RULES), view)
    assert caught.value.remedy == "reread"
    assert "POST web AAAA" not in writes(memory)


def end_early(memory: Memory) -> None:
    memory.spoil = lambda answer: answer.update(links={})


def count_nothing(memory: Memory) -> None:
    memory.spoil = lambda answer: answer.pop("metadata")


def drop_soa(memory: Memory) -> None:
    memory.sets = {k: s for k, s in memory.sets.items() if s["type"] != "SOA"}


def refuse(memory: Memory) -> None:
    def no(line: str) -> None:
        if line == "GET all":
            raise Refused(400, "marker_not_found", "")

    memory.on = no


def turn_round(memory: Memory) -> None:
    memory.no_marker = True


@pytest.mark.parametrize("spoil", [end_early, count_nothing, drop_soa, refuse, turn_round])
def test_a_part_is_never_a_zone(
    memory: Memory, mine: Designate, spoil: Callable[[Memory], None]
) -> None:
    for i in range(9):
        memory.put(f"host{i}.{ZONE}", "A", "198.51.100.1")
    spoil(memory)
    done = carry_out(mine, zone(), {}, RULES, None)
    assert (done.outcome, done.view, writes(memory)) == ("failed", None, [])


def test_a_zone_of_exactly_some_pages_is_whole(memory: Memory, mine: Designate) -> None:
    while len(memory.sets) < 3 * memory.page:
        memory.put(f"host{len(memory.sets)}.{ZONE}", "A", "198.51.100.1")
    assert len(mine.read().names) > 2 * memory.page
    assert memory.did[-4:] == ["GET all"] * 4


def test_what_others_hold_is_left_alone(memory: Memory, mine: Designate) -> None:
    memory.put(name("taken"), "A", "203.0.113.9")
    # Our agent died between its owner's TXT and the addresses, and somebody took the name.
    memory.put(name("raced"), "A", "203.0.113.8")
    mark = "heritage=federation-dns,federation=fed"
    memory.put(f"_federation.{name('raced')}", "TXT", f'"{mark}"', description=mark)
    # Somebody forged an owner.
    memory.put(name("forged"), "A", "203.0.113.7")
    memory.put(f"_federation.{name('forged')}", "TXT", f'"{mark}"')
    # Somebody added an AAAA beside ours.
    carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None)
    memory.put(name("web"), "AAAA", "2001:db8::bad")
    before = {k: dict(s) for k, s in memory.sets.items() if s["description"] == "theirs"}
    wanted = [record(n, "10.1.0.1") for n in ("taken", "raced", "forged")]
    wanted += [record("web", "10.1.0.2"), record("web", "2001:db8::1", kind="AAAA")]
    done = carry_out(mine, zone(*wanted), {}, RULES, None)
    assert done.plan is not None
    assert done.plan.conflicts == tuple(sorted(map(name, ("taken", "raced", "forged"))))
    assert memory.values(name("web")) == ["10.1.0.2"]
    assert mine.notes() == (f"{name('web')}: its AAAA is held by others and left alone",)
    carry_out(mine, zone(), {}, replace(RULES, lifted=True), None)
    after = {k: s for k, s in memory.sets.items() if s["description"] == "theirs"}
    assert after == before


def test_another_project_s_record_is_not_ours_whatever_it_says(
    memory: Memory, mine: Designate
) -> None:
    mark = "heritage=federation-dns,federation=fed"
    memory.put(name("web"), "A", "203.0.113.9", description=mark, project_id="q" * 32)
    done = carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None)
    assert done.plan is not None
    assert done.plan.conflicts == (name("web"),)
    assert memory.values(name("web")) == ["203.0.113.9"]


def test_another_federation_in_the_zone_stops_all(memory: Memory, mine: Designate) -> None:
    memory.put(GENERATION, "TXT", '"heritage=federation-dns,federation=other,generation=3"')
    done = carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None)
    assert (done.outcome, done.remedy, writes(memory)) == ("failed", "operator", [])
    assert "one federation a zone" in done.error


def test_over_quota_is_named_and_the_others_go_on(
    memory: Memory, mine: Designate, clock: Clock
) -> None:
    def full(line: str) -> None:
        if line.startswith(f"POST {name('big')}"):
            raise Refused(413, "over_quota", "Quota exceeded for zone_records.")

    memory.on = full
    wanted = zone(record("big", "10.1.0.1"), record("web", "10.1.0.1"))
    done = carry_out(mine, wanted, {}, RULES, None)
    assert (done.outcome, done.changes) == ("changed", 1)
    assert memory.values(name("web")) == ["10.1.0.1"]
    assert mine.notes() == (
        f"{name('big')}: over quota (Quota exceeded for zone_records.): raise it with "
        "'openstack dns quota set', or give the federation fewer names",
    )
    again = carry_out(mine, wanted, {}, RULES, done.view)  # its owner stands, its address not
    memory.did.clear()
    again = carry_out(mine, wanted, {}, RULES, again.view)
    assert (again.outcome, memory.did) == ("same", [])
    memory.on = lambda _: None
    clock.now += 200
    assert carry_out(mine, wanted, {}, RULES, again.view).changes == 1
    assert memory.values(name("big")) == ["10.1.0.1"]
    assert mine.notes() == ()


def test_what_is_refused_holds_up_no_later_pass(
    memory: Memory, mine: Designate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass takes so many names; those that wait for an operator must not fill each of them."""
    monkeypatch.setattr(passes, "NAMES_A_PASS", 2)

    def full(line: str) -> None:
        if line.startswith("POST a-"):
            raise Refused(413, "over_quota", "Quota exceeded for zone_records.")

    memory.on = full
    wanted = zone(*(record(n, "10.1.0.1") for n in ("a-one", "a-two", "web", "y", "z")))
    for _ in range(3):
        carry_out(mine, wanted, {}, RULES, None)
    assert all(memory.values(name(n)) == ["10.1.0.1"] for n in ("web", "y", "z"))
    assert [note.split(":")[0] for note in mine.notes()] == [f"{name('a-one')}, {name('a-two')}"]


def test_many_refusals_end_the_trying(memory: Memory, mine: Designate) -> None:
    def full(line: str) -> None:
        if line.startswith("POST _federation.s"):
            raise Refused(413, "over_quota", "Quota exceeded for zone_recordsets.")

    memory.on = full
    done = carry_out(
        mine, zone(*(record(f"s{i}", "10.1.0.1") for i in range(200))), {}, RULES, None
    )
    assert done.changes == 0
    assert len(writes(memory)) < 30
    assert any("not tried after 10 others" in note for note in mine.notes())


def test_a_name_taken_meanwhile_is_read_again(memory: Memory, mine: Designate) -> None:
    view = mine.read()
    memory.put(name("web"), "A", "203.0.113.9")
    done = carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, view)
    assert done.plan is not None
    assert (done.outcome, done.plan.conflicts) == ("same", (name("web"),))
    assert memory.values(name("web")) == ["203.0.113.9"]


def test_what_concerns_all_ends_the_plan(memory: Memory, mine: Designate) -> None:
    def down(line: str) -> None:
        if line.startswith("POST _federation.s"):
            raise ProviderError("is not reached", "retry")

    memory.on = down
    done = carry_out(
        mine, zone(*(record(f"s{i}", "10.1.0.1") for i in range(50))), {}, RULES, None
    )
    assert (done.outcome, done.remedy) == ("failed", "retry")
    assert len(writes(memory)) <= 10


def test_what_went_before_a_failure_counts_for_the_guard(memory: Memory, mine: Designate) -> None:
    five = [record(f"s{i}", "10.9.0.1") for i in range(5)]
    done = carry_out(mine, zone(*five), {}, RULES, None)

    def down(line: str) -> None:
        if line.startswith(f"DELETE {name('s4')}"):
            raise ProviderError("is not reached", "retry")

    memory.on = down
    done = carry_out(mine, zone(), {}, RULES, done.view)
    assert (done.outcome, len(done.spends)) == ("failed", 5)
    assert "of 5 names were written" in done.error


def test_a_record_set_that_is_being_deleted_is_waited_for(memory: Memory, mine: Designate) -> None:
    carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None)
    found = memory.find(name("web"), "A")
    assert found is not None
    found |= {"action": "DELETE", "status": "PENDING"}
    done = carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None)
    assert (done.outcome, done.remedy) == ("failed", "retry")
    assert "is still deleting" in done.error
    del memory.sets[found["id"]]
    assert carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None).outcome == "changed"


def test_pending_is_named_after_its_bound_and_not_waited_for(
    memory: Memory, mine: Designate, clock: Clock
) -> None:
    carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None)
    found = memory.find(name("web"), "A")
    assert found is not None
    found["status"] = memory.status = "PENDING"
    mine.read()
    clock.now += 59
    assert mine.behind() == ""
    clock.now += 2
    assert mine.behind().startswith(f"{name('web')} PENDING for more than 60 s")
    memory.status = "ACTIVE"
    mine.stamp()
    assert mine.behind() == ""


def test_error_is_named_and_tried_again_five_times(
    memory: Memory, mine: Designate, clock: Clock
) -> None:
    carry_out(mine, zone(record("web", "10.1.0.1")), {}, RULES, None)
    found = memory.find(name("web"), "A")
    assert found is not None
    found["status"] = memory.status = "ERROR"
    memory.did.clear()
    mine.read()
    assert name("web") in mine.behind()
    for _ in range(1000):
        clock.now += 2
        mine.stamp()
    assert writes(memory) == ["PUT GEN TXT"] * 5
    assert "left to Designate's own recovery" in mine.behind()
    found["status"] = memory.status = "ACTIVE"
    mine.stamp()
    assert mine.behind() == ""


def test_a_missing_zone_is_made_only_where_that_is_wanted(
    memory: Memory,
    mine: Designate,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[tuple[float, list[str]]] = []
    monkeypatch.setattr(time, "sleep", lambda s: waits.append((s, writes(memory))))
    memory.there = False
    done = carry_out(mine, zone(), {}, RULES, None)
    assert (done.outcome, done.remedy) == ("failed", "operator")
    assert "openstack zone create" in done.error
    maker = provider(memory, clock, tmp_path, email="host@example.org")
    assert carry_out(maker, zone(record("web", "10.1.0.1")), {}, RULES, None).outcome == "changed"
    # What is written in the second of the zone's first serial may never leave Designate.
    ((seconds, written),) = waits
    assert seconds > 1
    assert written == [f"POST {ZONE}. PRIMARY"]


def test_a_stamp_tells_a_change_and_an_error(memory: Memory, mine: Designate) -> None:
    view = mine.read()
    assert mine.stamp() == view.stamp(ZONE)
    memory.serial += 1
    assert mine.stamp() != view.stamp(ZONE)
    assert mine.stamp() != replace(mine.stamp(), serial=0)


def test_the_mark_of_bind_s_zones_makes_no_ns_ours(memory: Memory, mine: Designate) -> None:
    mark = "heritage=federation-dns,federation=fed"
    memory.put(f"_federation.apex-ns.{ZONE}", "TXT", f'"{mark}"', description=mark)
    apex: dict[Key, RecordSet] = {
        (ZONE, "NS"): RecordSet(ZONE, "NS", 15, ("ns.catania.fed.example",))
    }
    assert carry_out(mine, zone(), apex, RULES, None).outcome == "same"
    assert writes(memory) == []
