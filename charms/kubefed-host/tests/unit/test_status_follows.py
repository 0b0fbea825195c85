"""The status follows the clusters: what the charm notes, and the hook that is asked for."""

import dataclasses
import json
from pathlib import Path

import clusters_told
import ops
import pytest
from federation_interfaces.testing import earlier, earlier_revisions, put_files
from host_world import PALERMO, Context, World, act, again, bag, member, state
from ops import testing

LOST = {"ready": False, "reason": "ClusterNotReachable", "message": "cluster is not reachable: x"}
WELL = {"ready": True, "reason": "ClusterReady", "message": ""}


def one() -> testing.State:
    return state(member(PALERMO, bag("palermo")))


def changed(ctx: Context, out: testing.State) -> testing.State:
    """Run the hook as Juju does: the charm's own name of it is in JUJU_DISPATCH_PATH."""
    return ctx.run(dataclasses.replace(ctx.on.update_status(), path="clusters_changed"), out)


def noted(world: World) -> str:
    return (world.root / "var/lib/kubefed-host/status/said").read_text()


@pytest.fixture
def joined(ctx: Context, world: World) -> testing.State:
    out = again(ctx, one())
    assert noted(world) == '{"palermo": ""}'
    return out


def test_a_lost_cluster_is_said_and_a_returned_one(
    ctx: Context, world: World, joined: testing.State
):
    world.clusters["palermo"] |= LOST
    out = changed(ctx, joined)
    assert out.unit_status == ops.WaitingStatus("palermo: cluster is not reachable: x")
    assert out.app_status == out.unit_status
    assert noted(world) == '{"palermo": "ClusterNotReachable"}'
    world.clusters["palermo"] |= WELL
    out = changed(ctx, out)
    assert out.unit_status == out.app_status == ops.ActiveStatus("1 cluster joined: palermo")
    assert noted(world) == '{"palermo": ""}'


def test_a_host_cluster_that_is_silent(ctx: Context, world: World, joined: testing.State):
    world.fail_host = "no answer"
    out = changed(ctx, joined)
    assert isinstance(out.unit_status, ops.WaitingStatus)
    assert noted(world) == clusters_told.SILENT
    world.fail_host = ""
    out = changed(ctx, out)
    assert out.unit_status == ops.ActiveStatus("1 cluster joined: palermo")
    assert noted(world) == '{"palermo": ""}'


def test_one_that_does_not_say_how_the_clusters_are(
    ctx: Context, world: World, joined: testing.State, monkeypatch: pytest.MonkeyPatch
):
    import federation_members

    def refuse(*_: object) -> list[object]:
        raise federation_members.MemberError("forbidden (403)")

    monkeypatch.setattr(federation_members, "cluster_states", refuse)
    _ = changed(ctx, joined)
    assert noted(world) == clusters_told.SILENT


def test_what_an_operator_has_to_mend_is_no_silence(
    ctx: Context, world: World, joined: testing.State
):
    """Otherwise the service would be content with it for good."""
    world.api.objects["/api/v1/namespaces/shop"] = {"metadata": {"name": "shop"}}
    out = changed(ctx, dataclasses.replace(joined, config={"control-plane": "upstream"}))
    assert isinstance(out.unit_status, ops.BlockedStatus)
    assert noted(world) == '{"palermo": ""}'


def test_who_left_is_not_watched(ctx: Context, world: World, joined: testing.State):
    _ = act(ctx, joined, "unjoin-cluster", cluster="palermo", force=False, workloads="keep")
    assert noted(world) == "{}"


def test_the_leader_alone_is_followed(ctx: Context, world: World, joined: testing.State):
    assert world.follower == "kubefed-host/0"
    out = changed(ctx, dataclasses.replace(joined, leader=False))
    assert world.follower == ""
    _ = ctx.run(ctx.on.leader_elected(), dataclasses.replace(out, leader=True))
    assert world.follower == "kubefed-host/0"


def test_it_waits_until_there_is_something_to_follow(ctx: Context, world: World):
    _ = ctx.run(ctx.on.install(), testing.State(leader=True))
    world.fail_host = "no answer"
    _ = ctx.run(ctx.on.start(), one())
    assert world.follower == ""


def test_it_goes_with_the_unit(ctx: Context, world: World, joined: testing.State):
    _ = ctx.run(ctx.on.stop(), joined)
    assert world.follower == ""


def test_another_host_cluster_is_not_followed(ctx: Context, world: World, joined: testing.State):
    world.uid = "another"
    out = changed(ctx, joined)
    assert isinstance(out.unit_status, ops.BlockedStatus)
    assert world.follower == ""


def test_where_the_service_does_not_start_the_rest_goes_on(ctx: Context, world: World):
    world.fail_follower = "kubefed-host-status does not start: no systemd here"
    out = again(ctx, one())
    assert out.unit_status == ops.WaitingStatus(world.fail_follower)
    assert list(world.clusters) == ["palermo"]
    assert world.service
    world.fail_follower = ""
    assert again(ctx, out).unit_status == ops.ActiveStatus("1 cluster joined: palermo")


@pytest.mark.parametrize("revision", earlier_revisions())
def test_a_unit_of_an_earlier_revision_is_followed_from_its_upgrade_on(
    ctx: Context, world: World, tmp_path: Path, revision: str
):
    """Its register has no reasons, so what is lost costs one hook more."""
    left = earlier(revision, "kubefed-host")
    put_files(tmp_path, left["files"])
    known = json.loads(left["replicas"]["members"])
    register = [each | {"ready": False} for each in known if each["region"] == "palermo"]
    peers = testing.PeerRelation(
        "replicas",
        id=9002,
        local_app_data={**left["replicas"], "members": json.dumps(register)},
    )
    given = one()
    others = {each for each in given.relations if each.endpoint != "replicas"}
    given = dataclasses.replace(given, relations={*others, peers})
    world.clusters["palermo"] = {"name": "palermo", **LOST}
    out = ctx.run(ctx.on.upgrade_charm(), given)
    assert world.follower == "kubefed-host/0"
    assert noted(world) == '{"palermo": "ClusterNotReachable"}'
    assert isinstance(out.unit_status, ops.WaitingStatus)
