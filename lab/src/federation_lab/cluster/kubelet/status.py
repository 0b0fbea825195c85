"""A pod's status as a kubelet writes it: a function of what was observed of its containers."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

from federation_lab.cluster.kube import Object
from federation_lab.cluster.kubelet.lifecycle import restarts

RUNTIME = "lab"


@dataclasses.dataclass(frozen=True)
class Waiting:
    """Not running, and why."""

    reason: str
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Running:
    """A process is there."""

    started_at: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Terminated:
    """The process ended."""

    exit_code: int
    reason: str
    started_at: datetime.datetime | None
    finished_at: datetime.datetime
    message: str = ""
    container_id: str = ""


State = Waiting | Running | Terminated


@dataclasses.dataclass
class ContainerView:
    """What is known of one container.

    Attributes:
        sidecar: an init container with ``restartPolicy: Always``.
    """

    name: str
    image: str
    image_id: str = ""
    state: State = dataclasses.field(default_factory=lambda: Waiting("ContainerCreating"))
    last: Terminated | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""
    sidecar: bool = False


@dataclasses.dataclass
class PodView:
    """What is known of one pod."""

    init: list[ContainerView]
    containers: list[ContainerView]
    started_at: datetime.datetime
    host_ip: str
    pod_ip: str = ""
    sandbox: bool = False
    deadline_exceeded: bool = False


def timestamp(when: datetime.datetime) -> str:
    """Give a time as Kubernetes writes it."""
    return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> datetime.datetime | None:
    """Read a time of Kubernetes'."""
    return datetime.datetime.fromisoformat(text) if text else None


def phase(pod: Object, view: PodView) -> str:
    """Give the pod's phase."""
    policy = pod["spec"].get("restartPolicy", "Always")
    if view.deadline_exceeded:
        return "Failed"
    for container in view.init:
        state = container.state
        if not isinstance(state, Terminated):
            if not container.sidecar or not container.started:
                return "Pending"
        elif state.exit_code and policy == "Never":
            return "Failed"
        elif state.exit_code and not container.sidecar:
            return "Pending"
    over = [c.state for c in view.containers if isinstance(c.state, Terminated)]
    done = [state for state in over if not restarts(policy, state.exit_code)]
    if len(done) == len(view.containers):
        return "Failed" if any(state.exit_code for state in done) else "Succeeded"
    if any(isinstance(c.state, Waiting) and c.last is None for c in view.containers):
        return "Pending"
    return "Running"


def build(pod: Object, view: PodView, now: datetime.datetime) -> Object:
    """Give the whole status; conditions that others wrote are kept."""
    status: Object = {
        "phase": phase(pod, view),
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "startTime": timestamp(view.started_at),
        "containerStatuses": [_container(c) for c in view.containers],
    }
    if view.init:
        status["initContainerStatuses"] = [_container(c) for c in view.init]
    if view.pod_ip:
        status["podIP"] = view.pod_ip
        status["podIPs"] = [{"ip": view.pod_ip}]
    if view.deadline_exceeded:
        status["reason"] = "DeadlineExceeded"
        status["message"] = "Pod was active on the node longer than the specified deadline"
    if generation := pod["metadata"].get("generation"):
        status["observedGeneration"] = generation
    status["conditions"] = _conditions(pod, view, status["phase"], now)
    return status


def view_from_status(status: Object, spec: Object, now: datetime.datetime) -> ContainerView:
    """Give what an earlier life of this kubelet left behind in a container's status.

    What ran then runs no more: pods do not outlive their kubelet here.
    """
    view = ContainerView(name=spec["name"], image=spec["image"])
    view.restarts = int(status.get("restartCount") or 0)
    state: Object = status.get("state") or {}
    last: Object = status.get("lastState") or {}
    if ended := state.get("terminated"):
        view.state = _terminated(ended)
    elif running := state.get("running"):
        view.last = Terminated(
            exit_code=137,
            reason="ContainerStatusUnknown",
            started_at=parse_time(running.get("startedAt")),
            finished_at=now,
            message="The container was gone when its kubelet came back",
            container_id=status.get("containerID") or "",
        )
        view.restarts += 1
    if view.last is None and (ended := last.get("terminated")):
        view.last = _terminated(ended)
    return view


def _conditions(pod: Object, view: PodView, phase_: str, now: datetime.datetime) -> list[Object]:
    known: dict[str, Object] = {
        item["type"]: item for item in (pod.get("status") or {}).get("conditions") or []
    }
    over = phase_ in ("Succeeded", "Failed")
    unready = [c.name for c in view.containers if not c.ready]
    uninitialized = [c.name for c in view.init if not (c.started if c.sidecar else _succeeded(c))]
    containers_ready: tuple[bool, str, str] = (not unready, "", "")
    if over:
        containers_ready = (False, "PodCompleted" if phase_ == "Succeeded" else "PodFailed", "")
    elif unready:
        text = f"containers with unready status: [{' '.join(unready)}]"
        containers_ready = (False, "ContainersNotReady", text)
    initialized: tuple[bool, str, str] = (not uninitialized, "", "")
    if uninitialized:
        text = f"containers with incomplete status: [{' '.join(uninitialized)}]"
        initialized = (False, "ContainersNotInitialized", text)
    elif phase_ == "Succeeded":
        initialized = (True, "PodCompleted", "")
    wanted = {
        "PodReadyToStartContainers": (view.sandbox, "", ""),
        "Initialized": initialized,
        "Ready": _ready(pod, containers_ready, known),
        "ContainersReady": containers_ready,
        "PodScheduled": (True, "", ""),
    }
    result = [item for kind, item in known.items() if kind not in wanted]
    for kind, (good, reason, message) in wanted.items():
        result.append(_condition(pod, kind, good, reason, message, known.get(kind), now))
    return result


def _ready(
    pod: Object, containers: tuple[bool, str, str], known: dict[str, Object]
) -> tuple[bool, str, str]:
    for gate in pod["spec"].get("readinessGates") or []:
        kind = gate["conditionType"]
        if containers[0] and known.get(kind, {}).get("status") != "True":
            return False, "ReadinessGatesNotReady", f'condition "{kind}" is not "True"'
    return containers


def _condition(
    pod: Object,
    kind: str,
    good: bool,
    reason: str,
    message: str,
    known: Object | None,
    now: datetime.datetime,
) -> Object:
    value = "True" if good else "False"
    since = timestamp(now)
    if known is not None and known.get("status") == value:
        since = known.get("lastTransitionTime") or since
    condition: Object = {
        "type": kind,
        "status": value,
        "lastProbeTime": None,
        "lastTransitionTime": since,
    }
    if generation := pod["metadata"].get("generation"):
        condition["observedGeneration"] = generation
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _container(view: ContainerView) -> Object:
    return {
        "name": view.name,
        "image": view.image,
        "imageID": view.image_id,
        "containerID": view.container_id,
        "ready": view.ready,
        "started": view.started,
        "restartCount": view.restarts,
        "state": _state(view.state, view.container_id),
        "lastState": _state(view.last, "") if view.last else {},
    }


def _state(state: State, container_id: str) -> Object:
    if isinstance(state, Waiting):
        detail = {"reason": state.reason}
        return {"waiting": {**detail, **({"message": state.message} if state.message else {})}}
    if isinstance(state, Running):
        return {"running": {"startedAt": timestamp(state.started_at)}}
    ended: Object = {
        "exitCode": state.exit_code,
        "reason": state.reason,
        "startedAt": timestamp(state.started_at) if state.started_at else None,
        "finishedAt": timestamp(state.finished_at),
    }
    if identity := state.container_id or container_id:
        ended["containerID"] = identity
    if state.message:
        ended["message"] = state.message
    return {"terminated": ended}


def _terminated(ended: dict[str, Any]) -> Terminated:
    epoch = datetime.datetime.fromtimestamp(0, datetime.UTC)
    return Terminated(
        exit_code=int(ended.get("exitCode") or 0),
        reason=str(ended.get("reason") or "Error"),
        started_at=parse_time(ended.get("startedAt")),
        finished_at=parse_time(ended.get("finishedAt")) or epoch,
        message=str(ended.get("message") or ""),
        container_id=str(ended.get("containerID") or ""),
    )


def _succeeded(view: ContainerView) -> bool:
    return isinstance(view.state, Terminated) and view.state.exit_code == 0


def unready(views: Sequence[ContainerView]) -> None:
    """Mark containers as not ready, as when their pod is told to end."""
    for view in views:
        view.ready = False
