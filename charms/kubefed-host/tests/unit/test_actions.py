import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import ops
import pytest
from host_world import (
    NOW,
    PALERMO,
    Context,
    World,
    act,
    again,
    bag,
    join,
    member,
    state,
    unjoin,
    written,
)
from ops import testing


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


class TestRotateTokens:
    def test_the_controller_starts_with_the_new_one_before_the_old_one_ends(
        self, ctx: Context, world: World
    ):
        out = again(ctx, state())
        before = len(world.calls)
        _ = act(ctx, out, "rotate-tokens", kubeconfigs=False)
        assert world.calls[before:] == [
            "renew the tokens of kubefed-host/0",
            "restart",
            "end older tokens of kubefed-host/0",
        ]
        assert (ctx.action_results or {})["rotated"] == "kubefed-host/0"

    def test_a_unit_that_is_not_the_leader_has_tokens_of_its_own(self, ctx: Context, world: World):
        out = dataclasses.replace(again(ctx, state()), leader=False)
        _ = act(ctx, out, "rotate-tokens", kubeconfigs=False)
        assert "end older tokens of kubefed-host/0" in world.calls

    def test_users_kubeconfigs_too(self, ctx: Context, world: World):
        _ = act(ctx, again(ctx, state()), "rotate-tokens", kubeconfigs=True)
        assert world.calls[-1] == "end kubeconfigs"
        assert (ctx.action_results or {})["kubeconfigs-ended"] == 2

    def test_what_is_refused(self, ctx: Context, world: World):
        with pytest.raises(testing.ActionFailed, match="not installed yet"):
            _ = act(ctx, state(), "rotate-tokens", kubeconfigs=False)
        out = again(ctx, state())
        world.fail_host = "no answer in time"
        with pytest.raises(testing.ActionFailed, match="no answer in time"):
            _ = act(ctx, out, "rotate-tokens", kubeconfigs=False)
        bad = dataclasses.replace(out, config={"metrics-port": 80})
        with pytest.raises(testing.ActionFailed, match="configuration is refused: metrics-port"):
            _ = act(ctx, bad, "rotate-tokens", kubeconfigs=False)
        alone = dataclasses.replace(
            out, relations={each for each in out.relations if each.endpoint != "kube-control"}
        )
        with pytest.raises(testing.ActionFailed, match="kube-control"):
            _ = act(ctx, alone, "rotate-tokens", kubeconfigs=False)


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
            ("http://x", "2h", "server: must be an https"),
            ("", "2", "lifetime: must be a number"),
            ("", "1m", "lifetime: .*at least 10m"),
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
