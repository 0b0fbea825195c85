"""Makes this charm's src importable, though other charms' tests run in the same process."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parent)]
_ = sys.modules.pop("charm", None)  # another charm's

import charm  # noqa: E402 - found by the lines above


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Before a test module of this charm is read: `charm` means this charm's."""
    del module_path, parent
    sys.modules["charm"] = charm


@pytest.fixture(autouse=True)
def this_charm(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a test of this charm runs: ops.testing finds its charmcraft.yaml by `charm`."""
    monkeypatch.setitem(sys.modules, "charm", charm)
