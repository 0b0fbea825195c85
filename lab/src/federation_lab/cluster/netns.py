"""Network namespaces for tests: nothing of the host's network is touched, nothing stays behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Generator

START_SECONDS = 5.0
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def namespace() -> Generator[int]:
    """Hold a network namespace and give the id of the only process in it; it goes with it.

    Raises:
        TimeoutError: it couldn't be made, most often for want of rights.
    """
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    own = os.readlink("/proc/self/ns/net")
    deadline = time.monotonic() + START_SECONDS
    try:
        while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
            if time.monotonic() > deadline:
                raise TimeoutError("no network namespace; it needs root")
            time.sleep(0.01)
        yield holder.pid
    finally:
        holder.kill()
        holder.wait(timeout=10)


@contextlib.contextmanager
def inside(pid: int) -> Generator[None]:
    """Let this thread, and what it starts, see the network of another process."""
    back = os.open(f"/proc/{os.getpid()}/ns/net", os.O_RDONLY)
    try:
        _enter(f"/proc/{pid}/ns/net")
        try:
            yield
        finally:
            _enter(f"/proc/self/fd/{back}")
    finally:
        os.close(back)


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
