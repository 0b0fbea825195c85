import dataclasses
import json

import ops
import pytest
from federation_interfaces import RegionHealthUnitData
from federation_interfaces.testing import CA, CERTIFICATES
from host_world import (
    CA_ID,
    IDS,
    NAPOLI,
    PALERMO,
    Context,
    World,
    act,
    again,
    bag,
    kube_control,
    member,
    state,
    with_member,
    without,
    written,
)
from ops import testing


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
            ({"host-cluster": "Catania"}, "config: host-cluster: a region's name"),
            ({"namespace": "-"}, "config: namespace: a region's name"),
            ({"metrics-port": 80}, "config: metrics-port"),
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
