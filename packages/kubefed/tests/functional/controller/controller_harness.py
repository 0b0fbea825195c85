"""A federation of the session's control planes, and controllers run beside the tests."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
from federation_lab.cluster.control_plane import ADMIN, ControlPlane
from kubefed import clients, install, membership
from kubefed.api import KUBEFED_CLUSTER, NAMESPACE, TargetKind
from kubefed.controller import manager

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
        response.raise_for_status()
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

    def freeze(self, seconds: float) -> None:
        """Stop its event loop for a while, as SIGSTOP would."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(time.sleep, seconds)


@contextlib.contextmanager
def controller(host: ControlPlane, **options: Any) -> Generator[Controller]:
    running = Controller(
        manager.Options(
            kubeconfig=Path(host.directory / "admin.kubeconfig"), namespace=FEDERATION, **options
        )
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


def eventually(check: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until something is truthy, and give it."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(0.02)


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
    """Install the federation in the host, and make every control plane a member."""
    host = planes["host"]
    api = clients.from_kubeconfig(host.directory / "admin.kubeconfig", host.name)
    install.install(api, namespace=FEDERATION)
    for name, plane in planes.items():
        membership.register(
            api,
            cluster=name,
            api_endpoint=plane.endpoint,
            ca_bundle=plane.ca_certificate,
            token=plane.token(ADMIN),
            labels={"region": name},
            namespace=FEDERATION,
        )


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
            eventually(self.all_ready, 20)
            yield running

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
