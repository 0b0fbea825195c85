import dataclasses
from pathlib import Path

import ops
from charm import KubefedMemberCharm
from member_world import (
    FEDERATION,
    HOST,
    World,
    again,
    kube_control,
    state,
)
from ops import testing


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
        _ = ctx.run(ctx.on.remove(), dataclasses.replace(out, planned_units=0))
        assert world.calls[1:] == [
            "withdraw palermo from catania with namespace",
            "remove own account",
        ]
        assert not list((tmp_path / "var/lib/kubefed-member").iterdir())

    def test_removal_goes_on_without_the_cluster(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        world.fail = "no answer in time"
        _ = ctx.run(ctx.on.remove(), state(kube_control(), planned_units=0))

    def test_other_units_still_need_the_accounts(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        _ = ctx.run(ctx.on.remove(), dataclasses.replace(out, planned_units=1))
        assert world.calls == ["prepare palermo for catania"]


class TestLeavingWithoutKubeControl:
    ENDED = "end palermo-catania at https://10.210.1.10:6443 with namespace"

    def alone(self, ctx: testing.Context[KubefedMemberCharm], *names: str) -> testing.State:
        """A member whose kube-control relation was removed before."""
        out = again(ctx, state())
        kept = {each for each in out.relations if each.endpoint in names}
        return dataclasses.replace(out, relations=kept, planned_units=0)

    def test_its_own_account_ends_the_federations(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = self.alone(ctx, "federation")
        out = ctx.run(ctx.on.relation_broken(out.get_relation(FEDERATION)), out)
        assert world.calls[1:] == [self.ENDED]
        _ = ctx.run(ctx.on.remove(), dataclasses.replace(out, relations=set()))
        assert world.calls[1:] == [self.ENDED]

    def test_at_the_latest_when_the_charm_goes(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        _ = ctx.run(ctx.on.remove(), self.alone(ctx))
        assert world.calls[1:] == [self.ENDED]

    def test_an_admins_token_that_was_taken_back(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = again(ctx, state())
        world.fail_admin = "Unauthorized (401)"
        out = ctx.run(ctx.on.relation_broken(out.get_relation(FEDERATION)), out)
        assert world.calls[1:] == [self.ENDED]
        assert out.unit_status == ops.ActiveStatus("ready to join a federation")

    def test_workloads_cannot_be_deleted_then(
        self, ctx: testing.Context[KubefedMemberCharm], world: World
    ):
        out = dataclasses.replace(
            self.alone(ctx, "federation"), config={"workloads-on-leave": "delete"}
        )
        _ = ctx.run(ctx.on.relation_broken(out.get_relation(FEDERATION)), out)
        assert world.calls[1:] == [self.ENDED]
        assert any("its objects stay" in line.message for line in ctx.juju_log)

    def test_a_cluster_that_is_gone_too(
        self, ctx: testing.Context[KubefedMemberCharm], world: World, tmp_path: Path
    ):
        out = self.alone(ctx)
        world.fail = "no answer in time"
        _ = ctx.run(ctx.on.remove(), out)
        assert any(
            "may be left in the cluster: kube-control gives no access" in line.message
            for line in ctx.juju_log
        )
        assert not list((tmp_path / "var/lib/kubefed-member").iterdir())
