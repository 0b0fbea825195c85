"""One OpenStack for all tests here."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from .designate_world import World, standing
from .install import Unreachable, environment


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """Keystone and three regions' Designate, standing."""
    try:
        found = environment()
    except Unreachable as error:
        pytest.skip(f"no Keystone and Designate here: {error}")
    # What the cache lacks takes minutes; pytest's own bound is for a test.
    with standing(found, tmp_path_factory.mktemp("openstack")) as made:
        yield made
