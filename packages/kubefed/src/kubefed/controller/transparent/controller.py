"""Keeps federated objects beside the plain ones of the namespaces that ask for it.

One queue: an item is a type's name, a namespace and a name; with the type and the name empty it
is the namespace itself. Everything is compared with what should be, so that a restart in the
middle of anything goes on from there, and what is as it should be isn't written.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeAlias

from kubefed.api.kinds import (
    CONFIG_MAP,
    NAMESPACE,
    REPLICA_SCHEDULING_PREFERENCE,
    SCALABLE,
)
from kubefed.controller.client import ApiError
from kubefed.controller.informer import FAILURES, Informer
from kubefed.controller.listing import Source
from kubefed.controller.objects import Json, Key, deleting, metadata, notes, uid
from kubefed.controller.placement import SelectorError
from kubefed.controller.queue import RETRY, WorkQueue
from kubefed.controller.transparent import (
    decide,
    eligible,
    marks,
    policy,
    wanted,
    writes,
)
from kubefed.controller.transparent.beside import Beside
from kubefed.controller.transparent.decide import Act, Decision
from kubefed.controller.transparent.release import Release
from kubefed.controller.transparent.sources import Sources

if TYPE_CHECKING:
    from kubefed.api.kinds import FederatedType
    from kubefed.controller.context import Context
    from kubefed.controller.sync import TypeSync
    from kubefed.controller.transparent.policy import Policy
    from kubefed.controller.types import Types

log = logging.getLogger(__name__)
# The name of a type, "" for the namespace itself; the namespace; the name, "" for the same.
Item: TypeAlias = tuple[str, str, str]
WORKERS = 8
RESYNC_SECONDS = 600.0
# Rights hold within a second; what can't be read after this time is told.
UNREAD_SECONDS = 5.0
_SELECTOR = f"{marks.FEDERATE}=true"


class Transparent:
    """The controller of transparent federation.

    Args:
        context: what all controllers share.
        types: the types that are federated.
    """

    def __init__(self, context: Context, types: Types) -> None:
        self._context = context
        self._types = types
        host = context.host
        self._asking = Informer(
            host,
            Source(NAMESPACE, selector=_SELECTOR, metadata_only=True, slim=_as_namespace),
            self._namespace_changed,
        )
        self._policies = Informer(
            host, Source(CONFIG_MAP, context.namespace, slim=_policies_only), self._policy_changed
        )
        self._preferences = Informer(
            host, Source(REPLICA_SCHEDULING_PREFERENCE), self._preference_changed
        )
        self._queue: WorkQueue[Item] = WorkQueue("transparent", self._handle, workers=WORKERS)
        self._sources = Sources(host, self._source_changed, self._sources_whole)
        self._release = Release(context, types)
        # Namespaces in which the controller has its rights: the UID, and since when.
        self._entered: dict[str, tuple[str, float]] = {}
        self._beside = Beside(context, self._preferences, self._sources)
        # Those that have a FederatedNamespace, whoever wrote it.
        self._housed: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        self._attached: list[TypeSync] = []

    def attach(self, sync: TypeSync) -> None:
        """Follow the federated objects of a type whose controller was just made."""
        kind = sync.kind
        sync.listeners.append(lambda key: self._federated_changed(sync, key))
        if kind.is_namespace or not eligible.kind_excluded(kind.target):
            self._attached.append(sync)
            if self._group is not None:
                self._group.create_task(self._when_started(sync))

    async def run(self) -> None:
        """Keep them until cancelled."""
        clusters = self._context.clusters
        clusters.listeners.append(self._cluster_changed)
        try:
            async with asyncio.TaskGroup() as group:
                for informer in (self._policies, self._preferences, self._asking):
                    group.create_task(informer.run())
                # Before all policies are known, a default could be taken for a named one.
                for informer in (self._policies, self._preferences, self._asking):
                    await _synced(informer)
                await self._resume()
                self._group = group
                for sync in self._attached:
                    group.create_task(self._when_started(sync))
                group.create_task(self._queue.run())
                while True:
                    await asyncio.sleep(RESYNC_SECONDS)
                    self._everything()
        finally:
            self._group = None
            clusters.listeners.remove(self._cluster_changed)

    async def _resume(self) -> None:
        try:
            for name in await self._release.resume():
                self._queue.add(("", name, ""))
        except FAILURES as error:
            # Rights that nobody needs any more stay until the next start.
            log.warning("rights held in namespaces can't be listed: %s", error)

    # -- what changed -------------------------------------------------------------------------

    async def _when_started(self, sync: TypeSync) -> None:
        await sync.started.wait()
        self._attached = [each for each in self._attached if each is not sync]
        # What a former process left half done shows in its mark.
        for key, federated in sync.federated.store.items():
            if marks.marked(federated):
                self._queue.add(("", key[0], ""))
        self._everything()

    def _everything(self) -> None:
        for _, name in self._asking.store:
            self._queue.add(("", name, ""))
        for name, key in self._sources.items():
            self._queue.add((name, *key))

    def _all_of(self, namespace: str) -> None:
        for name, key in self._sources.items():
            if key[0] == namespace:
                self._queue.add((name, *key))

    def _namespace_changed(self, key: Key, before: Json | None, after: Json | None) -> None:
        self._queue.forget(("", key[1], ""))
        self._queue.add(("", key[1], ""))
        if before is not None and after is not None and notes(before) != notes(after):
            self._all_of(key[1])

    def _policy_changed(self, key: Key, _before: Json | None, _after: Json | None) -> None:
        if key[1] == policy.POLICIES:
            self._everything()

    def _preference_changed(self, key: Key, _before: Json | None, _after: Json | None) -> None:
        for target in SCALABLE:
            if self._sources.get(target.full_name, key) is not None:
                self._queue.add((target.full_name, *key))

    def _cluster_changed(self, _name: str) -> None:
        self._everything()

    def _source_changed(self, name: str, key: Key) -> None:
        self._queue.add((name, *key))

    def _sources_whole(self, name: str, namespace: str) -> None:
        sync = self._types.started().get(name)
        for key in sync.federated.store if sync is not None else ():
            if key[0] == namespace:
                self._queue.add((name, *key))

    def _federated_changed(self, sync: TypeSync, key: Key) -> None:
        """A federated object changed, or what it has in a member."""
        if sync.kind.is_namespace and (key in sync.federated.store) != (key[0] in self._housed):
            self._housed.symmetric_difference_update({key[0]})
            self._all_of(key[0])
        asks = ("", key[0]) in self._asking.store
        federated = sync.federated.store.get(key)
        if not asks and not (federated is not None and marks.marked(federated)):
            # The last of a namespace that doesn't ask any more may just have gone.
            if self._release.under_way(key[0]):
                self._queue.add(("", key[0], ""))
            return
        if sync.kind.is_namespace or not asks:
            self._queue.add(("", key[0], ""))
        else:
            self._queue.add((sync.kind.name, *key))

    # -- namespaces ---------------------------------------------------------------------------

    async def _handle(self, item: Item) -> float | None:
        name, namespace, _ = item
        try:
            if name:
                return await self._object(item)
            return await self._namespace(namespace)
        except (policy.PolicyError, SelectorError) as error:
            self._say_policy(item, str(error))
            return None
        except FAILURES as error:
            if isinstance(error, ApiError) and error.conflict:
                # Somebody was faster; the watch brings what he wrote.
                return RETRY
            log.warning("transparent federation of %s: %s", "/".join(item), error)
            return RETRY

    async def _namespace(self, name: str) -> float | None:
        asking = self._asking.store.get(("", name))
        if asking is None:
            self._entered.pop(name, None)
            self._arrange()
            return await self._release.namespace(name)
        if deleting(asking):
            # Whatever is in it goes with it.
            return None
        if reason := eligible.namespace_refused(name, self._context.namespace):
            self._context.events.warning(asking, "NotFederated", f"not federated: {reason}")
            return None
        sync = self._types.namespaces.sync
        if sync is None or not sync.started.is_set():
            return None
        await self._enter(name, asking)
        federated = sync.federated.store.get((name, name))
        placement = wanted.namespace_placement(
            federated, self._policy(asking), self._context.clusters.labels
        )
        decision = decide.decide_namespace(sync.kind, asking, federated, placement)
        if await self._carry_out(sync, (name, name), asking, decision):
            self._all_of(name)
        return self._unread(name, asking)

    async def _enter(self, name: str, asking: Json) -> None:
        self._release.stop(name)
        if self._entered.get(name, ("", 0.0))[0] != uid(asking):
            await writes.take_rights(self._context.host, self._context.namespace, name)
            self._entered[name] = (uid(asking), asyncio.get_running_loop().time())
        self._arrange()

    def _unread(self, name: str, asking: Json) -> float | None:
        """Say which kinds the controller can't read in a namespace; when to look again."""
        why = {
            each: self._sources.error(each, name)
            for each in self._kinds()
            if not self._sources.known(each, name)
        }
        since = asyncio.get_running_loop().time() - self._entered[name][1]
        if why and since > UNREAD_SECONDS:
            text = "; ".join(f"{each}: {error}" for each, error in sorted(why.items()))
            self._context.events.warning(asking, "NotFederated", f"can't be read: {text}")
        return UNREAD_SECONDS if why else None

    def _kinds(self) -> dict[str, FederatedType]:
        return {
            name: sync.kind
            for name, sync in self._types.started().items()
            if not eligible.kind_excluded(sync.kind.target)
        }

    def _arrange(self) -> None:
        """Have the plain objects known of the namespaces that were entered."""
        if self._group is None:
            return
        places = [name for _, name in self._asking.store if name in self._entered]
        wanted_ = [(kind, name) for kind in self._kinds().values() for name in places]
        self._sources.want(wanted_, self._group)

    def _policy(self, asking: Json, source: Json | None = None) -> Policy:
        """Give the policy of a namespace, or of one object in it.

        Raises:
            policy.PolicyError: it can't be read.
        """
        policies = self._policies.store.get((self._context.namespace, policy.POLICIES))
        layers = [policy.of_annotations(notes(asking)), policy.named(policies, notes(asking))]
        if source is not None:
            layers.insert(0, policy.of_annotations(notes(source)))
        return policy.resolve(layers)

    def _say_policy(self, item: Item, text: str) -> None:
        name, namespace, object_name = item
        found = self._sources.get(name, (namespace, object_name)) if name else None
        about = found or self._asking.store.get(("", namespace))
        if about is not None:
            self._context.events.warning(about, "InvalidPolicy", text)

    # -- objects ------------------------------------------------------------------------------

    async def _object(self, item: Item) -> float | None:
        name, namespace, object_name = item
        key = (namespace, object_name)
        asking = self._asking.store.get(("", namespace))
        sync = self._types.started().get(name)
        if asking is None or deleting(asking) or sync is None:
            return None
        if not self._sources.known(name, namespace):
            return None
        if self._types.namespaces.federated(namespace) is None:
            # Without it an object has no place; when there is one, all are looked at.
            return None
        source, federated = self._sources.get(name, key), sync.federated.store.get(key)
        chosen = self._policy(asking, source)
        decision = decide.decide(
            sync.kind, source, federated, chosen, self._beside.planning(sync.kind, key, chosen)
        )
        if source is None:
            self._beside.forget(name, key)
            return None
        if decision.act is Act.RELEASE and federated is not None:
            await self._release.one(sync, federated)
        await self._carry_out(sync, key, source, decision)
        if not (decision.kept or decision.act is Act.CREATE):
            return None
        again = await self._beside.plan(sync.kind, source, chosen)
        if decision.act is Act.NOTHING and federated is not None and again is None:
            again = await self._beside.summarize(sync, source, federated)
        return again

    async def _carry_out(self, sync: TypeSync, key: Key, source: Json, decision: Decision) -> bool:
        """Do what was decided; say whether something was made.

        Raises:
            ApiError: the host refused.
        """
        events, host = self._context.events, self._context.host
        if decision.reason:
            tell = events.normal if decision.act is Act.RELEASE else events.warning
            tell(source, decision.reason, decision.explain)
        if decision.act is Act.CREATE:
            sync.federated.learn(await writes.create(host, sync.kind.federated, decision.body))
            return True
        if decision.act is Act.CHANGE:
            answer = await writes.change(host, sync.kind.federated, key, decision.body)
            if not deleting(answer):
                sync.federated.learn(answer)
        return False


async def _synced(informer: Informer) -> None:
    """Wait for a cache, and say now and then what it waits for."""
    while not informer.whole:
        try:
            # Not wait_for, which before Python 3.12 may take a cancellation for the event.
            async with asyncio.timeout(UNREAD_SECONDS):
                await informer.synced.wait()
        except TimeoutError:
            path, error = informer.source.path, informer.error
            log.warning("transparent federation waits for %s: %s", path, error)


def _as_namespace(obj: Json) -> Json:
    # What is asked for by its metadata alone calls itself PartialObjectMetadata.
    return {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind} | {
        "metadata": metadata(obj)
    }


def _policies_only(obj: Json) -> Json:
    if metadata(obj).get("name") == policy.POLICIES:
        return obj
    return {"metadata": metadata(obj)}
