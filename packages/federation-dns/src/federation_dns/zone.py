"""What the zone should hold: states of all regions and the verdict → record sets. Pure.

Names: `<service>.<namespace>.svc.<zone>` for all healthy regions (which of them, the service's
strategy says: `federation_dns.strategy`), `<service>.<namespace>.svc.<region>.<zone>` for one, and
CNAMEs that users ask for (`federation_dns.alias`). Beside each name stands its owner, a TXT record
at `_federation.<name>`.

Never empty: where no region that stands has ready endpoints whose addresses can be connected to, a
name keeps, in this order, those of a region that is on its way back, those that are accused, the
addresses that are ready in withdrawn regions, what it answered last as far as it still exists,
every known address, its last answer. The name of one region keeps its answer when that region is
withdrawn, since there is nowhere else to send its users.

In panic nothing is built and the last answer stands. (A server cannot promise an order of
addresses, resolvers turn them; so "own addresses first" is no more than that the own region's
remain.)
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from federation_dns import alias, strategy
from federation_dns.policy import DEFAULT, Policy
from federation_dns.strategy import Offer

RecordType = Literal["A", "AAAA", "CNAME", "NS"]
Key = tuple[str, RecordType]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LONGEST_NAME = 253
_MOST_NOTES = 40


@dataclass(frozen=True, slots=True)
class Service:
    """One federated Service in one region; `probe` is the TCP port to ask, 0 if none is."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    ready: int
    ttl: int | None = None
    policy: Policy = DEFAULT
    created: int = 0
    probe: int = 0


@dataclass(frozen=True, slots=True)
class RegionState:
    """All federated Services of one region; (incarnation, sequence) only grows."""

    region: str
    incarnation: int
    sequence: int
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class RegionView:
    """One region as the zone's builder sees it.

    Attributes:
        name: the region.
        state: None until it has been heard once.
        out: it is withdrawn.
        ranges: where its addresses may lie.
        nameserver: its authority.
        failed: addresses that a majority cannot connect to: namespace, name, address.
        waiting: services whose step has not come since it returned: namespace, name.
    """

    name: str
    state: RegionState | None
    out: bool
    ranges: tuple[str, ...]
    nameserver: str | None = None
    failed: frozenset[tuple[str, str, str]] = frozenset()
    waiting: frozenset[tuple[str, str]] = frozenset()


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
    *,
    more: Sequence[str] = (),
    here: str | None = None,
) -> Zone:
    """Build the records of all services.

    Args:
        zone: the zone's name, without a trailing dot.
        ttl: for services that name none.
        regions: every region of the federation.
        last: what was wanted last.
        former: last states of regions that left; their addresses may go at once.
        more: further zones that services may choose.
        here: whose server it is for. It matters to services whose strategy is `local`, and only
            to them: all else is the same for every region.
    """
    notes: list[str] = []
    zones = (zone, *(z for z in more if z != zone))
    longest = max(zones, key=len)
    explained = {a for state in former for s in state.services for a in s.addresses}
    offers: dict[tuple[str, str], list[Offer]] = {}
    for region in sorted(regions, key=lambda r: r.name):
        for service in () if region.state is None else region.state.services:
            offer = _offer(longest, region, service, explained, notes)
            if offer is not None:
                offers.setdefault((service.namespace, service.name), []).append(offer)
    made = _Records(ttl, zones, last, here)
    known = frozenset(r.name for r in regions)
    for (namespace, name), found in sorted(offers.items()):
        made.service(namespace, name, found, known)
    made.aliases()
    complete = bool(regions) and all(r.state is not None for r in regions)
    told = (*notes, *made.notes)
    if len(told) > _MOST_NOTES:
        told = (*told[:_MOST_NOTES], f"and {len(told) - _MOST_NOTES} more of this kind")
    return Zone(made.records, complete, frozenset(explained), told, made.left)


class _Records:
    """The records while they are being built."""

    def __init__(
        self,
        ttl: int,
        zones: tuple[str, ...],
        last: Mapping[Key, RecordSet],
        here: str | None,
    ):
        self._ttl = ttl
        self._zones = zones
        self._last = last
        self._here = here
        self._claims: list[alias.Claim] = []
        self.records: dict[Key, RecordSet] = {}
        self.left: dict[str, frozenset[str]] = {}
        self.notes: list[str] = []

    def service(
        self, namespace: str, name: str, found: list[Offer], known: frozenset[str]
    ) -> None:
        """Add the names of one service."""
        told = f"{namespace}/{name}"
        policy, note = strategy.agreed(found)
        self._note(told, note)
        strangers = {*policy.order, *(region for region, _ in policy.weights)} - known
        if strangers:
            names = ", ".join(sorted(strangers))
            self._note(told, f"its annotations name regions that there are not: {names}")
        ttl = min((o.ttl for o in found if o.ttl is not None), default=self._ttl)
        targets: dict[str, str] = {}
        for zone in self._chosen(policy, told):
            everywhere = service_name(name, namespace, zone)
            self._everywhere(everywhere, ttl, policy, found, "" if targets else told)
            targets[zone] = everywhere
            for offer in found:
                alone = service_name(name, namespace, zone, offer.region)
                chosen = offer.well or offer.addresses or _last(alone, self._last)
                _put(self.records, alone, ttl, chosen)
        created = alias.created(o.created for o in found)
        self._claims += [
            alias.Claim(hostname, told, created, ttl, targets) for hostname in policy.hostnames
        ]

    def _chosen(self, policy: Policy, told: str) -> Sequence[str]:
        strange = [z for z in policy.zones if z not in self._zones]
        if strange:
            self._note(told, f"zones that the configuration does not name: {', '.join(strange)}")
        return [z for z in policy.zones if z in self._zones] or self._zones[:1]

    def _everywhere(
        self, name: str, ttl: int, policy: Policy, found: list[Offer], told: str
    ) -> None:
        live = _live(found)
        if live:
            choice = strategy.choose(policy, live, self._here)
            addresses: Sequence[str] = choice.addresses
            over = {a for o in live for a in o.addresses}.difference(addresses)
            if over:
                self.left[name] = frozenset(over)
            self._note(told, choice.note)
        else:
            addresses = _leftover(policy, found, name, self._last, self._here)
        _put(self.records, name, ttl, addresses)

    def aliases(self) -> None:
        """Add the users' own names, once all services are there."""
        given, notes = alias.resolve(self._claims, self._zones)
        self.notes += notes
        for each in given:
            if (each.target, "A") in self.records or (each.target, "AAAA") in self.records:
                record = RecordSet(each.hostname, "CNAME", each.ttl, (each.target,))
                self.records[each.hostname, "CNAME"] = record

    def _note(self, told: str, note: str) -> None:
        if note and told:
            self.notes.append(f"{told}: {note}")


def nameservers(
    zone: str, ttl: int, regions: Iterable[RegionView], secondaries: Iterable[str] = ()
) -> dict[Key, RecordSet]:
    """NS of the zone and their addresses, one name server a region (RFC 1034, 4.2.1: glue).

    Secondaries are others' hosts: named, without an address of ours.
    """
    found = {f"ns.{r.name}.{zone}": r.nameserver for r in regions if r.nameserver}
    if not found:
        return {}
    records: dict[Key, RecordSet] = {}
    for name, address in sorted(found.items()):
        _put(records, name, ttl, [address])
    records[zone, "NS"] = RecordSet(zone, "NS", ttl, tuple(sorted({*found, *secondaries})))
    return records


def _offer(
    zone: str, region: RegionView, service: Service, explained: set[str], notes: list[str]
) -> Offer | None:
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
        text, reason = _checked(address, tuple(region.ranges))
        if reason is None:
            kept.append(text)
        else:
            explained.add(address)
            notes.append(f"{told}: address {address[:60]!r} left out: {reason}")
    place = (service.namespace, service.name)
    waits = place in region.waiting
    failed = {a for a in kept if (*place, a) in region.failed} if region.failed else set[str]()
    if region.out or waits or service.ready <= 0:
        explained.update(kept)
    explained.update(failed)
    return Offer(
        region.name,
        region.out,
        service.ready > 0,
        tuple(kept),
        service.ttl,
        service.policy,
        service.created,
        waits,
        frozenset(failed),
    )


def refused(address: str, ranges: Iterable[str]) -> str | None:
    """Why a region may not publish an address; None if it may."""
    return _checked(address, tuple(ranges))[1]


# Parsing addresses is what most of the time would go to: 30 regions of 1,000 services say the
# same ones at every change.
@functools.lru_cache(maxsize=65536)
def _checked(address: str, ranges: tuple[str, ...]) -> tuple[str, str | None]:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address, "no IP address"
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return address, "a loopback, link-local, multicast or unspecified address"
    networks = [ipaddress.ip_network(r, strict=False) for r in ranges]
    if not any(ip in network for network in networks if network.version == ip.version):
        return address, "outside the region's address_ranges"
    return str(ip), None


def _live(found: Iterable[Offer]) -> list[Offer]:
    """Who may be answered: what is ready where it stands, and connected to.

    If there is none: what waits for its step, else what is accused (if all of it is, nobody is
    believed), else what is ready anywhere.
    """
    ready = [o for o in found if o.ready and o.addresses]
    standing = [o for o in ready if not o.out]
    well = [replace(o, addresses=o.well) for o in standing if o.well]
    return [o for o in well if not o.waits] or well or standing or ready


def _leftover(
    policy: Policy,
    found: Sequence[Offer],
    name: str,
    last: Mapping[Key, RecordSet],
    here: str | None,
) -> Sequence[str]:
    """Nothing is ready: what was answered last and exists, what is known, what was answered."""
    known = [o for o in found if o.addresses]
    before = _last(name, last)
    there = {a for o in known for a in o.addresses}
    kept = [a for a in before if a in there]
    return kept or (strategy.choose(policy, known, here).addresses if known else before)


def _last(name: str, last: Mapping[Key, RecordSet]) -> list[str]:
    kinds: tuple[RecordType, RecordType] = ("A", "AAAA")
    return [value for kind in kinds if (name, kind) in last for value in last[name, kind].values]


@functools.lru_cache(maxsize=65536)
def _kind(address: str) -> tuple[RecordType, str]:
    ip = ipaddress.ip_address(address)
    return "A" if ip.version == 4 else "AAAA", str(ip)


def _put(records: dict[Key, RecordSet], name: str, ttl: int, addresses: Iterable[str]) -> None:
    kinds: dict[RecordType, set[str]] = {}
    for address in addresses:
        kind, text = _kind(address)
        kinds.setdefault(kind, set()).add(text)
    for kind, values in kinds.items():
        records[name, kind] = RecordSet(name, kind, ttl, tuple(sorted(values)))
