"""The field types that several interfaces share, each with the rule it enforces."""

import ipaddress
import re
import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

_REGION = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_SECRET = re.compile(
    r"secret://[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-z]{20}",
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PEM_BEGIN = "-----BEGIN CERTIFICATE-----"
_PEM_END = "-----END CERTIFICATE-----"
_DURATION = re.compile(r"([1-9][0-9]*)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def check_region(value: str) -> str:
    """Accept what is a Juju model's, a KubeFedCluster's and a DNS label's name at once."""
    if not _REGION.fullmatch(value):
        raise ValueError(
            "a region's name is 1 to 40 of a-z, 0-9 and hyphen, "
            "starts with a letter and ends with none of hyphen",
        )
    return value


def check_https_url(value: str) -> str:
    """Accept an https address with a host and without credentials, query or fragment."""
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("must be an https:// address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold nothing but scheme, host, port and path")
    _ = parts.port  # raises ValueError out of range
    return value.rstrip("/")


def check_certificates(value: str) -> str:
    """Accept one or more PEM certificates and nothing else, least of all a private key."""
    text = value.strip()
    if "PRIVATE KEY" in text:
        raise ValueError("holds a private key where only certificates belong")
    if not text.startswith(_PEM_BEGIN) or not text.endswith(_PEM_END):
        raise ValueError("must be PEM certificates")
    try:
        # One that TLS cannot load would stop whoever trusts it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("holds what is no certificate") from error
    return text + "\n"


def check_certificate(value: str) -> str:
    """Accept exactly one PEM certificate."""
    if value.count(_PEM_BEGIN) != 1:
        raise ValueError("must be exactly one PEM certificate")
    return check_certificates(value)


def check_origin(value: str) -> str:
    """Accept an https address without a path."""
    if urlsplit(check_https_url(value)).path:
        raise ValueError("must have no path")
    return value.rstrip("/")


def check_secret_id(value: str) -> str:
    """Accept only IDs that name their model: others mean nothing in another model."""
    if not _SECRET.fullmatch(value):
        raise ValueError("must be secret://<model uuid>/<id>")
    return value


def check_digest(value: str) -> str:
    """Accept a SHA-256 in hex."""
    if not _DIGEST.fullmatch(value):
        raise ValueError("must be a SHA-256 in hex")
    return value


def check_network(value: str) -> str:
    """Accept an address range and return it as written by everybody."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"must be an address range (CIDR): {error}") from error


def check_address(value: str) -> str:
    """Accept an IP address."""
    return str(ipaddress.ip_address(value))


def check_labels(value: dict[str, str]) -> dict[str, str]:
    """Accept what Kubernetes accepts as labels."""
    for key, label in value.items():
        prefix, _, name = key.rpartition("/")
        if not _LABEL_NAME.fullmatch(name) or ("/" in key and not _LABEL_PREFIX.fullmatch(prefix)):
            raise ValueError(f"{key!r} is no label key of Kubernetes")
        if label and not _LABEL_NAME.fullmatch(label):
            raise ValueError(f"{key}: {label!r} is no label value of Kubernetes")
    return value


def parse_duration(value: str | timedelta) -> timedelta:
    """Read a number with its unit.

    >>> parse_duration("90m")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip())
    if not match:
        raise ValueError("must be a number with s, m, h or d, like 24h")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def if_any(check: Callable[[str], str]) -> AfterValidator:
    """Return the rule for an option of a charm that may be left empty."""

    def checked(value: str) -> str:
        return check(value) if value.strip() else ""

    return AfterValidator(checked)


def check_token_lifetime(value: timedelta) -> timedelta:
    """Accept what Kubernetes accepts as the life of a token."""
    if value < timedelta(minutes=10):
        raise ValueError("must be at least 10m (Kubernetes mints no shorter token)")
    return value


Region = Annotated[str, AfterValidator(check_region)]
HttpsUrl = Annotated[str, AfterValidator(check_https_url)]
Certificates = Annotated[str, AfterValidator(check_certificates)]
Certificate = Annotated[str, AfterValidator(check_certificate)]
HttpsOrigin = Annotated[str, AfterValidator(check_origin)]
SecretId = Annotated[str, AfterValidator(check_secret_id)]
Digest = Annotated[str, AfterValidator(check_digest)]
Network = Annotated[str, AfterValidator(check_network)]
Address = Annotated[str, AfterValidator(check_address)]
Labels = Annotated[dict[str, str], AfterValidator(check_labels)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
ConfiguredRegion = Annotated[str, if_any(check_region)]
ConfiguredUrl = Annotated[str, if_any(check_https_url)]
ConfiguredCertificates = Annotated[str, if_any(check_certificates)]
TokenLifetime = Annotated[Duration, AfterValidator(check_token_lifetime)]
