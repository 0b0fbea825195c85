"""Connections are opened one after the other, no faster than the process keeps up."""

from __future__ import annotations

import asyncio

import pytest
from kubefed.controller.openings import GAP, LONGEST_REST, Openings


class Loop:
    """Time that passes when somebody sleeps, and as long again as the loop is held up."""

    def __init__(self, late: float = 0.0) -> None:
        self.now = 0.0
        self.late = late

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds + self.late
        self.late = 0.0


async def test_turns_come_one_after_the_other() -> None:
    loop = Loop()
    openings, order = Openings(lambda: loop.now, loop.sleep), list[int]()

    async def take(number: int) -> None:
        await openings.turn()
        order.append(number)

    await asyncio.gather(*(take(number) for number in range(10)))
    assert order == list(range(10))
    assert loop.now == pytest.approx(10 * GAP)


@pytest.mark.parametrize(
    ("late", "took"),
    [
        (GAP, 2 * GAP),
        (0.04, GAP + 2 * 0.04),
        (60.0, GAP + 60.0 + LONGEST_REST),
    ],
)
async def test_the_rest_of_the_process_gets_as_long_as_the_loop_was_held_up(
    late: float, took: float
) -> None:
    loop = Loop(late)
    await Openings(lambda: loop.now, loop.sleep).turn()
    assert loop.now == pytest.approx(took)


async def test_one_that_is_told_to_end_takes_no_turn() -> None:
    openings = Openings()
    first = asyncio.create_task(openings.turn())
    second = asyncio.create_task(openings.turn())
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(30):
        await second
