"""What the charms' functional tests share."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from federation_lab.cluster.control_plane import ControlPlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Generator[ControlPlane]:
    """A real control plane with its controllers, the garbage collector among them."""
    from federation_lab.cluster.loopback import running

    if directory := os.environ.get("LAB_BIN"):
        binaries = Path(directory)
    else:
        tools = pytest.importorskip("federation_lab.tools")
        binaries = tools.binaries()
    home = tmp_path_factory.mktemp("catania")
    with running("catania", home, binaries, controllers=True) as found:
        yield found
