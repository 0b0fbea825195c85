"""What runs in the background ends, whatever it does with a cancellation."""

import asyncio

from federation_lab import tasks


async def deaf(times: int) -> None:
    for _ in range(times):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    await asyncio.sleep(60)


async def breaks() -> None:
    raise ValueError("for itself")


async def test_all_end_though_a_cancellation_is_lost() -> None:
    started = [asyncio.create_task(each) for each in (deaf(0), deaf(1), breaks())]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await tasks.end(started)
    assert all(task.done() for task in started)


async def test_none_is_none() -> None:
    await tasks.end([])
