"""Lets the planned writes go whose time has come, and says who makes us write again and again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from kubefed.controller.client import USER_AGENT, ApiError
from kubefed.controller.informer import FAILURES
from kubefed.controller.objects import Json, Key, generation, mapping, metadata, sequence, uid
from kubefed.controller.queue import WorkQueue
from kubefed.controller.turns import Brake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubefed.api.kinds import FederatedType
    from kubefed.controller.context import Context
    from kubefed.controller.dispatch import Result
    from kubefed.controller.informer import Informer
    from kubefed.controller.plan import Plan

log = logging.getLogger(__name__)


class Admission:
    """Holds back what must wait of one type's writes to the members.

    Args:
        context: what all controllers share.
        kind: the type.
        cache: the federated objects.
    """

    def __init__(self, context: Context, kind: FederatedType, cache: Informer) -> None:
        self._context = context
        self._kind = kind
        self._cache = cache
        self._brake = Brake()
        self._fought: WorkQueue[tuple[Key, Key, str]] = WorkQueue(
            f"{kind.name} fights", self._say, workers=1
        )

    async def run(self) -> None:
        """Say who fights until cancelled."""
        await self._fought.run()

    def hold_back(self, key: Key, target: Key, federated: Json, batch: Plan) -> float:
        """Take out of a plan what must wait; give for how many seconds, 0 for nothing.

        Args:
            key: the federated object.
            target: the object in the members.
            federated: the object as it is to be.
            batch: the plan.
        """
        now = asyncio.get_running_loop().time()
        wish = _wish(federated)
        waits: list[float] = []
        going = []
        for operation in batch.operations:
            what = (key, operation.cluster)
            wait = self._brake.wait(what, wish, now)
            if wait:
                self._context.metrics.held_back.inc()
                if self._brake.tell(what, now):
                    self._fought.add((key, target, operation.cluster))
            else:
                wait = self._context.turn(operation.cluster, (self._kind.name, key))
            if wait:
                waits.append(wait)
            else:
                going.append(operation)
        batch.operations = going
        return min(waits, default=0.0)

    def done(self, key: Key, federated: Json, results: Mapping[str, Result]) -> None:
        """Count the writes that were made."""
        now = asyncio.get_running_loop().time()
        for cluster, result in results.items():
            wish = _wish(federated)
            self._brake.wrote((key, cluster), wish, now, took=not result.error)

    async def _say(self, item: tuple[Key, Key, str]) -> None:
        key, (namespace, name), cluster = item
        federated = self._cache.store.get(key)
        member = self._context.clusters.members.get(cluster)
        if federated is None or member is None:
            return
        target = self._kind.target
        who, does = "somebody", "changes"
        try:
            # The cache has no managedFields, which say it.
            path = target.path(namespace or None, name)
            live = await member.client.request("GET", path, timeout_s=5)
            who = last_writer(live) or "a program that leaves no trace, or is called kubefed too,"
        except ApiError as error:
            if error.not_found:
                does = "deletes"
        except FAILURES as error:
            log.debug("%s %s in %s: %s", target.kind, key, cluster, error)
        text = (
            f"{target.kind} in {cluster}: {who} {does} it again and again; "
            "it is put right about once a second"
        )
        log.warning("%s/%s: %s", *key, text)
        self._context.events.warning(federated, "ContestedInCluster", text)


def last_writer(obj: Json) -> str:
    """Give who changed an object last, but for us, as its managedFields have it.

    >>> fields = [{"manager": "kubefed", "time": "2026-01-02T00:00:00Z"}]
    >>> fields += [{"manager": "kubectl-edit", "time": "2026-01-01T00:00:00Z"}]
    >>> last_writer({"metadata": {"managedFields": fields}})
    'kubectl-edit'
    """
    others = [
        (str(entry.get("time") or ""), str(entry["manager"]))
        for entry in map(mapping, sequence(metadata(obj).get("managedFields")))
        if entry.get("manager") and entry["manager"] != USER_AGENT
    ]
    return max(others, default=("", ""))[1]


def _wish(federated: Json) -> tuple[str, int]:
    return uid(federated), generation(federated)
