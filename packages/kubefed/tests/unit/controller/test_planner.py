"""ReplicaSchedulingPreference to the replica."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubefed.controller import planner
from kubefed.controller.planner import Preference

EVEN = {"*": Preference(weight=1)}


def test_fifty_over_three_equals() -> None:
    # Published: 16, 17, 17 by the order of the hashes.
    assert planner.plan(50, EVEN, "ABC", key="") == {"A": 16, "B": 17, "C": 17}


def test_the_minimum_comes_first() -> None:
    wanted = {"A": Preference(4, None, 1), "B": Preference(4, None, 2)}
    assert planner.plan(9, wanted, "AB", key="") == {"A": 4, "B": 5}


def test_fewer_than_the_minimums_fill_the_heaviest_first() -> None:
    wanted = {"A": Preference(4, None, 1), "B": Preference(4, None, 2)}
    assert planner.plan(5, wanted, "AB", key="") == {"A": 1, "B": 4}


def test_without_weight_only_the_minimum_is_placed() -> None:
    wanted = {"A": Preference(2), "B": Preference(1)}
    assert planner.plan(9, wanted, "AB", key="") == {"A": 2, "B": 1}


def test_a_maximum_passes_the_rest_on() -> None:
    wanted = {"A": Preference(0, 2, 1), "B": Preference(0, None, 1)}
    assert planner.plan(10, wanted, "AB", key="") == {"A": 2, "B": 8}


def test_a_named_entry_wins_and_the_unnamed_get_none() -> None:
    assert planner.plan(4, {"A": Preference(weight=1)}, "AB", key="") == {"A": 4, "B": 0}
    wanted = {"*": Preference(weight=1), "B": Preference(0, 1, 1)}
    assert planner.plan(4, wanted, "AB", key="") == {"A": 3, "B": 1}


def test_running_replicas_stay_unless_rebalanced() -> None:
    current = {"A": 6, "B": 0}
    assert planner.plan(6, EVEN, "AB", key="", current=current) == {"A": 6, "B": 0}
    assert planner.plan(6, EVEN, "AB", key="", current=current, rebalance=True) == {
        "A": 3,
        "B": 3,
    }


def test_what_runs_counts_towards_what_is_due() -> None:
    assert planner.plan(8, EVEN, "AB", key="", current={"A": 5}) == {"A": 5, "B": 3}


def test_a_full_cluster_passes_on_and_waits_only_when_rebalanced() -> None:
    room = {"A": 1}
    assert planner.plan(6, EVEN, "AB", key="", capacity=room) == {"A": 1, "B": 5}
    # Rebalancing keeps asking for what didn't fit, so that it comes back when there is room.
    assert planner.plan(6, EVEN, "AB", key="", capacity=room, rebalance=True) == {
        "A": 3,
        "B": 5,
    }


def test_what_fits_nowhere_waits() -> None:
    planned = planner.plan(6, EVEN, "AB", key="", capacity={"A": 1, "B": 2})
    assert sum(planned.values()) >= 6
    assert planned["A"] >= 1
    assert planned["B"] >= 2


def test_no_preference_means_everywhere() -> None:
    assert planner.preferences({}) == {"*": Preference(weight=1)}
    parsed = planner.preferences({"a": {"minReplicas": 1, "maxReplicas": 2, "weight": 3}})
    assert parsed == {"a": Preference(1, 2, 3)}


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0x811C9DC5), ("a", 0x050C5D7E), ("foobar", 0x31F0B262)]
)
def test_fnv1_is_not_fnv1a(text: str, expected: int) -> None:
    assert planner.fnv1(text) == expected


clusters = st.sets(st.sampled_from("ABCDEFG"), min_size=1)
wishes = st.dictionaries(
    st.sampled_from([*"ABCDEFG", "*"]),
    st.builds(
        Preference,
        st.integers(0, 9),
        st.none() | st.integers(0, 20),
        st.integers(0, 5),
    ),
    min_size=1,
)
counts = st.dictionaries(st.sampled_from("ABCDEFG"), st.integers(0, 30))


@given(st.integers(0, 200), wishes, clusters, counts, st.booleans())
def test_never_more_than_wanted_nor_over_a_maximum(
    total: int,
    wanted: dict[str, Preference],
    names: set[str],
    current: dict[str, int],
    rebalance: bool,
) -> None:
    planned = planner.plan(
        total, wanted, names, key="shop/web", current=current, rebalance=rebalance
    )
    assert planned.keys() == names
    assert sum(planned.values()) <= total
    for name, count in planned.items():
        wish = wanted.get(name) or wanted.get("*") or Preference()
        assert count >= 0
        if wish.maximum is not None and wish.minimum <= wish.maximum:
            assert count <= wish.maximum


@given(st.integers(0, 200), clusters, counts, st.booleans())
def test_all_are_placed_where_nothing_limits(
    total: int, names: set[str], current: dict[str, int], rebalance: bool
) -> None:
    planned = planner.plan(
        total, EVEN, names, key="shop/web", current=current, rebalance=rebalance
    )
    assert sum(planned.values()) == total
    if rebalance:
        assert max(planned.values()) - min(planned.values()) <= len(names)


@given(st.integers(0, 100), wishes, clusters, counts, counts, st.booleans())
def test_it_always_ends_and_gives_every_cluster_a_number(
    total: int,
    wanted: dict[str, Preference],
    names: set[str],
    current: dict[str, int],
    capacity: dict[str, int],
    rebalance: bool,
) -> None:
    planned = planner.plan(
        total,
        wanted,
        names,
        key="shop/web",
        current=current,
        capacity=capacity,
        rebalance=rebalance,
    )
    assert planned.keys() == names
    assert all(count >= 0 for count in planned.values())
