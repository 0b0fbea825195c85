"""The WAN's names, addresses and cuts."""

from __future__ import annotations

import json

import pytest
from federation_lab.errors import LabError, UnknownRegionError
from federation_lab.wanplan import (
    NAME,
    Change,
    Plan,
    changes,
    lowest_free,
    parse_sets,
    quoted,
    touches,
)

REGIONS = {"catania": 1, "palermo": 2}
PLAN = Plan(3)


def test_names_fit_into_the_kernels_fifteen_letters() -> None:
    assert PLAN.port(254, 99) == "lab3-r254-m99"
    assert max(len(name) for name in (PLAN.port(254, 99), PLAN.bridge(254), PLAN.uplink)) <= 15


def test_addresses() -> None:
    assert PLAN.network == "10.213.0.0/16"
    assert PLAN.address(2, 10) == "10.213.2.10"


def test_a_cut_is_two_ways_unless_one_is_asked() -> None:
    there = Change("cuts", ('"lab3-r1" . "lab3-r2"',))
    back = Change("cuts", ('"lab3-r2" . "lab3-r1"',))
    assert changes(PLAN, REGIONS, "catania", "palermo", one_way=True) == [there]
    assert changes(PLAN, REGIONS, "catania", "palermo", one_way=False) == [there, back]


def test_cuts_from_the_host_and_from_all() -> None:
    assert changes(PLAN, REGIONS, "host", "catania", one_way=True) == [
        Change("cuts", ('"lab3-host" . "lab3-r1"',))
    ]
    assert changes(PLAN, REGIONS, "catania", "all", one_way=False) == [
        Change("dark_from", ('"lab3-r1"',)),
        Change("dark_to", ('"lab3-r1"',)),
    ]


def test_refusals() -> None:
    with pytest.raises(UnknownRegionError, match=r"no region called 'napoli'.*catania"):
        changes(PLAN, REGIONS, "catania", "napoli", one_way=False)
    with pytest.raises(LabError, match="same place"):
        changes(PLAN, REGIONS, "all", "all", one_way=False)


def test_nfts_json_is_read() -> None:
    sets = [
        {"metainfo": {}},
        {"set": {"name": "cuts", "elem": [{"concat": ["a", "b"]}]}},
        {"set": {"name": "dark_to", "elem": ["a"]}},
        {"set": {"name": "dead"}},
    ]
    assert parse_sets(json.dumps({"nftables": sets})) == {
        "cuts": ['"a" . "b"'],
        "dark_to": ['"a"'],
        "dead": [],
    }


def test_which_cuts_touch_a_place() -> None:
    pair, a, b = '"a" . "b"', quoted("a"), quoted("b")
    assert touches(pair, a, outgoing=True, both=False)
    assert not touches(pair, b, outgoing=True, both=False)
    assert touches(pair, b, outgoing=False, both=False)
    assert touches(pair, b, outgoing=True, both=True)


def test_numbers_are_given_again() -> None:
    assert lowest_free([1, 3], 1, 9, "x") == 2
    with pytest.raises(LabError, match="room for 2 machines"):
        lowest_free([1, 2], 1, 2, "machines")


def test_names_of_regions() -> None:
    assert [bool(NAME.fullmatch(n)) for n in ("a", "reggio-2", "a" * 41, "A", "-a", "a-")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
