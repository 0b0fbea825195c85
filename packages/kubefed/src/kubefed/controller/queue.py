"""A work queue of keys: each once, one worker at a time on each, failures later and later.

A key that is added while it is worked on is worked on again afterwards, so no change is missed and
none is handled twice at once.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import random
from typing import TYPE_CHECKING, Generic, TypeVar

from kubefed.controller import backoff
from kubefed.controller.client import NotLeaderError
from kubefed.controller.metrics import ERROR, RECHECK, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from kubefed.controller.metrics import Metrics

log = logging.getLogger(__name__)
K = TypeVar("K", bound="Hashable")
# What a handler gives to be called again, later each time.
RETRY = -1.0
FIRST_RETRY = 0.2
LONGEST_RETRY = 60.0
# Every so many keys one of those that have time comes, however many others wait.
PATIENT_SHARE = 8


class Held(float):
    """A delay of what had to wait for its turn: that is no success, its failures still count."""

    __slots__ = ()


class WorkQueue(Generic[K]):
    """Keys waiting for a handler.

    Args:
        name: for messages.
        handle: what is done with a key. It gives the delay after which the key is to be looked
            at again (`Held` if it had to wait), a negative one for "again, later each time", or
            None for not at all.
        workers: how many keys are handled at the same time.
        metrics: what is counted and timed, None for nothing.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[K], Awaitable[float | None]],
        *,
        workers: int,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self._metrics = None if metrics is None else metrics.queue(name, workers)
        self._handle = handle
        self._workers = workers
        self._waiting: collections.deque[K] = collections.deque()
        # What has time: it comes when nothing else waits, and now and then before what does.
        self._patient: collections.OrderedDict[K, None] = collections.OrderedDict()
        self._taken = 0
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._signal = asyncio.Semaphore(0)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._patient) + len(self._active)

    def add(self, key: K, *, patient: bool = False) -> None:
        """Have a key handled as soon as a worker is free.

        Args:
            key: what to handle.
            patient: whether keys that are not go before it, such as what a user just changed
                before a look at everything.
        """
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            if patient:
                self._patient[key] = None
            else:
                self._waiting.append(key)
            if self._metrics is not None:
                self._metrics.added(key)
            self._signal.release()
        elif key in self._patient and not patient:
            del self._patient[key]
            self._waiting.append(key)

    def add_later(self, key: K, seconds: float) -> None:
        """Have a key handled after a delay; an earlier appointment of it stands."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= when:
                return
            known.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def forget(self, key: K) -> None:
        """Drop what is remembered of a key's failures, and its appointment."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def run(self) -> None:
        """Handle keys until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    def _next(self) -> K:
        self._taken += 1
        if self._patient and (not self._waiting or self._taken % PATIENT_SHARE == 0):
            return self._patient.popitem(last=False)[0]
        return self._waiting.popleft()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _work(self) -> None:
        while True:
            await self._signal.acquire()
            key = self._next()
            self._queued.discard(key)
            self._active.add(key)
            if self._metrics is not None:
                self._metrics.started(key)
            again: float | None = RETRY
            try:
                again = await self._handle(key)
            except asyncio.CancelledError:
                raise
            except NotLeaderError:
                log.debug("%s: %s is left to the leader", self.name, key)
            except Exception:
                log.exception("%s: %s failed", self.name, key)
            finally:
                self._active.discard(key)
                if self._metrics is not None:
                    self._metrics.ended(key, _result(again))
            self._after(key, again)

    def _after(self, key: K, again: float | None) -> None:
        if again is not None and self._metrics is not None:
            self._metrics.again()
        if again is None:
            self._failures.pop(key, None)
        elif again >= 0:
            if not isinstance(again, Held):
                self._failures.pop(key, None)
            self.add_later(key, again)
        else:
            failures = self._failures.get(key, 0) + 1
            self._failures[key] = failures
            pause = backoff.delay(
                failures,
                first=FIRST_RETRY,
                longest=LONGEST_RETRY,
                jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
            )
            self.add_later(key, pause)
        if key in self._again:
            self._again.discard(key)
            self.add(key)


def _result(again: float | None) -> str:
    if again is None:
        return SUCCESS
    return RECHECK if again >= 0 else ERROR
