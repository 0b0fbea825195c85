"""What the parent zone is to hold for ours: NS, glue and, where the zone is signed, DS.

The DS is given only when every region's server shows the key: a resolver that finds a DS at the
parent and a server without that key calls the answers bogus.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from federation_dns.dnssec import ds

_TTL = 3600


@dataclass(frozen=True, slots=True)
class Shown:
    """What one region's server shows of a zone's keys; `trouble` instead if it doesn't answer."""

    keys: tuple[DNSKEY, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Delegation:
    """Lines for the parent zone, in the form of a zone file, and what to know before."""

    records: tuple[str, ...]
    notes: tuple[str, ...] = ()


def delegation(
    zone: str,
    nameservers: Mapping[str, str],
    others: Iterable[str],
    shown: Mapping[str, Shown],
) -> Delegation:
    """Say what belongs into the parent of `zone`.

    Args:
        zone: its name.
        nameservers: region → address of its server.
        others: host names of further servers (secondaries).
        shown: region → what its server shows.
    """
    hosts = {f"ns.{region}.{zone}": address for region, address in nameservers.items()}
    records = [f"{zone}. {_TTL} IN NS {host}." for host in (*sorted(hosts), *sorted(set(others)))]
    for host, address in sorted(hosts.items()):
        kind = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
        records.append(f"{host}. {_TTL} IN {kind} {address}")
    if not hosts:
        return Delegation((), ("no region has a name server yet: nothing to delegate to",))
    found, notes = _common(zone, shown)
    records += [f"{zone}. {_TTL} IN DS {text}" for text in found]
    return Delegation(tuple(records), tuple(notes))


def _common(zone: str, shown: Mapping[str, Shown]) -> tuple[list[str], list[str]]:
    told = {region: set(ds(zone, s.keys)) for region, s in shown.items() if not s.trouble}
    every = set[str]().union(*told.values())
    silent = [f"{region}: {s.trouble}" for region, s in sorted(shown.items()) if s.trouble]
    if not every:
        return [], [*silent, f"{zone} is not signed: no DS belongs into the parent"]
    notes = list(silent)
    good = every.intersection(*told.values()) if not silent else set[str]()
    for text in sorted(every - good):
        lacking = sorted(region for region, texts in told.items() if text not in texts)
        lacking += [line.partition(":")[0] for line in silent]
        notes.append(
            f"key {text.partition(' ')[0]} waits: {', '.join(sorted(lacking))} "
            "must show it before its DS goes into the parent"
        )
    if len(good) > 1:
        notes.append("a roll is under way: the parent holds both DS until it is finished")
    return sorted(good), notes


def ask(zone: str, address: str, port: int, timeout: float = 2.0) -> Shown:
    """Ask one server for the zone's keys, within the timeout."""
    query = dns.message.make_query(zone, "DNSKEY")
    query.flags &= ~dns.flags.RD
    try:
        answer = dns.query.tcp(query, address, timeout=timeout, port=port)
    except (dns.exception.DNSException, OSError, EOFError):
        return Shown(trouble=f"its name server {address} does not answer")
    if answer.rcode() != dns.rcode.NOERROR or not answer.flags & dns.flags.AA:
        code = dns.rcode.to_text(answer.rcode())
        return Shown(trouble=f"its name server {address} does not serve {zone} ({code})")
    keys = [r for rrset in answer.answer for r in rrset if isinstance(r, DNSKEY)]
    return Shown(tuple(keys))


def survey(
    zone: str,
    nameservers: Mapping[str, str],
    others: Sequence[str],
    show: Callable[[str, str], Shown],
) -> Delegation:
    """Ask every region's server by `show(zone, address)`, and say what belongs into the parent."""
    shown = {region: show(zone, address) for region, address in sorted(nameservers.items())}
    return delegation(zone, nameservers, others, shown)
