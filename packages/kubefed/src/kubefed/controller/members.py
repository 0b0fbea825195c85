"""The caches of one target kind in all members, and the writes that are under way there."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING

from kubefed.api.kinds import SERVICE, SERVICE_ACCOUNT, TargetKind
from kubefed.controller import retain
from kubefed.controller.clusters import MANAGED_SELECTOR
from kubefed.controller.informer import Informer, Source
from kubefed.controller.objects import Json, Key, mapping, metadata, resource_version, spec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from kubefed.controller.clusters import Clusters, MemberCluster
    from kubefed.controller.dispatch import Result
    from kubefed.controller.plan import Operation, Verb

log = logging.getLogger(__name__)
# How long a reconcile waits for the members' answers before it goes on without the slow ones.
GRACE_SECONDS = 2.0
# A member with a write that waits longer than GRACE_SECONDS gets no more than so many at a time.
LAGGING_LIMIT = 64
SYNC_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Flight:
    """A write under way.

    Attributes:
        verb: what is done.
        task: the write.
        hashes: of the template and the overrides that it carries.
    """

    verb: Verb
    task: asyncio.Task[Result]
    hashes: tuple[str, str]


@dataclasses.dataclass(slots=True)
class _Cache:
    informer: Informer
    task: asyncio.Task[None]


class Members:
    """One target kind in all members.

    Args:
        target: the kind.
        clusters: the members.
        changed: called with the cluster, the key, the object before and after.
        joined: called when a cluster joined or left, or its cache became whole.
        namespace: "" for all namespaces, or the only one that is federated.
        whole_status: whether the objects' status is kept.
    """

    def __init__(
        self,
        target: TargetKind,
        clusters: Clusters,
        changed: Callable[[str, Key, Json | None, Json | None], None],
        joined: Callable[[], None],
        *,
        namespace: str = "",
        whole_status: bool = False,
    ) -> None:
        self._target = target
        self._clusters = clusters
        self._changed = changed
        self._joined = joined
        needs_whole = retain.needs_whole_object(target) or whole_status
        self._source = Source(
            target,
            namespace=namespace if target.namespaced else "",
            selector=MANAGED_SELECTOR,
            metadata_only=not needs_whole,
            slim=_slimmer(target, whole_status=whole_status) if needs_whole else None,
        )
        self._caches: dict[str, _Cache] = {}
        self._group: asyncio.TaskGroup | None = None
        self.flights: dict[tuple[Key, str], Flight] = {}
        # Results that came after their reconcile had gone on: version and hashes.
        self.late: dict[tuple[Key, str], tuple[str, tuple[str, str]]] = {}
        self._touched: set[tuple[Key, str]] = set()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Start the caches, and wait a moment for those of the clusters that can be reached."""
        self._group = group
        self._clusters.listeners.append(self._cluster_changed)
        self._clusters.returned.append(self._returned)
        for name in self._clusters.members:
            self._start(name)
        waits = [
            asyncio.create_task(cache.informer.synced.wait())
            for name, cache in self._caches.items()
            if self._clusters.usable(name)
        ]
        if waits:
            _, late = await asyncio.wait(waits, timeout=SYNC_SECONDS)
            for task in late:
                task.cancel()

    def stop(self) -> None:
        """Stop caches and writes under way."""
        self._clusters.listeners.remove(self._cluster_changed)
        self._clusters.returned.remove(self._returned)
        for flight in self.flights.values():
            flight.task.cancel()

    def known(self, cluster: str) -> bool:
        """Whether the cache of a cluster is whole."""
        cache = self._caches.get(cluster)
        return cache is not None and cache.informer.whole

    def get(self, cluster: str, key: Key) -> Json | None:
        """Give the managed object in a cluster."""
        cache = self._caches.get(cluster)
        return cache.informer.store.get(key) if cache is not None else None

    def error(self, cluster: str) -> str:
        """Give why the cache of a cluster isn't whole."""
        cache = self._caches.get(cluster)
        return cache.informer.error if cache is not None else "it just joined"

    def holders(self, key: Key) -> list[str]:
        """Give the clusters that hold a managed object of this key."""
        return [name for name in self._caches if self.get(name, key) is not None]

    def learn(self, cluster: str, obj: Json) -> None:
        """Take in an object as a cluster answered it."""
        cache = self._caches.get(cluster)
        if cache is not None:
            cache.informer.learn(obj)

    async def fly(
        self,
        key: Key,
        target_key: Key,
        operations: list[Operation],
        start: Callable[[MemberCluster, Operation], Awaitable[Result]],
        hashes: tuple[str, str],
        landed: Callable[[], None],
    ) -> Mapping[str, Result]:
        """Do operations in their clusters at once; give those that were answered soon.

        A slow cluster isn't waited for: its write goes on, and `landed` is called at its end.

        Args:
            key: the federated object.
            target_key: the object in the members.
            operations: one a cluster.
            start: does one of them.
            hashes: of the template and the overrides that they carry.
            landed: called for each that comes late.
        """
        quick: dict[asyncio.Task[Result], str] = {}
        slow: dict[asyncio.Task[Result], str] = {}
        for operation in operations:
            member = self._clusters.members.get(operation.cluster)
            if member is None or (member.lagging and self._crowded(member.name)):
                continue
            task = asyncio.create_task(self._tracked(member, operation, start))
            self.flights[key, member.name] = Flight(operation.verb, task, hashes)
            (slow if member.lagging else quick)[task] = member.name
        if quick:
            await asyncio.wait(quick, timeout=GRACE_SECONDS)
        results: dict[str, Result] = {}
        for task, name in {**quick, **slow}.items():
            if task.done():
                results[name] = self._land(key, target_key, name)
                continue
            member = self._clusters.members.get(name)
            if member is not None:
                member.lagging = True
            task.add_done_callback(
                lambda _, name=name: self._land_late(key, target_key, name, landed)
            )
        return results

    async def _tracked(
        self,
        member: MemberCluster,
        operation: Operation,
        start: Callable[[MemberCluster, Operation], Awaitable[Result]],
    ) -> Result:
        began = asyncio.get_running_loop().time()
        result = await start(member, operation)
        if asyncio.get_running_loop().time() - began < GRACE_SECONDS:
            member.lagging = False
        return result

    def _crowded(self, cluster: str) -> bool:
        return sum(name == cluster for _, name in self.flights) >= LAGGING_LIMIT

    def _land(self, key: Key, target_key: Key, cluster: str) -> Result:
        flight = self.flights.pop((key, cluster))
        result = flight.task.result()
        cache = self._caches.get(cluster)
        if cache is not None:
            if result.obj is not None:
                cache.informer.learn(result.obj, own=result.own)
            elif result.gone:
                cache.informer.unlearn(target_key)
        if (key, cluster) in self._touched:
            self._touched.discard((key, cluster))
            now = self.get(cluster, target_key)
            # Somebody else changed it while we wrote.
            if (now is None) != (result.obj is None) or (
                now is not None
                and result.obj is not None
                and resource_version(now) != resource_version(result.obj)
            ):
                self._changed(cluster, target_key, None, now)
        return result

    def _land_late(
        self, key: Key, target_key: Key, cluster: str, landed: Callable[[], None]
    ) -> None:
        flight = self.flights.get((key, cluster))
        if flight is None:
            return
        if flight.task.cancelled() or flight.task.exception() is not None:
            del self.flights[key, cluster]
        else:
            result = self._land(key, target_key, cluster)
            if result.version:
                self.late[key, cluster] = (result.version, flight.hashes)
        landed()

    def _start(self, name: str) -> None:
        member = self._clusters.members.get(name)
        if member is None or self._group is None or name in self._caches:
            return

        def changed(key: Key, before: Json | None, after: Json | None) -> None:
            if (self.federated_key(key), name) in self.flights:
                self._touched.add((self.federated_key(key), name))
            else:
                self._changed(name, key, before, after)

        informer = Informer(member.client, self._source, changed, self._joined)
        task = self._group.create_task(informer.run())
        self._caches[name] = _Cache(informer, task)

    def federated_key(self, key: Key) -> Key:
        """Give the key of the federated object that stands for a member's object."""
        is_namespace = self._target.group == "" and self._target.kind == "Namespace"
        return (key[1], key[1]) if is_namespace else key

    def _cluster_changed(self, name: str) -> None:
        if name not in self._clusters.members:
            cache = self._caches.pop(name, None)
            if cache is not None:
                cache.task.cancel()
            self._joined()
        elif name not in self._caches:
            self._start(name)
            if self._group is not None:
                self._group.create_task(self._tell_joined(self._caches[name].informer))
        else:
            self._joined()

    async def _tell_joined(self, informer: Informer) -> None:
        # A cluster whose cache doesn't become whole is told too: its status must say so.
        await asyncio.wait({asyncio.create_task(informer.synced.wait())}, timeout=SYNC_SECONDS)
        self._joined()

    def _returned(self, name: str) -> None:
        cache = self._caches.get(name)
        if cache is not None:
            cache.informer.kick()


def _slimmer(target: TargetKind, *, whole_status: bool) -> Callable[[Json], Json]:
    """Give what keeps only the fields that retention, scheduling and status need."""
    is_service = (target.group, target.kind) == (SERVICE.group, SERVICE.kind)
    is_account = (target.group, target.kind) == (SERVICE_ACCOUNT.group, SERVICE_ACCOUNT.kind)
    wanted = ("replicas", "selector")
    if is_service:
        wanted = ("clusterIP", "clusterIPs", "healthCheckNodePort", "ports")

    def slim(obj: Json) -> Json:
        kept: Json = {"metadata": metadata(obj)}
        if is_account:
            kept["secrets"] = obj.get("secrets")
        else:
            kept["spec"] = {name: spec(obj)[name] for name in wanted if name in spec(obj)}
        status = mapping(obj.get("status"))
        if whole_status:
            kept["status"] = status
        elif "readyReplicas" in status or "replicas" in status:
            names = ("readyReplicas", "replicas", "unavailableReplicas", "observedGeneration")
            kept["status"] = {name: status[name] for name in names if name in status}
        return kept

    return slim
