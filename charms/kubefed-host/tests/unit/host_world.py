"""The host cluster, the members and the unit, as the charm's tests see them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ops
from federation_interfaces import MemberAppData, RegionHealthUnitData
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    Cluster,
    ClusterAddress,
    ClusterRefusedError,
    Credential,
)
from federation_interfaces.testing import CA, kube_control_unit_data
from federation_members import MemberError, OrphansError
from kubefed_host import Host, HostError, Settings
from ops import testing
from upstream_facts import DIGEST_ANNOTATION, Facts

NAMESPACE = "kube-federation-system"
TYPES = "federatedtypeconfigs"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MODEL = testing.Model(name="catania", uuid="11111111-2222-4333-8444-555555555555")
MEMBER_MODEL = "99999999-2222-4333-8444-555555555555"
Context = testing.Context[Any]


class FakeHost(Host):
    """The unit's files and service, remembered instead of made."""

    def __init__(self, world: "World"):
        super().__init__(Path("/charm"), world.root)
        self.world = world

    def identity(self, access: Access) -> str:
        if self.world.fail_host:
            raise HostError(self.world.fail_host)
        return self.world.uid

    def ensure_user(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        self.settings.mkdir(parents=True, exist_ok=True)

    def ensure_tokens(
        self,
        access: Access,
        settings: Settings,
        name: str,
        moment: datetime,
        holder: str,
        *,
        renew: bool = False,
    ) -> bool:
        assert access.admin_token == "admin-token"
        if renew:
            self.world.calls.append(f"renew the tokens of {holder}")
        self.world.ca = access.address.ca_certificate
        if self.world.fail_host:
            raise HostError(self.world.fail_host)
        _ = (self.state / "token").write_text("own")
        return renew

    def end_older_tokens(self, access: Access, settings: Settings, holder: str) -> None:
        if "renew" in " ".join(self.world.calls):
            self.world.calls.append(f"end older tokens of {holder}")

    def ensure_region_health(self, agents: Sequence[RegionHealthUnitData] | None) -> None:
        self.world.agents = agents

    def ensure_service(self, settings: Settings, address: str, *, restart: bool) -> None:
        if restart:
            self.world.calls.append("restart")
        self.world.story += [] if self.world.service else ["start"]
        self.world.service = " ".join(self.command(settings, address))

    def ensure_status_service(self, settings: Settings, unit: str) -> None:
        if self.world.fail_follower:
            raise HostError(self.world.fail_follower)
        self.world.follower = unit
        self.status.mkdir(parents=True, exist_ok=True)

    def end_status_service(self) -> None:
        self.world.follower = ""

    def running(self) -> bool:
        return bool(self.world.service)

    def stop(self) -> None:
        self.world.service = self.world.follower = ""

    def stand_down(self) -> None:
        self.world.story += ["stand down"] if self.world.service else []
        self.world.service = ""

    def end_accounts(self) -> None:
        if self.world.fail_host:
            raise HostError(self.world.fail_host)
        self.world.calls.append("end accounts")

    def remove(self) -> None:
        self.world.calls.append("remove")


class FakeApi(Cluster):
    """The host cluster's API, by path: what is read, made and deleted by plain HTTPS."""

    def __init__(self, story: list[str]) -> None:
        super().__init__(ClusterAddress("https://10.210.1.10:6443", CA), "admin-token")
        self.objects: dict[str, dict[str, Any]] = {}
        self.story = story
        self.broken = ""

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        if self.broken:
            raise ClusterRefusedError(self.broken, 500)
        path, _, query = path.partition("?")
        if method == "GET" and path.rsplit("/", 1)[-1] in ("pods", "namespaces", TYPES):
            return {"items": [o for p, o in self.objects.items() if p.rpartition("/")[0] == path]}
        if method != "GET":
            there = method == "PATCH" or path in self.objects
            name = "/".join(path.rsplit("/", 2)[1:])
            self.story += [f"{method} {name} {query}".strip()] if there else []
        if method == "PATCH":
            self.objects[path] = dict(body or {})
        elif path not in self.objects:
            raise ClusterRefusedError("not found (404)", 404)
        return self.objects.pop(path) if method == "DELETE" else self.objects[path]


class World:
    """The host cluster and the members' answers, as the workload modules see them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.service = ""
        self.follower = ""
        """The unit whose status is followed."""
        self.fail_follower = ""
        self.ca = ""
        self.uid = "the host's"
        self.agents: Sequence[RegionHealthUnitData] | None = None
        self.fail_host = ""
        self.fail_join: dict[str, str] = {}
        self.fail_leave = ""
        self.orphans: dict[str, str] = {}
        self.unknown: dict[str, str] = {}
        self.clusters: dict[str, dict[str, Any]] = {}
        self.story: list[str] = []
        """What was done to the host cluster and this unit's controller, in order."""
        self.api = FakeApi(self.story)
        self.deployed: list[Facts] = []
        self.ready = 2
        self.time = 0.0

    def install_api(self, access: Access, settings: Settings, *, bound: bool) -> None:
        if self.fail_host:
            raise HostError(self.fail_host)
        self.calls.append(f"install in {settings.namespace}")
        self.story.append(f"install{' and bind' if bound else ''}")
        core = f"/apis/core.kubefed.io/v1beta1/namespaces/{settings.namespace}"
        self.api.objects.setdefault(
            f"{core}/kubefedconfigs/kubefed", {"spec": {"scope": "Cluster"}}
        )
        if bound:
            self.api.objects[binding(settings.namespace)] = {}

    def deploy(self, model: ops.Model, access: Access, facts: Facts) -> None:
        self.story.append("deploy")
        self.deployed.append(facts)
        self.api.objects[deployment(facts.namespace)] = {
            "metadata": {
                "generation": 1,
                "labels": {"juju.io/application": facts.app},
                "annotations": {DIGEST_ANNOTATION: facts.digest},
            },
            "spec": {"replicas": 2},
            "status": {
                "observedGeneration": 1,
                "updatedReplicas": self.ready,
                "readyReplicas": self.ready,
            },
        }

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.passing()

    def passing(self) -> None:
        """What goes on in the cluster while the charm waits; a test's own."""

    def join(
        self,
        address: ClusterAddress,
        own_token: str,
        namespace: str,
        data: MemberAppData,
        token: str,
        *,
        check_s: float,
        release_orphans: bool,
    ) -> bool:
        assert own_token == "own"
        region = data.region or ""
        if region in self.orphans and not release_orphans:
            raise OrphansError(self.orphans[region])
        if region in self.fail_join:
            raise MemberError(self.fail_join[region])
        self.calls.append(f"join {region} with {token} within {check_s}")
        self.clusters[region] = {"name": region, "ready": True, "message": "", "reason": ""}
        return True

    def let_go(
        self,
        address: ClusterAddress,
        own_token: str,
        namespace: str,
        data: MemberAppData,
        token: str,
    ) -> str:
        return self.unknown.get(data.region or "", "")

    def leave(
        self, address: ClusterAddress, own_token: str, namespace: str, region: str, *, force: bool
    ) -> list[str]:
        if self.fail_leave:
            raise MemberError(self.fail_leave)
        self.calls.append(f"leave {region}{' by force' if force else ''}")
        _ = self.clusters.pop(region, None)
        return ["Deployment shop/web"]

    def list_clusters(
        self, address: ClusterAddress, own_token: str, namespace: str
    ) -> list[dict[str, Any]]:
        if self.fail_host:
            raise MemberError(self.fail_host)
        self.calls.append("list")
        return list(self.clusters.values())

    def delete_workloads(self, data: MemberAppData, token: str) -> int:
        self.calls.append(f"delete workloads of {data.region} with {token}")
        return 4

    def user_kubeconfig(
        self, access: Access, settings: Settings, name: str, server: str, lifetime: timedelta
    ) -> tuple[str, Credential]:
        if self.fail_host:
            raise HostError(self.fail_host)
        return f"kubeconfig of {name} at {server}", Credential("user-token", NOW + lifetime)

    def end_user_kubeconfigs(self, access: Access, settings: Settings) -> int:
        self.calls.append("end kubeconfigs")
        return 2

    @property
    def joins(self) -> list[str]:
        return [call for call in self.calls if call.startswith("join")]


def binding(namespace: str = NAMESPACE) -> str:
    """The path of what says that it is the embedded controller's turn."""
    return (
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/"
        "kubefed-config-rolebinding"
    )


def deployment(namespace: str = NAMESPACE) -> str:
    """The path of upstream's Deployment."""
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/kubefed-controller-manager"


def lock(kind: str) -> str:
    """The path of a control plane's lock: its Lease or its ConfigMap."""
    group = "/apis/coordination.k8s.io/v1" if kind == "leases" else "/api/v1"
    return f"{group}/namespaces/{NAMESPACE}/{kind}/kubefed-controller-manager"


CA_ID = "secret:ca000000000000000000"
IDS = {
    "palermo": f"secret://{MEMBER_MODEL}/pa000000000000000000",
    "napoli": f"secret://{MEMBER_MODEL}/na000000000000000000",
}


def kube_control(*, with_ca: bool = True) -> testing.Relation:
    data = kube_control_unit_data("kubefed-host/0", ca_secret_id=CA_ID if with_ca else "")
    return testing.Relation(
        "kube-control",
        id=9001,
        remote_app_name="kubernetes-control-plane",
        remote_units_data={0: data},
    )


def bag(region: str, **changed: str) -> dict[str, str]:
    data: dict[str, str] = {}
    _ = MemberAppData(
        region=region,
        api_endpoint=f"https://api.{region}.example:6443",
        ca_certificate=CA,
        labels={"region": region},
        token_secret_id=IDS[region],
        token_expires_at=NOW + timedelta(hours=24),
    ).dump(data)
    return data | changed


def member(number: int, data: dict[str, str]) -> testing.Relation:
    return testing.Relation(
        "members", id=number, remote_app_name=f"saas-{number}", remote_app_data=data
    )


PALERMO, NAPOLI = 9101, 9102


def state(*members: testing.Relation, **changed: Any) -> testing.State:
    given: dict[str, Any] = {
        "leader": True,
        "relations": [
            kube_control(),
            testing.PeerRelation("replicas", id=9002),
            *(members or [member(PALERMO, bag("palermo")), member(NAPOLI, bag("napoli"))]),
        ],
        "secrets": [
            testing.Secret({"ca-certificate": CA}, id=CA_ID, owner=None),
            *(testing.Secret({"token": f"{r}-1"}, id=i, owner=None) for r, i in IDS.items()),
        ],
        "model": MODEL,
    }
    return testing.State(**(given | changed))


def again(ctx: Context, out: testing.State) -> testing.State:
    return ctx.run(ctx.on.update_status(), out)


def with_member(out: testing.State, number: int, data: dict[str, str]) -> testing.State:
    relation = dataclasses.replace(out.get_relation(number), remote_app_data=data)
    rest = {each for each in out.relations if each.id != number}
    return dataclasses.replace(out, relations={*rest, relation})


def without(out: testing.State, number: int) -> testing.State:
    rest = {each for each in out.relations if each.id != number}
    return dataclasses.replace(out, relations=rest)


def written(out: testing.State, number: int) -> dict[str, Any]:
    return {k: json.loads(v) for k, v in out.get_relation(number).local_app_data.items()}


def act(ctx: Context, out: testing.State, name: str, **params: Any) -> testing.State:
    return ctx.run(ctx.on.action(name, params=params), out)


def join(
    ctx: Context, out: testing.State, cluster: str, *, release_orphans: bool = False
) -> testing.State:
    return act(ctx, out, "join-cluster", cluster=cluster, **{"release-orphans": release_orphans})


def unjoin(ctx: Context, out: testing.State, cluster: str, **params: Any) -> testing.State:
    given = {"cluster": cluster, "force": False, "workloads": "keep"}
    return act(ctx, out, "unjoin-cluster", **(given | params))
