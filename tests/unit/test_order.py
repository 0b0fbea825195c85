"""The order in which conftest.py has the tests run."""

from __future__ import annotations

import importlib.util
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
    assert order.group(UNIT) == "packages/kubefed/tests/unit/test_cli.py"


def test_the_lab_begins_and_then_what_takes_longest(order: ModuleType) -> None:
    tests = [UNIT, OTHER, PLANES, LAB, DRILL]

    def placed(took: dict[str, float]) -> list[int]:
        found = order.places(tests, took)
        return [found[order.group(each)] for each in tests]

    # What has never run is guessed: a test with machines before one without.
    assert placed({OTHER: 5.0}) == [3, 1, 2, 0, 0]
    assert placed({UNIT: 9.0, OTHER: 7.0, PLANES: 8.0, LAB: 1.0, DRILL: 1.0}) == [1, 3, 2, 0, 0]
