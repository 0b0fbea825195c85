"""The plain objects of the namespaces that are federated: one cache for each kind in each.

Not one for all namespaces: the controller has no right to look into those that didn't ask.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from kubefed.controller.informer import Informer
from kubefed.controller.listing import Source
from kubefed.controller.objects import Json, Key, mapping, metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kubefed.api.kinds import FederatedType, TargetKind
    from kubefed.controller.client import Client

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclasses.dataclass(slots=True)
class _Running:
    informer: Informer
    task: asyncio.Task[None]


class Sources:
    """The plain objects.

    Args:
        host: the host cluster.
        changed: called with the name of a type and the key of an object that changed.
        whole: called with the name of a type and a namespace of which all is known now.
    """

    def __init__(
        self,
        host: Client,
        changed: Callable[[str, Key], None],
        whole: Callable[[str, str], None],
    ) -> None:
        self._host = host
        self._changed = changed
        self._whole = whole
        self._running: dict[tuple[str, str], _Running] = {}

    def want(self, wanted: Iterable[tuple[FederatedType, str]], group: asyncio.TaskGroup) -> None:
        """Keep exactly these types in these namespaces known.

        Args:
            wanted: types and namespaces.
            group: where the caches run.
        """
        pairs = {(kind.name, namespace): kind for kind, namespace in wanted}
        for pair in self._running.keys() - pairs.keys():
            self._running.pop(pair).task.cancel()
        for (name, namespace), kind in pairs.items():
            if (name, namespace) not in self._running:
                informer = self._informer(kind, namespace)
                work = informer.run()
                try:
                    task = group.create_task(work)
                except RuntimeError:
                    # The group is ending, and takes in nobody any more.
                    work.close()
                    return
                self._running[name, namespace] = _Running(informer, task)

    def known(self, name: str, namespace: str) -> bool:
        """Whether all objects of a type in a namespace are known."""
        running = self._running.get((name, namespace))
        return running is not None and running.informer.whole

    def error(self, name: str, namespace: str) -> str:
        """Give why they aren't, "" if nothing is wrong."""
        running = self._running.get((name, namespace))
        return running.informer.error if running is not None else ""

    def get(self, name: str, key: Key) -> Json | None:
        """Give an object."""
        running = self._running.get((name, key[0]))
        return running.informer.store.get(key) if running is not None else None

    def items(self) -> list[tuple[str, Key]]:
        """Give the type and the key of every object."""
        return [
            (name, key)
            for (name, _), running in self._running.items()
            for key in running.informer.store
        ]

    def learn(self, name: str, obj: Json) -> None:
        """Take in what a write was answered."""
        running = self._running.get((name, str(metadata(obj).get("namespace") or "")))
        if running is not None:
            running.informer.learn(obj, own=False)

    def _informer(self, kind: FederatedType, namespace: str) -> Informer:
        def changed(key: Key, _before: Json | None, _after: Json | None) -> None:
            self._changed(kind.name, key)

        def whole() -> None:
            self._whole(kind.name, namespace)

        source = Source(kind.target, namespace, slim=_slimmer(kind.target))
        return Informer(self._host, source, changed, whole)


def _slimmer(target: TargetKind) -> Callable[[Json], Json]:
    def slim(obj: Json) -> Json:
        # kubectl's copy of the whole; the items of a list don't say their kind.
        mapping(metadata(obj).get("annotations")).pop(_LAST_APPLIED, None)
        return {"apiVersion": target.api_version, "kind": target.kind} | obj

    return slim
