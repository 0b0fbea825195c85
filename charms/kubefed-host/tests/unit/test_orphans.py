"""A new host is related to members that hold another federation's objects: none is let go."""

import dataclasses
from pathlib import Path

import ops
import pytest
from federation_members import ReplicasAppData
from host_world import PALERMO, Context, World, again, bag, join, state, with_member, written
from kubefed.backup import Restored
from ops import testing

HELD = "it holds objects of a federation of which this host has none (Namespace shop): run restore"
BLOCKED = ops.BlockedStatus(f"palermo: {HELD}")


@pytest.fixture
def held(ctx: Context, world: World) -> testing.State:
    """A host after its first hooks, beside a member that is held."""
    world.orphans["palermo"] = HELD
    return again(ctx, state())


def test_the_status_asks_what_to_do_and_the_others_go_on(world: World, held: testing.State):
    assert held.unit_status == held.app_status == BLOCKED
    assert world.joins == ["join napoli with napoli-1 within 2"]
    assert written(held, PALERMO)["joined"] is False


def test_it_is_asked_as_long_as_nobody_answers(ctx: Context, world: World, held: testing.State):
    out = ctx.run(ctx.on.upgrade_charm(), again(ctx, held))
    assert out.unit_status == BLOCKED
    assert "palermo" not in world.clusters


def test_a_host_that_has_the_objects_takes_the_member_in(
    ctx: Context, world: World, held: testing.State
):
    world.orphans.clear()  # restored, or applied anew from where they are kept
    out = again(ctx, held)
    assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")


def test_the_action_joins_no_more_than_the_hook_does(
    ctx: Context, world: World, held: testing.State
):
    with pytest.raises(testing.ActionFailed, match="palermo is not joined: it holds objects"):
        _ = join(ctx, held, "palermo")
    assert "palermo" not in world.clusters


def test_beginning_anew_takes_the_operators_word(ctx: Context, world: World, held: testing.State):
    out = join(ctx, held, "palermo", release_orphans=True)
    assert ctx.action_results == {"cluster": "palermo", "state": "joined"}
    assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")
    # The word was for this once; and a member that is in is not held up by what it holds.
    out = join(ctx, again(ctx, out), "palermo")
    assert ctx.action_results == {"cluster": "palermo", "state": "already joined"}


def test_what_is_lost_where_some_is_known_is_said(ctx: Context, world: World, held: testing.State):
    """After a restore that was partial, say: that some is known is enough to join."""
    world.orphans.clear()
    world.unknown["palermo"] = "2 objects of a federation (Deployment shop/web, Secret shop/key)"
    out = join(ctx, held, "palermo")
    told = {"cluster": "palermo", "state": "joined", "lets-go-of": world.unknown["palermo"]}
    assert ctx.action_results == told
    # By then it is the controller's business.
    _ = join(ctx, out, "palermo")
    assert "lets-go-of" not in (ctx.action_results or {})


def test_a_restore_is_followed_by_joining(
    ctx: Context,
    world: World,
    held: testing.State,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    import federation_backup
    import federation_types

    def put_back(*_: object, **__: object) -> Restored:
        world.orphans.clear()
        return Restored("", {}, (), (), "", {})

    monkeypatch.setattr(federation_backup, "put_back", put_back)
    monkeypatch.setattr(federation_types, "kinds", lambda *_: None)
    key = testing.Secret({"key": "any"}, id="secret:ke000000000000000000", owner=None)
    given = dataclasses.replace(held, config={"backup-key": key.id}, secrets={*held.secrets, key})
    params = {"path": str(tmp_path), "overwrite": False}
    out = ctx.run(ctx.on.action("restore", params=params), given)
    assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")


def test_a_member_that_was_joined_before_this_revision_is_not_held_up(ctx: Context, world: World):
    out = again(ctx, state())
    world.orphans["palermo"] = HELD
    moved = bag("palermo", api_endpoint='"https://new.example:6443"')
    out = again(ctx, with_member(out, PALERMO, moved))
    assert out.unit_status == ops.ActiveStatus("2 clusters joined: napoli palermo")
    assert len(world.joins) == 3


def test_units_of_an_earlier_revision_read_what_is_noted(held: testing.State):
    noted = held.get_relation(9002).local_app_data
    [palermo] = [each for each in ReplicasAppData.load(noted).members or [] if each.held]
    assert (palermo.region, palermo.state) == ("palermo", "failed")
