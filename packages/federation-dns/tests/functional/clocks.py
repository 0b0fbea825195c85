"""Programs whose clocks are wrong, each by a file of its own, at any time while they run.

`clocks.c` is preloaded under them. Debian's libfaketime turns sleeps of Python's threads into
errors when it leaves the monotonic clock alone, and does not run under `named` at all.
"""

from __future__ import annotations

import contextlib
import mmap
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .conftest import Region

SOURCE = Path(__file__).with_name("clocks.c")
DAY = 86400.0


def built(folder: Path) -> Path:
    """The library to preload; skips the test where nothing can compile it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): tools/bootstrap")
    made = folder / "clocks.so"
    if not made.exists():
        done = subprocess.run(
            [compiler, "-std=gnu11", "-O2", "-shared", "-fPIC", "-o", made, SOURCE, "-ldl"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return made


@dataclass
class Clock:
    """The clocks of one program.

    Args:
        library: what `built` gave.
        file: where they are told; made here.
        rate: how fast they run; fixed, since a rate that changes would make them jump.
    """

    library: Path
    file: Path
    rate: float = 1.0
    _map: mmap.mmap = field(init=False)

    def __post_init__(self) -> None:
        self.file.write_bytes(struct.pack("3d", 0.0, self.rate, time.monotonic()))
        with self.file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def step(self, seconds: float) -> None:
        """Put the wall clock so far ahead, at once; the monotonic clock goes on."""
        self._map[:8] = struct.pack("d", seconds)

    @property
    def through(self) -> tuple[str, ...]:
        """What the program is started through."""
        return ("env", f"LD_PRELOAD={self.library}", f"CLOCKS_FILE={self.file}")

    @contextlib.contextmanager
    def put(self, seconds: float) -> Generator[None]:
        """Have it wrong as long as the block lasts."""
        self.step(seconds)
        try:
            yield
        finally:
            self.step(0.0)

    @contextlib.contextmanager
    def strobe(self, seconds: float, every: float = 0.1) -> Generator[None]:
        """Have it jump back and forth by so much, as long as the block lasts."""
        ended = threading.Event()

        def jump() -> None:
            ahead = seconds
            while not ended.wait(every):
                self.step(ahead)
                ahead = -ahead

        thread = threading.Thread(target=jump)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5)
            self.step(0.0)


def start_agent(region: Region, clock: Clock) -> None:
    """Start the region's agent, and it alone, by these clocks."""
    before = region.through
    region.through = (*before, *clock.through)
    try:
        region.start_agent()
    finally:
        region.through = before
