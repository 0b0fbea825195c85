"""The controller ends after any of its writes, and the next one brings everything to its end.

Reference: reliability.md, F3 (invariants I9, I13). The same story is told of fresh objects again
and again (see `story`); each time the controller is cut off from every API server right after its
n-th write, once with the write's answer delivered and once without, and another one is started.
To the servers that is what kill -9 looks like; a process costs a second more.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Generator

import pytest
from controller_harness import Controller, eventually
from fault_proxy import Request
from faults_harness import EVENTS, HEARTBEATS, Faulty
from story import Objects, Spaces, Story

NS = "crashed"
SOAK = os.environ.get("FEDERATION_SOAK") == "1"
# A long story is told in pieces: "unanswered 23-47" tries these writes only, in that way.
PIECE = os.environ.get("FEDERATION_PIECE", "")
log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600 if SOAK else 600)]
# How many of a run's writes are tried where not all are, the ways of ending by turns.
SAMPLED = 4
# What a controller may take to start and to put everything right.
MENDED = 20.0
QUIET = 3.0


@dataclasses.dataclass
class Killer:
    """Ends the controller after a certain write, and starts another one.

    Attributes:
        counted: the writes since `arm`, heartbeats and events left out.
        crashes: how often a controller was ended so far.
    """

    faulty: Faulty
    counted: int = 0
    crashes: int = 0
    _at: int = 0
    _delivered: bool = True
    _running: Controller | None = None
    _dead: threading.Event = dataclasses.field(default_factory=threading.Event)

    def arm(self, at: int, *, delivered: bool) -> None:
        """End the controller after its `at`-th write from now on; 0 for not at all."""
        self.counted, self._at, self._delivered = 0, at, delivered

    def wrote(self, request: Request) -> bool:
        """Count a write, in the proxy's thread; say whether its answer is delivered."""
        if HEARTBEATS.search(request.path) or EVENTS.search(request.path):
            return True
        self.counted += 1
        if self.counted != self._at:
            return True
        self.faulty.proxy.shut_down()
        self._dead.set()
        return self._delivered

    def start(self) -> None:
        self._running = self.faulty.start("crash")

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()

    def wait(self, check: Callable[[], bool]) -> None:
        """Wait for something, and for the next controller where one has ended."""

        def seen() -> bool:
            if self._dead.is_set():
                # It can't reach anything any more, so how it ends tells nobody anything.
                self.stop()
                self._dead.clear()
                self.crashes += 1
                self.faulty.proxy.reopen()
                self.start()
            return check()

        eventually(seen, MENDED)


@pytest.fixture(scope="module")
def killer(faulty: Faulty) -> Generator[Killer]:
    made = Killer(faulty)
    faulty.proxy.wrote = made.wrote
    made.start()
    try:
        eventually(lambda: faulty.federation.leader() == "crash", 20)
        eventually(faulty.federation.all_ready, 20)
        faulty.make_namespace(NS)
        eventually(lambda: faulty.federation.propagated("Namespace", NS, NS))
        yield made
    finally:
        made.stop()


def sample(writes: int, number: int) -> list[int]:
    """Give which writes are tried: all in a soak, else some spread over the run.

    >>> sample(20, 6) if not SOAK else [1, 5, 9, 12, 16, 20]
    [1, 5, 9, 12, 16, 20]
    """
    if SOAK or writes <= number:
        return list(range(1, writes + 1))
    if number == 1:
        return [(writes + 1) // 2]
    return [round(1 + step * (writes - 1) / (number - 1)) for step in range(number)]


def piece(way: str, at: list[int]) -> list[int]:
    """Give which of the writes are tried in this way of ending: all but for `PIECE`."""
    if not PIECE:
        return at
    wanted, _, numbers = PIECE.partition(" ")
    first, _, last = numbers.partition("-")
    return [each for each in at if way == wanted and int(first) <= each <= int(last)]


@pytest.mark.parametrize(
    ("kind", "fewest", "sampled"),
    [
        (Objects, 40, SAMPLED),
        pytest.param(
            *(Spaces, 15, 1),
            marks=pytest.mark.skipif(not SOAK, reason="namespaces end slowly; FEDERATION_SOAK=1"),
        ),
    ],
)
def test_the_controller_ends_after_any_write(
    killer: Killer, kind: type[Story], fewest: int, sampled: int
) -> None:
    faulty = killer.faulty

    def told(run: str) -> None:
        story = kind(faulty, NS, f"{kind.__name__.lower()}-{run}")
        began = time.monotonic()
        story.tell(killer.wait)
        # The last of it may only be book-keeping in the host, which nobody waits for.
        killer.wait(lambda: not faulty.acts(time.monotonic() - 0.3))
        story.once_each(began)

    began, before = time.monotonic(), killer.crashes
    killer.arm(0, delivered=True)
    told("reference")
    writes = killer.counted
    assert writes >= fewest

    tried = 0
    for turn, delivered in enumerate((True, False)):
        way = "answered" if delivered else "unanswered"
        wanted = sample(writes, sampled)
        for at in piece(way, wanted if len(wanted) == writes else wanted[turn::2]):
            killer.arm(at, delivered=delivered)
            told(f"{way}-{at}")
            tried += 1
    assert tried, f"FEDERATION_PIECE={PIECE} names none of {writes} writes"
    crashes, took = killer.crashes - before, (time.monotonic() - began) / 60
    log.warning("%d writes, %d runs, %d crashes, %.1f minutes", writes, tried, crashes, took)
    # Status writes are put together as it comes, so a run may end before its last sampled write.
    assert crashes >= tried * 2 // 3
    killer.arm(0, delivered=True)
    told("afterwards")
    faulty.quiet(60.0 if SOAK else QUIET)
    assert faulty.settled(NS)
    assert faulty.booked(NS)
