"""The operator's word that a member is gone for good, and its recall."""

from __future__ import annotations

import dataclasses
from typing import Any

from kubernetes.client import ApiClient

from kubefed import errors
from kubefed.api import (
    FORGET_ANNOTATION,
    KUBEFED_CLUSTER,
    ClusterCondition,
    Manifest,
    given_up,
)
from kubefed.clients import Resources
from kubefed.membership.host import placed_objects


@dataclasses.dataclass(frozen=True)
class GivenUp:
    """How it stands with deletions and a member.

    Attributes:
        changed: whether the word is new.
        waiting: objects that are being deleted and were placed there.
        left_behind: what deletions left there that didn't wait.
    """

    changed: bool
    waiting: tuple[str, ...]
    left_behind: tuple[str, ...]


def forget(
    api: ApiClient, *, cluster: str, namespace: str, force: bool = False, dry_run: bool = False
) -> GivenUp:
    """Say that no deletion is to wait for a member; safe to repeat.

    Args:
        api: the host cluster.
        cluster: the member's name.
        namespace: the federation's namespace.
        force: say so though it answers, or nobody knows whether it does.
        dry_run: let the API server check it, and change nothing.

    Raises:
        errors.NotFound: there is no such member.
        errors.AskOperator: it may come back.
    """
    host = Resources(api, dry_run=dry_run)
    entry = _entry(host, cluster, namespace)
    if not force and (why := alive(entry)):
        raise errors.AskOperator(
            f"{cluster} is not given up: {why}; deletions there would be left undone. Use kubefed "
            "unjoin for a cluster that leaves, or --force"
        )
    return _say(host, entry, wanted=True)


def remember(api: ApiClient, *, cluster: str, namespace: str, dry_run: bool = False) -> GivenUp:
    """Take that back: deletions wait for the member again; safe to repeat.

    Args:
        api: the host cluster.
        cluster: the member's name.
        namespace: the federation's namespace.
        dry_run: let the API server check it, and change nothing.

    Raises:
        errors.NotFound: there is no such member.
    """
    host = Resources(api, dry_run=dry_run)
    return _say(host, _entry(host, cluster, namespace), wanted=False)


def alive(entry: Manifest) -> str:
    """Say why a member doesn't count as gone, "" if it does (pure).

    Args:
        entry: its KubeFedCluster.
    """
    conditions: list[dict[str, Any]] = (entry.get("status") or {}).get("conditions") or []
    found = {each["type"]: each for each in conditions}
    for gone in (ClusterCondition.OFFLINE, ClusterCondition.CONFIG_MALFORMED):
        if (found.get(gone) or {}).get("status") == "True":
            return ""
    ready = found.get(ClusterCondition.READY)
    if ready is None or ready.get("status") not in ("True", "False"):
        return "nobody knows whether it answers, since no controller has said so"
    when, words = ready.get("lastProbeTime") or "an unknown time", ready.get("message") or ""
    return f"it answered at {when} ({words})"


def _entry(host: Resources, cluster: str, namespace: str) -> Manifest:
    entry = host.get(KUBEFED_CLUSTER, cluster, namespace)
    if entry is None:
        raise errors.NotFound(f"there is no member {cluster}; see kubefed status")
    return entry


def _say(host: Resources, entry: Manifest, *, wanted: bool) -> GivenUp:
    name, namespace = entry["metadata"]["name"], entry["metadata"]["namespace"]
    waiting = placed_objects(host, name, namespace, deleted=True)
    changed = given_up.forgotten(entry) != wanted
    if changed:
        change = {"metadata": {"annotations": {FORGET_ANNOTATION: "true" if wanted else None}}}
        host.patch(KUBEFED_CLUSTER, name, namespace, change)
    return GivenUp(changed, tuple(waiting), tuple(sorted(given_up.left_behind(entry))))
