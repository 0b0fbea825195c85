"""The cluster and the clock, as the charm's tests see them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from charm import KubefedMemberCharm
from federation_interfaces import MemberAppData
from federation_interfaces.access import Access
from federation_interfaces.cluster import Cluster, ClusterError
from federation_interfaces.revocable import RevocableCredential
from federation_interfaces.testing import CA, kube_control_unit_data
from kubefed_member import Federation, MemberError, Records, Store
from ops import testing

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MODEL = testing.Model(name="palermo", uuid="11111111-2222-4333-8444-555555555555")
FEDERATION = 7077
HOST = {"host_cluster": '"catania"', "namespace": '"kube-federation-system"'}


class World:
    """The cluster and the clock, as the charm's workload module sees them."""

    def __init__(self) -> None:
        self.now = NOW
        self.calls: list[str] = []
        self.fail = ""
        self.fail_admin = ""
        self.minted = 0
        self.own_minted: list[str] = []
        self.uid = "one"
        self.looked = 0

    def _maybe_fail(self) -> None:
        if self.fail:
            raise MemberError(self.fail)

    def prepare(self, access: Access, region: str, federation: Federation) -> str:
        assert access.admin_token == "admin-token"
        self._maybe_fail()
        self.calls.append(f"prepare {region} for {federation.host_cluster}")
        return f"{region}-{federation.host_cluster}"

    def identity(self, access: Access) -> str:
        del access
        self.looked += 1
        return self.uid

    def own_cluster(
        self, access: Access, store: Store, records: Records, now: datetime, holder: str
    ) -> Cluster:
        if records.own_token_renew_at is None:
            self.own_minted.append(holder)
        records.own_token_renew_at = now + timedelta(days=3)
        store.save_token("own")
        records.server, records.ca_certificate = access.address.server, CA
        return FakeCluster(access.address, "own")

    def mint(
        self, access: Access, cluster: Cluster, federation: Federation, lifetime: timedelta
    ) -> RevocableCredential:
        del access, cluster, federation
        self._maybe_fail()
        self.minted += 1
        number = self.minted
        return RevocableCredential(f"token-{number}", self.now + lifetime, f"bound-{number}")

    def end_older_tokens(self, access: Access, federation: Federation, keep: str) -> int:
        self._maybe_fail()
        self.calls.append(f"end tokens of {federation.service_account} but {keep}")
        return 1

    def withdraw(
        self, access: Access, region: str, federation: Federation, *, keep_namespace: bool
    ) -> None:
        del access
        self._maybe_fail()
        if self.fail_admin:
            raise MemberError(self.fail_admin)
        kept = "keeping" if keep_namespace else "with"
        self.calls.append(f"withdraw {region} from {federation.host_cluster} {kept} namespace")

    def end(self, cluster: Cluster, federation: Federation, *, keep_namespace: bool) -> None:
        if self.fail:
            raise ClusterError(self.fail)
        kept = "keeping" if keep_namespace else "with"
        self.calls.append(
            f"end {federation.service_account} at {cluster.address.server} {kept} namespace"
        )

    def delete_workloads(self, access: Access, federation: Federation) -> int:
        del access
        self.calls.append(f"delete workloads of {federation.host_cluster}")
        return 3

    def rights(self, cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
        del cluster
        self._maybe_fail()
        return [{"verbs": ["get"], "namespace": namespace}]

    def remove_own_account(self, access: Access) -> None:
        del access
        self._maybe_fail()
        self.calls.append("remove own account")


class FakeCluster(Cluster):
    def version(self) -> str:
        return "v1.35.4"


def ca_secret() -> testing.Secret:
    return testing.Secret({"ca-certificate": CA}, id="secret:ca000000000000000000", owner=None)


def kube_control(*, with_ca: bool = True) -> testing.Relation:
    ca_id = "secret:ca000000000000000000" if with_ca else ""
    data = kube_control_unit_data("kubefed-member/0", ca_secret_id=ca_id)
    return testing.Relation(
        "kube-control", remote_app_name="kubernetes-control-plane", remote_units_data={0: data}
    )


def federation(host: dict[str, str] | None = None) -> testing.Relation:
    return testing.Relation(
        "federation",
        id=FEDERATION,
        remote_app_name="remote-0f0f",
        remote_app_data=HOST if host is None else host,
        remote_model_uuid="99999999-2222-4333-8444-555555555555",
    )


def state(*relations: testing.Relation, **changed: Any) -> testing.State:
    given: dict[str, Any] = {
        "leader": True,
        "relations": relations or (kube_control(), federation()),
        "secrets": {ca_secret()},
        "model": MODEL,
    }
    return testing.State(**(given | changed))


def token_secret(out: testing.State) -> testing.Secret:
    return next(each for each in out.secrets if each.owner == "app")


def published(out: testing.State) -> MemberAppData:
    return MemberAppData.load(out.get_relation(FEDERATION).local_app_data)


def again(ctx: testing.Context[KubefedMemberCharm], out: testing.State) -> testing.State:
    return ctx.run(ctx.on.update_status(), out)
