"""`lab kill` and the others: refusals, and what is asked of the machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from federation_lab.commands import wan
from federation_lab.errors import LabError
from federation_lab.records import Record
from federation_lab.run import write_atomically
from typer.testing import CliRunner


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.setenv("LAB_ID", "8")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    write_atomically(tmp_path / "network.json", '{"regions": {"catania": 1, "palermo": 2}}')
    return tmp_path


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "arguments",
    [
        ["kill", "napoli"],
        ["revive", "napoli"],
        ["freeze", "napoli"],
        ["thaw", "napoli"],
        ["cut", "catania", "napoli"],
        ["heal", "napoli", "all"],
        ["exec", "napoli", "--", "true"],
    ],
)
def test_unknown_regions_are_refused_with_the_known_ones(arguments: list[str]) -> None:
    done = CliRunner().invoke(wan.app, arguments)
    assert done.exit_code == 1
    assert "no region called 'napoli'" in done.stderr
    assert "catania, palermo" in done.stderr
    assert done.stdout == ""


@pytest.mark.usefixtures("home")
def test_a_region_without_machines() -> None:
    done = CliRunner().invoke(wan.app, ["exec", "catania", "--", "true"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "has no machine" in done.stderr


@pytest.mark.usefixtures("home")
def test_only_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = CliRunner().invoke(wan.app, ["kill", "catania"])
    assert done.exit_code == 1
    assert "sudo" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--machine", "m", "--", "x", "--y"], ["--", "x", "--y"], ["x", "--y"]],
)
def test_exec_takes_the_command_as_it_is(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    record = Record("catania", "m", 1, 10)
    write_atomically(home / "machines/catania/m/machine.json", json.dumps(asdict(record)))
    asked: list[list[str]] = []

    def note(_: object, argv: list[str], *, env: object = None) -> list[str]:
        asked.append(argv)
        raise LabError("enough")

    monkeypatch.setattr("federation_lab.machines.Machine.command", note)
    done = CliRunner().invoke(wan.app, ["exec", "catania", *arguments])
    assert (done.exit_code, asked) == (1, [["x", "--y"]])
    assert done.stderr == "error: enough\n"


def test_a_cut_is_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, bool]] = []

    def note(_: object, a: str, b: str, *, one_way: bool = False) -> None:
        asked.append((a, b, one_way))

    monkeypatch.setattr("federation_lab.network.Network.cut", note)
    done = CliRunner().invoke(wan.app, ["cut", "catania", "palermo", "--one-way"])
    assert (done.exit_code, done.stdout) == (0, "cut: catania → palermo\n")
    assert asked == [("catania", "palermo", True)]
    assert home.stat().st_mode & 0o777 == 0o700
