"""Cloud definitions for ``juju add-cloud NAME FILE``, checked offline by Juju's schema.

Beyond what Juju refuses, a file of ours names MAAS and OpenStack only, reaches them by TLS that is
verified, and holds no credential: those go to ``juju add-credential``.
"""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from cryptography import x509
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

_AUTH_TYPES = {"maas": {"oauth1"}, "openstack": {"userpass", "access-key"}}


def _https(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.username:
        raise ValueError("write an address as https://HOST[:PORT]/PATH, without a user")
    return text


def _certificate(text: str) -> str:
    try:
        _ = x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise ValueError("no PEM certificate") from error
    return text


Address = Annotated[str, AfterValidator(_https)]
Certificate = Annotated[str, AfterValidator(_certificate)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-")
    )


class Region(_Strict):
    """One region of a cloud; what it has not, it has from the cloud."""

    endpoint: Address = ""
    identity_endpoint: Address = ""
    storage_endpoint: Address = ""


class Cloud(_Strict):
    """One cloud."""

    type: Literal["maas", "openstack"]
    auth_types: list[str] = Field(min_length=1)
    description: str = ""
    endpoint: Address = ""
    identity_endpoint: Address = ""
    storage_endpoint: Address = ""
    regions: dict[str, Region | None] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    region_config: dict[str, dict[str, Any]] = Field(default_factory=dict)
    ca_certificates: list[Certificate] = Field(default_factory=list)
    skip_tls_verify: Literal[False] = False

    @model_validator(mode="after")
    def _whole(self) -> "Cloud":
        wrong = sorted(set(self.auth_types) - _AUTH_TYPES[self.type])
        if wrong:
            raise ValueError(f"{self.type} has no auth-types {', '.join(wrong)}")
        if self.type == "maas" and (self.regions or not self.endpoint):
            raise ValueError("a maas has an endpoint and no regions")
        if self.type == "openstack":
            if not self.regions:
                raise ValueError("an openstack names its regions")
            bare = [
                n for n, r in self.regions.items() if not (self.endpoint or (r and r.endpoint))
            ]
            if bare:
                raise ValueError(f"no endpoint for {', '.join(bare)}")
        strange = sorted(self.region_config.keys() - self.regions.keys())
        if strange:
            raise ValueError(f"region-config of no region: {', '.join(strange)}")
        return self


class CloudFile(_Strict):
    """A file of clouds, by name."""

    clouds: dict[str, Cloud] = Field(min_length=1)


def load(text: str) -> CloudFile:
    """A file's clouds.

    Args:
        text: The file.

    Raises:
        ValueError: It is no file of clouds.
    """
    try:
        return CloudFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"no YAML: {error}") from error


def check(path: Path) -> list[str]:
    """Everything that is wrong with a file of clouds, a line each.

    Args:
        path: The file.
    """
    try:
        _ = load(path.read_text())
    except ValidationError as error:
        return [
            f"{'.'.join(str(part) for part in each['loc']) or 'the file'}: {each['msg']}"
            for each in error.errors()
        ]
    except (OSError, ValueError) as error:
        return [str(error)]
    return []
