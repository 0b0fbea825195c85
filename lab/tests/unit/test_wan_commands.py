"""`lab kill` and the others: refusals, and what is asked of the machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from federation_lab.commands import wan
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
    assert "catania, " in done.stderr
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


def test_a_cut_is_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, bool]] = []

    def note(_: object, a: str, b: str, *, one_way: bool = False) -> None:
        asked.append((a, b, one_way))

    monkeypatch.setattr("federation_lab.network.Network.cut", note)
    done = CliRunner().invoke(wan.app, ["cut", "catania", "palermo", "--one-way"])
    assert (done.exit_code, done.stdout) == (0, "cut: catania → palermo\n")
    assert asked == [("catania", "palermo", True)]
    assert home.stat().st_mode & 0o777 == 0o700
