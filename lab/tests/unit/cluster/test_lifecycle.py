import pytest
from federation_lab.cluster.kubelet.lifecycle import Backoff, Probe, restarts


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 1, False),
    ],
)
def test_who_is_started_again(policy: str, code: int, again: bool) -> None:
    assert restarts(policy, code) is again


def test_the_first_restart_is_at_once_and_then_waits_double() -> None:
    backoff = Backoff()
    assert [backoff.after_run(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_long_run_is_forgiven() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after_run(1)
    assert backoff.after_run(601) == 0


def test_readiness_begins_failing_and_follows_thresholds() -> None:
    probe = Probe("readiness", {"successThreshold": 2, "failureThreshold": 2})
    assert probe.verdict == "failure"
    assert [probe.record(answer) for answer in (True, True, False, True, False, False)] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]


def test_liveness_begins_well_and_needs_three_failures() -> None:
    probe = Probe("liveness", {})
    assert probe.verdict == "success"
    assert [probe.record(False) for _ in range(4)] == [False, False, True, False]


def test_startup_knows_nothing_at_first() -> None:
    probe = Probe("startup", {"failureThreshold": 1})
    assert probe.verdict == "unknown"
    assert probe.record(True)
    assert (probe.period, probe.timeout, probe.initial_delay) == (10, 1, 0)
