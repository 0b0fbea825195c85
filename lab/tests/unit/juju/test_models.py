"""Models that end: who is told, and in which order their machines and networks go."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from federation_lab.juju import deployment, offers
from federation_lab.juju.api_models import Models
from federation_lab.juju.controller import Controller
from federation_lab.juju.provider import Machine
from federation_lab.juju.state import Model, Unit

from .world import CONSUMING, OFFERING, START, World


class Desk:
    """What the methods about models need of a controller."""

    def __init__(self, world: World) -> None:
        self.state = world.state

    def touch(self) -> None:
        """Nothing is saved here."""


class TestWhoIsTold:
    @pytest.fixture(autouse=True)
    def related(self) -> None:
        self.world = world = World()
        [self.offering] = world.deploy(world.here, OFFERING)
        [self.consuming] = world.deploy(world.there, CONSUMING)
        world.relate()
        world.settle()

    def destroy(self, model: Model, *, force: bool) -> None:
        desk = cast("Controller", Desk(self.world))
        Models(desk).api_destroy_model(model.name, force=force)
        if force:  # its agents end without a word
            for app in model.applications.values():
                for unit in app.units.values():
                    unit.life = "dead"
        self.reap()

    def reap(self) -> None:
        for model in self.world.state.models.values():
            _ = deployment.reap(self.world.state, model)

    def told(self, model: Model, unit: Unit) -> list[str]:
        return [line for line in self.world.run(model, unit) if line.startswith("api-")]

    @pytest.mark.parametrize("force", [False, True])
    def test_the_model_whose_offer_it_consumed(self, force: bool) -> None:
        here, there = self.world.here, self.world.there
        remote = f"remote-{there.applications['consumer'].token}"
        self.destroy(there, force=force)
        assert self.told(here, self.offering) == [
            f"api-relation-departed {remote}/0",
            f"api-relation-broken {remote}",
        ]

    def test_its_own_units_unless_forced(self) -> None:
        self.destroy(self.world.there, force=False)
        assert self.told(self.world.there, self.consuming) == [
            "api-relation-departed provider/0",
            "api-relation-broken provider",
        ]

    @pytest.mark.parametrize("force", [False, True])
    def test_nothing_of_the_relation_stays(self, force: bool) -> None:
        self.destroy(self.world.there, force=force)
        self.world.settle()
        self.reap()
        assert not [r for r in self.world.state.relations.values() if len(r.ends) > 1]

    def test_a_model_that_consumes_keeps_the_dead_offer_to_be_removed(self) -> None:
        """As Juju has it: the SAAS is terminated, and stays until remove-saas."""
        world = self.world
        self.destroy(world.here, force=True)
        assert self.told(world.there, self.consuming)[-1] == "api-relation-broken provider"
        assert world.there.saas["provider"].status.current == "terminated"
        self.reap()
        offers.remove_saas(world.state, world.there, "provider", force=False)
        assert world.there.saas == {}


def test_an_offer_that_is_there_again_starts_anew() -> None:
    world = World()
    world.deploy(world.here, OFFERING)
    offers.offer(world.here, "provider", ["api"])
    saas = offers.consume(world.state, world.there, "catania.provider", "", world.now)
    offers.remove_offer(world.state, world.here, "provider", force=True)
    assert saas.status.current == "terminated"
    offers.offer(world.here, "provider", ["api"])
    saas = offers.consume(world.state, world.there, "catania.provider", "", world.now)
    assert (saas.status.current, saas.status.message) == ("unknown", "")


class Slow:
    """A provider whose machines take their time to end."""

    data_dir, run_dir, trees_dir = "/var/lib/juju", "/run", "/opt/charms"

    def __init__(self, folder: Path) -> None:
        self.trees = folder / "trees"
        self.said: list[str] = []
        self.may_end = threading.Event()
        self.fails = 0

    def ensure_region(self, region: str) -> None:
        self.said.append(f"make {region}")

    def remove_region(self, region: str) -> None:
        self.said.append(f"remove {region}")
        if self.fails:
            self.fails -= 1
            raise FileNotFoundError(2, "No such file or directory")

    def create(self, region: str, name: str) -> Machine:
        raise NotImplementedError

    def find(self, region: str, name: str) -> Machine | None:
        raise NotImplementedError

    def destroy(self, region: str, name: str) -> None:
        self.said.append(f"end {name}")
        assert self.may_end.wait(10)
        self.said.append(f"{name} ended")

    def reboot(self, region: str, name: str) -> None:
        raise NotImplementedError


class TestOrder:
    @pytest.fixture
    async def controller(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Controller]:
        self.provider = Slow(tmp_path)
        controller = Controller(tmp_path / "juju", self.provider, lambda: START)
        real = asyncio.sleep

        async def at_once(_: float) -> None:
            await real(0)

        monkeypatch.setattr("federation_lab.juju.controller.asyncio.sleep", at_once)
        work = asyncio.create_task(controller.run())
        yield controller
        self.provider.may_end.set()
        work.cancel()
        _ = await asyncio.gather(work, return_exceptions=True)

    async def until(self, controller: Controller, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not true():
                controller.touch()
                await asyncio.to_thread(threading.Event().wait, 0.01)

    def dying(self, controller: Controller) -> Model:
        world = World()
        world.deploy(world.here, OFFERING, units=2)
        model = world.here
        controller.state.models[model.uuid] = model
        Models(controller).api_destroy_model(model.name, force=True)
        return model

    async def test_the_network_goes_after_the_machines(self, controller: Controller) -> None:
        model = self.dying(controller)
        said = self.provider.said
        await self.until(controller, lambda: len(said) == 2)
        assert sorted(said) == ["end catania-0", "end catania-1"]
        assert model.machines == {}
        assert controller.state.models == {model.uuid: model}
        self.provider.may_end.set()
        await self.until(controller, lambda: not controller.state.models)
        assert said[2:4] in (
            ["catania-0 ended", "catania-1 ended"],
            ["catania-1 ended", "catania-0 ended"],
        )
        assert said[4:] == ["remove catania"]

    async def test_what_fails_is_tried_again(self, controller: Controller) -> None:
        self.provider.may_end.set()
        self.provider.fails = 2
        _ = self.dying(controller)
        await self.until(controller, lambda: not controller.state.models)
        assert self.provider.said.count("remove catania") == 3


class Down(Slow):
    """A provider that knows each machine, none of which runs."""

    def find(self, region: str, name: str) -> Machine | None:
        return cast("Machine", Found(alive=False))

    def create(self, region: str, name: str) -> Machine:
        self.said.append(f"make {name}")
        return cast("Machine", Found(alive=True))


@dataclass
class Found:
    """A machine that was made before."""

    alive: bool
    address: str = "192.0.2.10"


@pytest.mark.parametrize(
    ("before", "said"),
    [("pending", ["make catania-0"]), ("provisioning", ["make catania-0"]), ("running", [])],
)
async def test_a_machine_whose_making_was_broken_off_is_made_and_a_killed_one_is_not(
    tmp_path: Path, before: str, said: list[str]
) -> None:
    world, provider = World(), Down(tmp_path)
    world.deploy(world.here, OFFERING)
    (machine,) = world.here.machines.values()
    machine.status.current = before
    controller = Controller(tmp_path / "juju", provider, lambda: START)
    await controller._start(world.here, machine)  # pyright: ignore[reportPrivateUsage]
    assert provider.said == said
    assert machine.status.current == "running"
