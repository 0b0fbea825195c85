"""What the charm's own account can do in a real cluster when nobody else has access any more."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import kubefed_member
import pytest
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    CHARMS_NAMESPACE,
    Cluster,
    ClusterAddress,
    ClusterRefusedError,
)
from federation_interfaces.testing import eventually, there
from federation_lab.cluster.control_plane import ADMIN, ControlPlane
from kubefed_member import Records, Store
from member_settings import Federation, federation_objects, federation_role

pytestmark = pytest.mark.cluster

FEDERATION = Federation(host_cluster="catania", namespace="kube-federation-system")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
UNIT = "kubefed-member/0"
OWN = [
    f"{RBAC}/clusterroles/kubefed-member-catania",
    f"{RBAC}/clusterrolebindings/kubefed-member-catania",
    f"{RBAC}/namespaces/kube-federation-system/roles/kubefed-member-catania",
    f"{RBAC}/namespaces/kube-federation-system/rolebindings/kubefed-member-catania",
    f"/api/v1/namespaces/{CHARMS_NAMESPACE}/serviceaccounts/kubefed-member",
]


def test_it_ends_all_that_the_charm_made_and_nothing_else(plane: ControlPlane, tmp_path: Path):
    address = ClusterAddress(plane.endpoint, plane.ca_certificate)
    access = Access(address, plane.token(ADMIN))
    store, records = Store(tmp_path), Records()
    name = kubefed_member.prepare(access, "palermo", FEDERATION)
    made = FEDERATION.model_copy(update={"service_account": name})
    own = kubefed_member.own_cluster(access, store, records, datetime.now(UTC), UNIT)
    minted = kubefed_member.mint(access, own, made, timedelta(hours=1))
    admin = access.admin()
    objects = [federation_role(name), *federation_objects(name, FEDERATION.namespace), *OWN]
    assert all(there(admin, path) for path in objects)
    # Preparing again leaves everything hanging where it did.
    assert kubefed_member.prepare(access, "palermo", FEDERATION) == name

    policy = federation_objects(name, FEDERATION.namespace)[2]
    for refused in (
        policy,  # it may not lift the limits of the rights
        f"{RBAC}/clusterroles/cluster-admin",
        "/api/v1/namespaces/default",
    ):
        with pytest.raises(ClusterRefusedError, match="forbidden"):
            _ = own.delete(refused)

    kubefed_member.leave(None, store, records, "palermo", made, keep_namespace=False)
    eventually(lambda: not any(there(admin, path) for path in objects))
    eventually(lambda: not there(admin, f"/api/v1/namespaces/{FEDERATION.namespace}"))
    with pytest.raises(ClusterRefusedError, match="401"):
        _ = Cluster(address, minted.token).version()


def test_a_token_of_before_is_refused_within_a_minute(plane: ControlPlane, tmp_path: Path):
    address = ClusterAddress(plane.endpoint, plane.ca_certificate)
    access = Access(address, plane.token(ADMIN))
    store, records = Store(tmp_path), Records()
    name = kubefed_member.prepare(access, "napoli", FEDERATION)
    made = FEDERATION.model_copy(update={"service_account": name})
    own = kubefed_member.own_cluster(access, store, records, datetime.now(UTC), UNIT)
    first = kubefed_member.mint(access, own, made, timedelta(hours=1))
    own_before = store.token()
    second = kubefed_member.mint(access, own, made, timedelta(hours=1))
    assert Cluster(address, first.token).version()

    assert kubefed_member.end_older_tokens(access, made, second.bound) == 1
    records.own_token_renew_at = None
    _ = kubefed_member.own_cluster(access, store, records, datetime.now(UTC), UNIT)
    for ended in (first.token, own_before):
        eventually(lambda ended=ended: refused(Cluster(address, ended)))
    for good in (second.token, store.token()):
        assert Cluster(address, good).version()
    kubefed_member.leave(access, store, records, "napoli", made, keep_namespace=True)


def refused(cluster: Cluster) -> bool:
    try:
        _ = cluster.version()
    except ClusterRefusedError as error:
        return error.status == 401
    return False
