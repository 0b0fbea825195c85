"""Which of a service's addresses are answered, by the strategy that it asks for. Pure.

========  =========================================================================================
all       every region that stands and has ready endpoints
failover  the first such region in the service's `order`, then those not named there; the next one
          when it is lost, and back when the verdict brings it back
local     at each region's own servers that region, while it stands; else, and elsewhere, as `all`.
          So it is by the server that a resolver asks, not by where the resolver is: point the
          resolvers of a region at its own authority. The only strategy by which the regions'
          zones differ
weighted  a share of the *addresses*: DNS has no weights, a client takes one of the addresses that
          it is given. A region with several gives as many as bring the shares nearest to the
          weights, at least one; with one address each, weights change nothing, and it is said.
          Weight 0: only if no region with a weight stands
========  =========================================================================================

Each chooses among regions that would be answered anyway, and never none of them. What a region
claims is its own state only: where the states disagree about a service, the claim of the most
regions that stand holds, of equally many the one of the region that comes first by name.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from federation_dns.policy import DEFAULT, Policy

_WORTH_SAYING = Fraction(1, 20)


@dataclass(frozen=True, slots=True)
class Offer:
    """A service's addresses in one region."""

    region: str
    out: bool
    ready: bool
    addresses: tuple[str, ...]
    ttl: int | None = None
    policy: Policy = DEFAULT
    created: int = 0
    waits: bool = False
    failed: frozenset[str] = frozenset()

    @property
    def well(self) -> tuple[str, ...]:
        """Its addresses that no majority accuses."""
        if not self.failed:
            return self.addresses
        return tuple(a for a in self.addresses if a not in self.failed)


@dataclass(frozen=True, slots=True)
class Choice:
    """The addresses to answer; `note` says where they fall short of what was asked."""

    addresses: tuple[str, ...]
    note: str = ""


def agreed(offers: Sequence[Offer]) -> tuple[Policy, str]:
    """The policy of a service, and a note if its regions differ."""
    standing = [o for o in offers if not o.out] or list(offers)
    claims = Counter(o.policy for o in standing)
    most = max(claims.values())
    chosen = next(o for o in standing if claims[o.policy] == most)
    others = [o.region for o in standing if o.policy != chosen.policy]
    if not others:
        return chosen.policy, ""
    return chosen.policy, (
        f"its annotations differ in {', '.join(others)}: what {chosen.region} says holds"
    )


def choose(policy: Policy, offers: Sequence[Offer], here: str | None) -> Choice:
    """Choose among `offers`, all of which have addresses.

    Args:
        policy: the service's.
        offers: by region, sorted; those that may be answered.
        here: whose zone this is.
    """
    if policy.strategy == "failover":
        first = min(offers, key=lambda o: _rank(policy.order, o.region))
        return Choice(first.addresses)
    if policy.strategy == "local":
        own = [o for o in offers if o.region == here]
        return Choice(_addresses(own or offers))
    if policy.strategy == "weighted":
        return _weighted(dict(policy.weights), offers)
    return Choice(_addresses(offers))


def _rank(order: Sequence[str], region: str) -> tuple[int, str]:
    return (order.index(region) if region in order else len(order), region)


def _addresses(offers: Iterable[Offer]) -> tuple[str, ...]:
    return tuple(address for o in offers for address in o.addresses)


def _weighted(weights: Mapping[str, int], offers: Sequence[Offer]) -> Choice:
    weighty = [o for o in offers if weights.get(o.region, 1) > 0]
    if not weighty:
        return Choice(_addresses(offers))
    chosen: list[str] = []
    worst = Fraction(0)
    for version in (4, 6):
        have = {
            o.region: [a for a in o.addresses if ipaddress.ip_address(a).version == version]
            for o in weighty
        }
        have = {region: sorted(found) for region, found in have.items() if found}
        counts, off = shares(
            {region: weights.get(region, 1) for region in have},
            {region: len(found) for region, found in have.items()},
        )
        chosen += [a for region, found in have.items() for a in found[: counts[region]]]
        worst = max(worst, off)
    if worst <= _WORTH_SAYING:
        return Choice(tuple(chosen))
    off = f"a region's share is {float(worst):.0%} off"
    return Choice(tuple(chosen), f"its addresses are too few for its weights: {off}")


def shares(weights: Mapping[str, int], have: Mapping[str, int]) -> tuple[dict[str, int], Fraction]:
    """How many addresses of each region bring the shares nearest to the weights.

    Returns:
        The numbers, from 1 to what a region has (of equally good ones the most), and how far the
        worst region's share is off.
    """
    total = sum(weights.values())
    best: tuple[Fraction, int, dict[str, int]] | None = None
    scales = {Fraction(n, weights[r]) for r, most in have.items() for n in range(1, most + 1)}
    for scale in sorted(scales, reverse=True):
        counts = {r: min(most, max(1, round(scale * weights[r]))) for r, most in have.items()}
        size = sum(counts.values())
        off = max(abs(Fraction(n, size) - Fraction(weights[r], total)) for r, n in counts.items())
        if best is None or (off, -size) < best[:2]:
            best = (off, -size, counts)
    return ({}, Fraction(0)) if best is None else (best[2], best[0])
