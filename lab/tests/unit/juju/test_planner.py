import pytest
from federation_lab.juju import deployment, offers, planner, relations
from federation_lab.juju.planner import Hook
from federation_lab.juju.state import Task

from .world import CONSUMING, OFFERING, World


@pytest.fixture
def world() -> World:
    return World()


def test_first_deployment(world: World) -> None:
    [unit] = world.deploy(world.here, OFFERING)
    assert world.run(world.here, unit) == [
        "install",
        "friends-relation-created provider",
        "leader-elected",
        "config-changed",
        "start",
    ]


def test_only_the_leader_is_elected(world: World) -> None:
    _, second = world.deploy(world.here, OFFERING, units=2)
    assert "leader-elected" not in world.run(world.here, second)


def test_peers_join_each_other(world: World) -> None:
    first, second = world.deploy(world.here, OFFERING, units=2)
    world.run(world.here, first)
    assert world.run(world.here, second)[-2:] == [
        "friends-relation-joined provider/0",
        "friends-relation-changed provider/0",
    ]
    assert world.run(world.here, first) == [
        "friends-relation-joined provider/1",
        "friends-relation-changed provider/1",
    ]


def test_relation_across_models(world: World) -> None:
    [offering] = world.deploy(world.here, OFFERING)
    [consuming] = world.deploy(world.there, CONSUMING)
    world.settle()
    world.relate()
    remote = f"remote-{world.there.applications['consumer'].token}"
    assert world.run(world.here, offering) == [f"api-relation-created {remote}"]
    assert world.run(world.there, consuming) == [
        "api-relation-created provider",
        "api-relation-joined provider/0",
        "api-relation-changed provider/0",
    ]
    assert world.run(world.here, offering) == [
        f"api-relation-joined {remote}/0",
        f"api-relation-changed {remote}/0",
    ]


def test_changed_only_when_data_changed(world: World) -> None:
    [offering] = world.deploy(world.here, OFFERING)
    [consuming] = world.deploy(world.there, CONSUMING)
    world.relate()
    world.settle()
    relation = next(r for r in world.state.relations.values() if r.cross_model)
    assert relations.write(relation.ends[0], None, {"a": "1"})
    assert world.run(world.there, consuming) == ["api-relation-changed provider"]
    assert not relations.write(relation.ends[0], None, {"a": "1"})
    assert world.run(world.there, consuming) == []
    assert relations.write(relation.ends[0], offering.name, {"b": "2"})
    assert world.run(world.there, consuming) == ["api-relation-changed provider/0"]


def test_removing_a_relation(world: World) -> None:
    [offering] = world.deploy(world.here, OFFERING)
    [consuming] = world.deploy(world.there, CONSUMING)
    world.relate()
    world.settle()
    relation = next(r for r in world.state.relations.values() if r.cross_model)
    relations.end_relation(relation)
    hook = world.next(world.there, consuming)
    assert hook is not None
    assert (hook.kind, hook.departing_unit) == ("relation-departed", "provider/0")
    assert world.run(world.there, consuming) == [
        "api-relation-departed provider/0",
        "api-relation-broken provider",
    ]
    relations.prune(world.state)
    assert relation.uid in world.state.relations
    assert len(world.run(world.here, offering)) == 2
    relations.prune(world.state)
    assert relation.uid not in world.state.relations


def test_dying_unit(world: World) -> None:
    [offering] = world.deploy(world.here, OFFERING)
    [consuming] = world.deploy(world.there, CONSUMING)
    world.relate()
    world.settle()
    deployment.remove_unit(consuming, force=False)
    hook = world.next(world.there, consuming)
    assert hook is not None
    assert hook.departing_unit == "consumer/0"
    assert world.run(world.there, consuming) == [
        "api-relation-departed provider/0",
        "api-relation-broken provider",
        "stop",
        "remove",
    ]
    assert planner.finished(consuming)
    [departed] = world.run(world.here, offering)
    assert departed.startswith("api-relation-departed remote-")


def test_relation_that_ends_before_it_was_told_of(world: World) -> None:
    [offering] = world.deploy(world.here, OFFERING)
    [consuming] = world.deploy(world.there, CONSUMING)
    world.settle()
    world.relate()
    planner.enter_scopes(world.state, world.here, offering)
    relation = next(r for r in world.state.relations.values() if r.cross_model)
    relations.end_relation(relation)
    assert world.run(world.here, offering) == []
    assert world.run(world.there, consuming) == []
    relations.prune(world.state)
    assert relation.uid not in world.state.relations


def test_suspended_relation_departs_and_returns(world: World) -> None:
    world.deploy(world.here, OFFERING)
    [consuming] = world.deploy(world.there, CONSUMING)
    world.relate()
    world.settle()
    relation = next(r for r in world.state.relations.values() if r.cross_model)
    relation.suspended = True
    assert world.run(world.there, consuming) == [
        "api-relation-departed provider/0",
        "api-relation-broken provider",
    ]
    world.settle()
    relation.suspended = False
    world.settle()
    assert relation.uid in consuming.local.relations
    assert list(consuming.local.relations[relation.uid].members) == ["provider/0"]


def test_start_after_a_reboot(world: World) -> None:
    [unit] = world.deploy(world.here, OFFERING)
    world.settle()
    unit.local.restarted = True
    assert world.run(world.here, unit) == ["start"]


def test_upgrade_is_followed_by_config_changed(world: World) -> None:
    [unit] = world.deploy(world.here, OFFERING)
    world.settle()
    app = world.here.applications["provider"]
    assert deployment.refresh(world.state, app, OFFERING.model_copy(update={"sha256": "p2"}))
    assert app.charm_revision == 1
    assert world.run(world.here, unit) == ["upgrade-charm", "config-changed"]


def test_update_status(world: World) -> None:
    [unit] = world.deploy(world.here, OFFERING)
    world.settle()
    world.later(minutes=4, seconds=59)
    assert world.run(world.here, unit) == []
    world.later(seconds=1)
    assert world.run(world.here, unit) == ["update-status"]
    world.here.config["update-status-hook-interval"] = "0s"
    world.later(hours=1)
    assert world.run(world.here, unit) == []


def test_config_changed_once_for_a_change(world: World) -> None:
    [unit] = world.deploy(world.here, OFFERING)
    world.settle()
    app = world.here.applications["provider"]
    assert not deployment.set_config(app, {})
    assert deployment.set_config(app, {"level": "5"})
    assert world.run(world.here, unit) == ["config-changed"]


def test_actions_in_their_order(world: World) -> None:
    [unit] = world.deploy(world.here, OFFERING)
    for number in ("10", "9"):
        task = Task(id=number, operation="1", unit=unit.name, action="greet", enqueued=world.now)
        world.here.tasks[number] = task
    hook = world.next(world.here, unit)
    assert hook is not None
    assert hook.kind == "install"
    planner.complete(world.state, world.here, unit, Hook(kind="install"), world.now)
    task = planner.next_task(world.here, unit.name)
    assert task is not None
    assert task.id == "9"


def test_leadership_passes_on(world: World) -> None:
    first, second = world.deploy(world.here, OFFERING, units=2)
    world.settle()
    app = world.here.applications["provider"]
    assert not deployment.elect(app, {first.name, second.name})
    assert deployment.elect(app, {second.name})
    assert app.leader == second.name
    assert world.run(world.here, second) == ["leader-elected"]
    assert not first.local.leader


def test_dropped_offer_ends_its_relations(world: World) -> None:
    world.deploy(world.here, OFFERING)
    [consuming] = world.deploy(world.there, CONSUMING)
    world.relate()
    world.settle()
    offers.remove_offer(world.state, world.here, "provider", force=True)
    assert world.run(world.there, consuming)[-1] == "api-relation-broken provider"
    assert world.there.saas["provider"].status.current == "terminated"
