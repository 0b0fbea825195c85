"""Which tests run side by side under xdist, and in which order: what takes longest begins.

How long each test took last time is kept in pytest's cache; what is new is guessed.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

STANDING_LAB = (
    "tests/functional/test_high_availability.py",
    "tests/functional/test_standing_lab.py",
    "tests/integration/",
)
STANDING = "standing lab"
# Each file has what it needs for itself.
BY_FILE = ("packages/federation-dns/tests/functional/test_", "tests/functional/test_")
SECONDS = "federation/seconds"
# Agents and name servers mostly wait, so their tests run well beside what computes.
WAITING = "packages/federation-dns/tests/functional/"
# Of a test that has never run here: what one of its folder takes on a machine with two cores.
GUESSED_LAB, GUESSED_FUNCTIONAL, GUESSED_UNIT = 8.0, 3.0, 0.1
GUESSED = {
    "packages/kubefed/tests/functional/standalone/": 17.0,
    "packages/kubefed/tests/functional/restoring/": 11.0,
    "packages/kubefed/tests/functional/test_": 0.7,
    "packages/federation-dns/tests/functional/test_wan": 14.0,
    WAITING: 6.0,
}
_took: dict[str, float] = collections.defaultdict(float)


def group(nodeid: str) -> str:
    """Say with which others a test must share a process.

    The control planes of a package's functional tests are of the session, and the labs of one
    folder's tests have the same names.
    """
    path, _, _ = nodeid.partition("::")
    if path.startswith(STANDING_LAB):
        return STANDING
    if path.startswith(BY_FILE) or "/functional/" not in path:
        return path
    return str(PurePosixPath(path).parent)


def guess(nodeid: str) -> float:
    """Give how long a test may take that has never run here."""
    if group(nodeid) == STANDING:
        return GUESSED_LAB
    usual = GUESSED_FUNCTIONAL if "/functional/" in nodeid else GUESSED_UNIT
    return next((took for start, took in GUESSED.items() if nodeid.startswith(start)), usual)


def places(nodeids: Iterable[str], took: Mapping[str, float]) -> dict[str, int]:
    """Give the place of each group: the longest begin, so that none is left alone at the end.

    What waits and what computes take turns, by the time that they take.

    Args:
        nodeids: the tests.
        took: how many seconds each took before.
    """
    seconds: dict[str, float] = collections.defaultdict(float)
    for nodeid in nodeids:
        seconds[group(nodeid)] += took.get(nodeid, guess(nodeid))
    longest = sorted(seconds, key=lambda name: (name != STANDING, -seconds[name], name))
    waiting = [name for name in longest if name.startswith(WAITING)]
    computing = [name for name in longest if not name.startswith(WAITING)]
    order: list[str] = [computing.pop(0)] if STANDING in seconds else []
    spent = {True: 0.0, False: 0.0}
    while waiting or computing:
        computes = bool(computing) and (not waiting or spent[True] <= spent[False])
        name = (computing if computes else waiting).pop(0)
        spent[computes] += seconds[name]
        order.append(name)
    return {name: place for place, name in enumerate(order)}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put groups into their order, each in its own."""
    order = places((item.nodeid for item in items), _known(config))
    items.sort(key=lambda item: order[group(item.nodeid)])


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End with a group what it had stood up: a lab or a control plane costs while it stands."""
    if nextitem is not None and group(item.nodeid) != group(nextitem.nodeid):
        # Else fixtures of the session end with the process. pytest has no public way to say it.
        item.session._setupstate.teardown_exact(None)  # pyright: ignore[reportPrivateUsage]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how long a test took, with its fixtures."""
    _took[report.nodeid] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep it for the next run."""
    cache = _cache(session.config)
    if cache is not None and not hasattr(session.config, "workerinput"):
        known = _known(session.config)
        cache.set(SECONDS, known | {name: round(took, 2) for name, took in _took.items()})


# xdist's own `loadgroup` marks tests by their nodeid, which pytest 9.2 gives anew.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Hand out whole groups."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return ByGroup(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Have all processes order by the same figures, whoever writes them meanwhile."""
    node.workerinput[SECONDS] = _known(node.config)


def _known(config: pytest.Config) -> dict[str, float]:
    given: dict[str, Any] = getattr(config, "workerinput", {})
    if SECONDS in given:
        return given[SECONDS]
    cache = _cache(config)
    return cache.get(SECONDS, {}) if cache is not None else {}


def _cache(config: pytest.Config) -> pytest.Cache | None:
    # There is none where its plugin is off.
    return getattr(config, "cache", None)
