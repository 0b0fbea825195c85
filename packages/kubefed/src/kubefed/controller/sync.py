"""Propagates the objects of one federated type: one reconcile touches all members at once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from kubefed.api.names import (
    DELETE_OPTION_ANNOTATION,
    IGNORED_NAMESPACES,
    ORPHAN_ANNOTATION,
    SYNC_FINALIZER,
    AggregateReason,
    PropagationStatus,
)
from kubefed.controller import placement, plan, status, versions
from kubefed.controller.client import MERGE_PATCH, ApiError
from kubefed.controller.context import timestamp
from kubefed.controller.dispatch import Dispatcher, Result
from kubefed.controller.informer import FAILURES, Informer, Source
from kubefed.controller.members import Members
from kubefed.controller.metrics import ERROR, RECHECK, SUCCESS
from kubefed.controller.objects import (
    Json,
    Key,
    deleting,
    finalizers,
    generation,
    key_of,
    labels,
    mapping,
    metadata,
    notes,
    resource_version,
    uid,
)
from kubefed.controller.plan import Member, Operation, Plan, Subject, Verb
from kubefed.controller.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kubefed.api.kinds import FederatedType
    from kubefed.controller.clusters import MemberCluster
    from kubefed.controller.context import Context
    from kubefed.controller.types import Namespaces

log = logging.getLogger(__name__)
RESYNC_SECONDS = 600.0
RETRY = -1.0
RECHECK_REMOVAL = 10.0
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class TypeSync:
    """The controller of one federated type.

    Args:
        context: what all share.
        kind: the type.
        namespaces: what is known of namespaces.
        collect_status: whether the members' status goes into the federated object.
    """

    def __init__(
        self,
        context: Context,
        kind: FederatedType,
        namespaces: Namespaces,
        *,
        collect_status: bool,
    ) -> None:
        self._context = context
        self.kind = kind
        self._namespaces = namespaces
        self._collect = collect_status
        scope = context.namespace if context.config.namespaced_scope else ""
        self.federated = Informer(
            context.host,
            Source(kind.federated, namespace=scope, slim=_slim),
            self._federated_changed,
        )
        self.members = Members(
            kind.target,
            context.clusters,
            self._member_changed,
            self.enqueue_all,
            namespace=scope,
            whole_status=collect_status,
        )
        self.queue: WorkQueue[Key] = WorkQueue(
            kind.name, self._handle, workers=context.config.workers
        )
        # Told with the key when the object or one of a member's changes (scheduling listens).
        self.listeners: list[Callable[[Key], None]] = []
        # Told with a name when a FederatedNamespace changes, or its Namespace in a member.
        self.namespace_changed: Callable[[str], None] = lambda _: None
        self.started = asyncio.Event()

    async def run(self) -> None:
        """Propagate until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.federated.run())
                await self.members.run(group)
                await self.federated.synced.wait()
                await self._namespaces.synced()
                self.started.set()
                group.create_task(self.queue.run())
                group.create_task(self._resync())
        finally:
            self.members.stop()

    def enqueue_all(self) -> None:
        """Look at every object again."""
        for key in self.federated.store:
            self.queue.add(key)

    def enqueue_namespace(self, namespace: str) -> None:
        """Look at every object of a namespace again, at once."""
        for key in self.federated.store:
            if key[0] == namespace:
                self.queue.forget(key)
                self.queue.add(key)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            self.enqueue_all()

    # -- what changed -------------------------------------------------------------------------

    def _federated_changed(self, key: Key, before: Json | None, after: Json | None) -> None:
        if self.kind.is_namespace:
            self.namespace_changed(key[0])
        if before is None or after is None or _significant(before) != _significant(after):
            self.queue.forget(key)
            self.queue.add(key)
        for listener in self.listeners:
            listener(key)

    def _member_changed(
        self, cluster: str, key: Key, before: Json | None, after: Json | None
    ) -> None:
        federated = self.members.federated_key(key)
        for listener in self.listeners:
            listener(federated)
        if self.kind.is_namespace and (before is None) != (after is None):
            self.namespace_changed(key[1])
        if before is not None and after is not None and not self._collect:
            recorded = self._context.records.version(federated, self.kind, cluster)
            same_metadata = (
                labels(before) == labels(after)
                and notes(before) == notes(after)
                and deleting(before) == deleting(after)
            )
            if same_metadata and recorded == versions.version_of(after):
                return
        self.queue.add(federated)

    # -- one object ---------------------------------------------------------------------------

    async def _handle(self, key: Key) -> float | None:
        metrics, name = self._context.metrics, self.kind.name
        with metrics.reconcile(name):
            try:
                again = await self._reconcile(key)
            except FAILURES as error:
                log.warning("%s %s/%s: %s", self.kind.federated.kind, *key, error)
                metrics.errors.labels(name).inc()
                metrics.reconciles.labels(name, ERROR).inc()
                return RETRY
        metrics.reconciles.labels(name, SUCCESS if again is None else RECHECK).inc()
        metrics.depth.labels(name).set(len(self.queue))
        return again

    async def _reconcile(self, key: Key) -> float | None:
        federated = self.federated.store.get(key)
        if federated is None:
            return await self._orphaned(key)
        if self.kind.is_namespace and not self._valid_namespace(federated):
            return None
        if deleting(federated):
            return await self._remove(key, federated)
        if SYNC_FINALIZER not in finalizers(federated):
            federated = await self._set_finalizers(
                federated, [*finalizers(federated), SYNC_FINALIZER]
            )
        placed = self._placed(federated)
        if placed.reason == AggregateReason.COMPUTE_PLACEMENT_FAILED:
            self._context.events.warning(federated, placed.reason.value, placed.explain)
            await self._write_status(federated, status.Outcome(placed.reason))
            return None
        if placed.reason == AggregateReason.NAMESPACE_NOT_FEDERATED:
            await self._sure_not_federated(key)
        return await self._propagate(key, federated, placed)

    async def _propagate(
        self, key: Key, federated: Json, placed: placement.Placed
    ) -> float | None:
        subject = self._subject(federated)
        hashes = versions.template_hash(federated), versions.overrides_hash(federated)
        before = self._context.records.get(federated, self.kind)
        valid = {**before.valid_for(*hashes), **self._late(key, hashes)}
        members = self._members(key, federated)
        batch = plan.propagate(subject, placed.clusters, members, valid)
        preparing = None
        if batch.operations:
            await self._context.pace()
            preparing = asyncio.create_task(self._context.records.prepare(federated, self.kind))
        results = await self._carry_out(key, subject, batch, hashes)
        if preparing is not None:
            await preparing
        written = {name: result.version for name, result in results.items() if result.version}
        record = plan.next_record(*hashes, before, members, valid | written)
        if record.clusters or before.clusters:
            await self._context.records.save(federated, self.kind, record)
        statuses = self._statuses(key, placed.clusters, batch, results)
        outcome = status.Outcome(
            placed.reason,
            statuses,
            remote=self._remote(key, federated, statuses),
            updated=bool(written),
        )
        await self._write_status(federated, outcome)
        return RETRY if status.recoverable(outcome) else None

    async def _remove(self, key: Key, federated: Json) -> float | None:
        if SYNC_FINALIZER not in finalizers(federated):
            return None
        subject = self._subject(federated)
        placed = self._placed(federated).clusters
        before = self._context.records.get(federated, self.kind)
        members = self._members(key, federated)
        batch = plan.remove(subject, placed, members, before.clusters)
        if batch.operations:
            await self._context.pace()
        results = await self._carry_out(
            key, subject, batch, ("", ""), options=subject.delete_options
        )
        statuses = self._statuses(key, placed, batch, results)
        if not statuses:
            gone = {name for name, result in results.items() if result.gone}
            claims = (placed | before.clusters.keys()) - gone
            statuses = await self._still_there(key, federated, members, claims)
        if statuses:
            names = ", ".join(sorted(statuses))
            self._context.events.normal(
                federated, "WaitForRemovalInCluster", f"waits for removal in {names}"
            )
            await self._write_status(federated, status.Outcome(clusters=statuses))
            failed = any(value.recoverable for value in statuses.values())
            return RETRY if failed else RECHECK_REMOVAL
        kept = [name for name in finalizers(federated) if name != SYNC_FINALIZER]
        await self._set_finalizers(federated, kept)
        self._context.records.forget(key, self.kind)
        return None

    async def _still_there(
        self, key: Key, federated: Json, members: list[Member], claims: frozenset[str]
    ) -> dict[str, PropagationStatus]:
        """Ask the clusters themselves whether the object is gone, as caches may lag."""
        subject = self._subject(federated)
        asked = [member.name for member in members if member.ready and member.name in claims]
        answers = await asyncio.gather(*(self._live(name, key) for name in asked))
        statuses: dict[str, PropagationStatus] = {}
        for name, (live, failed) in zip(asked, answers, strict=True):
            if failed:
                statuses[name] = PropagationStatus.RETRIEVAL_FAILED
            elif live is not None and labels(live).get("kubefed.io/managed") == "true":
                self.members.learn(name, live)
                if not (subject.orphan and not deleting(live)):
                    statuses[name] = PropagationStatus.WAITING_FOR_REMOVAL
                self.queue.add_later(key, 0.2)
        return statuses

    async def _live(self, cluster: str, key: Key) -> tuple[Json | None, bool]:
        member = self._context.clusters.members.get(cluster)
        namespace, name = self._target_key(key)
        if member is None:
            return None, False
        try:
            path = self.kind.target.path(namespace or None, name)
            return await member.client.request("GET", path, timeout_s=5), False
        except ApiError as error:
            return None, not error.not_found
        except FAILURES:
            return None, True

    async def _orphaned(self, key: Key) -> float | None:
        """A managed object in a member without its federated one: it is let go, not deleted."""
        self._context.records.forget(key, self.kind)
        target_key = self._target_key(key)
        holders = [
            name
            for name in self.members.holders(target_key)
            if self._context.clusters.usable(name)
        ]
        if not holders:
            return None
        live = await self._host_object(key)
        if live is not None:
            # The cache had lost it: never let go of anything on the word of a list.
            self.federated.learn(live)
            return 0.0
        operations = [
            Operation(name, Verb.RELEASE, current)
            for name in holders
            if (current := self.members.get(name, target_key)) is not None
        ]
        stub: Json = {"metadata": {"namespace": key[0], "name": key[1]}}
        batch = Plan(operations=operations)
        results = await self._carry_out(key, self._subject(stub), batch, ("", ""))
        failed = any(result.error for result in results.values())
        return RETRY if failed or len(results) < len(operations) else None

    # -- parts --------------------------------------------------------------------------------

    def _target_key(self, key: Key) -> Key:
        if self.kind.is_namespace:
            return ("", key[1])
        return key if self.kind.target.namespaced else ("", key[1])

    def _subject(self, federated: Json) -> Subject:
        host_uid = ""
        if self.kind.is_namespace:
            own = self._namespaces.own(key_of(federated)[1])
            host_uid = uid(own) if own is not None else ""
        return Subject(federated, self.kind, host_uid)

    def _valid_namespace(self, federated: Json) -> bool:
        namespace, name = key_of(federated)
        if name in IGNORED_NAMESPACES or name == self._context.namespace:
            return False
        if namespace != name:
            self._context.events.warning(
                federated,
                "InvalidName",
                f"a FederatedNamespace must be called as its namespace, {namespace}",
            )
        return namespace == name

    def _placed(self, federated: Json) -> placement.Placed:
        namespaced = self.kind.target.namespaced
        return placement.compute(
            federated,
            self._context.clusters.labels,
            namespaced=namespaced,
            namespace=self._namespaces.federated(key_of(federated)[0]) if namespaced else None,
            namespaced_scope=self._context.config.namespaced_scope,
        )

    async def _sure_not_federated(self, key: Key) -> None:
        """Ask the host itself before objects are deleted for want of a FederatedNamespace.

        Raises:
            ApiError: there is one, or the host doesn't say.
        """
        if not self.members.holders(self._target_key(key)):
            return
        await self._namespaces.confirm_not_federated(key[0])

    def _members(self, key: Key, federated: Json) -> list[Member]:
        target_key = self._target_key(key)
        return [
            Member(
                name,
                # A write under way decides first; then the object is looked at again.
                ready=self._context.clusters.usable(name)
                and (key, name) not in self.members.flights,
                known=self.members.known(name),
                current=self.members.get(name, target_key),
            )
            for name in sorted(self._context.clusters.members)
        ]

    def _late(self, key: Key, hashes: tuple[str, str]) -> dict[str, str]:
        """Take the versions of writes that came late, as far as they are of this template."""
        found: dict[str, str] = {}
        for name in self._context.clusters.members:
            version, of = self.members.late.pop((key, name), ("", ("", "")))
            if version and of == hashes:
                found[name] = version
        return found

    async def _carry_out(
        self,
        key: Key,
        subject: Subject,
        batch: Plan,
        hashes: tuple[str, str],
        options: str = "",
    ) -> Mapping[str, Result]:
        for name, error in batch.errors.items():
            self._context.events.warning(subject.federated, "ApplyOverridesFailed", error)
            log.debug("%s %s in %s: %s", self.kind.name, key, name, error)
        if not batch.operations:
            return {}
        dispatcher = Dispatcher(subject, adopt=self._context.config.adopt, delete_options=options)

        async def start(member: MemberCluster, operation: Operation) -> Result:
            timer = self._context.metrics.dispatch_seconds.labels(operation.verb.lower())
            with timer.time():
                result = await dispatcher.carry_out(member.client, operation)
            self._tell(subject, operation, result)
            return result

        return await self.members.fly(
            key,
            self._target_key(key),
            batch.operations,
            start,
            hashes,
            lambda: self.queue.add(key),
        )

    def _tell(self, subject: Subject, operation: Operation, result: Result) -> None:
        if not uid(subject.federated):
            return
        what = f"{operation.verb}InCluster"
        target = self.kind.target.kind
        if result.error:
            text = f"{target} in {operation.cluster}: {result.error}"
            self._context.events.warning(subject.federated, f"{what}Failed", text)
        else:
            text = f"{target} in {operation.cluster}"
            self._context.events.normal(subject.federated, what, text)

    def _statuses(
        self,
        key: Key,
        placed: frozenset[str],
        batch: Plan,
        results: Mapping[str, Result],
    ) -> dict[str, PropagationStatus]:
        statuses = dict(batch.statuses)
        for operation in batch.operations:
            result = results.get(operation.cluster)
            if result is None:
                statuses[operation.cluster] = operation.verb.timed_out
            elif result.status is not None:
                statuses[operation.cluster] = result.status
        for (of, cluster), flight in self.members.flights.items() if self._any_slow() else ():
            if of == key and (cluster in placed or flight.verb is not Verb.CREATE):
                statuses[cluster] = flight.verb.timed_out
        return statuses

    def _any_slow(self) -> bool:
        return any(member.lagging for member in self._context.clusters.members.values())

    def _remote(
        self, key: Key, federated: Json, statuses: Mapping[str, PropagationStatus]
    ) -> dict[str, Json] | None:
        if not self._collect:
            return None
        before = {
            str(entry.get("name")): entry.get("remoteStatus")
            for entry in map(mapping, mapping(federated.get("status")).get("clusters") or [])
        }
        found: dict[str, Json] = {}
        for cluster in statuses:
            current = self.members.get(cluster, self._target_key(key))
            if self._context.clusters.usable(cluster):
                found[cluster] = mapping((current or {}).get("status"))
            elif before.get(cluster):
                # What a cluster that is away said last stands until it says something else.
                found[cluster] = mapping(before[cluster])
        return found

    async def _set_finalizers(self, federated: Json, wanted: list[str]) -> Json:
        answer = await self._patch(
            federated,
            "",
            {
                "metadata": {
                    "finalizers": wanted,
                    "resourceVersion": resource_version(federated),
                }
            },
        )
        if answer.get("kind") == self.kind.federated.kind and not deleting(answer):
            self.federated.learn(answer)
        return answer

    async def _write_status(self, federated: Json, outcome: status.Outcome) -> None:
        wanted = status.render(federated, outcome, timestamp())
        if wanted is None:
            return
        try:
            answer = await self._patch(federated, "/status", {"status": wanted})
        except ApiError as error:
            # It was deleted meanwhile; the watch will say so.
            if not error.not_found:
                raise
        else:
            self.federated.learn(answer)

    async def _patch(self, federated: Json, subresource: str, body: Json) -> Json:
        namespace, name = key_of(federated)
        path = self.kind.federated.path(namespace or None, name) + subresource
        return await self._context.host.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def _host_object(self, key: Key) -> Json | None:
        path = self.kind.federated.path(key[0] or None, key[1])
        try:
            return await self._context.host.request("GET", path)
        except ApiError as error:
            if error.not_found:
                return None
            raise


def _significant(obj: Json) -> tuple[object, ...]:
    """Give what of a federated object decides; the rest is our own writing."""
    noted = notes(obj)
    return (
        uid(obj),
        generation(obj),
        deleting(obj),
        SYNC_FINALIZER in finalizers(obj),
        noted.get(ORPHAN_ANNOTATION),
        noted.get(DELETE_OPTION_ANNOTATION),
    )


def _slim(obj: Json) -> Json:
    # kubectl's copy of the whole object; changes of ours are merge patches and don't touch it.
    mapping(metadata(obj).get("annotations")).pop(_LAST_APPLIED, None)
    return obj
