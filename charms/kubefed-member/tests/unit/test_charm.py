import dataclasses
import json
from datetime import datetime, timedelta
from typing import Any

import ops
import pytest
from charm import KubefedMemberCharm
from federation_interfaces.cluster import ClusterAddress
from federation_interfaces.testing import CA, CA_UNKNOWN, CERTIFICATES
from member_world import (
    FEDERATION,
    HOST,
    MODEL,
    NOW,
    World,
    again,
    federation,
    kube_control,
    published,
    state,
    token_secret,
)
from ops import testing


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

    def test_after_a_failure_the_account_is_made_again(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        """Somebody may have deleted it, and only making it again mends that."""
        out = again(ctx, state())
        world.now = NOW + timedelta(hours=12)
        world.fail = 'serviceaccounts "palermo-catania" not found (404)'
        out = again(ctx, out)
        world.fail = ""
        out = again(ctx, out)
        assert world.calls == ["prepare palermo for catania"] * 2
        assert isinstance(out.unit_status, ops.ActiveStatus)

    def test_another_cluster_gets_account_and_token_anew(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        """As where the etcd of the cluster was lost: at the same address, without our accounts."""
        out = again(ctx, state())
        world.uid = ""  # who doesn't answer isn't another one
        out = again(ctx, out)
        assert world.minted == 1
        world.uid, world.fail = "two", "the API does not answer"
        out = again(ctx, out)
        world.fail = ""
        looked = world.looked
        out = ctx.run(ctx.on.config_changed(), out)
        assert (world.looked, world.minted) == (looked, 1)
        for _ in range(2):
            out = again(ctx, out)
        assert (world.minted, world.own_minted) == (2, ["kubefed-member/0"] * 2)
        assert (token_secret(out).latest_content or {})["token"] == "token-2"
        assert world.calls[-1] == "prepare palermo for catania"

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


class TestOlderTokens:
    def told(self, out: testing.State, taken_at: datetime) -> testing.State:
        """Let the host say which token its cluster holds."""
        relation = out.get_relation(FEDERATION)
        data = HOST | {"token_issued_at": json.dumps(taken_at.isoformat())}
        changed = dataclasses.replace(relation, remote_app_data=data)
        rest = {each for each in out.relations if each.id != FEDERATION}
        return dataclasses.replace(out, relations={*rest, changed})

    def test_they_end_when_the_host_has_the_new_one_and_not_before(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = self.told(again(ctx, state()), NOW)
        out = again(ctx, out)
        world.now = NOW + timedelta(hours=1)
        out = ctx.run(ctx.on.action("rotate-token"), out)
        assert world.calls[1:] == [
            "end tokens of palermo-catania but bound-1",
            "prepare palermo for catania",
        ]
        out = again(ctx, self.told(out, world.now))
        out = again(ctx, out)
        assert world.calls[3:] == ["end tokens of palermo-catania but bound-2"]

    def test_a_host_that_does_not_say_it_ends_none(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = ctx.run(ctx.on.action("rotate-token"), again(ctx, state()))
        _ = again(ctx, out)
        assert not [call for call in world.calls if call.startswith("end tokens")]

    def test_what_could_not_be_ended_is_said_and_tried_again(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = self.told(again(ctx, state()), NOW)
        world.fail = "no answer in time"
        out = again(ctx, out)
        assert out.unit_status == ops.WaitingStatus("catania: no answer in time")
        world.fail = ""
        out = again(ctx, out)
        assert world.calls[-1] == "end tokens of palermo-catania but bound-1"
        assert isinstance(out.unit_status, ops.ActiveStatus)

    def test_the_charms_own_token_is_replaced_too(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        _ = ctx.run(ctx.on.action("rotate-token"), out)
        assert world.own_minted == ["kubefed-member/0"] * 2


class TestStatus:
    @pytest.mark.parametrize(
        ("config", "text"),
        [
            ({"region": "Palermo"}, "config: region: a region's name"),
            ({"api-endpoint": "http://x"}, "config: api-endpoint: must be an https:// address"),
            ({"labels": "country"}, "config: labels: must be KEY=VALUE"),
            ({"token-lifetime": "soon"}, "config: token-lifetime: must be a number"),
            ({"token-lifetime": "5m"}, "config: token-lifetime: must be at least 10m"),
            ({"ca-certificate": "x"}, "config: ca-certificate: must be PEM"),
            ({"workloads-on-leave": "burn"}, "config: workloads-on-leave"),
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
        assert out.unit_status == ops.BlockedStatus(CA_UNKNOWN)
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
        # An account that somebody deleted is made again.
        assert world.calls == ["prepare palermo for catania"] * 2

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
    config = {"ca-certificate": CERTIFICATES[1], "api-endpoint": "https://api.example:6443"}
    out = again(ctx, state(config=config))
    assert published(out).ca_certificate == CERTIFICATES[1]
    assert world.minted == 1
    assert ClusterAddress("https://x", CA) != ClusterAddress("https://x", CERTIFICATES[1])
