"""How many replicas each cluster gets: ReplicaSchedulingPreference, to the replica.

The rules are those that KubeFed's user guide gives ("Distribute total replicas ...") and that its
planner's published test cases fix: minimum first, then weights rounded up in a fixed order, within
maximum and capacity. The order of equal weights is that of a hash (FNV-1, 32 bits), so that
different objects favour different clusters.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from kubefed.controller.objects import Json, mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ANY = "*"
_FNV_OFFSET = 2166136261
_FNV_PRIME = 16777619


@dataclasses.dataclass(frozen=True, slots=True)
class Preference:
    """What one cluster may have.

    Attributes:
        minimum: replicas that it gets before any weight counts.
        maximum: the most that it gets, None for no limit.
        weight: its share of what is left.
    """

    minimum: int = 0
    maximum: int | None = None
    weight: int = 0

    @classmethod
    def parse(cls, value: object) -> Preference:
        """Read one entry of `spec.clusters`."""
        entry = mapping(value)
        maximum = entry.get("maxReplicas")
        return cls(
            int(entry.get("minReplicas") or 0),
            None if maximum is None else int(maximum),
            int(entry.get("weight") or 0),
        )


@dataclasses.dataclass(slots=True)
class _Share:
    cluster: str
    preference: Preference
    capacity: int | None
    planned: int = 0
    preallocated: int = 0


def preferences(clusters: Json) -> dict[str, Preference]:
    """Read `spec.clusters`; an empty one means all clusters alike."""
    parsed = {name: Preference.parse(value) for name, value in clusters.items()}
    return parsed or {ANY: Preference(weight=1)}


def plan(
    total: int,
    wanted: Mapping[str, Preference],
    clusters: Iterable[str],
    *,
    key: str,
    rebalance: bool = False,
    current: Mapping[str, int] | None = None,
    capacity: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Give each cluster's replicas.

    Args:
        total: replicas in all clusters together.
        wanted: cluster, or `*` for all that aren't named, to what it may have.
        clusters: the clusters that can be given any.
        key: namespace and name of the object, as in "shop/web"; decides between equals.
        rebalance: whether running replicas may be moved to meet the weights.
        current: running replicas by cluster.
        capacity: the most that a cluster has room for, where that is known.

    Returns:
        Every one of `clusters`, with 0 where it gets none. Replicas that didn't fit anywhere
        stay with the cluster that had no room for them.
    """
    names = sorted(set(clusters))
    room = capacity or {}
    shares = [
        _Share(name, wanted.get(name) or wanted[ANY], room.get(name))
        for name in names
        if name in wanted or ANY in wanted
    ]
    shares.sort(key=lambda share: (-share.preference.weight, fnv1(share.cluster + key)))
    remaining = _give_minimum(shares, total)
    if not rebalance:
        remaining = _keep_running(shares, remaining, current or {})
    overflow: dict[str, int] = {}
    remaining = _by_weight(shares, remaining, overflow)
    if not rebalance:
        # Only what found no place at all waits where there was no room.
        overflow = {name: min(count, remaining) for name, count in overflow.items()}
    result = dict.fromkeys(names, 0)
    for share in shares:
        result[share.cluster] = share.planned + overflow.get(share.cluster, 0)
    return result


def fnv1(text: str) -> int:
    """Give the 32-bit FNV-1 hash (multiply, then xor; not FNV-1a).

    >>> hex(fnv1("")), hex(fnv1("a"))
    ('0x811c9dc5', '0x50c5d7e')
    """
    value = _FNV_OFFSET
    for byte in text.encode():
        value = (value * _FNV_PRIME & 0xFFFFFFFF) ^ byte
    return value


def _give_minimum(shares: list[_Share], remaining: int) -> int:
    for share in shares:
        share.planned = _least(share.preference.minimum, remaining, share.capacity)
        remaining -= share.planned
    return remaining


def _keep_running(shares: list[_Share], remaining: int, current: Mapping[str, int]) -> int:
    for share in shares:
        running = _least(current.get(share.cluster, 0), share.preference.maximum, share.capacity)
        share.preallocated = max(0, min(running - share.planned, remaining))
        share.planned += share.preallocated
        remaining -= share.preallocated
    return remaining


def _by_weight(shares: list[_Share], remaining: int, overflow: dict[str, int]) -> int:
    still_open = list(shares)
    changed = True
    while changed and remaining > 0:
        changed = False
        weights = sum(share.preference.weight for share in still_open)
        if weights <= 0:
            break
        round_total = remaining
        following: list[_Share] = []
        for share in still_open:
            due = min(-(-round_total * share.preference.weight // weights), remaining)
            # What it was let keep counts towards what is due to it.
            kept = min(due, share.preallocated)
            share.preallocated -= kept
            before = share.planned
            full = _raise(share, before + due - kept, overflow)
            remaining -= share.planned - before
            changed = changed or kept > 0 or share.planned > before
            if not full:
                following.append(share)
        still_open = following
    return remaining


def _raise(share: _Share, goal: int, overflow: dict[str, int]) -> bool:
    """Plan `goal` replicas as far as they fit; say whether the cluster is full now."""
    full = False
    maximum = share.preference.maximum
    if maximum is not None and goal > maximum:
        goal, full = maximum, True
    if share.capacity is not None and goal > share.capacity:
        overflow[share.cluster] = goal - share.capacity
        goal, full = share.capacity, True
    share.planned = goal
    return full


def _least(first: int, *others: int | None) -> int:
    return min([first, *(other for other in others if other is not None)])
