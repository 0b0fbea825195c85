"""One pod's life on this node, from being bound to its object's removal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from federation_lab.cluster.kube import UNREACHABLE, ApiError, Object, key_of
from federation_lab.cluster.kubelet import description, environment, podfiles, status
from federation_lab.cluster.kubelet.container import Container, Hooks, Launch, now
from federation_lab.cluster.kubelet.environment import MissingReferenceError
from federation_lab.cluster.kubelet.images import Image
from federation_lab.cluster.kubelet.lifecycle import restarts
from federation_lab.cluster.kubelet.mounts import PodVolumes
from federation_lab.cluster.kubelet.probing import Prober, run_inside
from federation_lab.cluster.kubelet.processes import CommandError
from federation_lab.cluster.kubelet.sandbox import NoAddressError, Sandbox
from federation_lab.cluster.kubelet.shared import Node
from federation_lab.cluster.kubelet.status import ContainerView, PodView, Running, Terminated

RETRY_SECONDS = 1.0
VOLUME_RETRY_SECONDS = 2.0
DEFAULT_GRACE = 30.0
SIDECAR_SECONDS = 0.05

logger = logging.getLogger(__name__)


class Pod:
    """One pod.

    Args:
        node: what it shares with others.
        pod: its object.
    """

    def __init__(self, node: Node, pod: Object) -> None:
        self.object = pod
        self.uid: str = pod["metadata"]["uid"]
        self.directory = node.state / "pods" / self.uid
        self._files = self.directory / "files"
        self._node = node
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()
        self._gone = asyncio.Event()
        self._ending = False
        self._sandbox: Sandbox | None = None
        self._address = ""
        self._containers: list[Container] = []
        self._volumes = PodVolumes(node.api, self.directory / "volumes", lambda: self.object)
        self._written: Object = {}
        known: Object = pod.get("status") or {}
        started = status.parse_time(known.get("startTime"))
        self.view = PodView(
            init=_views(pod["spec"].get("initContainers"), {}),
            containers=_views(pod["spec"]["containers"], known),
            started_at=started or now(),
            host_ip=node.address,
        )

    def update(self, pod: Object) -> None:
        """Take the object's new state in."""
        self.object = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._leaving.set()
        self._changed.set()

    def removed(self) -> None:
        """The object is gone: end at once."""
        self._gone.set()
        self._leaving.set()

    def refresh_hosts(self) -> None:
        """Write the hosts file anew, as services changed."""
        if self._sandbox is not None:
            podfiles.write_hosts(self._files, self.object, self._address, self._node.names())

    def log(self, container: str, restarts: int) -> Path:
        """Give the path of a container's log after so many restarts."""
        return self.directory / "logs" / container / f"{restarts}.log"

    async def run(self) -> None:
        """Live until the object is removed."""
        reporter = asyncio.create_task(self._report())
        life = asyncio.create_task(self._live())
        life.add_done_callback(self._log_failure)
        try:
            await self._leaving.wait()
            await self._terminate()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await self._confirm()
        finally:
            life.cancel()
            reporter.cancel()
            if self._sandbox is not None:
                self._sandbox.pause.kill()
            self._node.pool.free(self._address)
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _live(self) -> None:
        known: Object = self.object.get("status") or {}
        if known.get("phase") in ("Succeeded", "Failed"):
            self._written = known
            return
        self._changed.set()
        work = asyncio.create_task(self._work())
        try:
            done, _ = await asyncio.wait(
                {work}, timeout=self.object["spec"].get("activeDeadlineSeconds")
            )
            if not done:
                self.view.deadline_exceeded = self._ending = True
                await self._stop_all(self._grace())
        finally:
            work.cancel()
        if work.done():
            work.result()
        await self._remove_sandbox()
        self._changed.set()

    async def _work(self) -> None:
        sandbox = await self._start_sandbox()
        self._changed.set()
        await self._fill_volumes()
        sidecars: list[asyncio.Task[None]] = []
        upkeep = asyncio.create_task(self._volumes.keep())
        try:
            if not await self._initialize(sandbox, sidecars):
                return
            runs = [
                self._container(spec, view, sandbox).run()
                for spec, view in zip(
                    self.object["spec"]["containers"], self.view.containers, strict=True
                )
                if not self._finished(view)
            ]
            await _together(runs)
        finally:
            upkeep.cancel()
            for sidecar in sidecars:
                sidecar.cancel()

    async def _start_sandbox(self) -> Sandbox:
        wanted = (self.object.get("status") or {}).get("podIP") or ""
        while True:
            try:
                self._address = self._address or self._node.pool.take(wanted)
                name = environment.hostname(self.object)
                gateway = self._node.pool.gateway
                self._sandbox = await Sandbox.create(self.uid, name, self._address, gateway)
            except (CommandError, NoAddressError) as error:
                self._event("Warning", "FailedCreatePodSandBox", str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.view.sandbox = True
            self.view.pod_ip = self._address
            # The downward API must show the address before the status has been written.
            self.object.setdefault("status", {}).update(
                podIP=self._address, hostIP=self._node.address
            )
            podfiles.write(self._files, self.object, self._address, self._node.names())
            return self._sandbox

    async def _fill_volumes(self) -> None:
        while True:
            try:
                await self._volumes.refresh()
            except (MissingReferenceError, ApiError, *UNREACHABLE) as error:
                self._event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                await asyncio.sleep(VOLUME_RETRY_SECONDS)
                continue
            return

    async def _initialize(self, sandbox: Sandbox, sidecars: list[asyncio.Task[None]]) -> bool:
        """Run the init containers in turn; tell whether the others may start."""
        specs: list[Object] = self.object["spec"].get("initContainers") or []
        for spec, view in zip(specs, self.view.init, strict=True):
            container = self._container(spec, view, sandbox)
            if view.sidecar:
                sidecars.append(asyncio.create_task(container.run()))
                # A sidecar that never starts holds the pod back, as it does in a cluster.
                while not view.started:  # noqa: ASYNC110 (the view is plain data)
                    await asyncio.sleep(SIDECAR_SECONDS)
                continue
            await container.run()
            if self._ending or (isinstance(view.state, Terminated) and view.state.exit_code):
                return False
            view.ready = True
            self._changed.set()
        return True

    def _container(self, spec: Object, view: ContainerView, sandbox: Sandbox) -> Container:
        policy = self.object["spec"].get("restartPolicy", "Always")
        init = any(view is known for known in self.view.init)
        if init:
            policy = "Always" if view.sidecar else "Never" if policy == "Never" else "OnFailure"
        prober = Prober(
            self._node.session, sandbox.address, self._grace(), self._changed.set, self._event
        )
        hooks = Hooks(
            image=lambda name: self._node.images().find(name),
            launch=self._launch,
            watch=prober.watch,
            changed=self._changed.set,
            event=self._event,
            ending=lambda: self._ending,
        )
        container = Container(spec, policy, view, sandbox, hooks)
        self._containers.append(container)
        return container

    async def _launch(self, spec: Object, image: Image, restarts: int) -> Launch:
        objects = await self._volumes.fetch(environment.references(spec))
        namespace = self.object["metadata"]["namespace"]
        links = self.object["spec"].get("enableServiceLinks", True)
        env = environment.variables(
            self.object,
            spec,
            objects,
            image_env=image.env,
            service_env=environment.service_variables(
                self._node.services(), namespace, links=bool(links)
            ),
        )
        told = description.describe(
            self.object,
            spec,
            image,
            env=env,
            files=self._files,
            volumes=self._volumes.paths(),
            programs=self._node.programs,
        )
        for old in self.log(spec["name"], 0).parent.glob("*.log"):
            # The running container's and the one before it are what `kubectl logs` can ask for.
            if old.stem.isdigit() and int(old.stem) < restarts - 1:
                old.unlink(missing_ok=True)
        return Launch(told, self.log(spec["name"], restarts))

    async def _terminate(self) -> None:
        if self.view.sandbox:
            self._event("Normal", "Killing", "Stopping the pod's containers")
        self._ending = True
        status.unready(self.view.containers)
        self._changed.set()
        stopping = asyncio.create_task(self._stop_all(self._grace()))
        gone = asyncio.create_task(self._gone.wait())
        await asyncio.wait([stopping, gone], return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            stopping.cancel()
            await self._stop_all(0)
        gone.cancel()
        await self._remove_sandbox()

    async def _stop_all(self, grace: float) -> None:
        async def stop(container: Container) -> None:
            began = asyncio.get_running_loop().time()
            hook = (container.spec.get("lifecycle") or {}).get("preStop")
            if hook and grace > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await _pre_stop(container, hook)
            left = grace - (asyncio.get_running_loop().time() - began)
            await container.stop(max(left, 0.0))

        await asyncio.gather(*(stop(container) for container in self._containers))
        for container in self._containers:
            view = container.view
            view.ready = view.started = False
            if isinstance(view.state, Running):
                since = view.state.started_at
                view.state = Terminated(137, "Error", since, now())

    async def _remove_sandbox(self) -> None:
        if self._sandbox is not None:
            await self._sandbox.remove()
            self._sandbox = None
        self.view.sandbox = False

    async def _confirm(self) -> None:
        """Tell the API server that nothing of the pod is left, which removes its object."""
        body: Object = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        while not self._gone.is_set():
            try:
                await self._write_status()
                await self._node.api.request("DELETE", self._path(), body=body)
            except ApiError as error:
                if error.status in (404, 409):
                    return
                logger.warning("cannot remove pod %s: %s", self.uid, error)
            except UNREACHABLE as error:
                logger.info("cannot remove pod %s: %s", self.uid, error)
            else:
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _report(self) -> None:
        """Write the status whenever it changes; one write at a time."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._write_status()
            except ApiError as error:
                if error.status in (404, 409):
                    continue
                logger.warning("cannot write the status of pod %s: %s", self.uid, error)
                await self._retry()
            except UNREACHABLE:
                await self._retry()

    async def _retry(self) -> None:
        await asyncio.sleep(RETRY_SECONDS)
        self._changed.set()

    async def _write_status(self) -> None:
        known: Object = self.object.get("status") or {}
        if not self._written and known.get("phase") in ("Succeeded", "Failed"):
            return
        wanted = status.build(self.object, self.view, now())
        if wanted == self._written or self._written.get("phase") in ("Succeeded", "Failed"):
            return
        body = {"metadata": {"uid": self.uid}, "status": wanted}
        await self._node.api.patch(f"{self._path()}/status", body)
        self._written = wanted

    def _log_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("pod %s is given up", self.uid, exc_info=error)

    def _finished(self, view: ContainerView) -> bool:
        policy = self.object["spec"].get("restartPolicy", "Always")
        state = view.state
        return isinstance(state, Terminated) and not restarts(policy, state.exit_code)

    def _grace(self) -> float:
        metadata, spec = self.object["metadata"], self.object["spec"]
        grace = metadata.get("deletionGracePeriodSeconds")
        if grace is None:
            grace = spec.get("terminationGracePeriodSeconds")
        return DEFAULT_GRACE if grace is None else float(grace)

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._node.event(self.object, kind, reason, message)

    def _path(self) -> str:
        namespace, name = key_of(self.object)
        return f"/api/v1/namespaces/{namespace}/pods/{name}"


async def _together(runs: Sequence[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(run)


async def _pre_stop(container: Container, hook: Object) -> None:
    if command := (hook.get("exec") or {}).get("command"):
        await run_inside(container, command)
    elif seconds := (hook.get("sleep") or {}).get("seconds"):
        await asyncio.sleep(float(seconds))


def _views(specs: list[Object] | None, known: Object) -> list[ContainerView]:
    statuses: dict[str, Object] = {
        item["name"]: item for item in known.get("containerStatuses") or []
    }
    result: list[ContainerView] = []
    for spec in specs or []:
        view = ContainerView(spec["name"], spec["image"])
        if spec["name"] in statuses:
            view = status.view_from_status(statuses[spec["name"]], spec, now())
        view.sidecar = spec.get("restartPolicy") == "Always"
        result.append(view)
    return result
