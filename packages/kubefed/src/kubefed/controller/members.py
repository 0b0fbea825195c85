"""The caches of one target kind in all members, and the writes that are under way there."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from typing import TYPE_CHECKING

from kubefed.api.kinds import SERVICE, SERVICE_ACCOUNT, TargetKind
from kubefed.controller import retain
from kubefed.controller.client import NotLeaderError
from kubefed.controller.clusters import MANAGED_SELECTOR
from kubefed.controller.dispatch import Result
from kubefed.controller.informer import Informer
from kubefed.controller.listing import Source
from kubefed.controller.objects import Json, Key, mapping, metadata, resource_version, spec, uid
from kubefed.controller.plan import Verb
from kubefed.controller.transparent import fold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from kubefed.controller.clusters import Clusters, MemberCluster
    from kubefed.controller.plan import Operation

log = logging.getLogger(__name__)
# How long a reconcile waits for the members' answers before it goes on without the slow ones.
GRACE_SECONDS = 2.0
# A member with a write that waits longer than GRACE_SECONDS gets no more than so many at a time.
LAGGING_LIMIT = 64
# How long nothing is concluded from a cache that isn't whole yet, and nothing said of it.
SYNC_SECONDS = 10.0
# How long a type's start waits for all caches, to spare itself a second look at everything.
START_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Flight:
    """A write under way.

    Attributes:
        operation: what is done.
        member: the cluster that it is done in.
        task: the write.
        hashes: of the template and the overrides that it carries.
    """

    operation: Operation
    member: MemberCluster
    task: asyncio.Task[Result]
    hashes: tuple[str, str]

    @property
    def verb(self) -> Verb:
        """The kind of write."""
        return self.operation.verb


@dataclasses.dataclass(slots=True)
class _Cache:
    informer: Informer
    task: asyncio.Task[None]
    since: float


class Members:
    """One target kind in all members.

    Args:
        target: the kind.
        clusters: the members.
        changed: called with the cluster, the key, the object before and after, where that may
            need something done.
        noticed: called in the same way with every change, our own writes' among them.
        joined: called when a cluster joined or left, or its cache became whole.
        namespace: "" for all namespaces, or the only one that is federated.
        whole_status: whether the objects' status is kept.
    """

    def __init__(
        self,
        target: TargetKind,
        clusters: Clusters,
        changed: Callable[[str, Key, Json | None, Json | None], None],
        noticed: Callable[[str, Key, Json | None, Json | None], None],
        joined: Callable[[], None],
        *,
        namespace: str = "",
        whole_status: bool = False,
    ) -> None:
        self._target = target
        self._clusters = clusters
        self._changed = changed
        self._noticed = noticed
        self._joined = joined
        folded = bool(fold.status_fields(target))
        needs_whole = retain.needs_whole_object(target) or whole_status or folded
        self._source = Source(
            target,
            namespace=namespace if target.namespaced else "",
            selector=MANAGED_SELECTOR,
            metadata_only=not needs_whole,
            slim=slimmer(target, whole_status=whole_status) if needs_whole else None,
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
            asyncio.create_task(cache.informer.tried.wait())
            for name, cache in self._caches.items()
            if self._clusters.usable(name)
        ]
        if waits:
            # No longer: one that is slow must not keep the others waiting (see `pending`).
            _, late = await asyncio.wait(waits, timeout=START_SECONDS)
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

    def reached(self, cluster: str) -> str:
        """Give up to which version a cluster has told what changed."""
        cache = self._caches.get(cluster)
        return cache.informer.reached if cache is not None else ""

    def learn(self, cluster: str, obj: Json, asked_at: str) -> None:
        """Take in an object that was asked for when the cache had `reached` so far."""
        cache = self._caches.get(cluster)
        if cache is not None:
            cache.informer.learn(obj, asked_at=asked_at)

    def keys(self) -> set[Key]:
        """Give the federated keys of all managed objects of all clusters."""
        return {
            self.federated_key(key)
            for cache in self._caches.values()
            for key in cache.informer.store
        }

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
            self.flights[key, member.name] = Flight(operation, member, task, hashes)
            (slow if member.lagging else quick)[task] = member.name
        if quick:
            await asyncio.wait(quick, timeout=GRACE_SECONDS)
        results: dict[str, Result] = {}
        held_back: NotLeaderError | None = None
        for task, name in {**quick, **slow}.items():
            if task.done():
                # One that failed in a way that nobody thought of must not keep the others up.
                try:
                    results[name] = self._land(key, target_key, name)
                except NotLeaderError as error:
                    held_back = error
                continue
            member = self._clusters.members.get(name)
            if member is not None:
                member.lagging = True
            task.add_done_callback(
                lambda _, name=name: self._land_late(key, target_key, name, landed)
            )
        if held_back is not None:
            raise held_back
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
        """End a write: take in what it was answered, and tell what came in its time.

        Raises:
            NotLeaderError: it was held back.
        """
        flight = self.flights.pop((key, cluster))
        touched = (key, cluster) in self._touched
        self._touched.discard((key, cluster))
        try:
            result = flight.task.result()
        except NotLeaderError:
            if touched:
                self._changed(cluster, target_key, None, self.get(cluster, target_key))
            raise
        except Exception as error:
            log.exception("%s of %s in %s", flight.verb, target_key, cluster)
            result = Result(flight.verb.failed, error=f"{type(error).__name__}: {error}")
        if self._clusters.members.get(cluster) is not flight.member:
            # Another cluster has its name now, of which the answer says nothing.
            return result
        self._take_in(cluster, target_key, flight.operation, result)
        now = self.get(cluster, target_key)
        if touched and not _is_answer(now, result):
            # Somebody else changed it while we wrote.
            self._changed(cluster, target_key, None, now)
        if result.obj is not None and (now is None or uid(now) != uid(result.obj)):
            # What we wrote is gone; its version must not be taken for what came in its place.
            return dataclasses.replace(result, obj=None)
        return result

    def _take_in(self, cluster: str, key: Key, operation: Operation, result: Result) -> None:
        cache = self._caches.get(cluster)
        if cache is None:
            return
        before = cache.informer.store.get(key)
        if result.obj is not None:
            cache.informer.learn(result.obj, own=result.own)
        elif result.gone:
            cache.informer.unlearn(operation.body, deleted=operation.verb is not Verb.RELEASE)
        after = cache.informer.store.get(key)
        if after is not before:
            # The watch's word of it will be no news.
            self._noticed(cluster, key, before, after)

    def _land_late(
        self, key: Key, target_key: Key, cluster: str, landed: Callable[[], None]
    ) -> None:
        flight = self.flights.get((key, cluster))
        if flight is None:
            return
        if flight.task.cancelled():
            del self.flights[key, cluster]
            self._touched.discard((key, cluster))
        else:
            with contextlib.suppress(NotLeaderError):
                result = self._land(key, target_key, cluster)
                if result.version and flight.member is self._clusters.members.get(cluster):
                    self.late[key, cluster] = (result.version, flight.hashes)
        landed()

    def pending(self, cluster: str) -> float:
        """Give how long a cluster's cache may still take to become whole, 0 if that is over."""
        cache = self._caches.get(cluster)
        if cache is None or cache.informer.whole or cache.informer.error:
            return 0.0
        return max(0.0, cache.since + SYNC_SECONDS - asyncio.get_running_loop().time())

    def _start(self, name: str) -> None:
        member = self._clusters.members.get(name)
        if member is None or self._group is None or name in self._caches:
            return

        def changed(key: Key, before: Json | None, after: Json | None) -> None:
            self._noticed(name, key, before, after)
            if (self.federated_key(key), name) in self.flights:
                self._touched.add((self.federated_key(key), name))
            else:
                self._changed(name, key, before, after)

        async def turn() -> None:
            # Another cluster's objects are not to be taken for this one's.
            await member.trusted.wait()
            await self._clusters.openings.turn()

        informer = Informer(member.client, self._source, changed, self._joined, turn)
        task = self._group.create_task(informer.run())
        self._caches[name] = _Cache(informer, task, asyncio.get_running_loop().time())

    def federated_key(self, key: Key) -> Key:
        """Give the key of the federated object that stands for a member's object."""
        is_namespace = self._target.group == "" and self._target.kind == "Namespace"
        return (key[1], key[1]) if is_namespace else key

    def _cluster_changed(self, name: str) -> None:
        if name not in self._clusters.members:
            cache = self._caches.pop(name, None)
            if cache is not None:
                cache.task.cancel()
            self.late = {item: value for item, value in self.late.items() if item[1] != name}
            self._joined()
        elif name not in self._caches:
            self._start(name)
            if self._group is not None:
                self._group.create_task(self._tell_joined(self._caches[name].informer))
        else:
            self._joined()

    async def _tell_joined(self, informer: Informer) -> None:
        # A cluster whose cache doesn't become whole is told too: its status must say so.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SYNC_SECONDS):
                await informer.synced.wait()
        self._joined()

    def _returned(self, name: str, *, moved: bool) -> None:
        cache = self._caches.get(name)
        if cache is None:
            return
        if moved:
            cache.informer.forget_place()
        else:
            cache.informer.kick()


def _is_answer(now: Json | None, result: Result) -> bool:
    """Whether an object is as a write was answered, so that nobody changed it since."""
    if result.obj is None:
        return result.gone and now is None
    return now is not None and resource_version(now) == resource_version(result.obj)


def slimmer(target: TargetKind, *, whole_status: bool) -> Callable[[Json], Json]:
    """Give what keeps only the fields that retention, scheduling and status need."""
    is_service = (target.group, target.kind) == (SERVICE.group, SERVICE.kind)
    is_account = (target.group, target.kind) == (SERVICE_ACCOUNT.group, SERVICE_ACCOUNT.kind)
    wanted = ("replicas", "selector")
    if is_service:
        wanted = ("clusterIP", "clusterIPs", "healthCheckNodePort", "ports")
    folded = frozenset(fold.status_fields(target))

    def slim(obj: Json) -> Json:
        kept: Json = {"metadata": metadata(obj)}
        if is_account:
            kept["secrets"] = obj.get("secrets")
        else:
            kept["spec"] = {name: spec(obj)[name] for name in wanted if name in spec(obj)}
        status = mapping(obj.get("status"))
        if whole_status:
            kept["status"] = status
        elif "readyReplicas" in status or "replicas" in status or not folded.isdisjoint(status):
            names = {"readyReplicas", "replicas", "unavailableReplicas", "observedGeneration"}
            names |= folded
            kept["status"] = {name: status[name] for name in names if name in status}
        return kept

    return slim
