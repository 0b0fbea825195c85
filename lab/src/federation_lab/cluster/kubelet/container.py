"""One container of a pod: started, watched, started again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import json
import logging
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from federation_lab.cluster.kube import UNREACHABLE, ApiError, Object
from federation_lab.cluster.kubelet import launcher
from federation_lab.cluster.kubelet.environment import MissingReferenceError
from federation_lab.cluster.kubelet.images import Image, UnknownImageError
from federation_lab.cluster.kubelet.lifecycle import Backoff, restarts
from federation_lab.cluster.kubelet.processes import Process, children
from federation_lab.cluster.kubelet.sandbox import Sandbox
from federation_lab.cluster.kubelet.status import (
    ContainerView,
    Running,
    Terminated,
    Waiting,
)

CONFIG_RETRY_SECONDS = 3.0
START_SECONDS = 20.0
KILL_SECONDS = 5.0
SHOWN_ERROR = 2048

logger = logging.getLogger(__name__)


def now() -> datetime.datetime:
    """Give the time of day, for what is written into a status."""
    return datetime.datetime.now(datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Launch:
    """What the launcher is told, and where the output goes."""

    description: Object
    log: Path


@dataclasses.dataclass
class Hooks:
    """What a container asks of its pod.

    Attributes:
        image: finds what stands for an image's name.
        launch: puts together what is to be started; may ask the API server.
        watch: runs the probes of a started container until it is cancelled.
        changed: the view is not as it was.
        event: tells users: type, reason, message.
        ending: whether the pod is being stopped, so that nothing is to be started.
    """

    image: Callable[[str], Image]
    launch: Callable[[Object, Image, int], Awaitable[Launch]]
    watch: Callable[[Container], Awaitable[None]]
    changed: Callable[[], None]
    event: Callable[[str, str, str], None]
    ending: Callable[[], bool]


class Container:
    """One container's life.

    Args:
        spec: of the pod.
        policy: Always, OnFailure or Never.
        view: what is known of it; changed as it lives.
        sandbox: where it runs.
        hooks: what it asks of its pod.
    """

    def __init__(
        self, spec: Object, policy: str, view: ContainerView, sandbox: Sandbox, hooks: Hooks
    ) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.view = view
        self.sandbox = sandbox
        self.environment: dict[str, str] = {}
        self._policy = policy
        self._hooks = hooks
        self._process: Process | None = None
        self._leader = 0
        self._kill_reason = ""

    @property
    def leader(self) -> int:
        """The id of the container's first process; 0 if there is none."""
        return self._leader if self._process is not None and self._process.alive else 0

    async def run(self) -> None:
        """Live until it ends for good."""
        backoff = Backoff()
        pull = Backoff(delay=10.0)
        while not self._hooks.ending():
            try:
                image = self._hooks.image(self.spec["image"])
            except UnknownImageError as error:
                await self._wait_for_image(str(error), pull)
                continue
            try:
                launch = await self._hooks.launch(self.spec, image, self.view.restarts)
            except (MissingReferenceError, ApiError, *UNREACHABLE) as error:
                self._show(Waiting("CreateContainerConfigError", str(error)))
                await asyncio.sleep(CONFIG_RETRY_SECONDS)
                continue
            if self._hooks.ending():
                return
            seconds = await self._run_once(image, launch)
            state = self.view.state
            if not isinstance(state, Terminated) or not restarts(self._policy, state.exit_code):
                return
            if self._hooks.ending():
                return
            self.view.last = state
            if wait := backoff.after_run(seconds):
                text = f"back-off {wait:g}s restarting failed container={self.name}"
                self._show(Waiting("CrashLoopBackOff", text))
                self._hooks.event("Warning", "BackOff", text)
                await asyncio.sleep(wait)
            self.view.restarts += 1

    async def stop(self, grace: float, *, reason: str = "") -> None:
        """Ask it to end, and kill it after so many seconds."""
        process = self._process
        if process is None or not process.alive:
            return
        self._kill_reason = reason
        if grace > 0:
            # Asked at its very start, a container has no process of its own yet.
            _signal(self._leader or process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await process.wait()
        if process.alive:
            self._kill_all()
            process.kill()
            async with asyncio.timeout(KILL_SECONDS):
                await process.wait()

    async def _wait_for_image(self, message: str, pull: Backoff) -> None:
        self._show(Waiting("ErrImagePull", message))
        self._hooks.event("Warning", "Failed", message)
        await asyncio.sleep(1)
        self._show(Waiting("ImagePullBackOff", f"Back-off pulling image: {message}"))
        await asyncio.sleep(pull.after_run(0))

    async def _run_once(self, image: Image, launch: Launch) -> float:
        started = now()
        view = self.view
        view.container_id = f"lab://{uuid.uuid4().hex}"
        view.image_id = f"lab://{image.name}"
        view.started = view.ready = False
        self.environment = launch.description["env"]
        process, report = self._spawn(launch)
        self._process = process
        probes: asyncio.Task[None] | None = None
        try:
            failure = await self._wait_started(process, report)
            if not failure:
                self._show(Running(started))
                probes = asyncio.ensure_future(self._watch())
            code = await process.wait()
            failure = failure or _leftover(report)
        finally:
            os.close(report)
            if probes is not None:
                probes.cancel()
            self._kill_all()
        finished = now()
        view.ready = view.started = False
        self._show(self._ended(code, started, finished, failure, image))
        return (finished - started).total_seconds()

    async def _watch(self) -> None:
        await self._hooks.watch(self)

    def _spawn(self, launch: Launch) -> tuple[Process, int]:
        memory = os.memfd_create("container", 0)
        reader, writer = os.pipe()
        try:
            os.write(memory, json.dumps(launch.description).encode())
            os.lseek(memory, 0, os.SEEK_SET)
            argv = [
                *self.sandbox.enter(),
                *(sys.executable, "-I", "-S", launcher.__file__, str(memory), str(writer)),
            ]
            launch.log.parent.mkdir(parents=True, exist_ok=True)
            with launch.log.open("ab") as log:
                process = Process(argv, output=log, descriptors=(memory, writer))
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(memory)
            os.close(writer)
        os.set_blocking(reader, False)
        return process, reader

    async def _wait_started(self, process: Process, report: int) -> str:
        """Wait until the command took over; give why it could not."""
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(report, lambda: readable.done() or readable.set_result(None))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait(
                [readable, ended], timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            loop.remove_reader(report)
            ended.cancel()
        said = _leftover(report, keep_started=True)
        self._leader = next(iter(children(process.pid)), 0)
        if said.startswith(launcher.STARTED.decode()):
            return said[1:]
        process.kill()
        return said or "the container's process did not start"

    def _ended(
        self,
        code: int,
        started: datetime.datetime,
        finished: datetime.datetime,
        failure: str,
        image: Image,
    ) -> Terminated:
        exit_code = 128 - code if code < 0 else code
        reason = "Completed" if exit_code == 0 else "Error"
        message = ""
        if failure:
            exit_code, reason = launcher.CANNOT_START, "StartError"
            message = f"images.yaml's command for {image.name} cannot start: {failure}"
            self._hooks.event("Warning", "Failed", message)
        elif self._kill_reason:
            message = self._kill_reason
        elif exit_code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = "see the container's log"
        self._kill_reason = ""
        return Terminated(
            exit_code=exit_code,
            reason=reason,
            started_at=started,
            finished_at=finished,
            message=message[:SHOWN_ERROR],
            container_id=self.view.container_id,
        )

    def _kill_all(self) -> None:
        # The launcher made the container a session of its own: what it left behind goes too.
        if self._leader:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._leader, signal.SIGKILL)

    def _show(self, state: Waiting | Running | Terminated) -> None:
        self.view.state = state
        self._hooks.changed()


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _leftover(report: int, *, keep_started: bool = False) -> str:
    with contextlib.suppress(BlockingIOError):
        said = os.read(report, SHOWN_ERROR).decode(errors="replace")
        return said if keep_started else said.removeprefix(launcher.STARTED.decode())
    return ""
