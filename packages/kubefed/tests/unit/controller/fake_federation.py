"""A whole federation in memory: a host, members, and the real controller over them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fake_server import FakeClient, Server
from kubefed.api import (
    CONFIG_MAP,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    NAMESPACE,
    PROPAGATED_VERSION,
    SECRET,
    FederatedType,
    TargetKind,
    TypeConfig,
)
from kubefed.controller import manager, member_cluster, openings
from kubefed.controller.client import Connection
from kubefed.controller.objects import Json

FEDERATION = "kube-federation-system"


async def until(check: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Wait until something is truthy, and give it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (value := check()):
        assert loop.time() < deadline, f"still {value!r} after {seconds} s"
        await asyncio.sleep(0.001)
    return value


async def calm(seconds: float = 0.02) -> None:
    """Let what is under way come to its end."""
    await asyncio.sleep(seconds)


class World:
    """A host and members in memory.

    Args:
        monkeypatch: puts the servers in the clients' place.
        members: the names of the members.
        config: fields of the KubeFedConfig's spec.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, members: Iterable[str], **config: Any
    ) -> None:
        self.host = Server("host")
        self.members = {name: Server(name) for name in members}
        self._task: asyncio.Task[int] | None = None
        urls = {f"https://{name}": server for name, server in self.members.items()}
        monkeypatch.setattr(FakeClient, "servers", {"https://host": self.host} | urls)
        monkeypatch.setattr(manager, "Client", FakeClient)
        monkeypatch.setattr(member_cluster, "Client", FakeClient)
        # There is nothing to open, and what `calm` lets pass isn't to be shared with it.
        monkeypatch.setattr(openings, "GAP", 0.0)
        monkeypatch.setattr(manager, "host_connection", lambda _: Connection("https://host"))
        spec = {"scope": "Cluster"} | config
        self.host.put(KUBEFED_CONFIG.path(FEDERATION, "kubefed"), {"spec": spec})
        for name in self.members:
            self.join(name)

    def join(self, name: str, **annotations: str) -> None:
        """Enter a member into the register."""
        self.enter(name, f"https://{name}", **annotations)

    def enter(self, name: str, endpoint: str, **annotations: str) -> None:
        """Enter a cluster into the register, which may be the host itself."""
        self.set_token(name, "token")
        spec = {"apiEndpoint": endpoint, "secretRef": {"name": f"{name}-token"}}
        meta = {"labels": {"region": name}, "annotations": annotations}
        self.host.put(KUBEFED_CLUSTER.path(FEDERATION, name), {"metadata": meta, "spec": spec})

    def set_token(self, name: str, token: str) -> None:
        """Give a cluster a token."""
        data = {"token": base64.b64encode(token.encode()).decode()}
        self.host.put(SECRET.path(FEDERATION, f"{name}-token"), {"data": data})

    def cluster(self, name: str) -> Json:
        """A KubeFedCluster."""
        return self.host.get(KUBEFED_CLUSTER.path(FEDERATION, name)) or {}

    def annotations(self, name: str) -> dict[str, str]:
        """A KubeFedCluster's annotations."""
        return self.cluster(name)["metadata"].get("annotations") or {}

    def annotate(self, name: str, annotation: str, value: str) -> None:
        """Annotate a KubeFedCluster, as an operator does."""
        entry = self.cluster(name)
        entry["metadata"]["annotations"] = self.annotations(name) | {annotation: value}
        self.host.put(KUBEFED_CLUSTER.path(FEDERATION, name), entry)

    def condition(self, name: str, kind: str) -> str:
        """The message of a KubeFedCluster's condition, "" if it isn't true."""
        for each in (self.cluster(name).get("status") or {}).get("conditions", []):
            if each["type"] == kind and each["status"] == "True":
                return str(each["message"])
        return ""

    def enable(self, *kinds: TargetKind, **spec: Any) -> None:
        """Federate kinds."""
        for kind in kinds:
            self.enable_type(FederatedType.of(kind), **spec)

    def enable_type(self, kind: FederatedType, **spec: Any) -> None:
        """Federate a kind under a certain federated one."""
        config = TypeConfig(kind).to_object(FEDERATION)
        config["spec"] |= spec
        self.host.put(FEDERATED_TYPE_CONFIG.path(FEDERATION, kind.name), config)

    def everywhere(self) -> Json:
        """A placement in all members."""
        return {"placement": {"clusters": [{"name": name} for name in self.members]}}

    async def start(self, **options: Any) -> World:
        """Start the controller, and wait until it has probed every member that answers."""
        self._task = asyncio.create_task(
            manager.serve(manager.Options(namespace=FEDERATION, **options))
        )
        await until(self._probed)
        return self

    def _probed(self) -> bool:
        return all(
            (self.host.get(KUBEFED_CLUSTER.path(FEDERATION, name)) or {}).get("status")
            for name in self.members
        )

    async def stop(self) -> None:
        """Stop the controller."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def running(self) -> bool:
        """Whether the controller's process would still be there."""
        return self._task is not None and not self._task.done()

    # -- objects

    def namespace(self, name: str, *where: str) -> None:
        """Make a namespace and federate it."""
        self.host.put(NAMESPACE.path(name=name), {"metadata": {"name": name}})
        self.federate(NAMESPACE, name, name, *(where or self.members))

    def federate(
        self, kind: TargetKind, namespace: str, name: str, *where: str, **spec: Any
    ) -> Json:
        """Make or change a federated object."""
        federated = FederatedType.of(kind).federated
        placement = {"clusters": [{"name": each} for each in where]}
        obj: Json = {
            "apiVersion": federated.api_version,
            "kind": federated.kind,
            "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
            "spec": {"placement": placement} | spec,
        }
        return self.host.put(federated.path(namespace or None, name), obj)

    def path(self, kind: TargetKind, namespace: str, name: str) -> str:
        """The path of a federated object."""
        return FederatedType.of(kind).federated.path(namespace or None, name)

    def federated(self, kind: TargetKind, namespace: str, name: str) -> Json | None:
        """The federated object as the host has it."""
        return self.host.get(self.path(kind, namespace, name))

    def states(self, kind: TargetKind, namespace: str, name: str) -> dict[str, str]:
        """What its status says of each cluster."""
        status = (self.federated(kind, namespace, name) or {}).get("status") or {}
        return {each["name"]: each.get("status", "") for each in status.get("clusters", [])}

    def reason(self, kind: TargetKind, namespace: str, name: str) -> str | None:
        """The reason of its Propagation condition; None while there is none."""
        status = (self.federated(kind, namespace, name) or {}).get("status") or {}
        for condition in status.get("conditions", []):
            return str(condition.get("reason", ""))
        return None

    def versions(self, namespace: str, record: str) -> dict[str, str]:
        """What a PropagatedVersion says of each cluster."""
        found = self.host.get(PROPAGATED_VERSION.path(namespace, record)) or {}
        entries = (found.get("status") or {}).get("clusterVersions") or []
        return {each["clusterName"]: each["version"] for each in entries}

    def events(self, reason: str) -> list[Json]:
        """The events of a reason."""
        return [obj for obj in self.host.all("events") if obj.get("reason") == reason]

    async def shop(self) -> World:
        """Start with the namespace "shop" in all members, and ConfigMaps federated."""
        self.enable(NAMESPACE, CONFIG_MAP)
        self.namespace("shop")
        await self.start()
        await until(
            lambda: all(each.get(NAMESPACE.path(name="shop")) for each in self.members.values())
        )
        await until(lambda: self.reason(NAMESPACE, "shop", "shop") == "")
        return self
