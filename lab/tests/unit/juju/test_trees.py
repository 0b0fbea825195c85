"""Charms unpacked once, and their places in the units' folders."""

import asyncio
import os
import time
import zipfile
from pathlib import Path

import pytest
from federation_lab.juju.trees import KEPT_SECONDS, Trees, place

SHARED = "/opt/lab/charms"


def packed(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "trees"
    made.mkdir()
    return made


async def test_it_is_unpacked_once_with_an_interpreter(folder: Path, tmp_path: Path) -> None:
    charm = packed(tmp_path / "a.charm", dispatch="#!/bin/sh\n", venv__lib__x="1")
    first, second = Trees(folder), Trees(folder)
    trees = await asyncio.gather(first.get(charm, "aa"), second.get(charm, "aa"))
    assert trees == [folder / "aa"] * 2
    assert (folder / "aa" / "venv" / "bin" / "python").is_symlink()
    assert names(folder) == ["aa"]
    charm.unlink()
    assert await first.get(charm, "aa") == folder / "aa"


async def test_what_is_no_charm_is_said(folder: Path, tmp_path: Path) -> None:
    charm = tmp_path / "a.charm"
    charm.write_text("no zip")
    with pytest.raises(OSError, match="cannot be unpacked: File is not a zip file"):
        await Trees(folder).get(charm, "aa")


async def test_what_nobody_used_for_long_is_removed(folder: Path, tmp_path: Path) -> None:
    charm = packed(tmp_path / "a.charm", dispatch="")
    old = await Trees(folder).get(charm, "aa")
    await Trees(folder).get(charm, "bb")
    then = time.time() - KEPT_SECONDS - 1
    os.utime(old, (then, then))
    await Trees(folder).get(charm, "cc")
    assert names(folder) == ["bb", "cc"]


async def test_a_new_charm_replaces_the_files_of_the_old_one(folder: Path, tmp_path: Path) -> None:
    trees = Trees(folder)
    unit = tmp_path / "unit" / "charm"
    one = packed(tmp_path / "1.charm", dispatch="1", src__a="1", src__b="1", venv__lib__x="1")
    place(await trees.get(one, "aa"), unit, SHARED)
    assert (unit / "venv").readlink() == Path(SHARED, "aa", "venv")
    (unit / "src" / "own").write_text("the charm's")
    two = packed(tmp_path / "2.charm", dispatch="2", src__a="2", venv__lib__x="2")
    place(await trees.get(two, "bb"), unit, SHARED)
    assert (unit / "venv").readlink() == Path(SHARED, "bb", "venv")
    assert (unit / "dispatch").read_text() == "2"
    assert names(unit / "src") == ["a", "own"]
