"""What agents say to each other: small votes, big states. Parsing hostile input is here.

A vote is about 300 bytes and goes out every probe interval. A state goes out when asked for, which
a peer does when the vote names a newer one. One bad service harms only itself: it is left out, and
said.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from federation_dns.names import Name
from federation_dns.verdict import Vote
from federation_dns.zone import RegionState, Service

MAX_VOTE = 64 * 1024
MAX_STATE = 4 * 1024 * 1024
MAX_SERVICES = 10_000

Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Age = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, strict=True)]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Text = Annotated[str, StringConstraints(max_length=64)]


class WireError(Exception):
    """A message that is refused; the text says why and holds nothing of the message."""


class VoteMessage(BaseModel):
    """One member's ballot, and where its state stands."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal[1] = 1
    region: Name
    incarnation: Count
    sequence: Count
    state: Count = 0
    api: Vote = "unknown"
    ages: dict[Name, Age | None] = Field(default_factory=dict, max_length=64)


class _Service(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    namespace: Label
    name: Label
    addresses: tuple[Text, ...] = Field(default=(), max_length=32)
    ready: Count = 0
    ttl: Annotated[int, Field(ge=1, le=3600)] | None = None


class _State(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal[1] = 1
    region: Name
    incarnation: Count
    sequence: Count
    services: list[Any] = Field(max_length=MAX_SERVICES)


def parse_vote(body: bytes) -> VoteMessage:
    """Parse a vote.

    Raises:
        WireError: it is not one.
    """
    if len(body) > MAX_VOTE:
        raise WireError("the vote is too big")
    try:
        return VoteMessage.model_validate(_json(body))
    except ValidationError as error:
        raise WireError(f"the vote is malformed ({error.error_count()} faults)") from error


def dump_vote(message: VoteMessage) -> bytes:
    """The bytes of a vote."""
    return message.model_dump_json().encode()


def parse_state(body: bytes) -> tuple[RegionState, tuple[str, ...]]:
    """Parse a state; returns it with notes on what was left out.

    Raises:
        WireError: it is not one.
    """
    if len(body) > MAX_STATE:
        raise WireError("the state is too big")
    try:
        found = _State.model_validate(_json(body))
    except ValidationError as error:
        raise WireError(f"the state is malformed ({error.error_count()} faults)") from error
    services: dict[tuple[str, str], Service] = {}
    bad = 0
    for raw in found.services:
        try:
            s = _Service.model_validate(raw)
        except ValidationError:
            bad += 1
            continue
        services[s.namespace, s.name] = Service(s.namespace, s.name, s.addresses, s.ready, s.ttl)
    notes = (f"{found.region}: {bad} malformed services are left out",) if bad else ()
    kept = tuple(services[key] for key in sorted(services))
    return RegionState(found.region, found.incarnation, found.sequence, kept), notes


def dump_state(state: RegionState) -> dict[str, Any]:
    """A state as JSON data (`GET /v1/state`, and in the memory on disk)."""
    return {
        "version": 1,
        "region": state.region,
        "incarnation": state.incarnation,
        "sequence": state.sequence,
        "services": [
            {
                "namespace": s.namespace,
                "name": s.name,
                "addresses": list(s.addresses),
                "ready": s.ready,
                "ttl": s.ttl,
            }
            for s in state.services
        ],
    }


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError("the message is no JSON") from error
