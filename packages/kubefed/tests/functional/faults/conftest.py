"""The session's federation with a fault proxy before each of its API servers."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from federation_lab.cluster.control_plane import ControlPlane

# The helpers beside the tests; with importlib's import mode nothing else makes them importable.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "controller"))

from controller_harness import Federation, joined
from faults_harness import Faulty, rerouted


@pytest.fixture(scope="session")
def federation(clusters: Mapping[str, ControlPlane]) -> Generator[Federation]:
    """Every control plane, joined to the host's federation; no controller runs."""
    with joined(clusters) as made:
        yield made


@pytest.fixture(scope="module")
def faulty(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> Generator[Faulty]:
    """The federation as seen through the proxy, for the tests of one module."""
    with rerouted(federation, tmp_path_factory.mktemp("faults")) as made:
        yield made
