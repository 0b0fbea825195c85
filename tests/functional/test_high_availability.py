"""Two units of kubefed-host (overlays/ha.yaml): the leader's machine dies, the other goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import REGIONS, ROOT
from tests.integration.federation import NAMESPACE, Cluster, Federation, until

log = logging.getLogger(__name__)
HOST, *MEMBERS = REGIONS
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/kubefed-controller-manager"
FEDERATED = "/apis/types.kubefed.io/v1beta1/namespaces/demo/federatedconfigmaps"
COPIES = "/api/v1/namespaces/demo/configmaps"
# From the power cut to an object in every member.
CONTINUES_SECONDS = 15.0


@pytest.fixture
def federation(lab: Any) -> Iterator[Federation]:
    """Give the standing federation with a second unit in the host's region, gone afterwards."""
    overlays = (ROOT / "overlays" / "ha.yaml", ROOT / "overlays" / "lab.yaml")
    found = Federation(str(lab.program), REGIONS, overlays=overlays, cloud="lab/{region}")
    found.deploy(HOST, ROOT / "overlays" / "regions" / f"{HOST}.yaml")
    found.settle(HOST)
    yield found
    for unit in units(found):
        lab.run("revive", HOST, "--machine", machine(found, unit))
    found.settle(HOST)
    leading = leader(found)
    for unit in units(found):
        if unit != leading:
            found.host.remove_unit(unit)
    until(lambda: len(units(found)) == 1, "one unit is left")
    found.settle(HOST)


def units(federation: Federation) -> dict[str, Any]:
    return dict(federation.host.status().apps["kubefed-host"].units)


def leader(federation: Federation) -> str:
    return next(name for name, unit in units(federation).items() if unit.leader)


def followed(federation: Federation) -> bool:
    """Say whether the service runs that has the leader's status follow the clusters."""
    said = federation.host.exec(
        "systemctl is-active kubefed-host-status || true", unit=leader(federation)
    )
    return said.stdout.strip() == "active"


def machine(federation: Federation, unit: str) -> str:
    """Name a unit's machine as the lab does."""
    status = federation.host.status()
    return status.machines[status.apps["kubefed-host"].units[unit].machine].instance_id


def federated(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "types.kubefed.io/v1beta1",
        "kind": "FederatedConfigMap",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {
            "template": {"data": {"written": "while the leader was dead"}},
            "placement": {"clusterSelector": {}},
        },
    }


def holder(host: Cluster) -> str:
    return (host.get(LEASE) or {})["spec"].get("holderIdentity") or ""


def everywhere(federation: Federation, name: str) -> bool:
    return all(federation.cluster(region).get(f"{COPIES}/{name}") for region in REGIONS)


def test_the_leader_dies_and_the_federation_goes_on(lab: Any, federation: Federation):
    host = federation.cluster(HOST)
    assert len(units(federation)) == 2
    dead = leader(federation)
    # The controller that works need not be the Juju leader's: the one that does not is stopped
    # for a moment, so that the power cut takes both.
    for unit in units(federation):
        if unit != dead:
            _ = federation.host.exec("systemctl stop kubefed-controller", unit=unit)
            until(
                lambda: machine(federation, dead) in holder(host), "the leader's controller works"
            )
            _ = federation.host.exec("systemctl start kubefed-controller", unit=unit)
    before = holder(host)
    pods = {
        region: federation.cluster(region).names("/api/v1/namespaces/demo/pods")
        for region in MEMBERS
    }

    lab.run("kill", HOST, "--machine", machine(federation, dead))
    began = time.monotonic()
    host.request("POST", FEDERATED, federated("after-the-leader")).raise_for_status()
    until(lambda: everywhere(federation, "after-the-leader"), "the object is in every member")
    took = time.monotonic() - began

    log.info("in every member %.1f s after the power cut", took)
    assert took <= CONTINUES_SECONDS
    assert holder(host) != before
    for region in MEMBERS:
        assert federation.cluster(region).names("/api/v1/namespaces/demo/pods") == pods[region]
        assert len(federation.answers(region, "web.demo.svc")) == len(REGIONS)
    # Juju passes leadership on when the leader's lease has ended.
    until(lambda: leader(federation) != dead, "the other unit is Juju's leader", seconds=90)
    assert set(federation.listed()) == set(REGIONS)
    until(lambda: followed(federation), "the new leader's status follows the clusters")
    host.delete(f"{FEDERATED}/after-the-leader")
    until(
        lambda: not any(federation.cluster(r).get(f"{COPIES}/after-the-leader") for r in REGIONS),
        "the object is gone from every member",
    )
