"""Real control planes on loopback, started once a session."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from federation_lab.cluster.control_plane import ControlPlane
from federation_lab.cluster.loopback import Programs

# The helpers beside the tests; with importlib's import mode nothing else makes them importable.
sys.path.insert(0, str(Path(__file__).parent))

from api_harness import programs_of

NAMES = ("host", "member1", "member2")


@pytest.fixture(scope="session")
def binaries() -> Path:
    """Where etcd and the Kubernetes programs are."""
    if directory := os.environ.get("LAB_BIN"):
        return Path(directory)
    tools = pytest.importorskip("federation_lab.tools")
    return tools.binaries()


@pytest.fixture(scope="session")
def programs(
    binaries: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Mapping[str, Programs]]:
    """The programs of the control planes; who ends one starts it again."""
    with programs_of(NAMES, binaries, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="session")
def clusters(programs: Mapping[str, Programs]) -> Mapping[str, ControlPlane]:
    """The control planes host, member1 and member2, empty at the session's start."""
    return {name: each.plane for name, each in programs.items()}


@pytest.fixture(scope="session")
def host(clusters: Mapping[str, ControlPlane]) -> ControlPlane:
    return clusters["host"]


@pytest.fixture(scope="session")
def members(clusters: Mapping[str, ControlPlane]) -> list[ControlPlane]:
    return [clusters["member1"], clusters["member2"]]
