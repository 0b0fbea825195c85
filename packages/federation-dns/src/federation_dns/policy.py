"""What a Service asks of its DNS names by annotation, `dns.kubefed.io/...`. Pure.

==========  =======================================================================================
ttl         seconds, 1 to 3600
strategy    `all` (default), `weighted`, `failover` or `local`; `federation_dns.strategy` has them
weights     `palermo=3,napoli=0`, 0 to 1000 each, 1 where a region isn't named
order       `palermo,catania`: who answers, for as long as it stands; the others follow by name
zones       `fed.example,example.org`, of those that the configuration names; default: the first
probe       a TCP port that its addresses are probed at, or `off`; default: its first TCP port
hostname    `shop.example.org`, up to eight: names of the user's own, as CNAMEs to the service's
==========  =======================================================================================

A value that isn't right is named and its default holds; the rest of the service is as it was. A
strategy's own annotation (`weights`, `order`) needs no `strategy` beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

T = TypeVar("T")

Strategy = Literal["all", "weighted", "failover", "local"]

PREFIX = "dns.kubefed.io/"
MAX_REGIONS = 64
MAX_ZONES = 16
MAX_HOSTNAMES = 8
MAX_WEIGHT = 1000
REGION = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
HOSTNAME = re.compile(rf"{_LABEL}(\.{_LABEL})+")
LONGEST_HOSTNAME = 240  # with the owner's label before it, a name has 253 at most


@dataclass(frozen=True, slots=True)
class Policy:
    """How a service is to be answered; the same from every region, or the most of them decide."""

    strategy: Strategy = "all"
    weights: tuple[tuple[str, int], ...] = ()
    order: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()


DEFAULT = Policy()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the annotations of one Service say.

    Attributes:
        policy: as far as it could be read.
        ttl: None: the federation's.
        probe: None: what the service's ports say; 0: none.
        faults: the annotations that could not be read, and what would be right.
    """

    policy: Policy = DEFAULT
    ttl: int | None = None
    probe: int | None = None
    faults: tuple[str, ...] = ()


def read(annotations: Mapping[str, object]) -> Asked:
    """Read the annotations of one Service."""
    faults: list[str] = []

    def value(name: str, parse: Callable[[str], T | None], right: str) -> T | None:
        raw = annotations.get(PREFIX + name)
        if raw is None:
            return None
        found = parse(str(raw).strip()) if len(str(raw)) <= 4096 else None
        if found is None:
            faults.append(f"{PREFIX}{name} {str(raw)[:60]!r} is not {right}; the default holds")
        return found

    ttl = value("ttl", _ttl, "a number of seconds from 1 to 3600")
    asked = value("strategy", _strategy, f"one of {', '.join(get_args(Strategy))}")
    weights = value("weights", _weights, "region=weight,... with weights from 0 to 1000") or ()
    order = value("order", _order, "a list of regions, each once") or ()
    zones = value("zones", _zones, "a list of zones, each once") or ()
    hostnames = value("hostname", _hostnames, "a list of at most eight DNS names") or ()
    implied: Strategy = "weighted" if weights else "failover" if order else "all"
    strategy = implied if asked is None else asked
    if PREFIX + "strategy" in annotations and asked is None:
        strategy = "all"
    if strategy == "failover" and not order:
        faults.append(f"{PREFIX}order is missing: the regions stand in the order of their names")
    if strategy == "weighted" and not weights:
        faults.append(f"{PREFIX}weights is missing: all count the same")
    return Asked(
        Policy(
            strategy,
            weights if strategy == "weighted" else (),
            order if strategy == "failover" else (),
            zones,
            hostnames,
        ),
        ttl,
        value("probe", _probe, "a TCP port, or 'off'"),
        tuple(faults),
    )


def _ttl(raw: str) -> int | None:
    right = raw.isascii() and raw.isdigit() and 1 <= int(raw[:6]) <= 3600
    return int(raw) if right else None


def _probe(raw: str) -> int | None:
    if raw == "off":
        return 0
    right = raw.isascii() and raw.isdigit() and len(raw) <= 5 and 1 <= int(raw) <= 65535
    return int(raw) if right else None


def _strategy(raw: str) -> Strategy | None:
    for name in get_args(Strategy):
        if raw == name:
            return name
    return None


def _weights(raw: str) -> tuple[tuple[str, int], ...] | None:
    found: dict[str, int] = {}
    for part in _parts(raw):
        region, _, number = (text.strip() for text in part.partition("="))
        right = number.isascii() and number.isdigit() and int(number[:6]) <= MAX_WEIGHT
        if not right or len(number) > 5 or region in found or not REGION.fullmatch(region):
            return None
        found[region] = int(number)
    return tuple(sorted(found.items())) if 0 < len(found) <= MAX_REGIONS else None


def _order(raw: str) -> tuple[str, ...] | None:
    return _list(raw, REGION, MAX_REGIONS)


def _zones(raw: str) -> tuple[str, ...] | None:
    return _list(raw, HOSTNAME, MAX_ZONES)


def _hostnames(raw: str) -> tuple[str, ...] | None:
    found = _list(raw, HOSTNAME, MAX_HOSTNAMES)
    return None if found is None or any(len(n) > LONGEST_HOSTNAME for n in found) else found


def _list(raw: str, pattern: re.Pattern[str], most: int) -> tuple[str, ...] | None:
    found = [part.lower().removesuffix(".") for part in _parts(raw)]
    right = 0 < len(found) <= most and len(set(found)) == len(found)
    return tuple(found) if right and all(pattern.fullmatch(part) for part in found) else None


def _parts(raw: str) -> list[str]:
    return [part.strip() for part in raw.split(",")]
