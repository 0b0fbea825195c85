"""Thresholds that hold, the regions' verdict, and the conditions' shapes."""

from __future__ import annotations

import pytest
from kubefed.controller import health
from kubefed.controller.health import Probe, Region, Thresholds, Track, Verdict

LIMITS = Thresholds(failure=3, success=2)
READY = Track(published=Probe.OK, last=Probe.OK, successes=99)
AWAY = Track(published=Probe.UNREACHABLE, last=Probe.UNREACHABLE, failures=9)
CALM = Verdict(decided=True, regions={"a": Region(evicted=False)})
EVICTED = Verdict(decided=True, regions={"a": Region(evicted=True)})
TORN = Verdict(decided=False, regions={"a": Region(evicted=True)})


def after(track: Track, *probes: Probe, verdict: Verdict | None = health.ALONE) -> Track:
    for probe in probes:
        track = health.observe(track, probe)
        if verdict is health.ALONE:
            track = health.judge(track, LIMITS)
        else:
            track = health.judge_with(track, LIMITS, verdict, "a")
    return track


def test_a_long_ready_cluster_needs_three_failures_in_a_row() -> None:
    # Upstream's issue 1496: one failed probe was enough.
    lost = Probe.UNREACHABLE
    assert after(READY, lost).ready
    assert after(READY, lost, lost).ready
    assert not after(READY, lost, lost, lost).ready
    assert after(READY, lost, lost, Probe.OK, lost, lost).ready


def test_a_credential_that_is_bad_for_a_moment_is_borne_like_a_lost_probe() -> None:
    # Karmada's issue 7408: it made the cluster not ready at once, past the threshold.
    bad = Probe.MALFORMED
    assert after(READY, bad, bad).ready
    assert after(READY, bad, bad, bad).published is bad


def test_it_needs_as_many_good_probes_to_be_back() -> None:
    assert not after(AWAY, Probe.OK).ready
    assert after(AWAY, Probe.OK, Probe.OK).ready
    assert not after(AWAY, Probe.OK, Probe.NOT_OK, Probe.OK).ready


def test_a_new_cluster_gets_the_first_probes_word() -> None:
    assert after(Track(), Probe.OK).ready
    assert after(Track(), Probe.NOT_OK).published is Probe.NOT_OK


def test_one_that_is_not_ready_changes_its_reason_at_once() -> None:
    assert after(AWAY, Probe.MALFORMED).published is Probe.MALFORMED


def test_the_regions_are_asked_before_a_cluster_is_called_not_ready() -> None:
    probes = [Probe.UNREACHABLE] * 9
    assert after(READY, *probes, verdict=CALM).ready
    assert after(READY, *probes, verdict=None).ready
    assert after(READY, *probes, verdict=TORN).ready
    assert not after(READY, Probe.OK, verdict=EVICTED).ready
    # But nothing is sent to one that doesn't answer.
    assert not health.reachable(after(READY, *probes, verdict=CALM), LIMITS)


def test_without_a_verdict_a_cluster_does_not_come_back_either() -> None:
    good = [Probe.OK] * 5
    assert not after(AWAY, *good, verdict=None).ready
    assert not after(AWAY, *good, verdict=TORN).ready
    assert not after(AWAY, *good, verdict=EVICTED).ready
    assert after(AWAY, *good, verdict=CALM).ready


def test_a_cluster_that_joins_meanwhile_is_judged_by_its_probe() -> None:
    assert after(Track(), Probe.OK, verdict=None).ready


def test_a_region_that_nobody_speaks_of_stays_as_it_is() -> None:
    silent = Verdict(decided=True)
    assert after(READY, *[Probe.UNREACHABLE] * 9, verdict=silent).ready


@pytest.mark.parametrize(
    ("answer", "decided", "evicted"),
    [
        ({"quorum": True, "panic": False, "regions": {"a": {"evicted": True}}}, True, True),
        ({"quorum": True, "regions": {"a": {"evicted": "yes"}}}, True, False),
        ({"quorum": False, "regions": {"a": {"evicted": True}}}, False, True),
        ({"quorum": True, "panic": True, "regions": {"a": {}}}, False, False),
        ({"regions": {"a": None}}, False, False),
    ],
)
def test_reading_a_verdict(answer: dict[str, object], decided: bool, evicted: bool) -> None:
    verdict = health.parse_verdict(answer)
    assert verdict.decided is decided
    assert verdict.regions["a"].evicted is evicted
    assert health.frozen(verdict) is not decided


def test_no_verdict_freezes_and_none_asked_does_not() -> None:
    assert health.frozen(None)
    assert not health.frozen(health.ALONE)


THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Probe.OK, [("Ready", "True", "ClusterReady", "/healthz responded with ok")]),
        (
            Probe.NOT_OK,
            [
                ("Ready", "False", "ClusterNotReady", "/healthz responded without ok: why"),
                ("Offline", "False", "ClusterReachable", "cluster is reachable"),
            ],
        ),
        (
            Probe.UNREACHABLE,
            [("Offline", "True", "ClusterNotReachable", "cluster is not reachable: why")],
        ),
        (
            Probe.MALFORMED,
            [
                (
                    "ConfigMalformed",
                    "True",
                    "ClusterConfigMalformed",
                    "cluster's configuration may be malformed: why",
                )
            ],
        ),
    ],
)
def test_the_four_shapes(state: Probe, expected: list[tuple[str, str, str, str]]) -> None:
    made = health.conditions(state, [], NOW, "why")
    found = [(item["type"], item["status"], item["reason"], item["message"]) for item in made]
    assert found == expected
    assert all(item["lastProbeTime"] == NOW for item in made)
    assert health.published({"status": {"conditions": made}}) is state


def test_what_bars_writes_is_said_beside_the_state() -> None:
    made = health.conditions(Probe.OK, [], NOW, "another cluster", malformed=True)
    assert [(item["type"], item["status"]) for item in made] == [
        ("Ready", "True"),
        ("ConfigMalformed", "True"),
    ]
    assert made[1]["message"].endswith("may be malformed: another cluster")
    assert health.published({"status": {"conditions": made}}) is Probe.OK
    assert len(health.conditions(Probe.MALFORMED, [], NOW, malformed=True)) == 1


def test_a_transition_time_holds_while_the_status_does() -> None:
    before = health.conditions(Probe.OK, [], THEN)
    assert health.conditions(Probe.OK, before, NOW)[0]["lastTransitionTime"] == THEN
    assert health.conditions(Probe.NOT_OK, before, NOW)[0]["lastTransitionTime"] == NOW


def test_a_cluster_without_conditions_was_never_judged() -> None:
    assert health.published({}) is None
