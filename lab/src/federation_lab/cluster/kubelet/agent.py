"""The kubelet: follows the pods that are bound to its node and gives each a life."""

from __future__ import annotations

import asyncio
import datetime
import logging
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from federation_lab.cluster.kube import UNREACHABLE, ApiError, KubeApi, Object, Store, key_of
from federation_lab.cluster.kubelet.images import Images, ImagesError
from federation_lab.cluster.kubelet.pod import Pod
from federation_lab.cluster.kubelet.shared import Node
from federation_lab.cluster.kubelet.status import Running, timestamp

# The same thing about the same object is told once in so many seconds.
EVENT_SECONDS = 60.0
HOUSEKEEPING_SECONDS = 30.0
LOG_BYTES = 10_000_000

logger = logging.getLogger(__name__)


class ImagesFile:
    """images.yaml, read again when it changes; an unreadable one leaves the last in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._images = Images.parse(path.read_text())

    def __call__(self) -> Images:
        """Give what the file says now."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                self._stamp = stamp
                self._images = Images.parse(self._path.read_text())
        except (OSError, ImagesError) as error:
            logger.warning("images.yaml stays as it was: %s", error)
        return self._images


class Events:
    """Writes Events about objects, without repeating itself and without being waited for."""

    def __init__(self, api: KubeApi, host: str) -> None:
        self._api = api
        self._host = host
        self._told: dict[tuple[str, str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, about: Object, kind: str, reason: str, message: str) -> None:
        """Tell users something about an object (a Pod or a Service)."""
        clock = asyncio.get_running_loop().time()
        key = (about["metadata"]["uid"], reason, message)
        if clock - self._told.get(key, -EVENT_SECONDS) < EVENT_SECONDS:
            return
        self._told = {k: t for k, t in self._told.items() if clock - t < EVENT_SECONDS}
        self._told[key] = clock
        task = asyncio.create_task(self._write(about, kind, reason, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, about: Object, kind: str, reason: str, message: str) -> None:
        namespace, name = key_of(about)
        when = timestamp(datetime.datetime.now(datetime.UTC))
        body: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod" if "containers" in about["spec"] else "Service",
                "namespace": namespace,
                "name": name,
                "uid": about["metadata"]["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "firstTimestamp": when,
            "lastTimestamp": when,
            "count": 1,
            "source": {"component": "lab-kubelet", "host": self._host},
        }
        try:
            await self._api.request("POST", f"/api/v1/namespaces/{namespace}/events", body=body)
        except (ApiError, *UNREACHABLE) as error:
            logger.info("event not written: %s", error)


class Kubelet:
    """All pods of this node.

    Args:
        node: what they share.
        name: the node's name.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self._pods: dict[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        params = {"fieldSelector": f"spec.nodeName={name}"}
        self.store = Store(node.api, "/api/v1/pods", self._on_pod, params)

    async def run(self) -> None:
        """Follow the pods for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.store.follow())
            group.create_task(self._keep_house())

    def services_changed(self) -> None:
        """Tell all pods' hosts files."""
        for pod in self._pods.values():
            pod.refresh_hosts()

    def find_log(self, namespace: str, name: str, container: str, previous: bool) -> Path | None:
        """Give a container's log file."""
        pod = self._find(namespace, name)
        for view in [*pod.view.init, *pod.view.containers] if pod else []:
            if pod and view.name == container:
                restarts = view.restarts - 1 if previous else view.restarts
                return pod.log(container, restarts) if restarts >= 0 else None
        return None

    def writes_log(self, namespace: str, name: str, container: str) -> bool:
        """Tell whether a container runs."""
        pod = self._find(namespace, name)
        views = [*pod.view.init, *pod.view.containers] if pod else []
        return any(view.name == container and isinstance(view.state, Running) for view in views)

    def _find(self, namespace: str, name: str) -> Pod | None:
        item = self.store.items.get((namespace, name))
        return self._pods.get(item["metadata"]["uid"]) if item else None

    def _on_pod(self, kind: str, item: Object) -> None:
        uid = item["metadata"]["uid"]
        pod = self._pods.get(uid)
        if kind == "DELETED":
            if pod is not None:
                pod.removed()
            return
        if pod is None:
            if known := (item.get("status") or {}).get("podIP"):
                self._node.pool.reserve([known])
            pod = self._pods[uid] = Pod(self._node, item)
            task = self._tasks[uid] = asyncio.create_task(pod.run())
            task.add_done_callback(self._forget(uid))
        pod.update(item)

    def _forget(self, uid: str) -> Callable[[asyncio.Task[None]], None]:
        def forget(task: asyncio.Task[None]) -> None:
            self._pods.pop(uid, None)
            self._tasks.pop(uid, None)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("pod %s failed", uid, exc_info=error)

        return forget

    async def _keep_house(self) -> None:
        """Remove what pods of an earlier life left, and keep logs from filling the disk."""
        await self.store.synced.wait()
        root = self._node.state / "pods"
        while True:
            for directory in root.iterdir() if root.exists() else ():
                if directory.name not in self._pods:
                    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
            for log in root.glob("*/logs/*/*.log"):
                if log.stat().st_size > LOG_BYTES:
                    _halve(log)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)


def _halve(log: Path) -> None:
    # The writer appends, so the file can be cut under it; a line on the seam may be lost.
    with log.open("r+b") as file:
        file.seek(-LOG_BYTES // 2, 2)
        kept = file.read()
        file.seek(0)
        file.truncate()
        file.write(kept)
