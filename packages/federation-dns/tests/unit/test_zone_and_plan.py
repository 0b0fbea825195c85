"""Records from states and verdict, and changes from records: examples and invariants."""

from __future__ import annotations

from federation_dns import plan as plans
from federation_dns import zone as zones
from federation_dns.plan import Change, Found, Plan, Rules, View, plan
from federation_dns.zone import Key, RecordSet, RegionState, RegionView, Service, Zone, build
from hypothesis import given, settings
from hypothesis import strategies as st

ZONE = "fed.example"
RULES = Rules(zone=ZONE, federation="fed")
WEB = f"web.shop.svc.{ZONE}"


def region(
    name: str, *services: Service, out: bool = False, ranges: tuple[str, ...] = ("10.0.0.0/8",)
) -> RegionView:
    return RegionView(name, RegionState(name, 1, 1, services), out, ranges, "10.9.9.9")


def web(address: str, ready: int = 1, ttl: int | None = None) -> Service:
    return Service("shop", "web", (address,), ready, ttl)


def values(zone: Zone, name: str) -> tuple[str, ...]:
    found = zone.records.get((name, "A"))
    return () if found is None else found.values


def view(*sets: RecordSet, more: dict[tuple[str, str], Found] | None = None) -> View:
    """A zone as the server has it: `sets` with their marks, and whatever else."""
    records: dict[tuple[str, str], Found] = dict(more or {})
    for s in sets:
        records[s.name, s.type] = Found(s.ttl, s.values)
        records[plans.owner_name(s.name), "TXT"] = Found(15, (plans.owner_text("fed"),))
    return View.of(1, records)


def test_one_name_for_all_and_one_for_each() -> None:
    found = build(ZONE, 15, [region("a", web("10.1.0.1")), region("b", web("10.2.0.1"))], {})
    assert values(found, WEB) == ("10.1.0.1", "10.2.0.1")
    assert values(found, f"web.shop.svc.a.{ZONE}") == ("10.1.0.1",)
    assert found.complete


def test_a_withdrawn_region_keeps_only_its_own_name() -> None:
    regions = [region("a", web("10.1.0.1"), out=True), region("b", web("10.2.0.1"))]
    found = build(ZONE, 15, regions, {})
    assert values(found, WEB) == ("10.2.0.1",)
    assert values(found, f"web.shop.svc.a.{ZONE}") == ("10.1.0.1",)
    assert "10.1.0.1" in found.explained


def test_a_name_is_never_emptied_while_anybody_knows_it() -> None:
    last = build(ZONE, 15, [region("a", web("10.1.0.1")), region("b", web("10.2.0.1"))], {})
    # Nothing is ready: what was answered last stands, as far as it exists.
    regions = [region("a", web("10.1.0.9", 0)), region("b", web("10.2.0.1", 0))]
    assert values(build(ZONE, 15, regions, last.records), WEB) == ("10.2.0.1",)
    # Only a withdrawn region has it ready: better that than nothing.
    regions = [region("a", web("10.1.0.1"), out=True), region("b", web("10.2.0.1", 0))]
    assert values(build(ZONE, 15, regions, last.records), WEB) == ("10.1.0.1",)
    # Its load balancer has lost its address: the last answer.
    regions = [region("a", Service("shop", "web", (), 1))]
    assert values(build(ZONE, 15, regions, last.records), WEB) == ("10.1.0.1", "10.2.0.1")


def test_foreign_addresses_and_bad_names_are_left_out_and_said() -> None:
    bad = [
        Service("shop", "web", ("192.0.2.1", "127.0.0.1", "169.254.169.254", "x"), 1),
        Service("shop", "w\nb", ("10.1.0.1",), 1),
        Service("shop", "../etc", ("10.1.0.1",), 1),
    ]
    found = build(ZONE, 15, [region("a", *bad)], {})
    assert not found.records
    assert len(found.notes) == 6
    assert any("outside the region's address_ranges" in note for note in found.notes)
    nothing_allowed = [region("a", web("10.1.0.1"), ranges=())]
    assert not build(ZONE, 15, nothing_allowed, {}).records


def test_both_families_and_the_least_ttl() -> None:
    both = Service("shop", "web", ("10.1.0.1", "FD00::1"), 1, 60)
    regions = [
        region("a", both, ranges=("10.0.0.0/8", "fd00::/8")),
        region("b", web("10.2.0.1", 1, 5)),
    ]
    found = build(ZONE, 15, regions, {})
    assert found.records[WEB, "AAAA"] == RecordSet(WEB, "AAAA", 5, ("fd00::1",))


def test_a_region_not_yet_heard_makes_the_zone_incomplete() -> None:
    unheard = RegionView("b", None, False, ())
    found = build(ZONE, 15, [region("a", web("10.1.0.1")), unheard], {})
    assert not found.complete
    gone = f"old.shop.svc.{ZONE}"
    there = view(
        RecordSet(WEB, "A", 15, ("10.1.0.1", "10.2.0.1")), RecordSet(gone, "A", 15, ("10.2.0.3",))
    )
    changes = plan(found, there, RULES).changes
    assert [c.name for c in changes] == [f"web.shop.svc.a.{ZONE}"]


def wanted(*sets: RecordSet, explained: frozenset[str] = frozenset()) -> Zone:
    return Zone({(s.name, s.type): s for s in sets}, complete=True, explained=explained)


def test_only_what_differs_is_written() -> None:
    same = RecordSet(WEB, "A", 15, ("10.1.0.1",))
    assert plan(wanted(same), view(same), RULES).changes == ()
    other = RecordSet(WEB, "A", 15, ("10.1.0.2",))
    assert plan(wanted(other), view(same), RULES).changes == (
        Change("update", WEB, (other,), unexplained=True),
    )
    slower = RecordSet(WEB, "A", 30, ("10.1.0.1",))
    assert plan(wanted(slower), view(same), RULES).changes == (Change("update", WEB, (slower,)),)


def test_foreign_records_are_conflicts_and_stay() -> None:
    mine = RecordSet(WEB, "A", 15, ("10.1.0.1",))
    for taken in (
        {(WEB, "A"): Found(300, ("203.0.113.1",))},
        {(WEB, "CNAME"): Found(300, ("elsewhere.",))},
        {(WEB, "MX"): Found(300, ("10 mail.",))},
        {(plans.owner_name(WEB), "TXT"): Found(300, ("hands off",))},
        {
            (WEB, "A"): Found(15, ("10.1.0.1",)),
            (plans.owner_name(WEB), "TXT"): Found(15, (plans.owner_text("another"),)),
        },
    ):
        found = plan(wanted(mine), view(more=taken), RULES)
        assert found.changes == ()
        assert found.conflicts == (WEB,)


def many(count: int) -> list[RecordSet]:
    return [RecordSet(f"s{i}.shop.svc.{ZONE}", "A", 15, (f"10.1.0.{i}",)) for i in range(count)]


def test_the_delete_guard_holds_all_back_beyond_its_cap() -> None:
    there = many(20)
    few = plan(wanted(*there[6:]), view(*there), RULES)
    assert len(few.changes) == 6
    assert few.spends == {f"s{i}.shop" for i in range(6)}
    emptied = plan(wanted(), view(*there), RULES)
    assert emptied.changes == ()
    assert len(emptied.withheld) == 20
    assert "accept-deletes" in emptied.notes[0]
    # What went lately counts: the cap is not fresh at every pass.
    gone = frozenset({"w.shop", "x.shop", "y.shop", "z.shop"})
    spent = Rules(zone=ZONE, federation="fed", spent=gone)
    assert plan(wanted(*there[6:]), view(*there), spent).changes == ()
    # A service that goes region by region counts once.
    again = Rules(zone=ZONE, federation="fed", spent=frozenset({"s1.shop", "s2.shop"}))
    assert len(plan(wanted(*there[6:]), view(*there), again).changes) == 6
    # A reason (a verdict, endpoints not ready) lifts it, and so does the operator.
    reasons = frozenset(v for s in there for v in s.values)
    assert len(plan(wanted(explained=reasons), view(*there), RULES).changes) == 20
    lifted = Rules(zone=ZONE, federation="fed", lifted=True)
    assert len(plan(wanted(), view(*there), lifted).changes) == 20


def test_the_generation_is_read_from_its_owner_only() -> None:
    name = plans.owner_name(ZONE)
    texts = (
        "v=spf1 -all",
        plans.generation_text("another", 99, "x"),
        plans.generation_text("fed", 7, "palermo"),
    )
    there = view(more={(name, "TXT"): Found(15, texts)})
    assert plan(wanted(), there, RULES).generation == 7
    assert plan(wanted(), view(), RULES).generation is None


def test_name_servers_follow_only_where_the_zone_is_ours() -> None:
    apex = zones.nameservers(ZONE, 15, [region("a"), region("b")])
    assert apex[ZONE, "NS"].values == (f"ns.a.{ZONE}", f"ns.b.{ZONE}")
    foreign = view(more={(ZONE, "NS"): Found(300, ("ns1.elsewhere",))})
    assert plan(wanted(), foreign, RULES, apex).changes == ()
    mark = f"_federation.apex-ns.{ZONE}"
    ours = view(
        RecordSet(f"ns.a.{ZONE}", "A", 15, ("10.9.9.9",)),
        RecordSet(f"ns.gone.{ZONE}", "A", 15, ("10.9.9.8",)),
        *many(30),
        more={
            (ZONE, "NS"): Found(15, (f"ns.a.{ZONE}", f"ns.gone.{ZONE}")),
            (mark, "TXT"): Found(15, (plans.owner_text("fed"),)),
        },
    )
    changes = plan(wanted(*many(30)), ours, RULES, apex).changes
    assert [(c.kind, c.name) for c in changes] == [
        ("update", ZONE),
        ("create", f"ns.b.{ZONE}"),
        ("delete", f"ns.gone.{ZONE}"),
    ]


def alias(target: str = WEB) -> RecordSet:
    return RecordSet(f"shop.{ZONE}", "CNAME", 15, (target,))


def test_an_alias_goes_by_the_service_that_it_points_to() -> None:
    there = [RecordSet(WEB, "A", 15, ("10.1.0.1",)), alias()]
    api = RecordSet(f"api.shop.svc.{ZONE}", "A", 15, ("10.1.0.2",))
    # The service lives and asks no longer for the name, or another one has it now: a reason.
    assert plan(wanted(there[0]), view(*there), RULES).changes == (
        Change("delete", f"shop.{ZONE}"),
    )
    moved = alias(api.name)
    found = plan(wanted(there[0], api, moved), view(*there), RULES).changes
    assert Change("update", moved.name, (moved,)) in found
    # The service is gone: no reason, and its two names count once.
    gone = plan(wanted(), view(*there, *many(20)), RULES)
    assert gone.spends == frozenset()
    assert gone.withheld
    assert plan(wanted(*many(20)), view(*there, *many(20)), RULES).spends == {"web.shop"}


def test_before_all_have_been_heard_an_alias_stays_where_it_points() -> None:
    api = RecordSet(f"api.shop.svc.{ZONE}", "A", 15, ("10.1.0.2",))
    there = view(RecordSet(WEB, "A", 15, ("10.1.0.1",)), api, alias())
    early = Zone({(alias().name, "CNAME"): alias(api.name)}, complete=False)
    assert plan(early, there, RULES).changes == ()


def test_what_is_lost_goes_first_and_no_alias_points_to_nothing() -> None:
    """However the names are called; a pass may end after any of them."""
    lost, more, old, api = (f"{name}.shop.svc.{ZONE}" for name in ("web", "more", "old", "api"))
    gone, here = "10.9.0.1", "10.1.0.1"
    apex = zones.nameservers(ZONE, 15, [region("a")])
    there = view(
        RecordSet(lost, "A", 15, (here, gone)),
        RecordSet(more, "A", 15, (here,)),
        RecordSet(old, "A", 15, (gone,)),
        alias(old),
        more={
            (ZONE, "NS"): Found(15, ("ns.z." + ZONE,)),
            (f"_federation.apex-ns.{ZONE}", "TXT"): Found(15, (plans.owner_text("fed"),)),
        },
    )
    asked = wanted(
        alias(api),
        RecordSet(api, "A", 15, (here,)),
        RecordSet(more, "A", 15, (here, "10.2.0.1")),
        RecordSet(lost, "A", 15, (here,)),
        explained=frozenset({gone}),
    )
    found = plan(asked, there, RULES, apex)
    assert [(c.kind, c.name.removesuffix(f".{ZONE}")) for c in found.changes] == [
        ("update", ZONE),
        ("create", "ns.a"),
        ("update", "web.shop.svc"),
        ("update", "more.shop.svc"),
        ("create", "api.shop.svc"),
        ("update", "shop"),
        ("delete", "old.shop.svc"),
    ]
    first = plans.part(found, found.changes, 3, there)
    assert (first.changes, first.left) == (found.changes[:3], 4)


def test_a_part_spends_what_goes_with_it() -> None:
    there = many(20)
    whole = plan(wanted(*there[6:]), view(*there), RULES)
    first = plans.part(whole, whole.changes, 2, view(*there))
    assert first.spends < whole.spends
    assert (len(first.spends), first.left) == (2, 4)
    assert first.notes == whole.notes


def test_each_zone_has_a_plan_of_its_own() -> None:
    other = RecordSet("web.shop.svc.other.example", "A", 15, ("10.1.0.1",))
    both = wanted(RecordSet(WEB, "A", 15, ("10.1.0.1",)), other)
    kept = (ZONE, "other.example")
    for zone, name in ((ZONE, WEB), ("other.example", other.name)):
        found = plan(both, view(), Rules(zone=zone, federation="fed", zones=kept))
        assert [c.name for c in found.changes] == [name]


# --- invariants ---

ADDRESSES = [f"10.{i}.0.1" for i in range(6)]


@st.composite
def worlds(draw: st.DrawFn) -> list[RegionView]:
    found: list[RegionView] = []
    for name in "abc"[: draw(st.integers(1, 3))]:
        services = tuple(
            Service("shop", s, tuple(draw(st.sets(st.sampled_from(ADDRESSES), max_size=2))), ready)
            for s in ("web", "api")
            if (ready := draw(st.integers(-1, 2))) >= 0
        )
        found.append(region(name, *services, out=draw(st.booleans())))
    return found


def apply(there: View, done: Plan) -> View:
    """What a server makes of a plan."""
    records = dict(there.records)
    for change in done.changes:
        for kind in ("A", "AAAA"):
            records.pop((change.name, kind), None)
        mark = (plans.owner_name(change.name), "TXT")
        records.pop(mark, None)
        if change.kind != "delete":
            records[mark] = Found(15, (plans.owner_text("fed"),))
        for s in change.sets:
            records[s.name, s.type] = Found(s.ttl, s.values)
    return View.of(there.serial + 1, records)


@settings(max_examples=100, deadline=None)
@given(st.lists(worlds(), min_size=1, max_size=6))
def test_no_answer_is_emptied_while_one_address_lives(history: list[list[RegionView]]) -> None:
    last: dict[Key, RecordSet] = {}
    there = view(more={("host." + ZONE, "A"): Found(60, ("192.0.2.1",))})
    for regions in history:
        found = build(ZONE, 15, regions, last)
        done = plan(found, there, RULES)
        after = apply(there, done)
        for service in ("web", "api"):
            name = zones.service_name(service, "shop", ZONE)
            offers = [s for r in regions if r.state for s in r.state.services if s.name == service]
            known = any(s.addresses for s in offers)
            live = {
                a
                for r in regions
                if r.state and not r.out
                for s in r.state.services
                if s.name == service and s.ready
                for a in s.addresses
            }
            if live:
                assert set(values(found, name)) == live
            if known or (offers and (name, "A") in there.records):
                assert (name, "A") in after.records
        assert after.records["host." + ZONE, "A"] == Found(60, ("192.0.2.1",))
        # Done once, nothing is left to do; the same states give the same zone in any order.
        if not done.withheld:
            assert plan(found, after, RULES).changes == ()
        assert build(ZONE, 15, list(reversed(regions)), last).records == found.records
        last, there = dict(found.records), after
