"""What the status service's account may in a real cluster, and that it goes with the charm's."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import clusters_told
import kubefed_host
import pytest
from clusters_watch import Clusters
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    Cluster,
    ClusterAddress,
    ClusterRefusedError,
    account_objects,
    kubeconfig_cluster,
)
from federation_interfaces.testing import eventually, there
from federation_lab.cluster.control_plane import ADMIN, ControlPlane
from host_accounts import CHARM_ACCOUNT, status_account
from kubefed_host import Host, Settings

pytestmark = pytest.mark.cluster

NAMESPACE = "kube-federation-system"


def test_it_lists_the_clusters_and_no_more_until_the_charm_goes(
    plane: ControlPlane, tmp_path: Path
):
    access = Access(ClusterAddress(plane.endpoint, plane.ca_certificate), plane.token(ADMIN))
    host, settings, admin = Host(Path("/charm"), tmp_path, user="root"), Settings(), access.admin()
    kubefed_host.install_api(access, settings, bound=True)
    for directory in (host.settings, host.state):
        directory.mkdir(parents=True)
    for _ in range(2):  # the second time everything is there
        _ = host.ensure_tokens(
            access, settings, "catania", datetime.now(UTC), "kubefed-host/0", renew=True
        )
    path = host.status / "kubeconfig"
    with contextlib.closing(Clusters(str(path), NAMESPACE)) as clusters:
        # A right that was given holds after a moment.
        eventually(lambda: clusters.look("{}", 0.0) == "{}")
    follower = kubeconfig_cluster(path.read_text())
    for refused in (
        clusters_told.path("default"),
        f"{clusters_told.path(NAMESPACE)}/catania",
        f"/api/v1/namespaces/{NAMESPACE}/secrets",
        f"/apis/core.kubefed.io/v1beta1/namespaces/{NAMESPACE}/kubefedconfigs",
    ):
        with pytest.raises(ClusterRefusedError, match="forbidden"):
            _ = follower.request("GET", refused)
    with pytest.raises(ClusterRefusedError, match="forbidden"):
        _ = follower.delete(f"{clusters_told.path(NAMESPACE)}/catania")

    made = [
        path
        for path, body in account_objects(status_account(NAMESPACE))
        if body["kind"] != "Namespace"
    ]
    assert all(there(admin, each) for each in made)
    assert Cluster(access.address, host.charm_token()).end(CHARM_ACCOUNT)
    eventually(lambda: not any(there(admin, each) for each in made))
    with pytest.raises(ClusterRefusedError):
        _ = follower.request("GET", clusters_told.path(NAMESPACE))
