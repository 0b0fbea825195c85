"""What else is kept for a plain object: the plan of its replicas, and how it stands everywhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kubefed.api.kinds import REPLICA_SCHEDULING_PREFERENCE, SCALABLE
from kubefed.controller import amend
from kubefed.controller.objects import Json, key_of, mapping, metadata, spec
from kubefed.controller.transparent import decide, fold, marks, wanted, writes
from kubefed.controller.transparent.decide import Planning

if TYPE_CHECKING:
    from kubefed.api.kinds import FederatedType
    from kubefed.controller.context import Context
    from kubefed.controller.informer import Informer
    from kubefed.controller.objects import Key
    from kubefed.controller.sync import TypeSync
    from kubefed.controller.transparent.policy import Policy
    from kubefed.controller.transparent.sources import Sources

# A plain object's summary is written at most so often.
SUMMARY_SECONDS = 1.0
# The scheduler may be about to write its last plan when its preference goes.
LAST_PLAN_SECONDS = 1.0


class Beside:
    """Plans and summaries.

    Args:
        context: what all controllers share.
        preferences: all ReplicaSchedulingPreferences.
        sources: the plain objects.
    """

    def __init__(self, context: Context, preferences: Informer, sources: Sources) -> None:
        self._context = context
        self._preferences = preferences
        self._sources = sources
        self._said_at: dict[tuple[str, Key], float] = {}

    def forget(self, name: str, key: Key) -> None:
        """Forget a plain object that is gone."""
        self._said_at.pop((name, key), None)

    def planning(self, kind: FederatedType, key: Key, chosen: Policy) -> Planning:
        """Say who plans the replicas of an object."""
        scalable = kind.target in SCALABLE and self._context.config.scheduler
        present = self._preferences.store.get(key)
        meant = present is not None and spec(present).get("targetKind") == kind.federated.kind
        return Planning(asked=scalable and chosen.total is not None, present=scalable and meant)

    async def plan(self, kind: FederatedType, source: Json, chosen: Policy) -> float | None:
        """Keep the ReplicaSchedulingPreference beside the federated object.

        Returns:
            When to look again, as `WorkQueue` wants it.

        Raises:
            ApiError: the host refused.
        """
        host, target = self._context.host, REPLICA_SCHEDULING_PREFERENCE
        key = key_of(source)
        present = self._preferences.store.get(key)
        planning = self.planning(kind, key, chosen)
        if not planning.asked:
            if present is not None and planning.present and marks.marked(present):
                await writes.delete(host, target, present)
                return LAST_PLAN_SECONDS
            return None
        made = wanted.preference(
            source, kind, chosen, self._context.home.name, self._context.clusters.labels
        )
        if present is None:
            self._preferences.learn(await writes.create(host, target, made))
        elif not marks.marked(present) or not planning.present:
            text = "a ReplicaSchedulingPreference of this name is there; it is left alone"
            self._context.events.warning(source, "AlreadyPlanned", text)
        elif patch := decide.difference(spec(present), spec(made)):
            version = {"resourceVersion": metadata(present).get("resourceVersion")}
            body: Json = {"metadata": version, "spec": patch}
            self._preferences.learn(await writes.change(host, target, key, body))
        return None

    async def summarize(self, sync: TypeSync, source: Json, federated: Json) -> float | None:
        """Write into an annotation of the plain object how it stands everywhere.

        Returns:
            When to look again, as `WorkQueue` wants it.

        Raises:
            ApiError: the host refused.
        """
        target = sync.kind.target
        key = key_of(source)
        item = (sync.kind.name, key)
        statuses = {
            name: mapping(found.get("status"))
            for name in self._context.clusters.members
            if self._context.clusters.usable(name)
            and (found := sync.members.get(name, key)) is not None
        }
        if self._context.home.name not in statuses:
            statuses[fold.HOST] = mapping(source.get("status"))
        text = fold.summary(target, source, federated, statuses)
        patch = fold.change(source, text) if text is not None else None
        if patch is None:
            return None
        now = asyncio.get_running_loop().time()
        wait = self._said_at.get(item, -SUMMARY_SECONDS) + SUMMARY_SECONDS - now
        if wait > 0:
            return wait
        self._said_at[item] = now
        patch["metadata"] |= amend.as_known(source)
        answer = await writes.change(
            self._context.host, target, key, patch, fold.subresource(target)
        )
        self._sources.learn(sync.kind.name, answer)
        return None
