"""One at a time, across processes."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Generator
from pathlib import Path

from federation_lab.errors import LabError


@contextlib.contextmanager
def lock(
    path: Path, *, timeout_s: float = 60.0, waiting: Callable[[], None] | None = None
) -> Generator[None]:
    """Hold a lock file; the kernel releases it when its holder dies.

    Args:
        path: the file; it stays.
        timeout_s: how long to wait for another holder.
        waiting: called once when another holds it.

    Raises:
        LabError: another held it for all the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        end = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise LabError(
                        f"another process of the lab has held {path} for {timeout_s:g} s"
                    ) from None
            if waiting is not None:
                waiting()
                waiting = None
            time.sleep(0.02)
        yield
