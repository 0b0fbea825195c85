"""A unit of an earlier revision is upgraded: with its relation data and what it remembers."""

import dataclasses
import json
from pathlib import Path

import ops
import pytest
from dns_world import (
    HEALTH,
    HUB,
    MESH,
    Context,
    FakeMachine,
    again,
    entry,
    hub,
    regions,
    replace,
    spoke,
    state,
)
from federation_interfaces import MeshHubAppData, MeshMemberAppData
from federation_interfaces.testing import earlier, earlier_revisions, put_files
from ops import testing

REVISIONS = pytest.mark.parametrize("revision", earlier_revisions())


def upgraded(ctx: Context, given: testing.State, *numbers: int) -> testing.State:
    """The events after `juju refresh`: the upgrade, then whatever the relations bring."""
    out = ctx.run(ctx.on.upgrade_charm(), given)
    for number in numbers:
        out = ctx.run(ctx.on.relation_changed(out.get_relation(number)), out)
    return again(ctx, out)


def hub_before(revision: str, root: Path) -> testing.State:
    """A hub with one spoke and a host beside it, all of that revision."""
    left = earlier(revision, "federation-dns")
    put_files(root, left["hub"]["files"])
    bag = {"entry": json.dumps({**json.loads(left["spoke"]["mesh"]["entry"]), **PALERMO})}
    return state(
        testing.Relation(
            "mesh-hub",
            id=HUB,
            remote_app_name="remote-1",
            remote_app_data=bag,
            local_app_data=left["hub"]["mesh-hub"],
        ),
        testing.Relation("region-health", id=HEALTH, local_unit_data=left["hub"]["region-health"]),
    )


def spoke_before(revision: str, root: Path) -> testing.State:
    """A spoke of that revision, called catania, beside a hub that serves palermo, too."""
    left = earlier(revision, "federation-dns")
    put_files(root, left["spoke"]["files"])
    return state(
        testing.Relation(
            "mesh",
            id=MESH,
            remote_app_name="federation-mesh",
            remote_app_data=left["hub"]["mesh-hub"],
            local_app_data=left["spoke"]["mesh"],
        )
    )


# The spoke of the earlier tests was of the same region as their hub.
PALERMO = entry("palermo").model_dump(
    mode="json", include={"region", "url", "certificate", "nameserver", "address_ranges"}
)


@REVISIONS
class TestHub:
    def test_nothing_is_lost(
        self, ctx: Context, machine: FakeMachine, tmp_path: Path, revision: str
    ):
        out = upgraded(ctx, hub_before(revision, tmp_path), HUB)
        assert regions(machine) == ["catania", "palermo"]
        given = MeshHubAppData.load(out.get_relation(HUB).local_app_data).entries or []
        assert [each.region for each in given] == ["catania", "palermo"]
        assert out.unit_status == ops.ActiveStatus(
            "serving federation.example; 2 regions; neither can be judged lost without a witness "
            "or force-region"
        )

    def test_the_host_beside_it_still_knows_whom_to_ask(
        self, ctx: Context, machine: FakeMachine, tmp_path: Path, revision: str
    ):
        left = earlier(revision, "federation-dns")["hub"]["region-health"]
        out = upgraded(ctx, hub_before(revision, tmp_path), HEALTH)
        bag = out.get_relation(HEALTH).local_unit_data
        assert {key: bag[key] for key in left} == left  # Juju's own keys among them

    def test_a_spoke_that_is_upgraded_later(
        self, ctx: Context, machine: FakeMachine, tmp_path: Path, revision: str
    ):
        out = upgraded(ctx, hub_before(revision, tmp_path), HUB)
        newer = spoke(HUB, "palermo")
        out = ctx.run(ctx.on.relation_changed(newer), replace(out, newer))
        assert regions(machine) == ["catania", "palermo"]
        assert isinstance(out.unit_status, ops.ActiveStatus)

    def test_it_remembers_whom_the_earlier_revision_knew(
        self, ctx: Context, machine: FakeMachine, tmp_path: Path, revision: str
    ):
        given = hub_before(revision, tmp_path)
        silent = testing.Relation("mesh-hub", id=HUB, remote_app_name="remote-1")
        _ = upgraded(ctx, replace(given, silent))
        assert regions(machine) == ["catania", "palermo"]


@REVISIONS
class TestSpoke:
    def test_nothing_is_lost(
        self, ctx: Context, machine: FakeMachine, tmp_path: Path, revision: str
    ):
        out = upgraded(ctx, spoke_before(revision, tmp_path), MESH)
        assert regions(machine) == ["catania", "palermo"]
        own = MeshMemberAppData.load(out.get_relation(MESH).local_app_data).entry
        before = json.loads(earlier(revision, "federation-dns")["spoke"]["mesh"]["entry"])
        assert own is not None
        after = own.model_dump(mode="json")
        assert {key: after[key] for key in before} == before
        assert isinstance(out.unit_status, ops.ActiveStatus)

    def test_a_hub_that_is_upgraded_later(
        self, ctx: Context, machine: FakeMachine, tmp_path: Path, revision: str
    ):
        out = upgraded(ctx, spoke_before(revision, tmp_path), MESH)
        newer = hub(entry("palermo"), entry("napoli", 2))
        out = ctx.run(ctx.on.relation_changed(newer), replace(out, newer))
        assert regions(machine) == ["catania", "napoli", "palermo"]

    def test_what_a_later_revision_wrote_stays(
        self, ctx: Context, machine: FakeMachine, tmp_path: Path, revision: str
    ):
        given = spoke_before(revision, tmp_path)
        relation = given.get_relation(MESH)
        later = {**relation.local_app_data, "later": '"kept"'}
        relation = dataclasses.replace(relation, local_app_data=later)
        out = upgraded(ctx, replace(given, relation), MESH)
        assert out.get_relation(MESH).local_app_data["later"] == '"kept"'
