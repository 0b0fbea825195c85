"""The DNS server that takes the zone: this unit's BIND, OpenStack's Designate, or another.

What another server's credential is, a Juju user secret says, which an administrator grants to this
application. It goes to a file of the agent's alone, and nowhere else.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import ops
import yaml
from dns_settings import Settings
from federation_interfaces.databag import config_error
from federation_interfaces.fields import ConfiguredCertificates
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

CLOUDS = "clouds.yaml"
CLOUDS_CA = "clouds-ca.crt"
TSIG = "provider-tsig.key"
FILES = (CLOUDS, CLOUDS_CA, TSIG)
SECRETS = ("designate-credential", "rfc2136-key")


def _base64(value: str) -> str:
    try:
        decoded = base64.b64decode(value, validate=True)
    except binascii.Error:
        decoded = b""
    if len(decoded) < 32:
        raise ValueError("must be a key of 256 bits or more in base64, as tsig-keygen makes it")
    return value


class ProviderTrouble(Exception):  # noqa: N818 - what the status says
    """The credential is not there or not right; the text has the mend and no secret."""


class _Content(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=lambda name: name.replace("_", "-"), extra="forbid", frozen=True
    )


class Credential(_Content):
    """An application credential of OpenStack."""

    auth_url: str = Field(pattern=r"^https?://[^/\s@?#]+(/[^\s?#]*)?$", max_length=300)
    application_credential_id: str = Field(min_length=1, max_length=64)
    application_credential_secret: str = Field(min_length=1, max_length=255)
    region_name: str = Field(min_length=1, max_length=255)
    interface: Literal["public", "internal", "admin"] = "public"
    ca_certificate: ConfiguredCertificates = ""
    allow_http: Literal["true", "false"] = "false"


class TsigKey(_Content):
    """A key of another DNS server (HMAC-SHA256)."""

    name: str = Field(pattern=r"^[-._A-Za-z0-9]+$", max_length=200)
    secret: Annotated[str, AfterValidator(_base64)]


C = TypeVar("C", Credential, TsigKey)


@dataclass(frozen=True)
class Target:
    """A server that is not this unit's.

    Attributes:
        configuration: the agent's `provider` (docs/design.md, section 4).
        files: name and content, secret; in the agent's directory.
    """

    configuration: dict[str, Any]
    files: dict[str, str] = field(repr=False)


def target(
    model: ops.Model, settings: Settings, secrets: Mapping[str, str], directory: Path
) -> Target | None:
    """Return the server to write to; None: this unit's BIND.

    Args:
        model: asked for the secrets.
        settings: say which server.
        secrets: the options of `SECRETS`, an ID or nothing each.
        directory: the agent's, where the files will be.

    Raises:
        ProviderTrouble: its credential cannot be used.
    """
    if settings.own_server:
        return None
    if settings.provider == "designate":
        option = "designate-credential"
        found = _read(model, settings.provider, Credential, option, secrets[option])
        return _designate(found, settings, directory)
    if not settings.rfc2136_server:
        raise ProviderTrouble("config: provider=rfc2136 needs rfc2136-server, its address")
    option = "rfc2136-key"
    key = _read(model, settings.provider, TsigKey, option, secrets[option])
    return _rfc2136(key, settings, directory)


def _read(model: ops.Model, kind: str, content: type[C], option: str, number: str) -> C:
    keys = " ".join(
        f"{info.alias or name}=..."
        for name, info in content.model_fields.items()
        if info.is_required()
    )
    if not number:
        raise ProviderTrouble(
            f"config: provider={kind} needs {option}: 'juju add-secret NAME {keys}', "
            f"'juju grant-secret NAME {model.app.name}', and its ID as the option"
        )
    try:
        found = model.get_secret(id=number).get_content(refresh=True)
    except (ops.SecretNotFoundError, ops.ModelError) as error:
        raise ProviderTrouble(
            f"{option}: no such secret is granted: 'juju grant-secret {number} {model.app.name}'"
        ) from error
    try:
        return content.model_validate(found)
    except ValidationError as error:
        # The values stay out of it, and out of the traceback's cause.
        raise ProviderTrouble(
            f"{option}: {config_error(error)}; put it right with 'juju update-secret'"
        ) from None


def _designate(found: Credential, settings: Settings, directory: Path) -> Target:
    cloud: dict[str, Any] = {
        "auth_type": "v3applicationcredential",
        "auth": {
            "auth_url": found.auth_url,
            "application_credential_id": found.application_credential_id,
            "application_credential_secret": found.application_credential_secret,
        },
        "region_name": found.region_name,
        "interface": found.interface,
    }
    files: dict[str, str] = {}
    if found.ca_certificate:
        files[CLOUDS_CA] = found.ca_certificate
        cloud["cacert"] = str(directory / CLOUDS_CA)
    files[CLOUDS] = yaml.safe_dump({"clouds": {"openstack": cloud}}, sort_keys=False)
    configuration: dict[str, Any] = {
        "type": "designate",
        "cloud-file": str(directory / CLOUDS),
        "email": settings.designate_email,
        "allow-http": found.allow_http == "true",
    }
    return Target(configuration, files)


def _rfc2136(found: TsigKey, settings: Settings, directory: Path) -> Target:
    from federation_dns import bind

    configuration = {
        "type": "rfc2136",
        "server": settings.rfc2136_server,
        "port": settings.rfc2136_port,
        "key-name": found.name,
        "key-file": str(directory / TSIG),
    }
    return Target(configuration, {TSIG: bind.key_file(found.name, found.secret)})
