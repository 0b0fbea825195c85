"""What agents say to each other: small votes, big states. Parsing hostile input is here.

A vote is about 300 bytes and goes out every probe interval. A state, and what a member accuses of
services' addresses, go out when asked for, which a peer does when the vote names newer ones. One
bad service harms only itself: it is left out, and said.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from federation_dns.health import Accusation
from federation_dns.names import Name
from federation_dns.policy import (
    DEFAULT,
    HOSTNAME,
    MAX_HOSTNAMES,
    MAX_REGIONS,
    MAX_WEIGHT,
    MAX_ZONES,
    Policy,
    Strategy,
)
from federation_dns.probes import Target
from federation_dns.verdict import Vote
from federation_dns.zone import RegionState, Service

M = TypeVar("M", bound=BaseModel)
MAX_VOTE = 64 * 1024
MAX_STATE = 4 * 1024 * 1024
MAX_SERVICES = 10_000
MAX_ACCUSED = 10_000

Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Age = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, strict=True)]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Hostname = Annotated[str, StringConstraints(pattern=rf"^{HOSTNAME.pattern}$", max_length=253)]
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
    accused: Count = 0
    clock: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False, strict=True)] | None = None
    ages: dict[Name, Age | None] = Field(default_factory=dict, max_length=64)


class _Service(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    namespace: Label
    name: Label
    addresses: tuple[Text, ...] = Field(default=(), max_length=32)
    ready: Count = 0
    ttl: Annotated[int, Field(ge=1, le=3600)] | None = None
    created: Count = 0
    policy: Any = None
    probe: Annotated[int, Field(ge=0, le=65535, strict=True)] = 0


class _Policy(BaseModel):
    """What differs from the default of `federation_dns.policy.Policy`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    strategy: Strategy = "all"
    weights: dict[Name, Annotated[int, Field(ge=0, le=MAX_WEIGHT, strict=True)]] = Field(
        default_factory=dict, max_length=MAX_REGIONS
    )
    order: tuple[Name, ...] = Field(default=(), max_length=MAX_REGIONS)
    zones: tuple[Hostname, ...] = Field(default=(), max_length=MAX_ZONES)
    hostnames: tuple[Hostname, ...] = Field(default=(), max_length=MAX_HOSTNAMES)


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
    return _read(VoteMessage, body, "vote", MAX_VOTE)


def dump_vote(message: VoteMessage) -> bytes:
    """The bytes of a vote."""
    return message.model_dump_json().encode()


def parse_state(body: bytes) -> tuple[RegionState, tuple[str, ...]]:
    """Parse a state; returns it with notes on what was left out.

    Raises:
        WireError: it is not one.
    """
    found = _read(_State, body, "state", MAX_STATE)
    services: dict[tuple[str, str], Service] = {}
    bad = strange = 0
    for raw in found.services:
        try:
            s = _Service.model_validate(raw)
        except ValidationError:
            bad += 1
            continue
        policy = _policy(s.policy)
        strange += policy is None
        services[s.namespace, s.name] = Service(
            s.namespace, s.name, s.addresses, s.ready, s.ttl, policy or DEFAULT, s.created, s.probe
        )
    notes: list[str] = []
    if bad:
        notes.append(f"{found.region}: {bad} malformed services are left out")
    if strange:
        notes.append(
            f"{found.region}: the policies of {strange} services are of no version known here; "
            "they count as none"
        )
    kept = tuple(services[key] for key in sorted(services))
    return RegionState(found.region, found.incarnation, found.sequence, kept), tuple(notes)


def _policy(raw: object) -> Policy | None:
    """A policy; None: it is none that this version knows, and its service stays all the same."""
    if raw is None:
        return DEFAULT
    try:
        p = _Policy.model_validate(raw)
    except ValidationError:
        return None
    weights = tuple(sorted(p.weights.items()))
    return Policy(p.strategy, weights, p.order, p.zones, p.hostnames)


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
                **({"created": s.created} if s.created else {}),
                **({"probe": s.probe} if s.probe else {}),
                **({"policy": _dump_policy(s.policy)} if s.policy != DEFAULT else {}),
            }
            for s in state.services
        ],
    }


def _dump_policy(policy: Policy) -> dict[str, Any]:
    lists = {"order": policy.order, "zones": policy.zones, "hostnames": policy.hostnames}
    return {
        **({} if policy.strategy == "all" else {"strategy": policy.strategy}),
        **({"weights": dict(policy.weights)} if policy.weights else {}),
        **{name: list(found) for name, found in lists.items() if found},
    }


class _Accusation(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal[1] = 1
    region: Name
    incarnation: Count
    sequence: Count
    accused: dict[Name, Annotated[list[Any], Field(max_length=MAX_ACCUSED)]] = Field(max_length=64)


def parse_accusation(body: bytes) -> Accusation:
    """Parse what a member accuses; an entry that is none is left out.

    Raises:
        WireError: it is no accusation.
    """
    found = _read(_Accusation, body, "accusation", MAX_STATE)
    targets = frozenset(
        Target(region, *entry)
        for region, entries in found.accused.items()
        for entry in entries
        if isinstance(entry, list) and len(entry) == 3
        if all(isinstance(part, str) and len(part) <= 64 for part in entry)
    )
    return Accusation(found.region, found.incarnation, found.sequence, targets)


def dump_accusation(accusation: Accusation) -> dict[str, Any]:
    """An accusation as JSON data (`GET /v1/accused`)."""
    accused: dict[str, list[list[str]]] = {}
    for target in sorted(accusation.targets):
        accused.setdefault(target.region, []).append(list(target[1:]))
    return {
        "version": 1,
        "region": accusation.region,
        "incarnation": accusation.incarnation,
        "sequence": accusation.sequence,
        "accused": accused,
    }


def _read(model: type[M], body: bytes, what: str, most: int) -> M:
    if len(body) > most:
        raise WireError(f"the {what} is too big")
    try:
        return model.model_validate(_json(body))
    except ValidationError as error:
        raise WireError(f"the {what} is malformed ({error.error_count()} faults)") from error


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError("the message is no JSON") from error
