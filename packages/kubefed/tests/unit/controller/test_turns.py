"""Who must wait before a member is written to, and who must not on that account."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from fake_federation import World, calm, until
from kubefed.api import CONFIG_MAP
from kubefed.controller.objects import Json
from kubefed.controller.queue import WorkQueue
from kubefed.controller.turns import BRAKED_SECONDS, FREE_WRITES, TOLD_SECONDS, Brake, Pacer

Make = Callable[..., World]
DATA: dict[str, Any] = {"template": {"data": {"a": "b"}}}
WEB = CONFIG_MAP.path("shop", "web")
QUICK = {"period": "10ms", "timeout": "1s", "failureThreshold": 2, "successThreshold": 1}


def allowed(brake: Brake, wish: str, moments: list[float]) -> list[float]:
    """Which of some writes that are wanted at some moments go."""
    went: list[float] = []
    for now in moments:
        if not brake.wait("web", wish, now):
            brake.wrote("web", wish, now)
            went.append(now)
    return went


def test_the_same_write_again_and_again_goes_once_a_second() -> None:
    went = allowed(Brake(), "a", [tick / 20 for tick in range(20 * 20)])
    assert went[:FREE_WRITES] == [0, 0.05, 0.1, 0.15, 0.2]
    assert len(went) <= FREE_WRITES + 20
    assert min(after - before for before, after in itertools.pairwise(went[5:])) > 0.9


def test_a_single_change_never_waits() -> None:
    moments = [tick * BRAKED_SECONDS for tick in range(100)]
    assert allowed(Brake(), "a", moments) == moments


def test_another_wish_does_not_wait_and_a_pause_frees() -> None:
    brake = Brake()
    allowed(brake, "a", [0.0] * 10)
    assert brake.wait("web", "a", 0.0) == BRAKED_SECONDS
    assert brake.wait("other", "a", 0.0) == 0
    assert brake.wait("web", "b", 0.0) == 0
    assert len(allowed(brake, "a", [100.0] * 10)) == FREE_WRITES


def test_a_fight_is_told_now_and_then_and_a_failure_is_none() -> None:
    brake = Brake()
    brake.wrote("web", "a", 0.0, took=False)
    assert not brake.tell("web", 0.0)
    brake.wrote("web", "a", 1.0)
    assert brake.tell("web", 1.0)
    assert not brake.tell("web", TOLD_SECONDS)
    assert brake.tell("web", 1.0 + TOLD_SECONDS)


def test_what_is_long_past_is_not_remembered() -> None:
    brake = Brake()
    for number in range(10_000):
        brake.wrote(number, "a", number / 100)
    assert len(brake) < 3_000


def test_turns_are_a_clusters_own_and_stay_with_who_has_them() -> None:
    pacer = Pacer(20.0)
    waits = [pacer.wait("one", name, 0.0) for name in "abc"]
    assert [round(wait, 2) for wait in waits] == [0, 0.05, 0.1]
    assert pacer.wait("two", "a", 0.0) == 0
    # Who asks before its turn waits for the same one, who comes late has it.
    assert round(pacer.wait("one", "c", 0.04), 2) == 0.06
    assert pacer.wait("one", "b", 0.05) == 0
    assert pacer.wait("one", "c", 0.5) == 0
    assert pacer.wait("one", "d", 0.5) == 0
    assert pacer.wait("one", "e", 0.5)
    pacer.used("one", "e")
    assert round(pacer.wait("one", "e", 0.5), 2) == 0.1
    pacer.forget()
    assert pacer.wait("one", "e", 0.5) == 0


async def test_what_has_time_lets_others_pass_but_not_for_ever() -> None:
    handled: list[int] = []

    async def handle(key: int) -> float | None:
        handled.append(key)
        return None

    queue = WorkQueue[int]("test", handle, workers=1)
    for key in range(10):
        queue.add(key, patient=True)
    for key in range(100, 120):
        queue.add(key)
    queue.add(5)
    queue.add(6, patient=True)
    task = asyncio.create_task(queue.run())
    await until(lambda: len(handled) == 30)
    task.cancel()
    assert sorted(handled) == [*range(10), *range(100, 120)]
    assert handled[:8] == [*range(100, 107), 0]
    assert handled.index(5) < handled.index(2)


# -- the whole controller


async def settled(world: World, name: str, *where: str) -> None:
    await until(
        lambda: world.states(CONFIG_MAP, "shop", name) == dict.fromkeys(where, ""), seconds=10
    )


def puts(world: World, cluster: str) -> int:
    return world.members[cluster].log.count(f"PUT {WEB}")


def interfere(world: World, number: int) -> None:
    """Somebody else changes the object in a member."""
    found: Json = world.members["one"].get(WEB) or {}
    fields = [
        {"manager": "kubefed", "time": "2026-01-01T00:00:01Z"},
        {"manager": "helm-operator", "time": "2026-01-01T00:00:00Z"},
    ]
    meta = found["metadata"] | {"managedFields": fields}
    world.members["one"].put(WEB, found | {"metadata": meta, "data": {"a": f"x{number}"}})


async def test_a_second_writer_is_answered_calmly_and_named(world: Make) -> None:
    shop = await world().shop()
    one = shop.members["one"]
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    await settled(shop, "web", "one", "two")
    for number in range(100):
        interfere(shop, number)
        await asyncio.sleep(0.005)
    assert FREE_WRITES - 1 <= puts(shop, "one") <= FREE_WRITES + 2
    await until(lambda: shop.events("ContestedInCluster"))
    (event,) = shop.events("ContestedInCluster")
    assert "ConfigMap in one: helm-operator changes it again and again" in event["message"]
    # What the user wants is another thing, and other objects and members aren't held up.
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", template={"data": {"a": "c"}})
    shop.federate(CONFIG_MAP, "shop", "other", "one", **DATA)
    await until(lambda: (one.get(WEB) or {})["data"] == {"a": "c"}, 0.5)
    await settled(shop, "web", "one", "two")
    await settled(shop, "other", "one")
    # And the last word is ours.
    for number in range(10):
        interfere(shop, number)
        await asyncio.sleep(0.005)
    await until(lambda: (one.get(WEB) or {})["data"] == {"a": "c"}, 3)


async def test_a_member_that_is_back_with_a_backlog_delays_no_other(world: Make) -> None:
    """Up to 20 writes a second go to it; what goes to the others doesn't queue behind them."""
    shop = await world("one", "two", clusterHealthCheck=QUICK).shop()
    two = shop.members["two"]
    two.healthy = None
    await until(lambda: shop.condition("two", "Offline"))
    for number in range(60):
        shop.federate(CONFIG_MAP, "shop", f"old{number}", "two", **DATA)
    await calm(0.3)
    two.healthy = "ok"
    await until(lambda: two.writes("configmaps"))
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    await until(lambda: shop.members["one"].get(WEB), 0.5)
    assert two.get(WEB) is None
    assert len(two.writes("configmaps")) < 20
    # A deletion waits for its turn too, and is done.
    shop.host.delete(shop.path(CONFIG_MAP, "shop", "web"))
    await until(lambda: shop.members["one"].get(WEB) is None, 0.5)
    await until(lambda: len(two.all("configmaps")) == 60, 10)
    await until(lambda: shop.federated(CONFIG_MAP, "shop", "web") is None, 10)
    for number in range(60):
        await settled(shop, f"old{number}", "two")
