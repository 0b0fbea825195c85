"""Interface `federation_mesh`: the DNS agents' public facts, from each region to all.

The offering region is the hub: it hands every entry to every region, and keeps no more right than
that. All of it is public (addresses, certificates).
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from federation_interfaces.databag import Databag
from federation_interfaces.fields import Address, Certificate, HttpsOrigin, Network, Region


class MeshEntry(BaseModel):
    """One region's agent, as all others know it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    region: Region
    role: Literal["region", "witness"] = "region"
    url: HttpsOrigin
    certificate: Certificate
    nameserver: Address | None = None
    address_ranges: list[Network] = Field(default=[], max_length=100)

    @model_validator(mode="after")
    def _a_witness_serves_nothing(self) -> "MeshEntry":
        if self.role == "witness" and self.address_ranges:
            raise ValueError("a witness has no address ranges")
        return self


class MeshMemberAppData(Databag):
    """Requirer: one region's own entry."""

    entry: MeshEntry | None = None


class MeshHubAppData(Databag):
    """Provider: every region's entry, the hub's among them, sorted by region."""

    entries: list[MeshEntry] | None = Field(default=None, max_length=64)

    @model_validator(mode="after")
    def _one_entry_a_region(self) -> "MeshHubAppData":
        regions = [entry.region for entry in self.entries or []]
        doubled = sorted({region for region in regions if regions.count(region) > 1})
        if doubled:
            raise ValueError(f"more than one entry for {', '.join(doubled)}")
        return self
