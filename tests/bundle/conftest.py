"""Where pytest-operator and a controller are; all is skipped where one of them is not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import deploying  # noqa: E402 - beside this file


def _controllers() -> str:
    words = ["juju", "controllers", "--format", "json"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error


def _reason() -> str:
    if importlib.util.find_spec("pytest_operator") is None:
        return "pytest-operator has an environment of its own: make bundle"
    return deploying.lacks(shutil.which, _controllers)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a controller, with what is missing."""
    mine = [each for each in items if each.path.parent == HERE]
    needing = [each for each in mine if "deployed" in getattr(each, "fixturenames", ())]
    reason = _reason() if needing else ""
    for item in needing:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def wishes() -> deploying.Wishes:
    """What the environment asks for."""
    return deploying.Wishes.of(os.environ)
