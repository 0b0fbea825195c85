"""Where objects go and how many replicas they have: what the annotations say."""

from __future__ import annotations

from typing import Any

import pytest
from kubefed.controller.transparent import policy
from kubefed.controller.transparent.policy import Policy, PolicyError

NOT_IN = "NotIn"  # codespell:ignore
EVERYWHERE = {"clusterSelector": {"matchLabels": {}}}


def test_who_says_nothing_gets_every_cluster_and_the_manifests_replicas() -> None:
    assert policy.resolve([]) == Policy()
    assert policy.resolve([]).placement == EVERYWHERE
    assert policy.resolve([]).total is None


def test_annotations_are_read_without_their_prefix_and_others_are_not_ours() -> None:
    notes = {"kubefed.io/clusters": "b, a,,a", "kubefed.io/orphan": "true", "clusters": "x"}
    assert policy.of_annotations(notes) == {"clusters": "b, a,,a"}
    assert policy.resolve([policy.of_annotations(notes)]).placement == {
        "clusters": [{"name": "a"}, {"name": "b"}]
    }


def test_no_cluster_is_an_answer_too() -> None:
    assert policy.resolve([{"clusters": ""}]).placement == {"clusters": []}


def test_the_nearest_layer_counts() -> None:
    found = policy.resolve(
        [{"total-replicas": "3"}, {"total-replicas": "9", "rebalance": "true"}, {"clusters": "a"}]
    )
    assert found == Policy(clusters=("a",), total=3, rebalance=True)


def test_a_nearer_selector_drops_a_farther_list_and_the_other_way_round() -> None:
    near = {"cluster-selector": "tier=gold"}
    assert policy.resolve([near, {"clusters": "a"}]).clusters is None
    assert policy.resolve([{"clusters": "a"}, near]).selector == {}


def test_both_in_one_layer_are_refused() -> None:
    with pytest.raises(PolicyError, match="exclude each other"):
        policy.resolve([{"clusters": "a", "cluster-selector": "b=c"}])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        (" ", {}),
        ("a=b", {"matchLabels": {"a": "b"}}),
        ("a == b , c=d", {"matchLabels": {"a": "b", "c": "d"}}),
        (
            "a!=b",
            {"matchExpressions": [{"key": "a", "operator": NOT_IN, "values": ["b"]}]},
        ),
        (
            "r in (x, y),!old",
            {
                "matchExpressions": [
                    {"key": "r", "operator": "In", "values": ["x", "y"]},  # codespell:ignore
                    {"key": "old", "operator": "DoesNotExist"},
                ]
            },
        ),
        (
            "r notin (x),k8s.io/new",  # codespell:ignore
            {
                "matchExpressions": [
                    {"key": "r", "operator": NOT_IN, "values": ["x"]},  # codespell:ignore
                    {"key": "k8s.io/new", "operator": "Exists"},
                ]
            },
        ),
    ],
)
def test_selectors_are_kubectls(text: str, wanted: Any) -> None:
    assert policy.selector(text) == wanted


@pytest.mark.parametrize("text", ["a=b,", "=b", "a in x", "a in (b", "a b", "a=b,a=c", ",", "!"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(PolicyError, match="selector"):
        policy.selector(text)


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        ({"total-replicas": "many"}, "total-replicas"),
        ({"total-replicas": "-1"}, "total-replicas"),
        ({"total-replicas": "9999999999"}, "total-replicas"),
        ({"rebalance": "yes"}, "rebalance"),
        ({"replica-preferences": "{"}, "not JSON"),
        ({"replica-preferences": "[]"}, "no JSON object"),
        ({"replica-preferences": '{"a": 1}'}, "'a' may have"),
        ({"replica-preferences": '{"a": {"weight": -1}}'}, "'a' may have"),
        ({"replica-preferences": '{"a": {"weight": true}}'}, "'a' may have"),
        ({"replica-preferences": '{"a": {"wait": 1}}'}, "'a' may have"),
    ],
)
def test_what_cant_be_read_is_named(layer: dict[str, str], match: str) -> None:
    with pytest.raises(PolicyError, match=match):
        policy.resolve([layer])


POLICIES = {
    "data": {
        "default": "clusters: [a, b]\n",
        "gold": 'cluster-selector: tier=gold\ntotal-replicas: 6\nreplica-preferences: {"*": '
        "{weight: 1}}\nrebalance: true",
        "wrong": "cluster: a",
        "list": "[a]",
        "broken": "{",
    }
}


def test_a_named_policy_says_the_same_in_yaml() -> None:
    layer = policy.named(POLICIES, {"kubefed.io/policy": "gold"})
    assert policy.resolve([layer]) == Policy(
        selector={"matchLabels": {"tier": "gold"}},
        total=6,
        preferences={"*": {"weight": 1}},
        rebalance=True,
    )


def test_the_default_is_a_named_policy_too_if_there_is_one() -> None:
    assert policy.named(POLICIES, {}) == {"clusters": "a,b"}
    assert policy.named(None, {}) == {}
    assert policy.named({"data": {}}, {}) == {}


@pytest.mark.parametrize("name", ["none", "wrong", "list", "broken"])
def test_a_policy_that_is_wanted_and_cant_be_had_is_no_default(name: str) -> None:
    with pytest.raises(PolicyError, match=name):
        policy.named(POLICIES, {"kubefed.io/policy": name})
