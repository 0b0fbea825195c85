"""Keeps the DNS server at what is wanted: at once on a change, and by comparing all the time.

The zone as read last is kept, so that a verdict goes out in one message without reading first; the
prerequisites in it make the server refuse if that reading is no longer true. What takes more than
a pass goes on at once, by what is wanted then. Every compare interval, whatever else is done, the
serial and the generation are asked, and the zone is read again if they moved, after each write, or
at least every thirtieth time: a zone that was emptied, altered or restored from a backup is put
right without anybody noticing. What is wanted while a reading is under way does not wait for it,
as long as another is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeVar

from federation_dns import passes
from federation_dns.core import Core
from federation_dns.passes import SIGNING_SECONDS, TRIES, Pass
from federation_dns.plan import Plan, Rules, View
from federation_dns.providers import Provider, ProviderError

T = TypeVar("T")

log = logging.getLogger(__name__)

_FULL_EVERY = 30
_LONGEST_BACKOFF = 5.0
# What passes by itself within so long is no operator's matter.
_LASTING = 15.0
_AGAIN = Pass(
    "failed", None, None, 0, error="the zone changes faster than it is read", remedy="reread"
)


class Publisher:
    """One provider, one zone."""

    def __init__(
        self,
        core: Core,
        provider: Provider,
        rules: Rules,
        *,
        interval: float,
        window: float,
        executor: Executor,
        clock: Callable[[], float],
        lifted: Callable[[], bool],
    ):
        self._core = core
        self._provider = provider
        self._rules = rules
        self._interval = interval
        self._window = window
        self._executor = executor
        self._clock = clock
        self._lifted = lifted
        self._wake = asyncio.Event()
        self._view: View | None = None
        self._looks = 0
        self._looked = float("-inf")
        self._took = 0.0
        # What was written since the look under way began; None: nobody knows.
        self._since: list[Plan] | None = []
        self._spent: list[tuple[float, frozenset[str]]] = []
        self._said: tuple[str, ...] = ()
        self._signing_since: float | None = None
        self.changes = 0
        self.errors = 0
        self._unread = ""
        self._unwritten = self.trouble = "the DNS server has not been read yet"
        self.plan: Plan | None = None
        self.well_at: float | None = None
        self._began = clock()

    def wake(self) -> None:
        """What is wanted has changed."""
        self._wake.set()

    def notes(self) -> list[str]:
        """What is not well, in words."""
        trouble = [self.trouble] if self.trouble else []
        return [*trouble, *self._left_alone()]

    def wrong(self) -> list[str]:
        """What an operator has to know: the zone is not kept, or names of it are refused."""
        since = self._began if self.well_at is None else self.well_at
        lasting = self.trouble and self._clock() - since > _LASTING
        return [*([self.trouble] if lasting else []), *self._provider.notes()]

    def _left_alone(self) -> tuple[str, ...]:
        return (*(self.plan.notes if self.plan else ()), *self._provider.notes())

    def close(self) -> None:
        """Let a call that blocks end now."""
        self._provider.close()

    async def run(self) -> None:
        """Compare and write, until cancelled."""
        delay = 0.5
        while True:
            done = await self._round()
            if done.outcome == "failed":
                # What ran out of time goes on soon.
                delay = 0.5 if done.changes else min(_LONGEST_BACKOFF, delay * 2)
                await self._sleep(delay)
            else:
                delay = 0.5
                await self._sleep(max(0.0, self._looked + self._interval - self._clock()))

    async def _sleep(self, seconds: float) -> None:
        # Not `wait_for`: Python 3.11's loses a cancellation that meets the waking.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _round(self) -> Pass:
        """Look, write, look again; who was woken writes first, if a reading is kept."""
        woken, done = self._wake.is_set(), _AGAIN
        self._wake.clear()
        for _ in range(TRIES):
            failed = await self._look() if not woken or self._view is None else None
            if failed is None and self._view is not None:
                done = await self._pass(self._view)
            elif failed is not None and failed.remedy != "reread":
                return failed
            if done.remedy != "reread":
                break
        if done.remedy == "reread":
            self._unwritten = done.error
            self.errors += 1
            self._tell()
        elif done.outcome != "failed" and self._has_to_look(done):
            failed = await self._look()
            return done if failed is None else replace(failed, changes=done.changes)
        return done

    def _has_to_look(self, done: Pass) -> bool:
        """After the last write of a plan, and when it is time, however often we are woken."""
        if done.outcome == "changed" and not done.left:
            return True
        # While an update goes on, a large zone is read at most a quarter of the time.
        wait = 3 * self._took if done.left else 0.0
        return self._clock() >= self._looked + max(self._interval, wait)

    async def _look(self) -> Pass | None:
        """Have the zone as it is now; what is wanted meanwhile goes out by the reading before.

        Returns:
            What failed.
        """
        kept, self._since, failed, began = self._view, [], _AGAIN, self._clock()
        self._looks += 1
        whole = self._looks >= _FULL_EVERY
        looking = asyncio.ensure_future(
            self._thread(lambda: passes.look(self._provider, kept, self._rules, whole=whole))
        )
        try:
            while self._view is not None and await self._woken_before(looking):
                done = await self._pass(self._view)
                failed = done if done.outcome == "failed" else failed
            found = await looking
        except ProviderError as error:
            self._unread = str(error)
            self.errors += 1
            self._tell()
            return Pass("failed", None, None, 0, error=str(error), remedy=error.remedy)
        finally:
            looking.cancel()
            self._looked = self._clock()
            self._took = self._looked - began
        self._unread = ""
        self._tell()
        if found is not kept:
            self._looks = 0
        return await self._take(found, failed)

    async def _take(self, found: View, failed: Pass) -> Pass | None:
        """Keep what was found; `failed` if it may be older than what was written."""
        since = self._since
        if since is None:
            self._view = None
            return failed
        caught = await self._thread(
            lambda: passes.caught_up(self._provider, found, since, self._rules)
        )
        # What fits not is read again soon, since the view that is kept is none that was read.
        self._keep(caught or self._view)
        return None

    async def _woken_before(self, looking: asyncio.Future[View]) -> bool:
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({looking, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
        return not looking.done()

    def _keep(self, view: View | None) -> None:
        """Keep the reading, and since when the server signs: if it never ends, we wait once."""
        self._view = view
        if view is not None and not view.signing:
            self._signing_since = None
        elif view is not None and self._signing_since is None:
            self._signing_since = self._clock()

    async def _pass(self, view: View) -> Pass:
        self._wake.clear()
        now = self._clock()
        self._spent = [(at, gone) for at, gone in self._spent if now - at <= self._window]
        spent = frozenset(name for _, gone in self._spent for name in gone)
        lifted = self._lifted()
        rules = replace(self._rules, spent=spent, lifted=lifted)
        wanted, apex = self._core.wanted, dict(self._core.apex)
        since = self._signing_since
        wait = since is None or now - since < SIGNING_SECONDS
        done = await self._thread(
            lambda: passes.write(self._provider, wanted, apex, rules, view, wait=wait),
        )
        # How far the server is with its signing, only a reading tells.
        self._view = None if done.waits else done.view
        self._since = _and(self._since, done)
        self.plan = done.plan
        self.changes += done.changes
        if done.spends and not lifted:
            self._spent.append((now, done.spends))
        if done.changes and done.plan is not None:
            log.info(
                "%d names written, generation after %s, %d left",
                done.changes,
                done.plan.generation,
                done.left,
            )
        if done.remedy != "reread":
            self.errors += done.outcome == "failed" and not done.waits
            self._unwritten = done.error
            self._tell()
        self._say_left_alone()
        if done.left and done.outcome != "failed":
            self._wake.set()
        return done

    def _tell(self) -> None:
        trouble = self._unread or self._unwritten or self._provider.behind()
        if trouble and trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble
        if not trouble:
            self.well_at = self._clock()

    def _say_left_alone(self) -> None:
        notes = self._left_alone()
        for note in notes:
            if note not in self._said:
                log.warning("%s", note)
        self._said = notes

    async def _thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _and(since: list[Plan] | None, done: Pass) -> list[Plan] | None:
    """What was written since, and a pass; None once that is not known."""
    if since is None or done.outcome == "same" or done.waits or done.plan is None:
        return since
    return None if done.view is None else [*since, done.plan]
