"""Makes this charm's src importable, and starts a control plane once a session."""

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from federation_lab.cluster.control_plane import ControlPlane
from federation_lab.cluster.loopback import running

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Generator[ControlPlane]:
    """A real control plane with its controllers, the garbage collector among them."""
    if directory := os.environ.get("LAB_BIN"):
        binaries = Path(directory)
    else:
        tools = pytest.importorskip("federation_lab.tools")
        binaries = tools.binaries()
    home = tmp_path_factory.mktemp("catania")
    with running("catania", home, binaries, controllers=True) as found:
        yield found
