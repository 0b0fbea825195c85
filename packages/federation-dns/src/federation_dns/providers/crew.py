"""Blocking work on a few threads, with a bound on every wait.

A resolver's or a peer's silence can hold a thread longer than any timeout of the libraries (a name
that is looked up, a header that comes one byte a second). So nobody waits for the thread: what is
not done in time is left behind, and may send nothing more (its deadline is checked before each
request). The threads are daemons: a restart of the agent does not wait for them either.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_ALIVE = 32
_LOOK = 0.1


class Late(Exception):  # noqa: N818 - what became of the work, not an error of the program
    """It was not done in time, or nobody wants it any more."""


class Crew:
    """At most `size` threads at a time.

    Args:
        size: threads.
        clock: monotonic.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic):
        self._size = size
        self._clock = clock
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._alive = 0

    def close(self) -> None:
        """Let every wait end now."""
        self._closing.set()

    def run(self, works: Sequence[Callable[[], T]], seconds: float) -> list[Future[T]]:
        """Begin the works in their order and wait for all, at most so long.

        Returns:
            A future each, done: a result, what the work raised, or `Late`.
        """
        batch = _Batch(works)
        if not works:
            return batch.futures
        with self._lock:
            hanging = self._alive >= _MOST_ALIVE
        if not hanging:
            for _ in range(min(self._size, len(works))):
                threading.Thread(target=self._work, args=(batch,), daemon=True).start()
        end = self._clock() + seconds
        while not hanging and not self._closing.is_set():
            left = end - self._clock()
            if left <= 0 or batch.finished.wait(min(left, _LOOK)):
                break
        batch.leave()
        return batch.futures

    def _work(self, batch: _Batch[T]) -> None:
        with self._lock:
            self._alive += 1
        try:
            while batch.one():
                pass
        finally:
            with self._lock:
                self._alive -= 1


class _Batch(Generic[T]):
    """Some works, taken in turn."""

    def __init__(self, works: Sequence[Callable[[], T]]):
        self.futures: list[Future[T]] = [Future() for _ in works]
        self._waiting = deque(zip(works, self.futures, strict=True))
        self._open = len(works)
        self._lock = threading.Lock()
        self.finished = threading.Event()

    def one(self) -> bool:
        """Do the next; False if there is none."""
        with self._lock:
            if not self._waiting:
                return False
            work, future = self._waiting.popleft()
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised anew where it is waited for
            self._settle(partial(future.set_exception, error))
        else:
            self._settle(partial(future.set_result, result))
        return True

    def _settle(self, settle: Callable[[], None]) -> None:
        with self._lock:
            self._open -= 1
            if not self._open:
                self.finished.set()
            with contextlib.suppress(InvalidStateError):  # left behind meanwhile
                settle()

    def leave(self) -> None:
        """Begin no more, and call late what is not done."""
        with self._lock:
            self._waiting.clear()
            for future in self.futures:
                if not future.done():
                    future.set_exception(Late())
