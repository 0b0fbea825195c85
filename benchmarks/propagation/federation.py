"""A federation of control planes on loopback, and a controller that is a process of its own.

The host is one of the three members, as in a federation that the bundle deploys: its API server
serves the federated objects, their records and its own copies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
from federation_lab import tools
from federation_lab.cluster.control_plane import ADMIN, ControlPlane
from federation_lab.cluster.loopback import running
from kubefed import clients, install, membership
from kubefed.api import KUBEFED_CLUSTER, STANDARD_KINDS
from kubefed.clients import Resources
from kubefed.controller.client import Client, Connection

NAMES = ("catania", "palermo", "napoli")
HOST = NAMES[0]
FEDERATION = "kube-federation-system"
LIFETIME = datetime.timedelta(hours=4)
READY_SECONDS = 60.0
END_SECONDS = 60.0
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class SetUpError(Exception):
    """The federation did not come up; the text says what is missing."""


@dataclasses.dataclass(frozen=True)
class Federation:
    """The control planes, joined.

    Attributes:
        directory: everything's files.
        planes: the control planes by name; the first is the host.
        kubeconfig: the controller's own, with no more rights than in production.
    """

    directory: Path
    planes: dict[str, ControlPlane]
    kubeconfig: Path

    def client(self, name: str) -> Client:
        """Give a client of the kind that the controller itself uses, as admin."""
        plane = self.planes[name]
        return Client(
            name, Connection(plane.endpoint, ca=plane.ca_certificate, token=plane.token(ADMIN))
        )

    def page(self, name: str) -> str:
        """Get the metrics of an API server."""
        plane = self.planes[name]
        answer = httpx.get(
            f"{plane.endpoint}/metrics",
            headers={"Authorization": f"Bearer {plane.token(ADMIN)}"},
            verify=ssl.create_default_context(cadata=plane.ca_certificate),
            timeout=30,
        )
        return answer.raise_for_status().text


@contextlib.contextmanager
def standing(directory: Path, entries: int) -> Generator[Federation]:
    """Run the control planes and join them, as long as the block lasts.

    Args:
        directory: where everything goes; thrown away by the caller.
        entries: how many members are registered; those beyond three are further entries of the
            same three API servers.
    """
    binaries = tools.binaries()
    with contextlib.ExitStack() as stack:
        planes = {
            name: stack.enter_context(running(name, directory / name, binaries))
            for name in NAMES[: max(1, entries)]
        }
        host = planes[HOST]
        api = clients.from_kubeconfig(host.directory / "admin.kubeconfig", HOST)
        install.install(api, namespace=FEDERATION)
        for plane in planes.values():
            _join(api, plane)
        for number in range(len(planes), entries):
            _register_again(Resources(api), NAMES[number % len(NAMES)], number)
        own = install.controller_credentials(api, namespace=FEDERATION, lifetime=LIFETIME)
        config = host.kubeconfig()
        config["users"] = [{"name": HOST, "user": {"token": own.token}}]
        kubeconfig = directory / "controller.kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        yield Federation(directory, planes, kubeconfig)


def _join(host: Any, plane: ControlPlane) -> None:
    member = clients.from_kubeconfig(plane.directory / "admin.kubeconfig", plane.name)
    account = membership.prepare_member(
        member,
        cluster=plane.name,
        host_cluster=HOST,
        namespace=FEDERATION,
        kinds=STANDARD_KINDS,
    )
    token = membership.mint_token(
        member, service_account=account, namespace=FEDERATION, lifetime=LIFETIME
    )
    membership.register(
        host,
        cluster=plane.name,
        api_endpoint=plane.endpoint,
        ca_bundle=plane.ca_certificate,
        token=token.token,
        labels={},
        namespace=FEDERATION,
    )


def _register_again(host: Resources, name: str, number: int) -> None:
    """Enter an API server once more; `register` refuses that, and in production rightly so."""
    entry = host.get(KUBEFED_CLUSTER, name, FEDERATION)
    if entry is None:
        raise SetUpError(f"KubeFedCluster {name} is not there")
    # Without the annotation that names the cluster, as an entry that kubefedctl made.
    metadata = {"name": f"{name}-{number}", "namespace": FEDERATION}
    new = {key: entry[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
    host.create(KUBEFED_CLUSTER, new)


class Controller:
    """One run of `kubefed controller`.

    Attributes:
        pid: the process.
        began: when it was started, on the monotonic clock.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path, address: str) -> None:
        self._process = process
        self._log = log
        self._http = httpx.Client(base_url=f"http://{address}", timeout=5)
        self.pid = process.pid
        self.began = time.monotonic()

    def metric(self, name: str, /, **labels: str) -> float:
        """Give the sum of a metric's samples that have these labels; 0 if nobody answers."""
        try:
            text = self._http.get("/metrics").text
        except httpx.TransportError:
            if self._process.poll() is not None:
                raise SetUpError(f"the controller ended:\n{self.tail()}") from None
            return 0.0
        return total(text, name, **labels)

    def wait_ready(self, entries: int) -> None:
        """Wait until it leads and calls every member ready.

        Raises:
            SetUpError: it doesn't in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while self.metric("kubefedcluster_total", state="ready") < entries:
            if time.monotonic() > deadline:
                raise SetUpError(f"not all members are ready:\n{self.tail()}")
            time.sleep(0.1)

    def tail(self) -> str:
        """Give the end of its log."""
        return self._log.read_text(errors="replace")[-3000:]

    def end(self) -> None:
        """Tell it to end, and wait for it."""
        self._http.close()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


@contextlib.contextmanager
def controller(federation: Federation, profile: Path | None = None) -> Generator[Controller]:
    """Run `kubefed controller` as long as the block lasts.

    Args:
        federation: the federation, that has none yet.
        profile: where cProfile writes what it saw; None to run without it.
    """
    address = f"127.0.0.1:{_free_port()}"
    command = [sys.executable]
    if profile is not None:
        command += ["-m", "cProfile", "-o", str(profile)]
    command += ["-m", "kubefed.cli", "controller", "--kubeconfig", str(federation.kubeconfig)]
    command += ["--context", HOST, "--kubefed-namespace", FEDERATION]
    command += ["--metrics-address", address]
    log = federation.directory / "controller.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    run = Controller(process, log, address)
    try:
        yield run
    finally:
        run.end()


def total(text: str, name: str, /, **labels: str) -> float:
    r"""Sum samples of a page of metrics.

    >>> page = 'a_total{verb="PUT",code="200"} 2.0\na_total{verb="GET",code="200"} 5\nb 1'
    >>> total(page, "a_total", code="200"), total(page, "a_total", verb="PUT"), total(page, "b")
    (7.0, 2.0, 1.0)
    """
    return sum(
        value
        for found, its, value in samples(text, name)
        if found == name and labels.items() <= its.items()
    )


def samples(text: str, name: str) -> Generator[tuple[str, dict[str, str], float]]:
    """Give the samples of a page of metrics whose names begin so."""
    for line in text.splitlines():
        match = _SAMPLE.match(line) if line.startswith(name) else None
        if match is not None:
            yield match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
    return port
