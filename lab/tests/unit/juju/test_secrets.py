import re

import pytest
from federation_lab.juju import tools
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.state import Unit

from .world import CONSUMING, OFFERING, World


@pytest.fixture
def world() -> World:
    world = World()
    world.deploy(world.here, OFFERING, units=2)
    world.deploy(world.there, CONSUMING)
    world.relate()
    world.settle()
    return world


def provider(world: World, number: int = 0) -> tuple[HookContext, Unit]:
    unit = world.here.applications["provider"].units[f"provider/{number}"]
    return world.context(world.here, unit), unit


def consumer(world: World) -> tuple[HookContext, Unit]:
    unit = world.there.applications["consumer"].units["consumer/0"]
    return world.context(world.there, unit), unit


def ok(context: HookContext, tool: str, *arguments: str) -> str:
    answer = tools.run(context, tool, arguments, {})
    assert answer.code == 0, answer.err
    return answer.out.strip()


def refused(context: HookContext, tool: str, *arguments: str) -> str:
    answer = tools.run(context, tool, arguments, {})
    assert answer.code != 0
    return answer.err


def api(context: HookContext) -> str:
    return ok(context, "relation-ids", "api")


def shared(world: World) -> str:
    """A secret of the offering application, granted; answers its URI as the consumer has it."""
    context, _ = provider(world)
    uri = ok(context, "secret-add", "token=first", "--label", "tok")
    ok(context, "secret-grant", uri, "--relation", api(context))
    context.flush()
    return f"secret://{world.here.uuid}/{uri.removeprefix('secret:')}"


def test_granted_secret_is_read(world: World) -> None:
    uri = shared(world)
    context, _ = consumer(world)
    assert ok(context, "secret-get", uri) == "token: first"
    assert ok(context, "secret-get", uri, "token") == "first"


def test_without_the_model_it_is_not_found(world: World) -> None:
    plain = "secret:" + shared(world).rpartition("/")[2]
    context, _ = consumer(world)
    assert "not found" in refused(context, "secret-get", plain)


def test_what_is_not_granted_is_denied(world: World) -> None:
    context, _ = provider(world)
    identifier = ok(context, "secret-add", "token=x").removeprefix("secret:")
    context.flush()
    reader, _ = consumer(world)
    error = refused(reader, "secret-get", f"secret://{world.here.uuid}/{identifier}")
    assert error == "ERROR permission denied\n"


def test_consuming_side_cannot_grant(world: World) -> None:
    context, _ = consumer(world)
    uri = ok(context, "secret-add", "token=mine")
    error = refused(context, "secret-grant", uri, "--relation", api(context))
    assert "cross model relation not supported" in error


def test_no_unit_is_granted_across_models(world: World) -> None:
    context, _ = provider(world)
    uri = ok(context, "secret-add", "token=x")
    remote = ok(context, "relation-list", "-r", api(context))
    error = refused(context, "secret-grant", uri, "-r", api(context), "--unit", remote)
    assert error == (
        "ERROR sharing secrets with a unit across a cross model relation not supported\n"
    )


def test_failed_hook_leaves_nothing(world: World) -> None:
    context, _ = provider(world)
    ok(context, "secret-add", "token=x")
    assert world.here.secrets == {}


def test_new_revision_is_told_once_and_kept_until_refreshed(world: World) -> None:
    uri = shared(world)
    reader, unit = consumer(world)
    ok(reader, "secret-get", uri, "--label", "api-token")
    owner, _ = provider(world)
    ok(owner, "secret-set", uri, "token=second")
    owner.flush()
    hook = world.next(world.there, unit)
    assert hook is not None
    assert (hook.kind, hook.secret, hook.secret_label) == ("secret-changed", uri, "api-token")
    assert world.run(world.there, unit) == ["secret-changed"]
    assert ok(reader, "secret-get", "--label", "api-token", "--format=json") == (
        '{"token": "first"}'
    )
    assert ok(reader, "secret-get", uri, "--peek") == "token: second"
    assert ok(reader, "secret-get", uri, "--refresh") == "token: second"
    assert ok(reader, "secret-get", uri) == "token: second"


def test_owner_is_told_of_the_revision_nobody_reads(world: World) -> None:
    uri = shared(world)
    reader, unit = consumer(world)
    ok(reader, "secret-get", uri)
    owner, leader = provider(world)
    ok(owner, "secret-set", uri, "token=second")
    owner.flush()
    assert world.run(world.here, leader) == []
    ok(reader, "secret-get", uri, "--refresh")
    hook = world.next(world.here, leader)
    assert hook is not None
    assert (hook.kind, hook.revision) == ("secret-remove", 1)
    ok(owner, "secret-remove", uri, "--revision", "1")
    owner.flush()
    assert unit.name == "consumer/0"
    assert world.run(world.here, leader) == []


def test_what_the_owner_reads_holds_no_old_revision(world: World) -> None:
    uri = shared(world)
    owner, leader = provider(world)
    assert ok(owner, "secret-get", "--label", "tok") == "token: first"
    ok(owner, "secret-set", uri, "token=second")
    owner.flush()
    assert world.run(world.here, leader) == ["secret-remove"]


def test_same_content_is_no_revision(world: World) -> None:
    uri = shared(world)
    owner, _ = provider(world)
    ok(owner, "secret-set", uri, "token=first")
    owner.flush()
    assert [r.number for s in world.here.secrets.values() for r in s.revisions] == [1]


def test_only_the_leader_changes_the_applications_secrets(world: World) -> None:
    uri = shared(world)
    follower, _ = provider(world, 1)
    assert refused(follower, "secret-set", uri, "token=x") == "ERROR permission denied\n"
    assert "not the leader" in refused(follower, "secret-add", "token=x")
    assert ok(follower, "secret-get", "--label", "tok") == "token: first"
    assert re.match(r"secret:[0-9a-v]{20}$", ok(follower, "secret-add", "key=x", "--owner=unit"))


def test_rotation_and_expiry_come_due(world: World) -> None:
    context, leader = provider(world)
    ok(context, "secret-add", "token=x", "--rotate", "hourly", "--expire", "90m")
    context.flush()
    assert world.run(world.here, leader) == []
    world.later(hours=1)
    assert world.run(world.here, leader) == ["secret-rotate", "update-status"]
    world.later(minutes=31)
    assert "secret-expired" in world.run(world.here, leader)
    assert "not valid" in refused(context, "secret-add", "token=x", "--rotate", "never-ever")


def test_revoked_is_denied(world: World) -> None:
    uri = shared(world)
    owner, _ = provider(world)
    ok(owner, "secret-revoke", uri, "--relation", api(owner))
    owner.flush()
    reader, _ = consumer(world)
    assert refused(reader, "secret-get", uri) == "ERROR permission denied\n"


def test_information(world: World) -> None:
    shared(world)
    owner, _ = provider(world)
    info = ok(owner, "secret-info-get", "--label", "tok", "--format=json")
    assert '"revision": 1' in info
    assert '"label": "tok"' in info
    assert len(ok(owner, "secret-ids").splitlines()) == 1


@pytest.mark.parametrize("key", ["ab=x", "Token=x", "abc-=x", "to_ken=x"])
def test_keys_that_are_refused(world: World, key: str) -> None:
    context, _ = provider(world)
    assert "not valid" in refused(context, "secret-add", key)
