"""The end of transparent federation: what was kept for plain objects goes, all that runs stays.

The order is what makes it safe to be interrupted anywhere: the annotations first, then the
federated objects, the FederatedNamespace, and the rights last. As long as something is left to
do, a marked object or the binding of the rights is left to show it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kubefed.api.kinds import NAMESPACE, REPLICA_SCHEDULING_PREFERENCE
from kubefed.controller.objects import Json, deleting, key_of, mapping, sequence
from kubefed.controller.queue import RETRY
from kubefed.controller.transparent import eligible, marks, writes

if TYPE_CHECKING:
    from kubefed.controller.context import Context
    from kubefed.controller.sync import TypeSync
    from kubefed.controller.types import Types

log = logging.getLogger(__name__)
RECHECK = 2.0
RECHECK_TYPES = 10.0


class Release:
    """Takes namespaces and objects out of transparent federation.

    Args:
        context: what all controllers share.
        types: the types that are federated.
    """

    def __init__(self, context: Context, types: Types) -> None:
        self._context = context
        self._types = types
        # Namespaces of which it was said that they are let go, and those with rights left over.
        self._told: set[str] = set()
        self._held: set[str] = set()

    def under_way(self, namespace: str) -> bool:
        """Whether a namespace is being let go."""
        return namespace in self._told | self._held

    async def resume(self) -> list[str]:
        """Give the namespaces in which rights are held, since a process may have ended too early.

        Raises:
            ApiError: the host refused.
        """
        found = await writes.rights_held(self._context.host, self._context.namespace)
        self._held.update(found)
        return found

    def stop(self, namespace: str) -> None:
        """Note that a namespace asks (again), or is gone."""
        self._told.discard(namespace)
        self._held.discard(namespace)

    async def one(self, sync: TypeSync, federated: Json) -> None:
        """Let one object go; what runs stays.

        Raises:
            ApiError: the host refused; to begin again is safe.
        """
        if deleting(federated):
            return
        await self._clear(sync, federated)
        await writes.release(self._context.host, sync.kind.federated, federated)

    async def namespace(self, name: str) -> float | None:
        """Let a namespace go that doesn't ask to be federated any more.

        Returns:
            When to look again, as `WorkQueue` wants it; None if nothing is left.

        Raises:
            ApiError: the host refused; to begin again is safe.
        """
        sync = self._types.namespaces.sync
        own = sync.federated.store.get((name, name)) if sync is not None else None
        marked = own is not None and marks.marked(own)
        kept = self._kept(name)
        if not (kept or marked or self.under_way(name)):
            return None
        # Not on the word of a cache: the namespace itself must say so.
        live = await writes.get(self._context.host, NAMESPACE, ("", name))
        if live is None or deleting(live):
            self.stop(name)
            return None
        if marks.asks(live) and not eligible.namespace_refused(name, self._context.namespace):
            return RETRY
        if (kept or marked) and name not in self._told:
            self._tell(live)
            self._told.add(name)
        for each, obj in kept:
            await self.one(each, obj)
        if kept:
            return RECHECK
        needs, ours = await self._others(name)
        if ours:
            # Their type isn't propagated (yet); when it is, they go first.
            return RECHECK_TYPES
        if sync is not None and own is not None and marked:
            return await self._last(sync, own, needs)
        await writes.give_back_rights(self._context.host, self._context.namespace, name)
        self.stop(name)
        return None

    async def _last(self, sync: TypeSync, own: Json, needs: str) -> float | None:
        """Let the FederatedNamespace go, unless somebody else's objects need it."""
        if deleting(own):
            return RECHECK
        if needs:
            await writes.unmark(self._context.host, sync.kind.federated, own)
            text = f"the FederatedNamespace stays, for there is {needs}; it is yours from now on"
            self._context.events.normal(own, "FederatedNamespaceKept", text)
        else:
            await writes.release(self._context.host, sync.kind.federated, own)
        return RECHECK

    async def _others(self, namespace: str) -> tuple[str, bool]:
        """Name a kind of which somebody has federated objects in a namespace, "" if nobody has.

        Asked of the host itself: without its FederatedNamespace such an object would lose all
        that it has in the members.

        Returns:
            The kind, and whether an object of ours is there still.
        """
        needs = ""
        for kind in self._types.configured():
            if kind.is_namespace or not kind.federated.namespaced:
                continue
            answer = await self._context.host.request("GET", kind.federated.path(namespace))
            for item in map(mapping, sequence(answer.get("items"))):
                if marks.marked(item):
                    return "", True
                needs = f"at least one {kind.federated.kind}"
        return needs, False

    def _kept(self, namespace: str) -> list[tuple[TypeSync, Json]]:
        return [
            (sync, federated)
            for sync in self._types.started().values()
            if not sync.kind.is_namespace
            for key, federated in sync.federated.store.items()
            if key[0] == namespace and marks.marked(federated)
        ]

    async def _clear(self, sync: TypeSync, federated: Json) -> None:
        """Take away what hangs on a federated object: the plan, the annotation."""
        host, key = self._context.host, key_of(federated)
        if marks.PLANNED in (federated.get("metadata") or {}).get("annotations", {}):
            plan = await writes.get(host, REPLICA_SCHEDULING_PREFERENCE, key)
            if plan is not None and marks.marked(plan):
                await writes.delete(host, REPLICA_SCHEDULING_PREFERENCE, plan)
        await writes.clear_summary(host, sync.kind.target, key)

    def _tell(self, namespace: Json) -> None:
        text = (
            "no longer federated: its objects run on as they are, in every cluster that has them; "
            "nobody keeps them alike from now on"
        )
        about = {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind} | namespace
        self._context.events.normal(about, "NoLongerFederated", text)
        log.info("namespace %s is no longer federated", key_of(namespace)[1])
