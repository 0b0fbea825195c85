"""Many connections are opened one after the other, and no faster than the process keeps up.

A TLS handshake takes the event loop for milliseconds. Several hundred at once, as thirty members
have at the start, would keep the Lease from being renewed. Nothing is held while a connection is
opened, so a cluster that doesn't answer takes nobody's turn.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Between two openings, in seconds.
GAP = 0.005
# What one late turn adds at most.
LONGEST_REST = 0.5


class Openings:
    """Turns for opening a connection, first come, first served.

    Args:
        clock: the monotonic time, in seconds.
        sleep: lets so many seconds pass.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until one more connection may be opened."""
        async with self._lock:
            due = self._clock() + GAP
            await self._sleep(GAP)
            # The loop was busy for so long; whatever else it has to do gets as long.
            late = self._clock() - due
            if late > GAP:
                await self._sleep(min(late, LONGEST_REST))
