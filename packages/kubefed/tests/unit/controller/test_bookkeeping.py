"""Books follow after the members while many objects wait, but not for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fake_federation import calm, until
from kubefed.api import CONFIG_MAP, FederatedType
from kubefed.api.names import PropagationStatus
from kubefed.controller import bookkeeping
from kubefed.controller.bookkeeping import Bookkeeper
from kubefed.controller.objects import Json, Key
from kubefed.controller.status import Outcome

KEY = ("shop", "web")
FEDERATED: Json = {"metadata": {"namespace": "shop", "name": "web", "uid": "1", "generation": 1}}
OUTCOME = Outcome(clusters={"one": PropagationStatus.OK})


class Desk:
    """Books that note what they write."""

    def __init__(self) -> None:
        self.pressed = True
        self.written: list[Outcome] = []
        self.names: list[str] = []
        self._store: dict[Key, Json] = {KEY: FEDERATED}
        records: Any = SimpleNamespace(saved=lambda *_: True)
        self.books = Bookkeeper(
            cast("Any", SimpleNamespace(records=records)),
            FederatedType.of(CONFIG_MAP),
            cast("Any", SimpleNamespace(store=self._store)),
            cast("Any", SimpleNamespace(write_status=self._write)),
            lambda: self.pressed,
        )

    async def _write(self, federated: Json, outcome: Outcome, _current: Json) -> None:
        self.written.append(outcome)
        self.names.append(federated["metadata"]["name"])

    def note(self) -> None:
        """Have the status of the object written."""
        self.books.note(KEY, FEDERATED, None, OUTCOME)

    def note_of(self, name: str, status: Json) -> None:
        """Have the status of another object written."""
        key = ("shop", name)
        federated = {"metadata": FEDERATED["metadata"] | {"name": name}, "status": status}
        self._store[key] = federated
        self.books.note(key, federated, None, OUTCOME)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Write as long as the block lasts."""
        task = asyncio.create_task(self.books.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_books_are_written_at_once_where_nobody_waits() -> None:
    desk = Desk()
    desk.pressed = False
    async with desk.open():
        desk.note()
        await calm(0)
        await until(lambda: desk.written == [OUTCOME])


async def test_what_was_never_told_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new object's status doesn't wait for those of all that a lost cluster has concerned."""
    monkeypatch.setattr(bookkeeping, "WORKERS", 1)
    desk = Desk()
    desk.pressed = False
    for number in range(19):
        desk.note_of(f"old{number}", {"observedGeneration": 1})
    desk.note_of("new", {})
    async with desk.open():
        await until(lambda: len(desk.written) == 20)
    assert desk.names[0] == "new"


async def test_books_wait_for_the_objects_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(bookkeeping, "HELD_SECONDS", 3600.0)
    desk = Desk()
    async with desk.open():
        desk.note()
        await calm()
        assert desk.written == []
        desk.pressed = False
        await until(lambda: desk.written == [OUTCOME])


async def test_books_wait_no_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor from a later news of the same object: a steady load must not keep its status back."""
    monkeypatch.setattr(bookkeeping, "LOOK_SECONDS", 0.001)
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(bookkeeping, "time", SimpleNamespace(monotonic=lambda: clock.now))
    desk = Desk()
    async with desk.open():
        desk.note()
        clock.now = bookkeeping.HELD_SECONDS / 2
        desk.note()
        await calm()
        assert desk.written == []
        clock.now = bookkeeping.HELD_SECONDS
        await until(lambda: desk.written == [OUTCOME])
