"""What the agents need of a machine, and the lab's machines as that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Machine(Protocol):
    """A machine that runs or has stopped."""

    @property
    def address(self) -> str:
        """Its address in its region."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        ...

    @property
    def root(self) -> Path:
        """Its file system as the host sees it; only while it runs."""
        ...

    def command(
        self, argv: list[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> list[str]:
        """What to run on the host so that ``argv`` runs inside."""
        ...


class Provider(Protocol):
    """What makes machines. Its calls may take seconds; they are made from threads."""

    @property
    def data_dir(self) -> str:
        """Juju's folder inside a machine."""
        ...

    @property
    def run_dir(self) -> str:
        """A folder inside a machine that is empty again after every boot."""
        ...

    @property
    def trees(self) -> Path:
        """Where the host keeps charms unpacked."""
        ...

    @property
    def trees_dir(self) -> str:
        """Where every machine sees them."""
        ...

    def ensure_region(self, region: str) -> None:
        """Makes a region's network."""
        ...

    def remove_region(self, region: str) -> None:
        """Takes a region's network away."""
        ...

    def create(self, region: str, name: str) -> Machine:
        """Makes and starts a machine, or finds it."""
        ...

    def find(self, region: str, name: str) -> Machine | None:
        """A machine that was made, running or not."""
        ...

    def destroy(self, region: str, name: str) -> None:
        """Takes a machine away, with its disk."""
        ...

    def reboot(self, region: str, name: str) -> None:
        """Stops a machine and starts it again with its disk."""
        ...


def inside(machine: Machine, path: str | Path) -> Path:
    """A path inside a machine as the host sees it."""
    return machine.root / str(path).lstrip("/")


def system_path(first: str) -> str:
    """PATH of a hook: the tools, then the system's."""
    folders: Sequence[str] = (
        first,
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
        "/snap/bin",
    )
    return ":".join(folders)
