"""Whom the regions' agents know: own entry, what relations say, what is remembered. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import rotation
from federation_interfaces.federation_mesh import MeshEntry


@dataclass(frozen=True)
class Heard:
    """What one standing relation says.

    Attributes:
        entries: None: nothing, or nothing readable.
        problem: why it was not readable.
        from_hub: it is the hub's list of everybody, not one region's own entry.
    """

    entries: list[MeshEntry] | None = None
    problem: str = ""
    from_hub: bool = False


@dataclass
class Known:
    """The mesh as this region knows it.

    Attributes:
        entries: one a region, sorted.
        by_relation: what to remember of each standing relation.
        problems: what an operator has to mend.
    """

    entries: list[MeshEntry] = field(default_factory=list[MeshEntry])
    by_relation: dict[int, list[MeshEntry]] = field(default_factory=dict[int, list[MeshEntry]])
    problems: list[str] = field(default_factory=list[str])


def combine(
    own: MeshEntry | None,
    heard: Mapping[int, Heard],
    remembered: Mapping[int, Sequence[MeshEntry]],
) -> Known:
    """Join own entry, relations and memory.

    A relation that is silent keeps what it said last, so that the mesh outlives the hub; one that
    has ended is forgotten. A region speaks only for itself: nobody replaces this region's own
    entry, and of two that claim one name the older relation keeps it.
    """
    known = Known()
    found: dict[str, MeshEntry] = {own.region: own} if own is not None else {}
    for number in sorted(heard):
        said = heard[number]
        entries = list(remembered.get(number, [])) if said.entries is None else said.entries
        known.by_relation[number] = entries
        if said.problem:
            known.problems.append(f"mesh relation {number}: {said.problem}")
        for entry in entries:
            if said.from_hub and own is not None and entry.region == own.region:
                continue  # the hub's copy of our own entry, perhaps yesterday's
            text = _clash(entry, found)
            if text:
                known.problems.append(f"mesh relation {number}: {text}")
            else:
                found[entry.region] = entry
    if own is not None:
        taken = rotation.taken(found.values(), own.region)
        found[own.region] = own.model_copy(update={"taken": taken})
    known.entries = [found[region] for region in sorted(found)]
    return known


def _clash(entry: MeshEntry, found: Mapping[str, MeshEntry]) -> str:
    """Say why an entry cannot stand beside those found, if so."""
    holder = found.get(entry.region)
    if holder is not None:
        return "" if holder == entry else f"another region is called {entry.region} already"
    for other in found.values():
        if set(other.certificates) & set(entry.certificates):
            return f"{entry.region} shows the certificate of {other.region}"
    return ""


def told(known: Known, zone: str, *, witness: bool) -> str:
    """Say what this agent does, for a status."""
    regions = sum(entry.role == "region" for entry in known.entries)
    witnesses = len(known.entries) - regions
    text = "witness" if witness else f"serving {zone}"
    text += f"; {regions} region{'s' if regions != 1 else ''}"
    if witnesses - witness > 0:
        text += f", {witnesses} witness{'es' if witnesses != 1 else ''}"
    if len(known.entries) == 2 and regions == 2:
        text += "; neither can be judged lost without a witness or force-region"
    elif len(known.entries) == 2:
        text += "; with one region and one witness nobody can be judged lost"
    return text
