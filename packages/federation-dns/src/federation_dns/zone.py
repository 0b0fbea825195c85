"""What the zone should hold: states of all regions and the verdict → record sets. Pure.

Names: `<service>.<namespace>.svc.<zone>` for all healthy regions, and
`<service>.<namespace>.svc.<region>.<zone>` for one. Beside each name stands its owner, a TXT
record at `_federation.<name>`.

Never empty: where no region that stands has ready endpoints, a name keeps, in this order, the
addresses that are ready in withdrawn regions, what it answered last as far as it still exists,
every known address, its last answer. The name of one region keeps its answer when that region is
withdrawn, since there is nowhere else to send its users.

In panic nothing is built and the last answer stands. (A server cannot promise an order of
addresses, resolvers turn them; so "own addresses first" is no more than that the own region's
remain.)
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

RecordType = Literal["A", "AAAA", "CNAME", "NS"]
Key = tuple[str, RecordType]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class Service:
    """One federated Service in one region."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    ready: int
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class RegionState:
    """All federated Services of one region; (incarnation, sequence) only grows."""

    region: str
    incarnation: int
    sequence: int
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class RegionView:
    """One region as the zone's builder sees it; `state` is None until it has been heard once."""

    name: str
    state: RegionState | None
    out: bool
    ranges: tuple[str, ...]
    nameserver: str | None = None


@dataclass(frozen=True, slots=True)
class RecordSet:
    """An RRset; `values` are sorted."""

    name: str
    type: RecordType
    ttl: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Zone:
    """What the zone should hold of ours.

    Attributes:
        records: by name and type.
        complete: whether every region has been heard; if not, nothing may be taken away.
        explained: addresses that may go at once (region out, service not ready, range refused).
        notes: what was left out and why.
        left: by name, addresses that the service's strategy leaves out there.
    """

    records: Mapping[Key, RecordSet]
    complete: bool
    explained: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    left: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])


@dataclass(frozen=True, slots=True)
class _Offer:
    """A service's addresses in one region."""

    region: str
    out: bool
    ready: bool
    addresses: tuple[str, ...]
    ttl: int | None


def home(name: str, zones: Sequence[str]) -> str | None:
    """The zone of `zones` that a name belongs to: the nearest one above it."""
    above = [z for z in zones if name == z or name.endswith(f".{z}")]
    return max(above, key=len, default=None)


def service_name(service: str, namespace: str, zone: str, region: str | None = None) -> str:
    """The DNS name of a service, everywhere or in one region."""
    middle = "" if region is None else f"{region}."
    return f"{service}.{namespace}.svc.{middle}{zone}"


def build(
    zone: str,
    ttl: int,
    regions: Sequence[RegionView],
    last: Mapping[Key, RecordSet],
    former: Iterable[RegionState] = (),
) -> Zone:
    """Build the records of all services.

    Args:
        zone: the zone's name, without a trailing dot.
        ttl: for services that name none.
        regions: every region of the federation.
        last: what was wanted last.
        former: last states of regions that left; their addresses may go at once.
    """
    notes: list[str] = []
    explained = {a for state in former for s in state.services for a in s.addresses}
    offers: dict[tuple[str, str], list[_Offer]] = {}
    for region in sorted(regions, key=lambda r: r.name):
        for service in () if region.state is None else region.state.services:
            offer = _offer(zone, region, service, explained, notes)
            if offer is not None:
                offers.setdefault((service.namespace, service.name), []).append(offer)
    records: dict[Key, RecordSet] = {}
    for (namespace, name), found in sorted(offers.items()):
        wanted_ttl = min((o.ttl for o in found if o.ttl is not None), default=ttl)
        everywhere = service_name(name, namespace, zone)
        _put(records, everywhere, wanted_ttl, _global(found, everywhere, last))
        for offer in found:
            alone = service_name(name, namespace, zone, offer.region)
            chosen = offer.addresses or _last(alone, last)
            _put(records, alone, wanted_ttl, chosen)
    complete = bool(regions) and all(r.state is not None for r in regions)
    return Zone(records, complete, frozenset(explained), tuple(notes))


def nameservers(zone: str, ttl: int, regions: Iterable[RegionView]) -> dict[Key, RecordSet]:
    """NS of the zone and their addresses, one name server a region (RFC 1034, 4.2.1: glue)."""
    found = {f"ns.{r.name}.{zone}": r.nameserver for r in regions if r.nameserver}
    if not found:
        return {}
    records: dict[Key, RecordSet] = {}
    for name, address in sorted(found.items()):
        _put(records, name, ttl, [address])
    records[zone, "NS"] = RecordSet(zone, "NS", ttl, tuple(sorted(found)))
    return records


def _offer(
    zone: str, region: RegionView, service: Service, explained: set[str], notes: list[str]
) -> _Offer | None:
    told = f"{region.name}: {service.namespace}/{service.name}"
    longest = service_name(service.name, service.namespace, zone, region.name)
    labels = (service.name, service.namespace)
    if not all(_LABEL.fullmatch(label) for label in labels) or (
        len(f"_federation.{longest}") > _LONGEST_NAME
    ):
        notes.append(f"{region.name}: a service whose name is no DNS name is left out")
        return None
    kept: list[str] = []
    for address in service.addresses:
        reason = refused(address, region.ranges)
        if reason is None:
            kept.append(str(ipaddress.ip_address(address)))
        else:
            explained.add(address)
            notes.append(f"{told}: address {address[:60]!r} left out: {reason}")
    if region.out or service.ready <= 0:
        explained.update(kept)
    return _Offer(region.name, region.out, service.ready > 0, tuple(kept), service.ttl)


def refused(address: str, ranges: Iterable[str]) -> str | None:
    """Why a region may not publish an address; None if it may."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "no IP address"
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return "a loopback, link-local, multicast or unspecified address"
    networks = [ipaddress.ip_network(r, strict=False) for r in ranges]
    if not any(ip in network for network in networks if network.version == ip.version):
        return "outside the region's address_ranges"
    return None


def _global(found: list[_Offer], name: str, last: Mapping[Key, RecordSet]) -> Sequence[str]:
    for choose in (
        lambda o: o.ready and not o.out,
        lambda o: o.ready,
    ):
        if live := [a for o in found if choose(o) for a in o.addresses]:
            return live
    known = [a for o in found for a in o.addresses]
    before = _last(name, last)
    return [a for a in before if a in known] or known or before


def _last(name: str, last: Mapping[Key, RecordSet]) -> list[str]:
    kinds: tuple[RecordType, RecordType] = ("A", "AAAA")
    return [value for kind in kinds if (name, kind) in last for value in last[name, kind].values]


def _put(records: dict[Key, RecordSet], name: str, ttl: int, addresses: Iterable[str]) -> None:
    kinds: dict[RecordType, set[str]] = {"A": set(), "AAAA": set()}
    for address in addresses:
        ip = ipaddress.ip_address(address)
        kinds["A" if ip.version == 4 else "AAAA"].add(str(ip))
    for kind, values in kinds.items():
        if values:
            records[name, kind] = RecordSet(name, kind, ttl, tuple(sorted(values)))
