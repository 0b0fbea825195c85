"""What the regions' name servers answer, beside what they should. Comparing is pure.

A server should hold what its own region's agent wants: by an operator's word or by the strategy
`local` that may be other than elsewhere. Where the agent is silent, what this one wants counts.

Each server is asked for every name over one TCP connection of its own, many questions on their way
at a time, within one bound in all: a server that is silent is named, and delays no other. What
differs is asked once more after a moment: in a failover servers follow their agents.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

WINDOW = 64
MOST_SHOWN = 20

Question = tuple[str, str]
Answer = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Server:
    """A region's name server."""

    region: str
    address: str | None
    port: int = 53


@dataclass(slots=True)
class Asked:
    """What a server answered, as far as it came.

    Attributes:
        trouble: why it did not answer all.
    """

    answers: dict[Question, Answer] = field(default_factory=dict[Question, Answer])
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One name where a server differs."""

    name: str
    type: str
    has: Answer
    should: Answer


@dataclass(frozen=True, slots=True)
class Report:
    """How one region stands.

    Attributes:
        intends: how many record sets its agent wants otherwise than this one; None: not known.
    """

    region: str
    server: str
    answered: bool
    trouble: str
    asked: int
    differs: tuple[Difference, ...]
    intends: int | None

    @property
    def agrees(self) -> bool:
        """Whether nothing is to be mended here."""
        return self.answered and not self.differs


def questions(wanted: Iterable[Mapping[Question, Answer]]) -> list[Question]:
    """What to ask: every name that any agent wants, in both families, or as the alias it is."""
    keys = {key for each in wanted for key in each}
    aliases = {name for name, kind in keys if kind == "CNAME"}
    found = {(name, "CNAME") for name in aliases}
    for name, kind in keys:
        if name not in aliases:
            found |= {(name, kind), (name, "A"), (name, "AAAA")}
    return sorted(found)


def compare(should: Mapping[Question, Answer], asked: Asked) -> tuple[Difference, ...]:
    """Where a server's answers differ from what they should be."""
    return tuple(
        Difference(name, kind, has, should.get((name, kind), ()))
        for (name, kind), has in sorted(asked.answers.items())
        if set(has) != set(should.get((name, kind), ()))
    )


def differ(one: Mapping[Question, Answer], other: Mapping[Question, Answer]) -> int:
    """How many record sets two agents want otherwise."""
    return sum(set(one.get(k, ())) != set(other.get(k, ())) for k in {*one, *other})


def report(
    server: Server,
    should: Mapping[Question, Answer],
    asked: Asked,
    intent: Mapping[Question, Answer] | None,
) -> Report:
    """Judge one region.

    Args:
        server: its name server.
        should: what this region's agent wants.
        asked: what the server answered.
        intent: what that region's agent wants; None: it is silent.
    """
    where = "" if server.address is None else f"{server.address}:{server.port}"
    return Report(
        region=server.region,
        server=where,
        answered=not asked.trouble,
        trouble=asked.trouble,
        asked=len(asked.answers),
        differs=compare(should if intent is None else intent, asked),
        intends=None if intent is None else differ(should, intent),
    )


def confirmed(first: Report, second: Report) -> Report:
    """What still differs when a region is asked once more, about what differed before.

    A server that has fallen silent meanwhile has confirmed nothing, and says why.
    """
    return replace(
        first,
        answered=second.answered,
        trouble=second.trouble,
        differs=second.differs,
    )


def document(reports: Sequence[Report], notes: Sequence[str]) -> dict[str, Any]:
    """The reports as JSON data, long lists of differences cut."""
    return {
        "agrees": all(r.agrees for r in reports),
        "notes": list(notes),
        "regions": {
            r.region: {
                "server": r.server,
                "answered": r.answered,
                "trouble": r.trouble,
                "asked": r.asked,
                "differences": len(r.differs),
                "differs": [
                    {"name": d.name, "type": d.type, "has": list(d.has), "should": list(d.should)}
                    for d in r.differs[:MOST_SHOWN]
                ],
                "intends-otherwise": r.intends,
            }
            for r in reports
        },
    }


def lines(reports: Sequence[Report], notes: Sequence[str]) -> list[str]:
    """The reports in words."""
    found: list[str] = []
    for r in reports:
        state = "as it should be" if r.agrees else r.trouble or f"{len(r.differs)} differ"
        if r.intends:
            state += f"; its agent wants {r.intends} record sets otherwise than this one"
        found.append(f"{r.region} ({r.server or 'no name server'}): {r.asked} asked, {state}")
        for d in r.differs[:MOST_SHOWN]:
            has, should = " ".join(d.has) or "nothing", " ".join(d.should) or "nothing"
            found.append(f"  {d.name} {d.type}: has {has}, should have {should}")
        if len(r.differs) > MOST_SHOWN:
            found.append(f"  and {len(r.differs) - MOST_SHOWN} more")
    return [*found, *notes]


# --- the shell ---


async def ask_all(
    servers: Sequence[Server], asking: Sequence[Question], seconds: float
) -> list[Asked]:
    """Ask every server at the same time."""
    return list(await asyncio.gather(*(ask(server, asking, seconds) for server in servers)))


async def ask(server: Server, asking: Sequence[Question], seconds: float) -> Asked:
    """Ask one server everything, for so long at most."""
    found = Asked()
    if server.address is None:
        found.trouble = "its mesh entry names no name server"
        return found
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            await _ask(server.address, server.port, asking, found)
    except TimeoutError:
        found.trouble = (
            f"no answer to {len(asking) - len(found.answers)} of {len(asking)} questions"
        )
        found.trouble += f" in {time.monotonic() - began:.0f} s"
    except (OSError, EOFError, dns.exception.DNSException, ValueError) as error:
        found.trouble = str(error) or type(error).__name__
    return found


async def _ask(address: str, port: int, asking: Sequence[Question], found: Asked) -> None:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        for first in range(0, len(asking), WINDOW):
            window = {number: each for number, each in enumerate(asking[first : first + WINDOW])}
            for number, (name, kind) in window.items():
                query = dns.message.make_query(name, kind, id=number, use_edns=False)
                query.flags &= ~dns.flags.RD
                wire = query.to_wire()
                writer.write(len(wire).to_bytes(2) + wire)
            await writer.drain()
            while window:
                size = int.from_bytes(await reader.readexactly(2))
                answer = dns.message.from_wire(await reader.readexactly(size))
                question = window.pop(answer.id, None)
                if question is None:
                    raise ValueError("it answers what nobody asked")
                found.answers[question] = _values(answer, question)
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # a TimeoutError is one
            async with asyncio.timeout(1):
                await writer.wait_closed()


def _values(answer: dns.message.Message, question: Question) -> Answer:
    name, kind = question
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise ValueError(f"it answers {dns.rcode.to_text(answer.rcode())} for {name} {kind}")
    if not answer.flags & dns.flags.AA:
        raise ValueError(f"it is no authority for {name}")
    rdtype = dns.rdatatype.from_text(kind)
    return tuple(
        sorted(
            record.to_text().removesuffix(".") if kind in ("CNAME", "NS") else record.to_text()
            for records in answer.answer
            if records.rdtype == rdtype and records.name.to_text(True) == name
            for record in records
        )
    )
