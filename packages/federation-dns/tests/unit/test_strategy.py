"""Strategies, zones and users' own names: examples and invariants."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from federation_dns import alias, strategy
from federation_dns.alias import Claim
from federation_dns.plan import Rules, View, plan
from federation_dns.policy import Policy
from federation_dns.strategy import shares
from federation_dns.zone import RecordSet, RegionState, RegionView, Service, Zone, build
from hypothesis import given, settings
from hypothesis import strategies as st

ZONE, OTHER = "fed.example", "example.org"
WEB = f"web.shop.svc.{ZONE}"


def region(name: str, *services: Service, out: bool = False) -> RegionView:
    return RegionView(name, RegionState(name, 1, 1, services), out, ("10.0.0.0/8", "fd00::/8"))


def web(policy: Policy, *addresses: str, ready: int = 1, created: int = 0) -> Service:
    return Service("shop", "web", addresses, ready, None, policy, created)


def answer(
    policy: Policy, out: str = "", unready: str = "", here: str | None = None, each: int = 1
) -> str:
    """Which regions of a, b and c answer, each with `each` addresses `10.<n>.0.x`."""
    regions = [
        region(
            name,
            web(
                policy,
                *(f"10.{n}.0.{i}" for i in range(1, each + 1)),
                ready=int(name not in unready),
            ),
            out=name in out,
        )
        for n, name in enumerate("abc")
    ]
    found = build(ZONE, 15, regions, {}, here=here).records[WEB, "A"].values
    return "".join("abc"[int(value.split(".")[1])] for value in found)


ORDER = Policy("failover", order=("b", "a"))


@pytest.mark.parametrize(
    ("out", "unready", "who"),
    [
        ("", "", "b"),
        ("b", "", "a"),
        ("", "b", "a"),
        ("ab", "", "c"),
        ("c", "ab", "b"),
        ("", "abc", "b"),
    ],
)
def test_failover_goes_by_the_order_and_never_ends(out: str, unready: str, who: str) -> None:
    # In the last but one: nobody stands and is ready, c is ready and withdrawn.
    assert answer(ORDER, out, unready) == ("c" if (out, unready) == ("c", "ab") else who)


def test_who_is_not_in_the_order_follows_by_name() -> None:
    assert answer(Policy("failover")) == "a"
    assert answer(Policy("failover", order=("c",)), out="c") == "a"


@pytest.mark.parametrize(
    ("here", "out", "who"),
    [("b", "", "b"), ("b", "b", "ac"), ("b", "ac", "b"), (None, "", "abc"), ("w", "a", "bc")],
)
def test_local_is_the_own_region_while_it_stands(here: str | None, out: str, who: str) -> None:
    assert answer(Policy("local"), out, here=here) == who


@pytest.mark.parametrize(
    ("weights", "each", "out", "who"),
    [
        ({"a": 3, "b": 1, "c": 1}, 3, "", "aaabc"),
        ({"a": 2, "b": 1, "c": 1}, 4, "", "aaaabbcc"),
        ({"a": 3, "b": 1, "c": 0}, 3, "", "aaab"),
        ({"a": 3, "b": 0, "c": 0}, 2, "a", "bbcc"),
        ({"a": 0, "b": 0, "c": 0}, 1, "", "abc"),
        ({"a": 1000, "b": 1}, 2, "", "aabc"),
        ({}, 2, "", "aabbcc"),
        ({"a": 9, "b": 1, "c": 1}, 1, "", "abc"),
    ],
)
def test_weights_are_numbers_of_addresses(
    weights: dict[str, int], each: int, out: str, who: str
) -> None:
    assert answer(Policy("weighted", tuple(weights.items())), out, each=each) == who


def test_weights_that_the_addresses_cannot_give_are_said() -> None:
    policy = Policy("weighted", (("a", 9), ("b", 1)))
    regions = [region("a", web(policy, "10.0.0.1")), region("b", web(policy, "10.1.0.1"))]
    assert build(ZONE, 15, regions, {}).notes == (
        "shop/web: its addresses are too few for its weights: a region's share is 40% off",
    )


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 12), min_size=1),
    st.data(),
)
def test_no_other_numbers_are_nearer_to_the_weights(
    weights: dict[str, int], data: st.DataObject
) -> None:
    have = {r: data.draw(st.integers(1, 5)) for r in weights}
    counts, off = shares(weights, have)
    assert all(1 <= counts[r] <= have[r] for r in weights)
    total = sum(weights.values())
    for other in product(*(range(1, most + 1) for most in have.values())):
        size = sum(other)
        worst = max(
            abs(Fraction(n, size) - Fraction(w, total))
            for n, w in zip(other, weights.values(), strict=True)
        )
        assert off <= worst


def test_where_regions_differ_the_most_of_those_that_stand_decide() -> None:
    def who(*said: Policy, out: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
        regions = [
            region(name, web(policy, f"10.{n}.0.1"), out=name in out)
            for n, (name, policy) in enumerate(zip("abc", said, strict=True))
        ]
        found = build(ZONE, 15, regions, {})
        return found.records[WEB, "A"].values, found.notes

    everybody = Policy()
    assert who(everybody, ORDER, ORDER) == (
        ("10.1.0.1",),
        ("shop/web: its annotations differ in a: what b says holds",),
    )
    assert who(everybody, ORDER, Policy("local"))[0] == ("10.0.0.1", "10.1.0.1", "10.2.0.1")
    assert who(everybody, ORDER, ORDER, out="bc")[0] == ("10.0.0.1",)
    # One that lies about itself takes nothing from the others.
    greedy = Policy("failover", order=("c",))
    assert who(everybody, everybody, greedy)[0] == ("10.0.0.1", "10.1.0.1", "10.2.0.1")


def test_annotations_about_nobody_are_said() -> None:
    policy = Policy("failover", order=("a", "atlantis"), zones=("nowhere.example",))
    notes = build(ZONE, 15, [region("a", web(policy, "10.0.0.1"))], {}).notes
    assert notes == (
        "shop/web: its annotations name regions that there are not: atlantis",
        "shop/web: zones that the configuration does not name: nowhere.example",
    )


def test_a_failover_address_that_is_in_no_answer_needs_no_other_reason() -> None:
    """Else the delete guard would keep the second region's addresses when the first returns."""
    services = [f"s{i}" for i in range(30)]

    def world(*, out: bool) -> Zone:
        regions = [
            region(
                name,
                *(
                    Service("shop", s, (f"10.{n}.0.{i}",), 1, None, ORDER)
                    for i, s in enumerate(services)
                ),
                out=out and name == "b",
            )
            for n, name in enumerate("ab")
        ]
        return build(ZONE, 15, regions, {})

    rules = Rules(zone=ZONE, federation="fed")
    there = View.of(1, {})
    for wanted in (world(out=True), world(out=False), world(out=True)):
        done = plan(wanted, there, rules)
        assert (done.withheld, done.spends) == ((), frozenset())
        there = served(there, wanted)


def served(there: View, wanted: Zone) -> View:
    from federation_dns.plan import Found, owner_name, owner_text

    records = dict(there.records)
    for r in wanted.records.values():
        records[r.name, r.type] = Found(r.ttl, r.values)
        records[owner_name(r.name), "TXT"] = Found(15, (owner_text("fed"),))
    return View.of(there.serial + 1, records)


# --- zones and users' own names ---


def test_a_service_may_stand_in_several_zones() -> None:
    policy = Policy(zones=(OTHER, ZONE), hostnames=("shop.example.org", "www.fed.example"))
    found = build(ZONE, 15, [region("a", web(policy, "10.0.0.1"))], {}, more=(OTHER,))
    assert sorted(found.records) == [
        (f"shop.{OTHER}", "CNAME"),
        (f"web.shop.svc.a.{OTHER}", "A"),
        (f"web.shop.svc.a.{ZONE}", "A"),
        (f"web.shop.svc.{OTHER}", "A"),
        (WEB, "A"),
        (f"www.{ZONE}", "CNAME"),
    ]
    assert found.records[f"shop.{OTHER}", "CNAME"].values == (f"web.shop.svc.{OTHER}",)
    assert found.records[f"www.{ZONE}", "CNAME"].values == (WEB,)


def test_a_name_of_the_users_own_points_into_the_zone_of_the_service() -> None:
    policy = Policy(hostnames=("shop.example.org",))
    found = build(ZONE, 15, [region("a", web(policy, "10.0.0.1"))], {}, more=(OTHER,))
    assert found.records["shop.example.org", "CNAME"] == RecordSet(
        "shop.example.org", "CNAME", 15, (WEB,)
    )


@pytest.mark.parametrize(
    ("hostname", "says"),
    [
        ("shop.elsewhere.example", "not in a zone of this federation (fed.example, example.org)"),
        ("example.org", "a zone's own name"),
        ("api.shop.svc.fed.example", "the services' own"),
        ("web.shop.svc.a.fed.example", "the services' own"),
        ("ns.palermo.fed.example", "the regions'"),
        ("x.notfed.example", "not in a zone"),
        ("sh_op.example.org", "no DNS name"),
    ],
)
def test_names_that_nobody_may_ask_for(hostname: str, says: str) -> None:
    policy = Policy(hostnames=(hostname,))
    found = build(ZONE, 15, [region("a", web(policy, "10.0.0.1"))], {}, more=(OTHER,))
    assert [kind for _, kind in found.records] == ["A", "A"]
    assert says in found.notes[0]


def test_of_two_services_the_older_has_the_name() -> None:
    name = ("shop.example.org",)

    def claim(service: str, created: int) -> Claim:
        return Claim(name[0], service, created, 15, {ZONE: f"{service}.target"})

    for claims, winner in (
        ([claim("b/web", 5), claim("a/web", 9)], "b/web"),
        ([claim("b/web", 5), claim("a/web", 5)], "a/web"),
        ([claim("b/web", 5), claim("a/web", 0)], "b/web"),
        ([claim("b/web", 0), claim("a/web", 0)], "a/web"),
    ):
        for order in (claims, claims[::-1]):
            given, notes = alias.resolve(order, (ZONE, OTHER))
            assert [a.target for a in given] == [f"{winner}.target"]
            assert f"{winner} is older and has it" in notes[0]


def test_no_single_region_makes_a_service_older() -> None:
    assert alias.created([100, 1, 120]) == 100
    assert alias.created([0, 7]) == 7
    assert alias.created([]) == 0


# --- invariants ---

POLICIES = st.sampled_from(
    [
        Policy(),
        ORDER,
        Policy("local"),
        Policy("weighted", (("a", 2), ("b", 0))),
        Policy(zones=(OTHER,), hostnames=("x.example.org",)),
        Policy(hostnames=("x.example.org", "y.fed.example")),
    ]
)
ADDRESSES = [f"10.{i}.0.1" for i in range(5)] + [f"fd00::{i}" for i in range(1, 4)]


@st.composite
def worlds(draw: st.DrawFn) -> list[RegionView]:
    found: list[RegionView] = []
    for name in "abc"[: draw(st.integers(1, 3))]:
        services = tuple(
            Service(
                "shop",
                s,
                tuple(draw(st.sets(st.sampled_from(ADDRESSES), max_size=4))),
                ready,
                None,
                draw(POLICIES),
                draw(st.integers(0, 3)),
            )
            for s in ("web", "api")
            if (ready := draw(st.integers(-1, 2))) >= 0
        )
        found.append(region(name, *services, out=draw(st.booleans())))
    return found


@settings(max_examples=300, deadline=None)
@given(worlds(), st.sampled_from(["a", "b", "c", None]))
def test_every_strategy_answers_some_of_what_may_be_answered(
    regions: list[RegionView], here: str | None
) -> None:
    found = build(ZONE, 15, regions, {}, more=(OTHER,), here=here)
    for service in ("web", "api"):
        offers = [
            (r, s) for r in regions if r.state for s in r.state.services if s.name == service
        ]
        ready = {a for _, s in offers if s.ready for a in s.addresses}
        live = {a for r, s in offers if s.ready and not r.out for a in s.addresses}
        known = {a for _, s in offers for a in s.addresses}
        names = [
            name
            for z in (ZONE, OTHER)
            if any((name := f"{service}.shop.svc.{z}", k) in found.records for k in ("A", "AAAA"))
        ]
        assert bool(names) == bool(known)
        for name in names:
            got = {
                v for k in ("A", "AAAA") if (s := found.records.get((name, k))) for v in s.values
            }
            assert got
            assert got <= (live or ready or known)
            if live:
                assert got | found.left.get(name, frozenset()) >= live
                assert got.isdisjoint(found.left.get(name, frozenset()))
    for record in found.records.values():
        if record.type == "CNAME":
            (target,) = record.values
            assert (target, "A") in found.records or (target, "AAAA") in found.records
            assert (record.name, "A") not in found.records


@settings(max_examples=200, deadline=None)
@given(worlds(), st.permutations([0, 1, 2]))
def test_the_same_states_give_the_same_zone_but_for_what_is_local(
    regions: list[RegionView], order: list[int]
) -> None:
    turned = [regions[i] for i in order if i < len(regions)]
    at_a = build(ZONE, 15, regions, {}, more=(OTHER,), here="a")
    at_b = build(ZONE, 15, turned, {}, more=(OTHER,), here="b")
    assert build(ZONE, 15, turned, {}, more=(OTHER,), here="a") == at_a
    local = {name for name in ("web", "api") if _policy(regions, name).strategy == "local"}
    for key in at_a.records.keys() | at_b.records.keys():
        if key[0].split(".")[0] not in local:
            assert at_a.records.get(key) == at_b.records.get(key)


def _policy(regions: list[RegionView], name: str) -> Policy:
    offers = [
        strategy.Offer(r.name, r.out, True, (), None, s.policy)
        for r in regions
        if r.state
        for s in r.state.services
        if s.name == name
    ]
    return strategy.agreed(offers)[0] if offers else Policy()
