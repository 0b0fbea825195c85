"""What the charm is told (configuration, place) and what it gives (rights, unit files). Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from federation_interfaces.cluster import CHARMS_NAMESPACE, Account, Rule
from federation_interfaces.federation_mesh import MeshEntry
from federation_interfaces.fields import (
    ConfiguredCertificates,
    ConfiguredRegion,
    check_address,
    check_network,
    if_any,
)
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

ACCOUNT = "federation-dns"
_READ = ("get", "list", "watch")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")

NAMED_UNIT = """\
# Written by the charm federation-dns: the distribution's unit with a configuration of its own.
[Unit]
Description=BIND 9, authority for the federation's zone
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
{needed}ExecStart=/usr/sbin/named -g -u bind -c {configuration}
Restart=always
RestartSec=1
NoNewPrivileges=true
ProtectHome=true
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""

AGENT_UNIT = """\
[Unit]
Description=Agent of the federation's DNS
After=network-online.target named.service
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
User={user}
Group={user}
SupplementaryGroups={group}
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ExecStart={command}
Restart=always
RestartSec=1
ReadWritePaths={state}
{sandbox}

[Install]
WantedBy=multi-user.target
"""


ZoneName = Annotated[
    str,
    StringConstraints(
        max_length=180,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$",
    ),
]


ConfiguredAddress = Annotated[str, if_any(check_address)]
ConfiguredEmail = Annotated[str, Field(max_length=255, pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$")]


class Settings(BaseModel):
    """The charm's configuration, read and checked."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    zone: ZoneName = "federation.example"
    zones: tuple[ZoneName, ...] = Field(default=(), max_length=15)
    dnssec: bool = False
    secondaries: tuple[tuple[str, str], ...] = ()
    secondaries_key: object = None  # Juju's secret, as ops gives it
    provider: Literal["bind", "designate", "rfc2136"] = "bind"
    designate_email: ConfiguredEmail = ""
    rfc2136_server: ConfiguredAddress = ""
    rfc2136_port: int = Field(default=53, ge=1, le=65535)
    region: ConfiguredRegion = ""
    role: Literal["region", "witness"] = "region"
    address_ranges: tuple[str, ...] = ()
    ca_certificate: ConfiguredCertificates = ""
    port: int = Field(default=8443, ge=1024, le=65535)
    dns_port: int = Field(default=53, ge=1, le=65535)
    metrics_port: int = Field(default=9153, ge=1024, le=65535)
    ttl: int = Field(default=15, ge=1, le=3600)
    withdraw_after: float = Field(default=5.0, ge=2.5, le=86400)
    evict_after: float = Field(default=20.0, ge=2.5, le=86400)
    return_after: float = Field(default=30.0, gt=0, le=86400)
    service_probes: float = Field(default=100.0, ge=0, le=10_000)

    @property
    def witness(self) -> bool:
        """Whether this agent only votes: it has neither cluster nor name server."""
        return self.role == "witness"

    @field_validator("address_ranges", mode="before")
    @classmethod
    def _ranges(cls, value: str) -> tuple[str, ...]:
        return tuple(check_network(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("zones", mode="before")
    @classmethod
    def _zones(cls, value: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("secondaries", mode="before")
    @classmethod
    def _servers(cls, value: str) -> tuple[tuple[str, str], ...]:
        return tuple(_server(part.strip()) for part in value.split(",") if part.strip())

    @property
    def own_server(self) -> bool:
        """Whether this unit's BIND is the authority."""
        return self.provider == "bind" and not self.witness

    @property
    def all_zones(self) -> tuple[str, ...]:
        """The federation's zone, then the others, each once."""
        return tuple(dict.fromkeys((self.zone, *self.zones)))

    @model_validator(mode="after")
    def _ordered(self) -> "Settings":
        if self.evict_after < self.withdraw_after:
            raise ValueError("evict-after must not be shorter than withdraw-after")
        if not self.own_server and (self.dnssec or self.secondaries):
            raise ValueError(
                "dnssec and secondaries are for provider=bind: leave them to the server"
            )
        if len({self.port, self.dns_port, self.metrics_port}) != 3:
            raise ValueError("port, dns-port and metrics-port must differ")
        return self


def _server(text: str) -> tuple[str, str]:
    """Read HOST=ADDRESS of a secondary."""
    host, _, address = text.partition("=")
    if not _HOST.fullmatch(host) or not address:
        raise ValueError(f"{text!r} is no secondary: write HOST=ADDRESS, like ns1.example.net=...")
    return host, check_address(address)


class Kept(BaseModel):
    """What is remembered from one hook to the next.

    Attributes:
        token_for: the address of the cluster that the agent's token is of.
        token_cluster: which cluster it was there.
        token_renew_at: when it is to be replaced.
        token_bound: the Secret in the cluster that it ends with.
        token_older: whether tokens of before may still be good.
        restart: whether name server and agent have to start again, with new credentials.
        started_at: when one of them was started last.
        named_before: whether the parent may name this region's server, once it could sign.
    """

    token_for: str = ""
    token_cluster: str = ""
    token_renew_at: datetime | None = None
    token_bound: str = ""
    token_older: bool = False
    restart: bool = False
    started_at: datetime | None = None
    named_before: bool = False


class Mesh(BaseModel):
    """What the mesh relations said last, by relation."""

    relations: dict[int, list[MeshEntry]] = {}


@dataclass(frozen=True)
class Place:
    """Where this unit is: its region's name and its addresses.

    Attributes:
        listen: the address to bind to.
        address: the address by which others reach it.
        subnet: of the address, for the default of address-ranges.
    """

    region: str
    listen: str
    address: str
    subnet: str


def agent_account() -> Account:
    """Return the agent's account: it reads services and their endpoints, and may end itself."""
    return Account(
        name=ACCOUNT,
        namespace=CHARMS_NAMESPACE,
        cluster_rules=(
            Rule(("",), ("services",), _READ),
            Rule(("discovery.k8s.io",), ("endpointslices",), _READ),
        ),
        ends=(ACCOUNT,),
    )
