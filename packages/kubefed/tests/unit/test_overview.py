from __future__ import annotations

from typing import Any

import pytest
from kubefed.api import CONFIG_MAP, FederatedType, TypeConfig, given_up
from kubefed.membership import Cluster
from kubefed.membership.forget import alive
from kubefed.overview import (
    Overview,
    Problem,
    Row,
    TypeState,
    problems,
    rows,
    type_state,
    warnings_of,
)

KINDS = FederatedType.of(CONFIG_MAP)


def item(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "namespace": "shop", "generation": 2}, "status": status}


def condition(reason: str = "") -> list[dict[str, str]]:
    status = "False" if reason else "True"
    return [{"type": "Propagation", "status": status, "reason": reason}]


def test_an_object_in_order() -> None:
    clusters = [{"name": "palermo"}, {"name": "napoli", "status": ""}]
    status = item(conditions=condition(), clusters=clusters, observedGeneration=2)
    assert list(problems(status, KINDS)) == []


@pytest.mark.parametrize(
    ("status", "cluster", "reason", "words"),
    [
        ({}, "", "NoStatus", "no controller"),
        (
            {
                "conditions": condition("CheckClusters"),
                "clusters": [{"name": "palermo"}, {"name": "napoli", "status": "ClusterNotReady"}],
            },
            "napoli",
            "ClusterNotReady",
            "the cluster is not ready",
        ),
        (
            {
                "conditions": condition("CheckClusters"),
                "clusters": [{"name": "napoli", "status": "FieldRetentionFailed"}],
            },
            "napoli",
            "FieldRetentionFailed",
            "FieldRetentionFailed",
        ),
        (
            {"conditions": condition("NamespaceNotFederated")},
            "",
            "NamespaceNotFederated",
            "its namespace is not federated",
        ),
        (
            {"conditions": condition(), "observedGeneration": 1},
            "",
            "Outdated",
            "not been carried yet",
        ),
    ],
)
def test_problems(status: dict[str, Any], cluster: str, reason: str, words: str) -> None:
    [problem] = problems(item(**status), KINDS)
    assert problem.object == "FederatedConfigMap shop/a"
    assert (problem.cluster, problem.reason) == (cluster, reason)
    assert words in problem.explain


def event(message: str, at: str) -> dict[str, Any]:
    about = {"kind": "FederatedConfigMap", "namespace": "shop", "name": "a"}
    return {"involvedObject": about, "message": message, "lastTimestamp": at}


def test_the_clusters_own_words() -> None:
    said = warnings_of(
        [
            event("ConfigMap in palermo: too old", "2026-01-01T00:00:00Z"),
            event("ConfigMap in palermo: quota exceeded", "2026-01-01T00:00:02Z"),
            event("ConfigMap in palermo-2: other", "2026-01-01T00:00:03Z"),
        ]
    )
    clusters = [{"name": "palermo", "status": "CreationFailed"}]
    status = item(conditions=condition("CheckClusters"), clusters=clusters)
    [problem] = problems(status, KINDS, said)
    assert problem.explain.endswith("refuses to create it: ConfigMap in palermo: quota exceeded")
    [problem] = problems(status, KINDS)
    assert problem.explain == "the cluster refuses to create it"


def test_types() -> None:
    manifest = TypeConfig(KINDS).to_object("ns")
    assert type_state(manifest, 3).running is None
    manifest["status"] = {"propagationController": "NotRunning"}
    state = type_state(manifest, 3)
    assert (state.name, state.running, state.objects) == ("configmaps", False, 3)


def kubefed_cluster(*conditions: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": "palermo", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"apiEndpoint": "https://host"},
        "status": {"conditions": list(conditions)},
    }


@pytest.mark.parametrize(
    ("conditions", "ready", "message"),
    [
        ([], None, "not probed yet"),
        ([{"type": "Ready", "status": "True", "message": "fine"}], True, "fine"),
        (
            [
                {"type": "Ready", "status": "False", "message": "not ok"},
                {"type": "Offline", "status": "False", "message": "reachable"},
            ],
            False,
            "not ok",
        ),
        ([{"type": "Offline", "status": "True", "message": "gone"}], False, "gone"),
        ([{"type": "ConfigMalformed", "status": "True", "message": "bad"}], False, "bad"),
        ([{"type": "Ready", "status": "Unknown", "message": "frozen"}], None, "frozen"),
    ],
)
def test_what_is_known_of_a_cluster(
    conditions: list[dict[str, str]], ready: bool | None, message: str
) -> None:
    cluster = Cluster.from_object(kubefed_cluster(*conditions))
    assert (cluster.ready, cluster.message) == (ready, message)
    assert Overview((cluster,), (), ()).healthy is bool(ready)


def test_a_member_that_was_given_up_says_so() -> None:
    manifest = kubefed_cluster({"type": "Offline", "status": "True", "message": "gone"})
    assert "forget" not in rows(Overview((Cluster.from_object(manifest),), (), ()))[0].explain
    manifest["metadata"]["annotations"] = {
        "kubefed.io/forget": "true",
        "kubefed.io/left-behind": '["secrets shop/b","configmaps shop/a"]',
    }
    cluster = Cluster.from_object(manifest)
    assert cluster.forgotten
    assert cluster.left_behind == ("configmaps shop/a", "secrets shop/b")
    [row] = rows(Overview((cluster,), (), ()))
    assert row.explain == "gone, no deletion waits for it (kubefed forget --undo ends that)"


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ([], "nobody knows whether it answers"),
        ([{"type": "Ready", "status": "Unknown"}], "nobody knows whether it answers"),
        ([{"type": "Ready", "status": "True", "lastProbeTime": "12:00"}], "it answered at 12:00"),
        (
            [
                {"type": "Ready", "status": "False", "message": "not ok"},
                {"type": "Offline", "status": "False"},
            ],
            "it answered at an unknown time (not ok)",
        ),
        ([{"type": "Offline", "status": "True"}], ""),
        ([{"type": "ConfigMalformed", "status": "True"}], ""),
    ],
)
def test_which_members_may_be_given_up(conditions: list[dict[str, str]], text: str) -> None:
    found = alive(kubefed_cluster(*conditions))
    assert found.startswith(text)
    assert bool(found) is bool(text)


def test_what_a_malformed_list_of_things_left_lists() -> None:
    for text in ("{", "7", "{}", ""):
        entry = {"metadata": {"annotations": {"kubefed.io/left-behind": text}}}
        assert given_up.left_behind(entry) == frozenset()


@pytest.mark.parametrize(
    ("propagation", "running", "objects", "well"),
    [
        (True, True, 3, True),
        (True, None, 0, False),
        (True, False, 1, False),
        (True, False, 0, True),
        (False, False, 3, True),
    ],
)
def test_a_type_that_nobody_carries(
    propagation: bool, running: bool | None, objects: int, well: bool
) -> None:
    state = TypeState("configmaps", "FederatedConfigMap", propagation, running, objects)
    assert state.well is well
    assert Overview((), (state,), ()).healthy is well


def test_one_table() -> None:
    ready = Cluster.from_object(
        kubefed_cluster({"type": "Ready", "status": "True", "message": "ok"})
    )
    unknown = Cluster.from_object(kubefed_cluster())
    types = [
        TypeState("configmaps", "FederatedConfigMap", True, True, 3),
        TypeState("jobs.batch", "FederatedJob", False, None, 0),
        TypeState("secrets", "FederatedSecret", True, None, 1),
    ]
    problem = Problem("FederatedSecret shop/a", "palermo", "CreationFailed", "refused")
    table = rows(Overview((ready, unknown), tuple(types), (problem,)))
    endpoint = ready.endpoint
    assert table == [
        Row("cluster", "palermo", endpoint, "ready", "ok"),
        Row("cluster", "palermo", endpoint, "unknown", "not probed yet"),
        Row("type", "configmaps", "FederatedConfigMap", "running", "3 objects"),
        Row("type", "jobs.batch", "FederatedJob", "disabled", "0 objects"),
        Row("type", "secrets", "FederatedSecret", "unknown", "1 objects"),
        Row("object", "FederatedSecret shop/a", "palermo", "CreationFailed", "refused"),
    ]
