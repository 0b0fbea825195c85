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
)
from kubefed.controller import placement, plan, status, versions
from kubefed.controller.admission import Admission
from kubefed.controller.batches import Batches
from kubefed.controller.bookkeeping import Bookkeeper
from kubefed.controller.client import ApiError
from kubefed.controller.host_objects import HostObjects
from kubefed.controller.informer import FAILURES, Informer
from kubefed.controller.listing import Source
from kubefed.controller.members import Members
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
    spec,
    uid,
)
from kubefed.controller.plan import Subject
from kubefed.controller.queue import RETRY, Held, WorkQueue
from kubefed.controller.removal import Removal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kubefed.api.kinds import FederatedType
    from kubefed.api.names import PropagationStatus
    from kubefed.controller.context import Context
    from kubefed.controller.types import Namespaces

log = logging.getLogger(__name__)
RESYNC_SECONDS = 600.0
# So many objects waiting for their members are many: books follow after them.
PRESSED = 16
# What of a template's metadata no member gets, and the event that says so.
_NOT_PROPAGATED = {
    "annotations": "AnnotationsNotSupported",
    "finalizers": "FinalizersNotSupported",
}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class TypeSync:
    """The controller of one federated type.

    Args:
        context: what all share.
        kind: the type.
        namespaces: what is known of namespaces.
        collect_status: whether the members' status goes into the federated object.
        keep_status: whether somebody else wants to know the members' status.
    """

    def __init__(
        self,
        context: Context,
        kind: FederatedType,
        namespaces: Namespaces,
        *,
        collect_status: bool,
        keep_status: bool = False,
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
            self._member_noticed,
            self.enqueue_all,
            namespace=scope,
            whole_status=collect_status or keep_status,
        )
        self.queue: WorkQueue[Key] = WorkQueue(
            kind.federated.kind.lower(),
            self._handle,
            workers=context.config.workers,
            metrics=context.metrics,
        )
        self._objects = HostObjects(context, kind, self.federated)
        self._batches = Batches(context, kind, self.members, self.queue.add)
        self._admission = Admission(context, kind, self.federated)
        self._books = Bookkeeper(
            context, kind, self.federated, self._objects, lambda: len(self.queue) >= PRESSED
        )
        self._removal = Removal(
            context, kind, self.federated, self.members, self._batches, self._objects
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
                await self._context.home.ready.wait()
                self.started.set()
                group.create_task(self._books.run())
                group.create_task(self._admission.run())
                group.create_task(self.queue.run())
                group.create_task(self._resync())
        finally:
            self.members.stop()

    def enqueue_all(self) -> None:
        """Look at every object again, also at those in members that nobody owns any more."""
        for key in self.federated.store:
            self.queue.add(key, patient=True)
        left = self._context.clusters.left_behind.keys(self.kind.target)
        others = self.members.keys() | {self.members.federated_key(key) for key in left}
        for key in others - self.federated.store.keys():
            self.queue.add(key, patient=True)

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

    def _member_noticed(
        self, cluster: str, key: Key, before: Json | None, after: Json | None
    ) -> None:
        """Take note of a change in a member, whoever made it and whatever is under way."""
        federated = self.members.federated_key(key)
        if before is not None and (after is None or uid(before) != uid(after)):
            self._context.records.invalidate(federated, self.kind, cluster)
        for listener in self.listeners:
            listener(federated)
        if self.kind.is_namespace and (before is None) != (after is None):
            self.namespace_changed(key[1])

    def _member_changed(
        self, cluster: str, key: Key, before: Json | None, after: Json | None
    ) -> None:
        federated = self.members.federated_key(key)
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
        with self._context.metrics.federated_seconds.time():
            try:
                return await self._reconcile(key)
            except FAILURES as error:
                if isinstance(error, ApiError) and error.conflict:
                    # Somebody was faster.
                    return RETRY
                log.warning("%s %s/%s: %s", self.kind.federated.kind, *key, error)
                return RETRY

    async def _reconcile(self, key: Key) -> float | None:
        federated = self.federated.store.get(key)
        if federated is None:
            self._books.drop(key)
            if self.kind.is_namespace and key[0] != key[1]:
                # It never stood for the Namespace of its name.
                return None
            stub: Json = {"metadata": {"namespace": key[0], "name": key[1]}}
            return await self._removal.release_orphans(key, self._subject(stub))
        if self.kind.is_namespace and not self._valid_namespace(federated):
            return None
        if deleting(federated):
            self._books.drop(key)
            placed = self._placed(federated).clusters
            return await self._removal.remove(self._subject(federated), key, placed)
        if SYNC_FINALIZER not in finalizers(federated):
            federated = await self._ensure_finalizer(federated)
        where = self._placed(federated)
        if where.reason == AggregateReason.COMPUTE_PLACEMENT_FAILED:
            self._context.events.warning(federated, where.reason.value, where.explain)
            await self._objects.write_status(federated, status.Outcome(where.reason))
            return None
        if where.reason == AggregateReason.NAMESPACE_NOT_FEDERATED:
            await self._sure_not_federated(key)
        return await self._propagate(key, federated, where)

    async def _propagate(
        self, key: Key, federated: Json, placed: placement.Placed
    ) -> float | None:
        self._removal.wanted(key)
        subject = self._subject(federated)
        hashes = versions.template_hash(federated), versions.overrides_hash(federated)
        before = self._context.records.get(federated, self.kind)
        late = self._batches.late(key, hashes)
        valid = {**before.valid_for(*hashes), **late}
        members = self._batches.known(key)
        batch = plan.propagate(subject, placed.clusters, members, valid)
        target = self._batches.target_key(key)
        held = self._admission.hold_back(key, target, federated, batch)
        await self._wanted_again(key, placed.clusters)
        if batch.operations:
            self._warn_of_template(federated)
        results = await self._batches.carry_out(key, subject, batch, hashes)
        self._admission.done(key, federated, results)
        # Read anew: a version may have been found to be another object's meanwhile.
        before = self._context.records.get(federated, self.kind)
        written = {name: result.version for name, result in results.items() if result.version}
        record = plan.next_record(*hashes, before, members, {**late, **written})
        statuses = self._batches.statuses(key, placed.clusters, batch, results)
        outcome = status.Outcome(
            placed.reason,
            statuses,
            remote=self._remote(key, federated, statuses),
            updated=bool(written),
        )
        recorded = record if record.clusters or before.clusters else None
        pending = [member.pending for member in members if member.name in placed.clusters]
        if held or any(pending):
            # What is to be said of it is known in a moment; the others needn't wait for that.
            if recorded is not None:
                self._context.records.note(federated, self.kind, recorded)
            return Held(held or max(pending))
        self._batches.tell(subject, statuses)
        self._books.note(key, federated, recorded, outcome)
        return RETRY if status.recoverable(outcome) else None

    async def _ensure_finalizer(self, federated: Json) -> Json:
        wanted = [*finalizers(federated), SYNC_FINALIZER]
        try:
            return await self._objects.set_finalizers(federated, wanted)
        except ApiError as error:
            # That it was changed or deleted meanwhile is no news: it is looked at again.
            if not (error.conflict or error.not_found):
                self._context.events.warning(federated, "EnsureFinalizerError", str(error))
            raise

    def _warn_of_template(self, federated: Json) -> None:
        meta = metadata(mapping(spec(federated).get("template")))
        for field, reason in _NOT_PROPAGATED.items():
            if meta.get(field):
                text = f"metadata.{field} of the template isn't propagated; use an override"
                self._context.events.warning(federated, reason, text)

    async def _wanted_again(self, key: Key, placed: frozenset[str]) -> None:
        left, target_key = self._context.clusters.left_behind, self._batches.target_key(key)
        for cluster in placed.intersection(left.holders(self.kind.target, target_key)):
            await left.settle(cluster, self.kind.target, target_key)
        await self._removal.settle(key)

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
        if not self.members.holders(self._batches.target_key(key)):
            return
        await self._namespaces.confirm_not_federated(key[0])

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
            current = self.members.get(cluster, self._batches.target_key(key))
            if self._context.clusters.usable(cluster):
                found[cluster] = mapping((current or {}).get("status"))
            elif before.get(cluster):
                # What a cluster that is away said last stands until it says something else.
                found[cluster] = mapping(before[cluster])
        kept, left_out = status.bounded(found)
        for cluster in left_out:
            text = f"the status in {cluster} is too long to be kept in this object's"
            self._context.events.warning(federated, "RemoteStatusTooLong", text)
        return kept


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
