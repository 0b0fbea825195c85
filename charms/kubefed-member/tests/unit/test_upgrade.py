"""A unit of an earlier revision is upgraded: with its relation data, its secret and its files."""

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import ops
import pytest
from charm import KubefedMemberCharm
from federation_interfaces.testing import earlier, earlier_revisions, put_files
from member_world import (
    FEDERATION,
    NOW,
    World,
    again,
    kube_control,
    published,
    state,
    token_secret,
)
from ops import testing

Context = testing.Context[KubefedMemberCharm]


@pytest.fixture(params=earlier_revisions())
def left(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What the charm of that revision left; its files are where the charm looks for them."""
    found = earlier(request.param, "kubefed-member")
    put_files(tmp_path, found["files"])
    found["host"] = earlier(request.param, "kubefed-host")["members"]
    return found


def before(left: dict[str, Any], host: dict[str, str] | None = None) -> testing.State:
    """The state that the earlier revision left."""
    relation = testing.Relation(
        "federation",
        id=FEDERATION,
        remote_app_name="remote-0f0f",
        remote_app_data=left["host"] if host is None else host,
        remote_model_uuid="99999999-2222-4333-8444-555555555555",
        local_app_data=left["federation"],
    )
    identity = json.loads(left["federation"]["token_secret_id"]).rpartition("/")[2]
    secret = testing.Secret(
        left["secret"]["content"],
        id=f"secret:{identity}",
        label=left["secret"]["label"],
        owner="app",
        remote_grants={FEDERATION: {"remote-0f0f"}},
        rotate=ops.SecretRotate.HOURLY,
    )
    given = state(kube_control(), relation, config={"labels": "country=it"})
    return dataclasses.replace(given, secrets={*given.secrets, secret})


def upgraded(ctx: Context, given: testing.State) -> testing.State:
    """The events after `juju refresh`: the upgrade, then whatever the relation brings."""
    out = ctx.run(ctx.on.upgrade_charm(), given)
    relation = out.get_relation(FEDERATION)
    return again(ctx, ctx.run(ctx.on.relation_changed(relation), out))


def test_nothing_is_lost_and_the_member_stays_in(ctx: Context, world: World, left: dict[str, Any]):
    given = before(left)
    out = upgraded(ctx, given)
    assert out.unit_status == out.app_status == ops.ActiveStatus("member of catania")
    bag = out.get_relation(FEDERATION).local_app_data
    assert bag == {**bag, **left["federation"]}
    # The token is good, so none is minted, and the host need not be told anything.
    assert world.minted == 0
    assert token_secret(out).latest_content == left["secret"]["content"]
    assert published(out).token_expires_at == NOW + timedelta(hours=24)


def test_the_next_token_is_of_this_revision(ctx: Context, world: World, left: dict[str, Any]):
    out = upgraded(ctx, before(left))
    world.now = NOW + timedelta(hours=12)
    out = ctx.run(ctx.on.secret_rotate(token_secret(out)), out)
    content = token_secret(out).latest_content or {}
    assert (content["token"], content["bound-to"]) == ("token-1", "bound-1")
    assert published(out).token_secret_id == json.loads(left["federation"]["token_secret_id"])


def test_a_newer_host_beside_it(ctx: Context, world: World, left: dict[str, Any]):
    """Its host was upgraded first, and says more than this revision knows."""
    issued = left["secret"]["content"]["issued-at"]
    host = {**left["host"], "token_issued_at": json.dumps(issued), "later": '"unknown"'}
    out = upgraded(ctx, before(left, host))
    assert out.unit_status == ops.ActiveStatus("member of catania")
    # Only tokens that are bound to something can be ended.
    bound = left["secret"]["content"].get("bound-to")
    ended = [call for call in world.calls if call.startswith("end tokens")]
    assert ended == ([f"end tokens of palermo-catania but {bound}"] if bound else [])


def test_a_host_of_that_revision_leaves(ctx: Context, world: World, left: dict[str, Any]):
    out = upgraded(ctx, before(left))
    out = ctx.run(ctx.on.relation_broken(out.get_relation(FEDERATION)), out)
    assert world.calls[-1].startswith("withdraw palermo from catania")
    assert not [each for each in out.secrets if each.owner == "app"]


def test_what_a_later_revision_wrote_stays(ctx: Context, world: World, left: dict[str, Any]):
    """After a step back: keys that this revision does not know are not its to delete."""
    left["federation"]["later"] = '"kept"'
    out = upgraded(ctx, before(left))
    assert out.get_relation(FEDERATION).local_app_data["later"] == '"kept"'
    assert out.unit_status == ops.ActiveStatus("member of catania")
