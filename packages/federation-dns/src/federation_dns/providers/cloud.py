"""The file with the application credential: `clouds.yaml` as OpenStack's dashboard gives it."""

from __future__ import annotations

import ipaddress
import stat
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from federation_dns.providers import ProviderError

_MAKE = "'openstack application credential create NAME' makes one"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Auth(_Part):
    """The credential; it belongs to one user in one project."""

    auth_url: str = Field(pattern=r"^https?://[^/\s@?#]+(/[^\s?#]*)?$", max_length=300)
    application_credential_id: str = Field(min_length=1, max_length=64)
    application_credential_secret: SecretStr = Field(min_length=1, max_length=255)

    @field_validator("auth_url")
    @classmethod
    def _version(cls, value: str) -> str:
        plain = value.rstrip("/")
        return plain if plain.endswith("/v3") else f"{plain}/v3"


class Cloud(_Part):
    """One cloud of the file, one region of it."""

    auth: Auth
    auth_type: Literal["v3applicationcredential"] = "v3applicationcredential"
    region_name: str = Field(min_length=1, max_length=255)
    interface: Literal["public", "internal", "admin"] = "public"
    verify: Literal[True] = True
    cacert: Path | None = None


class _File(_Part):
    clouds: dict[str, Cloud] = Field(min_length=1)


def read_cloud(path: Path, name: str = "") -> Cloud:
    """Read the file.

    Args:
        path: readable by its owner alone.
        name: of the cloud in it; not needed where there is one.

    Raises:
        ProviderError: it can't be used; the text names what and the mend, no value.
    """
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise _error(path, "is open to others: 'chmod 600' it, for it holds a secret")
        found: object = yaml.safe_load(path.read_text(encoding="utf-8"))
        clouds = _File.model_validate(found).clouds
    except (OSError, UnicodeDecodeError) as error:
        raise _error(path, "cannot be read") from error
    except yaml.YAMLError:
        # Neither the text nor the cause: the parser quotes the line that it stumbled over.
        raise _error(path, "is no YAML") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the whole'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        why = f"is no clouds.yaml with an application credential ({_MAKE}): {faults}"
        raise _error(path, why) from None
    if name and name not in clouds:
        raise _error(path, f"has no cloud named {name}")
    if not name and len(clouds) > 1:
        raise _error(path, "has several clouds: name one in the provider's 'cloud'")
    cloud = clouds[name] if name else next(iter(clouds.values()))
    if cloud.cacert is not None and not cloud.cacert.is_file():
        raise _error(path, f"names the cacert {cloud.cacert}, which is not there")
    return cloud


def in_clear(url: str) -> bool:
    """Whether what is sent to an address can be read on the way: plain HTTP, not to this host."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname != "localhost"


def _error(path: Path, why: str) -> ProviderError:
    return ProviderError(f"the cloud file {path} {why}", "operator")
