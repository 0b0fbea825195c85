"""How a plain object stands everywhere, in its annotation."""

from __future__ import annotations

import json
from typing import Any

from kubefed.api import CONFIG_MAP, DEPLOYMENT, SERVICE, TargetKind
from kubefed.controller.objects import Json
from kubefed.controller.transparent import fold, marks

SOURCE: Json = {"metadata": {"name": "web"}, "status": {}}


def federated(*clusters: Json, observed: int = 2, **condition: str) -> Json:
    said = {"type": "Propagation", "status": "True"} | condition
    status = {"observedGeneration": observed, "conditions": [said], "clusters": list(clusters)}
    return {"metadata": {"generation": 2}, "status": status}


def told(target: TargetKind, federated_: Json, statuses: dict[str, Json]) -> Any:
    text = fold.summary(target, SOURCE, federated_, statuses)
    assert text is not None
    return json.loads(text)


def test_replicas_are_the_sum_over_the_clusters() -> None:
    said = told(
        DEPLOYMENT,
        federated({"name": "home"}, {"name": "far"}),
        {
            "home": {"replicas": 2, "readyReplicas": 2, "conditions": [{"type": "Available"}]},
            "far": {"replicas": 3, "readyReplicas": 1, "observedGeneration": 8},
            "left": {"replicas": 9},
        },
    )
    assert said == {
        "propagated": True,
        "replicas": 5,
        "readyReplicas": 3,
        "clusters": {
            "home": {"replicas": 2, "readyReplicas": 2},
            "far": {"replicas": 3, "readyReplicas": 1},
        },
    }


def test_a_cluster_that_is_away_says_so_and_counts_nothing() -> None:
    away = {"name": "far", "status": "ClusterNotReady"}
    state = federated({"name": "home"}, away, status="False", reason="CheckClusters")
    said = told(DEPLOYMENT, state, {"home": {"replicas": 2}})
    assert said["clusters"]["far"] == {"propagation": "ClusterNotReady"}
    assert (said["propagated"], said["reason"], said["replicas"]) == (False, "CheckClusters", 2)


def test_a_host_that_is_no_member_counts_as_what_it_is() -> None:
    said = told(DEPLOYMENT, federated({"name": "far"}), {"(host)": {"replicas": 2}})
    assert (said["replicas"], said["clusters"]["(host)"]) == (2, {"replicas": 2})


def test_addresses_are_told_by_cluster() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}, {"hostname": "a.b"}, {}]}}
    said = told(SERVICE, federated({"name": "far"}, {"name": "home"}), {"far": status, "home": {}})
    assert said["clusters"] == {"far": {"addresses": ["10.0.0.9", "a.b"]}, "home": {}}


def test_nothing_is_said_of_what_is_about_to_change_or_has_no_status() -> None:
    assert fold.summary(DEPLOYMENT, SOURCE, federated(observed=1), {}) is None
    assert fold.summary(CONFIG_MAP, {"metadata": {}}, federated(), {}) is None


def test_the_same_is_not_written_twice_whatever_the_order() -> None:
    one, two = {"name": "a"}, {"name": "b"}
    statuses = {"a": {"replicas": 1}, "b": {"replicas": 2}}
    first = fold.summary(DEPLOYMENT, SOURCE, federated(one, two), statuses)
    second = fold.summary(
        DEPLOYMENT, SOURCE, federated(two, one), dict(reversed(list(statuses.items())))
    )
    assert first == second
    said = {"metadata": {"annotations": {marks.SUMMARY: first}}}
    assert fold.change(said, first) is None
    assert fold.change(SOURCE, first) == said
