import datetime
from typing import Any

import pytest
from federation_lab.cluster.kubelet import status
from federation_lab.cluster.kubelet.status import (
    ContainerView,
    PodView,
    Running,
    State,
    Terminated,
    Waiting,
)

NOW = datetime.datetime(2026, 11, 23, 0, 0, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(seconds=5)
RUNNING = Running(NOW)
WAITING = Waiting("ContainerCreating")


def ended(code: int) -> Terminated:
    return Terminated(code, "Error" if code else "Completed", NOW, LATER)


def pod(policy: str = "Always", **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 3},
        "spec": {"restartPolicy": policy, "containers": [], **fields},
        "status": {},
    }


def view(*states: State, init: list[ContainerView] | None = None, ready: bool = True) -> PodView:
    containers = [
        ContainerView(f"c{n}", "i", state=s, ready=ready and isinstance(s, Running))
        for n, s in enumerate(states)
    ]
    return PodView(init or [], containers, NOW, "10.0.0.1", "10.1.0.2", sandbox=True)


@pytest.mark.parametrize(
    ("policy", "states", "phase"),
    [
        ("Always", [WAITING], "Pending"),
        ("Always", [RUNNING, WAITING], "Pending"),
        ("Always", [RUNNING, RUNNING], "Running"),
        ("Always", [ended(0)], "Running"),
        ("OnFailure", [ended(0)], "Succeeded"),
        ("OnFailure", [ended(1)], "Running"),
        ("Never", [ended(0), ended(1)], "Failed"),
        ("Never", [ended(0), RUNNING], "Running"),
    ],
)
def test_phases(policy: str, states: list[State], phase: str) -> None:
    assert status.phase(pod(policy), view(*states)) == phase


def test_a_crash_loop_is_running() -> None:
    seen = view(Waiting("CrashLoopBackOff"))
    seen.containers[0].last = ended(1)
    assert status.phase(pod(), seen) == "Running"


@pytest.mark.parametrize(
    ("policy", "state", "phase"),
    [
        ("Always", RUNNING, "Pending"),
        ("Always", ended(0), "Running"),
        ("Always", ended(1), "Pending"),
        ("Never", ended(1), "Failed"),
    ],
)
def test_init_containers_come_first(policy: str, state: State, phase: str) -> None:
    init = [ContainerView("init", "i", state=state)]
    assert status.phase(pod(policy), view(RUNNING, init=init)) == phase


def test_a_started_sidecar_is_no_hindrance() -> None:
    sidecar = ContainerView("s", "i", state=RUNNING, sidecar=True)
    assert status.phase(pod(), view(RUNNING, init=[sidecar])) == "Pending"
    sidecar.started = True
    assert status.phase(pod(), view(RUNNING, init=[sidecar])) == "Running"


def conditions(written: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: c["status"] for c in written["conditions"]}


def test_a_ready_pod() -> None:
    written = status.build(pod(), view(RUNNING), NOW)
    assert written["phase"] == "Running"
    assert written["podIPs"] == [{"ip": "10.1.0.2"}]
    assert written["observedGeneration"] == 3
    assert set(conditions(written).values()) == {"True"}
    (container,) = written["containerStatuses"]
    assert container["state"] == {"running": {"startedAt": "2026-11-23T00:00:00Z"}}


def test_an_unready_container_is_named() -> None:
    written = status.build(pod(), view(RUNNING, ready=False), NOW)
    (ready,) = [c for c in written["conditions"] if c["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert "[c0]" in ready["message"]


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    known = pod()
    known["status"] = status.build(known, view(RUNNING), NOW)
    again = status.build(known, view(RUNNING), LATER)
    assert {c["lastTransitionTime"] for c in again["conditions"]} == {"2026-11-23T00:00:00Z"}
    lost = status.build(known, view(RUNNING, ready=False), LATER)
    times = {c["type"]: c["lastTransitionTime"] for c in lost["conditions"]}
    assert times["Ready"] == "2026-11-23T00:00:05Z"


def test_conditions_of_others_and_readiness_gates() -> None:
    known = pod(readinessGates=[{"conditionType": "example.org/in"}])
    known["status"] = {"conditions": [{"type": "example.org/in", "status": "False"}]}
    written = status.build(known, view(RUNNING), NOW)
    assert conditions(written)["example.org/in"] == "False"
    assert conditions(written)["Ready"] == "False"
    assert conditions(written)["ContainersReady"] == "True"


def test_a_completed_pod() -> None:
    written = status.build(pod("Never"), view(ended(0)), NOW)
    assert written["phase"] == "Succeeded"
    reasons = {c["type"]: c.get("reason") for c in written["conditions"]}
    assert reasons["Ready"] == "PodCompleted"
    assert written["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


def test_a_pod_past_its_deadline() -> None:
    late = view(ended(143))
    late.deadline_exceeded = True
    written = status.build(pod(), late, NOW)
    assert (written["phase"], written["reason"]) == ("Failed", "DeadlineExceeded")


def test_what_ran_when_the_machine_died_counts_as_a_restart() -> None:
    written = status.build(pod(), view(RUNNING), NOW)["containerStatuses"][0]
    found = status.view_from_status(written, {"name": "c0", "image": "i"}, LATER)
    assert found.restarts == 1
    assert found.last is not None
    assert found.last.exit_code == 137
    assert isinstance(found.state, Waiting)


def test_what_had_ended_stays_ended() -> None:
    written = status.build(pod("Never"), view(ended(3)), NOW)["containerStatuses"][0]
    found = status.view_from_status(written, {"name": "c0", "image": "i"}, LATER)
    assert isinstance(found.state, Terminated)
    assert (found.state.exit_code, found.restarts) == (3, 0)
