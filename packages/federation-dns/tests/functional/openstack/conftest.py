"""One OpenStack for all tests here."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from federation_dns.providers import designate_api

from .designate_world import World, standing
from .install import Unreachable, environment


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """Keystone and three regions' Designate, standing."""
    if "1" not in {os.environ.get(name) for name in ("FEDERATION_OPENSTACK", "FEDERATION_SOAK")}:
        pytest.skip("FEDERATION_OPENSTACK=1 or FEDERATION_SOAK=1: minutes (docs/testing.md)")
    try:
        found = environment()
    except Unreachable as error:
        pytest.skip(f"no Keystone and Designate here: {error}")
    # What the cache lacks takes minutes; pytest's own bound is for a test.
    with standing(found, tmp_path_factory.mktemp("openstack")) as made:
        yield made


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone of some names has several pages."""
    monkeypatch.setattr(designate_api, "_A_PAGE", 10)
