"""Makes this charm's src importable, though other charms' tests run in the same process."""

import sys
from pathlib import Path

import pytest

SRC = str(Path(__file__).parents[2] / "src")
sys.path.insert(0, SRC)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Before a test module of this charm is read: `charm` means this charm's."""
    del module_path, parent
    sys.path[:] = [SRC, *[entry for entry in sys.path if entry != SRC]]
    _ = sys.modules.pop("charm", None)


@pytest.fixture(autouse=True)
def this_charm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a test of this charm runs: ops.testing finds its charmcraft.yaml by `charm`."""
    module = getattr(request.module, "charm", None)
    if module is not None:
        monkeypatch.setitem(sys.modules, "charm", module)
