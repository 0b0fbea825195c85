"""What a cluster would lose by joining: objects of a federation that the host knows nothing of.

From a cluster's entry on, the controller lets go of whatever has the federation's label there and
no federated object in the host (`kubefed.controller.removal`): it runs on, but without updates
and without DNS names. A host in the place of a lost one has no federated object at all, so that
an entry would be enough to end the federation in a member.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from kubernetes.client import ApiClient

from kubefed import errors
from kubefed.api import (
    FEDERATED_TYPE_CONFIG,
    MANAGED,
    MANAGED_LABEL,
    FederatedType,
    Scope,
    TargetKind,
    TypeConfig,
)
from kubefed.clients import Resources
from kubefed.dryrun import label

# So many of each kind are looked at: of objects that the host has, one of the first is known.
_SAMPLE = 20
# The bound of looking at all kinds, however the member trickles.
_SECONDS = 10.0
Named = tuple[str | None, str]
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def refuse_orphans(
    host: ApiClient,
    member: ApiClient,
    *,
    cluster: str,
    namespace: str,
    scope: str = Scope.CLUSTER,
) -> None:
    """Refuse a cluster that would lose what it holds by joining.

    Args:
        host: the host cluster.
        member: the cluster that joins, by any account that may read what is federated.
        cluster: its name.
        namespace: the federation's namespace.
        scope: the federation's scope.

    Raises:
        errors.HoldsOrphans: it holds objects of a federation, of which the host knows none.
        errors.RetryLater: it does not say in time what it holds.
    """
    found = held_orphans(host, member, namespace=namespace, scope=scope)
    if found:
        raise errors.HoldsOrphans(cluster, found)


def held_orphans(
    host: ApiClient, member: ApiClient, *, namespace: str, scope: str = Scope.CLUSTER
) -> tuple[str, ...]:
    """Name objects of a federation in a cluster; none if the host knows one of them.

    One that is known shows that the two belong together: what else is there was deleted in the
    host while the cluster was away, and is let go as ever. A namespace shows it only where
    nothing else is held, since two federations may well have one of the same name.
    """
    registry, cluster = Resources(host), Resources(member, timeout_s=_SECONDS / 2)
    where = namespace if scope == Scope.NAMESPACED else None
    namespaces: list[str] = []
    found: list[str] = []
    together = False
    for kinds in _timely(_carried(registry, namespace), member):
        # What the account may not read, the controller can't let go of either.
        try:
            held = _held(cluster, kinds, where, most=_SAMPLE)
            known = {each for each in held if _known(registry, kinds, *each)}
        except (errors.Forbidden, errors.NotFound):
            continue
        if known and not kinds.is_namespace:
            return ()
        together = together or bool(known)
        named = [
            label(kinds.target, name, place) for place, name in held if (place, name) not in known
        ]
        (namespaces if kinds.is_namespace else found).extend(named)
    return () if together and not found else (*namespaces, *found)


def let_go(
    host: ApiClient, member: ApiClient, *, namespace: str, scope: str = Scope.CLUSTER
) -> tuple[str, ...]:
    """Name all objects of a federation in a cluster that the host knows nothing of.

    Raises:
        errors.RetryLater: it does not say in time what it holds.
    """
    registry, cluster = Resources(host), Resources(member, timeout_s=_SECONDS / 2)
    where = namespace if scope == Scope.NAMESPACED else None
    found: list[str] = []
    for kinds in _timely(_carried(registry, namespace), member):
        try:
            held = _held(cluster, kinds, where)
        except (errors.Forbidden, errors.NotFound):
            continue
        known = set(_named(registry, kinds.federated, where, {})) if held else set[Named]()
        found += [
            label(kinds.target, name, place)
            for place, name in held
            if (name if kinds.is_namespace else place, name) not in known
        ]
    return tuple(found)


def let_go_text(objects: Sequence[str]) -> str:
    """Say what a cluster loses by joining.

    >>> let_go_text(("Namespace shop",))
    '1 object of a federation that the host knows nothing of (Namespace shop)'
    """
    things = "1 object" if len(objects) == 1 else f"{len(objects)} objects"
    named = errors.some_of(objects)
    return f"{things} of a federation that the host knows nothing of ({named})"


def _timely(kinds: Iterable[FederatedType], member: ApiClient) -> Iterator[FederatedType]:
    """Give the kinds to look at, for as long as looking may take; raises errors.RetryLater."""
    deadline = time.monotonic() + _SECONDS
    for each in kinds:
        if time.monotonic() > deadline:
            raise errors.RetryLater(
                f"{member.configuration.host} does not say within {_SECONDS:.0f} s what it holds "
                "of a federation; try again"
            )
        yield each


def _carried(host: Resources, namespace: str) -> Iterable[FederatedType]:
    """Give the kinds that are carried, Namespace first, since all else depends on it."""
    configs = map(TypeConfig.from_object, host.list(FEDERATED_TYPE_CONFIG, namespace))
    kinds = [each.type for each in configs if each.propagation]
    return sorted(kinds, key=lambda each: not each.is_namespace)


def _held(
    member: Resources, kinds: FederatedType, namespace: str | None, *, most: int = 0
) -> list[Named]:
    target = kinds.target
    query = {"labelSelector": f"{MANAGED_LABEL}={MANAGED}"}
    query |= {"limit": str(most)} if most else {}
    return _named(member, target, namespace if target.namespaced else None, query)


def _named(
    cluster: Resources, kind: TargetKind, namespace: str | None, query: dict[str, str]
) -> list[Named]:
    """Give the names of a kind's objects, without the objects; all at once."""
    page = cluster.request(
        "GET",
        kind.path(namespace),
        query=query,
        accept=_METADATA,
        what=f"list {kind.full_name}",
    )
    named = [item["metadata"] for item in page.get("items") or []]
    return [(each.get("namespace"), str(each["name"])) for each in named]


def _known(host: Resources, kinds: FederatedType, place: str | None, name: str) -> bool:
    home = name if kinds.is_namespace else place
    return host.get(kinds.federated, name, home) is not None
