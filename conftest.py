"""Which tests run side by side (`--dist loadgroup`): the standing lab's in one process."""

from __future__ import annotations

import pytest

STANDING_LAB = "standing-lab"


# Before xdist's own, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares a fixture; begin with what takes longest."""
    for item in items:
        group = STANDING_LAB if "lab" in getattr(item, "fixturenames", ()) else _folder(item)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_rank)


def _folder(item: pytest.Item) -> str:
    # Control planes are of a session, and the labs of one folder's tests have the same names.
    shared = item.get_closest_marker("cluster") or item.get_closest_marker("lab")
    return str(item.path.parent if shared else item.path)


def _rank(item: pytest.Item) -> int:
    if "lab" in getattr(item, "fixturenames", ()):
        return 0
    return 1 if item.get_closest_marker("cluster") or item.get_closest_marker("lab") else 2
