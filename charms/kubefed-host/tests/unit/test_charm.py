import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import charm
import federation_members
import kubefed_host
import ops
import pytest
from charm import KubefedHostCharm
from federation_interfaces import MemberAppData, RegionHealthUnitData
from federation_interfaces.cluster import Access, ClusterAddress, Credential
from federation_interfaces.testing import CA, CERTIFICATES, kube_control_unit_data
from federation_members import MemberError
from kubefed_host import Host, HostError, Settings
from ops import testing

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MODEL = testing.Model(name="catania", uuid="11111111-2222-4333-8444-555555555555")
MEMBER_MODEL = "99999999-2222-4333-8444-555555555555"
Context = testing.Context[KubefedHostCharm]


class FakeHost(Host):
    """The unit's files and service, remembered instead of made."""

    def __init__(self, world: "World"):
        super().__init__(Path("/charm"), world.root)
        self.world = world

    def ensure_user(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        self.settings.mkdir(parents=True, exist_ok=True)

    def ensure_tokens(
        self, access: Access, settings: Settings, name: str, moment: datetime
    ) -> bool:
        assert access.admin_token == "admin-token"
        if self.world.fail_host:
            raise HostError(self.world.fail_host)
        _ = (self.state / "token").write_text("own")
        return False

    def ensure_region_health(self, agents: Sequence[RegionHealthUnitData] | None) -> None:
        self.world.agents = agents

    def ensure_service(self, settings: Settings, address: str, *, restart: bool) -> None:
        self.world.service = " ".join(self.command(settings, address))

    def running(self) -> bool:
        return bool(self.world.service)

    def stop(self) -> None:
        self.world.service = ""

    def remove(self) -> None:
        self.world.calls.append("remove")


class World:
    """The host cluster and the members' answers, as the workload modules see them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.service = ""
        self.agents: Sequence[RegionHealthUnitData] | None = None
        self.fail_host = ""
        self.fail_join: dict[str, str] = {}
        self.fail_leave = ""
        self.clusters: dict[str, dict[str, Any]] = {}

    def install_api(self, access: Access, settings: Settings) -> None:
        if self.fail_host:
            raise HostError(self.fail_host)
        self.calls.append(f"install in {settings.namespace}")

    def join(
        self,
        address: ClusterAddress,
        own_token: str,
        namespace: str,
        data: MemberAppData,
        token: str,
        *,
        check_s: float,
    ) -> bool:
        assert own_token == "own"
        region = data.region or ""
        if region in self.fail_join:
            raise MemberError(self.fail_join[region])
        self.calls.append(f"join {region} with {token} within {check_s}")
        self.clusters[region] = {"name": region, "ready": True, "message": "", "version": "v1.35"}
        return True

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

    @property
    def joins(self) -> list[str]:
        return [call for call in self.calls if call.startswith("join")]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    found = World(tmp_path)
    monkeypatch.setattr(kubefed_host, "install_api", found.install_api)
    monkeypatch.setattr(kubefed_host, "user_kubeconfig", found.user_kubeconfig)
    monkeypatch.setattr(kubefed_host, "version", lambda: "0.1.0")
    for name in ("join", "leave", "list_clusters", "delete_workloads"):
        monkeypatch.setattr(federation_members, name, getattr(found, name))
    charm_host = FakeHost(found)

    def same_host(_: Path) -> FakeHost:
        return charm_host

    monkeypatch.setattr(charm, "Host", same_host)
    return found


@pytest.fixture
def ctx() -> Context:
    return testing.Context(KubefedHostCharm)


CA_ID = "secret:ca000000000000000000"
IDS = {
    "palermo": f"secret://{MEMBER_MODEL}/pa000000000000000000",
    "napoli": f"secret://{MEMBER_MODEL}/na000000000000000000",
}


def kube_control() -> testing.Relation:
    data = kube_control_unit_data("kubefed-host/0", ca_secret_id=CA_ID)
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


def join(ctx: Context, out: testing.State, cluster: str) -> testing.State:
    return act(ctx, out, "join-cluster", cluster=cluster)


def unjoin(ctx: Context, out: testing.State, cluster: str, **params: Any) -> testing.State:
    given = {"cluster": cluster, "force": False, "workloads": "keep"}
    return act(ctx, out, "unjoin-cluster", **(given | params))


class TestJoining:
    def test_related_members_join_by_themselves(self, ctx: Context, world: World):
        out = again(ctx, state())
        assert world.joins == [
            "join palermo with palermo-1 within 2",
            "join napoli with napoli-1 within 2",
        ]
        assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")
        assert written(out, PALERMO) == {
            "host_cluster": "catania",
            "namespace": "kube-federation-system",
            "joined": True,
        }

    def test_nothing_is_done_twice(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.calls.clear()
        out = ctx.run(ctx.on.config_changed(), out)
        assert world.calls == []
        assert out.workload_version == "0.1.0"

    def test_no_token_reaches_a_databag(self, ctx: Context, world: World):
        out = again(ctx, state())
        bags = json.dumps([each.local_app_data for each in out.relations if each.id > PALERMO - 1])
        peers = json.dumps(out.get_relation(9002).local_app_data)
        assert "palermo-1" not in bags + peers
        assert len(world.joins) == 2

    def test_a_renewed_token_is_registered(self, ctx: Context, world: World):
        out = again(ctx, state())
        secret = dataclasses.replace(
            out.get_secret(id=IDS["palermo"]), latest_content={"token": "palermo-2"}
        )
        others = {each for each in out.secrets if each.id != secret.id}
        out = dataclasses.replace(out, secrets={*others, secret})
        _ = ctx.run(ctx.on.secret_changed(secret), out)
        assert world.joins[2:] == ["join palermo with palermo-2 within 2"]

    def test_another_endpoint_is_registered(self, ctx: Context, world: World):
        out = again(ctx, state())
        moved = bag("palermo", api_endpoint='"https://new.example:6443"')
        _ = again(ctx, with_member(out, PALERMO, moved))
        assert len(world.joins) == 3

    def test_not_without_auto_join(self, ctx: Context, world: World):
        out = again(ctx, state(config={"auto-join": False}))
        assert world.joins == []
        assert out.unit_status == ops.ActiveStatus("0 clusters joined")
        assert written(out, PALERMO)["joined"] is False

    def test_a_member_that_says_too_little_is_waited_for(self, ctx: Context, world: World):
        data = bag("palermo")
        del data["token_secret_id"]
        out = again(ctx, state(member(PALERMO, data)))
        assert world.joins == []
        assert isinstance(out.unit_status, ops.ActiveStatus)

    def test_a_secret_that_is_not_granted_yet(self, ctx: Context, world: World):
        secrets = [testing.Secret({"ca-certificate": CA}, id=CA_ID, owner=None)]
        out = again(ctx, state(member(PALERMO, bag("palermo")), secrets=secrets))
        assert out.unit_status == ops.WaitingStatus(
            "palermo: its token is not granted to this model yet"
        )
        assert world.joins == []

    def test_one_that_fails_is_named_and_tried_again(self, ctx: Context, world: World):
        world.fail_join["palermo"] = "token refused (401)"
        out = again(ctx, state())
        assert out.unit_status == ops.WaitingStatus("palermo: token refused (401)")
        assert world.joins == ["join napoli with napoli-1 within 2"]
        world.fail_join.clear()
        out = again(ctx, out)
        assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")

    def test_a_joined_one_stays_joined_though_its_renewal_fails(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.fail_join["palermo"] = "no answer in time"
        moved = bag("palermo", api_endpoint='"https://new.example:6443"')
        out = again(ctx, with_member(out, PALERMO, moved))
        assert written(out, PALERMO)["joined"] is True
        world.fail_join.clear()
        out = again(ctx, out)
        assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")

    def test_two_members_of_one_name(self, ctx: Context, world: World):
        twins = [member(PALERMO, bag("palermo")), member(NAPOLI, bag("palermo"))]
        out = again(ctx, state(*twins))
        assert out.unit_status == ops.BlockedStatus(
            "palermo is the name of two members (relations 9101 and 9102)"
        )
        assert len(world.joins) == 1

    def test_bad_data_blocks_and_the_others_go_on(self, ctx: Context, world: World):
        bad = bag("palermo", api_endpoint='"http://plain"')
        out = again(ctx, state(member(PALERMO, bad), member(NAPOLI, bag("napoli"))))
        assert out.unit_status == ops.BlockedStatus(
            "members relation 9101: data refused: api_endpoint: must be an https:// address"
        )
        assert world.joins == ["join napoli with napoli-1 within 2"]

    def test_only_the_leader_joins(self, ctx: Context, world: World):
        peers = testing.PeerRelation("replicas", id=9002, local_app_data={"installed": '"x"'})
        relations = [kube_control(), peers, member(PALERMO, bag("palermo"))]
        out = again(ctx, state(leader=False, relations=relations))
        assert world.calls == []
        assert world.service
        assert isinstance(out.unit_status, ops.ActiveStatus)


class TestLeaving:
    def test_a_relation_that_ends(self, ctx: Context, world: World):
        out = again(ctx, state())
        out = ctx.run(ctx.on.relation_broken(out.get_relation(PALERMO)), out)
        assert "leave palermo by force" in world.calls
        assert out.unit_status == ops.ActiveStatus("1 cluster joined: napoli")

    def test_one_that_does_not_end_well_is_tried_again(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.fail_leave = "the host cluster does not answer"
        out = ctx.run(ctx.on.relation_broken(out.get_relation(PALERMO)), out)
        assert out.unit_status == ops.WaitingStatus(
            "palermo: leaving: the host cluster does not answer"
        )
        world.fail_leave = ""
        out = again(ctx, without(out, PALERMO))
        assert out.unit_status == ops.ActiveStatus("1 cluster joined: napoli")

    def test_a_region_that_changes_its_name(self, ctx: Context, world: World):
        out = again(ctx, state(member(PALERMO, bag("palermo"))))
        out = again(ctx, with_member(out, PALERMO, bag("napoli")))
        assert world.calls.index("leave palermo by force") < world.calls.index(
            "join napoli with napoli-1 within 2"
        )


class TestStatus:
    def test_a_cluster_that_is_not_ready(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.clusters["palermo"] |= {"ready": False, "message": "no answer for 20 s"}
        out = again(ctx, out)
        assert out.unit_status == ops.WaitingStatus("palermo: no answer for 20 s")
        world.clusters["palermo"] |= {"ready": False, "message": ""}
        out = again(ctx, out)
        assert out.unit_status == ops.WaitingStatus("palermo: not ready")
        world.clusters["palermo"] |= {"ready": True}
        out = ctx.run(ctx.on.config_changed(), out)
        assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")

    @pytest.mark.parametrize(
        ("config", "text"),
        [
            ({"host-cluster": "Catania"}, "config: host_cluster: a region's name"),
            ({"namespace": "-"}, "config: namespace: a region's name"),
            ({"metrics-port": 80}, "config: metrics_port"),
        ],
    )
    def test_a_refused_configuration_blocks(
        self, ctx: Context, world: World, config: dict[str, str | int | float | bool], text: str
    ):
        out = ctx.run(ctx.on.config_changed(), state(config=config))
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert out.unit_status.message.startswith(text)
        assert world.calls == []

    def test_without_control_plane(self, ctx: Context, world: World):
        out = again(ctx, state(relations=[testing.PeerRelation("replicas")]))
        assert out.unit_status == ops.BlockedStatus("integrate with kubernetes-control-plane")
        assert world.calls == []

    def test_a_silent_control_plane(self, ctx: Context, world: World):
        silent = testing.Relation("kube-control")
        out = again(ctx, state(relations=[silent]))
        assert out.unit_status == ops.WaitingStatus("kube-control has not given access yet")
        assert world.calls == []

    def test_a_host_cluster_that_refuses(self, ctx: Context, world: World):
        world.fail_host = "forbidden (403)"
        out = again(ctx, state())
        assert out.unit_status == ops.WaitingStatus("the federation's API: forbidden (403)")
        assert world.joins == []

    def test_a_second_unit_waits_for_the_leader(self, ctx: Context, world: World):
        out = again(ctx, state(leader=False))
        assert out.unit_status == ops.WaitingStatus("the federation's API is not installed yet")
        assert world.calls == []

    def test_a_controller_that_does_not_run(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.service = ""
        out = act(ctx, out, "list-clusters")
        assert out.unit_status == ops.WaitingStatus("the controller is not running")

    def test_clusters_whose_state_is_not_known(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.clusters.clear()
        out = again(ctx, out)
        assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")


class TestController:
    def test_it_asks_the_regions_agents(self, ctx: Context, world: World):
        agent = testing.Relation(
            "region-health",
            remote_units_data={
                0: {"url": '"https://10.0.0.1:8443"', "certificate": json.dumps(CERTIFICATES[1])},
                1: {"url": "nonsense"},
            },
        )
        relations = [kube_control(), testing.PeerRelation("replicas"), agent]
        _ = again(ctx, state(relations=relations))
        assert world.agents == [
            RegionHealthUnitData(url="https://10.0.0.1:8443", certificate=CERTIFICATES[1])
        ]

    def test_without_agents_it_judges_by_itself(self, ctx: Context, world: World):
        _ = again(ctx, state())
        assert world.agents is None

    def test_it_is_installed_once(self, ctx: Context, world: World):
        out = again(ctx, again(ctx, state()))
        assert world.calls.count("install in kube-federation-system") == 1
        assert "installed" in out.get_relation(9002).local_app_data

    def test_stop_and_remove(self, ctx: Context, world: World):
        out = again(ctx, state())
        out = ctx.run(ctx.on.stop(), out)
        assert world.service == ""
        _ = ctx.run(ctx.on.remove(), out)
        assert world.calls[-1] == "remove"


class TestJoinCluster:
    def test_it_joins_and_is_safe_to_repeat(self, ctx: Context, world: World):
        out = again(ctx, state(config={"auto-join": False}))
        out = join(ctx, out, "palermo")
        assert ctx.action_results == {"cluster": "palermo", "state": "joined"}
        assert written(out, PALERMO)["joined"] is True
        assert world.joins == ["join palermo with palermo-1 within 10"]
        _ = join(ctx, out, "palermo")
        assert ctx.action_results == {"cluster": "palermo", "state": "already joined"}

    def test_a_wrong_name(self, ctx: Context, world: World):
        out = again(ctx, state())
        with pytest.raises(testing.ActionFailed, match="related: napoli, palermo"):
            _ = join(ctx, out, "roma")
        assert len(world.joins) == 2

    def test_a_member_that_says_too_little(self, ctx: Context, world: World):
        data = bag("palermo")
        del data["ca_certificate"]
        out = again(ctx, state(member(PALERMO, data)))
        with pytest.raises(testing.ActionFailed, match="has not published ca_certificate yet"):
            _ = join(ctx, out, "palermo")
        assert world.joins == []

    def test_a_member_whose_data_is_refused(self, ctx: Context, world: World):
        out = again(ctx, state(member(PALERMO, {"region": "palermo"})))
        with pytest.raises(testing.ActionFailed, match=r"refused: region: not JSON"):
            _ = join(ctx, out, "palermo")
        assert world.joins == []

    def test_a_refusal_leaves_nothing(self, ctx: Context, world: World):
        out = again(ctx, state(config={"auto-join": False}))
        world.fail_join["palermo"] = "the CA does not match"
        with pytest.raises(testing.ActionFailed, match="palermo is not joined: the CA does not"):
            _ = join(ctx, out, "palermo")
        assert "members" not in out.get_relation(9002).local_app_data or not json.loads(
            out.get_relation(9002).local_app_data["members"]
        )

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"leader": False}, "run this action on the leader"),
            ({"config": {"namespace": "?"}}, "the configuration is refused"),
            ({"relations": [testing.PeerRelation("replicas")]}, "kube-control has not given"),
            ({}, "API is not installed yet"),
        ],
    )
    def test_what_is_missing(
        self, ctx: Context, world: World, changed: dict[str, Any], reason: str
    ):
        with pytest.raises(testing.ActionFailed, match=reason):
            _ = join(ctx, state(**changed), "palermo")
        assert world.joins == []


class TestUnjoinCluster:
    def test_it_stays_out_until_it_is_joined_again(self, ctx: Context, world: World):
        out = again(ctx, state())
        out = unjoin(ctx, out, "palermo")
        assert ctx.action_results == {
            "cluster": "palermo",
            "state": "unjoined",
            "left-behind": "Deployment shop/web",
        }
        assert written(out, PALERMO)["joined"] is False
        out = again(ctx, out)
        assert len(world.joins) == 2
        assert out.unit_status == ops.ActiveStatus("1 cluster joined: napoli")
        out = join(ctx, out, "palermo")
        out = again(ctx, out)
        assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")

    def test_workloads_go_if_asked(self, ctx: Context, world: World):
        out = again(ctx, state())
        _ = unjoin(ctx, out, "palermo", workloads="delete")
        assert (ctx.action_results or {})["deleted"] == 4
        assert world.calls[-1] == "delete workloads of palermo with palermo-1"

    def test_by_force(self, ctx: Context, world: World):
        _ = unjoin(ctx, again(ctx, state()), "palermo", force=True)
        assert world.calls[-1] == "leave palermo by force"

    def test_an_unknown_one(self, ctx: Context, world: World):
        out = again(ctx, state())
        with pytest.raises(testing.ActionFailed, match="no such cluster; known: napoli, palermo"):
            _ = unjoin(ctx, out, "roma")
        world.fail_leave = "kept by its finalizers"
        with pytest.raises(testing.ActionFailed, match="palermo: kept by its finalizers"):
            _ = unjoin(ctx, out, "palermo")


class TestListClusters:
    def test_it_lists(self, ctx: Context, world: World):
        out = again(ctx, state())
        _ = act(ctx, out, "list-clusters")
        results = ctx.action_results or {}
        assert [each["name"] for each in json.loads(results["clusters"])] == ["palermo", "napoli"]
        assert results["count"] == 2
        world.fail_host = "no answer in time"
        with pytest.raises(testing.ActionFailed, match="no answer in time"):
            _ = act(ctx, out, "list-clusters")


class TestGetKubeconfig:
    def test_the_result_names_where_it_is_and_does_not_hold_it(self, ctx: Context, world: World):
        out = again(ctx, state())
        server = "https://fed.example:6443"
        out = act(ctx, out, "get-kubeconfig", server=server, lifetime="2h")
        results = ctx.action_results or {}
        assert Path(results["kubeconfig"]).stat().st_mode & 0o777 == 0o600
        assert Path(results["kubeconfig"]).read_text() == f"kubeconfig of catania at {server}"
        assert results["expires-at"] == (NOW + timedelta(hours=2)).isoformat()
        secret = next(each for each in out.secrets if each.owner == "app")
        assert secret.id.endswith(results["secret-id"])
        assert "user-token" not in json.dumps(results)

    def test_a_second_one_replaces_the_first(self, ctx: Context, world: World):
        out = again(ctx, state())
        out = act(ctx, out, "get-kubeconfig", server="", lifetime="2h")
        out = act(ctx, out, "get-kubeconfig", server="https://x:1", lifetime="2h")
        secret = next(each for each in out.secrets if each.owner == "app")
        assert (secret.latest_content or {})[
            "kubeconfig"
        ] == "kubeconfig of catania at https://x:1"

    @pytest.mark.parametrize(
        ("server", "lifetime", "reason"),
        [
            ("http://x", "2h", "must be an https"),
            ("", "2", "must be a number"),
            ("", "1m", "at least 10m"),
        ],
    )
    def test_what_is_refused(
        self, ctx: Context, world: World, server: str, lifetime: str, reason: str
    ):
        out = again(ctx, state())
        with pytest.raises(testing.ActionFailed, match=reason):
            _ = act(ctx, out, "get-kubeconfig", server=server, lifetime=lifetime)
        world.fail_host = "no answer in time"
        with pytest.raises(testing.ActionFailed, match="no answer in time"):
            _ = act(ctx, out, "get-kubeconfig", server="", lifetime="1h")


def test_an_old_kubeconfig_is_removed(ctx: Context, world: World):
    out = again(ctx, state())
    for number in (1, 2, 3):
        out = act(ctx, out, "get-kubeconfig", server=f"https://x:{number}", lifetime="2h")
    secret = next(each for each in out.secrets if each.owner == "app")
    _ = ctx.run(ctx.on.secret_remove(secret, revision=2), out)
    assert ctx.removed_secret_revisions == [2]
