"""Upstream's controller manager v0.10.0 and ours, one after the other on the same federation.

Upstream's runs by the account and the rights that `kubefed init` makes, on the settings and kinds
that `kubefed init` makes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from federation_lab.cluster.control_plane import ControlPlane
from kubefed import install
from kubefed.api import (
    CONFIG_MAP,
    DEPLOYMENT,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CONFIG,
    MANAGED_LABEL,
    NAMESPACE,
    PROPAGATED_VERSION,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    FederatedType,
    Manifest,
    TargetKind,
)
from kubefed.clients import Resources
from standalone_harness import controller, eventually, objects, shell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

FEDERATION = "takeover-test"
PLACE = "taken"
KINDS = (NAMESPACE, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, SERVICE, DEPLOYMENT)
LABELS = {"app": "web"}
# Of upstream's periods those that a start waits for: the former leader's lease, the first probes.
QUICK: Manifest = {
    "leaderElect": {"leaseDuration": "3s", "renewDeadline": "2s", "retryPeriod": "1s"},
    "clusterHealthCheck": {"period": "1s"},
    "controllerDuration": {"availableDelay": "1s"},
}
POD: Manifest = {
    "metadata": {"labels": LABELS},
    "spec": {"containers": [{"name": "web", "image": "registry.example.org/web:1"}]},
}
TEMPLATES: dict[TargetKind, Manifest] = {
    NAMESPACE: {"metadata": {"labels": {"team": "shop"}}},
    CONFIG_MAP: {"data": {"color": "red", "sign": "<&>", "empty": ""}},
    SECRET: {"type": "Opaque", "data": {"key": "dmFsdWU="}},
    SERVICE_ACCOUNT: {"metadata": {"labels": LABELS}},
    SERVICE: {
        "spec": {"selector": LABELS, "type": "NodePort", "ports": [{"name": "http", "port": 80}]}
    },
    DEPLOYMENT: {"spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": POD}},
}
OVERRIDES: dict[TargetKind, Manifest] = {
    CONFIG_MAP: {"path": "/data/color", "value": "blue"},
    DEPLOYMENT: {"path": "/spec/replicas", "value": 3},
    SERVICE: {"op": "add", "path": "/metadata/annotations", "value": {"note": "here"}},
}


def federated(kind: TargetKind) -> Manifest:
    types = FederatedType.of(kind).federated
    spec: Manifest = {"template": TEMPLATES[kind], "placement": {"clusterSelector": {}}}
    if kind in OVERRIDES:
        spec["overrides"] = [{"clusterName": "palermo", "clusterOverrides": [OVERRIDES[kind]]}]
    return {
        "apiVersion": types.api_version,
        "kind": types.kind,
        "metadata": {"name": PLACE if kind == NAMESPACE else "web", "namespace": PLACE},
        "spec": spec,
    }


def carried(host: Resources) -> bool:
    """Whether every federated object says that it is where it should be."""
    for kind in KINDS:
        for item in host.list(FederatedType.of(kind).federated, PLACE):
            status: dict[str, Any] = item.get("status") or {}
            conditions = status.get("conditions") or [{}]
            current = status.get("observedGeneration") == item["metadata"]["generation"]
            if conditions[0].get("status") != "True" or not current:
                return False
    return True


def photo(host: Resources, members: Mapping[str, Resources]) -> dict[str, Any]:
    """Everything that was carried, with its versions, and what the host remembers of them."""
    found: dict[str, Any] = {}
    for name, member in members.items():
        for kind in KINDS:
            for item in member.list(kind, selector=f"{MANAGED_LABEL}=true"):
                metadata = item["metadata"]
                # A Deployment's status is written by its cluster; its generation isn't.
                by = "generation" if kind == DEPLOYMENT else "resourceVersion"
                key = f"{name} {kind.kind} {metadata['name']}"
                found[key] = (metadata["uid"], metadata[by], item.get("spec"), item.get("data"))
    for item in host.list(PROPAGATED_VERSION, PLACE):
        found[f"PropagatedVersion {item['metadata']['name']}"] = item["status"]
    return found


def at_rest(host: Resources, members: Mapping[str, Resources]) -> dict[str, Any]:
    """The photo of a federation in which nothing has been written for a while."""
    found = photo(host, members)
    for _ in range(10):
        time.sleep(2)
        before, found = found, photo(host, members)
        if found == before:
            return found
    raise AssertionError("what was carried doesn't come to rest")


def repaint(host: Resources, members: Mapping[str, Resources], color: str, log: Path) -> None:
    """Change one object, and see that whoever controls the federation carries it."""
    kind = FederatedType.of(CONFIG_MAP).federated
    host.patch(kind, "other", PLACE, {"spec": {"template": {"data": {"color": color}}}})

    def painted() -> bool:
        found = [member.get(CONFIG_MAP, "other", PLACE) or {} for member in members.values()]
        return all((each.get("data") or {}).get("color") == color for each in found)

    eventually(painted, 60, f"{color} in all members", log)


def account(trio: Mapping[str, ControlPlane], path: Path) -> Path:
    """A kubeconfig of the controller's own account in the host."""
    plane = trio["catania"]
    admin = objects(plane.directory / "admin.kubeconfig", plane.name)
    token = install.controller_credentials(
        admin.api, namespace=FEDERATION, lifetime=timedelta(hours=1)
    )
    kubeconfig: dict[str, Any] = plane.kubeconfig()
    kubeconfig["users"][0]["user"] = {"token": token.token}
    path.write_text(json.dumps(kubeconfig))
    return path


def test_either_takes_over_from_the_other_without_a_write(
    trio: Mapping[str, ControlPlane],
    kubeconfig: Path,
    environment: dict[str, str],
    upstream_manager: Path,
    tmp_path: Path,
) -> None:
    suffix = f"--kubefed-namespace={FEDERATION}"
    host = objects(kubeconfig, "catania")
    members = {name: objects(kubeconfig, name) for name in ("palermo", "napoli")}
    shell(f"kubefed init {suffix}", environment)
    host.patch(KUBEFED_CONFIG, "kubefed", FEDERATION, {"spec": QUICK})
    for name in members:
        # Other tests' federations have left their workloads there.
        shell(f"kubefed join {name} --release-orphans {suffix}", environment)
    rights = account(trio, tmp_path / "account")
    log = tmp_path / "log"
    upstreams = f"{upstream_manager} --kubeconfig={rights} {suffix} --healthz-addr=127.0.0.1:0"
    upstreams += " --metrics-addr=127.0.0.1:0"
    ours = f"kubefed controller --kubeconfig={rights} {suffix}"

    host.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE}})
    for kind in KINDS:
        host.create(FederatedType.of(kind).federated, federated(kind))
    other = federated(CONFIG_MAP)
    other["metadata"]["name"] = "other"
    del other["spec"]["overrides"]
    host.create(FederatedType.of(CONFIG_MAP).federated, other)

    with controller(upstreams, environment, log, status=None):
        eventually(lambda: carried(host), 90, "what upstream's carries", log)
        repaint(host, members, "green", log)
        eventually(lambda: carried(host), 60, "the new color", log)
        before = at_rest(host, members)
    kept = {key: value for key, value in before.items() if not key.endswith("other")}
    assert len(kept) == len(members) * len(KINDS) + len(KINDS)

    with controller(ours, environment, log):
        repaint(host, members, "yellow", log)
        eventually(lambda: carried(host), 20, "the new color", log)
        ran = at_rest(host, members)
    assert {key: ran.get(key) for key in kept} == kept

    with controller(upstreams, environment, log, status=None):
        repaint(host, members, "purple", log)
        eventually(lambda: carried(host), 60, "the new color", log)
        back = at_rest(host, members)
    assert {key: back.get(key) for key in kept} == kept

    with controller(ours, environment, log):
        for kind in reversed(KINDS):
            for item in host.list(FederatedType.of(kind).federated, PLACE):
                host.delete(FederatedType.of(kind).federated, item["metadata"]["name"], PLACE)
        eventually(lambda: photo(host, members) == {}, 40, "the end of all", log)
        types = host.list(FEDERATED_TYPE_CONFIG, FEDERATION)
        assert {each["status"]["propagationController"] for each in types} == {"Running"}
    for name in members:
        shell(f"kubefed unjoin {name} {suffix}", environment)
    shell(f"kubefed uninstall {suffix}", environment)
    host.delete(NAMESPACE, PLACE)
