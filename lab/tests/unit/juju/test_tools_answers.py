import json

import pytest
from federation_lab.juju import tools
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.planner import Hook
from federation_lab.juju.state import Task

from .world import CONSUMING, OFFERING, World


@pytest.fixture
def world() -> World:
    world = World()
    world.deploy(world.here, OFFERING, units=2)
    world.deploy(world.there, CONSUMING)
    world.relate()
    world.settle()
    return world


def leader(world: World, number: int = 0) -> HookContext:
    unit = world.here.applications["provider"].units[f"provider/{number}"]
    return world.context(world.here, unit)


def consumer(world: World) -> HookContext:
    unit = world.there.applications["consumer"].units["consumer/0"]
    return world.context(world.there, unit)


def run(context: HookContext, line: str, **files: str) -> tuple[int, str, str]:
    tool, *arguments = line.split()
    answer = tools.run(context, tool, arguments, files)
    return answer.code, answer.out, answer.err


def test_settings_are_flushed_only_in_the_end(world: World) -> None:
    context = leader(world)
    relation = run(context, "relation-ids api")[1].strip()
    assert run(context, f"relation-set -r {relation} --app a=1 b=2")[0] == 0
    assert run(context, f"relation-set -r {relation} --file -", **{"-": "{c: '3'}"})[0] == 0
    own = run(context, f"relation-get -r {relation} --app - provider --format=json")[1]
    assert json.loads(own) == {"a": "1", "b": "2"}
    reader = consumer(world)
    far = run(reader, "relation-ids api")[1].strip()
    assert run(reader, f"relation-get -r {far} --app --format=json")[1] == "{}\n"
    context.flush()
    assert json.loads(run(reader, f"relation-get -r {far} --app --format=json")[1])["a"] == "1"
    assert run(reader, f"relation-get -r {far} c provider/0 --format=json")[1] == '"3"\n'
    assert run(reader, f"relation-list -r {far} --format=json")[1] == (
        '["provider/0", "provider/1"]\n'
    )
    assert run(reader, f"relation-list -r {far} --app --format=json")[1] == '"provider"\n'
    assert run(reader, f"relation-model-get -r {far} --format=json")[1] == (
        f'{{"uuid": "{world.here.uuid}"}}\n'
    )


def test_only_the_leader_writes_for_the_application(world: World) -> None:
    follower = leader(world, 1)
    relation = run(follower, "relation-ids api")[1].strip()
    assert run(follower, f"relation-set -r {relation} --app a=1") == (
        1, "", "ERROR cannot write relation settings\n",
    )  # fmt: skip
    assert run(follower, f"relation-get -r {relation} --app - provider") == (
        1, "", "ERROR permission denied\n",
    )  # fmt: skip
    friends = run(follower, "relation-ids friends")[1].strip()
    assert run(follower, f"relation-get -r {friends} --app - provider")[0] == 0
    assert run(follower, "status-set --application=True active")[2] == (
        "ERROR this unit is not the leader\n"
    )


def test_unknown_relation(world: World) -> None:
    code, _, error = run(leader(world), "relation-get -r api:77 - x/0")
    assert code == 2
    assert "relation not found" in error
    assert "relation 77 not found" in run(leader(world), "network-get -r 77 api")[2]


def test_wrong_command_lines(world: World) -> None:
    assert run(leader(world), "relation-get --nix")[0] == 2
    assert run(leader(world), "status-set sleeping")[0] == 2
    assert run(leader(world), "no-such-tool")[0] == 1
    assert run(leader(world), "open-port 99999")[0] == 2
    assert run(leader(world), "action-get")[0] == 1


def test_status_holds_at_once(world: World) -> None:
    context = leader(world)
    assert run(context, "status-set blocked -- a b")[0] == 0
    assert context.unit.workload.message == "a b"
    since = context.unit.workload.since
    world.later(minutes=1)
    run(context, "status-set blocked -- a b")
    assert context.unit.workload.since == since
    shown = json.loads(run(context, "status-get --include-data --format=json")[1])
    assert (shown["status"], shown["message"]) == ("blocked", "a b")


def test_ports(world: World) -> None:
    context = leader(world)
    for port in ("8080", "53/udp", "90-95/tcp", "icmp"):
        assert run(context, f"open-port {port}")[0] == 0
    assert json.loads(run(context, "opened-ports --format=json")[1]) == [
        "53/udp", "8080/tcp", "90-95/tcp", "icmp",
    ]  # fmt: skip
    assert context.unit.ports == []
    run(context, "close-port 53/udp")
    context.flush()
    assert context.unit.ports == ["8080/tcp", "90-95/tcp", "icmp"]


def test_network(world: World) -> None:
    answer = json.loads(run(leader(world), "network-get api --format=json")[1])
    assert answer["ingress-addresses"] == ["10.0.0.10"]
    assert answer["bind-addresses"][0]["addresses"][0]["cidr"] == "10.0.0.0/24"
    assert run(leader(world), "network-get none")[2] == (
        'ERROR no network config found for binding "none"\n'
    )


def test_configuration_and_leadership(world: World) -> None:
    assert json.loads(run(leader(world), "config-get --format=json")[1])["level"] == 1
    assert run(leader(world), "config-get level")[1] == "1\n"
    assert run(leader(world), "config-get none --format=json")[1] == "null\n"
    assert run(leader(world), "is-leader --format=json")[1] == "true\n"
    assert run(leader(world, 1), "is-leader")[1] == "False\n"


def test_action(world: World) -> None:
    context = leader(world)
    context.hook = Hook(kind="action", action="greet", task="1")
    context.task = Task(
        id="1", operation="1", unit="provider/0", action="greet",
        params={"who": {"name": "ada"}}, enqueued=world.now,
    )  # fmt: skip
    assert run(context, "action-get who.name --format=json")[1] == '"ada"\n'
    run(context, "action-set a.b=1 a.c=2 d=3")
    assert context.task.results == {"a": {"b": "1", "c": "2"}, "d": "3"}
    assert "reserved" in run(context, "action-set stdout.x=1")[2]
    run(context, "action-log going on")
    assert context.task.log[0].endswith("going on")
    run(context, "action-fail -- no way")
    assert (context.task.status, context.task.message) == ("failed", "no way")


def test_state_and_logs(world: World) -> None:
    context = leader(world)
    run(context, "state-set --file -", **{"-": "{a: '1', b: x}"})
    assert json.loads(run(context, "state-get --format=json")[1]) == {"a": "1", "b": "x"}
    run(context, "state-delete a")
    context.flush()
    assert context.unit.state == {"b": "x"}
    run(context, "juju-log --log-level WARNING -- look out")
    assert world.lines == ["WARNING look out"]


def test_goal_state(world: World) -> None:
    goal = json.loads(run(consumer(world), "goal-state --format=json")[1])
    assert set(goal["units"]) == {"consumer/0"}
    assert set(goal["relations"]["api"]) == {"provider", "provider/0", "provider/1"}


def test_every_tool_of_ops_is_there() -> None:
    used = {
        "relation-ids", "relation-list", "relation-get", "relation-set", "relation-model-get",
        "config-get", "is-leader", "status-get", "status-set", "network-get", "open-port",
        "close-port", "opened-ports", "juju-log", "juju-reboot", "secret-add", "secret-get",
        "secret-set", "secret-grant", "secret-revoke", "secret-remove", "secret-ids",
        "secret-info-get", "action-get", "action-set", "action-fail", "action-log",
        "application-version-set", "state-get", "state-set", "state-delete", "goal-state",
        "credential-get", "resource-get", "storage-add", "storage-get", "storage-list",
    }  # fmt: skip
    assert used <= tools.TOOLS.keys()
