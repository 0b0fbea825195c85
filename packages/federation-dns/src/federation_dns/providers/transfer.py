"""A whole zone while it comes by a transfer (RFC 5936). Pure.

Of what others hold, only the names are kept; of what a server adds when it signs, how far it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import dns.name
import dns.rdatatype
import dns.rrset
from dns.rdata import GenericRdata
from dns.rdtypes.ANY.SOA import SOA

from federation_dns.plan import Found, View, owner_name

# BIND's notes of its signing, at the zone's name (its reference manual, "Private-Type Records"):
# algorithm, tag, removal, done; or a zero and the NSEC3 chain that it builds, gone at its end.
PROGRESS = "TYPE65534"
# What the server itself adds when it signs.
_SIGNERS = frozenset(("RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDNSKEY", "CDS"))


class Gathered:
    """A zone while it comes. What is equal is kept once: thousands of marks are the same text."""

    def __init__(self) -> None:
        self.serial = -1
        self._progress: list[GenericRdata] = []
        self._values: dict[tuple[str, str], list[str]] = {}
        self._ttls: dict[tuple[str, str], int] = {}
        self._names: dict[str, frozenset[str]] = {}
        self._texts: dict[str, str] = {}
        self._kinds: dict[frozenset[str], frozenset[str]] = {}

    def add(self, rrset: dns.rrset.RRset) -> None:
        """Take one record, as transfers have them."""
        kind = self._one(dns.rdatatype.to_text(rrset.rdtype))
        if kind == "SOA":
            self.serial = serial(rrset)
        if kind == PROGRESS:
            self._progress += (rdata for rdata in rrset if isinstance(rdata, GenericRdata))
        if kind in _SIGNERS or kind == PROGRESS:
            return
        name = self._one(_text(rrset.name))
        kinds = self._names.get(name, frozenset()) | {kind}
        self._names[name] = self._kinds.setdefault(kinds, kinds)
        # Of what others hold, only the names matter; thousands of values would cost memory.
        if kind in ("A", "AAAA", "CNAME", "NS") or (
            kind == "TXT" and name.startswith(owner_name(""))
        ):
            key = (name, kind)
            values = self._values.setdefault(key, [])
            values += (self._one(value(kind, rdata)) for rdata in rrset)
            self._ttls[key] = min(int(rrset.ttl), self._ttls.get(key, int(rrset.ttl)))

    def view(self) -> View:
        """All of it, once the transfer has ended well."""
        same: dict[Found, Found] = {}
        records: dict[tuple[str, str], Found] = {}
        for key, values in self._values.items():
            found = Found(self._ttls[key], tuple(sorted(set(values))))
            records[key] = same.setdefault(found, found)
        progress = tuple(sorted(str(rdata) for rdata in self._progress))
        signing = any(not _done(rdata.data) for rdata in self._progress)
        return View(self.serial, records, self._names, progress, signing)

    def _one(self, text: str) -> str:
        return self._texts.setdefault(text, text)


def _done(progress: bytes) -> bool:
    return len(progress) == 5 and progress[0] != 0 and progress[4] != 0


def serial(rdataset: Iterable[object]) -> int:
    """Of the SOA among these; -1 if there is none."""
    for rdata in rdataset:
        if isinstance(rdata, SOA):
            return int(rdata.serial)
    return -1


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def value(kind: str, rdata: object) -> str:
    """Plain text: TXT joined, names without the last dot, all else in presentation form."""
    strings = getattr(rdata, "strings", None)
    if kind == "TXT" and isinstance(strings, tuple):
        return b"".join(s for s in strings if isinstance(s, bytes)).decode("utf-8", "replace")
    text = str(rdata)
    return text.rstrip(".").lower() if kind in ("CNAME", "NS") else text
