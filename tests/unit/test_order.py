"""The order in which conftest.py has the tests run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LAB, DRILL = (
    "tests/integration/test_join.py::test_a",
    "tests/functional/test_standing_lab.py::test_b",
)
PLANES = "packages/kubefed/tests/functional/test_command.py::test_c"
OTHER = "lab/tests/functional/test_juju.py::test_e"
AGENTS = "packages/federation-dns/tests/functional/test_wan.py::test_g"
CLOUD = "packages/federation-dns/tests/functional/openstack/test_agents.py::test_h"
SHARED = """
import pathlib, pytest
@pytest.fixture(scope="session")
def standing():
    with pathlib.Path("log").open("a") as log:
        log.write("begin\\n")
        yield
        log.write("end\\n")
"""
DEPLOY_PAGE = "tests/functional/test_deploy_page.py::test_i"
UNIT = "packages/kubefed/tests/unit/test_cli.py::test_d[x::y]"


@pytest.fixture(scope="module")
def order() -> ModuleType:
    spec = importlib.util.spec_from_file_location("order", ROOT / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_who_shares_a_process(order: ModuleType) -> None:
    assert order.group(LAB) == order.group(DRILL) == "standing lab"
    assert order.group(PLANES) == "packages/kubefed/tests/functional"
    assert order.group(DEPLOY_PAGE) == "tests/functional/test_deploy_page.py"
    assert order.group(AGENTS) == "packages/federation-dns/tests/functional/test_wan.py"
    assert order.group(CLOUD) == "packages/federation-dns/tests/functional/openstack"
    assert order.group(UNIT) == "packages/kubefed/tests/unit/test_cli.py"


def test_the_lab_begins_and_then_what_takes_longest(order: ModuleType) -> None:
    tests = [UNIT, OTHER, PLANES, LAB, DRILL]

    def placed(took: dict[str, float]) -> list[int]:
        found = order.places(tests, took)
        return [found[order.group(each)] for each in tests]

    # What has never run is guessed: a test with machines before one without.
    assert placed({OTHER: 5.0}) == [3, 1, 2, 0, 0]
    assert placed({UNIT: 9.0, OTHER: 7.0, PLANES: 8.0, LAB: 1.0, DRILL: 1.0}) == [1, 3, 2, 0, 0]


def test_what_waits_and_what_computes_take_turns(order: ModuleType) -> None:
    wan, door, rotation = (
        f"packages/federation-dns/tests/functional/test_{n}.py::t" for n in "abc"
    )
    took = {LAB: 1.0, OTHER: 30.0, PLANES: 40.0, wan: 25.0, door: 20.0, rotation: 10.0, UNIT: 1.0}
    found = order.places(list(took), took)
    names = sorted(took, key=lambda test: found[order.group(test)])
    assert names == [LAB, PLANES, wan, door, OTHER, rotation, UNIT]


def test_what_a_group_stood_up_ends_with_it(tmp_path: Path) -> None:
    """A lab, say: a fixture of the session is made anew for the next group that asks for it."""
    _ = shutil.copy(ROOT / "conftest.py", tmp_path)
    _ = (tmp_path / "shared.py").write_text(SHARED)
    _ = (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for group in "ab":
        folder = tmp_path / group / "functional"
        folder.mkdir(parents=True)
        for each in (1, 2):
            _ = (folder / f"test_{group}{each}.py").write_text("def test_it(standing): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "shared", "--import-mode=importlib", "."],
        cwd=tmp_path,
        # Else it keeps its times where those of the real tests are.
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": "", "TOX_ENV_DIR": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout
    assert (tmp_path / "log").read_text().split() == ["begin", "end"] * 2
