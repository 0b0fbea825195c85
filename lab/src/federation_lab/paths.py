"""Where the lab keeps its state and the programs that it built, and which lab this is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from federation_lab.errors import LabError

NAME = "federation-lab"
# Their copies in the machines lie over the host's; a layer cannot contain its own upper layer.
LAYERED = ("/etc", "/var", "/srv", "/opt", "/usr")
# How many may stand side by side: each has a network of its own below 10.240.
LABS = 30


@dataclasses.dataclass(frozen=True)
class Paths:
    """The directories of one lab.

    Attributes:
        home: state: records, disks of machines, logs. Mode 0700.
        cache: built programs; shared by all labs.
        lab_id: 0 to 29; names and addresses derive from it.
    """

    home: Path
    cache: Path
    lab_id: int

    @property
    def prefix(self) -> str:
        """What every name of a namespace, interface or control group of this lab starts with."""
        return f"lab{self.lab_id}"

    @property
    def machines(self) -> Path:
        """The disks and records of machines, a directory a region."""
        return self.home / "machines"

    @property
    def images(self) -> Path:
        """Programs that pods run as, which all machines of this lab see."""
        return self.home / "images"

    @property
    def trees(self) -> Path:
        """Charms unpacked, which all machines of all labs see."""
        return self.cache / "unpacked"


def resolve(environ: Mapping[str, str], user_home: Path) -> Paths:
    """Decide a lab's paths from the environment.

    Raises:
        LabError: LAB_ID is no number from 0 to 29, or LAB_HOME lies where it cannot.
    """
    text = environ.get("LAB_ID", "0") or "0"
    if text not in {str(number) for number in range(LABS)}:
        raise LabError(f"LAB_ID is {text!r}; it must be a number from 0 to {LABS - 1}")
    lab_id = int(text)
    name = NAME if lab_id == 0 else f"{NAME}-{lab_id}"
    home = Path(environ.get("LAB_HOME") or user_home / ".local" / "share" / name)
    cache = Path(environ.get("LAB_CACHE") or user_home / ".cache" / NAME)
    for what, path in (("LAB_HOME", home), ("LAB_CACHE", cache)):
        if not path.is_absolute():
            raise LabError(f"{what} is {str(path)!r}; it must be an absolute path")
    return Paths(home, cache, lab_id)


def check_home(home: Path) -> None:
    """Refuse a home that the machines' layers would contain.

    Raises:
        LabError: the home lies below a layered directory.
    """
    real = home.resolve()
    for layer in LAYERED:
        if real.is_relative_to(layer):
            raise LabError(
                f"LAB_HOME {real} lies below {layer}, of which every machine gets a copy; "
                "set LAB_HOME to a directory elsewhere, such as one in your home or in /tmp"
            )


def paths() -> Paths:
    """Give this process's lab, by LAB_HOME, LAB_CACHE and LAB_ID; make its home."""
    found = resolve(os.environ, Path.home())
    check_home(found.home)
    found.home.mkdir(parents=True, exist_ok=True)
    # mkdir's mode is subject to the umask and leaves an existing directory as it is.
    found.home.chmod(0o700)
    return found
