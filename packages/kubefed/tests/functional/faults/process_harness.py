"""The controller as a process of its own, which can be stopped, continued and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from controller_harness import FEDERATION, Federation, eventually
from kubefed.api.names import CONTROLLER_NAME
from kubefed.controller.leader import LEASE

_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """One `kubefed controller`.

    Args:
        kubeconfig: how it reaches the host.
        log: where it writes what it says.
        program: Python code to run in its place, and what arguments it takes before its own.
    """

    def __init__(self, kubeconfig: Path, log: Path, *program: str) -> None:
        self._log = log
        arguments = ["controller", f"--kubeconfig={kubeconfig}", "--kubefed-namespace", FEDERATION]
        start = ["-c", *program] if program else ["-m", "kubefed.cli"]
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, *start, *arguments], stdout=output, stderr=subprocess.STDOUT
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it is stopped by a signal (state T)."""
        return self._stat()[0] == "T"

    @property
    def cpu_seconds(self) -> float:
        """What it has used of processors so far."""
        user, system = self._stat()[11:13]
        return (int(user) + int(system)) / _TICKS

    @property
    def memory(self) -> int:
        """Its resident memory, in bytes."""
        return int(self._stat()[21]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """How many files, sockets and pipes it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _stat(self) -> list[str]:
        # From the third field on; the second, the name, may hold anything.
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def said(self, what: str) -> bool:
        return what in self.log

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ask(self) -> None:
        """Have a program of ours say what it says then (SIGUSR1)."""
        self._process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        """Have it end by itself."""
        if self.alive:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the controller doesn't end:\n{self.log}") from None


def free_lease(federation: Federation) -> None:
    """Give the lease of a controller back that was killed, as it would have had it ended."""
    path = LEASE.path(FEDERATION, CONTROLLER_NAME)
    federation.host.merge(path, {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}})


def until_led(federation: Federation, besides: str = "", seconds: float = 30.0) -> str:
    """Wait until somebody leads, or somebody else than before; give the identity."""
    return eventually(lambda: (now := federation.leader()) != besides and now, seconds)
