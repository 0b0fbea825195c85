"""Three agents, each with its own region's Designate: a region lost, and Designate that hangs."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..conftest import Federation, Region, eventually
from .designate_world import World
from .fault_proxy import Fault

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

ZONE = "agents.example"
NAME = f"web.shop.svc.{ZONE}"
MOST_MIB = 80


@pytest.fixture(scope="module")
def agents(world: World, tmp_path_factory: pytest.TempPathFactory) -> Generator[Federation]:
    tmp_path = tmp_path_factory.mktemp("agents")
    names = tuple(world.regions)
    made = Federation({n: Region(n, tmp_path / n, i) for i, n in enumerate(names, 1)})
    try:
        made.peers()
        for region in made:
            region.api.start()
            _configure(region, world)
            region.api.publish("web", region.address())
        for region in made:
            region.start_agent()
        yield made
    finally:
        for region in made:
            region.stop()
            region.api.stop()


def _configure(region: Region, world: World) -> None:
    region.write_config(**{"return-after": 3}, flap={"free": 20, "limit": 0})
    config: dict[str, Any] = yaml.safe_load(region.config_path.read_text())
    file = world.cloud_file(region.folder / "clouds.yaml", region.name)
    config["zone"] = ZONE
    config["provider"] = {
        "type": "designate",
        "cloud-file": str(file),
        "email": "hostmaster@example.org",
        "timeout": 20,
    }
    region.config_path.write_text(yaml.safe_dump(config))


def memory(region: Region) -> int:
    assert region.agent is not None
    status = Path(f"/proc/{region.agent.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def test_a_lost_region_leaves_and_returns(world: World, agents: Federation) -> None:
    everybody = sorted(region.address() for region in agents)

    def seen(name: str) -> str:
        told = world.told(name, ZONE)
        return f"{world.regions[name].ask(NAME)} {told} {agents[name].log()[-1500:]}"

    for name in world.regions:
        eventually(
            lambda n=name: world.regions[n].ask(NAME) == everybody,
            300,
            f"{name} answers with all",
            lambda n=name: seen(n),
        )
    assert max(memory(region) for region in agents) <= MOST_MIB
    agents["palermo"].kill_agent()
    left = [a for a in everybody if a != agents["palermo"].address()]
    for name in ("catania", "napoli"):
        eventually(
            lambda n=name: world.regions[n].ask(NAME) == left,
            60,
            f"{name} without palermo",
            lambda n=name: seen(n),
        )
    agents["palermo"].start_agent()
    for name in world.regions:
        eventually(
            lambda n=name: world.regions[n].ask(NAME) == everybody,
            120,
            f"{name}: all again",
            lambda n=name: seen(n),
        )


def test_votes_do_not_wait_for_designate(world: World, agents: Federation) -> None:
    proxy = world.proxies["napoli"]
    with proxy.fault(Fault(".", "delay", seconds=12.0)) as fault:
        eventually(lambda: fault.met >= 1, 60, "napoli asks its Designate")
        agents["napoli"].api.publish("api", agents["napoli"].address(201))

        def published() -> bool:
            for name in ("catania", "palermo"):
                found = agents[name].verdict()["regions"]["napoli"]
                # On a busy machine a vote may be late, but none by Designate's 12 s.
                assert found["verdict"] != "lost", found
                assert not found["withdrawn"], found
            asked = (world.regions[n] for n in ("catania", "palermo"))
            return all(
                r.ask(f"api.shop.svc.{ZONE}") == [agents["napoli"].address(201)] for r in asked
            )

        eventually(published, 180, "the others publish what napoli has")
    name = f"api.shop.svc.{ZONE}"
    eventually(lambda: world.regions["napoli"].ask(name) != [], 120, "napoli's own catches up")
