"""Unit files on disk: finding, reading, enabling and masking them."""

from __future__ import annotations

import contextlib
import os

from federation_lab.machine import service, unitfile
from federation_lab.machine.service import Service

SEARCH = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
          "/lib/systemd/system", "/usr/lib/systemd/system")  # fmt: skip
TYPES = (".service", ".target", ".socket", ".timer", ".path", ".mount", ".slice")


class NotFoundError(LookupError):
    """There is no such unit."""


class MaskedError(LookupError):
    """The unit is masked."""


def full_name(name: str) -> str:
    """Put `.service` behind a name that has no type."""
    return name if name.endswith(TYPES) else f"{name}.service"


class Loader:
    """Reads and links unit files below the directories of `SEARCH`."""

    def __init__(
        self, search: tuple[str, ...] = SEARCH, host: str = "", machine: str = ""
    ) -> None:
        self.search = search
        self.etc = search[0]
        self._host, self._machine = host, machine

    def find(self, name: str) -> str | None:
        """Give the path of a unit's file, or of its template's."""
        for candidate in _candidates(name):
            for directory in self.search:
                path = os.path.join(directory, candidate)
                if os.path.lexists(path):
                    return path
        return None

    def canonical(self, name: str) -> str:
        """Give the name that an alias stands for.

        Raises:
            NotFoundError: there is no such unit.
            MaskedError: it is masked.
        """
        path = self.find(name)
        if path is None:
            raise NotFoundError(name)
        if is_masked(path):
            raise MaskedError(name)
        if os.path.islink(path):
            target = os.path.basename(os.path.realpath(path))
            instance = name.partition("@")[2].rpartition(".")[0]
            if "@." in target and instance:
                target = target.replace("@.", f"@{instance}.")
            return target
        return name

    def load(self, name: str) -> Service:
        """Read a unit with its drop-ins.

        Raises:
            NotFoundError: there is no such unit.
            MaskedError: it is masked.
            UnitFileError: it cannot be understood.
        """
        name = self.canonical(name)
        path = self.find(name)
        if path is None:
            raise NotFoundError(name)
        sections = unitfile.parse(_read(path))
        for drop_in in self.drop_ins(name):
            sections = unitfile.merge(sections, unitfile.parse(_read(drop_in)))
        known = unitfile.specifiers(name, self._host, self._machine)
        return service.build(name, path, sections, known)

    def drop_ins(self, name: str) -> list[str]:
        """List a unit's drop-ins in the order in which they count."""
        found: dict[str, str] = {}
        for directory in reversed(self.search):
            for candidate in reversed(_candidates(name)):
                folder = os.path.join(directory, f"{candidate}.d")
                for entry in _listing(folder):
                    if entry.endswith(".conf"):
                        found[entry] = os.path.join(folder, entry)
        return [found[entry] for entry in sorted(found)]

    def wanted_by(self, target: str) -> list[str]:
        """List the units that an administrator enabled for a target.

        The links that the base system ships (logins, consoles, D-Bus) mean nothing here.
        """
        found: set[str] = set()
        for directory in self.search[:2]:
            for kind in ("wants", "requires"):
                found.update(_listing(os.path.join(directory, f"{target}.{kind}")))
        return sorted(found)

    def enablement(self, name: str) -> str:
        """Answer is-enabled."""
        path = self.find(name)
        if path is None:
            return "not-found"
        if is_masked(path):
            return "masked" if path.startswith(self.etc) else "masked-runtime"
        if os.path.islink(path) and os.path.basename(os.path.realpath(path)) != name:
            return "alias"
        unit = self.load(name)
        if any(os.path.lexists(link) for link in self._links(unit)):
            return "enabled"
        if any(unit.lists[key] for key in ("WantedBy", "RequiredBy", "Alias")):
            return "disabled"
        return "indirect" if unit.lists["Also"] else "static"

    def enable(self, name: str) -> list[str]:
        """Make a unit's links; give what was done, in systemd's words."""
        unit = self.load(name)
        done: list[str] = []
        for link in self._links(unit):
            if os.path.lexists(link):
                if os.readlink(link) == unit.path:
                    continue
                os.unlink(link)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(unit.path, link)
            done.append(f"Created symlink {link} → {unit.path}.")
        for other in unit.lists["Also"]:
            if other != unit.name and self.find(other):
                done += self.enable(other)
        return done

    def link(self, path: str) -> None:
        """Make a unit file from elsewhere known by a link, unless its name is known already."""
        if self.find(os.path.basename(path)) is None and os.path.isfile(path):
            os.makedirs(self.etc, exist_ok=True)
            os.symlink(path, os.path.join(self.etc, os.path.basename(path)))

    def disable(self, name: str) -> list[str]:
        """Remove every link to a unit below /etc; give what was done, in systemd's words."""
        try:
            names = {name, self.canonical(name)}
        except LookupError:
            names = {name}
        done: list[str] = []
        folders = [self.etc] + [
            os.path.join(self.etc, entry)
            for entry in _listing(self.etc)
            if entry.endswith((".wants", ".requires"))
        ]
        for folder in folders:
            for entry in _listing(folder):
                link = os.path.join(folder, entry)
                if not os.path.islink(link) or is_masked(link):
                    continue
                if entry in names or os.path.basename(os.readlink(link)) in names:
                    os.unlink(link)
                    done.append(f"Removed {link}.")
        return done

    def mask(self, name: str) -> list[str]:
        """Mask a unit; give what was done.

        Raises:
            FileExistsError: the unit has a file of its own in /etc.
        """
        link = os.path.join(self.etc, name)
        if is_masked(link):
            return []
        if os.path.islink(link):
            os.unlink(link)
        os.makedirs(self.etc, exist_ok=True)
        os.symlink(os.devnull, link)
        return [f"Created symlink {link} → {os.devnull}."]

    def unmask(self, name: str) -> list[str]:
        """Take a mask away; give what was done."""
        link = os.path.join(self.etc, name)
        if not is_masked(link):
            return []
        os.unlink(link)
        return [f"Removed {link}."]

    def names(self) -> list[str]:
        """List all units that have a file."""
        found: set[str] = set()
        for directory in self.search:
            found.update(name for name in _listing(directory) if name.endswith(TYPES))
        return sorted(found)

    def _links(self, unit: Service) -> list[str]:
        links = [os.path.join(self.etc, alias) for alias in unit.lists["Alias"]]
        for key, kind in (("WantedBy", "wants"), ("RequiredBy", "requires")):
            folders = (os.path.join(self.etc, f"{target}.{kind}") for target in unit.lists[key])
            links.extend(os.path.join(folder, unit.name) for folder in folders)
        return links


def is_masked(path: str) -> bool:
    """Say whether a unit's file is a link to /dev/null, or empty."""
    if os.path.islink(path):
        return os.path.realpath(path) == os.devnull
    with contextlib.suppress(OSError):
        return os.path.getsize(path) == 0 and os.path.isfile(path)
    return False


def _candidates(name: str) -> list[str]:
    prefix, dot, kind = name.rpartition(".")
    base, at, instance = prefix.partition("@")
    return [name, f"{base}@{dot}{kind}"] if at and instance else [name]


def _listing(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
