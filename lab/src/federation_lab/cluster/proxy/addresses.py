"""Which load balancer has which address: pure."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable

from federation_lab.cluster.kube import Key, Object, key_of


@dataclasses.dataclass(frozen=True)
class Range:
    """The addresses from ``first`` to ``last``."""

    first: str
    last: str

    @classmethod
    def of_subnet(cls, address: str) -> Range:
        """Give .200 to .250 of a machine's /24."""
        head = address.rpartition(".")[0]
        return cls(f"{head}.200", f"{head}.250")

    def __contains__(self, address: str) -> bool:
        first, last = (ipaddress.IPv4Address(end) for end in (self.first, self.last))
        return first <= ipaddress.IPv4Address(address) <= last

    def addresses(self) -> list[str]:
        """Give all of them in order."""
        first, last = (int(ipaddress.ip_address(end)) for end in (self.first, self.last))
        return [str(ipaddress.ip_address(number)) for number in range(first, last + 1)]


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What the services' statuses must say.

    Attributes:
        addresses: each load balancer's.
        release: services that have an address of the range and are load balancers no longer.
        refused: why a load balancer gets none.
    """

    addresses: dict[Key, str]
    release: tuple[Key, ...]
    refused: dict[Key, str]


def assign(services: Iterable[Object], given: Range) -> Assignment:
    """Decide all addresses; who has one keeps it, then the older service goes first.

    ``spec.loadBalancerIP`` is given if it is of the range and free, and nothing else is.
    """
    addresses: dict[Key, str] = {}
    release: list[Key] = []
    waiting: list[Object] = []
    ordered = sorted(
        services, key=lambda s: (s["metadata"].get("creationTimestamp", ""), key_of(s))
    )
    for service in ordered:
        has = _current(service, given)
        wish = service["spec"].get("loadBalancerIP") or has
        if not _ours(service):
            if has:
                release.append(key_of(service))
        elif has and has == wish and has not in addresses.values():
            addresses[key_of(service)] = has
        else:
            waiting.append(service)
    taken = set(addresses.values())
    refused: dict[Key, str] = {}
    for service in waiting:
        key = key_of(service)
        wish = service["spec"].get("loadBalancerIP") or ""
        problem = _problem(wish, given, taken)
        if problem:
            refused[key] = problem
            continue
        addresses[key] = wish or next(a for a in given.addresses() if a not in taken)
        taken.add(addresses[key])
    return Assignment(addresses, tuple(release), refused)


def _problem(wish: str, given: Range, taken: set[str]) -> str:
    if wish:
        try:
            if wish not in given:
                return f"loadBalancerIP {wish} is not of this region's {given.first}-{given.last}"
        except ValueError:
            return f"loadBalancerIP {wish!r} is not an address"
        return f"loadBalancerIP {wish} belongs to another service" if wish in taken else ""
    if len(taken) == len(given.addresses()):
        return f"all addresses of {given.first}-{given.last} are taken"
    return ""


def _ours(service: Object) -> bool:
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")


def _current(service: Object, given: Range) -> str:
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    for entry in balancer.get("ingress") or []:
        if entry.get("ip") and entry["ip"] in given:
            return str(entry["ip"])
    return ""
