"""A federation of the session's control planes, and controllers run beside the tests."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
from federation_lab.cluster.control_plane import ADMIN, ControlPlane
from federation_lab.cluster.pki import CertificateAuthority
from kubefed import clients, install, membership
from kubefed.api import KUBEFED_CLUSTER, NAMESPACE, STANDARD_KINDS, TargetKind
from kubefed.controller import manager
from kubefed.controller.leader import LEASE

FEDERATION = "kube-federation-system"
FEDERATED = {
    kind.lower(): TargetKind(
        "types.kubefed.io", "v1beta1", f"Federated{kind}", f"federated{kind.lower()}s"
    )
    for kind in ("Namespace", "ConfigMap", "Deployment", "Service")
}


class Api:
    """One API server as its admin sees it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.name = plane.name
        self._http = httpx.Client(
            base_url=plane.endpoint,
            verify=ssl.create_default_context(cadata=plane.ca_certificate),
            headers={"Authorization": f"Bearer {plane.token(ADMIN)}"},
            timeout=10,
        )

    def call(self, method: str, path: str, body: Any = None, *, merge: bool = False) -> Any:
        kind = "application/merge-patch+json" if merge else "application/json"
        response = self._http.request(
            method, path, json=body, headers={"Content-Type": kind} if body is not None else {}
        )
        assert response.is_success, response.text
        return response.json()

    def get(self, path: str) -> Any:
        """The object, None if it isn't there."""
        response = self._http.get(path)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return response.json()

    def merge(self, path: str, body: Any) -> Any:
        return self.call("PATCH", path, body, merge=True)

    def close(self) -> None:
        self._http.close()


class Controller:
    """A controller in a thread of its own, with its own event loop."""

    def __init__(self, options: manager.Options) -> None:
        self._options = options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[int] | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(manager.serve(self._options))
        self._ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(15)
        assert not self._thread.is_alive(), "the controller doesn't end"

    @property
    def alive(self) -> bool:
        """Whether its process would still be there."""
        return self._thread.is_alive()


@contextlib.contextmanager
def controller(host: ControlPlane, **options: Any) -> Generator[Controller]:
    running = Controller(
        manager.Options(kubeconfig=kubeconfig_of(host), namespace=FEDERATION, **options)
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


def eventually(check: Callable[[], Any], seconds: float = 30.0, every: float = 0.02) -> Any:
    """Wait until something is truthy, and give it; look so often."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(every)


def federated(kind: str, namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "types.kubefed.io/v1beta1",
        "kind": f"Federated{kind}",
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }


def clusters(*names: str) -> dict[str, Any]:
    return {"clusters": [{"name": name} for name in names]}


def join_all(planes: Mapping[str, ControlPlane]) -> None:
    """Install the federation in the host, and make every control plane a member.

    With the accounts of least rights that production has: a right that the controller lacks
    shows here.
    """
    host = planes["host"]
    api = clients.from_kubeconfig(host.directory / "admin.kubeconfig", host.name)
    install.install(api, namespace=FEDERATION)
    hour = datetime.timedelta(hours=1)
    own = install.controller_credentials(api, namespace=FEDERATION, lifetime=hour)
    config = host.kubeconfig()
    config["users"] = [{"name": host.name, "user": {"token": own.token}}]
    kubeconfig_of(host).write_text(json.dumps(config))
    for name, plane in planes.items():
        member = clients.from_kubeconfig(plane.directory / "admin.kubeconfig", plane.name)
        account = membership.prepare_member(
            member,
            cluster=name,
            host_cluster=host.name,
            namespace=FEDERATION,
            kinds=STANDARD_KINDS,
        )
        token = membership.mint_token(
            member, service_account=account, namespace=FEDERATION, lifetime=hour
        )
        membership.register(
            api,
            cluster=name,
            api_endpoint=plane.endpoint,
            ca_bundle=plane.ca_certificate,
            token=token.token,
            labels={"region": name},
            namespace=FEDERATION,
        )


def kubeconfig_of(host: ControlPlane) -> Path:
    """The controller's own kubeconfig."""
    return host.directory / "controller.kubeconfig"


@dataclasses.dataclass
class Federation:
    """The federation of the session's control planes."""

    plane: ControlPlane
    apis: dict[str, Api]

    @property
    def host(self) -> Api:
        return self.apis["host"]

    @contextlib.contextmanager
    def controller(self, **options: Any) -> Generator[Controller]:
        """Run a controller, and wait until it calls every cluster ready."""
        with controller(self.plane, **options) as running:
            eventually(self.leader, 20)
            eventually(self.all_ready, 20)
            yield running

    @contextlib.contextmanager
    def controller_of_some(self, **options: Any) -> Generator[Controller]:
        """Run a controller, and wait until it leads; not all clusters need to answer."""
        with controller(self.plane, **options) as running:
            eventually(self.leader, 20)
            yield running

    def leader(self) -> str:
        """The identity in the Lease, "" while nobody leads."""
        lease = self.host.get(LEASE.path(FEDERATION, "kubefed-controller-manager"))
        return lease["spec"]["holderIdentity"] if lease else ""

    def all_ready(self) -> bool:
        items = self.host.get(KUBEFED_CLUSTER.path(FEDERATION))["items"]
        return all(self.conditions(item) == {"Ready": "True"} for item in items)

    def conditions(self, item: Any) -> dict[str, str]:
        found = item.get("status", {}).get("conditions", [])
        return {condition["type"]: condition["status"] for condition in found}

    def make_namespace(self, name: str, *where: str) -> None:
        self.host.call("POST", NAMESPACE.path(), {"metadata": {"name": name}})
        self.post("Namespace", name, name, placement=clusters(*(where or self.apis)))

    def post(self, kind: str, namespace: str, name: str, **spec: Any) -> Any:
        path = FEDERATED[kind.lower()].path(namespace)
        return self.host.call("POST", path, federated(kind, namespace, name, **spec))

    def status(self, kind: str, namespace: str, name: str) -> Any:
        found = self.host.get(FEDERATED[kind.lower()].path(namespace, name)) or {}
        return found.get("status", {})

    def propagated(self, kind: str, namespace: str, name: str) -> bool:
        conditions = self.status(kind, namespace, name).get("conditions", [{}])
        return conditions[0].get("status") == "True"


class Wire:
    """A TCP wire to an API server that can be frozen: nothing passes, nobody is told."""

    def __init__(self, plane: ControlPlane) -> None:
        self._target = (plane.address, plane.api_port)
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = False
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self._closed = True
        self._flowing.set()
        # Closing alone doesn't wake who waits in accept or recv; shutdown does.
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _run(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            self._run(self._pump, near, far)
            self._run(self._pump, far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


class Verdicts:
    """A region's agent, as far as the controller asks it."""

    def __init__(self, directory: Path) -> None:
        self.answer: dict[str, Any] = {"quorum": True, "panic": False, "regions": {}}
        certificate, key = CertificateAuthority(directory / "agent", "agent").issue(
            "agent", "agent", hosts=["127.0.0.1"]
        )
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(agent.answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.file = directory / "region-health.json"
        url = f"https://127.0.0.1:{self._server.server_port}"
        endpoint = {"url": url, "certificate": certificate.read_text()}
        self.file.write_text(json.dumps({"endpoints": [endpoint]}))

    def say(self, *, quorum: bool = True, **evicted: bool) -> None:
        regions = {
            name: {
                "verdict": "lost" if gone else "healthy",
                "withdrawn": gone,
                "evicted": gone,
                "explain": f"2 of 3 regions say so of {name}",
            }
            for name, gone in evicted.items()
        }
        self.answer = {"quorum": quorum, "panic": not quorum, "regions": regions}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextlib.contextmanager
def joined(planes: Mapping[str, ControlPlane]) -> Generator[Federation]:
    """Every control plane, joined to the host's federation; no controller runs."""
    apis = {name: Api(plane) for name, plane in planes.items()}
    join_all(planes)
    yield Federation(planes["host"], apis)
    for api in apis.values():
        api.close()
