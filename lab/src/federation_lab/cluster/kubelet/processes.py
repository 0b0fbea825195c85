"""Child processes on the event loop, without a thread each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


class CommandError(Exception):
    """A short command failed; the text has its name and what it said."""


class Process:
    """A child whose end can be awaited by any number of tasks.

    Args:
        argv: what to run.
        output: where its output and errors go; its input is empty.
        descriptors: file descriptors that it inherits.
        env: its environment; the default is this program's.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        output: IO[bytes] | None = None,
        descriptors: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._popen = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.DEVNULL,
            stderr=output or subprocess.DEVNULL,
            pass_fds=descriptors,
            env=env,
        )
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self._popen.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs, as far as is known."""
        return not self._ended.done()

    async def wait(self) -> int:
        """Wait for its end and give the exit status; negative: the signal that ended it."""
        return await asyncio.shield(self._ended)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, if it is still there."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._popen.send_signal(number)

    def _reap(self) -> None:
        code = self._popen.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set_result(code)


async def run(argv: Sequence[str], text: str = "", *, seconds: float = 10.0) -> str:
    """Run a short command and give what it printed.

    Raises:
        CommandError: it failed or took longer than ``seconds``.
    """

    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=seconds, check=False
        )

    try:
        result = await asyncio.to_thread(call)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{argv[0]} did not end within {seconds:g} s") from error
    if result.returncode:
        raise CommandError(f"{' '.join(argv[:3])}: {result.stderr.strip()}")
    return result.stdout


def children(pid: int) -> list[int]:
    """Give the ids of a process's direct children."""
    with contextlib.suppress(OSError):
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    return []
