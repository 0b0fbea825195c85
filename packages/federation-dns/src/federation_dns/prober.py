"""Makes the connections that `federation_dns.probes` asks for: TCP, opened and closed again.

Bounded in every way: so many a second, so many at once to one region, so long each. What this
machine itself lacks (descriptors, ports, memory) says nothing about a target.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from federation_dns.probes import Probes, Target

_PERIOD = 0.05
_AT_ONCE = 32
_OWN_TROUBLE = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EADDRNOTAVAIL,
    errno.EACCES,
    errno.EPERM,
}


class Prober:
    """Asks the targets of all regions."""

    def __init__(self, probes: Probes, clock: Callable[[], float], timeout: float):
        self._probes = probes
        self._clock = clock
        self._timeout = timeout
        self._running: dict[str, set[asyncio.Task[None]]] = {}
        self.asked = 0
        self.missed = 0

    async def run(self) -> None:
        """Ask, until cancelled."""
        allowance: dict[str, float] = {}
        last = self._clock()
        try:
            while True:
                await asyncio.sleep(_PERIOD)
                now = self._clock()
                passed, last = min(1.0, now - last), now
                rate = self._probes.rate()
                for region in list(self._probes.regions):
                    left = min(max(1.0, rate), allowance.get(region, 0.0) + rate * passed)
                    allowance[region] = self._ask(region, left, now)
        finally:
            for tasks in self._running.values():
                for task in tasks:
                    task.cancel()

    def _ask(self, region: str, allowance: float, now: float) -> float:
        running = self._running.setdefault(region, set())
        while allowance >= 1 and len(running) < _AT_ONCE:
            found = self._probes.next(region, now)
            if found is None:
                break
            allowance -= 1
            task = asyncio.ensure_future(self._probe(*found))
            running.add(task)
            task.add_done_callback(running.discard)
        return allowance

    async def _probe(self, target: Target, port: int) -> None:
        self.asked += 1
        well = True
        try:
            await connect(target.address, port, self._timeout)
        except TimeoutError:
            well = False
        except OSError as error:
            well = error.errno in _OWN_TROUBLE
            if well:
                self._probes.skipped(target, self._clock())
                return
        self.missed += not well
        self._probes.answered(target, self._clock(), well=well)


async def connect(address: str, port: int, timeout: float) -> None:
    """Open a connection and close it.

    Raises:
        OSError: it was refused, or there is no way (TimeoutError: no answer in time).
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.setblocking(False)
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(made, (address, port))
