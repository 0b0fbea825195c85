"""Acts on ReplicaSchedulingPreferences: how many replicas run in which cluster."""

from __future__ import annotations

import asyncio
import datetime
import logging
from typing import TYPE_CHECKING

from kubefed.api.kinds import REPLICA_SCHEDULING_PREFERENCE, SCALABLE, TargetKind
from kubefed.controller import health, placement, planner, replicas
from kubefed.controller.answers import LONGEST_LIST
from kubefed.controller.client import MERGE_PATCH
from kubefed.controller.informer import FAILURES, Informer
from kubefed.controller.listing import Source
from kubefed.controller.objects import (
    Json,
    Key,
    deleting,
    key_of,
    mapping,
    resource_version,
    sequence,
    spec,
)
from kubefed.controller.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubefed.controller.context import Context
    from kubefed.controller.replicas import Observed
    from kubefed.controller.sync import TypeSync

log = logging.getLogger(__name__)
POD = TargetKind("", "v1", "Pod", "pods")
# No controller of that kind runs (yet).
RECHECK_KIND = 10.0
# Pods that wait for a node change nothing that is watched.
RECHECK_PODS = 15.0
RESYNC_SECONDS = 600.0


class Scheduling:
    """The controller of ReplicaSchedulingPreferences.

    Args:
        context: what all controllers share.
        sync_of: gives the running controller of a federated kind.
        namespace_of: gives the FederatedNamespace of a namespace.
    """

    def __init__(
        self,
        context: Context,
        sync_of: Callable[[str], TypeSync | None],
        namespace_of: Callable[[str], Json | None],
    ) -> None:
        self._context = context
        self._sync_of = sync_of
        self._namespace_of = namespace_of
        scope = context.namespace if context.config.namespaced_scope else ""
        self._preferences = Informer(
            context.host, Source(REPLICA_SCHEDULING_PREFERENCE, scope), self._changed
        )
        self._queue: WorkQueue[Key] = WorkQueue(
            "replicaschedulingpreference", self._handle, workers=8, metrics=context.metrics
        )

    def attach(self, sync: TypeSync) -> None:
        """Follow the objects of a type, if its replicas can be planned."""
        if sync.kind.target in SCALABLE:
            sync.listeners.append(self._workload_changed)

    def enqueue_all(self) -> None:
        """Plan everything anew: a cluster joined, left, was lost or is back."""
        for key in self._preferences.store:
            self._queue.forget(key)
            self._queue.add(key)

    async def run(self) -> None:
        """Plan until cancelled."""
        self._context.clusters.listeners.append(lambda _: self.enqueue_all())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._preferences.run())
            group.create_task(self._queue.run())
            while True:
                await asyncio.sleep(RESYNC_SECONDS)
                self.enqueue_all()

    def _changed(self, key: Key, _before: Json | None, after: Json | None) -> None:
        if after is not None:
            self._queue.add(key)

    def _workload_changed(self, key: Key) -> None:
        if key in self._preferences.store:
            self._queue.add(key)

    async def _handle(self, key: Key) -> float | None:
        try:
            return await self._schedule(key)
        except FAILURES as error:
            log.warning("ReplicaSchedulingPreference %s/%s: %s", *key, error)
            return -1.0

    async def _schedule(self, key: Key) -> float | None:
        preference = self._preferences.store.get(key)
        if preference is None or deleting(preference):
            return None
        if health.frozen(self._context.regions.verdict):
            # Nothing moves; everything is planned again when the regions have a verdict.
            return None
        wanted = spec(preference)
        sync = self._sync_of(str(wanted.get("targetKind")))
        if sync is None:
            return RECHECK_KIND
        federated = sync.federated.store.get(key)
        if federated is None or deleting(federated):
            return None
        clusters = self._clusters(wanted, federated)
        if not clusters:
            return None
        observed = await self._observe(sync, key, clusters)
        result = planner.plan(
            int(wanted.get("totalReplicas") or 0),
            planner.preferences(mapping(wanted.get("clusters"))),
            clusters,
            key="/".join(key),
            rebalance=wanted.get("rebalance") is True,
            current={name: seen.running for name, seen in observed.items()},
            capacity={
                name: seen.capacity for name, seen in observed.items() if seen.capacity is not None
            },
        )
        await self._write(sync, federated, result)
        return RECHECK_PODS if any(seen.unsure for seen in observed.values()) else None

    def _clusters(self, wanted: Json, federated: Json) -> list[str]:
        """Give the clusters to plan for: the ready ones, cut down by selectors if asked."""
        ready = {
            name for name, is_ready in self._context.clusters.schedulable().items() if is_ready
        }
        if wanted.get("intersectWithClusterSelector") is True:
            labels = self._context.clusters.labels
            both = [federated]
            if not self._context.config.namespaced_scope:
                both.append(self._namespace_of(key_of(federated)[0]) or {})
            for chosen in both:
                selector = mapping(spec(chosen).get("placement")).get("clusterSelector")
                try:
                    ready &= placement.selected(selector, labels)
                except placement.SelectorError as error:
                    self._context.events.warning(federated, "ComputePlacementFailed", str(error))
                    return []
        return sorted(ready)

    async def _observe(self, sync: TypeSync, key: Key, clusters: list[str]) -> dict[str, Observed]:
        seen = await asyncio.gather(*(self._look(sync, key, name) for name in clusters))
        return {
            name: found for name, found in zip(clusters, seen, strict=True) if found is not None
        }

    async def _look(self, sync: TypeSync, key: Key, cluster: str) -> Observed | None:
        workload = sync.members.get(cluster, key)
        member = self._context.clusters.members.get(cluster)
        if workload is None or member is None:
            return None
        ready = replicas.settled(workload)
        if ready is not None:
            return replicas.Observed(ready)
        pods_of = replicas.selector(workload)
        if member.lagging or not pods_of:
            # One that is slow to answer must not hold up the plan for the others.
            return replicas.Observed(int(spec(workload).get("replicas") or 0), unsure=True)
        try:
            # Listed when needed: to keep every pod of every cluster known would cost far more.
            answer = await member.client.request(
                "GET",
                POD.path(key[0]),
                params={"labelSelector": pods_of, "resourceVersion": "0"},
                timeout_s=2,
                longest=LONGEST_LIST,
            )
        except FAILURES as error:
            log.debug("pods of %s in %s: %s", key, cluster, error)
            return replicas.Observed(int(spec(workload).get("replicas") or 0), unsure=True)
        pods = [mapping(pod) for pod in sequence(answer.get("items"))]
        return replicas.from_pods(workload, pods, datetime.datetime.now(datetime.UTC))

    async def _write(self, sync: TypeSync, federated: Json, result: dict[str, int]) -> None:
        patch = replicas.change(federated, result)
        if patch is None:
            return
        namespace, name = key_of(federated)
        await self._context.pace((sync.kind.name, namespace, name))
        answer = await self._context.host.request(
            "PATCH",
            sync.kind.federated.path(namespace, name),
            body={
                "metadata": {"resourceVersion": resource_version(federated)},
                "spec": patch,
            },
            content_type=MERGE_PATCH,
        )
        # The watch brings the change itself to both controllers.
        log.info("%s %s/%s: %s", sync.kind.federated.kind, namespace, name, result)
        del answer
