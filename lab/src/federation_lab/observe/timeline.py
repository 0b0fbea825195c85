"""What a drill's samples say (pure): times are seconds since the loss, negative before it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Request:
    """One request of a client: when it began, and whether it (or its one retry) was answered."""

    at: float
    ok: bool


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer of a region's name server; None when none came."""

    at: float
    addresses: tuple[str, ...] | None


def dns_out(answers: Sequence[Answer], lost: frozenset[str]) -> float | None:
    """Say when a server stopped giving a lost address, for good.

    Returns:
        The time of the first answer after the last that held a lost address; None when the
        server's last answer still held one, or no answer was empty of them.
    """
    out: float | None = None
    for answer in answers:
        if answer.at < 0 or answer.addresses is None:
            continue
        if lost & set(answer.addresses):
            out = None
        elif out is None and answer.addresses:
            out = answer.at
    return out


def empty_answers(answers: Sequence[Answer]) -> int:
    """Count the answers that came and held no address: there must be none."""
    return sum(answer.addresses == () for answer in answers)


def counted(requests: Sequence[Request], after: float | None) -> dict[str, int | None]:
    """Count the requests sent, failed, and failed after every server had changed.

    Args:
        requests: every client's.
        after: when the last server had changed; None when one never did, and then what failed
            after it is unknown.
    """
    failed = [request for request in requests if not request.ok]
    late = None if after is None else sum(request.at >= after for request in failed)
    return {"sent": len(requests), "failed": len(failed), "failed_after_dns": late}


def ready_replicas(deployments: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, int]:
    """Sum each deployment's ready replicas over regions, by ``namespace/name``."""
    total: dict[str, int] = {}
    for listing in deployments.values():
        for deployment in listing:
            meta = deployment["metadata"]
            key = f"{meta['namespace']}/{meta['name']}"
            ready = deployment.get("status", {}).get("readyReplicas", 0)
            total[key] = total.get(key, 0) + ready
    return total


def all_back(ready: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    """Say whether every deployment with a wanted total has it."""
    return all(ready.get(key, 0) >= count for key, count in wanted.items())


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Say in words how one snapshot differs from another; empty when they are the same."""
    found: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old != new:
            found.append(f"{key}: was {old}, is {new}")
    return found
