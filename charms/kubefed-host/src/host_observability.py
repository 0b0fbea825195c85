"""What the collector of this machine is told: where metrics are, rules, a dashboard."""

from pathlib import Path

from federation_interfaces import cos_agent
from federation_interfaces.cos_agent import CosAgentUnitData, Topology

SOURCE = Path(__file__).parent


def unit_data(topology: Topology, target: str) -> CosAgentUnitData:
    """Return what the unit's databag is to hold; `target` is HOST:PORT of the metrics."""
    return cos_agent.unit_data(SOURCE, topology, "kubefed-controller", target)
