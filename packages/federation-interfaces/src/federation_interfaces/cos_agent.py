"""Interface `cos_agent`: what a machine charm gives to the collector of its machine.

The collector (grafana-agent, opentelemetry-collector) is a subordinate that scrapes this unit and
passes rules and dashboards on. All is one JSON text under the key `config` of the unit's databag.
Facts: canonical/charm-relation-interfaces, interfaces/cos_agent/v0. Its library lives on Charmhub
only, so the provider's side is written here.
"""

import base64
import copy
import json
import lzma
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from federation_interfaces.databag import Databag

TOPOLOGY = "%%juju_topology%%"
"""In a rule's expression: the labels that limit it to this application."""


@dataclass(frozen=True)
class Topology:
    """Whose metrics these are, as the collector labels them."""

    model: str
    model_uuid: str
    application: str
    charm: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels of a rule."""
        return {
            "juju_model": self.model,
            "juju_model_uuid": self.model_uuid,
            "juju_application": self.application,
            "juju_charm": self.charm,
        }

    @property
    def matchers(self) -> str:
        """The same as a selector's content; the charm's name is no label of metrics everywhere."""
        named = {key: value for key, value in self.labels.items() if key != "juju_charm"}
        return ", ".join(f'{key}="{value}"' for key, value in named.items())


class CosAgentConfig(BaseModel):
    """What the collector is to do for this unit."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    metrics_alert_rules: dict[str, Any] = {}
    log_alert_rules: dict[str, Any] = {}
    dashboards: list[str] = []
    metrics_scrape_jobs: list[dict[str, Any]] = []
    log_slots: list[str] = []


class CosAgentUnitData(Databag):
    """Provider, unit databag."""

    config: CosAgentConfig | None = None


def scrape_job(name: str, targets: Sequence[str], path: str = "/metrics") -> dict[str, Any]:
    """Return a job in Prometheus' words; targets are HOST:PORT."""
    return {
        "job_name": name,
        "metrics_path": path,
        "static_configs": [{"targets": list(targets)}],
    }


def alert_rules(whole: dict[str, Any], topology: Topology) -> dict[str, Any]:
    """Return a rule file's content for this application: its own names, labels and metrics only.

    >>> rule = {"alert": "Down", "expr": "up{%%juju_topology%%} == 0"}
    >>> file = {"groups": [{"name": "agent", "rules": [rule]}]}
    >>> found = alert_rules(file, Topology("palermo", "1234-5678", "dns", "federation-dns"))
    >>> found["groups"][0]["name"]
    'palermo_1234_dns_agent_alerts'
    >>> found["groups"][0]["rules"][0]["labels"]["juju_model"]
    'palermo'
    """
    found = copy.deepcopy(whole)
    short = topology.model_uuid.partition("-")[0]
    for group in found["groups"]:
        prefix = f"{topology.model}_{short}_{topology.application}"
        group["name"] = f"{prefix}_{group['name']}_alerts"
        for rule in group["rules"]:
            rule["expr"] = rule["expr"].replace(TOPOLOGY, topology.matchers)
            rule["labels"] = {**rule.get("labels", {}), **topology.labels}
    return found


def rules_of(source: Path, topology: Topology, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return all rules of a charm for this application.

    Args:
        source: the charm's src; its prometheus_alert_rules are read.
        topology: whose metrics these are.
        without: groups of rules that this unit has no metrics for.
    """
    import yaml

    groups: list[dict[str, Any]] = []
    for path in sorted(source.glob("prometheus_alert_rules/*.yaml")):
        whole: dict[str, Any] = yaml.safe_load(path.read_text())
        groups += [group for group in whole["groups"] if group["name"] not in without]
    return alert_rules({"groups": groups}, topology)


def unit_data(
    source: Path, topology: Topology, job: str, target: str, *, without: Collection[str] = ()
) -> CosAgentUnitData:
    """Return what a unit's databag is to hold.

    Args:
        source: the charm's src, with its rules and dashboards.
        topology: whose metrics these are.
        job: the scrape job's name.
        target: HOST:PORT of the metrics.
        without: groups of rules that this unit has no metrics for.
    """
    return CosAgentUnitData(
        config=CosAgentConfig(
            metrics_alert_rules=rules_of(source, topology, without=without),
            metrics_scrape_jobs=[scrape_job(job, [target])],
            dashboards=[
                dashboard(json.loads(path.read_text()), topology.charm)
                for path in sorted(source.glob("grafana_dashboards/*.json"))
            ],
        )
    )


def dashboard(whole: dict[str, Any], charm: str) -> str:
    """Return a dashboard as the databag holds it: tagged with the charm's name, packed."""
    tags = [*whole.get("tags", []), f"charm: {charm}"]
    text = json.dumps({**whole, "tags": tags}, sort_keys=True)
    return base64.b64encode(lzma.compress(text.encode())).decode()


def unpack(packed: str) -> dict[str, Any]:
    """Return what `dashboard` packed."""
    found: dict[str, Any] = json.loads(lzma.decompress(base64.b64decode(packed)))
    return found
