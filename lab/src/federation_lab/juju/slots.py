"""How many hooks run at once.

Machines of a data centre have processors of their own; the lab's share the host's. More hooks at
once would make each of them slower and none of them earlier.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator

# What runs for longer waits for something, such as a control plane that starts, or a region that
# is cut off or stands still: its place is another's.
LONGEST_HOLD = 2.0


class Slots:
    """Places for running hooks.

    Args:
        count: How many; none given: as many as there are processors, at least 2.
        longest_hold: Seconds after which a hook that still runs has no place any more.
    """

    def __init__(self, count: int | None = None, longest_hold: float = LONGEST_HOLD) -> None:
        self._places = asyncio.Semaphore(count or max(2, os.cpu_count() or 1))
        self._longest_hold = longest_hold

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Waits for a place and holds it."""
        await self._places.acquire()
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._places.release()

        timer = asyncio.get_running_loop().call_later(self._longest_hold, release)
        try:
            yield
        finally:
            timer.cancel()
            release()
