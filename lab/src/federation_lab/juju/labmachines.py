"""The lab's machines (``federation_lab.machines``) as the agents use them."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from federation_lab import machines
from federation_lab.errors import LabError
from federation_lab.machine import boot


class LabMachine:
    """A machine whose agent is silent while it is frozen, as a machine's is that stands still.

    Args:
        held: The lab's machine.
        all_machines: The lab's machines, which know what is frozen.
    """

    def __init__(self, held: machines.Machine, all_machines: machines.Machines) -> None:
        self._held = held
        self._all = all_machines

    @property
    def address(self) -> str:
        """Its address in its region."""
        return self._held.address

    @property
    def alive(self) -> bool:
        """Whether it runs and is not frozen."""
        return self._held.alive and not self._all.groups.is_frozen(self._held.region)

    @property
    def root(self) -> Path:
        """Its file system as the host sees it.

        Raises:
            OSError: It does not run.
        """
        try:
            return self._held.root
        except LabError as error:
            raise OSError(str(error)) from error

    def command(
        self, argv: list[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> list[str]:
        """What to run on the host so that ``argv`` runs inside.

        Raises:
            OSError: It does not run.
        """
        try:
            return self._held.command(argv, env=env, cwd=cwd)
        except LabError as error:
            raise OSError(str(error)) from error


class LabProvider:
    """Makes the lab's machines.

    Args:
        home: ``LAB_HOME``.
    """

    data_dir = "/var/lib/juju"
    run_dir = "/run"
    trees_dir = boot.CHARMS

    def __init__(self, home: Path) -> None:
        self._machines = machines.Machines(home)
        self.trees = self._machines.lab.trees

    def ensure_region(self, region: str) -> None:
        """Makes a region's network."""
        self._machines.network.ensure_region(region)

    def remove_region(self, region: str) -> None:
        """Takes a region away, with what is left in it."""
        if region in self._machines.network.regions:
            self._machines.destroy_region(region)

    def create(self, region: str, name: str) -> LabMachine:
        """Makes and starts a machine, or finds it."""
        return LabMachine(self._machines.create(region, name), self._machines)

    def find(self, region: str, name: str) -> LabMachine | None:
        """A machine that was made, running or not."""
        with contextlib.suppress(LabError):
            return LabMachine(self._machines.get(region, name), self._machines)
        return None

    def destroy(self, region: str, name: str) -> None:
        """Takes a machine away, with its disk."""
        with contextlib.suppress(LabError):
            self._machines.destroy(self._machines.get(region, name))

    def reboot(self, region: str, name: str) -> None:
        """Stops a machine and starts it again with its disk."""
        machine = self._machines.get(region, name)
        self._machines.stop(machine)
        self._machines.start(machine)
