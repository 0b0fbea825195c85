"""A federation of control planes of its own, since its host's etcd is emptied."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from federation_lab.cluster.loopback import Programs

# The helpers beside the tests; with importlib's import mode nothing else makes them importable.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "controller"))

from api_harness import programs_of
from controller_harness import joined
from restoring_harness import Restoring

NAMES = ("host", "palermo", "napoli")


@pytest.fixture(scope="module")
def machines(
    binaries: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Mapping[str, Programs]]:
    """The programs of a host, which is a member too, and of two members."""
    with programs_of(NAMES, binaries, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="module")
def restoring(
    machines: Mapping[str, Programs], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Restoring]:
    """All of them joined; no controller runs."""
    with joined({name: each.plane for name, each in machines.items()}) as federation:
        yield Restoring(federation, machines, tmp_path_factory.mktemp("backups"))
