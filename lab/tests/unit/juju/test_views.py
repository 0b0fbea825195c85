import json
from collections.abc import Callable
from typing import Any

import jubilant
import pytest
from federation_lab.juju import (
    cli_look,
    deployment,
    names,
    offers,
    relations,
    secretbook,
    view_details,
    view_status,
)
from federation_lab.juju.errors import JujuError
from federation_lab.juju.state import HookError, Secret, Status
from jubilant.modeltypes import ModelInfo
from jubilant.secrettypes import RevealedSecret
from jubilant.unittypes import UnitInfo

from .world import CONSUMING, OFFERING, World


@pytest.fixture
def world() -> World:
    world = World()
    world.deploy(world.here, OFFERING, units=2)
    world.deploy(world.there, CONSUMING)
    world.relate()
    world.settle()
    for model in (world.here, world.there):
        for machine in model.machines.values():
            machine.agent = Status(current="started", since=world.now)
            machine.status = Status(current="running", since=world.now)
        for app in model.applications.values():
            for unit in app.units.values():
                unit.workload = Status(current="active", since=world.now)
                unit.agent = Status(current="idle", since=world.now)
    return world


def shown(world: World, *, consuming: bool = False) -> dict[str, Any]:
    model = world.there if consuming else world.here
    return json.loads(json.dumps(view_status.status(world.state, model, world.now)))


def parsed(data: dict[str, Any]) -> jubilant.Status:
    return jubilant.Status._from_dict(data)  # pyright: ignore[reportPrivateUsage]


def test_jubilant_reads_status(world: World) -> None:
    status = parsed(shown(world))
    assert jubilant.all_active(status)
    assert jubilant.all_agents_idle(status)
    provider = status.apps["provider"]
    assert list(provider.units) == ["provider/0", "provider/1"]
    assert provider.units["provider/0"].leader
    assert provider.base is not None
    assert (provider.base.name, provider.base.channel) == ("ubuntu", "24.04")
    remote = f"remote-{world.there.applications['consumer'].token}"
    assert provider.relations["api"][0].related_app == remote
    assert status.offers["provider"].total_connected_count == 1


def test_saas_shows_the_offers_status(world: World) -> None:
    far = parsed(shown(world, consuming=True)).app_endpoints["provider"]
    assert far.url == "lab:admin/catania.provider"
    assert far.app_status.current == "active"
    assert far.relations == {"api": ["consumer"]}


def test_dead_machine(world: World) -> None:
    machine = world.here.machines["0"]
    machine.agent, machine.lost_since = Status(current="down", since=world.now), world.now
    unit = parsed(shown(world)).apps["provider"].units["provider/0"]
    assert unit.juju_status.current == "lost"
    assert (unit.workload_status.current, unit.workload_status.message) == (
        "unknown", "agent lost, see 'juju show-status-log provider/0'",
    )  # fmt: skip


def test_failed_hook(world: World) -> None:
    unit = world.here.applications["provider"].units["provider/1"]
    unit.error = HookError(hook={}, name="config-changed")
    status = parsed(shown(world))
    assert status.apps["provider"].app_status.current == "error"
    message = status.apps["provider"].units["provider/1"].workload_status.message
    assert message == 'hook failed: "config-changed"'


def test_tables_can_be_read(world: World) -> None:
    text = cli_look.tabular(shown(world), relations=True)
    assert "provider/0*" in text
    assert "Offer" in text
    assert "remote-" in text
    assert "SAAS" in cli_look.tabular(shown(world, consuming=True))


def test_show_unit(world: World) -> None:
    unit = world.there.applications["consumer"].units["consumer/0"]
    info = view_details.unit(world.state, world.there, unit)
    read = UnitInfo._from_dict(info)  # pyright: ignore[reportPrivateUsage]
    assert read.relation_info[0].cross_model
    assert list(read.relation_info[0].related_units) == ["provider/0", "provider/1"]


def test_show_model(world: World) -> None:
    info = view_details.model(world.state, world.here)
    read = ModelInfo._from_dict(info)  # pyright: ignore[reportPrivateUsage]
    assert (read.short_name, read.life) == ("catania", "alive")


def test_secret(world: World) -> None:
    held = Secret(
        id=names.new_secret_id(), model=world.here.uuid, owner="application:provider",
        created=world.now, updated=world.now,
    )  # fmt: skip
    secretbook.add_revision(held, {"token": "x"}, world.now)
    data = {"uri": held.id, **view_details.secret(world.state, held, reveal=True)}
    read = RevealedSecret._from_dict(data)  # pyright: ignore[reportPrivateUsage]
    assert read.content == {"token": "x"}
    assert "x" not in json.dumps(view_details.secret(world.state, held)["owner"])


def second_saas(world: World, app: str) -> None:
    offers.consume(world.state, world.there, "catania.provider", "other", world.now)
    relations.integrate(world.state, world.there, app, "other", world.now)


ATTEMPTS: dict[str, Callable[[World], object]] = {
    "in use": lambda w: deployment.remove_application(w.state, w.here, "provider", force=False),
    "offer in use": lambda w: offers.remove_offer(w.state, w.here, "provider", force=False),
    "taken": lambda w: offers.consume(w.state, w.there, "catania.provider", "consumer", w.now),
    "no offer": lambda w: offers.consume(w.state, w.there, "catania.none", "", w.now),
    "own offer": lambda w: offers.consume(w.state, w.here, "catania.provider", "x", w.now),
    "again": lambda w: relations.integrate(w.state, w.there, "consumer", "provider", w.now),
    "limit": lambda w: second_saas(w, "consumer"),
    "two saas": lambda w: second_saas(w, "provider"),
    "twice": lambda w: w.deploy(w.here, OFFERING),
    "saas name": lambda w: w.deploy(w.there, OFFERING),
    "peer": lambda w: offers.offer(w.here, "provider", ["friends"]),
    "none": lambda w: offers.offer(w.here, "provider", ["none"]),
}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("in use", "application is used by 1 offer"),
        ("offer in use", "offer has 1 relation"),
        ("taken", "local application with same name already exists"),
        ("no offer", 'application offer "admin/catania.none" not found'),
        ("own offer", "relate its application directly"),
        ("again", "already exists"),
        ("limit", "maximum relation limit of 1"),
        ("two saas", "between two remote applications"),
        ("twice", "application already exists"),
        ("saas name", "remote application with same name"),
        ("peer", "cannot be offered"),
        ("none", 'has no "none" relation'),
    ],
)
def test_refusals(world: World, what: str, words: str) -> None:
    with pytest.raises(JujuError) as caught:
        ATTEMPTS[what](world)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nix": "1"}, 'unknown option "nix"'),
        ({"level": "high"}, 'option "level" expected int, got "high"'),
        ({"level": True}, "expected int"),
        ({"enabled": "maybe"}, "expected boolean"),
        ({"key": "plain"}, "secret not valid"),
        ({"level": "5", "ratio": "x"}, "expected float"),
    ],
)
def test_configuration_refused(world: World, values: dict[str, Any], words: str) -> None:
    app = world.here.applications["provider"]
    with pytest.raises(JujuError, match=words):
        deployment.set_config(app, values)
    assert app.config == {}


def test_configuration_taken(world: World) -> None:
    app = world.here.applications["provider"]
    secret = "secret:" + names.new_secret_id()
    given = {"level": "7", "ratio": 2, "enabled": "true", "title": 5, "key": secret}
    deployment.set_config(app, given)
    assert app.config == {"level": 7, "ratio": 2.0, "enabled": True, "title": "5", "key": secret}
    deployment.set_config(app, {}, ["level"])
    assert deployment.settings(app)["level"] == 1
