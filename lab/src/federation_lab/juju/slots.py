"""How many hooks run at once.

Machines of a data centre have processors of their own; the lab's share the host's. More hooks at
once would make each of them slower and none of them earlier.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator

# A hook of a region that is cut off or stands still may take long; others don't wait for it.
LONGEST_WAIT = 10.0


class Slots:
    """Places for running hooks.

    Args:
        count: How many; none given: one more than there are processors.
        longest_wait: Seconds after which a hook runs without a place.
    """

    def __init__(self, count: int | None = None, longest_wait: float = LONGEST_WAIT) -> None:
        self._places = asyncio.Semaphore(count or (os.cpu_count() or 1) + 1)
        self._longest_wait = longest_wait

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Holds a place, if there is one soon."""
        held = False
        with contextlib.suppress(TimeoutError):
            held = await asyncio.wait_for(self._places.acquire(), self._longest_wait)
        try:
            yield
        finally:
            if held:
                self._places.release()
