"""A unit of an earlier revision is upgraded: with its relation data and its peers' register."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import ops
import pytest
from federation_interfaces.testing import CERTIFICATES, earlier, earlier_revisions, put_files
from federation_members import ReplicasAppData
from host_world import CA_ID, MODEL, Context, World, again, kube_control
from ops import testing

PALERMO, HEALTH, PEERS = 9101, 9301, 9002


@pytest.fixture(params=earlier_revisions())
def left(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What the charms of that revision left, with one member and its agent."""
    found = earlier(request.param, "kubefed-host")
    put_files(tmp_path, found["files"])
    found["member"] = earlier(request.param, "kubefed-member")
    found["dns"] = earlier(request.param, "federation-dns")["hub"]["region-health"]
    return found


def before(left: dict[str, Any], world: World) -> testing.State:
    """The state that the earlier revision left: palermo joined, by its own word of before."""
    member = left["member"]["federation"]
    well = {"name": "palermo", "ready": True, "message": "", "reason": ""}
    world.clusters["palermo"] = well
    world.service = "runs"
    # The world of the earlier tests has two members; the second has left since.
    register = json.loads(left["replicas"]["members"])
    known = [each for each in register if each["region"] == "palermo"]
    replicas = {**left["replicas"], "members": json.dumps(known)}
    return testing.State(
        leader=True,
        model=MODEL,
        relations=[
            kube_control(),
            testing.PeerRelation("replicas", id=PEERS, local_app_data=replicas),
            testing.Relation(
                "members",
                id=PALERMO,
                remote_app_name="palermo-member",
                remote_app_data=member,
                local_app_data=left["members"],
            ),
            testing.Relation("region-health", id=HEALTH, remote_units_data={0: left["dns"]}),
        ],
        secrets=[
            testing.Secret({"ca-certificate": CERTIFICATES[0]}, id=CA_ID, owner=None),
            testing.Secret(
                left["member"]["secret"]["content"],
                id=json.loads(member["token_secret_id"]),
                owner=None,
            ),
        ],
    )


def upgraded(ctx: Context, given: testing.State) -> testing.State:
    """The events after `juju refresh`: the upgrade, then whatever the relations bring."""
    out = ctx.run(ctx.on.upgrade_charm(), given)
    for number in (PALERMO, HEALTH):
        out = ctx.run(ctx.on.relation_changed(out.get_relation(number)), out)
    return again(ctx, out)


def test_nothing_is_lost_and_the_member_stays_joined(
    ctx: Context, world: World, left: dict[str, Any]
):
    out = upgraded(ctx, before(left, world))
    assert out.unit_status == out.app_status == ops.ActiveStatus("1 cluster joined: palermo")
    said = out.get_relation(PALERMO).local_app_data
    assert json.loads(said["joined"]) is True
    for key in ("host_cluster", "namespace"):
        assert said[key] == left["members"][key]
    assert [call for call in world.calls if call.startswith("leave")] == []


def test_a_joined_member_is_not_asked_what_it_holds(
    ctx: Context, world: World, left: dict[str, Any]
):
    """The guard of new hosts came later: what is joined is the controller's already."""
    world.orphans["palermo"] = "it holds objects"
    given = before(left, world)
    known = json.loads(given.get_relation(PEERS).local_app_data["members"])
    assert known[0]["state"] == "joined"
    out = upgraded(ctx, given)
    assert out.unit_status == ops.ActiveStatus("1 cluster joined: palermo")


def test_the_agents_of_that_revision_are_asked(ctx: Context, world: World, left: dict[str, Any]):
    _ = upgraded(ctx, before(left, world))
    assert [agent.url for agent in world.agents or []] == ["https://10.0.0.12:8443"]
    assert all(agent.certificate for agent in world.agents or [])


def test_the_register_goes_on(ctx: Context, world: World, left: dict[str, Any]):
    out = upgraded(ctx, before(left, world))
    shared = ReplicasAppData.load(out.get_relation(PEERS).local_app_data)
    [record] = shared.members or []
    assert (record.region, record.relation, record.state) == ("palermo", PALERMO, "joined")
    assert (record.ready, record.held, record.error) == (True, False, "")
    assert shared.host_uid == "the host's"
    assert shared.control_plane in (None, "embedded")


def test_what_a_later_revision_wrote_stays(ctx: Context, world: World, left: dict[str, Any]):
    left["replicas"]["later"] = left["members"]["later"] = '"kept"'
    left["member"]["federation"]["later"] = '"ignored"'
    out = upgraded(ctx, before(left, world))
    for number in (PEERS, PALERMO):
        assert out.get_relation(number).local_app_data["later"] == '"kept"'
    assert out.unit_status == ops.ActiveStatus("1 cluster joined: palermo")


def test_a_token_of_that_revision_is_replaced_by_a_newer_member(
    ctx: Context, world: World, left: dict[str, Any]
):
    out = upgraded(ctx, before(left, world))
    count = len(world.joins)
    secret = next(each for each in out.secrets if "token" in each.tracked_content)
    content = {"token": "palermo-2", "issued-at": "2026-11-02T00:00:00+00:00"}
    secrets = {each for each in out.secrets if each.id != secret.id}
    new = testing.Secret(content, id=secret.id, owner=None)
    given = dataclasses.replace(out, secrets={*secrets, new})
    out = ctx.run(ctx.on.secret_changed(new), given)
    assert world.joins[count:] == ["join palermo with palermo-2 within 2"]
    said = out.get_relation(PALERMO).local_app_data
    assert json.loads(said["token_issued_at"]).startswith("2026-11-02T00:00:00")
