"""Golden vectors: what Go itself computes, and replicas worked out by hand.

go_vectors.json was made by a small Go program (go1.26.8: encoding/json, crypto/md5, hash/fnv) from
the same texts; strings in it avoid backspace and form feed, which Go has written in another way
since 1.22.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubefed.controller import planner, versions
from kubefed.controller.planner import Preference

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "go_vectors.json").read_text()
)


@pytest.mark.parametrize("vector", VECTORS["templates"], ids=lambda each: each["md5"])
def test_templates_hash_as_in_go(vector: dict[str, Any]) -> None:
    federated = {"spec": {"template": json.loads(vector["json"])}}
    assert versions.template_hash(federated) == vector["md5"]


@pytest.mark.parametrize("vector", VECTORS["overrides"], ids=lambda each: each["md5"])
def test_overrides_hash_as_in_go(vector: dict[str, Any]) -> None:
    federated = {"spec": {"overrides": json.loads(vector["json"])}}
    assert versions.overrides_hash(federated) == vector["md5"]


@pytest.mark.parametrize("vector", VECTORS["order"], ids=lambda each: each["cluster"])
def test_clusters_are_ordered_as_in_go(vector: dict[str, Any]) -> None:
    assert planner.fnv1(vector["cluster"] + vector["key"]) == vector["fnv1"]


# In the order of their hashes for shop/web: catania, palermo, napoli.
REGIONS = ("napoli", "palermo", "catania")
EVEN = {"*": Preference(weight=1)}


def planned(total: int, wanted: dict[str, Preference], **given: Any) -> tuple[int, int, int]:
    found = planner.plan(total, wanted, REGIONS, key="shop/web", **given)
    return found["catania"], found["palermo"], found["napoli"]


def test_equals_are_filled_in_the_order_of_their_hashes() -> None:
    # ceil(10/3) = 4, 4, and the 2 that are left.
    assert planned(10, EVEN) == (4, 4, 2)
    assert planned(1, EVEN) == (1, 0, 0)
    assert planned(0, EVEN) == (0, 0, 0)
    # For another object another cluster comes first.
    others = planner.plan(7, EVEN, ("three", "two", "one"), key="shop/web")
    assert others == {"one": 3, "two": 3, "three": 1}


def test_minimum_maximum_and_weight_together() -> None:
    wanted = {
        "catania": Preference(2, 5, 1),
        "palermo": Preference(1, None, 3),
        "napoli": Preference(0, 4, 1),
    }
    # Minimums 2, 1, 0 leave 17. palermo first: ceil(17*3/5) = 11, so 12; catania ceil(17/5) = 4
    # would make 6, at most 5, so 3 of the 6 left; napoli gets 3 of the 4 due.
    assert planned(20, wanted, rebalance=True) == (5, 12, 3)


def test_what_runs_stays_and_counts_towards_later_rounds() -> None:
    # catania keeps 9, palermo 1: 2 are left. Round 1, 1 due to each: both have it already, napoli
    # gets 1. Round 2, 1 due: catania has it, palermo's store is used up and it gets the last.
    current = {"catania": 9, "palermo": 1}
    assert planned(12, EVEN, current=current) == (9, 2, 1)
    assert planned(12, EVEN, current=current, rebalance=True) == (4, 4, 4)


def test_what_finds_no_room_goes_on_and_is_asked_for_still_when_rebalancing() -> None:
    # 3 due to each; catania has room for 1, so 2 overflow; the others share those 2.
    room = {"catania": 1}
    assert planned(9, EVEN, capacity=room) == (1, 4, 4)
    assert planned(9, EVEN, capacity=room, rebalance=True) == (3, 4, 4)


def test_what_runs_above_the_maximum_goes() -> None:
    wanted = {"*": Preference(0, 4, 1)}
    assert planned(12, wanted, current={"catania": 9}) == (4, 4, 4)


def test_a_region_that_is_lost_leaves_its_share_to_the_others() -> None:
    found = planner.plan(
        9, EVEN, ("catania", "palermo"), key="shop/web", current={"catania": 3, "palermo": 3}
    )
    # Both keep 3; of the 3 left 2 are due to each, which both have; then 2 and 1 of them.
    assert found == {"catania": 5, "palermo": 4}
