"""control-plane on a real API server: what is admitted, what stays, what goes. No pod runs."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast
from unittest import mock

import control_planes
import kubefed_host
import ops
import pytest
from control_planes import ControlPlanes
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    CHARMS_NAMESPACE,
    CLUSTER_ROLES,
    Cluster,
    ClusterAddress,
)
from federation_lab.cluster.control_plane import ADMIN, ControlPlane
from federation_members import ReplicasAppData
from federation_register import Register
from handover import Handover
from kubefed.api import KubeFedConfig
from kubefed_host import Host, HostError, Settings
from ops.manifests import Collector
from upstream_manifests import UpstreamManifests

pytestmark = pytest.mark.cluster

NAMESPACE = "kube-federation-system"
NAME = "kubefed-controller-manager"
HOME = f"/api/v1/namespaces/{NAMESPACE}"
CONFIG = f"/apis/core.kubefed.io/v1beta1/namespaces/{NAMESPACE}/kubefedconfigs/kubefed"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{NAME}"
EMBEDDED = Settings()
UPSTREAM = Settings(control_plane="upstream", health_period="7s", cluster_available_delay="9s")


class Peers:
    """What the units know together."""

    def __init__(self) -> None:
        self.data = ReplicasAppData()

    def shared(self) -> ReplicasAppData:
        return self.data

    def save(self, **changed: object) -> None:
        self.data = self.data.model_copy(update=changed)


@pytest.fixture
def access(plane: ControlPlane) -> Access:
    return Access(ClusterAddress(plane.endpoint, plane.ca_certificate), plane.token(ADMIN))


@pytest.fixture
def charm() -> mock.Mock:
    found = mock.Mock(spec=ops.CharmBase)
    found.app.name = "kubefed-host"
    found.model.app.name = "kubefed-host"
    return found


@pytest.fixture
def lead(
    access: Access, charm: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Settings], None]:
    # No kubelet runs the pods.
    monkeypatch.setattr(control_planes, "READY_SECONDS", 0)
    peers = cast("Register", Peers())
    host = mock.Mock(spec=Host)
    return lambda settings: ControlPlanes(charm, host, peers).lead(access, settings)


def found(cluster: Cluster, path: str) -> dict[str, Any] | None:
    return Handover(cluster, NAMESPACE, "kubefed-host").get(path)


def eventually(what: str, done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@contextmanager
def leading(cluster: Cluster, seconds: int) -> Generator[None]:
    """A controller somewhere holds the Lease and is not heard of again."""
    spec = {"holderIdentity": "kubefed-host-1", "leaseDurationSeconds": seconds}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    _ = cluster.apply(LEASE, lease | {"metadata": {"name": NAME}, "spec": spec})
    try:
        yield
    finally:
        _ = cluster.delete(LEASE)


def test_one_after_the_other_and_back(
    access: Access, charm: mock.Mock, lead: Callable[[Settings], None]
):
    cluster = access.admin()
    lead(EMBEDDED)
    handover = Handover(cluster, NAMESPACE, "kubefed-host")
    assert handover.embedded_may_act()
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    labelled = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": restricted}}
    _ = cluster.apply(HOME, labelled, "test")

    with leading(cluster, 4):
        began = time.monotonic()
        lead(UPSTREAM)
        assert time.monotonic() - began >= 4
    assert not handover.embedded_may_act()
    # Pod security's strictest admits them, and all of what they are made from is there.
    eventually("two pods", lambda: len((found(cluster, f"{HOME}/pods") or {})["items"]) == 2)
    facts = ControlPlanes(charm, mock.Mock(), mock.Mock()).facts(access, UPSTREAM)
    manifests = UpstreamManifests(charm.model, access, facts)
    [analysis] = Collector(manifests).analyze_resources(mock.Mock(), None, None)
    assert len(analysis.correct) == 8
    assert not analysis.missing | analysis.extra | analysis.conflicting
    # Whole, as v0.10.0 needs it, with what options say.
    config = found(cluster, CONFIG) or {}
    wanted = KubeFedConfig().to_object(NAMESPACE)["spec"]
    wanted["clusterHealthCheck"]["period"] = "7s"
    wanted["controllerDuration"]["availableDelay"] = "9s"
    assert config["spec"] == wanted
    before = (found(cluster, DEPLOYMENT) or {})["metadata"]["generation"]
    lead(UPSTREAM)
    assert (found(cluster, DEPLOYMENT) or {})["metadata"]["generation"] == before

    lead(EMBEDDED)
    assert handover.embedded_may_act()
    assert (found(cluster, f"{HOME}/pods") or {})["items"] == []
    for path in (DEPLOYMENT, f"{CLUSTER_ROLES}/{NAME}", f"{HOME}/serviceaccounts/{NAME}"):
        assert found(cluster, path) is None
    # What options said is taken back.
    config = found(cluster, CONFIG) or {}
    assert config["spec"] == KubeFedConfig().to_object(NAMESPACE)["spec"]


def test_somebody_elses_deployment_is_not_touched(
    access: Access, lead: Callable[[Settings], None]
):
    cluster = access.admin()
    lead(EMBEDDED)
    labels = {"app": "helm"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "a", "image": "registry.example.org/a:1"}]},
    }
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
    _ = cluster.apply(DEPLOYMENT, body, "helm")
    try:
        with pytest.raises(HostError, match="is not this charm's"):
            lead(UPSTREAM)
        assert Handover(cluster, NAMESPACE, "kubefed-host").embedded_may_act()
        assert (found(cluster, DEPLOYMENT) or {})["spec"]["template"]["metadata"]["labels"] == (
            labels
        )
    finally:
        _ = cluster.delete(DEPLOYMENT)


def test_a_charm_that_goes_takes_upstream_along_by_its_own_token(
    access: Access, lead: Callable[[Settings], None]
):
    cluster = access.admin()
    lead(UPSTREAM)
    cluster.ensure_account(kubefed_host.charm_account(NAMESPACE))
    minted = cluster.mint("kubefed-host", CHARMS_NAMESPACE, timedelta(hours=1))
    own = Cluster(access.address, minted.token)
    eventually("its rights", lambda: own.end(NAME) or True)
    eventually("no Deployment", lambda: found(cluster, DEPLOYMENT) is None)
    eventually("no account", lambda: found(cluster, f"{HOME}/serviceaccounts/{NAME}") is None)
