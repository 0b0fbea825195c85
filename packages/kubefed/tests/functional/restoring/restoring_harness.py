"""A federation that is filled, backed up, lost and restored."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
from api_harness import merged_kubeconfig
from controller_harness import Api, Controller, Federation, clusters, eventually, federated
from federation_lab.cluster.loopback import Programs
from kubefed.api import (
    CONFIG_MAP,
    DEPLOYMENT,
    MANAGED_LABEL,
    NAMESPACE,
    REPLICA_SCHEDULING_PREFERENCE,
    SECRET,
    SERVICE,
    FederatedType,
    TargetKind,
)
from kubefed.controller import manager
from kubefed.controller.transparent import marks

POLICY = TargetKind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
KINDS = (NAMESPACE, CONFIG_MAP, SECRET, SERVICE, DEPLOYMENT, POLICY)
# One that asks to be federated as it is, and others with federated objects.
SHOP, PLACES = "shop", ("north", "south")
LABELS = {"app": "web"}
POD = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
DEPLOYED = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": POD}
SERVED = {"selector": LABELS, "type": "NodePort", "ports": [{"name": "http", "port": 80}]}
_REQUESTS = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.M)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})


@dataclasses.dataclass
class Restoring:
    """The federation, its machines, and where its backups are."""

    federation: Federation
    machines: Mapping[str, Programs]
    directory: Path

    @property
    def host(self) -> Api:
        return self.federation.host

    @property
    def others(self) -> dict[str, Api]:
        """The members but for the host."""
        return {name: api for name, api in self.federation.apis.items() if name != "host"}

    @property
    def key(self) -> Path:
        return self.directory / "key"

    @property
    def file(self) -> Path:
        return self.directory / "federation.backup"

    @property
    def everywhere(self) -> Path:
        """A kubeconfig with a context for each cluster, the host's current."""
        path = self.directory / "all.kubeconfig"
        planes = [api.plane for api in self.federation.apis.values()]
        path.write_text(json.dumps(merged_kubeconfig(planes, "host")))
        return path

    def kubefed(
        self, *words: str, on: str = "host", status: int = 0, config: Path | None = None
    ) -> Any:
        """Run the command as an administrator does; give its answer, or what it complains of."""
        plane = self.federation.apis[on].plane
        config = config or plane.directory / "admin.kubeconfig"
        command = [sys.executable, "-m", "kubefed.cli"]
        done = subprocess.run(
            [*command, *words, "--format", "json", f"--kubeconfig={config}"],
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == status, done.stderr
        return done.stderr if status else json.loads(done.stdout)

    @contextlib.contextmanager
    def controller(self, on: str = "host") -> Generator[Controller]:
        """A controller that may do everything, so that no lack of a right holds it back."""
        plane = self.federation.apis[on].plane
        running = Controller(manager.Options(kubeconfig=plane.directory / "admin.kubeconfig"))
        running.start()
        try:
            yield running
        finally:
            running.stop()

    def fill(self, maps: int) -> None:
        """Make federated objects of all sorts, and plain ones in a namespace that asks."""
        self.kubefed("enable", POLICY.full_name)
        for name in self.federation.apis:
            self.give_rights(name)
        for name in PLACES:
            self.federation.make_namespace(name)
        for number in range(maps):
            change = {"path": "/data/number", "value": f"palermo's {number}"}
            self.federation.post(
                "ConfigMap",
                PLACES[number % len(PLACES)],
                f"map-{number}",
                template={"data": {"number": str(number)}},
                placement=clusters(*self.federation.apis),
                overrides=[{"clusterName": "palermo", "clusterOverrides": [change]}],
            )
        place = {"clusterSelector": {"matchLabels": {}}}
        posts: dict[TargetKind, Any] = {
            SECRET: {"stringData": {}, "data": {"password": "aHVudGVyMg=="}},
            SERVICE: {"spec": SERVED},
            DEPLOYMENT: {"spec": DEPLOYED},
            POLICY: {"spec": {"podSelector": {}}},
        }
        for kind, template in posts.items():
            template.pop("stringData", None)
            body = federated(kind.kind, PLACES[0], "web", template=template, placement=place)
            types = FederatedType.of(kind).federated
            self.host.call("POST", types.path(PLACES[0]), body)
        share = {"totalReplicas": 6, "targetKind": "FederatedDeployment"}
        self.host.call(
            "POST",
            REPLICA_SCHEDULING_PREFERENCE.path(PLACES[0]),
            {
                "apiVersion": REPLICA_SCHEDULING_PREFERENCE.api_version,
                "kind": REPLICA_SCHEDULING_PREFERENCE.kind,
                "metadata": {"name": "web", "namespace": PLACES[0]},
                "spec": share,
            },
        )
        self._open_shop()

    def give_rights(self, name: str) -> None:
        """Give the federation's account the right to the kind that was enabled."""
        from kubefed import clients, membership
        from kubefed.api import STANDARD_KINDS

        config = self.federation.apis[name].plane.directory / "admin.kubeconfig"
        _ = membership.prepare_member(
            clients.from_kubeconfig(config),
            cluster=name,
            host_cluster="host",
            namespace="kube-federation-system",
            kinds=[*STANDARD_KINDS, POLICY],
        )

    def _open_shop(self) -> None:
        meta: dict[str, Any] = {"name": SHOP, "labels": {marks.FEDERATE: "true", "team": "a"}}
        self.host.call("POST", NAMESPACE.path(), {"metadata": meta})
        for kind, body in (
            (DEPLOYMENT, {"spec": DEPLOYED}),
            (SERVICE, {"spec": SERVED}),
            (CONFIG_MAP, {"data": {"color": "red"}}),
        ):
            whole = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
            whole["metadata"] = {"name": "web", "namespace": SHOP}
            self.host.call("POST", kind.path(SHOP), whole)

    def settled(self) -> bool:
        """Whether every federated object says that it is where it should be."""
        found = 0
        for kind in KINDS:
            items = (self.host.get(FederatedType.of(kind).federated.path()) or {"items": []})[
                "items"
            ]
            for item in items:
                said = item.get("status") or {}
                conditions = said.get("conditions") or [{}]
                current = said.get("observedGeneration") == item["metadata"]["generation"]
                if conditions[0].get("status") != "True" or not current:
                    return False
                found += 1
        return found > 0

    def photo(self, api: Api) -> dict[str, tuple[str, str]]:
        """Every object with the federation's label, and its version."""
        found: dict[str, tuple[str, str]] = {}
        for kind in KINDS:
            path = f"{kind.path()}?labelSelector={MANAGED_LABEL}%3Dtrue"
            for item in api.get(path)["items"]:
                meta = item["metadata"]
                key = f"{kind.kind} {meta.get('namespace', '')}/{meta['name']}"
                found[key] = (meta["uid"], meta["resourceVersion"])
        return found

    def photos(self) -> dict[str, dict[str, tuple[str, str]]]:
        return {name: self.photo(api) for name, api in self.others.items()}

    def rest(self) -> dict[str, dict[str, tuple[str, str]]]:
        """The photos of the members, when nothing has been written for a while."""

        def calm() -> bool:
            before = self.photos()
            time.sleep(1.5)
            return self.photos() == before

        eventually(self.settled, 120)
        eventually(calm, 60)
        return self.photos()

    def writes(self, name: str) -> int:
        """How many writes a member's API server has been asked for, of the federation's kinds."""
        plane = self.federation.apis[name].plane
        answer = httpx.get(
            f"{plane.endpoint}/metrics",
            headers={"Authorization": f"Bearer {plane.token('admin')}"},
            verify=ssl.create_default_context(cadata=plane.ca_certificate),
            timeout=10,
        )
        plurals = {kind.plural for kind in KINDS}
        count = 0.0
        for match in _REQUESTS.finditer(answer.raise_for_status().text):
            said = dict(_LABEL.findall(match["labels"]))
            if said["verb"] in _WRITES and said["resource"] in plurals and not said["subresource"]:
                count += float(match["count"])
        return int(count)

    def lose_the_host(self) -> None:
        """Empty the host's etcd; its certificates and its address stay."""
        machine = self.machines["host"]
        machine.kill()
        shutil.rmtree(machine.plane.directory / "etcd")
        machine.start()
