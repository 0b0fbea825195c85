"""control-plane=upstream and back: each propagates, and neither writes what the other wrote.

In the lab the image's pods are the controller manager that `make test` builds from the Go module
(or KUBEFED_CONTROLLER_MANAGER); with a controller they are the image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import jubilant
import pytest
from federation_lab import tools

from tests.conftest import REGIONS
from tests.integration.conftest import JUJU
from tests.integration.federation import COPIED, NAMESPACE, Cluster, Federation, managed, until

IMAGE = "quay.io/kubernetes-multicluster/kubefed"
PLACE = "turns"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
OF_UPSTREAM = "labelSelector=kubefed-control-plane%3Dcontroller-manager"
LOCK = f"/api/v1/namespaces/{NAMESPACE}/configmaps/kubefed-controller-manager"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/kubefed-controller-manager"
TYPES = f"/apis/types.kubefed.io/v1beta1/namespaces/{PLACE}"
SECONDS = 120.0


def controller_manager() -> str:
    """The program that stands for the image in the lab; skips where there is none."""
    given = os.environ.get("KUBEFED_CONTROLLER_MANAGER")
    try:
        return given or str(tools.upstream() / "controller-manager")
    except tools.ToolsMissing as error:
        pytest.skip(str(error))


if JUJU:

    @pytest.fixture
    def image() -> None:
        """The image itself runs."""

else:

    @pytest.fixture
    def image(lab: Any) -> None:
        """The lab's nodes know what runs for the image."""
        words = [f"--image={IMAGE}={controller_manager()}", "--no-example"]
        lab.run("up", "--regions", ",".join(REGIONS), *words, timeout=200)


def made(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "types.kubefed.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name, "namespace": PLACE},
        "spec": spec | {"placement": {"clusterSelector": {}}},
    }


def config_map(name: str, color: str) -> dict[str, Any]:
    return made("FederatedConfigMap", name, {"template": {"data": {"color": color}}})


@pytest.fixture
def host(federation: Federation, image: None) -> Iterator[Cluster]:
    """The host cluster with a namespace for the test; embedded controls it before and after."""
    del image
    found = federation.cluster(federation.host_region)

    def create(path: str, body: dict[str, Any]) -> None:
        found.request("POST", path, body).raise_for_status()

    create("/api/v1/namespaces", {"metadata": {"name": PLACE}})
    try:
        create(f"{TYPES}/federatednamespaces", made("FederatedNamespace", PLACE, {}))
        create(f"{TYPES}/federatedconfigmaps", config_map("before", "red"))
        yield found
    finally:
        federation.host.config("kubefed-host", reset="control-plane")
        federation.settle(federation.host_region)
        found.delete(f"/api/v1/namespaces/{PLACE}")
        gone = f"/api/v1/namespaces/{PLACE}"
        until(lambda: found.get(gone) is None, "the namespace is gone", seconds=SECONDS)


def colors(federation: Federation, name: str) -> list[str]:
    """What each region's copy says."""
    path = f"/api/v1/namespaces/{PLACE}/configmaps/{name}"
    copies = [federation.cluster(region).get(path) or {} for region in federation.regions]
    return [copy.get("data", {}).get("color", "") for copy in copies]


def everywhere(federation: Federation, name: str, color: str) -> Callable[[], bool]:
    return lambda: colors(federation, name) == [color] * len(federation.regions)


def photo(federation: Federation) -> dict[str, tuple[str, str]]:
    """The version of every object in every region that the federation has written."""
    return {
        f"{region} {name}": version
        for region in federation.regions
        for name, version in managed(federation.cluster(region)).items()
    }


def switch(federation: Federation, to: str, says: str) -> None:
    """Have the other control plane, and wait until the status says that it works."""
    federation.host.config("kubefed-host", {"control-plane": to})
    federation.host.wait(
        lambda status: (
            status.apps["kubefed-host"].app_status.message.endswith(says)
            and jubilant.all_active(status)
            and jubilant.all_agents_idle(status)
        ),
        delay=0.5,
        successes=2,
        timeout=SECONDS,
    )


def logs(host: Cluster) -> str:
    """What upstream's pods have said."""
    names = host.names(f"{PODS}?{OF_UPSTREAM}")
    return "".join(host.request("GET", f"{PODS}/{name}/log").text for name in names)


def test_upstream_takes_its_turn_and_gives_it_back(federation: Federation, host: Cluster):
    until(everywhere(federation, "before", "red"), "embedded propagates", seconds=SECONDS)
    regions = " ".join(sorted(federation.regions))
    kept = photo(federation)
    assert len(kept) > len(federation.regions) * len(COPIED)

    switch(federation, "upstream", f"{regions}; KubeFed v0.10.0")
    host.request("POST", f"{TYPES}/federatedconfigmaps", config_map("during", "green"))
    until(everywhere(federation, "during", "green"), "upstream propagates", seconds=SECONDS)
    after = photo(federation)
    assert {name: after.get(name) for name in kept} == kept
    assert not (host.get(LEASE) or {})["spec"].get("holderIdentity")
    # All its rights are there, and it needs no other.
    said = logs(host)
    assert "promoted as leader" in said
    assert "forbidden" not in said, [line for line in said.splitlines() if "forbidden" in line]
    listed = federation.host.run("kubefed-host/leader", "list-resources").results
    assert listed.keys() == {"kubefed-correct"}
    assert len(listed["kubefed-correct"].splitlines()) == 8

    kept = photo(federation)
    switch(federation, "embedded", f"joined: {regions}")
    assert host.names(f"{PODS}?{OF_UPSTREAM}") == []
    assert host.get(LOCK) is None
    path = f"{TYPES}/federatedconfigmaps/during"
    changed = (host.get(path) or {}) | {"spec": config_map("during", "blue")["spec"]}
    host.request("PUT", path, changed).raise_for_status()
    until(everywhere(federation, "during", "blue"), "embedded propagates again", seconds=SECONDS)
    after = photo(federation)
    kept = {name: version for name, version in kept.items() if not name.endswith("/during")}
    assert {name: after.get(name) for name in kept} == kept
