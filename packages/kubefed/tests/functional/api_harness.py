"""Good objects of the federation's kinds, and ways to spoil them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
from federation_lab.cluster.control_plane import ControlPlane
from federation_lab.cluster.loopback import Programs, programs
from kubefed import clients
from kubefed.api import (
    KUBEFED_CLUSTER,
    FederatedType,
    KubeFedConfig,
    Manifest,
    TargetKind,
    TypeConfig,
)
from kubefed.clients import Resources
from kubernetes.client import ApiClient

# Not the namespace of the controller's tests: both use the same clusters.
FEDERATION = "crds-test"


@contextlib.contextmanager
def programs_of(
    names: Iterable[str], binaries: Path, factory: pytest.TempPathFactory
) -> Generator[dict[str, Programs]]:
    """Control planes, empty at first; they run until the block is left."""
    with contextlib.ExitStack() as stack:
        # Started one after the other, stopped together: two cores gain nothing from a race.
        yield {
            name: stack.enter_context(
                programs(name, factory.mktemp(name), binaries, controllers=True)
            )
            for name in names
        }


@contextlib.contextmanager
def control_planes(
    names: Iterable[str], binaries: Path, factory: pytest.TempPathFactory
) -> Generator[dict[str, ControlPlane]]:
    """The same, for who lets their programs alone."""
    with programs_of(names, binaries, factory) as made:
        yield {name: each.plane for name, each in made.items()}


def admin(plane: ControlPlane) -> ApiClient:
    return clients.from_kubeconfig(plane.directory / "admin.kubeconfig", plane.name)


def merged_kubeconfig(planes: Iterable[ControlPlane], current: str) -> Manifest:
    """One kubeconfig with a context for each control plane."""
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": current}
    for plane in planes:
        one: dict[str, Any] = plane.kubeconfig()
        for part in ("clusters", "users", "contexts"):
            merged.setdefault(part, []).extend(one[part])
    return merged


def federated(kind: TargetKind, name: str, **metadata: Any) -> Manifest:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {},
    }


def cluster() -> Manifest:
    return {
        "apiVersion": KUBEFED_CLUSTER.api_version,
        "kind": KUBEFED_CLUSTER.kind,
        "metadata": {"name": "palermo", "namespace": FEDERATION},
        "spec": {"apiEndpoint": "https://10.0.0.1:6443", "secretRef": {"name": "palermo-token"}},
    }


def type_config() -> Manifest:
    widgets = TargetKind("example.com", "v1", "Widget", "widgets")
    status = TargetKind("status.example.com", "v1", "WidgetStatus", "widgetstatuses")
    return TypeConfig(FederatedType.of(widgets), status_type=status).to_object(FEDERATION)


def config() -> Manifest:
    manifest = KubeFedConfig().to_object(FEDERATION)
    # The rules hold for any name, so the installed one is left alone.
    manifest["metadata"]["name"] = "another"
    return manifest


def changed(manifest: Manifest, path: str, value: object) -> Manifest:
    """Set (or, by None, drop) a field given by its path."""
    result = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    place = result
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        place.pop(last)
    else:
        place[last] = value
    return result


def change(path: str, value: object) -> Manifest:
    """The JSON merge patch that does the same."""
    result: Any = value
    for name in reversed(path.split(".")):
        result = {name: result}
    return result


def write_status(
    host: Resources, kind: TargetKind, name: str, status: Manifest, namespace: str = FEDERATION
) -> None:
    host.request(
        "PATCH",
        f"{kind.path(namespace, name)}/status",
        body={"status": status},
        content_type="application/merge-patch+json",
        what="write a status",
    )
