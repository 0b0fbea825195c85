"""The node's own objects: what the scheduler and the node controller look at."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
import os
import platform

from federation_lab.cluster.kube import UNREACHABLE, ApiError, KubeApi, Object
from federation_lab.cluster.kubelet.status import timestamp

LEASE_SECONDS = 40
RENEW_SECONDS = 5.0
STATUS_SECONDS = 60.0
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
PORT = 10250

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class NodeFacts:
    """What is said about the node.

    Attributes:
        name: its name.
        address: where it is reached.
        pod_cidr: its pods' addresses.
        labels: besides the ones that every node has.
        taints: as in a Node's spec.
        version: the kubelet's, shown by `kubectl get nodes`.
        pods: how many it takes.
    """

    name: str
    address: str
    pod_cidr: str
    labels: dict[str, str]
    taints: tuple[tuple[str, str, str], ...] = ()
    version: str = "v0.0.0"
    pods: int = 110


def node_object(facts: NodeFacts) -> Object:
    """Give the Node to register."""
    machine = "amd64" if platform.machine() == "x86_64" else "arm64"
    taints = [
        {"key": key, "value": value, "effect": effect} for key, value, effect in facts.taints
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": facts.name,
            "labels": {
                "kubernetes.io/hostname": facts.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": machine,
                **facts.labels,
            },
        },
        "spec": {"podCIDR": facts.pod_cidr, "podCIDRs": [facts.pod_cidr], "taints": taints},
    }


def node_status(facts: NodeFacts, known: Object, now: datetime.datetime) -> Object:
    """Give the Node's status; a condition's last change is kept while it says the same."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    amounts = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory}Ki",
        "pods": str(facts.pods),
        "ephemeral-storage": "10Gi",
    }
    before: dict[str, Object] = {item["type"]: item for item in known.get("conditions") or []}
    conditions: list[Object] = []
    for kind, value, reason, message in (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "memory is not watched here"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "the disk is not watched here"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "processes are not counted here"),
        ("Ready", "True", "KubeletReady", "the lab's kubelet is posting ready status"),
    ):
        past = before.get(kind, {})
        changed = past.get("status") != value
        conditions.append(
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": timestamp(now),
                "lastTransitionTime": timestamp(now) if changed else past["lastTransitionTime"],
            }
        )
    return {
        "capacity": amounts,
        "allocatable": amounts,
        "addresses": [
            {"type": "InternalIP", "address": facts.address},
            {"type": "Hostname", "address": facts.name},
        ],
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
        "nodeInfo": {
            "architecture": "amd64" if platform.machine() == "x86_64" else "arm64",
            "bootID": "",
            "containerRuntimeVersion": "lab://1",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": facts.version,
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": "federation lab (pods are local processes)",
            "systemUUID": "",
        },
    }


async def keep_node(api: KubeApi, facts: NodeFacts) -> None:
    """Register the node and keep saying that it lives, for ever."""
    loop = asyncio.get_running_loop()
    due = 0.0
    while True:
        try:
            if loop.time() >= due:
                await _write_node(api, facts)
                due = loop.time() + STATUS_SECONDS
            await _renew(api, facts.name)
        except (ApiError, *UNREACHABLE) as error:
            logger.info("cannot renew the node: %s", error or type(error).__name__)
            due = 0.0
            await asyncio.sleep(1)
            continue
        await asyncio.sleep(RENEW_SECONDS)


async def _write_node(api: KubeApi, facts: NodeFacts) -> None:
    path = f"/api/v1/nodes/{facts.name}"
    wanted = node_object(facts)
    known = await api.get(path)
    if known is None:
        known = await api.request("POST", "/api/v1/nodes", body=wanted)
    else:
        labels = known["metadata"].get("labels") or {}
        if not wanted["metadata"]["labels"].items() <= labels.items():
            known = await api.patch(path, {"metadata": {"labels": wanted["metadata"]["labels"]}})
    now = datetime.datetime.now(datetime.UTC)
    status = node_status(facts, known.get("status") or {}, now)
    await api.patch(f"{path}/status", {"status": status})


async def _renew(api: KubeApi, name: str) -> None:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = {
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now,
        },
    }
    try:
        await api.patch(f"{LEASES}/{name}", lease)
    except ApiError as error:
        if error.status != 404:
            raise
        await api.request("POST", LEASES, body={"apiVersion": "coordination.k8s.io/v1", **lease})
