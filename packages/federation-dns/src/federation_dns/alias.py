"""Names of the users' own: CNAMEs to services' names, in the zones that the configuration names.

What is refused is said, for every agent in the same words. Of two services that ask for one name
the older has it (what a Service's `creationTimestamp` says in most of its regions), then the first
by namespace and name: who had a name keeps it, and no tenant takes another's by choosing its own
name well. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from federation_dns.names import home
from federation_dns.policy import HOSTNAME, LONGEST_HOSTNAME


@dataclass(frozen=True, slots=True)
class Claim:
    """One service's wish for one name.

    Attributes:
        hostname: the name.
        service: `namespace/name`.
        created: seconds since the epoch, 0 if unknown.
        ttl: of the CNAME.
        targets: the service's own name in each zone that it has one in; in its first zone first.
    """

    hostname: str
    service: str
    created: int
    ttl: int
    targets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Alias:
    """A CNAME to be."""

    hostname: str
    target: str
    ttl: int


def created(times: Iterable[int]) -> int:
    """When a service came into being, by the middle one of its regions; 0 if none says."""
    found = sorted(t for t in times if t > 0)
    return found[len(found) // 2] if found else 0


def resolve(claims: Iterable[Claim], zones: Sequence[str]) -> tuple[list[Alias], list[str]]:
    """Give each name to one service; returns notes on the others, and on names refused."""
    notes: list[str] = []
    wished: dict[str, list[Claim]] = {}
    for claim in claims:
        why = refused(claim.hostname, zones)
        if why is None:
            wished.setdefault(claim.hostname, []).append(claim)
        else:
            notes.append(f"{claim.service}: hostname {claim.hostname[:100]} left out: {why}")
    given: list[Alias] = []
    for hostname, found in sorted(wished.items()):
        first, *others = sorted(found, key=lambda c: (not c.created, c.created, c.service))
        zone = home(hostname, zones)
        target = first.targets.get(zone or "", next(iter(first.targets.values())))
        given.append(Alias(hostname, target, first.ttl))
        notes += [
            f"{other.service}: hostname {hostname} left out: {first.service} is older and has it"
            for other in others
        ]
    return given, notes


def refused(hostname: str, zones: Sequence[str]) -> str | None:
    """Why a name may not be given away; None if it may."""
    if not HOSTNAME.fullmatch(hostname) or len(hostname) > LONGEST_HOSTNAME:
        return "no DNS name"
    zone = home(hostname, zones)
    if zone is None:
        return f"not in a zone of this federation ({', '.join(zones)})"
    if hostname == zone:
        return "a zone's own name can have no CNAME (RFC 1034, 3.6.2); take a name below it"
    labels = hostname.removesuffix(f".{zone}").split(".")
    if "svc" in labels:
        return "names below 'svc' are the services' own"
    if len(labels) == 2 and labels[0] == "ns":
        return "names of name servers are the regions'"
    return None
