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

from controller_harness import Api, Federation, join_all
from faults_harness import Faulty, rerouted


@pytest.fixture(scope="session")
def federation(clusters: Mapping[str, ControlPlane]) -> Generator[Federation]:
    """Every control plane, joined to the host's federation; no controller runs."""
    apis = {name: Api(plane) for name, plane in clusters.items()}
    join_all(clusters)
    yield Federation(clusters["host"], apis)
    for api in apis.values():
        api.close()


@pytest.fixture(scope="module")
def faulty(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> Generator[Faulty]:
    """The federation as seen through the proxy, for the tests of one module."""
    with rerouted(federation, tmp_path_factory.mktemp("faults")) as made:
        yield made
