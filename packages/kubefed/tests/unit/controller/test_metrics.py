"""Metrics have upstream's names, labels and values."""

from __future__ import annotations

import base64

import pytest
from kubefed.controller.member_cluster import token_end
from kubefed.controller.metrics import ERROR, READY, SUCCESS, Metrics
from prometheus_client import generate_latest

# KubeFed v0.10.0's pkg/metrics/metrics.go, and client-go's work queues.
UPSTREAM = {
    "kubefedcluster_total",
    "joined_cluster_total",
    "cluster_health_status_duration_seconds",
    "cluster_client_connection_duration_seconds",
    "reconcile_federated_resources_duration_seconds",
    "join_cluster_duration_seconds",
    "unjoin_cluster_duration_seconds",
    "dispatch_operation_duration_seconds",
    "controller_runtime_reconcile_duration_seconds",
    "controller_runtime_reconcile_quantile_seconds",
    "controller_runtime_reconcile_total",
    "controller_runtime_reconcile_errors_total",
    "controller_runtime_reconcile_time_seconds",
    "controller_runtime_max_concurrent_reconciles",
    "controller_runtime_active_workers",
    "workqueue_depth",
    "workqueue_adds_total",
    "workqueue_retries_total",
    "workqueue_queue_duration_seconds",
    "workqueue_work_duration_seconds",
    "workqueue_unfinished_work_seconds",
    "workqueue_longest_running_processor_seconds",
}


def scraped(metrics: Metrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_every_name_of_upstreams_is_there() -> None:
    lines = generate_latest(Metrics().registry).decode().splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert names >= UPSTREAM


def test_a_cluster_has_one_state_and_none_when_it_left() -> None:
    metrics = Metrics()
    metrics.cluster("one", READY)
    found = scraped(metrics)
    states = {
        state: found[f'kubefedcluster_total{{cluster="one",state="{state}"}}']
        for state in ("ready", "notready", "offline")
    }
    assert states == {"ready": 1, "notready": 0, "offline": 0}
    metrics.cluster("one", "")
    assert not [name for name in scraped(metrics) if "kubefedcluster_total" in name]


def test_when_a_members_token_ends() -> None:
    metrics = Metrics()
    name = 'kubefed_member_token_end_timestamp_seconds{cluster="one"}'
    metrics.token("one", 1790000000.0)
    assert scraped(metrics)[name] == 1790000000.0
    metrics.token("one", None)
    metrics.token("one", None)
    assert name not in scraped(metrics)


@pytest.mark.parametrize(
    ("claims", "end"),
    [
        (b'{"exp": 1790000000, "sub": "x"}', 1790000000.0),
        (b'{"sub": "of a Secret, which has no end"}', None),
        (b'{"exp": null}', None),
        (b"[]", None),
        (b"no JSON", None),
    ],
)
def test_what_a_token_says_of_its_end(claims: bytes, end: float | None) -> None:
    middle = base64.urlsafe_b64encode(claims).decode().rstrip("=")
    assert token_end(f"e30.{middle}.c2ln") == end


def test_a_token_of_another_form_has_no_end() -> None:
    assert [token_end(text) for text in ("", "word", "a.b.c", "a.\xff.c")] == [None] * 4


def test_a_controllers_work_is_counted() -> None:
    metrics = Metrics()
    queue = metrics.queue("federatedconfigmap", 16)
    for key, result in (("a", SUCCESS), ("b", ERROR)):
        queue.added(key)
        queue.started(key)
        queue.ended(key, result)
    queue.added("c")
    found = scraped(metrics)
    label = '{controller="federatedconfigmap"}'
    total = 'controller_runtime_reconcile_total{controller="federatedconfigmap",result='
    assert found[f'{total}"success"}}'] == 1
    assert found[f'{total}"error"}}'] == 1
    assert found[f"controller_runtime_reconcile_errors_total{label}"] == 1
    assert found[f"controller_runtime_max_concurrent_reconciles{label}"] == 16
    assert found[f"controller_runtime_active_workers{label}"] == 0
    assert found['workqueue_depth{name="federatedconfigmap"}'] == 1
    assert found['workqueue_adds_total{name="federatedconfigmap"}'] == 3
