"""Carries out what was planned for one federated object, in all members at once."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from kubefed.api.kinds import NAMESPACE
from kubefed.api.names import PropagationStatus
from kubefed.controller.client import ApiError
from kubefed.controller.dispatch import Dispatcher, Result
from kubefed.controller.objects import Key, uid
from kubefed.controller.plan import Member, Operation, Plan, Subject, Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kubefed.api.kinds import FederatedType
    from kubefed.controller.clusters import MemberCluster
    from kubefed.controller.context import Context
    from kubefed.controller.members import Members

log = logging.getLogger(__name__)


class Batches:
    """The writes of one type to the members.

    Args:
        context: what all controllers share.
        kind: the type.
        members: its objects in the members.
        again: has a federated object looked at again.
    """

    def __init__(
        self,
        context: Context,
        kind: FederatedType,
        members: Members,
        again: Callable[[Key], None],
    ) -> None:
        self._context = context
        self._kind = kind
        self._members = members
        self._again = again

    def target_key(self, key: Key) -> Key:
        """Give the key of the object that a federated object stands for."""
        if self._kind.is_namespace:
            return ("", key[1])
        return key if self._kind.target.namespaced else ("", key[1])

    def known(self, key: Key) -> list[Member]:
        """Give what is known of an object in every registered cluster."""
        target_key = self.target_key(key)
        return [
            Member(
                name,
                # A write under way decides first; then the object is looked at again.
                ready=self._context.clusters.usable(name)
                and (key, name) not in self._members.flights,
                known=self._members.known(name),
                pending=self._members.pending(name),
                current=self._members.get(name, target_key),
                home=self._context.home.is_home(name),
            )
            for name in sorted(self._context.clusters.members)
        ]

    def late(self, key: Key, hashes: tuple[str, str]) -> dict[str, str]:
        """Take the versions of writes that came late, as far as they are of this template."""
        found: dict[str, str] = {}
        for name in self._context.clusters.members:
            version, of = self._members.late.pop((key, name), ("", ("", "")))
            if version and of == hashes:
                found[name] = version
        return found

    async def carry_out(
        self,
        key: Key,
        subject: Subject,
        batch: Plan,
        hashes: tuple[str, str],
        options: str = "",
    ) -> Mapping[str, Result]:
        """Do what was planned; give what was answered soon (see `Members.fly`)."""
        for name, error in batch.errors.items():
            self._context.events.warning(subject.federated, batch.statuses[name].value, error)
            log.debug("%s %s in %s: %s", self._kind.name, key, name, error)
        if not batch.operations:
            return {}
        operations = batch.operations
        if self._kind.is_namespace:
            operations = await self._spare_host(key, operations)
        dispatcher = Dispatcher(subject, adopt=self._context.config.adopt, delete_options=options)

        async def start(member: MemberCluster, operation: Operation) -> Result:
            timer = self._context.metrics.dispatch_seconds.labels(operation.verb.lower())
            with timer.time():
                result = await dispatcher.carry_out(member.client, operation)
            self._tell(subject, operation, result)
            return result

        return await self._members.fly(
            key,
            self.target_key(key),
            operations,
            start,
            hashes,
            lambda: self._again(key),
        )

    async def _spare_host(self, key: Key, operations: list[Operation]) -> list[Operation]:
        """Never delete the host's own Namespace, whatever a cache may say of it.

        Raises:
            ApiError: the host doesn't say which Namespace is its own.
        """
        if not any(operation.verb is Verb.DELETE for operation in operations):
            return operations
        try:
            path = NAMESPACE.path(name=key[1])
            own = uid(await self._context.host.request("GET", path))
        except ApiError as error:
            if not error.not_found:
                raise
            return operations
        return [
            dataclasses.replace(operation, verb=Verb.RELEASE)
            if operation.verb is Verb.DELETE and uid(operation.body) == own
            else operation
            for operation in operations
        ]

    def _tell(self, subject: Subject, operation: Operation, result: Result) -> None:
        if not uid(subject.federated):
            return
        what = f"{operation.verb}InCluster"
        target = self._kind.target.kind
        if result.error:
            text = f"{target} in {operation.cluster}: {result.error}"
            self._context.events.warning(subject.federated, f"{what}Failed", text)
            if result.status is operation.verb.timed_out:
                self._context.events.warning(subject.federated, "OperationTimeoutError", text)
        else:
            text = f"{target} in {operation.cluster}"
            self._context.events.normal(subject.federated, what, text)

    def statuses(
        self,
        key: Key,
        placed: frozenset[str],
        batch: Plan,
        results: Mapping[str, Result],
    ) -> dict[str, PropagationStatus]:
        """Give how an object stands in each cluster that it concerns."""
        statuses = {name: self._precise(name, of) for name, of in batch.statuses.items()}
        for operation in batch.operations:
            result = results.get(operation.cluster)
            if result is None:
                statuses[operation.cluster] = operation.verb.timed_out
            elif result.status is not None:
                statuses[operation.cluster] = result.status
        for (of, cluster), flight in self._members.flights.items() if self._any_slow() else ():
            if of == key and (cluster in placed or flight.verb is not Verb.CREATE):
                statuses[cluster] = flight.verb.timed_out
        return statuses

    def _precise(self, cluster: str, state: PropagationStatus) -> PropagationStatus:
        """Tell a cluster that can't be asked from one that doesn't answer."""
        member = self._context.clusters.members.get(cluster)
        malformed = member is not None and bool(member.malformed) and member.track.ready
        if malformed and state is PropagationStatus.CLUSTER_NOT_READY:
            return PropagationStatus.CLIENT_RETRIEVAL_FAILED
        return state

    def tell(self, subject: Subject, statuses: Mapping[str, PropagationStatus]) -> None:
        """Write events of what keeps an object out of clusters, where no write would say it."""
        reasons = {
            PropagationStatus.CLUSTER_NOT_READY: "is not ready",
            PropagationStatus.CLIENT_RETRIEVAL_FAILED: "can't be asked",
        }
        for name, state in statuses.items():
            if state is PropagationStatus.CACHED_RETRIEVAL_FAILED:
                why = f"{name}: {self._members.error(name) or 'its objects are not known yet'}"
            elif state in reasons:
                why = f"{name} {reasons[state]}"
            else:
                continue
            self._context.events.warning(subject.federated, state.value, why)

    def _any_slow(self) -> bool:
        return any(member.lagging for member in self._context.clusters.members.values())
