"""One readable picture of all regions: units, clusters, federated objects, DNS answers."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from federation_lab.observe import probe

if TYPE_CHECKING:
    import aiohttp

    from federation_lab.observe.access import Federation, Region

NAMESPACE = "kube-federation-system"
CLUSTERS = f"/apis/core.kubefed.io/v1beta1/namespaces/{NAMESPACE}/kubefedclusters"
MANAGED = "labelSelector=kubefed.io/managed%3Dtrue"


@dataclasses.dataclass(frozen=True)
class RegionFacts:
    """What one region answered; None where it didn't."""

    deployments: list[dict[str, Any]] | None
    services: list[dict[str, Any]] | None
    verdict: dict[str, Any] | None


def region_rows(
    federation: Federation,
    alive: dict[str, bool],
    clusters: list[dict[str, Any]] | None,
    facts: dict[str, RegionFacts],
) -> list[dict[str, Any]]:
    """Give the overview's row of each region (pure).

    Args:
        federation: the regions.
        alive: whether a region's machines run.
        clusters: the host's KubeFedClusters; None when the federation's API is away, in which
            case the surviving agents' verdict says who belongs and who is healthy.
        facts: what each region answered.
    """
    ready = {} if clusters is None else {c["metadata"]["name"]: is_ready(c) for c in clusters}
    verdicts = _verdicts(facts)
    rows: list[dict[str, Any]] = []
    for region in federation.regions:
        known = verdicts if clusters is None else ready
        rows.append(
            {
                "name": region.name,
                "host": region.host,
                "alive": alive.get(region.name, False),
                "joined": region.name in known,
                "ready": known.get(region.name, False),
                "nameserver": f"{region.nameserver}:{region.dns_port}",
                "api_endpoint": region.api_endpoint,
                "replicas": _replicas(facts[region.name].deployments),
            }
        )
    return rows


def is_ready(cluster: dict[str, Any]) -> bool:
    """Say whether a KubeFedCluster has the condition Ready with status True."""
    conditions = cluster.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def service_names(facts: dict[str, RegionFacts]) -> list[tuple[str, str]]:
    """List namespace and name of every federated LoadBalancer Service in any region (pure)."""
    found = {
        (service["metadata"]["namespace"], service["metadata"]["name"])
        for each in facts.values()
        for service in each.services or []
        if service["spec"].get("type") == "LoadBalancer"
    }
    return sorted(found)


async def gather(
    federation: Federation, alive: dict[str, bool], juju: list[dict[str, Any]]
) -> dict[str, Any]:
    """Ask every region at once and put the answers together.

    Args:
        federation: the regions.
        alive: whether a region's machines run; a dead region isn't asked.
        juju: each model's status, as `juju status --format json` gives it.

    Returns:
        The overview, as `lab overview --format json` prints it (docs/design.md, section 6).
    """
    async with probe.http_session() as session:
        regions = [r for r in federation.regions if alive.get(r.name)]
        answers = await asyncio.gather(*(_ask(session, region) for region in regions))
        silent = RegionFacts(None, None, None)
        facts = {region.name: silent for region in federation.regions}
        facts |= {region.name: answer for region, answer in zip(regions, answers, strict=True)}
        clusters = None
        if alive.get(federation.host.name):
            listing = await probe.kube(session, federation.host, CLUSTERS)
            clusters = None if listing is None else listing["items"]
        services = await asyncio.gather(
            *(_service(federation, regions, *key) for key in service_names(facts))
        )
    applications, units = juju_rows(juju)
    return {
        "regions": region_rows(federation, alive, clusters, facts),
        "federation_api": "reachable" if clusters is not None else absence(federation),
        "applications": applications,
        "units": units,
        "zone": federation.zone,
        "services": list(services),
    }


def absence(federation: Federation) -> str:
    """Say plainly what the loss of the host's API means."""
    return (
        f"the federation's API in {federation.host.name} does not answer: services and DNS of "
        "the other regions go on; nothing new is placed until it is back"
    )


def juju_rows(statuses: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give a row for each application and each unit of all models (pure)."""
    applications: list[dict[str, Any]] = []
    units: list[dict[str, Any]] = []
    for status in statuses:
        model = status["model"]["name"]
        for name, application in sorted((status.get("applications") or {}).items()):
            current = application.get("application-status", {})
            applications.append(
                {"model": model, "name": name, "status": current.get("current", "")}
            )
            for unit, facts in sorted((application.get("units") or {}).items()):
                workload = facts.get("workload-status", {})
                units.append(
                    {
                        "model": model,
                        "name": unit,
                        "address": facts.get("public-address", ""),
                        "status": workload.get("current", ""),
                        "message": workload.get("message", ""),
                        "agent": facts.get("juju-status", {}).get("current", ""),
                    }
                )
    return applications, units


def render(overview: dict[str, Any]) -> Group:
    """Draw the overview as tables for a person."""
    regions = Table(title="Regions", title_justify="left")
    for column in ("region", "alive", "joined", "ready", "replicas", "name server", "API"):
        regions.add_column(column)
    for row in overview["regions"]:
        regions.add_row(
            row["name"] + (" (host)" if row["host"] else ""),
            *(_mark(row[key]) for key in ("alive", "joined", "ready")),
            ", ".join(f"{name} {count}" for name, count in row["replicas"].items()) or "-",
            row["nameserver"],
            row["api_endpoint"],
        )
    services = Table(title=f"Names in {overview['zone']}", title_justify="left")
    for column in ("name", "asked in", "answer"):
        services.add_column(column)
    for service in overview["services"]:
        for region, answer in service["answers"].items():
            services.add_row(service["dns_name"], region, " ".join(answer) or "-")
    units = Table(title="Units", title_justify="left")
    for column in ("model", "unit", "address", "status", "message"):
        units.add_column(column)
    for unit in overview["units"]:
        status = unit["status"] if unit["agent"] != "lost" else "agent lost"
        units.add_row(unit["model"], unit["name"], unit["address"], status, unit["message"])
    parts: list[Table | Text] = [regions, services, units]
    if overview["federation_api"] != "reachable":
        parts.insert(0, Text(overview["federation_api"], style="bold red"))
    return Group(*parts)


async def _ask(session: aiohttp.ClientSession, region: Region) -> RegionFacts:
    deployments, services, verdict = await asyncio.gather(
        probe.kube(session, region, f"/apis/apps/v1/deployments?{MANAGED}"),
        probe.kube(session, region, f"/api/v1/services?{MANAGED}"),
        probe.agent(session, region, "/v1/verdict"),
    )
    return RegionFacts(
        deployments=None if deployments is None else deployments["items"],
        services=None if services is None else services["items"],
        verdict=verdict,
    )


async def _service(
    federation: Federation, regions: list[Region], namespace: str, name: str
) -> dict[str, Any]:
    dns_name = f"{name}.{namespace}.svc.{federation.zone}"
    answers = await asyncio.gather(*(probe.addresses(region, dns_name) for region in regions))
    return {
        "name": name,
        "namespace": namespace,
        "dns_name": dns_name,
        "answers": {r.name: answer or [] for r, answer in zip(regions, answers, strict=True)},
    }


def _verdicts(facts: dict[str, RegionFacts]) -> dict[str, bool]:
    for each in facts.values():
        if each.verdict and each.verdict.get("quorum"):
            regions = each.verdict["regions"]
            return {name: row["verdict"] == "healthy" for name, row in regions.items()}
    return {}


def _replicas(deployments: list[dict[str, Any]] | None) -> dict[str, str]:
    return {
        deployment["metadata"]["name"]: (
            f"{deployment.get('status', {}).get('readyReplicas', 0)}"
            f"/{deployment['spec'].get('replicas', 0)}"
        )
        for deployment in deployments or []
    }


def _mark(value: bool) -> str:
    return "[green]yes[/]" if value else "[red]no[/]"
