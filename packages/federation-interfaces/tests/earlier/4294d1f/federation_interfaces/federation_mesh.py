"""Interface `federation_mesh`: the DNS agents' public facts, from each region to all.

The offering region is the hub: it hands every entry to every region, and keeps no more right than
that. All of it is public (addresses, certificates, a secret's ID).
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from federation_interfaces.databag import Databag
from federation_interfaces.fields import (
    Address,
    Certificate,
    Digest,
    HttpsOrigin,
    Network,
    Region,
    SecretId,
)


class MeshEntry(BaseModel):
    """One region's agent, as all others know it.

    Attributes:
        certificate: the one that the agent shows.
        next_certificate: the one that it will show next; to be trusted beside the other.
        taken: whose next certificate this region has taken in, by region: its SHA-256.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    region: Region
    role: Literal["region", "witness"] = "region"
    url: HttpsOrigin
    certificate: Certificate
    next_certificate: Certificate | None = None
    nameserver: Address | None = None
    address_ranges: list[Network] = Field(default=[], max_length=100)
    taken: dict[Region, Digest] = Field(default={}, max_length=64)

    @property
    def certificates(self) -> list[str]:
        """All that prove to be this agent's."""
        return [self.certificate, *([self.next_certificate] if self.next_certificate else [])]

    @model_validator(mode="after")
    def _a_witness_serves_nothing(self) -> "MeshEntry":
        if self.role == "witness" and self.address_ranges:
            raise ValueError("a witness has no address ranges")
        return self

    @model_validator(mode="after")
    def _the_next_one_is_another(self) -> "MeshEntry":
        if self.next_certificate == self.certificate:
            raise ValueError("next_certificate must differ from certificate")
        return self


class MeshMemberAppData(Databag):
    """Requirer: one region's own entry."""

    entry: MeshEntry | None = None


class MeshHubAppData(Databag):
    """Provider: every region's entry, the hub's among them, sorted by region.

    Attributes:
        dnssec_secret_id: of the keys that all regions sign with, granted to each; None: unsigned.
    """

    dnssec_secret_id: SecretId | None = None
    entries: list[MeshEntry] | None = Field(default=None, max_length=64)

    @model_validator(mode="after")
    def _one_entry_a_region(self) -> "MeshHubAppData":
        regions = [entry.region for entry in self.entries or []]
        doubled = sorted({region for region in regions if regions.count(region) > 1})
        if doubled:
            raise ValueError(f"more than one entry for {', '.join(doubled)}")
        return self
