"""The members joined to the host's federation, once for all tests of the controller."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from federation_lab.cluster.control_plane import ControlPlane

# The helpers beside the tests; with importlib's import mode nothing else makes them importable.
sys.path.insert(0, str(Path(__file__).parent))

from controller_harness import Federation, joined


@pytest.fixture(scope="session")
def federation(clusters: Mapping[str, ControlPlane]) -> Generator[Federation]:
    """Every control plane, joined to the host's federation; no controller runs."""
    with joined(clusters) as made:
        yield made
