"""The federation as its operator sees it: models through jubilant, clusters and name servers."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import ssl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import httpx
import jubilant
import yaml

ROOT = Path(__file__).parents[2]
NAMESPACE = "kube-federation-system"
CLUSTERS = f"/apis/core.kubefed.io/v1beta1/namespaces/{NAMESPACE}/kubefedclusters"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
CHARMS = ("kubefed-host", "kubefed-member", "federation-dns")
SETTLE_SECONDS = 180.0
PERIOD = 0.3
MANAGED = "labelSelector=kubefed.io%2Fmanaged%3Dtrue"
# What the example and the tests have in members.
COPIED = {
    "Namespace": "/api/v1/namespaces",
    "ConfigMap": "/api/v1/configmaps",
    "Secret": "/api/v1/secrets",
    "Service": "/api/v1/services",
    "Deployment": "/apis/apps/v1/deployments",
}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A region's Kubernetes API, as its administrator enters it."""

    server: str
    authority: str
    token: str = dataclasses.field(repr=False)

    @functools.cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority)

    def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send one request."""
        with httpx.Client(
            verify=self._context,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=10,
            trust_env=False,
        ) as client:
            return client.request(method, self.server + path, json=body)

    def get(self, path: str) -> dict[str, Any] | None:
        """Give an object, None where there is none."""
        answer = self.request("GET", path)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def names(self, path: str) -> list[str]:
        """Name the objects of a list."""
        found = self.get(path) or {}
        return sorted(item["metadata"]["name"] for item in found.get("items") or [])

    def delete(self, path: str) -> None:
        """Delete an object that is there."""
        self.request("DELETE", path).raise_for_status()


class Federation:
    """The models of one federation; the first is the host's.

    Attributes:
        regions: the regions' names, which are the models'.
        overlays: overlays that every region needs on this controller, such as the lab's.
    """

    def __init__(
        self,
        cli: str,
        regions: tuple[str, ...],
        *,
        overlays: tuple[Path, ...] = (),
        cloud: str = "",
        seconds: float = SETTLE_SECONDS,
    ):
        self.cli = cli
        self.regions = regions
        self.overlays = overlays
        self._cloud = cloud
        self._seconds = seconds
        self._clusters: dict[str, Cluster] = {}
        self._nameservers: dict[str, str] = {}

    @property
    def host_region(self) -> str:
        """The region with the federation's API."""
        return self.regions[0]

    @property
    def host(self) -> jubilant.Juju:
        """The host's model."""
        return self.model(self.host_region)

    def model(self, region: str) -> jubilant.Juju:
        """Give a region's model."""
        return jubilant.Juju(cli_binary=self.cli, model=region, wait_timeout=self._seconds)

    def models(self) -> list[str]:
        """Name the controller's models."""
        text = self.host.cli("models", "--format", "json", include_model=False)
        return [model["short-name"] for model in json.loads(text)["models"]]

    def deploy(self, region: str, overlay: Path) -> None:
        """Deploy the bundle into a region's model."""
        role = "host-region" if region == self.host_region else "member-region"
        overlays = [ROOT / "overlays" / f"{role}.yaml", overlay, *self.overlays]
        self.model(region).deploy(ROOT / "bundles" / "federation.yaml", overlays=overlays)

    def add(self, region: str, overlay: Path) -> None:
        """Make a further region: its model, the bundle in it, its relation to the host."""
        cloud = self._cloud.format(region=region) or None
        jubilant.Juju(cli_binary=self.cli).add_model(region, cloud)
        self.deploy(region, overlay)
        self.relate(region)

    def relate(self, region: str) -> None:
        """Relate a region's kubefed-member to the host."""
        offer = f"{region}-member"
        self.host.consume(f"{region}.{offer}", owner="admin")
        self.host.integrate("kubefed-host:members", f"{offer}:federation")

    def cluster(self, region: str) -> Cluster:
        """Give a region's Kubernetes API."""
        if region not in self._clusters:
            task = self.model(region).run("kubernetes-control-plane/leader", "get-kubeconfig")
            config = yaml.safe_load(task.results["kubeconfig"])
            cluster = config["clusters"][0]["cluster"]
            self._clusters[region] = Cluster(
                server=cluster["server"],
                authority=base64.b64decode(cluster["certificate-authority-data"]).decode(),
                token=config["users"][0]["user"]["token"],
            )
        return self._clusters[region]

    def zone(self) -> str:
        """Give the federation's DNS zone."""
        return str(self.host.config("federation-dns")["zone"])

    def nameserver(self, region: str) -> str:
        """Give the address of a region's name server, which is its agent's."""
        if region not in self._nameservers:
            unit = next(iter(self.model(region).status().apps["federation-dns"].units.values()))
            self._nameservers[region] = unit.public_address
        return self._nameservers[region]

    def answers(self, region: str, name: str) -> set[str]:
        """Ask a region's name server for the addresses of a name below the zone."""
        query = dns.message.make_query(f"{name}.{self.zone()}", dns.rdatatype.A)
        answer = dns.query.udp(query, self.nameserver(region), timeout=3)
        return {
            record.to_text()
            for records in answer.answer
            if records.rdtype == dns.rdatatype.A
            for record in records
        }

    def join(self, region: str) -> jubilant.Task:
        """Join a region on demand."""
        return self.host.run("kubefed-host/leader", "join-cluster", {"cluster": region}, wait=60)

    def unjoin(self, region: str, **params: object) -> jubilant.Task:
        """Take a region out on demand."""
        params = {"cluster": region, **params}
        return self.host.run("kubefed-host/leader", "unjoin-cluster", params, wait=60)

    def listed(self) -> dict[str, dict[str, Any]]:
        """Give what list-clusters says, by region."""
        task = self.host.run("kubefed-host/leader", "list-clusters")
        return {each["name"]: each for each in json.loads(task.results["clusters"])}

    def ready(self, region: str) -> bool:
        """Say whether the controller calls a cluster ready."""
        entry = self.cluster(self.host_region).get(f"{CLUSTERS}/{region}") or {}
        conditions = entry.get("status", {}).get("conditions") or []
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def wait_ready(self, region: str) -> float:
        """Wait until the controller calls a cluster ready, and give how long that took."""
        return until(lambda: self.ready(region), f"{region} is ready", seconds=self._seconds)

    def in_host(self, region: str) -> list[str]:
        """Name what the host cluster holds of a region: its entry, its token."""
        host = self.cluster(self.host_region)
        entries = [f"KubeFedCluster {n}" for n in host.names(CLUSTERS) if n == region]
        secrets = [f"Secret {n}" for n in host.names(SECRETS) if n.startswith(region)]
        return entries + secrets

    def settle(self, *regions: str) -> None:
        """Wait until every unit of these models (none named: all) is active and idle."""
        for region in regions or self.regions:
            self.model(region).wait(settled, delay=PERIOD, successes=2)

    @contextmanager
    def configured(self, region: str, app: str, **values: str) -> Generator[None]:
        """Set options for a while."""
        juju = self.model(region)
        juju.config(app, {name.replace("_", "-"): value for name, value in values.items()})
        try:
            juju.wait(jubilant.all_agents_idle, delay=PERIOD, successes=2)
            yield
        finally:
            juju.config(app, reset=[name.replace("_", "-") for name in values])
            self.settle(region)


def settled(status: jubilant.Status) -> bool:
    """Say whether all is active and no hook runs."""
    return jubilant.all_active(status) and jubilant.all_agents_idle(status)


def managed(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Give the version of every object in a cluster that the federation has written.

    Of a Deployment it is the generation: its status, which is the cluster's own, makes versions.
    """
    found: dict[str, tuple[str, str]] = {}
    for kind, path in COPIED.items():
        for item in (cluster.get(f"{path}?{MANAGED}") or {})["items"]:
            metadata = item["metadata"]
            by = "generation" if kind == "Deployment" else "resourceVersion"
            name = f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"
            found[name] = (metadata["uid"], str(metadata[by]))
    return found


def until(condition: Callable[[], bool], what: str, *, seconds: float = SETTLE_SECONDS) -> float:
    """Wait until it holds, and give how long that took; an error that ends by itself may pass.

    Raises:
        AssertionError: it did not hold in time.
    """
    began = time.monotonic()
    last = "it was false"
    while time.monotonic() < began + seconds:
        try:
            if condition():
                return time.monotonic() - began
            last = "it was false"
        except (httpx.HTTPError, dns.exception.DNSException, OSError) as error:
            last = str(error)
        time.sleep(PERIOD)
    raise AssertionError(f"not within {seconds:g} s: {what} ({last})")
