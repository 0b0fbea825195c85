"""The end of what runs in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until each has ended; what they raise is not.

    One cancellation is not enough: `asyncio.wait_for` of Python 3.11 loses it where what it
    waits for ends in the same moment (CPython issue 86296), and the task goes on.
    """
    all_of_them = list(tasks)
    pending = set(all_of_them)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    await asyncio.gather(*all_of_them, return_exceptions=True)
