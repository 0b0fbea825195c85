"""Control planes as plain processes on loopback, for tests and benchmarks without the lab."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import httpx

from federation_lab.cluster.control_plane import ADMIN, ControlPlane

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

START_SECONDS = 60.0
PORTS = (20_000, 30_000)
API_SERVER = "kube-apiserver"


class StartError(Exception):
    """A control plane did not come up; the text names the program and its log."""


class Programs:
    """The programs of a control plane, which can be killed, started again, frozen and thawed.

    Args:
        plane: the control plane; its files are there.
        names: its programs, in the order in which they start.
    """

    def __init__(self, plane: ControlPlane, names: Sequence[str]) -> None:
        self.plane = plane
        self._names = names
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the programs that don't run, and wait for the API server.

        Raises:
            StartError: it wasn't ready within `START_SECONDS`.
        """
        for name in self._names:
            if name in self._running:
                continue
            with (self.plane.directory / f"{name}.log").open("ab") as log:
                command = self.plane.commands()[name]
                self._running[name] = subprocess.Popen(command, stdout=log, stderr=log)
            if name == API_SERVER:
                _wait_ready(self.plane, self._running[name])

    def kill(self, *names: str) -> None:
        """Kill programs as a crash does; all of them where none is named."""
        for name in reversed(names or self._names):
            process = self._running.pop(name, None)
            if process is not None:
                process.kill()
                process.wait(timeout=10)

    def freeze(self) -> None:
        """Stop all programs where they are: who connects is let in, and hears nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            process.send_signal(number)


@contextlib.contextmanager
def programs(
    name: str,
    directory: Path,
    binaries: Path,
    *,
    controllers: bool = False,
    scheduler: bool = False,
    address: str = "127.0.0.1",
) -> Generator[Programs]:
    """Run a control plane on free loopback ports until the block is left.

    Args:
        name: the cluster's name, and the name of its kubeconfig context.
        directory: where its files and logs go; thrown away by the caller.
        binaries: where etcd and the Kubernetes programs are.
        controllers: also run kube-controller-manager (garbage collection, namespaces, tokens).
        scheduler: also run kube-scheduler, for pods.
        address: the API server's; another than loopback's needs a network namespace of its own,
            since the server then listens on all addresses.

    Raises:
        StartError: the API server wasn't ready within `START_SECONDS`.
    """
    first = _free_ports(3)  # etcd takes two
    plane = ControlPlane(
        name=name,
        address=address,
        directory=directory,
        binaries=binaries,
        api_port=first + 2,
        etcd_port=first,
        fsync=False,
    )
    plane.prepare()
    wanted = ["etcd", API_SERVER]
    wanted += ["kube-controller-manager"] if controllers else []
    wanted += ["kube-scheduler"] if scheduler else []
    made = Programs(plane, wanted)
    try:
        made.start()
        yield made
    finally:
        made.kill()


@contextlib.contextmanager
def running(
    name: str,
    directory: Path,
    binaries: Path,
    *,
    controllers: bool = False,
    scheduler: bool = False,
    address: str = "127.0.0.1",
) -> Generator[ControlPlane]:
    """Run a control plane as `programs` does, for who needs to know but where it is.

    Raises:
        StartError: the API server wasn't ready within `START_SECONDS`.
    """
    with programs(
        name, directory, binaries, controllers=controllers, scheduler=scheduler, address=address
    ) as made:
        yield made.plane


def _wait_ready(plane: ControlPlane, api_server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    headers = {"Authorization": f"Bearer {plane.token(ADMIN)}"}
    authority = ssl.create_default_context(cafile=str(plane.directory / "pki" / "ca.crt"))
    with httpx.Client(verify=authority, headers=headers, timeout=2) as client:
        while time.monotonic() < deadline:
            if api_server.poll() is not None:
                break
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{plane.endpoint}/readyz").status_code == 200:
                    return
            time.sleep(0.1)
    raise StartError(
        f"the API server of {plane.name} is not ready; see {plane.directory}/kube-apiserver.log"
    )


def _free_ports(count: int) -> int:
    """The first of `count` free ports in a row.

    They lie below the range from which the kernel takes ports for outgoing connections: one of
    those could otherwise hold a port before its program does.
    """
    choice = random.SystemRandom()
    for _ in range(100):
        first = choice.randrange(*PORTS, count)
        with contextlib.ExitStack() as tried, contextlib.suppress(OSError):
            for port in range(first, first + count):
                tried.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise StartError(f"no {count} free ports in a row on loopback")
