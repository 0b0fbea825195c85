"""The WAN's names, addresses and rules. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable

from federation_lab.errors import LabError, UnknownRegionError

HOST = "host"
ALL = "all"
NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
FIRST_MACHINE, LAST_MACHINE = 10, 99

# `dark`: cut from everything, those included that come later. `cuts`: one direction of one link.
RULES = """
table inet lab {
  set cuts { type ifname . ifname; }
  set dark_from { type ifname; }
  set dark_to { type ifname; }
  set dead { type ifname; }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname @dead drop
    oifname @dead drop
    iifname @dark_from drop
    oifname @dark_to drop
    iifname . oifname @cuts drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname @dead drop
    iifname @dark_from drop
  }
  chain output {
    type filter hook output priority filter; policy accept;
    oifname @dead drop
    oifname @dark_to drop
  }
}
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Names and addresses of one lab, all derived from its id."""

    lab_id: int

    @property
    def prefix(self) -> str:
        """What all names start with."""
        return f"lab{self.lab_id}"

    @property
    def router(self) -> str:
        """The router's namespace."""
        return f"{self.prefix}-wan"

    @property
    def network(self) -> str:
        """The lab's whole network."""
        return f"10.{210 + self.lab_id}.0.0/16"

    def address(self, index: int, octet: int) -> str:
        """Give an address in region `index`; 0 is the link to the host."""
        return f"10.{210 + self.lab_id}.{index}.{octet}"

    def bridge(self, index: int) -> str:
        """Give the name of region `index`'s bridge."""
        return f"{self.prefix}-r{index}"

    def port(self, index: int, octet: int) -> str:
        """Give the name of a machine's interface on the router's side."""
        return f"{self.prefix}-r{index}-m{octet}"

    def namespace(self, index: int, octet: int) -> str:
        """Give the name of a machine's network namespace."""
        return f"{self.prefix}-r{index}-m{octet}"

    @property
    def uplink(self) -> str:
        """The interface between host and router, so called on both sides."""
        return f"{self.prefix}-host"

    def interface(self, place: str, regions: dict[str, int]) -> str:
        """Give the router's interface towards a region or the host."""
        return self.uplink if place == HOST else self.bridge(regions[place])


@dataclasses.dataclass(frozen=True)
class Change:
    """Elements to add to, or to delete from, one set of the router's rules."""

    table_set: str
    elements: tuple[str, ...]


def changes(plan: Plan, regions: dict[str, int], a: str, b: str, *, one_way: bool) -> list[Change]:
    """Say which elements stand for the cut between two places.

    Raises:
        UnknownRegionError: a name is neither a region, `host` nor `all`.
        LabError: the two places are one.
    """
    for place in (a, b):
        if place not in (HOST, ALL) and place not in regions:
            raise UnknownRegionError(place, list(regions), "; or `host`, or `all`")
    if a == b:
        raise LabError(f"{a} and {b} are the same place; name two, or `all` for the second")
    ways = [(a, b)] if one_way else [(a, b), (b, a)]
    found: list[Change] = []
    for source, target in ways:
        if target == ALL:
            found.append(Change("dark_from", (quoted(plan.interface(source, regions)),)))
        elif source == ALL:
            found.append(Change("dark_to", (quoted(plan.interface(target, regions)),)))
        else:
            pair = [plan.interface(place, regions) for place in (source, target)]
            found.append(Change("cuts", (" . ".join(map(quoted, pair)),)))
    return found


def quoted(name: str) -> str:
    """Write an interface's name as nft takes it."""
    return f'"{name}"'


def parse_sets(text: str) -> dict[str, list[str]]:
    """Read the elements of the router's sets from nft's JSON, written as nft takes them."""
    found: dict[str, list[str]] = {}
    for item in json.loads(text)["nftables"]:
        if "set" in item:
            elements = item["set"].get("elem", [])
            found[item["set"]["name"]] = [
                " . ".join(map(quoted, e["concat"])) if isinstance(e, dict) else quoted(e)
                for e in elements
            ]
    return found


def touches(pair: str, place: str, *, outgoing: bool, both: bool) -> bool:
    """Say whether a cut starts at a place (`outgoing`), ends there, or either (`both`)."""
    source, target = pair.split(" . ")
    return place in (source, target) if both else place == (source if outgoing else target)


def lowest_free(taken: Iterable[int], first: int, last: int, what: str) -> int:
    """Give the lowest number that isn't taken.

    Raises:
        LabError: all are.
    """
    used = set(taken)
    for number in range(first, last + 1):
        if number not in used:
            return number
    raise LabError(f"the lab has room for {last - first + 1} {what}, and all are taken")
