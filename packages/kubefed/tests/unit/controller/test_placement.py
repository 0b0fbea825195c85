"""The placement table and label selectors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubefed.api import AggregateReason
from kubefed.controller import placement

CLUSTERS = {"a": {"tier": "gold"}, "b": {"tier": "tin"}, "c": {}}
GOLD = {"matchLabels": {"tier": "gold"}}
ABSENT = object()


def federated(clusters: Any = ABSENT, selector: Any = ABSENT) -> dict[str, Any]:
    wanted = {"clusters": clusters, "clusterSelector": selector}
    given_ = {name: value for name, value in wanted.items() if value is not ABSENT}
    return {"spec": {"placement": given_}}


@pytest.mark.parametrize(
    ("clusters", "selector", "expected"),
    [
        (ABSENT, ABSENT, ""),
        (None, None, ""),
        (ABSENT, {}, "abc"),
        (None, {}, "abc"),
        (ABSENT, {"matchLabels": {}}, "abc"),
        (ABSENT, GOLD, "a"),
        ([], ABSENT, ""),
        ([], {}, ""),
        ([{"name": "b"}], ABSENT, "b"),
        ([{"name": "b"}], GOLD, "b"),
        ([{"name": "b"}, {"name": "gone"}], ABSENT, "b"),
    ],
)
def test_the_table(clusters: Any, selector: Any, expected: str) -> None:
    assert placement.select(federated(clusters, selector), CLUSTERS) == set(expected)


def test_no_placement_at_all_selects_none() -> None:
    assert placement.select({"spec": {}}, CLUSTERS) == frozenset()


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("In", ["gold", "tin"], "ab"),
        ("NotIn", ["gold"], "bc"),  # codespell:ignore
        ("Exists", [], "ab"),
        ("DoesNotExist", [], "c"),
    ],
)
def test_expressions(operator: str, values: list[str], expected: str) -> None:
    selector = {"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]}
    assert placement.selected(selector, CLUSTERS) == set(expected)


@pytest.mark.parametrize(
    "expression",
    [
        {"key": "tier", "operator": "Like", "values": ["g*"]},
        {"key": "tier", "operator": "In", "values": []},
        {"key": "tier", "operator": "Exists", "values": ["gold"]},
        {"operator": "Exists"},
    ],
)
def test_a_malformed_selector_is_said(expression: dict[str, Any]) -> None:
    wanted = federated(selector={"matchExpressions": [expression]})
    placed = placement.compute(wanted, CLUSTERS, namespaced=False)
    assert placed.reason == AggregateReason.COMPUTE_PLACEMENT_FAILED
    assert placed.explain
    assert not placed.clusters


def test_the_namespace_cuts_the_placement_down() -> None:
    everywhere, here = federated(selector={}), federated([{"name": "a"}, {"name": "c"}])
    placed = placement.compute(everywhere, CLUSTERS, namespaced=True, namespace=here)
    assert placed.clusters == {"a", "c"}


def test_a_namespace_that_is_not_federated_keeps_its_objects_back() -> None:
    placed = placement.compute(federated(selector={}), CLUSTERS, namespaced=True)
    assert placed.reason == AggregateReason.NAMESPACE_NOT_FEDERATED
    assert not placed.clusters


def test_in_a_namespaced_federation_it_does_not() -> None:
    everywhere = federated(selector={})
    placed = placement.compute(everywhere, CLUSTERS, namespaced=True, namespaced_scope=True)
    assert placed == placement.Placed(frozenset("abc"))


names = st.sampled_from(["a", "b", "c", "d"])
placements = st.fixed_dictionaries(
    {},
    optional={
        "clusters": st.none() | st.lists(st.fixed_dictionaries({"name": names})),
        "clusterSelector": st.none()
        | st.fixed_dictionaries({}, optional={"matchLabels": st.just({"tier": "gold"})}),
    },
)


@given(placements, placements)
def test_nothing_goes_where_the_namespace_or_the_registry_is_not(
    own: dict[str, Any], namespace: dict[str, Any]
) -> None:
    placed = placement.compute(
        {"spec": {"placement": own}},
        CLUSTERS,
        namespaced=True,
        namespace={"spec": {"placement": namespace}},
    )
    assert placed.clusters <= CLUSTERS.keys()
    assert placed.clusters <= placement.select({"spec": {"placement": namespace}}, CLUSTERS)
