"""What is filled into upstream's manifests, and what its Deployment and pods say (pure)."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RELEASES = Path(__file__).parent / "kubefed-upstream"
TYPES_GROUP = "types.kubefed.io"
DIGEST_ANNOTATION = "kubefed-host/manifests"
CONFIG_ANNOTATION = "kubefed-host/kubefedconfig"
_SHOWN = 240


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a site decides of the manifests.

    Attributes:
        app: this application's name.
        namespace: the federation's.
        image: the controller manager's.
        config: of KubeFedConfig, what tells that it changed.
        groups: of the federated types.
    """

    app: str
    namespace: str
    image: str
    config: str
    groups: tuple[str, ...] = (TYPES_GROUP,)

    @property
    def digest(self) -> str:
        """What tells that the objects have to be written again."""
        files = sorted(path for path in RELEASES.rglob("*") if path.is_file())
        content = [path.read_text() for path in files]
        return digest_of([dataclasses.asdict(self), content])


@dataclasses.dataclass(frozen=True)
class State:
    """How upstream's controller manager is.

    Attributes:
        digest: what its objects were written from.
        wanted: its pods.
        ready: those of them that answer.
        problem: why the others don't, if they say so.
    """

    digest: str
    wanted: int
    ready: int
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Whether all pods are there and answer."""
        return self.ready >= self.wanted > 0

    @property
    def trouble(self) -> str:
        """Say what is wrong, if anything is."""
        if self.complete:
            return ""
        why = f": {self.problem}" if self.problem else ""
        return f"upstream's controller manager: {self.ready} of {self.wanted} pods ready{why}"


def release() -> str:
    """Return the release that is deployed, like v0.10.0."""
    return (RELEASES / "version").read_text().strip()


def digest_of(value: object) -> str:
    """Return a short text that is another one for another value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def groups_of(type_configs: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the groups of the federated types, from their FederatedTypeConfigs."""
    found = {str(each["spec"]["federatedType"].get("group") or "") for each in type_configs}
    return tuple(sorted((found - {""}) | {TYPES_GROUP}))


def state_of(deployment: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> State:
    """Read how the controller manager is."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    status: dict[str, Any] = deployment.get("status") or {}
    current = status.get("observedGeneration") == metadata.get("generation")
    # Pods of before a change are ready too, and not what is meant.
    ready = min(int(status.get("updatedReplicas") or 0), int(status.get("readyReplicas") or 0))
    return State(
        digest=str((metadata.get("annotations") or {}).get(DIGEST_ANNOTATION) or ""),
        wanted=int(spec.get("replicas") or 0),
        ready=ready if current else 0,
        problem=_problem(status, pods)[:_SHOWN],
    )


def _problem(status: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> str:
    for pod in pods:
        found: dict[str, Any] = pod.get("status") or {}
        for container in found.get("containerStatuses") or []:
            waiting: dict[str, Any] = (container.get("state") or {}).get("waiting") or {}
            # Every container waits while it is created.
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                return _said(waiting)
        for condition in found.get("conditions") or []:
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return _said(condition)
    for condition in status.get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return _said(condition)
    return ""


def _said(what: Mapping[str, Any]) -> str:
    parts = (str(what.get("reason") or ""), str(what.get("message") or ""))
    return ": ".join(part for part in parts if part)
