"""How each region is reached from the host: its API server, its DNS agent, its name server."""

from __future__ import annotations

import base64
import dataclasses
import json
import ssl
from typing import TYPE_CHECKING, Any

import yaml

from federation_lab.errors import LabError, UnknownRegionError

if TYPE_CHECKING:
    from pathlib import Path


class AccessError(LabError):
    """The lab's record of its regions is missing or broken; the text says the mend."""


@dataclasses.dataclass(frozen=True)
class Region:
    """One region as the host reaches it.

    Attributes:
        name: the region, also its model, cluster and kubeconfig context.
        host: whether the federation's API stands here.
        api_endpoint: the API server's URL.
        ca_certificate: the API server's CA in PEM.
        token: a bearer token of the region's administrator.
        nameserver: the address of the region's name server.
        dns_port: the name server's port.
        agent_port: the DNS agent's HTTPS port.
        agent_certificate: the agent's own certificate in PEM, pinned; empty before it is known.
    """

    name: str
    host: bool
    api_endpoint: str
    ca_certificate: str
    token: str = dataclasses.field(repr=False)
    nameserver: str = ""
    dns_port: int = 53
    agent_port: int = 8443
    agent_certificate: str = ""

    def api_context(self) -> ssl.SSLContext:
        """Give a TLS context that trusts the region's CA alone."""
        return ssl.create_default_context(cadata=self.ca_certificate)

    def agent_context(self) -> ssl.SSLContext:
        """Give a TLS context that trusts the agent's own certificate alone."""
        return ssl.create_default_context(cadata=self.agent_certificate)


@dataclasses.dataclass(frozen=True)
class Federation:
    """All regions of the standing lab and the zone that they serve."""

    zone: str
    regions: tuple[Region, ...]

    @property
    def host(self) -> Region:
        """The region with the federation's API."""
        return next(region for region in self.regions if region.host)

    def region(self, name: str) -> Region:
        """Give one region by name.

        Raises:
            UnknownRegionError: there is none of that name; the text lists those there are.
        """
        for region in self.regions:
            if region.name == name:
                return region
        raise UnknownRegionError(name, [region.name for region in self.regions])

    def kubeconfig(self) -> dict[str, Any]:
        """Give one kubeconfig with a context for each region, the host's being current."""
        clusters: list[dict[str, Any]] = []
        for region in self.regions:
            data = base64.b64encode(region.ca_certificate.encode()).decode()
            cluster = {"server": region.api_endpoint, "certificate-authority-data": data}
            clusters.append({"name": region.name, "cluster": cluster})
        names = [region.name for region in self.regions]
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": clusters,
            "users": [{"name": r.name, "user": {"token": r.token}} for r in self.regions],
            "contexts": [{"name": n, "context": {"cluster": n, "user": n}} for n in names],
            "current-context": self.host.name,
        }


def region_from_kubeconfig(
    name: str, kubeconfig: dict[str, Any], *, host: bool, nameserver: str, agent_certificate: str
) -> Region:
    """Read endpoint, CA and token from what the action ``get-kubeconfig`` gave."""
    cluster = kubeconfig["clusters"][0]["cluster"]
    certificate = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Region(
        name=name,
        host=host,
        api_endpoint=cluster["server"],
        ca_certificate=certificate,
        token=kubeconfig["users"][0]["user"]["token"],
        nameserver=nameserver,
        agent_certificate=agent_certificate,
    )


def save(federation: Federation, directory: Path) -> None:
    """Write the record and the kubeconfig beside it, both with mode 0600."""
    _write(directory / "federation.json", json.dumps(dataclasses.asdict(federation), indent=1))
    _write(directory / "kubeconfig", yaml.safe_dump(federation.kubeconfig(), sort_keys=False))


def load(directory: Path) -> Federation:
    """Read the record.

    Raises:
        AccessError: no lab stands, or the record can't be read.
    """
    path = directory / "federation.json"
    try:
        data = json.loads(path.read_text())
        regions = tuple(Region(**region) for region in data["regions"])
        return Federation(zone=data["zone"], regions=regions)
    except FileNotFoundError as error:
        raise AccessError("no lab stands here; start one with `lab up`") from error
    except (ValueError, KeyError, TypeError) as error:
        raise AccessError(
            f"{path} can't be read ({error}); `lab down`, then `lab up` makes it anew"
        ) from error


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".new")
    scratch.touch(mode=0o600)
    scratch.write_text(text)
    scratch.replace(path)
