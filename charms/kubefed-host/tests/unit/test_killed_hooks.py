"""F10: a hook is killed at a call of a hook tool, and run again as Juju does.

Juju drops what a failed hook told it; what the hook did to clusters and to the unit stays.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from federation_interfaces.testing import killed_and_repeated, points
from host_world import IDS, PALERMO, Context, World, again, state
from ops import testing

Fresh = Callable[[pytest.MonkeyPatch, Path], World]
Story = Callable[[Context], tuple[Any, testing.State]]


def joins(ctx: Context) -> tuple[Any, testing.State]:
    return ctx.on.config_changed(), state()


def takes_a_new_token(ctx: Context) -> tuple[Any, testing.State]:
    out = again(ctx, state())
    secret = dataclasses.replace(
        out.get_secret(id=IDS["palermo"]), latest_content={"token": "palermo-2"}
    )
    others = {each for each in out.secrets if each.id != secret.id}
    return ctx.on.secret_changed(secret), dataclasses.replace(out, secrets={*others, secret})


def loses_a_member(ctx: Context) -> tuple[Any, testing.State]:
    out = again(ctx, state())
    return ctx.on.relation_broken(out.get_relation(PALERMO)), out


def hands_over(ctx: Context) -> tuple[Any, testing.State]:
    out = again(ctx, state())
    return ctx.on.config_changed(), dataclasses.replace(out, config={"control-plane": "upstream"})


def ended(out: testing.State, world: World) -> object:
    bags = {r.id: {k: json.loads(v) for k, v in r.local_app_data.items()} for r in out.relations}
    last = {call.split()[1]: call for call in world.calls if call.startswith(("join", "leave"))}
    service = world.service.replace(str(world.root), "")
    left = world.clusters, last, service, world.api.objects
    return bags, left, out.unit_status, out.app_status, out.workload_version


@pytest.mark.timeout(900)  # by night
@pytest.mark.parametrize("story", [joins, takes_a_new_token, loses_a_member, hands_over])
def test_a_hook_that_is_killed_is_done_by_the_next(
    ctx: Context, fresh: Fresh, tmp_path: Path, story: Story
) -> None:
    def play(fatal: int | None) -> tuple[object, int]:
        with pytest.MonkeyPatch.context() as patch:
            world = fresh(patch, tmp_path / str(fatal))
            event, given = story(ctx)
            out, count = killed_and_repeated(ctx, event, given, patch, fatal)
            return ended(out, world), count

    whole, count = play(None)
    for fatal in points(count):
        assert play(fatal)[0] == whole, f"killed at call {fatal}"
