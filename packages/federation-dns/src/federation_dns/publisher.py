"""Keeps the DNS server at what is wanted: at once on a change, and by comparing all the time.

The zone as read last is kept, so that a verdict goes out in one message without reading first; the
prerequisites in it make the server refuse if that reading is no longer true. Every compare
interval the serial and the generation are asked, and the zone is read again if they moved, or at
least every thirtieth time: a zone that was emptied, altered or restored from a backup is put right
without anybody noticing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from federation_dns import plan as plans
from federation_dns.core import Core
from federation_dns.plan import Plan, Rules, View
from federation_dns.providers import Provider, ProviderError
from federation_dns.zone import Key, RecordSet, Zone

T = TypeVar("T")

log = logging.getLogger(__name__)

_FULL_EVERY = 30
_TRIES = 4
_LONGEST_BACKOFF = 5.0
# What passes by itself within so long is no operator's matter.
_LASTING = 15.0
_SIGNING_SECONDS = 60.0
"""For so long changes wait for a server that signs the whole zone."""


@dataclass(frozen=True, slots=True)
class Pass:
    """How a pass ended.

    Attributes:
        waits: nothing was tried, because the server signs the zone.
    """

    outcome: Literal["same", "changed", "failed"]
    view: View | None
    plan: Plan | None
    changes: int
    spends: frozenset[str] = frozenset()
    error: str = ""
    remedy: str = ""
    waits: bool = False


def carry_out(
    provider: Provider,
    wanted: Zone,
    apex: dict[Key, RecordSet],
    rules: Rules,
    view: View | None,
    *,
    wait: bool = True,
) -> Pass:
    """Read if need be, plan, apply, read again; blocks within the provider's bounds.

    What is changed while a server signs the whole zone may keep no signature for good, and
    validates nowhere; so with `wait` nothing is written then.
    """
    done, spends = 0, frozenset[str]()
    plan: Plan | None = None
    error = ProviderError("the zone changes faster than it can be written", "retry")
    for _ in range(_TRIES):
        try:
            if view is None:
                view = provider.read()
            plan = plans.plan(wanted, view, rules, apex)
            if wait and view.signing and plan.changes:
                why = _waiting(len(plan.changes), rules)
                return Pass("failed", view, plan, done, spends, why, "retry", waits=True)
            written = provider.apply(plan, view) if plan.changes else 0
            if not written:
                return Pass("changed" if done else "same", view, plan, done, spends)
            done, spends = done + written, spends | plan.spends
            rules = replace(rules, spent=rules.spent | plan.spends)
            view = provider.read()
            return Pass("changed", view, plan, done, spends)
        except ProviderError as found:
            error, view = found, None
            if found.done and plan is not None:
                # Which of them went is not known, so all that might have gone counts.
                done, spends = done + found.done, spends | plan.spends
                rules = replace(rules, spent=rules.spent | plan.spends)
            if found.remedy != "reread":
                break
    return Pass("failed", None, plan, done, spends, str(error), error.remedy)


def _waiting(changes: int, rules: Rules) -> str:
    return (
        f"zone {rules.zone}: its server signs all of it; {changes} names wait for that, "
        f"{_SIGNING_SECONDS:.0f} s at most"
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
        self._spent: list[tuple[float, frozenset[str]]] = []
        self._said: tuple[str, ...] = ()
        self._signing_since: float | None = None
        self.changes = 0
        self.errors = 0
        self.trouble = "the DNS server has not been read yet"
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
        compared = 0
        while True:
            woken = self._wake.is_set()
            self._wake.clear()
            if not woken and self._view is not None:
                compared += 1
                if compared >= _FULL_EVERY or await self._moved():
                    self._view, compared = None, 0
            done = await self._pass()
            if done.outcome == "failed":
                # A plan that is too long for one pass goes on at once.
                delay = 0.5 if done.changes else min(_LONGEST_BACKOFF, delay * 2)
                await self._sleep(delay)
            else:
                delay = 0.5
                await self._sleep(self._interval)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _moved(self) -> bool:
        try:
            stamp = await self._thread(self._provider.stamp)
        except ProviderError:
            return True  # the pass that follows finds out what is wrong
        return self._view is None or stamp != self._view.stamp(self._rules.zone)

    async def _pass(self) -> Pass:
        now = self._clock()
        self._spent = [(at, gone) for at, gone in self._spent if now - at <= self._window]
        spent = frozenset(name for _, gone in self._spent for name in gone)
        lifted = self._lifted()
        rules = replace(self._rules, spent=spent, lifted=lifted)
        wanted, apex, view = self._core.wanted, dict(self._core.apex), self._view
        since = self._signing_since
        wait = since is None or now - since < _SIGNING_SECONDS
        done = await self._thread(
            lambda: carry_out(self._provider, wanted, apex, rules, view, wait=wait),
        )
        self._signed(now, done)
        self.plan = done.plan or self.plan
        self.changes += done.changes
        if done.outcome == "failed" and not done.waits:
            self.errors += 1
        trouble = done.error or self._provider.behind()
        if trouble and trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble
        if not trouble:
            self.well_at = self._clock()
        if done.spends and not lifted:
            self._spent.append((now, done.spends))
        if done.changes and done.plan is not None:
            log.info("%d names written, generation after %s", done.changes, done.plan.generation)
        self._say_left_alone()
        return done

    def _signed(self, now: float, done: Pass) -> None:
        """Keep the reading, and since when the server signs: if it never ends, we wait once."""
        self._view = None if done.waits else done.view
        if done.view is not None and not done.view.signing:
            self._signing_since = None
        elif done.view is not None and self._signing_since is None:
            self._signing_since = now

    def _say_left_alone(self) -> None:
        notes = self._left_alone()
        for note in notes:
            if note not in self._said:
                log.warning("%s", note)
        self._said = notes

    async def _thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
