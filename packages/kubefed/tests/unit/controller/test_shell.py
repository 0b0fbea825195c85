"""Queue, cache and lease, each without a server: what they do with what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from kubefed.api import CONFIG_MAP
from kubefed.controller import backoff, leader
from kubefed.controller.answers import TOO_LONG
from kubefed.controller.client import METADATA_LIST, ApiError, Client, Connection, NotLeaderError
from kubefed.controller.informer import Informer
from kubefed.controller.leader import DURATION, RENEW_DEADLINE, Leader
from kubefed.controller.listing import Source
from kubefed.controller.objects import Json, Key, key_of
from kubefed.controller.queue import RETRY, Held, WorkQueue


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0)


# -- queue


async def test_a_key_is_handled_once_and_again_if_it_came_meanwhile() -> None:
    handled: list[str] = []
    gate = asyncio.Event()

    async def handle(key: str) -> float | None:
        handled.append(key)
        await gate.wait()
        return None

    queue = WorkQueue[str]("test", handle, workers=4)
    task = asyncio.create_task(queue.run())
    queue.add("a")
    queue.add("a")
    await until(lambda: handled == ["a"])
    queue.add("a")
    queue.add("a")
    await asyncio.sleep(0)
    assert handled == ["a"]
    gate.set()
    await until(lambda: handled == ["a", "a"])
    await until(lambda: len(queue) == 0)
    task.cancel()


async def test_a_failure_is_tried_again_and_harms_no_other_key() -> None:
    handled: list[str] = []

    async def handle(key: str) -> float | None:
        handled.append(key)
        if handled.count("bad") == 1 and key == "bad":
            raise ValueError("poison")
        return RETRY if handled.count(key) == 1 else None

    queue = WorkQueue[str]("test", handle, workers=1)
    task = asyncio.create_task(queue.run())
    queue.add("bad")
    queue.add("good")
    await until(lambda: handled[:2] == ["bad", "good"])
    queue.forget("bad")
    queue.add("bad")
    await until(lambda: handled.count("bad") == 2)
    task.cancel()


@pytest.mark.parametrize(("wait", "failed"), [(Held(0.0), [1, 2, 3]), (0.0, [1, 1, 1])])
async def test_to_wait_for_a_turn_is_no_success(
    monkeypatch: pytest.MonkeyPatch, wait: float, failed: list[int]
) -> None:
    """Else who fails in one cluster would be tried without a pause while others are paced."""
    turns = [RETRY, wait, RETRY, wait, RETRY, None]
    seen: list[int] = []

    def delay(failures: int, **_: float) -> float:
        seen.append(failures)
        return 0.0

    async def handle(_: str) -> float | None:
        return turns.pop(0)

    monkeypatch.setattr(backoff, "delay", delay)
    queue = WorkQueue[str]("test", handle, workers=1)
    task = asyncio.create_task(queue.run())
    queue.add("web")
    await until(lambda: turns == [])
    task.cancel()
    assert seen == failed


# -- informer


class Script(Client):
    """A client that answers lists and watches from a script; a list waits for an event in it.

    To the look before a watch that broke goes on it answers what `look` holds, by default what
    the last page had first.
    """

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        super().__init__("scripted", Connection("https://nowhere"))
        self.lists, self.watches = lists, watches
        self.look: Json | None = None
        self._page: Json = {}
        self.asked: list[str] = []
        self.limits: list[int] = []

    async def request(self, method: str, path: str, **options: Any) -> Json:
        del method
        if "params" not in options:
            raise ApiError(404, "NotFound", f"no {path}")
        if options["accept"] == METADATA_LIST:
            self.asked.append("look")
            return self.look or page(10**6, *self._page["items"][:1])
        self.asked.append("list")
        self.limits.append(int(options["params"]["limit"]))
        answer = self.lists.pop(0)
        while isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self._page = answer
        return answer

    async def watch(self, path: str, *, params: Any, accept: str) -> AsyncGenerator[Json]:
        del path, accept
        self.asked.append(f"watch {params['resourceVersion']}")
        for event in self.watches.pop(0) if self.watches else []:
            if isinstance(event, Exception):
                raise event
            yield event
        if not self.watches:
            await asyncio.Event().wait()


def obj(name: str, version: int, uid: str = "") -> Json:
    meta = {"namespace": "n", "name": name, "resourceVersion": str(version)}
    return {"metadata": meta | ({"uid": uid} if uid else {})}


def page(version: int, *items: Json, more: str = "") -> Json:
    meta = {"resourceVersion": str(version)} | ({"continue": more} if more else {})
    return {"kind": "List", "metadata": meta, "items": list(items)}


def event(kind: str, item: Json) -> Json:
    return {"type": kind, "object": item}


GONE = event("ERROR", {"code": 410, "reason": "Expired", "message": "old"})


class Watched:
    """An informer at work, and what it told."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.told: list[tuple[str, bool, bool]] = []
        self.client = Script(lists, watches)
        self.informer = Informer(self.client, Source(CONFIG_MAP), self._changed)
        self.task = asyncio.create_task(self.informer.run())

    def _changed(self, key: Key, before: Json | None, after: Json | None) -> None:
        self.told.append((key[1], before is not None, after is not None))

    def names(self) -> set[str]:
        return {name for _, name in self.informer.store}


async def test_pages_are_one_list_and_events_follow() -> None:
    watched = Watched(
        [page(5, obj("a", 1), more="x"), page(5, obj("b", 2))],
        [
            [
                event("ADDED", obj("c", 6)),
                event("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
                event("DELETED", obj("a", 10)),
            ],
            [],
        ],
    )
    await until(lambda: watched.names() == {"b", "c"})
    assert watched.told == [
        ("a", False, True),
        ("b", False, True),
        ("c", False, True),
        ("a", True, False),
    ]
    await until(lambda: watched.client.asked[-1] == "watch 10")
    assert watched.client.asked == ["list", "list", "watch 5", "look", "watch 10"]
    watched.task.cancel()


async def test_a_lost_place_is_listed_anew_and_the_old_cache_answers_until_then() -> None:
    held = asyncio.Event()
    pages = [page(20, obj("b", 2), more="x"), held, page(20, obj("c", 15))]
    watched = Watched([page(5, obj("a", 1), obj("b", 2)), *pages], [[GONE], []])
    await until(lambda: watched.client.asked.count("list") == 3)
    assert watched.names() == {"a", "b"}
    assert len(watched.told) == 2
    held.set()
    await until(lambda: watched.names() == {"b", "c"})
    assert watched.told[2:] == [("a", True, False), ("c", False, True)]
    watched.task.cancel()


BROKEN = ConnectionResetError("the server is gone")


async def test_a_watch_that_broke_goes_on_where_it_was() -> None:
    pages = [page(20, obj("a", 1, "first"), obj("b", 20, "other"))]
    watched = Watched(pages, [[BROKEN], [event("DELETED", obj("b", 21, "other"))]])
    await until(lambda: watched.names() == {"a"})
    assert watched.client.asked == ["list", "watch 20", "look", "watch 20"]
    watched.task.cancel()


@pytest.mark.parametrize(
    "look",
    [
        page(7, obj("a", 6, "new")),
        pytest.param(page(25, obj("a", 24, "new")), id="further than the old one"),
        page(7),
        page(25),
        page(25, obj("new", 24, "new")),
        pytest.param(page(19, obj("a", 1, "first")), id="from a backup"),
    ],
)
async def test_a_server_with_another_history_is_not_watched_from_where_the_old_one_was(
    look: Json,
) -> None:
    """Else an emptied host is taken for the full one until its versions reach the old ones."""
    old = [page(20, obj("a", 1, "first"), obj("b", 20, "other"))]
    new = page(int(look["metadata"]["resourceVersion"]) + 1, *look["items"])
    watched = Watched([*old, new], [[BROKEN], []])
    watched.client.look = look
    await until(lambda: watched.client.asked.count("list") == 2)
    await until(lambda: watched.names() == {name for _, name in map(key_of, look["items"])})
    watched.task.cancel()


async def test_a_list_that_fails_is_no_empty_list() -> None:
    """Argo CD's issue 18480: all was deleted when the clusters could not be listed."""
    failed = ApiError(500, "InternalError", "etcd is away")
    watched = Watched(
        [page(5, obj("a", 1), obj("b", 2)), failed, page(20, obj("b", 2), obj("c", 15))],
        [[GONE], []],
    )
    await until(lambda: watched.names() == {"b", "c"})
    assert watched.told[2:] == [("a", True, False), ("c", False, True)]
    watched.task.cancel()


async def test_a_429_ends_no_watch_and_its_retry_after_is_obeyed() -> None:
    """Kopf's issue 1108: the watch ended for good, and the process's probe stayed green."""
    busy = ApiError(429, "TooManyRequests", "not now", 0.5)
    watched = Watched([page(5, obj("a", 1))], [[busy], [event("ADDED", obj("b", 6))]])
    await until(lambda: watched.client.asked[-1:] == ["watch 5"])
    began = asyncio.get_running_loop().time()
    await until(lambda: watched.names() == {"a", "b"})
    # Longer than the first retries alone would wait.
    assert asyncio.get_running_loop().time() - began > 0.45
    assert watched.client.asked == ["list", "watch 5", "look", "watch 5"]
    watched.task.cancel()


async def test_what_is_no_list_is_not_believed() -> None:
    watched = Watched([{"kind": "Status"}], [])
    await until(lambda: bool(watched.informer.error))
    assert not watched.informer.whole
    watched.task.cancel()


async def test_what_no_server_can_hold_is_not_taken() -> None:
    bad = ["../../secrets/a", "..", "a\nb", "a" * 300, "", "a%2fb"]
    events = [event("ADDED", obj(name, 8)) for name in (*bad, "later")]
    watched = Watched([page(7, *(obj(name, 5) for name in (*bad, "good")))], [events])
    await until(lambda: watched.names() == {"good", "later"})
    assert {name for name, _, _ in watched.told} == {"good", "later"}
    watched.task.cancel()


async def test_a_list_without_end_is_given_up() -> None:
    same = [page(7, obj("a", 5), more="on") for _ in range(100)]
    watched = Watched(list(same), [])
    await until(lambda: "no end" in watched.informer.error)
    assert len(watched.client.lists) > 80
    watched.task.cancel()


async def test_a_page_that_is_too_long_is_asked_for_in_parts() -> None:
    long = ApiError(0, TOO_LONG, "too long")
    watched = Watched([long, long, page(7, obj("a", 5))], [])
    async with asyncio.timeout(5):
        await watched.informer.synced.wait()
    assert watched.client.limits == [500, 125, 31]
    watched.task.cancel()


@pytest.mark.parametrize("where", ["list", "watch"])
async def test_a_place_that_is_always_gone_is_not_asked_for_without_a_pause(where: str) -> None:
    gone = ApiError(410, "Expired", "gone")
    if where == "list":
        watched = Watched([gone] * 1000, [])
    else:
        error = event("ERROR", {"code": 410, "reason": "Expired"})
        watched = Watched([page(7, obj("a", 5))] * 1000, [[error]] * 1000)
    await asyncio.sleep(0.5)
    assert 2 <= watched.client.asked.count("list") < 10
    watched.task.cancel()


async def test_a_kind_that_is_not_served_is_not_known() -> None:
    watched = Watched([ApiError(404, "NotFound", "no such kind", 60)], [])
    await until(lambda: bool(watched.informer.error))
    assert not watched.informer.whole
    watched.task.cancel()


async def test_our_own_writes_are_no_news_and_old_events_undo_nothing() -> None:
    watched = Watched([page(5, obj("a", 1))], [[]])
    await watched.informer.synced.wait()
    watched.told.clear()
    watched.informer.learn(obj("a", 8), own=True)
    for late in (event("MODIFIED", obj("a", 7)), event("DELETED", obj("a", 6))):
        watched.informer.take(late["type"], late["object"])
    watched.informer.take("MODIFIED", obj("a", 8))
    assert watched.told == []
    assert watched.names() == {"a"}
    watched.informer.take("MODIFIED", obj("a", 9))
    assert watched.told == [("a", True, True)]
    watched.task.cancel()


async def test_what_else_an_answer_held_is_told() -> None:
    """A status written while somebody changed the spec: the answer holds the new spec too."""
    watched = Watched([page(5, obj("a", 1))], [[]])
    await watched.informer.synced.wait()
    watched.told.clear()
    watched.informer.learn(obj("a", 8))
    watched.informer.take("MODIFIED", obj("a", 7))
    assert watched.told == []
    watched.informer.take("MODIFIED", obj("a", 8))
    assert watched.told == [("a", True, True)]
    watched.informer.take("MODIFIED", obj("a", 8))
    assert watched.told == [("a", True, True)]
    watched.task.cancel()


async def test_a_change_in_an_answer_is_told_by_the_next_list_too() -> None:
    watched = Watched(
        [page(5, obj("a", 1)), page(20, obj("a", 8), obj("b", 6))],
        [[event("ADDED", obj("b", 6))], [GONE]],
    )
    await until(lambda: watched.names() == {"a", "b"})
    watched.told.clear()
    watched.informer.learn(obj("a", 8))
    await until(lambda: watched.client.asked.count("list") == 2)
    assert watched.told == [("a", True, True)]
    watched.task.cancel()


# -- leader


class Shelf(Client):
    """A client with one Lease behind it."""

    def __init__(self) -> None:
        super().__init__("shelf", Connection("https://nowhere"))
        self.lease: Json | None = None
        self.revision = 0
        self.reachable = True

    async def request(self, method: str, path: str, **options: Any) -> Json:
        del path
        if not self.reachable:
            raise OSError("unreachable")
        if method == "GET":
            if self.lease is None:
                raise ApiError(404, "NotFound", "no lease")
            return self.lease
        body: Json = options["body"]
        sent = body["metadata"].get("resourceVersion")
        if self.lease is not None and sent != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "changed meanwhile")
        self.revision += 1
        meta = body["metadata"] | {"resourceVersion": str(self.revision)}
        self.lease = body | {"metadata": meta}
        return self.lease


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_one_leads_and_the_other_follows_when_it_falls_silent() -> None:
    shelf, clock = Shelf(), Clock()
    first, second = (Leader(shelf, "n", name, clock) for name in ("first", "second"))
    assert await first.attempt()
    assert not await second.attempt()
    first.fence()
    with pytest.raises(NotLeaderError):
        second.fence()
    clock.now += DURATION - 0.1
    assert not await second.attempt()
    assert not first.leading
    clock.now += 0.2
    assert await second.attempt()
    assert not await first.attempt()


async def test_the_fence_closes_before_another_can_lead() -> None:
    shelf, clock = Shelf(), Clock()
    first, second = (Leader(shelf, "n", name, clock) for name in ("first", "second"))
    await first.attempt()
    await second.attempt()
    shelf.reachable = False
    clock.now += RENEW_DEADLINE
    assert not await first.attempt()
    with pytest.raises(NotLeaderError):
        first.fence()
    shelf.reachable = True
    assert not await second.attempt()
    assert RENEW_DEADLINE < DURATION


async def test_a_lease_is_trusted_from_before_it_was_asked_for() -> None:
    """The host may count from the moment that it took the renewal, however late its answer is."""
    clock = Clock()

    class Far(Shelf):
        async def request(self, method: str, path: str, **options: Any) -> Json:
            answer = await super().request(method, path, **options)
            clock.now += 1
            return answer

    leader, began = Leader(Far(), "n", "first", clock), clock.now
    assert await leader.attempt()
    clock.now = began + RENEW_DEADLINE
    with pytest.raises(NotLeaderError):
        leader.fence()


async def test_a_lease_that_is_renewed_is_never_taken() -> None:
    shelf, clock = Shelf(), Clock()
    first, second = (Leader(shelf, "n", name, clock) for name in ("first", "second"))
    for _ in range(20):
        clock.now += 1
        assert await first.attempt()
        assert not await second.attempt()


async def test_a_lease_that_is_given_back_is_taken_at_once() -> None:
    shelf, clock = Shelf(), Clock()
    first, second = (Leader(shelf, "n", name, clock) for name in ("first", "second"))
    await first.attempt()
    await second.attempt()
    await first.release()
    assert not first.leading
    assert await second.attempt()


async def for_ever() -> None:
    await asyncio.Event().wait()


class Followed(Shelf):
    """A shelf whose Lease can be watched, and is read by nobody for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.events: asyncio.Queue[Json] = asyncio.Queue()

    async def watch(self, path: str, *, params: Any, accept: str) -> AsyncGenerator[Json]:
        del path, params, accept
        while True:
            yield {"type": "MODIFIED", "object": await self.events.get()}


async def test_a_standby_counts_from_the_moment_that_a_renewal_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leader, "RETRY", 0.01)
    shelf, clock = Followed(), Clock()
    first, second = (Leader(shelf, "n", name, clock) for name in ("first", "second"))
    await first.attempt()
    assert not await second.attempt()
    clock.now += 0.9
    await first.attempt()
    shelf.reachable = False
    standby = asyncio.create_task(second.run(for_ever))
    assert shelf.lease is not None
    shelf.events.put_nowait(shelf.lease)
    await until(shelf.events.empty)
    await asyncio.sleep(0)
    # At its next look it counts from the renewal, which it has not looked at since.
    clock.now += DURATION
    shelf.reachable = True
    await until(lambda: second.leading)
    standby.cancel()


async def test_a_standby_that_is_told_takes_a_lease_that_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leader, "RETRY", 60.0)
    shelf, clock = Followed(), Clock()
    first, second = (Leader(shelf, "n", name, clock) for name in ("first", "second"))
    await first.attempt()
    standby = asyncio.create_task(second.run(for_ever))
    await asyncio.sleep(0)
    await first.release()
    assert shelf.lease is not None
    shelf.events.put_nowait(shelf.lease)
    await until(lambda: second.leading)
    standby.cancel()
