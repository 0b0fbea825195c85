"""F10: a hook is killed at a call of a hook tool, and run again as Juju does.

Juju drops what a failed hook told it; what the hook did to the cluster and to files stays.
"""

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from charm import KubefedMemberCharm
from federation_interfaces.testing import killed_and_repeated, points
from member_world import FEDERATION, HOST, NOW, World, again, published, state, token_secret
from ops import testing

Ctx = testing.Context[KubefedMemberCharm]
Fresh = Callable[[pytest.MonkeyPatch, Path], World]


def joins(ctx: Ctx, world: World) -> tuple[Any, testing.State]:
    given = state()
    return ctx.on.relation_changed(given.get_relation(FEDERATION)), given


def renews(ctx: Ctx, world: World) -> tuple[Any, testing.State]:
    out = again(ctx, state())
    world.now = NOW + timedelta(hours=12)
    return ctx.on.secret_rotate(token_secret(out)), out


def leaves(ctx: Ctx, world: World) -> tuple[Any, testing.State]:
    out = again(ctx, state())
    return ctx.on.relation_broken(out.get_relation(FEDERATION)), out


def finds_another_cluster(ctx: Ctx, world: World) -> tuple[Any, testing.State]:
    """Its etcd was lost: the token that Juju kept is good for nothing, however young."""
    out = again(ctx, state())
    world.uid, world.now = "two", NOW + timedelta(hours=1)
    return ctx.on.update_status(), out


def ended(out: testing.State) -> object:
    """All that a story is to end with, but for what is drawn anew."""
    bags = {
        r.endpoint: {k: v for k, v in r.local_app_data.items() if k != "token_secret_id"}
        for r in out.relations
    }
    own = [(s.label, s.rotate, s.remote_grants) for s in out.secrets if s.owner]
    return bags, own, out.unit_status, out.app_status


@pytest.mark.timeout(900)  # by night
@pytest.mark.parametrize("story", [joins, renews, finds_another_cluster, leaves])
def test_a_hook_that_is_killed_is_done_by_the_next(
    ctx: Ctx,
    fresh: Fresh,
    tmp_path: Path,
    story: Callable[[Ctx, World], tuple[Any, testing.State]],
) -> None:
    def play(fatal: int | None) -> tuple[testing.State, World, int]:
        with pytest.MonkeyPatch.context() as patch:
            world = fresh(patch, tmp_path / str(fatal))
            event, given = story(ctx, world)
            out, count = killed_and_repeated(ctx, event, given, patch, fatal)
            if story is not leaves:
                no_half_credential(ctx, out, world)
            return out, world, count

    whole, _, count = play(None)
    for fatal in points(count):
        out, world, _ = play(fatal)
        assert ended(out) == ended(whole), f"killed at call {fatal}"
        if story is leaves:
            assert any(call.startswith("withdraw") for call in world.calls)
            assert not [each for each in out.secrets if each.owner]


def no_half_credential(ctx: Ctx, out: testing.State, world: World) -> None:
    """One token, bound to what its secret says; the others end once the host has it."""
    secret = token_secret(out)
    content = secret.latest_content or {}
    number = content["token"].removeprefix("token-")
    assert number == str(world.minted), "the one that was minted last"
    assert content["bound-to"] == f"bound-{number}"
    assert published(out).token_secret_id is not None
    assert str(published(out).token_secret_id).endswith(secret.id.removeprefix("secret:"))
    relation = out.get_relation(FEDERATION)
    host = HOST | {"token_issued_at": json.dumps(content["issued-at"])}
    rest = {each for each in out.relations if each.id != FEDERATION}
    heard = dataclasses.replace(relation, remote_app_data=host)
    _ = again(ctx, dataclasses.replace(out, relations={*rest, heard}))
    assert world.calls[-1] == f"end tokens of palermo-catania but bound-{number}"
