"""Whole regions of the lab: who is alive, kill, revive, and taking everything down."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from federation_lab.juju import client
from federation_lab.machines import Machines
from federation_lab.paths import paths

if TYPE_CHECKING:
    from collections.abc import Iterable


class Regions:
    """What drills do to regions, by the lab's machines."""

    def __init__(self) -> None:
        self.machines = Machines()

    def alive(self, names: Iterable[str]) -> dict[str, bool]:
        """Say of each region whether it has machines and all of them run."""
        running: dict[str, list[bool]] = {name: [] for name in names}
        for machine in self.machines.list():
            running.setdefault(machine.region, []).append(machine.alive)
        return {name: bool(each) and all(each) for name, each in running.items()}

    def kill(self, region: str) -> None:
        """End every process of the region at once."""
        self.machines.kill_region(region)

    def revive(self, region: str) -> None:
        """Boot the region's machines with the disks that they had."""
        self.machines.revive_region(region)


def take_down() -> None:
    """Take the lab away from whatever state it is in, and its state with it."""
    home = paths().home
    client.stop(home)
    Machines().destroy_all()
    shutil.rmtree(home, ignore_errors=True)
