"""The Propagation condition and the clusters' entries."""

from __future__ import annotations

from typing import Any

import pytest
from kubefed.api import AggregateReason, PropagationStatus
from kubefed.controller import status
from kubefed.controller.status import Outcome

OK, FAILED = PropagationStatus.OK, PropagationStatus.UPDATE_FAILED
THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def federated(present: Any = None, generation: int = 1) -> dict[str, Any]:
    meta = {"name": "web", "generation": generation}
    return {"metadata": meta} | ({"status": present} if present else {})


def test_the_shape_of_success() -> None:
    rendered = status.render(federated(), Outcome(clusters={"b": OK, "a": OK}), NOW)
    assert rendered == {
        "observedGeneration": 1,
        "conditions": [
            {
                "type": "Propagation",
                "status": "True",
                "lastUpdateTime": NOW,
                "lastTransitionTime": NOW,
            }
        ],
        "clusters": [{"name": "a"}, {"name": "b"}],
    }


def test_a_cluster_that_is_not_in_order_is_to_be_checked() -> None:
    rendered = status.render(federated(), Outcome(clusters={"a": FAILED}), NOW)
    assert rendered is not None
    assert rendered["conditions"][0]["reason"] == "CheckClusters"
    assert rendered["conditions"][0]["status"] == "False"
    assert rendered["clusters"] == [{"name": "a", "status": "UpdateFailed"}]


def test_the_same_is_not_written_twice_whatever_its_order() -> None:
    outcome = Outcome(clusters={"a": OK, "b": FAILED})
    present = status.render(federated(), outcome, THEN)
    assert present is not None
    present["clusters"].reverse()
    assert status.render(federated(present), outcome, NOW) is None


def test_a_new_generation_is_written_and_keeps_the_transition_time() -> None:
    outcome = Outcome(clusters={"a": OK})
    present = status.render(federated(), outcome, THEN)
    rendered = status.render(federated(present, generation=2), outcome, NOW)
    assert rendered is not None
    assert rendered["observedGeneration"] == 2
    assert rendered["conditions"][0]["lastTransitionTime"] == THEN
    assert rendered["conditions"][0]["lastUpdateTime"] == NOW


def test_an_update_of_a_member_is_noted() -> None:
    present = status.render(federated(), Outcome(clusters={"a": OK}), THEN)
    rendered = status.render(federated(present), Outcome(clusters={"a": OK}, updated=True), NOW)
    assert rendered is not None
    assert rendered["conditions"][0]["lastUpdateTime"] == NOW


def test_a_reason_of_the_whole_wins() -> None:
    reason = AggregateReason.NAMESPACE_NOT_FEDERATED
    rendered = status.render(federated(), Outcome(reason, {"a": FAILED}), NOW)
    assert rendered is not None
    assert rendered["conditions"][0]["reason"] == "NamespaceNotFederated"


def test_waiting_for_removal_counts_as_to_be_checked() -> None:
    clusters = {"a": PropagationStatus.WAITING_FOR_REMOVAL}
    rendered = status.render(federated(), Outcome(clusters=clusters), NOW)
    assert rendered is not None
    assert rendered["conditions"][0]["reason"] == "CheckClusters"


def test_remote_status_is_collected_and_its_absence_is_to_be_checked() -> None:
    collected = Outcome(clusters={"a": OK, "b": OK}, remote={"a": {"ready": 1}})
    rendered = status.render(federated(), collected, NOW)
    assert rendered is not None
    assert rendered["clusters"][0] == {"name": "a", "remoteStatus": {"ready": 1}}
    assert rendered["conditions"][0]["reason"] == "CheckClusters"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (PropagationStatus.CREATION_FAILED, True),
        (PropagationStatus.UPDATE_TIMED_OUT, True),
        (PropagationStatus.CLUSTER_NOT_READY, False),
        (PropagationStatus.MANAGED_LABEL_FALSE, False),
    ],
)
def test_what_trying_again_can_help(state: PropagationStatus, expected: bool) -> None:
    assert status.recoverable(Outcome(clusters={"a": OK, "b": state})) is expected
