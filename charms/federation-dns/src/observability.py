"""What the collector of this machine is told: where the metrics are, rules, a dashboard."""

from pathlib import Path

from federation_interfaces import cos_agent
from federation_interfaces.cos_agent import CosAgentUnitData, Topology

SOURCE = Path(__file__).parent
WITNESS_LEAVES_OUT = "name-server"
"""The group of rules that a witness has no metrics for."""


def unit_data(topology: Topology, target: str, *, witness: bool) -> CosAgentUnitData:
    """Return what the unit's databag is to hold.

    Args:
        topology: whose metrics these are.
        target: HOST:PORT of the agent's metrics.
        witness: whether this agent has no name server.
    """
    without = (WITNESS_LEAVES_OUT,) if witness else ()
    return cos_agent.unit_data(SOURCE, topology, "federation-dns", target, without=without)
