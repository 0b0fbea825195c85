"""Whom the regions' agents know: own entry, what relations say, what is remembered. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    known.entries = [found[region] for region in sorted(found)]
    return known


def _clash(entry: MeshEntry, found: Mapping[str, MeshEntry]) -> str:
    """Say why an entry cannot stand beside those found, if so."""
    holder = found.get(entry.region)
    if holder is not None:
        return "" if holder == entry else f"another region is called {entry.region} already"
    for other in found.values():
        if other.certificate == entry.certificate:
            return f"{entry.region} shows the certificate of {other.region}"
    return ""
