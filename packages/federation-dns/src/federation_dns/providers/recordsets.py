"""Designate's record sets ↔ the plan's names. Pure.

A record set is ours if the owner's TXT stands beside it, as everywhere, and if its description
says so too. Two marks, since Designate has no prerequisites: between the owner's TXT and the
addresses somebody else can take the name, and an agent that dies just then leaves a TXT of ours
beside addresses of theirs. What lacks the description is others', whatever stands beside it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from pydantic import BaseModel, ConfigDict, Field

from federation_dns.plan import (
    APEX_MARK,
    Change,
    Found,
    Rules,
    View,
    owner_name,
    owner_text,
)

Key = tuple[str, str]

_LONGEST_DESCRIPTION = 160
_ADDRESSES = ("A", "AAAA")


class _Seen(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ZoneSeen(_Seen):
    """A zone as the API gives it; `serial` moves some seconds after a change was taken."""

    id: str = Field(pattern=r"^[0-9a-fA-F-]{32,36}$")
    name: str
    type: str = "PRIMARY"
    status: str
    action: str = "NONE"
    serial: int
    ttl: int | None = None


class Zones(_Seen):
    """A list of zones."""

    zones: tuple[ZoneSeen, ...]


class SetSeen(_Seen):
    """A record set as the API gives it."""

    id: str = Field(pattern=r"^[0-9a-fA-F-]{32,36}$")
    name: str
    type: str
    ttl: int | None = None
    records: tuple[str, ...] = ()
    description: str | None = None
    status: str
    action: str = "NONE"
    version: int = 0
    project_id: str | None = None


class _Count(_Seen):
    total_count: int


class Page(_Seen):
    """A part of a list of record sets."""

    recordsets: tuple[SetSeen, ...]
    links: Mapping[str, str] = Field(default_factory=dict)
    metadata: _Count

    @property
    def last(self) -> bool:
        """Whether no further part follows."""
        return "next" not in self.links


@dataclass(frozen=True, slots=True)
class Held:
    """A record set of ours."""

    id: str
    ttl: int
    values: tuple[str, ...]
    status: str
    version: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A whole zone.

    Attributes:
        zone: itself.
        view: what the plan goes by.
        ours: record sets with our description.
        foreign: names and types of all others.
        leaving: ours that Designate is still deleting; they cannot be made anew before it is done.
    """

    zone: ZoneSeen
    view: View
    ours: Mapping[Key, Held]
    foreign: frozenset[Key]
    leaving: frozenset[Key]

    @property
    def erring(self) -> tuple[str, ...]:
        """Names of ours that Designate could not bring to its name servers."""
        return tuple(
            sorted({name for (name, _), held in self.ours.items() if held.status == "ERROR"})
        )


@dataclass(frozen=True, slots=True)
class Write:
    """One request: `POST`, `PUT` or `DELETE` of one record set."""

    method: Literal["POST", "PUT", "DELETE"]
    key: Key
    id: str = ""
    body: Mapping[str, Any] | None = None


def number(zone: ZoneSeen) -> int:
    """What a stamp compares; a zone that falls into ERROR is another one."""
    return 2 * zone.serial + (zone.status == "ERROR")


def mark(rules: Rules) -> str:
    """What our record sets' description says."""
    return owner_text(rules.federation)[:_LONGEST_DESCRIPTION]


def reading(zone: ZoneSeen, sets: Iterable[SetSeen], rules: Rules, project: str) -> Reading:
    """Sort a zone's record sets into ours and others'."""
    names: dict[str, set[str]] = {}
    ours: dict[Key, Held] = {}
    foreign: set[Key] = set()
    leaving: set[Key] = set()
    for found in sets:
        key = plain(found.name), found.type
        if not _is_ours(found, rules, project):
            foreign.add(key)
        elif found.action == "DELETE":
            leaving.add(key)
            continue
        else:
            ours[key] = held(found, zone)
        names.setdefault(key[0], set()).add(key[1])
    return Reading(
        zone=zone,
        view=View(
            number(zone),
            _visible(ours, foreign, rules),
            {name: frozenset(kinds) for name, kinds in names.items()},
        ),
        ours=ours,
        foreign=frozenset(foreign),
        leaving=frozenset(leaving),
    )


def _is_ours(found: SetSeen, rules: Rules, project: str) -> bool:
    return found.description == mark(rules) and found.project_id in (None, project)


def _visible(ours: Mapping[Key, Held], foreign: set[Key], rules: Rules) -> dict[Key, Found]:
    """All of ours, but for the owner of a name where only others' addresses stand."""
    records: dict[Key, Found] = {}
    for (name, kind), found in ours.items():
        base = name.removeprefix(owner_name(""))
        if base != name and kind == "TXT":
            # NS are the pool's: no mark makes them ours.
            if base == f"{APEX_MARK}.{rules.zone}":
                continue
            taken = any(key[0] == base for key in foreign) and base != rules.zone
            if taken and not any((base, kind) in ours for kind in (*_ADDRESSES, "CNAME")):
                continue
        records[name, kind] = Found(found.ttl, found.values)
    return records


def held(found: SetSeen, zone: ZoneSeen) -> Held:
    """What is kept of a record set of ours."""
    ttl = found.ttl if found.ttl is not None else zone.ttl
    values = tuple(sorted(_value(found.type, text) for text in found.records))
    return Held(found.id, -1 if ttl is None else ttl, values, found.status, found.version)


def writes(change: Change, found: Reading, rules: Rules) -> list[Write]:
    """The requests of one name, in their order: no answer is ever empty in between.

    The owner comes before what it owns, and goes after it. What is added comes before what is
    taken away, but for a CNAME, which bears nothing beside it (RFC 1034, 3.6.2).
    """
    mine = {kind: h for (name, kind), h in found.ours.items() if name == change.name}
    puts: list[Write] = []
    for wanted in change.sets:
        there = mine.pop(wanted.type, None)
        content = body(rules, wanted.type, wanted.ttl, wanted.values)
        key = change.name, wanted.type
        if there is None:
            new = {"name": absolute(change.name), "type": wanted.type, **content}
            puts.append(Write("POST", key, body=new))
        elif (there.ttl, set(there.values)) != (wanted.ttl, set(wanted.values)):
            puts.append(Write("PUT", key, there.id, content))
    drops = [Write("DELETE", (change.name, kind), h.id) for kind, h in sorted(mine.items())]
    alone = any(kind == "CNAME" for kind in (*mine, *(w.type for w in change.sets)))
    middle = [*drops, *puts] if alone else [*puts, *drops]
    key = owner_name(change.name), "TXT"
    owner = found.ours.get(key)
    if change.kind == "delete":
        return [*middle, *([Write("DELETE", key, owner.id)] if owner else [])]
    if owner is None:
        content = body(rules, "TXT", rules.ttl, (owner_text(rules.federation),))
        new = {"name": absolute(key[0]), "type": "TXT", **content}
        return [Write("POST", key, body=new), *middle]
    return middle


def body(rules: Rules, kind: str, ttl: int, values: Iterable[str]) -> dict[str, Any]:
    """What a record set shall hold."""
    return {
        "ttl": ttl,
        "records": [_presented(kind, value) for value in values],
        "description": mark(rules),
    }


def plain(name: str) -> str:
    """A name as the plan writes it."""
    return name.rstrip(".").lower()


def absolute(name: str) -> str:
    """A name as Designate writes it."""
    return f"{name}."


def _presented(kind: str, value: str) -> str:
    if kind == "TXT":
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return absolute(value) if kind in ("CNAME", "NS") else value


def _value(kind: str, text: str) -> str:
    """As the plan writes it; what cannot be read stays as it is and differs from all."""
    try:
        if kind in _ADDRESSES:
            return str(ipaddress.ip_address(text))
        if kind == "TXT":
            rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, text)
            strings: tuple[bytes, ...] = getattr(rdata, "strings", ())
            return b"".join(strings).decode("utf-8", "replace")
    except (ValueError, dns.exception.DNSException):
        return text
    return plain(text) if kind in ("CNAME", "NS") else text
