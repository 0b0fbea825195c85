"""The state directory: what the agent remembers, its incarnation, the operators' words.

Every file is written beside and renamed over (fsync of file and directory), with a checksum. An
unreadable one stops the agent with the file's name and the mend; it is never taken for "nothing is
known", since an agent that knows nothing would see a zone full of records that nobody wants.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from federation_dns.core import Memory, Override
from federation_dns.health import HealthMemory
from federation_dns.names import Name
from federation_dns.probes import Target
from federation_dns.verdict import Said, Standing
from federation_dns.wire import WireError, dump_state, parse_state
from federation_dns.zone import Key, RecordSet

MEMORY = "memory.json"
INCARNATION = "incarnation.json"
OVERRIDES = "overrides.json"
_FORMAT = 1


class DiskError(Exception):
    """A file of the state directory cannot be used; the text names it and the mend."""


class OverrideEntry(BaseModel):
    """One operator's word in `overrides.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Name
    verdict: Said
    who: Annotated[str, Field(min_length=1, max_length=100)]
    until: float


class Overrides(BaseModel):
    """`overrides.json`: operators' words, written by actions and the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    regions: tuple[OverrideEntry, ...] = ()
    accept_deletes_until: float = 0.0

    def words(self) -> tuple[Override, ...]:
        """For the core."""
        return tuple(Override(e.region, e.verdict, e.who, e.until) for e in self.regions)


class _Standing(BaseModel):
    withdrawn: bool
    evicted: bool
    changed: float
    withdrawals: tuple[float, ...]


_Target = tuple[str, str, str, str]


class _Address(BaseModel):
    target: _Target
    standing: _Standing


class _Saved(BaseModel):
    format: Literal[1]
    region: str
    zone: str
    wall: float
    standings: dict[str, _Standing]
    states: dict[str, Any]
    records: tuple[RecordSet, ...]
    aliases: tuple[RecordSet, ...] = ()  # apart: the version before this one knows no CNAME
    marks: dict[str, tuple[int, int]]
    pins: dict[str, str]
    accused: tuple[_Target, ...] = ()
    addresses: tuple[_Address, ...] = ()


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file whole: the old or the new is there after any crash.

    A failed fsync is not tried again (the kernel may have dropped the pages and call them clean:
    Rebello et al., ATC 2020); the fresh file is thrown away and the old one stays.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def seal(body: dict[str, Any]) -> bytes:
    """JSON with its checksum in the first line."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return b"sha256 " + hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n"


def unseal(path: Path, mend: str) -> dict[str, Any] | None:
    """Read what `seal` wrote; None: there is no such file.

    Raises:
        DiskError: it is not whole.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DiskError(f"{path} cannot be read ({error.strerror}): {mend}") from error
    head, _, text = raw.partition(b"\n")
    text = text.removesuffix(b"\n")
    if head != b"sha256 " + hashlib.sha256(text).hexdigest().encode():
        raise DiskError(f"{path} is damaged (its checksum does not match): {mend}")
    try:
        body: object = json.loads(text)
    except ValueError as error:
        raise DiskError(f"{path} is damaged (no JSON): {mend}") from error
    if not isinstance(body, dict):
        raise DiskError(f"{path} is damaged (no mapping): {mend}")
    return body


def save_memory(
    state: Path, region: str, zone: str, memory: Memory, now: float, wall: float
) -> None:
    """Write the memory; its monotonic times become ages."""
    records = [r for _, r in sorted(memory.records.items())]
    body: dict[str, Any] = {
        "format": _FORMAT,
        "region": region,
        "zone": zone,
        "wall": wall,
        "standings": {name: _aged(s, now) for name, s in memory.standings.items()},
        "states": {name: dump_state(s) for name, s in memory.states.items()},
        "records": [asdict(r) for r in records if r.type != "CNAME"],
        "aliases": [asdict(r) for r in records if r.type == "CNAME"],
        "marks": {name: list(mark) for name, mark in memory.marks.items()},
        "pins": dict(memory.pins),
        "accused": sorted(memory.health.accused),
        "addresses": [
            {"target": target, "standing": _aged(s, now)}
            for target, s in sorted(memory.health.standings.items())
        ],
    }
    write(state / MEMORY, seal(body))


def _aged(standing: Standing, now: float) -> dict[str, Any]:
    return {
        "withdrawn": standing.withdrawn,
        "evicted": standing.evicted,
        "changed": now - standing.changed,
        "withdrawals": [now - at for at in standing.withdrawals],
    }


def load_memory(state: Path, region: str, zone: str, now: float, wall: float) -> Memory:
    """Read the memory; none is there at the first start.

    Raises:
        DiskError: it is damaged, or another region's.
    """
    path = state / MEMORY
    mend = (
        f"restore it from a backup, or move it away to begin anew ({zone} keeps its records until "
        "all regions have been heard)"
    )
    body = unseal(path, mend)
    if body is None:
        return Memory()
    try:
        saved = _Saved.model_validate(body)
        states = {
            name: parse_state(json.dumps(raw).encode())[0] for name, raw in saved.states.items()
        }
    except (ValidationError, WireError) as error:
        raise DiskError(f"{path} is not of this version: {mend}") from error
    if (saved.region, saved.zone) != (region, zone):
        raise DiskError(
            f"{path} belongs to region {saved.region} and zone {saved.zone}, not to {region} and "
            f"{zone}: {mend}"
        )
    # The wall clock may have jumped meanwhile; an age can then only be too short, never negative.
    zero = now - max(0.0, wall - saved.wall)
    standings = {name: _standing(s, zero) for name, s in saved.standings.items()}
    health = HealthMemory(
        frozenset(Target(*target) for target in saved.accused),
        {Target(*a.target): _standing(a.standing, zero) for a in saved.addresses},
    )
    records: dict[Key, RecordSet] = {(r.name, r.type): r for r in (*saved.records, *saved.aliases)}
    return Memory(standings, states, records, saved.marks, saved.pins, health)


def _standing(saved: _Standing, zero: float) -> Standing:
    return Standing(
        withdrawn=saved.withdrawn,
        evicted=saved.evicted,
        changed=zero - saved.changed,
        withdrawals=tuple(zero - age for age in saved.withdrawals),
    )


def next_incarnation(state: Path, wall: float) -> int:
    """A number above those of all earlier lives; `keep_incarnation` belongs before its use.

    The wall clock is its floor, so that a lost disk does not lower it.

    Raises:
        DiskError: what is stored is damaged.
    """
    path = state / INCARNATION
    body = unseal(path, "move it away; the next one is then taken from the clock")
    stored = 0 if body is None else int(body.get("incarnation", 0))
    return max(stored + 1, int(wall))


def keep_incarnation(state: Path, number: int) -> None:
    """Put the incarnation on disk."""
    write(state / INCARNATION, seal({"incarnation": number}))


def tidy(state: Path) -> None:
    """Remove what writes of an earlier life left that were cut short (`write` names them so)."""
    for name in (MEMORY, INCARNATION):
        for path in state.glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def load_overrides(state: Path) -> Overrides:
    """Read the operators' words.

    Raises:
        DiskError: they are not readable; the caller keeps those it has.
    """
    path = state / OVERRIDES
    mend = "write it with 'federation-dns force-region', or remove it"
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Overrides()
    except OSError as error:
        raise DiskError(f"{path} cannot be read ({error.strerror}): {mend}") from error
    try:
        return TypeAdapter(Overrides).validate_json(raw)
    except ValidationError as error:
        raise DiskError(f"{path} is not right ({error.error_count()} faults): {mend}") from error


def save_overrides(state: Path, overrides: Overrides, wall: float) -> None:
    """Write the operators' words, without those that ended."""
    kept = tuple(e for e in overrides.regions if e.until > wall)
    body = replace_regions(overrides, kept).model_dump_json(indent=2)
    write(state / OVERRIDES, body.encode() + b"\n")


def replace_regions(overrides: Overrides, regions: tuple[OverrideEntry, ...]) -> Overrides:
    """A copy with other words."""
    return overrides.model_copy(update={"regions": regions})
