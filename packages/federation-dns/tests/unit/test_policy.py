"""Annotations: what is read, and what a bad one does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from federation_dns import policy, wire
from federation_dns.objects import service_of
from federation_dns.policy import Policy, read
from federation_dns.zone import RegionState, Service
from hypothesis import given, settings
from hypothesis import strategies as st


def annotated(**given: str) -> dict[str, object]:
    return {f"{policy.PREFIX}{name}": value for name, value in given.items()}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, Policy()),
        ({"strategy": "local"}, Policy("local")),
        (
            {"strategy": "failover", "order": "palermo, catania"},
            Policy("failover", order=("palermo", "catania")),
        ),
        ({"order": "palermo"}, Policy("failover", order=("palermo",))),
        (
            {"weights": "palermo=3, catania=0"},
            Policy("weighted", weights=(("catania", 0), ("palermo", 3))),
        ),
        ({"strategy": "all", "order": "palermo"}, Policy()),
        ({"zones": "Other.example.,fed.example"}, Policy(zones=("other.example", "fed.example"))),
        (
            {"hostname": "shop.example.org,www.example.org."},
            Policy(hostnames=("shop.example.org", "www.example.org")),
        ),
    ],
)
def test_what_is_asked_for_is_read(given: dict[str, str], found: Policy) -> None:
    assert read(annotated(**given)) == policy.Asked(found)


@pytest.mark.parametrize(
    "given",
    [
        {"ttl": "0"},
        {"ttl": "3601"},
        {"ttl": "99999999999999999999"},
        {"ttl": "soon"},
        {"strategy": "fastest"},
        {"strategy": "fastest", "order": "palermo"},
        {"weights": "palermo"},
        {"weights": "palermo=-1"},
        {"weights": "palermo=1001"},
        {"weights": "palermo=1,palermo=2"},
        {"weights": "Palermo!=1"},
        {"order": "palermo,palermo"},
        {"order": ""},
        {"zones": "no dots"},
        {"hostname": "*.example.org"},
        {"hostname": "shop"},
        {"hostname": "_federation.example.org"},
        {"hostname": ",".join(f"h{i}.example.org" for i in range(9))},
        {"hostname": "x" * 5000},
        {"hostname": ".".join(["x" * 60] * 4) + ".example.org"},
    ],
)
def test_a_bad_value_is_named_and_the_default_holds(given: dict[str, str]) -> None:
    asked = read(annotated(**given))
    assert (asked.policy, asked.ttl) == (Policy(), None)
    name = next(iter(given))
    assert any(f"dns.kubefed.io/{name}" in fault for fault in asked.faults)
    assert all(len(fault) < 300 for fault in asked.faults)


def test_half_a_strategy_is_said_and_taken() -> None:
    asked = read(annotated(strategy="failover"))
    assert asked.policy == Policy("failover")
    assert "order of their names" in asked.faults[0]
    assert "all count the same" in read(annotated(strategy="weighted")).faults[0]


def test_a_service_carries_what_its_annotations_say() -> None:
    item: dict[str, Any] = {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "labels": {"kubefed.io/managed": "true"},
            "annotations": annotated(strategy="local", ttl="-1"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.1.0.1"}]}},
    }
    found = service_of(item)
    assert found is not None
    assert found.service == Service(
        "shop", "web", ("10.1.0.1",), 0, None, Policy("local"), 1767225600
    )
    assert len(found.faults) == 1
    item["metadata"]["creationTimestamp"] = "yesterday"
    found = service_of(item)
    assert found is not None
    assert found.service.created == 0


REGIONS = st.from_regex(policy.REGION, fullmatch=True)
HOSTS = st.from_regex(policy.HOSTNAME, fullmatch=True).filter(lambda name: len(name) <= 240)


def lists(of: st.SearchStrategy[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(of, max_size=most, unique=True).map(tuple)


POLICIES = st.builds(
    Policy,
    st.sampled_from(["all", "weighted", "failover", "local"]),
    st.dictionaries(REGIONS, st.integers(0, 1000), max_size=4).map(
        lambda found: tuple(sorted(found.items()))
    ),
    lists(REGIONS, 4),
    lists(HOSTS, 3),
    lists(HOSTS, 3),
)


@settings(max_examples=100, deadline=None)
@given(POLICIES, st.integers(0, 2**40))
def test_a_policy_travels_whole(asked: Policy, created: int) -> None:
    service = Service("shop", "web", ("10.1.0.1",), 1, 60, asked, created)
    state = RegionState("palermo", 3, 7, (service,))
    assert wire.parse_state(json.dumps(wire.dump_state(state)).encode()) == (state, ())


def test_agents_of_different_versions_understand_each_other() -> None:
    """The state as the version before policies wrote it, and what it reads of ours."""
    old = {"namespace": "shop", "name": "web", "addresses": ["10.1.0.1"], "ready": 1, "ttl": None}
    body: dict[str, Any] = {
        "version": 1,
        "region": "palermo",
        "incarnation": 1,
        "sequence": 1,
        "services": [old],
    }
    state, notes = wire.parse_state(json.dumps(body).encode())
    assert (state.services, notes) == ((Service("shop", "web", ("10.1.0.1",), 1),), ())
    assert wire.dump_state(state)["services"] == [old]
    # A strategy of a version to come: the service stays, with the default, and it is said.
    for policy_to_come in ({"strategy": "nearest"}, {"weights": {"x": -1}}, "text", [1]):
        body["services"] = [old | {"policy": policy_to_come, "more": 1}]
        state, notes = wire.parse_state(json.dumps(body).encode())
        assert state.services == (Service("shop", "web", ("10.1.0.1",), 1),)
        assert "no version known here" in notes[0]
