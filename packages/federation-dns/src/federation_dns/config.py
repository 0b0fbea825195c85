"""The agent's configuration and `peers.json`: the schemas, and reading them.

docs/design.md section 4 has the contract; keys are kebab-case in the configuration.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from federation_dns.names import Name
from federation_dns.probes import Pace
from federation_dns.verdict import Holds

ZoneName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$",
        max_length=180,
    ),
]
ZoneId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$")
]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _range(value: str) -> str:
    return str(ipaddress.ip_network(value, strict=False))


Address = Annotated[str, AfterValidator(_address)]
Range = Annotated[str, AfterValidator(_range)]


class ConfigError(Exception):
    """A file that cannot be used; the text names the file, the place and the mend."""


class _Kebab(BaseModel):
    model_config = ConfigDict(
        alias_generator=lambda name: name.replace("_", "-"), extra="forbid", frozen=True
    )


class Listen(_Kebab):
    """Where to listen."""

    address: Address
    port: Port


class Rfc2136Provider(_Kebab):
    """A DNS server that takes dynamic updates."""

    type: Literal["rfc2136"]
    server: Address
    port: Port = 53
    key_name: str = Field(min_length=1, max_length=200)
    key_file: Path
    timeout: Seconds = 2.0


class DesignateProvider(_Kebab):
    """OpenStack Designate; see `federation_dns.providers.designate`."""

    type: Literal["designate"]
    cloud_file: Path
    cloud: str = Field(default="", max_length=100)
    zone_ids: dict[ZoneName, ZoneId] = {}
    email: str = Field(default="", max_length=255, pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$")
    timeout: Seconds = 5.0
    pending_limit: Seconds = 60.0
    allow_http: bool = False


Provider = Annotated[Rfc2136Provider | DesignateProvider, Field(discriminator="type")]


class Flap(_Kebab):
    """How often a region may come and go; see `federation_dns.verdict`."""

    window: Seconds = 3600.0
    free: int = Field(default=2, ge=1)
    factor: float = Field(default=2.0, ge=1, le=10)
    most: float = Field(default=8.0, ge=1, le=100)
    limit: int = Field(default=6, ge=0)


class Config(_Kebab):
    """`federation-dns agent --config FILE`."""

    region: Name
    zone: ZoneName
    zones: tuple[ZoneName, ...] = Field(default=(), max_length=15)
    secondaries: tuple[ZoneName, ...] = Field(default=(), max_length=20)
    federation: str = Field(default="", max_length=100, pattern=r"^[-.\w]*$")
    listen: Listen
    metrics: Listen | None = None
    certificate: Path
    key: Path
    peers: Path
    state: Path
    kubeconfig: Path | None = None
    provider: Provider | None = None
    ttl: int = Field(default=15, ge=1, le=3600)
    probe_interval: Seconds = 0.5
    withdraw_after: Seconds = 5.0
    evict_after: Seconds = 20.0
    return_after: Seconds = 30.0
    compare_interval: Seconds = 2.0
    service_probe_interval: Seconds = 5.0
    service_probes: float = Field(default=100.0, ge=0, le=10_000, allow_inf_nan=False)
    flap: Flap = Flap()
    max_deletes: int = Field(default=5, ge=0)
    max_deletes_share: float = Field(default=0.3, ge=0, le=1)
    delete_window: Seconds = 600.0

    @model_validator(mode="after")
    def _ordered(self) -> Config:
        if self.withdraw_after < 5 * self.probe_interval:
            raise ValueError(
                f"withdraw-after {self.withdraw_after:g} must be at least 5 probe-intervals "
                f"({5 * self.probe_interval:g}), or a few lost packets look like a lost region"
            )
        if self.evict_after < self.withdraw_after:
            raise ValueError(
                "evict-after must not be shorter than withdraw-after: "
                "replicas move only after the addresses have gone"
            )
        return self

    @property
    def all_zones(self) -> tuple[str, ...]:
        """The federation's zone, then the others that services may choose; each once."""
        return tuple(dict.fromkeys((self.zone, *self.zones)))

    @property
    def owner(self) -> str:
        """The federation's name in the owner records."""
        return self.federation or self.zone

    @property
    def reply_timeout(self) -> float:
        """How long a vote's answer may take; a slow link is not a dead one."""
        return min(2.0, 0.4 * self.withdraw_after)

    @property
    def pace(self) -> Pace:
        """How services' addresses are probed; no probe takes longer than a vote's answer."""
        return Pace(self.service_probe_interval, self.service_probes, self.withdraw_after)

    @property
    def holds(self) -> Holds:
        """The times of the verdict."""
        return Holds(
            withdraw_after=self.withdraw_after,
            evict_after=self.evict_after,
            return_after=self.return_after,
            fresh_for=max(4 * self.probe_interval, self.reply_timeout),
            flap_window=self.flap.window,
            flap_free=self.flap.free,
            flap_factor=self.flap.factor,
            flap_most=self.flap.most,
            flap_limit=self.flap.limit,
        )


class Peer(BaseModel):
    """One member of the mesh (`MeshEntry` of docs/design.md)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    region: Name
    role: Literal["region", "witness"] = "region"
    url: str = Field(pattern=r"^https://[^/\s@]+$", max_length=300)
    certificate: str = Field(max_length=20_000)
    next_certificate: str | None = Field(default=None, max_length=20_000)
    nameserver: Address | None = None
    address_ranges: tuple[Range, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _readable_certificates(self) -> Peer:
        for pem in self.certificates:
            if pem.count("-----BEGIN CERTIFICATE-----") != 1:
                raise ValueError("a certificate must be exactly one in PEM")
            ssl.PEM_cert_to_DER_cert(pem.strip())
        return self

    @property
    def certificates(self) -> tuple[str, ...]:
        """The one in use, and the one to come if it is announced."""
        return (
            (self.certificate,)
            if self.next_certificate is None
            else (self.certificate, self.next_certificate)
        )

    @property
    def der(self) -> bytes:
        """The pinned certificate."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.strip())


class Peers(BaseModel):
    """`peers.json`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal[1]
    entries: tuple[Peer, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _one_each(self) -> Peers:
        for what, values in (
            ("region", [e.region for e in self.entries]),
            (
                "certificate",
                [
                    ssl.PEM_cert_to_DER_cert(c.strip())
                    for e in self.entries
                    for c in e.certificates
                ],
            ),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"two entries have the same {what}")
        return self

    def of(self, region: str) -> Peer | None:
        """The entry of one member."""
        return next((e for e in self.entries if e.region == region), None)


def host_of(url: str) -> str:
    """The host of an agent's address."""
    return urlsplit(url).hostname or ""


def read_config(path: Path) -> Config:
    """Read the configuration.

    Raises:
        ConfigError: it can't be read or isn't right.
    """
    try:
        found: object = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {_one_line(str(error))}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must be a mapping of keys; see docs/design.md, section 4")
    try:
        return Config.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_reasons(error)}") from error


def read_peers(path: Path, own: str) -> Peers:
    """Read `peers.json`.

    Raises:
        ConfigError: it can't be read, isn't right, or lacks this region's own entry.
    """
    try:
        peers = Peers.model_validate(json.loads(_text(path)))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_reasons(error)}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {_one_line(str(error))}") from error
    if peers.of(own) is None:
        raise ConfigError(
            f"{path} has no entry of {own}: the charm writes it from the mesh relation"
        )
    return peers


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _reasons(error: ValidationError) -> str:
    """All faults in one line, without the values: a misplaced secret must not reach a log."""
    faults: list[str] = []
    for fault in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in fault["loc"]) or "the whole"
        kinds = fault.get("ctx", {}).get("expected_tags")
        faults.append(f"{place}: {f'type must be one of {kinds}' if kinds else fault['msg']}")
    return "; ".join(faults)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
