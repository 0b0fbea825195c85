"""A federation whose API servers are all behind a fault proxy, and what must hold of it."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from controller_harness import (
    FEDERATED,
    FEDERATION,
    Controller,
    Federation,
    clusters,
    eventually,
    kubeconfig_of,
)
from fault_proxy import WRITES, FaultProxy, Request, Upstream
from kubefed.api import CONFIG_MAP, KUBEFED_CLUSTER, NAMESPACE, PROPAGATED_VERSION
from kubefed.controller import manager
from kubefed.controller.versions import record_name, version_of

MEMBERS = ("member1", "member2")
# What a controller writes though nothing is to be done: its lease and the clusters' health.
HEARTBEATS = re.compile(r"/leases|/kubefedclusters/[^/]+/status$")
# What is written behind the work's back, a few a second, and decides nothing.
EVENTS = re.compile(r"/events$")
_MANAGED = "kubefed.io/managed"


@dataclasses.dataclass
class Faulty:
    """The federation, the proxy before it, and a namespace of the test's."""

    federation: Federation
    proxy: FaultProxy
    kubeconfig: Path

    @contextlib.contextmanager
    def controller(self, identity: str = "faulty") -> Generator[Controller]:
        """Run a controller that reaches everything through the proxy only."""
        running = self.start(identity)
        try:
            eventually(lambda: self.federation.leader() == identity, 20)
            eventually(self.federation.all_ready, 20)
            yield running
        finally:
            running.stop()

    def start(self, identity: str) -> Controller:
        """Start a controller; with the identity of one that crashed it needs no wait to lead."""
        options = manager.Options(
            kubeconfig=self.kubeconfig, namespace=FEDERATION, identity=identity
        )
        running = Controller(options)
        running.start()
        return running

    def make_namespace(self, name: str) -> None:
        self.federation.make_namespace(name, *MEMBERS)
        for member in MEMBERS:
            api = self.federation.apis[member]
            eventually(lambda api=api: api.get(NAMESPACE.path(name=name)))
            foreign = {"metadata": {"name": "foreign"}, "data": {"not": "ours"}}
            api.call("POST", CONFIG_MAP.path(name), foreign)

    def post(self, namespace: str, name: str, value: str, *where: str) -> None:
        self.federation.post(
            "ConfigMap",
            namespace,
            name,
            template={"data": {"is": value}},
            placement=clusters(*(where or MEMBERS)),
        )

    def set(self, namespace: str, name: str, value: str) -> None:
        path = FEDERATED["configmap"].path(namespace, name)
        change = {"spec": {"template": {"data": {"is": value}}}}
        self.federation.host.merge(path, change)

    def place(self, namespace: str, name: str, *where: str) -> None:
        path = FEDERATED["configmap"].path(namespace, name)
        self.federation.host.merge(path, {"spec": {"placement": clusters(*where)}})

    def override(self, namespace: str, name: str, cluster: str, value: str) -> None:
        """Have one cluster get another value."""
        change = [{"path": "/data/is", "value": value}]
        path = FEDERATED["configmap"].path(namespace, name)
        overrides = [{"clusterName": cluster, "clusterOverrides": change}]
        self.federation.host.merge(path, {"spec": {"overrides": overrides}})

    def delete(self, namespace: str, name: str) -> None:
        self.federation.host.call("DELETE", FEDERATED["configmap"].path(namespace, name))

    def value(self, member: str, namespace: str, name: str) -> str | None:
        """What a member's ConfigMap says, None if it isn't there."""
        found = self.federation.apis[member].get(CONFIG_MAP.path(namespace, name))
        return (found.get("data") or {}).get("is") if found else None

    def held(self, namespace: str) -> dict[str, dict[str, str | None]]:
        """What each member holds of the federation's in a namespace."""
        return {
            member: {
                item["metadata"]["name"]: (item.get("data") or {}).get("is")
                for item in self._items(member, CONFIG_MAP.path(namespace))
                if (item["metadata"].get("labels") or {}).get(_MANAGED) == "true"
            }
            for member in MEMBERS
        }

    def wished(self, namespace: str) -> dict[str, dict[str, str | None]]:
        """What each member should hold by the host's word; what is being deleted, nowhere."""
        wish: dict[str, dict[str, str | None]] = {member: {} for member in MEMBERS}
        home = self.federation.host.get(FEDERATED["namespace"].path(namespace, namespace))
        if home is None or "deletionTimestamp" in home["metadata"]:
            return wish
        there = {each["name"] for each in home["spec"]["placement"]["clusters"]}
        for item in self._items("host", FEDERATED["configmap"].path(namespace)):
            if "deletionTimestamp" in item["metadata"]:
                continue
            own = {
                each["clusterName"]: each["clusterOverrides"][0]["value"]
                for each in item["spec"].get("overrides", [])
            }
            for cluster in there & {
                each["name"] for each in item["spec"]["placement"]["clusters"]
            }:
                value = own.get(cluster, item["spec"]["template"]["data"]["is"])
                wish[cluster][item["metadata"]["name"]] = value
        return wish

    def settled(self, namespace: str) -> bool:
        """Whether every member holds exactly what the host says, and the host knows it."""
        items = self._items("host", FEDERATED["configmap"].path(namespace))
        known = all(
            "deletionTimestamp" not in item["metadata"]
            and item.get("status", {}).get("conditions", [{}])[0].get("status") == "True"
            for item in items
        )
        return known and self.held(namespace) == self.wished(namespace)

    def booked(self, namespace: str) -> bool:
        """Whether the records say of every object exactly which version each member holds."""
        live = {
            (member, item["metadata"]["name"]): version_of(item)
            for member in MEMBERS
            for item in self._items(member, CONFIG_MAP.path(namespace))
        }
        records = {
            item["metadata"]["name"]: {
                each["clusterName"]: each["version"]
                for each in item.get("status", {}).get("clusterVersions", [])
            }
            for item in self._items("host", PROPAGATED_VERSION.path(namespace))
        }
        return all(
            records.get(record_name(CONFIG_MAP, name))
            == {
                each["name"]: live.get((each["name"], name))
                for each in item["spec"]["placement"]["clusters"]
                if (each["name"], name) in live
            }
            for item in self._items("host", FEDERATED["configmap"].path(namespace))
            if (name := item["metadata"]["name"]) and "deletionTimestamp" not in item["metadata"]
        )

    def foreign_untouched(self, namespace: str) -> bool:
        """Whether what nobody federated is as it was made, and still there."""
        return all(
            (item := self.federation.apis[member].get(CONFIG_MAP.path(namespace, "foreign")))
            and item["data"] == {"not": "ours"}
            and not item["metadata"].get("labels")
            for member in MEMBERS
        )

    def writes(self, moment: float, path: str = "") -> list[Request]:
        """The controller's writes since a moment, its heartbeats left out."""
        found = self.proxy.since(moment, verbs=WRITES, path=path)
        return [each for each in found if not HEARTBEATS.search(each.path)]

    def deleted(self, moment: float) -> list[str]:
        """The objects that the members' servers deleted for the controller since a moment."""
        return [
            f"{each.cluster} {each.path}"
            for each in self.writes(moment, r"^/api/v1/")
            if each.verb == "delete" and each.took_effect
        ]

    def acts(self, moment: float) -> list[Request]:
        """The controller's writes since a moment, its heartbeats and events left out."""
        return [each for each in self.writes(moment) if not EVENTS.search(each.path)]

    def quiet(self, seconds: float) -> None:
        """Check that nothing at all is written for a while, once the last events are."""
        eventually(lambda: not self.writes(time.monotonic() - 2.0), 60)
        began = time.monotonic()
        time.sleep(seconds)
        written = [f"{each.verb} {each.cluster} {each.path}" for each in self.writes(began)]
        assert not written, written

    def _items(self, cluster: str, path: str) -> list[Any]:
        return self.federation.apis[cluster].get(path)["items"]


@contextlib.contextmanager
def rerouted(federation: Federation, directory: Path) -> Generator[Faulty]:
    """Put a proxy between the controller and all API servers, the host's too."""
    planes = {name: api.plane for name, api in federation.apis.items()}
    upstreams = {
        name: Upstream(plane.endpoint, plane.ca_certificate) for name, plane in planes.items()
    }
    with FaultProxy(directory / "pki", upstreams) as proxy:
        config = json.loads(kubeconfig_of(federation.plane).read_text())
        config["clusters"][0]["cluster"] = {
            "server": proxy.endpoint("host"),
            "certificate-authority-data": _base64(proxy.ca),
        }
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        for name in planes:
            _route(federation, name, proxy.endpoint(name), proxy.ca)
        try:
            yield Faulty(federation, proxy, kubeconfig)
        finally:
            for name, plane in planes.items():
                _route(federation, name, plane.endpoint, plane.ca_certificate)


def _route(federation: Federation, name: str, endpoint: str, ca: str) -> None:
    spec = {"apiEndpoint": endpoint, "caBundle": _base64(ca)}
    federation.host.merge(KUBEFED_CLUSTER.path(FEDERATION, name), {"spec": spec})


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
