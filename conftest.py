"""Which tests run side by side under xdist: the standing lab's in one process, in their order."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

STANDING_LAB = ("tests/functional/test_standing_lab.py", "tests/integration/")


def group(nodeid: str) -> str:
    """Say with which others a test must share a process.

    The control planes of a package's functional tests are of the session, and the labs of one
    folder's tests have the same names.
    """
    path, _, _ = nodeid.partition("::")
    if path.startswith(STANDING_LAB):
        return "standing lab"
    return str(PurePosixPath(path).parent) if "/functional/" in path else path


def rank(nodeid: str) -> int:
    """Give the place of a test's group: those that take longest begin."""
    if group(nodeid) == "standing lab":
        return 0
    return 1 if "/functional/" in nodeid else 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: rank(item.nodeid))


# xdist's own `loadgroup` marks tests by their nodeid, which pytest 9.2 gives anew.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Hand out whole groups."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return ByGroup(config, log)
