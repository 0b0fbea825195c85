"""How many hooks run at once."""

import asyncio

from federation_lab.juju.slots import Slots


async def test_no_more_hooks_run_at_once_than_there_are_places() -> None:
    slots = Slots(2, longest_hold=5)
    running, most = 0, 0

    async def hook() -> None:
        nonlocal running, most
        async with slots.place():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.gather(*(hook() for _ in range(6)))
    assert most == 2


async def test_a_hook_that_stands_still_does_not_stop_the_others() -> None:
    slots = Slots(1, longest_hold=0.01)
    async with slots.place():
        for _ in range(3):
            async with asyncio.timeout(1), slots.place():
                pass
    # What was given back early is not given back twice.
    async with slots.place():
        second = asyncio.ensure_future(slots.place().__aenter__())
        await asyncio.sleep(0)
        assert not second.done()
        second.cancel()
