"""Wanted records against those that are there → changes. Pure.

A name is ours if the owner's TXT stands beside it. What is not ours is never touched: a wanted
name that is taken is a conflict, reported. The delete guard: what would take away values that
nothing explains is held back, all of it, once it concerns more services than the cap allows within
its window, and waits for an operator's word; after an incomplete reading nothing is taken away at
all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from federation_dns.names import home
from federation_dns.zone import Key, RecordSet, RecordType, Zone

OWNER = "_federation"
APEX_MARK = "apex-ns"
HERITAGE = "heritage=federation-dns"
UNREAD = -1
"""The serial of a view that was not read as it is."""
_KINDS: tuple[RecordType, ...] = ("A", "AAAA", "CNAME")


@dataclass(frozen=True, slots=True)
class Found:
    """An RRset as the server has it, of any type; values in presentation form."""

    ttl: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stamp:
    """The serial and the generation; a restored or emptied zone shows in one of them."""

    serial: int
    generation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """The whole zone as one complete reading gave it.

    Attributes:
        serial: its, or `UNREAD` where something was written since.
        progress: the server's own notes of keys it signs the zone with, if it leaves any.
        signing: by these it has not signed all of it yet.
    """

    serial: int
    records: Mapping[tuple[str, str], Found]
    names: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    progress: tuple[str, ...] = ()
    signing: bool = False

    @staticmethod
    def of(serial: int, records: Mapping[tuple[str, str], Found]) -> View:
        """Index the records by name."""
        names: dict[str, set[str]] = {}
        for name, kind in records:
            names.setdefault(name, set()).add(kind)
        return View(serial, records, {n: frozenset(k) for n, k in names.items()})

    def stamp(self, zone: str) -> Stamp:
        """The stamp that this reading had."""
        found = self.records.get((owner_name(zone), "TXT"))
        return Stamp(self.serial, () if found is None else found.values)


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose records, in which zone, and how many may go without a reason.

    Attributes:
        zone: its name.
        federation: the owner's name in the TXT.
        zones: all zones that are kept, if there are more; each has a plan of its own.
        ttl: of the TXT records.
        floor: so many services may always go.
        share: or this share of all owned ones.
        spent: services whose records went without a reason within the cap's window.
        lifted: an operator allowed the deletes.
    """

    zone: str
    federation: str
    ttl: int = 15
    floor: int = 5
    share: float = 0.3
    spent: frozenset[str] = frozenset()
    lifted: bool = False
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One name's change. `sets` is all that the name shall hold of `A` and `AAAA`.

    Or it is one `CNAME`, whose value is a name without a trailing dot, or the zone's `NS`.

    Attributes:
        unexplained: values go without a reason.
        withdraws: addresses go for a reason, and others stay.
    """

    kind: Literal["create", "update", "delete"]
    name: str
    sets: tuple[RecordSet, ...] = ()
    unexplained: bool = False
    withdraws: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what is left alone and why.

    Attributes:
        changes: what must not wait comes first (`_turn`), then by name.
        generation: of the zone as read (None: there is no record of it).
        conflicts: wanted names that others hold.
        withheld: names whose values the delete guard keeps.
        spends: services that lose values without a reason; each counts once in the window,
            though it goes region by region.
        notes: texts for logs and status.
        left: changes that are not in this part of it (`part`).
    """

    changes: tuple[Change, ...]
    generation: int | None
    conflicts: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    spends: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    left: int = 0


def owner_name(name: str) -> str:
    """Where the owner of `name` is written."""
    return f"{OWNER}.{name}"


def owner_text(federation: str) -> str:
    """What the owner's TXT says."""
    return f"{HERITAGE},federation={federation}"


def generation_text(federation: str, generation: int, writer: str) -> str:
    """The TXT at `_federation.<zone>`: the number of the newest plan, and who wrote it."""
    return f"{owner_text(federation)},generation={generation},writer={writer}"


def read_generation(view: View, rules: Rules) -> int | None:
    """The generation that a reading found."""
    found = view.records.get((owner_name(rules.zone), "TXT"))
    for value in () if found is None else found.values:
        pairs = [part.partition("=") for part in value.split(",")]
        parts = {key: text for key, _, text in pairs}
        ours = parts.get("federation") == rules.federation and value.startswith(HERITAGE)
        number = parts.get("generation", "")
        if ours and number.isascii() and number.isdigit():
            return int(number)
    return None


def is_generation(value: str, rules: Rules) -> bool:
    """Whether a TXT says a generation of this federation's."""
    return value.startswith(f"{owner_text(rules.federation)},generation=")


def carried_out(view: View, plan: Plan, rules: Rules, generation: str) -> View:
    """The zone after all of a plan was done to it, and its generation written."""
    records, names = dict(view.records), dict(view.names)

    def put(name: str, kind: str, found: Found | None) -> None:
        records.pop((name, kind), None)
        kinds = names.pop(name, frozenset[str]()) - {kind}
        if found is not None:
            records[name, kind] = found
            kinds |= {kind}
        if kinds:
            names[name] = kinds

    mark = Found(rules.ttl, (owner_text(rules.federation),))
    for change in plan.changes:
        sets = {s.type: Found(s.ttl, tuple(sorted(s.values))) for s in change.sets}
        for kind in ("NS",) if change.name == rules.zone else _KINDS:
            put(change.name, kind, sets.get(kind))
        if change.name != rules.zone and change.kind != "update":
            gone = change.kind == "delete"
            put(owner_name(change.name), "TXT", None if gone else mark)
    key = owner_name(rules.zone), "TXT"
    there = records.get(key)
    others = (v for v in (there.values if there else ()) if not is_generation(v, rules))
    put(*key, Found(rules.ttl, tuple(sorted((*others, generation)))))
    return replace(view, serial=UNREAD, records=records, names=names)


def plan(
    wanted: Zone, view: View, rules: Rules, apex: Mapping[Key, RecordSet] | None = None
) -> Plan:
    """Compare and decide.

    Args:
        wanted: of all services, in all zones.
        view: the zone as it was read, whole.
        rules: see there.
        apex: NS and name servers' addresses; written only where the zone's file was made by
            `bind.zone_file`, which leaves a mark. Other servers' NS are their operators'.
    """
    names: dict[str, list[RecordSet]] = {}
    follow = _owned(f"{APEX_MARK}.{rules.zone}", view, rules)
    for record in (*wanted.records.values(), *((apex or {}).values() if follow else ())):
        if len(rules.zones) < 2 or home(record.name, rules.zones) == rules.zone:
            names.setdefault(record.name, []).append(record)
    changes: list[Change] = []
    conflicts: list[str] = []
    for name, sets in names.items():
        if name == rules.zone or _owned(name, view, rules):
            change = _update(name, sets, wanted, view)
            if change is not None:
                changes.append(change)
        elif name in view.names or owner_name(name) in view.names:
            conflicts.append(name)
        else:
            changes.append(Change("create", name, tuple(sets)))
    owned = [n for n in _owned_names(view, rules) if n != f"{APEX_MARK}.{rules.zone}"]
    if wanted.complete:
        changes += [
            Change("delete", name, (), not _explained(name, (), wanted, view))
            for name in owned
            if name not in names and (apex or not _is_nameserver(name, rules))
        ]
    return _guarded(changes, sorted(conflicts), owned, view, rules)


def part(plan: Plan, due: Sequence[Change], most: int, view: View) -> Plan:
    """What one pass carries out of a plan that was made from `view`.

    Args:
        plan: whole; so the delete guard has judged all of it.
        due: those of its changes that are worth a try now, in its order.
        most: so many of them.
        view: see above.
    """
    changes = tuple(due[:most])
    spends = frozenset(_service(c.name, view) for c in changes if c.unexplained)
    return replace(plan, changes=changes, spends=spends, left=len(due) - len(changes))


def _guarded(
    changes: list[Change], conflicts: list[str], owned: list[str], view: View, rules: Rules
) -> Plan:
    losing = {_service(c.name, view) for c in changes if c.unexplained}
    # Those that went already count: a plan that goes in parts has one cap for all of them.
    size = len(rules.spent.union(_service(name, view) for name in owned))
    cap = max(rules.floor, math.ceil(rules.share * size))
    notes = [f"{name} is held by others and left alone" for name in conflicts]
    withheld: list[str] = []
    if losing and not rules.lifted and len(rules.spent | losing) > cap:
        withheld = sorted(c.name for c in changes if c.unexplained)
        changes = [c for c in changes if not c.unexplained]
        notes.append(
            f"delete guard: records of {len(losing)} services would go without a reason "
            f"({len(rules.spent)} went lately, {cap} may); they are kept until "
            "'federation-dns accept-deletes' allows it"
        )
        losing = set[str]()
    return Plan(
        changes=tuple(sorted(changes, key=lambda c: (_turn(c, view, rules), c.name))),
        generation=read_generation(view, rules),
        conflicts=tuple(conflicts),
        withheld=tuple(withheld),
        spends=frozenset(losing),
        notes=tuple(notes),
    )


def _turn(change: Change, view: View, rules: Rules) -> int:
    """When a change has its turn: what is lost goes first, whatever else there is to do.

    A CNAME comes after the names that it may point to, and before those that it pointed to go.
    """
    if _is_apex(change.name, rules):
        return 0
    if change.withdraws:
        return 1
    kinds = {*view.names.get(change.name, ()), *(s.type for s in change.sets)}
    if "CNAME" in kinds:
        return 4
    return {"update": 2, "create": 3, "delete": 5}[change.kind]


def _is_apex(name: str, rules: Rules) -> bool:
    """NS and their addresses go first and together: BIND refuses NS whose address is missing."""
    return name == rules.zone or _is_nameserver(name, rules)


def _is_nameserver(name: str, rules: Rules) -> bool:
    region = name.removeprefix("ns.").removesuffix(f".{rules.zone}")
    return name.startswith("ns.") and "." not in region and region != name


def _service(name: str, view: View) -> str:
    """The service that a name speaks of: its names, of whatever kind, count once."""
    alias = view.records.get((name, "CNAME"))
    name = name if alias is None else alias.values[0]
    return ".".join(name.split(".", 2)[:2])


def _owned(name: str, view: View, rules: Rules) -> bool:
    marker = view.records.get((owner_name(name), "TXT"))
    return marker is not None and marker.values == (owner_text(rules.federation),)


def _owned_names(view: View, rules: Rules) -> list[str]:
    prefix = owner_name("")
    return [
        name.removeprefix(prefix)
        for name, kind in view.records
        if kind == "TXT"
        and name.startswith(prefix)
        and _owned(name.removeprefix(prefix), view, rules)
    ]


def _update(name: str, sets: list[RecordSet], wanted: Zone, view: View) -> Change | None:
    if any(s.type == "NS" for s in sets):
        found = view.records.get((name, "NS"))
        return None if _same(sets[0], found) else Change("update", name, tuple(sets))
    chosen = sets if wanted.complete else _widened(sets, wanted, view)
    by_kind = {s.type: s for s in chosen}
    if all(_same(by_kind.get(kind), view.records.get((name, kind))) for kind in _KINDS):
        return None
    values = {v for s in chosen for v in s.values}
    explained = _explained(name, values, wanted, view)
    there = (view.records.get((name, kind)) for kind in ("A", "AAAA"))
    lost = any(not values.issuperset(found.values) for found in there if found is not None)
    return Change("update", name, tuple(chosen), not explained, explained and lost)


def _widened(sets: list[RecordSet], wanted: Zone, view: View) -> list[RecordSet]:
    """Not every region has been heard: keep beside the wanted values what may be theirs."""
    if sets[0].type == "CNAME":  # of those there can be only one
        found = view.records.get((sets[0].name, "CNAME"))
        return sets if found is None else [replace(sets[0], values=found.values)]
    by_kind = {s.type: s for s in sets}
    chosen: list[RecordSet] = []
    for kind in _KINDS:
        found = view.records.get((sets[0].name, kind))
        kept = {v for v in (found.values if found else ()) if v not in wanted.explained}
        asked = set(by_kind[kind].values) if kind in by_kind else set[str]()
        if kept | asked:
            values = tuple(sorted(kept | asked))
            chosen.append(RecordSet(sets[0].name, kind, sets[0].ttl, values))
    return chosen


def _same(record: RecordSet | None, found: Found | None) -> bool:
    if record is None or found is None:
        return record is None and found is None
    return record.ttl == found.ttl and set(record.values) == set(found.values)


def _explained(name: str, values: Iterable[str], wanted: Zone, view: View) -> bool:
    kept = set(values)
    there = {v for kind in _KINDS if (f := view.records.get((name, kind))) for v in f.values}
    left = wanted.left.get(name, frozenset())
    return all(
        v in wanted.explained
        or v in left
        or not wanted.records.keys().isdisjoint({(v, "A"), (v, "AAAA")})
        for v in there - kept
    )
