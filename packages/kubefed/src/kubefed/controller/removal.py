"""The end of federated objects: deletion in the members, and objects left without an owner."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from kubefed.api import given_up
from kubefed.api.names import SYNC_FINALIZER, PropagationStatus
from kubefed.controller import plan, status
from kubefed.controller.client import ApiError
from kubefed.controller.informer import FAILURES
from kubefed.controller.objects import Json, Key, deleting, finalizers, labels, managed
from kubefed.controller.plan import Member, Operation, Plan, Subject, Verb
from kubefed.controller.queue import RETRY, Held
from kubefed.controller.transparent import marks

if TYPE_CHECKING:
    from kubefed.api.kinds import FederatedType
    from kubefed.controller.batches import Batches
    from kubefed.controller.context import Context
    from kubefed.controller.host_objects import HostObjects
    from kubefed.controller.informer import Informer
    from kubefed.controller.members import Members

RECHECK_REMOVAL = 10.0
# A copy that turns up so soon after a deletion was brought to its end was written before it, and
# held up on its way: what a former leader or an answer that was lost left under way.
LATE_SECONDS = 60.0


class Removal:
    """Deletes what one type has in the members.

    Args:
        context: what all controllers share.
        kind: the type.
        cache: the federated objects.
        members: the type's objects in the members.
        batches: writes to the members.
        objects: writes to the federated objects.
    """

    def __init__(
        self,
        context: Context,
        kind: FederatedType,
        cache: Informer,
        members: Members,
        batches: Batches,
        objects: HostObjects,
    ) -> None:
        self._context = context
        self._kind = kind
        self._cache = cache
        self._members = members
        self._batches = batches
        self._objects = objects
        # When each deletion that was brought to its end here is long ago.
        self._ended: dict[Key, float] = {}

    async def remove(self, subject: Subject, key: Key, placed: frozenset[str]) -> float | None:
        """Delete an object in the members, and let it go itself when it is gone there.

        Returns:
            When to look at it again, as `WorkQueue` wants it.
        """
        federated = subject.federated
        self.wanted(key)
        if SYNC_FINALIZER not in finalizers(federated):
            return None
        before = self._context.records.get(federated, self._kind)
        members = await self._known(key, placed | before.clusters.keys())
        batch = plan.remove(subject, placed, members, before.clusters)
        held = self._hold_back(key, batch)
        results = await self._batches.carry_out(
            key, subject, batch, ("", ""), options=subject.delete_options
        )
        if held:
            # By then, an orphan annotation, say, may have come.
            return Held(held)
        statuses = self._batches.statuses(key, placed, batch, results)
        left = self._left(subject, members, placed | before.clusters.keys())
        waits = {name: value for name, value in statuses.items() if name not in left}
        if not waits:
            gone = {name for name, result in results.items() if result.gone}
            claims = (placed | before.clusters.keys()) - gone
            waits = await self._still_there(key, subject, members, claims)
        if waits:
            return await self._wait(subject, members, statuses | waits)
        await self._note_left(key, subject, left)
        kept = [name for name in finalizers(federated) if name != SYNC_FINALIZER]
        await self._objects.set_finalizers(subject.federated, kept)
        self._context.records.forget(key, self._kind)
        if not (subject.orphan or subject.kept):
            self._note_end(key)
        return None

    def wanted(self, key: Key) -> None:
        """Take note that there is an object again where one was deleted."""
        self._ended.pop(key, None)

    def _note_end(self, key: Key) -> None:
        now = asyncio.get_running_loop().time()
        self._ended = {each: until for each, until in self._ended.items() if until > now}
        self._ended[key] = now + LATE_SECONDS

    def _hold_back(self, key: Key, batch: Plan) -> float:
        """Take out of a plan what must wait; give for how many seconds, 0 for nothing."""
        waits = {
            operation.cluster: self._context.turn(operation.cluster, (self._kind.name, key))
            for operation in batch.operations
        }
        batch.operations = [each for each in batch.operations if not waits[each.cluster]]
        return min(filter(None, waits.values()), default=0.0)

    async def _wait(
        self,
        subject: Subject,
        members: list[Member],
        statuses: dict[str, PropagationStatus],
    ) -> float:
        pending = [member.pending for member in members if member.name in statuses]
        if any(pending):
            # What is to be said of it is known in a moment.
            return Held(max(pending))
        names = ", ".join(sorted(statuses))
        self._context.events.normal(
            subject.federated, "WaitForRemovalInCluster", f"waits for removal in {names}"
        )
        await self._objects.write_status(subject.federated, status.Outcome(clusters=statuses))
        failed = any(value.recoverable for value in statuses.values())
        return RETRY if failed else RECHECK_REMOVAL

    def _left(self, subject: Subject, members: list[Member], claims: frozenset[str]) -> list[str]:
        """Give the clusters that keep the object since the operator has given them up."""
        if subject.orphan:
            return []
        return [
            member.name
            for member in members
            if not (member.ready or (subject.kept and member.home))
            and (member.name in claims or member.current is not None)
            and self._context.clusters.forgotten(member.name)
        ]

    async def _note_left(self, key: Key, subject: Subject, left: list[str]) -> None:
        if not left:
            return
        await self._context.clusters.left_behind.add(
            left, self._kind.target, self._batches.target_key(key)
        )
        self._context.events.warning(
            subject.federated, "LeftInCluster", f"stays in {', '.join(left)}, which was given up"
        )

    async def _known(self, key: Key, claims: frozenset[str]) -> list[Member]:
        """Give what is known of an object; where the cache isn't, by asking for it.

        A cluster that doesn't serve the kind can't hold the object, but its cache says nothing.
        """
        members = self._batches.known(key)
        unknown = [
            member
            for member in members
            if member.name in claims and member.ready and not (member.known or member.pending)
        ]
        answers = await asyncio.gather(*(self._live(member.name, key) for member in unknown))
        found = {
            member.name: dataclasses.replace(
                member, known=True, current=live if live is not None and managed(live) else None
            )
            for member, (live, failed) in zip(unknown, answers, strict=True)
            if not failed
        }
        return [found.get(member.name, member) for member in members]

    async def _still_there(
        self, key: Key, subject: Subject, members: list[Member], claims: frozenset[str]
    ) -> dict[str, PropagationStatus]:
        """Ask the clusters themselves whether the object is gone, as caches may lag."""
        asked = [member.name for member in members if member.ready and member.name in claims]
        reached = {name: self._members.reached(name) for name in asked}
        answers = await asyncio.gather(*(self._live(name, key) for name in asked))
        statuses: dict[str, PropagationStatus] = {}
        for name, (live, failed) in zip(asked, answers, strict=True):
            if failed:
                statuses[name] = PropagationStatus.RETRIEVAL_FAILED
            elif live is not None and managed(live):
                self._members.learn(name, live, reached[name])
                if not (subject.orphan and not deleting(live)):
                    statuses[name] = PropagationStatus.WAITING_FOR_REMOVAL
        return statuses

    async def _live(self, cluster: str, key: Key) -> tuple[Json | None, bool]:
        member = self._context.clusters.members.get(cluster)
        namespace, name = self._batches.target_key(key)
        if member is None:
            return None, False
        try:
            path = self._kind.target.path(namespace or None, name)
            return await member.client.request("GET", path, timeout_s=5), False
        except ApiError as error:
            return None, not error.not_found
        except FAILURES:
            return None, True

    async def release_orphans(self, key: Key, subject: Subject) -> float | None:
        """A managed object in a member without its federated one: it is let go, not deleted.

        Unless it is what a deletion of a moment ago, or one that didn't wait, had to delete.
        """
        self._context.records.forget(key, self._kind)
        target_key = self._batches.target_key(key)
        holders = [
            name
            for name in self._members.holders(target_key)
            if self._context.clusters.usable(name)
        ]
        if not holders:
            return await self.settle(key)
        asked_at = self._cache.reached
        live = await self._objects.get(key)
        if live is not None:
            # The cache had lost it: never let go of anything on the word of a list.
            self._cache.learn(live, asked_at=asked_at)
            return 0.0 if key in self._cache.store else RETRY
        left = self._context.clusters.left_behind
        what = given_up.item(self._kind.target, *target_key)
        late = self._ended.get(key, 0.0) > asyncio.get_running_loop().time()

        def doomed(name: str, current: Json) -> bool:
            return (late or what in left.of(name)) and marks.SOURCE not in labels(current)

        operations = [
            Operation(name, Verb.DELETE if doomed(name, current) else Verb.RELEASE, current)
            for name in holders
            if (current := self._members.get(name, target_key)) is not None
            and (key, name) not in self._members.flights
            and not (deleting(current) and doomed(name, current))
        ]
        batch = Plan(operations=operations)
        results = await self._batches.carry_out(key, subject, batch, ("", ""))
        for name, result in results.items():
            if not result.error:
                await left.settle(name, self._kind.target, target_key)
        failed = any(result.error for result in results.values())
        return RETRY if failed or len(results) < len(operations) else await self.settle(key)

    async def settle(self, key: Key) -> float | None:
        """Strike off what was left in clusters that are back and don't hold it any more.

        It need not have been our deletion, or not one that was answered in time: the Namespace
        went, somebody put it right by hand, the cluster came back from a backup.

        Returns:
            When to look again, as `WorkQueue` wants it.
        """
        left, target_key = self._context.clusters.left_behind, self._batches.target_key(key)
        back = [
            name
            for name in left.holders(self._kind.target, target_key)
            if self._context.clusters.usable(name)
            and not self._members.pending(name)
            and self._members.get(name, target_key) is None
            and (key, name) not in self._members.flights
        ]
        if not back:
            return None
        reached = {name: self._members.reached(name) for name in back}
        answers = await asyncio.gather(*(self._live(name, key) for name in back))
        for name, (live, failed) in zip(back, answers, strict=True):
            if live is not None and managed(live):
                self._members.learn(name, live, reached[name])
            elif not failed:
                await left.settle(name, self._kind.target, target_key)
        return RETRY if any(failed for _, failed in answers) else None
