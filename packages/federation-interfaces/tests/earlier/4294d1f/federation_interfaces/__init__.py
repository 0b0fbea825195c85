"""What the federation's charms share: relation data, one pydantic model a side, and access."""

from federation_interfaces.databag import Databag, DatabagError
from federation_interfaces.federation_mesh import MeshEntry, MeshHubAppData, MeshMemberAppData
from federation_interfaces.kubefed_member import (
    TOKEN_KEY,
    FederatedKind,
    HostAppData,
    MemberAppData,
)
from federation_interfaces.region_health import RegionHealthUnitData

__all__ = [
    "TOKEN_KEY",
    "Databag",
    "DatabagError",
    "FederatedKind",
    "HostAppData",
    "MemberAppData",
    "MeshEntry",
    "MeshHubAppData",
    "MeshMemberAppData",
    "RegionHealthUnitData",
]
