import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubefed_member
import ops
import pytest
from charm import KubefedMemberCharm
from federation_interfaces import MemberAppData
from federation_interfaces.cluster import Access, Cluster, ClusterAddress, Credential
from federation_interfaces.testing import CA, CERTIFICATES, kube_control_unit_data
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
        self.minted = 0

    def _maybe_fail(self) -> None:
        if self.fail:
            raise MemberError(self.fail)

    def prepare(self, access: Access, region: str, federation: Federation) -> str:
        assert access.admin_token == "admin-token"
        self._maybe_fail()
        self.calls.append(f"prepare {region} for {federation.host_cluster}")
        return f"{region}-{federation.host_cluster}"

    def own_cluster(
        self, access: Access, store: Store, records: Records, now: datetime
    ) -> Cluster:
        del store, records, now
        return FakeCluster(access.address, "own")

    def mint(self, cluster: Cluster, federation: Federation, lifetime: timedelta) -> Credential:
        del cluster, federation
        self._maybe_fail()
        self.minted += 1
        return Credential(f"token-{self.minted}", self.now + lifetime)

    def withdraw(
        self, access: Access, region: str, federation: Federation, *, keep_namespace: bool
    ) -> None:
        del access
        self._maybe_fail()
        kept = "keeping" if keep_namespace else "with"
        self.calls.append(f"withdraw {region} from {federation.host_cluster} {kept} namespace")

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


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    found = World()
    for name in ("prepare", "own_cluster", "mint", "withdraw", "delete_workloads", "rights"):
        monkeypatch.setattr(kubefed_member, name, getattr(found, name))
    monkeypatch.setattr(kubefed_member, "remove_own_account", found.remove_own_account)
    monkeypatch.setattr(kubefed_member, "now", lambda: found.now)
    monkeypatch.setattr(kubefed_member, "Store", lambda: Store(tmp_path))
    return found


@pytest.fixture
def ctx() -> testing.Context[KubefedMemberCharm]:
    return testing.Context(KubefedMemberCharm)


def ca_secret() -> testing.Secret:
    return testing.Secret({"ca-certificate": CA}, id="secret:ca000000000000000000", owner=None)


def kube_control() -> testing.Relation:
    data = kube_control_unit_data("kubefed-member/0", ca_secret_id="secret:ca000000000000000000")
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


class TestServing:
    def test_it_publishes_what_the_host_needs(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        relation = federation()
        config = {"labels": "country=it", "api-endpoint": "https://api.palermo.example:6443"}
        given = state(kube_control(), relation, config=config)
        out = ctx.run(ctx.on.relation_changed(relation), given)
        data = published(out)
        assert data.region == "palermo"
        assert data.api_endpoint == "https://api.palermo.example:6443"
        assert data.ca_certificate == CA
        assert data.kubernetes_version == "v1.35.4"
        assert data.labels == {"country": "it", "region": "palermo"}
        assert data.token_expires_at == NOW + timedelta(hours=24)
        secret = token_secret(out)
        identity = secret.id.removeprefix("secret:")
        assert data.token_secret_id == f"secret://{MODEL.uuid}/{identity}"
        assert world.calls == ["prepare palermo for catania"]

    def test_the_token_is_granted_to_the_application_and_in_no_databag(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        relation = federation()
        out = ctx.run(ctx.on.relation_changed(relation), state(kube_control(), relation))
        assert token_secret(out).remote_grants == {FEDERATION: {"remote-0f0f"}}
        assert (token_secret(out).latest_content or {})["token"] == "token-1"
        bags = json.dumps([each.local_app_data for each in out.relations])
        assert "token-1" not in bags
        assert "admin-token" not in bags
        assert world.minted == 1

    def test_endpoint_and_region_come_from_cluster_and_model_by_default(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        assert published(out).api_endpoint == "https://10.210.1.10:6443"
        assert world.minted == 1

    def test_nothing_is_done_twice(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        out = again(ctx, again(ctx, state()))
        assert world.minted == 1
        assert len(world.calls) == 1
        assert isinstance(out.unit_status, ops.ActiveStatus)

    def test_another_scope_prepares_again(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        changed = dataclasses.replace(out, config={"scope": "deployments.apps"})
        _ = ctx.run(ctx.on.config_changed(), changed)
        assert world.calls == ["prepare palermo for catania"] * 2
        assert world.minted == 1

    def test_a_host_that_has_not_named_itself_gets_the_public_part(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state(kube_control(), federation({})))
        assert published(out).region == "palermo"
        assert published(out).token_secret_id is None
        assert world.minted == 0
        assert out.unit_status == ops.WaitingStatus(
            "the federation's host has not named itself yet"
        )

    def test_only_the_leader_writes(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        out = again(ctx, state(leader=False))
        assert out.get_relation(FEDERATION).local_app_data == {}
        assert world.calls == []
        assert out.unit_status == ops.ActiveStatus("standing by for the leader")


class TestRenewal:
    def test_a_token_is_replaced_when_half_of_its_life_is_gone(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        world.now = NOW + timedelta(hours=11, minutes=59)
        out = again(ctx, out)
        assert world.minted == 1
        world.now = NOW + timedelta(hours=12)
        secret = token_secret(out)
        out = ctx.run(ctx.on.secret_rotate(secret), out)
        assert (token_secret(out).latest_content or {})["token"] == "token-2"
        assert published(out).token_expires_at == NOW + timedelta(hours=36)

    def test_a_failed_renewal_keeps_what_was_published_and_is_shown(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        world.now = NOW + timedelta(hours=22, minutes=30)
        world.fail = "the API does not answer"
        out = again(ctx, out)
        assert published(out).token_secret_id is not None
        assert out.unit_status == ops.WaitingStatus(
            "catania: the API does not answer; token ends in 1 h 30 min"
        )

    def test_the_remaining_life_is_shown_when_short(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        config = {"token-lifetime": "1h", "token-warning": "2h"}
        out = again(ctx, state(config=config))
        assert out.unit_status == ops.ActiveStatus(
            "ready to join catania; token ends in 1 h 0 min"
        )
        assert world.minted == 1

    def test_an_old_revision_is_removed_when_nobody_reads_it(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        for _ in range(2):
            out = ctx.run(ctx.on.action("rotate-token"), out)
        _ = ctx.run(ctx.on.secret_remove(token_secret(out), revision=2), out)
        assert ctx.removed_secret_revisions == [2]
        assert world.minted == 3


class TestLeaving:
    def run_broken(
        self, ctx: testing.Context[KubefedMemberCharm], config: dict[str, str | int | float | bool]
    ) -> testing.State:
        out = again(ctx, state(config=config))
        return ctx.run(ctx.on.relation_broken(out.get_relation(FEDERATION)), out)

    def test_what_was_made_is_removed(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = self.run_broken(ctx, {})
        assert world.calls[1:] == ["withdraw palermo from catania with namespace"]
        assert not [each for each in out.secrets if each.owner == "app"]

    def test_workloads_go_if_asked(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        _ = self.run_broken(ctx, {"workloads-on-leave": "delete"})
        assert world.calls[-1] == "delete workloads of catania"

    def test_the_hosts_own_namespace_stays(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        _ = self.run_broken(ctx, {"region": "catania"})
        assert world.calls[-1] == "withdraw catania from catania keeping namespace"

    def test_a_cluster_that_is_down_is_tried_again(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        world.fail = "no answer in time"
        out = ctx.run(ctx.on.relation_broken(out.get_relation(FEDERATION)), out)
        gone = dataclasses.replace(out, relations={r for r in out.relations if r.id != FEDERATION})
        out = again(ctx, gone)
        assert out.unit_status == ops.WaitingStatus("leaving catania: no answer in time")
        world.fail = ""
        out = again(ctx, out)
        assert out.unit_status == ops.ActiveStatus("ready to join a federation")

    def test_a_host_that_changes_its_name_is_another_host(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        other = dataclasses.replace(
            out.get_relation(FEDERATION), remote_app_data=HOST | {"host_cluster": '"napoli"'}
        )
        rest = {r for r in out.relations if r.id != FEDERATION}
        _ = again(ctx, dataclasses.replace(out, relations={*rest, other}))
        assert world.calls[1:] == [
            "withdraw palermo from catania with namespace",
            "prepare palermo for napoli",
        ]

    def test_the_charms_removal_leaves_nothing(
        self, ctx: testing.Context[KubefedMemberCharm], world: World, tmp_path: Path
    ):
        out = again(ctx, state())
        _ = ctx.run(ctx.on.remove(), out)
        assert world.calls[-1] == "remove own account"
        assert not list((tmp_path / "var/lib/kubefed-member").iterdir())

    def test_removal_goes_on_without_the_cluster(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        world.fail = "no answer in time"
        _ = ctx.run(ctx.on.remove(), state(kube_control()))


class TestStatus:
    @pytest.mark.parametrize(
        ("config", "text"),
        [
            ({"region": "Palermo"}, "config: region: a region's name"),
            ({"api-endpoint": "http://x"}, "config: api_endpoint: must be an https:// address"),
            ({"labels": "country"}, "config: labels: must be KEY=VALUE"),
            ({"token-lifetime": "soon"}, "config: token_lifetime: must be a number"),
            ({"token-lifetime": "5m"}, "config: token_lifetime: must be at least 10m"),
            ({"ca-certificate": "x"}, "config: ca_certificate: must be PEM"),
            ({"workloads-on-leave": "burn"}, "config: workloads_on_leave"),
        ],
    )
    def test_a_refused_configuration_blocks(
        self,
        ctx: testing.Context[KubefedMemberCharm],
        world: World,
        config: dict[str, str | int | float | bool],
        text: str,
    ):
        out = ctx.run(ctx.on.config_changed(), state(config=config))
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert out.unit_status.message.startswith(text)
        assert world.calls == []

    def test_a_model_whose_name_is_no_region_has_to_be_told(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state(model=testing.Model(name="7th")))
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert world.calls == []

    def test_without_control_plane(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        out = again(ctx, state(federation()))
        assert out.unit_status == ops.BlockedStatus("integrate with kubernetes-control-plane")
        assert world.calls == []

    def test_a_silent_control_plane(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        silent = testing.Relation("kube-control")
        out = ctx.run(ctx.on.relation_created(silent), state(silent, federation()))
        assert out.unit_status == ops.WaitingStatus("kube-control has not given access yet")
        asked = out.get_relation(silent.id).local_unit_data
        assert asked["kubelet_user"] == "kubefed-member/0"
        assert world.calls == []

    def test_a_secret_that_is_not_granted_yet(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state(secrets=set[testing.Secret]()))
        assert out.unit_status == ops.WaitingStatus("kube-control has not given access yet")
        assert world.calls == []

    def test_ready(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        out = again(ctx, state(kube_control()))
        assert out.unit_status == ops.ActiveStatus("ready to join a federation")
        assert out.app_status == ops.ActiveStatus("ready to join a federation")
        assert world.calls == []

    def test_joined(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        out = again(ctx, state(kube_control(), federation(HOST | {"joined": "true"})))
        assert out.unit_status == ops.ActiveStatus("member of catania")
        assert world.minted == 1

    def test_bad_data_of_the_host(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        out = again(ctx, state(kube_control(), federation({"host_cluster": "catania"})))
        assert out.unit_status == ops.BlockedStatus(
            "federation: the host's data is refused: host_cluster: not JSON (Expecting value)"
        )
        assert world.calls == []

    def test_a_cluster_that_refuses(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        world.fail = "forbidden (403)"
        out = again(ctx, state())
        assert out.unit_status == ops.WaitingStatus("catania: forbidden (403)")
        assert published(out).token_secret_id is None


class TestRotateToken:
    def test_it_mints_at_once(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        out = again(ctx, state())
        out = ctx.run(ctx.on.action("rotate-token"), out)
        assert world.minted == 2
        assert ctx.action_results == {
            "rotated": "catania",
            "expires-at": (NOW + timedelta(hours=24)).isoformat(),
        }
        assert "token-2" not in json.dumps(ctx.action_results)

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"leader": False}, "run this action on the leader"),
            ({"config": {"region": "?"}}, "the configuration is refused"),
            ({"relations": [federation()]}, "kube-control has not given access"),
            ({"relations": [kube_control()]}, "no federation is related"),
        ],
    )
    def test_it_fails_with_the_reason(
        self,
        ctx: testing.Context[KubefedMemberCharm],
        world: World,
        changed: dict[str, Any],
        reason: str,
    ):
        with pytest.raises(testing.ActionFailed, match=reason):
            _ = ctx.run(ctx.on.action("rotate-token"), state(**changed))
        assert world.minted == 0

    def test_a_cluster_that_refuses(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        out = again(ctx, state())
        world.fail = "forbidden (403)"
        with pytest.raises(testing.ActionFailed, match="forbidden"):
            _ = ctx.run(ctx.on.action("rotate-token"), out)


class TestShowRights:
    def test_it_shows_what_the_cluster_says(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        _ = ctx.run(ctx.on.action("show-rights", params={"namespace": "shop"}), out)
        results = ctx.action_results or {}
        shown = json.loads(results["rights"])
        assert shown == {"catania": [{"verbs": ["get"], "namespace": "shop"}]}
        world.fail = "no answer in time"
        with pytest.raises(testing.ActionFailed, match="no answer"):
            _ = ctx.run(ctx.on.action("show-rights", params={"namespace": "x"}), out)

    def test_it_needs_an_account(self, ctx: testing.Context[KubefedMemberCharm], world: World):
        with pytest.raises(testing.ActionFailed, match="no federation's account yet"):
            _ = ctx.run(ctx.on.action("show-rights"), state(kube_control()))
        assert world.minted == 0


def test_another_ca_of_the_endpoint(ctx: testing.Context[KubefedMemberCharm], world: World):
    out = again(ctx, state(config={"ca-certificate": CERTIFICATES[1]}))
    assert published(out).ca_certificate == CERTIFICATES[1]
    assert world.minted == 1
    assert ClusterAddress("https://x", CA) != ClusterAddress("https://x", CERTIFICATES[1])
