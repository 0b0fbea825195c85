"""Names, identifiers and times, by Juju's rules."""

import re
import secrets
import string
import uuid
from datetime import UTC, datetime, timedelta

from federation_lab.juju.errors import JujuError

APPLICATION = re.compile(r"^(?:[a-z][a-z0-9]*(?:-[a-z0-9]*[a-z][a-z0-9]*)*)$")
MODEL = re.compile(r"^[a-z0-9]+[a-z0-9-]*$")
UNIT = re.compile(r"^([a-z][a-z0-9]*(?:-[a-z0-9]*[a-z][a-z0-9]*)*)/(0|[1-9][0-9]*|leader)$")
SECRET_ID = re.compile(r"^[0-9a-z]{20}$")
_SECRET_URI = re.compile(r"^(?:secret:)?(?://([0-9a-f-]{36})/)?([0-9a-z]{20})(?:\?.*)?$")
_OFFER_URL = re.compile(
    r"^(?:(?P<controller>[\w-]+):)?(?:(?P<owner>[\w.@-]+)/)?(?P<model>[a-z0-9-]+)\.(?P<offer>[\w-]+)$"
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_XID = string.digits + "abcdefghijklmnopqrstuv"


def application_of(unit: str) -> str:
    """The application of a unit's name."""
    return unit.partition("/")[0]


def number_of(unit: str) -> int:
    """The number in a unit's name."""
    return int(unit.rpartition("/")[2])


def unit_tag(unit: str) -> str:
    """``app/0`` as the tag ``unit-app-0``, which names directories."""
    return "unit-" + unit.replace("/", "-")


def new_uuid() -> str:
    """A fresh model, controller or machine UUID."""
    return str(uuid.uuid4())


def new_secret_id() -> str:
    """A fresh secret identifier: 20 characters, as an Xid has."""
    return "".join(secrets.choice(_XID) for _ in range(20))


def parse_secret_uri(text: str) -> tuple[str, str]:
    """A secret URI as (model UUID or "", identifier).

    Raises:
        JujuError: It is no secret URI.
    """
    match = _SECRET_URI.match(text)
    if not match:
        raise JujuError(f'secret URI "{text}" not valid')
    return match[1] or "", match[2]


def parse_offer_url(text: str) -> tuple[str, str, str]:
    """An offer's URL ``[controller:][owner/]model.offer`` as (owner, model, offer).

    Raises:
        JujuError: It is no offer URL.
    """
    match = _OFFER_URL.match(text)
    if not match:
        raise JujuError(f'offer URL "{text}" not valid: it is [<owner>/]<model>.<offer>')
    return match["owner"] or "admin", match["model"], match["offer"]


def parse_duration(text: str) -> timedelta:
    """A Go duration (``5m``, ``1h30m``, ``0.5s``).

    Raises:
        JujuError: It is no duration.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(f"{n}{u}" for n, u in parts) != text:
        raise JujuError(f'"{text}" is not a duration: write it like 30s, 5m or 1h30m')
    return timedelta(seconds=sum(float(n) * _UNITS[u] for n, u in parts))


def iso(moment: datetime) -> str:
    """A moment as Juju writes it into databases and secrets: RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def since(moment: datetime) -> str:
    """A moment as ``juju status`` writes it: ``22 Nov 2026 23:57:14Z``."""
    return moment.astimezone(UTC).strftime("%d %b %Y %H:%M:%SZ")
