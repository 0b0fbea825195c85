"""The types that are federated: starts and stops their controllers as FederatedTypeConfigs say."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING

from kubefed.api.kinds import (
    FEDERATED_TYPE_CONFIG,
    NAMESPACE,
    FederatedType,
    TargetKind,
    plural_of,
)
from kubefed.api.names import (
    TYPE_CONFIG_FINALIZER,
    ControllerState,
    Scope,
    Toggle,
)
from kubefed.controller.client import MERGE_PATCH, ApiError
from kubefed.controller.informer import FAILURES, Informer
from kubefed.controller.listing import Source
from kubefed.controller.objects import (
    Json,
    Key,
    deleting,
    finalizers,
    generation,
    key_of,
    mapping,
    metadata,
    resource_version,
    spec,
)
from kubefed.controller.queue import WorkQueue
from kubefed.controller.service_status import StatusGatherer
from kubefed.controller.sync import TypeSync

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubefed.controller.context import Context

log = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class _Running:
    sync: TypeSync
    task: asyncio.Task[None]
    generation: int
    uid: str
    gatherer: asyncio.Task[None] | None = None


class Namespaces:
    """What the namespaced types must know of namespaces.

    Args:
        context: what all controllers share.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.sync: TypeSync | None = None
        self._own = Informer(
            context.host, Source(NAMESPACE, metadata_only=True, slim=_identity), _ignore
        )

    async def run(self) -> None:
        """Keep the host's own Namespaces known until cancelled."""
        await self._own.run()

    async def synced(self) -> None:
        """Wait until the host's namespaces, and those that are federated, are known."""
        if self._context.config.namespaced_scope:
            return
        await self._own.synced.wait()
        if self.sync is not None:
            await self.sync.federated.synced.wait()

    def own(self, name: str) -> Json | None:
        """Give the host's own Namespace."""
        return self._own.store.get(("", name))

    def federated(self, name: str) -> Json | None:
        """Give the FederatedNamespace of a namespace."""
        if self.sync is None:
            return None
        return self.sync.federated.store.get((name, name))

    async def confirm_not_federated(self, name: str) -> None:
        """Ask the host itself whether a namespace has no FederatedNamespace.

        Raises:
            ApiError: it has one, or the host doesn't say.
        """
        if self.sync is None:
            raise ApiError(0, "", "namespaces are not federated at present")
        path = self.sync.kind.federated.path(name, name)
        try:
            await self._context.host.request("GET", path)
        except ApiError as error:
            if error.not_found:
                return
            raise
        raise ApiError(0, "", f"the cache has no FederatedNamespace {name}, but the host has one")


class Types:
    """The controllers of all types.

    Args:
        context: what they share.
        started: called with each controller that is started.
    """

    def __init__(self, context: Context, started: Callable[[TypeSync], None]) -> None:
        self._context = context
        self._started = started
        self.namespaces = Namespaces(context)
        self._configs = Informer(
            context.host, Source(FEDERATED_TYPE_CONFIG, context.namespace), self._changed
        )
        self._queue: WorkQueue[Key] = WorkQueue(
            "federatedtypeconfig", self._handle, workers=1, metrics=context.metrics
        )
        self._running: dict[str, _Running] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Start and stop controllers until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            if not self._context.config.namespaced_scope:
                group.create_task(self.namespaces.run())
            group.create_task(self._configs.run())
            await self._configs.synced.wait()
            group.create_task(self._queue.run())

    def of_federated_kind(self, kind: str) -> TypeSync | None:
        """Give the running controller of a federated kind."""
        for running in self._running.values():
            if running.sync.kind.federated.kind == kind and running.sync.started.is_set():
                return running.sync
        return None

    def started(self) -> dict[str, TypeSync]:
        """Give the controllers that have begun to propagate, by the type's name."""
        return {
            name: running.sync
            for name, running in self._running.items()
            if running.sync.started.is_set()
        }

    def configured(self) -> list[FederatedType]:
        """Give all types that there are, propagated or not."""
        return [kind for config in self._configs.store.values() if (kind := parse(config))]

    def _changed(self, key: Key, before: Json | None, after: Json | None) -> None:
        if (
            before is not None
            and after is not None
            and generation(before) == generation(after)
            and deleting(before) == deleting(after)
            and finalizers(before) == finalizers(after)
        ):
            return
        self._queue.add(key)
        if key[1] == NAMESPACE.full_name:
            for other in self._configs.store:
                self._queue.add(other)

    async def _handle(self, key: Key) -> float | None:
        try:
            await self._reconcile(key)
        except FAILURES as error:
            log.warning("FederatedTypeConfig %s: %s", key[1], error)
            return -1.0
        return None

    async def _reconcile(self, key: Key) -> None:
        name = key[1]
        config = self._configs.store.get(key)
        if config is None or deleting(config):
            await self._stop(name)
            if config is not None and TYPE_CONFIG_FINALIZER in finalizers(config):
                kept = [item for item in finalizers(config) if item != TYPE_CONFIG_FINALIZER]
                await self._set_finalizers(config, kept)
            return
        if TYPE_CONFIG_FINALIZER not in finalizers(config):
            config = await self._set_finalizers(
                config, [*finalizers(config), TYPE_CONFIG_FINALIZER]
            )
        kind = parse(config)
        running = self._running.get(name)
        wanted = kind is not None and self._wanted(config, kind)
        uid = str(metadata(config).get("uid"))
        if running is not None and not (
            wanted and (running.generation, running.uid) == (generation(config), uid)
        ):
            await self._stop(name)
        if not wanted and kind is not None and self._waits(config, kind):
            # Looked at again when it runs; to say NotRunning until then would be noise.
            return
        if wanted and kind is not None and name not in self._running:
            self._start(name, config, kind, uid)
        await self._write_status(config, self._running.get(name))

    def _waits(self, config: Json, kind: FederatedType) -> bool:
        """Whether a type only waits for the controller of namespaces, which is about to start."""
        namespaces = self._configs.store.get((self._context.namespace, NAMESPACE.full_name))
        return (
            _enabled(config)
            and kind.target.namespaced
            and namespaces is not None
            and _enabled(namespaces)
            and NAMESPACE.full_name not in self._running
        )

    def _wanted(self, config: Json, kind: FederatedType) -> bool:
        if not _enabled(config):
            return False
        if self._context.config.namespaced_scope:
            return kind.target.namespaced
        if not kind.target.namespaced:
            return True
        # Objects in namespaces are placed where their namespace is, so that type comes first.
        return NAMESPACE.full_name in self._running

    def _start(self, name: str, config: Json, kind: FederatedType, uid: str) -> None:
        if self._group is None:
            return
        collect = (
            self._context.config.remote_status
            and spec(config).get("statusCollection") == Toggle.ENABLED
        )
        gathers = self._gathers(config)
        sync = TypeSync(
            self._context,
            kind,
            self.namespaces,
            collect_status=collect,
            keep_status=gathers is not None,
        )
        if kind.is_namespace:
            self.namespaces.sync = sync
            sync.namespace_changed = self._namespace_changed
        task = self._group.create_task(sync.run())
        running = _Running(sync, task, generation(config), uid)
        if gathers is not None:
            gatherer = StatusGatherer(self._context, sync, gathers)
            running.gatherer = self._group.create_task(gatherer.run())
        self._running[name] = running
        self._started(sync)
        log.info("%s is propagated", kind.federated.kind)
        if kind.is_namespace:
            for other in self._configs.store:
                self._queue.add(other)

    def _gathers(self, config: Json) -> TargetKind | None:
        """Give the kind that gathers a type's status, None if it isn't to be gathered so."""
        if self._context.config.remote_status:
            return None
        if spec(config).get("statusCollection") != Toggle.ENABLED:
            return None
        return _resource(mapping(spec(config).get("statusType")))

    async def _stop(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is None:
            return
        tasks = {running.task, *([running.gatherer] if running.gatherer else [])}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if running.sync is self.namespaces.sync:
            self.namespaces.sync = None
            for other in self._configs.store:
                self._queue.add(other)
        log.info("%s is not propagated any more", running.sync.kind.federated.kind)

    def _namespace_changed(self, name: str) -> None:
        for running in self._running.values():
            if running.sync.kind.target.namespaced:
                running.sync.enqueue_namespace(name)

    async def _set_finalizers(self, config: Json, wanted: list[str]) -> Json:
        body: Json = {
            "metadata": {"finalizers": wanted, "resourceVersion": resource_version(config)}
        }
        answer = await self._patch(config, "", body)
        if not deleting(answer):
            self._configs.learn(answer, own=True)
        return answer

    async def _write_status(self, config: Json, running: _Running | None) -> None:
        wanted: Json = {
            "observedGeneration": generation(config),
            "propagationController": _state(running is not None),
        }
        present = mapping(config.get("status"))
        if spec(config).get("statusType"):
            gathers = running is not None and running.gatherer is not None
            wanted["statusController"] = _state(gathers)
        if any(present.get(name) != value for name, value in wanted.items()):
            version = {"resourceVersion": resource_version(config)}
            body: Json = {"metadata": version, "status": wanted}
            self._configs.learn(await self._patch(config, "/status", body))

    async def _patch(self, config: Json, subresource: str, body: Json) -> Json:
        namespace, name = key_of(config)
        path = FEDERATED_TYPE_CONFIG.path(namespace, name) + subresource
        return await self._context.host.request("PATCH", path, body=body, content_type=MERGE_PATCH)


def _state(running: bool) -> str:
    return (ControllerState.RUNNING if running else ControllerState.NOT_RUNNING).value


def _enabled(config: Json) -> bool:
    return spec(config).get("propagation") == Toggle.ENABLED and not deleting(config)


def parse(config: Json) -> FederatedType | None:
    """Give the type that a FederatedTypeConfig describes, None if it is malformed."""
    target = _resource(mapping(spec(config).get("targetType")))
    federated = _resource(mapping(spec(config).get("federatedType")))
    return FederatedType(target, federated) if target and federated else None


def _resource(resource: Json) -> TargetKind | None:
    version, kind = resource.get("version"), resource.get("kind")
    if not (version and kind):
        return None
    plural = resource.get("pluralName") or plural_of(str(kind))
    return TargetKind(
        str(resource.get("group") or ""),
        str(version),
        str(kind),
        str(plural),
        resource.get("scope") == Scope.NAMESPACED,
    )


def _identity(obj: Json) -> Json:
    meta = metadata(obj)
    names = ("name", "uid", "resourceVersion", "deletionTimestamp")
    return {"metadata": {name: meta[name] for name in names if name in meta}}


def _ignore(_key: Key, _before: Json | None, _after: Json | None) -> None:
    """The host's own Namespaces are looked up, not followed."""
