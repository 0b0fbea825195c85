"""What the collector of this machine is told: where the metrics are, rules, a dashboard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from federation_interfaces.cos_agent import (
    CosAgentConfig,
    CosAgentUnitData,
    Topology,
    alert_rules,
    dashboard,
    scrape_job,
)

SOURCE = Path(__file__).parent
RULES = SOURCE / "prometheus_alert_rules"
DASHBOARDS = SOURCE / "grafana_dashboards"
WITNESS_LEAVES_OUT = "name-server"
"""The group of rules that a witness has no metrics for."""


def rules(topology: Topology, *, witness: bool = False) -> dict[str, Any]:
    """Return all rules for this application."""
    groups: list[Mapping[str, Any]] = []
    for path in sorted(RULES.glob("*.yaml")):
        whole: dict[str, Any] = yaml.safe_load(path.read_text())
        groups += [g for g in whole["groups"] if not witness or g["name"] != WITNESS_LEAVES_OUT]
    return alert_rules({"groups": groups}, topology)


def unit_data(topology: Topology, target: str, *, witness: bool) -> CosAgentUnitData:
    """Return what the unit's databag is to hold.

    Args:
        topology: whose metrics these are.
        target: HOST:PORT of the agent's metrics.
        witness: whether this agent has no name server.
    """
    return CosAgentUnitData(
        config=CosAgentConfig(
            metrics_alert_rules=rules(topology, witness=witness),
            metrics_scrape_jobs=[scrape_job("federation-dns", [target])],
            dashboards=[
                dashboard(json.loads(path.read_text()), topology.charm)
                for path in sorted(DASHBOARDS.glob("*.json"))
            ],
        )
    )
