"""What a ReplicaSchedulingPreference reads and writes."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubefed.controller import replicas
from kubefed.controller.replicas import Observed

NOW = datetime.datetime(2026, 1, 1, 0, 2, 0, tzinfo=datetime.UTC)
LONG_AGO, JUST_NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"


def workload(wanted: int = 3, ready: int | None = None) -> dict[str, Any]:
    labels = {"matchLabels": {"b": "2", "a": "1"}}
    status = {} if ready is None else {"readyReplicas": ready}
    return {"spec": {"replicas": wanted, "selector": labels}, "status": status}


def pod(phase: str = "Running", *, ready: bool = True, waits: str = "") -> dict[str, Any]:
    conditions: list[dict[str, Any]] = []
    if ready:
        conditions.append({"type": "Ready", "status": "False"})
    if waits:
        conditions.append(
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "lastTransitionTime": waits,
            }
        )
    return {"status": {"phase": phase, "conditions": conditions}}


@pytest.mark.parametrize(
    ("wanted", "ready", "expected"), [(3, 3, 3), (3, 2, None), (3, None, None), (0, None, 0)]
)
def test_ready_replicas_count_when_all_are(
    wanted: int, ready: int | None, expected: int | None
) -> None:
    assert replicas.settled(workload(wanted, ready)) == expected


def test_pods_count_by_phase_and_a_ready_condition_of_any_state() -> None:
    pods = [pod(), pod(ready=False), pod("Pending")]
    assert replicas.from_pods(workload(), pods, NOW) == Observed(1)


def test_what_long_finds_no_node_limits_the_capacity() -> None:
    pods = [pod(), pod("Pending", waits=LONG_AGO), pod("Pending", waits=LONG_AGO)]
    assert replicas.from_pods(workload(), pods, NOW) == Observed(1, capacity=1)


def test_what_waits_for_a_short_time_says_nothing_yet() -> None:
    pods = [pod("Pending", waits=JUST_NOW), pod("Pending", waits="nonsense")]
    assert replicas.from_pods(workload(), pods, NOW) == Observed(0, unsure=True)


def test_the_selector() -> None:
    assert replicas.selector(workload()) == "a=1,b=2"


def test_expressions_select_too_and_none_selects_none() -> None:
    # v0.10.0 reads matchLabels only; all pods of the namespace would be counted without them.
    items = [
        {"key": "a", "operator": "In", "values": ["1", "2"]},
        {"key": "b", "operator": "Exists"},
        {"key": "c", "operator": "DoesNotExist"},
    ]
    assert replicas.selector({"spec": {"selector": {"matchExpressions": items}}}) == (
        "a in (1,2),b,!c"
    )
    assert replicas.selector({"spec": {}}) == ""


def test_a_plan_is_written_once() -> None:
    federated: dict[str, Any] = {"spec": {"placement": {"clusterSelector": {}}}}
    change = replicas.change(federated, {"b": 2, "a": 0})
    assert change == {
        "placement": {"clusters": [{"name": "a"}, {"name": "b"}]},
        "overrides": [
            {"clusterName": "a", "clusterOverrides": [{"path": "/spec/replicas", "value": 0}]},
            {"clusterName": "b", "clusterOverrides": [{"path": "/spec/replicas", "value": 2}]},
        ],
    }
    federated["spec"] |= change
    assert replicas.change(federated, {"b": 2, "a": 0}) is None


def test_other_overrides_stay_and_those_of_lost_clusters_go() -> None:
    other = {"path": "/spec/paused", "value": True}
    federated = {
        "spec": {
            "placement": {"clusters": [{"name": "a"}, {"name": "gone"}]},
            "overrides": [
                {
                    "clusterName": "gone",
                    "clusterOverrides": [{"path": "/spec/replicas", "value": 5}, other],
                },
                {
                    "clusterName": "a",
                    "clusterOverrides": [other, {"path": "/spec/replicas", "value": 5}],
                },
                {
                    "clusterName": "gone-too",
                    "clusterOverrides": [{"path": "/spec/replicas", "value": 5}],
                },
            ],
        }
    }
    change = replicas.change(federated, {"a": 6})
    assert change == {
        "placement": {"clusters": [{"name": "a"}]},
        "overrides": [
            {"clusterName": "gone", "clusterOverrides": [other]},
            {
                "clusterName": "a",
                "clusterOverrides": [other, {"path": "/spec/replicas", "value": 6}],
            },
        ],
    }


plans = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), min_size=1)
present = st.lists(
    st.fixed_dictionaries(
        {
            "clusterName": st.sampled_from("abcd"),
            "clusterOverrides": st.lists(
                st.fixed_dictionaries(
                    {
                        "path": st.sampled_from(["/spec/replicas", "/spec/paused"]),
                        "value": st.integers(0, 3),
                    },
                    optional={"op": st.sampled_from(["add", "replace", ""])},
                ),
                max_size=2,
            ),
        }
    ),
    max_size=3,
)


@given(plans, present)
def test_what_was_written_needs_no_second_write(
    plan: dict[str, int], before: list[dict[str, Any]]
) -> None:
    federated = {"spec": {"overrides": before}}
    change = replicas.change(federated, plan)
    assert change is not None
    assert replicas.change({"spec": change}, plan) is None
