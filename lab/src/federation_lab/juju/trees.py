"""Charms unpacked once for every unit of every lab of this machine.

A charm's own files are few and are copied to each unit. Its virtual environment is not: thousands
of files that nobody writes to, which all units see at one place.
"""

import asyncio
import os
import shutil
import sys
import time
from pathlib import Path

from federation_lab.juju import unpack

# Not used for so long by any lab: removed when another one is unpacked.
KEPT_SECONDS = 7 * 24 * 3600.0
ENVIRONMENT = "venv"


class Trees:
    """The unpacked charms.

    Args:
        folder: Where they are, each under its digest; shared with other labs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, packed: Path, sha256: str) -> Path:
        """A charm's tree; it is unpacked where it is not there yet.

        Args:
            packed: The ``.charm`` file.
            sha256: Its digest.

        Raises:
            OSError: It cannot be unpacked.
        """
        tree = self._folder / sha256
        async with self._locks.setdefault(sha256, asyncio.Lock()):
            if not tree.exists():
                await self._unpack(packed, tree)
                await asyncio.to_thread(self.tidy, time.time())
            os.utime(tree)
        return tree

    async def _unpack(self, packed: Path, tree: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", unpack.__file__, str(packed), str(tree)),
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
        if process.returncode != 0:
            raise OSError(f"the charm cannot be unpacked: {err.decode().strip()}")

    def tidy(self, now: float) -> None:
        """Removes what no lab has used for long, and what was left half unpacked."""
        for path in self._folder.iterdir():
            if now - path.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def place(tree: Path, folder: Path, shared: str) -> None:
    """Puts an unpacked charm into a unit's folder, over the charm that was there before.

    Files of the one before that are not in the new one are removed; what the charm itself wrote
    stays, as with Juju.

    Args:
        tree: The unpacked charm.
        folder: The unit's charm folder.
        shared: Where the unit's machine sees all trees.

    Raises:
        OSError: It cannot be copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder.parent / "charm-files"
    before = set(listing.read_text().splitlines()) if listing.exists() else set[str]()
    own = [path for path in tree.iterdir() if path.name != ENVIRONMENT]
    now = {str(path.relative_to(tree)) for path in _files(own)}
    for gone in before - now:
        (folder / gone).unlink(missing_ok=True)
    _copy(own, folder)
    if (tree / ENVIRONMENT).is_dir():
        link = folder / f".{ENVIRONMENT}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(f"{shared}/{tree.name}/{ENVIRONMENT}")
        link.replace(folder / ENVIRONMENT)
    listing.write_text("\n".join(sorted(now)))


def _files(paths: list[Path]) -> list[Path]:
    below = [path for top in paths if top.is_dir() for path in top.rglob("*")]
    return [path for path in [*paths, *below] if path.is_symlink() or not path.is_dir()]


def _copy(paths: list[Path], folder: Path) -> None:
    for path in paths:
        target = folder / path.name
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True, copy_function=_put)
        else:
            _put(str(path), str(target))


def _put(source: str, target: str) -> None:
    # A file in its place may be open or running: it is replaced, not written over.
    if os.path.lexists(target):
        os.unlink(target)
    shutil.copy2(source, target, follow_symlinks=False)
