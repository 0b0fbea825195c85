"""A line between regions that is long, or garbles what it carries: TCP, on loopback.

The kernel here has no netem. So each region is reached through a port that hands on what comes,
later or altered; TLS goes through it as through any router.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from dataclasses import dataclass, field

from .conftest import free_port

_CHUNK = 1400
_MOST = 200  # chunks under way


@dataclass
class Line:
    """The way to one port, both directions.

    Attributes:
        delay: seconds each way.
        jitter: more or less than that, drawn for each piece; the order stays, as in TCP.
        garbled: the share of pieces with a bit turned.
    """

    target: int
    delay: float = 0.0
    jitter: float = 0.0
    garbled: float = 0.0
    port: int = field(default_factory=free_port)
    carried: int = 0
    turned: int = 0

    def start(self) -> None:
        self._random = random.Random(self.target)  # noqa: S311
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        ready.set()
        await self._ended.wait()
        server.close()

    async def _carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            far, forth = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            back.close()
            return
        ways = [asyncio.ensure_future(self._way(*w)) for w in ((near, forth), (far, back))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(self.delay + self.jitter)  # what is under way
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.close()
            forth.close()

    async def _way(self, come: asyncio.StreamReader, go: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST)
        sender = asyncio.ensure_future(self._send(under_way, go))
        try:
            with contextlib.suppress(OSError):
                while piece := await come.read(_CHUNK):
                    late = self.delay + self._random.uniform(-self.jitter, self.jitter)
                    await under_way.put((self._loop.time() + late, self._altered(piece)))
        finally:
            if self.delay:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(under_way.join(), self.delay + self.jitter)
            sender.cancel()

    async def _send(
        self, under_way: asyncio.Queue[tuple[float, bytes]], go: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, piece = await under_way.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                go.write(piece)
                await go.drain()
                self.carried += 1
                under_way.task_done()

    def _altered(self, piece: bytes) -> bytes:
        if self._random.random() >= self.garbled:
            return piece
        self.turned += 1
        altered = bytearray(piece)
        altered[self._random.randrange(len(altered))] ^= 1 << self._random.randrange(8)
        return bytes(altered)
