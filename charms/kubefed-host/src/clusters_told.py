"""What the host cluster says of the federation's clusters, as far as the status goes by it. Pure.

The charm's status and the service that has it follow (`clusters_watch`) both go by these, so they
cannot drift apart. No imports but typing and json: the service shall stay small.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

SILENT = "the host cluster does not answer"


def path(namespace: str) -> str:
    """Return where the clusters are in the host cluster's API."""
    return f"/apis/core.kubefed.io/v1beta1/namespaces/{namespace}/kubefedclusters"


def state_of(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Read a KubeFedCluster's conditions, as kubefed.membership does for the action."""
    state: dict[str, Any] = {"name": cluster["metadata"]["name"], "ready": None, "reason": ""}
    state["message"] = "not probed yet"
    for condition in (cluster.get("status") or {}).get("conditions") or []:
        true = condition["status"] == "True"
        if condition["status"] == "Unknown":
            state["ready"] = None
        elif condition["type"] == "Ready":
            state["ready"] = true
        elif true:
            state["ready"] = False  # Offline, ConfigMalformed
        else:
            continue
        state["message"] = condition.get("message") or ""
        state["reason"] = condition.get("reason") or ""
    return state


def trouble(*, ready: bool | None, reason: str) -> str:
    """Say what is wrong with a cluster, in a word: messages change with each probe."""
    return (reason or "not ready") if ready is False else ""


def said(troubles: Mapping[str, str]) -> str:
    """Write down what the status says of each joined cluster."""
    return json.dumps(troubles, sort_keys=True)


def seen(states: Iterable[Mapping[str, Any]], status: str | None) -> str:
    """Say the same by what the host cluster says now.

    Args:
        states: the clusters'.
        status: what the status says: which are joined, since others are none of its business.
    """
    try:
        before: dict[str, str] = json.loads(status or "")
    except ValueError:
        before = {}
    now = {
        each["name"]: trouble(ready=each["ready"], reason=each["reason"])
        for each in states
        if each["name"] in before
    }
    return said(before | now)
