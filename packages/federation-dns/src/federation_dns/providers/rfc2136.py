"""Any server that takes dynamic updates (RFC 2136) signed by TSIG (RFC 8945), such as BIND 9.

The zone is read by a signed transfer (RFC 5936). Each update carries as prerequisites the
generation that the plan was made from and the owner's mark of each name, so that an older plan, or
one made from a stale reading, is refused by the server itself: the check is in the write (RFC
2136, 2.4.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import dns.xfr
from dns.rdata import GenericRdata
from dns.rdtypes.ANY.SOA import SOA

from federation_dns.plan import (
    Change,
    Found,
    Plan,
    Rules,
    Stamp,
    View,
    generation_text,
    owner_name,
    owner_text,
)
from federation_dns.providers import ProviderError, Remedy

# An update of 100 names with three addresses each stays far below the 64 KiB of a message.
_NAMES_A_MESSAGE = 100
_KEY = re.compile(r'key\s+"([^"]+)"\s*{[^}]*secret\s+"([^"]+)"\s*;', re.DOTALL)

# BIND's notes of its signing, at the zone's name (its reference manual, "Private-Type Records"):
# algorithm, tag, removal, done; or a zero and the NSEC3 chain that it builds, gone at its end.
_PROGRESS = "TYPE65534"
# What the server itself adds when it signs.
_SIGNERS = frozenset(("RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDNSKEY", "CDS"))

_RCODES: dict[int, tuple[Remedy, str]] = {
    dns.rcode.REFUSED: (
        "operator",
        "refuses it: the key is not granted this in its update-policy",
    ),
    dns.rcode.NOTAUTH: ("operator", "is no authority for the zone, or does not know the key"),
    dns.rcode.NOTZONE: ("operator", "says that a name is outside the zone"),
    dns.rcode.FORMERR: ("operator", "does not understand the message"),
    dns.rcode.NOTIMP: ("operator", "knows no dynamic updates"),
    dns.rcode.SERVFAIL: ("retry", "failed inside (its journal or disk?)"),
    dns.rcode.YXDOMAIN: ("reread", "has a name that was free when it was read"),
    dns.rcode.NXDOMAIN: ("reread", "lacks a name that was there when it was read"),
    dns.rcode.YXRRSET: ("reread", "has records that were not there when it was read"),
    dns.rcode.NXRRSET: ("reread", "holds a newer plan, or another owner's mark"),
}


def read_key(path: Path, name: str) -> bytes | str:
    """The TSIG secret, in base64, from a key file in BIND's format.

    Raises:
        ProviderError: there is no such key in it.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ProviderError(f"the TSIG key file {path} cannot be read", "operator") from error
    for found, secret in _KEY.findall(text):
        if found.rstrip(".") == name.rstrip("."):
            return secret
    raise ProviderError(f"the TSIG key file {path} has no key named {name}", "operator")


class Rfc2136:
    """One zone at one server."""

    def __init__(
        self,
        *,
        server: str,
        port: int,
        key_name: str,
        key_file: Path,
        rules: Rules,
        writer: str,
        timeout: float = 2.0,
    ):
        self._server = server
        self._port = port
        self._key_name = key_name
        self._key_dns = dns.name.from_text(key_name)
        self._key_file = key_file
        self._rules = rules
        self._writer = writer
        self._timeout = timeout
        self._origin = dns.name.from_text(rules.zone)

    def stamp(self) -> Stamp:
        """The SOA's serial and the generation, asked over TCP."""
        serial = [_serial(rrset) for rrset in self._ask(self.zone_name, "SOA")]
        if not serial:
            raise self._error("retry", "gives no SOA of the zone")
        texts = self._ask(owner_name(self.zone_name), "TXT")
        return Stamp(serial[0], tuple(sorted(_value("TXT", r) for rrset in texts for r in rrset)))

    @property
    def zone_name(self) -> str:
        """The zone's name, without a trailing dot."""
        return self._rules.zone

    def _ask(self, name: str, kind: str) -> list[dns.rrset.RRset]:
        query = dns.message.make_query(_absolute(name), kind)
        query.flags &= ~dns.flags.RD
        wanted = dns.rdatatype.from_text(kind)
        return [rrset for rrset in self._exchange(query).answer if rrset.rdtype == wanted]

    def read(self) -> View:
        """Transfer the whole zone.

        It is taken message by message: a whole zone of dnspython's objects is ten times the view.
        """
        gathered = _Gathered()
        messages = dns.query.xfr(
            self._server,
            self._origin,
            port=self._port,
            keyring=self._keyring(),
            keyname=self._key_dns,
            relativize=False,
            timeout=self._timeout,
            lifetime=2 * self._timeout,
        )
        try:
            for message in messages:
                for rrset in message.answer:
                    gathered.add(rrset)
        except dns.xfr.TransferError as error:
            raise self._refusal(error.rcode, "zone transfer") from error
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise self._translated(error, "zone transfer") from error
        if gathered.serial < 0:
            raise self._error("retry", "gave a zone without SOA")
        return gathered.view()

    def notes(self) -> tuple[str, ...]:
        """Nothing: a message is done whole or not at all."""
        return ()

    def behind(self) -> str:
        """Nothing: the server answers what it has taken."""
        return ""

    def close(self) -> None:
        """Nothing to end: each call is short."""

    def apply(self, plan: Plan, view: View) -> int:
        """Send the changes, some names a message; each is checked and done whole by the server."""
        generation = plan.generation
        following = (generation or 0) + 1
        done = 0
        for part in _parts(plan.changes, _NAMES_A_MESSAGE):
            update = dns.update.UpdateMessage(
                self._origin, keyring=self._keyring(), keyname=self._key_dns
            )
            self._step_generation(update, view, generation, following)
            self._signs_as_seen(update, view)
            for change in part:
                self._add(update, change, view)
            try:
                response = self._exchange(update)
                if response.rcode() != dns.rcode.NOERROR:
                    raise self._refusal(response.rcode(), "update")
            except ProviderError as error:
                error.done = done
                raise
            generation = following
            done += len(part)
        return done

    def _step_generation(
        self, update: dns.update.UpdateMessage, view: View, old: int | None, new: int
    ) -> None:
        """Value-dependent: the whole RRset must be as it was read, or as this plan left it."""
        name = _absolute(owner_name(self._rules.zone))
        ours = generation_text(self._rules.federation, new, self._writer)
        found = view.records.get((owner_name(self._rules.zone), "TXT"))
        others = [v for v in (found.values if found else ()) if not self._is_generation(v)]
        if old == new:  # an earlier part of this plan wrote it
            for value in (*others, ours):
                update.present(name, "TXT", _quoted(value))
            return
        if found is None:
            update.absent(name, "TXT")
        else:
            for value in found.values:
                update.present(name, "TXT", _quoted(value))
            for value in found.values:
                if self._is_generation(value):
                    update.delete(name, "TXT", _quoted(value))
        update.add(name, self._rules.ttl, "TXT", _quoted(ours))

    def _signs_as_seen(self, update: dns.update.UpdateMessage, view: View) -> None:
        """No update slips into a signing that began after the reading: see `View.signing`."""
        name = _absolute(self._rules.zone)
        for value in view.progress:
            update.present(name, _PROGRESS, value)
        if not view.progress:
            update.absent(name, _PROGRESS)

    def _is_generation(self, value: str) -> bool:
        return value.startswith(f"{owner_text(self._rules.federation)},generation=")

    def _add(self, update: dns.update.UpdateMessage, change: Change, view: View) -> None:
        name, owner = _absolute(change.name), _absolute(owner_name(change.name))
        mark = _quoted(owner_text(self._rules.federation))
        if change.name == self._rules.zone:
            self._add_apex(update, change, view)
            return
        if change.kind == "create":
            # Neither the name nor its mark may have come into being since.
            update.absent(name)
            update.absent(owner)
            update.add(owner, self._rules.ttl, "TXT", mark)
        else:
            update.present(owner, "TXT", mark)
            # A server may grant no CNAME to who never needs one.
            kinds = view.names.get(change.name, frozenset())
            for kind in ("A", "AAAA", *(["CNAME"] if "CNAME" in kinds else [])):
                update.delete(name, kind)
        if change.kind == "delete":
            update.delete(owner, "TXT", mark)
        for record in change.sets:
            for value in record.values:
                text = _absolute(value) if record.type == "CNAME" else value
                update.add(name, record.ttl, record.type, text)

    def _add_apex(self, update: dns.update.UpdateMessage, change: Change, view: View) -> None:
        """NS go one by one, new ones first: the last is never deleted (RFC 2136, 3.4.2.4)."""
        found = view.records.get((change.name, "NS"))
        old = set(found.values if found else ())
        name = _absolute(change.name)
        for record in change.sets:
            for value in record.values:
                update.add(name, record.ttl, "NS", _absolute(value))
            for value in sorted(old - set(record.values)):
                update.delete(name, "NS", _absolute(value))

    def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        try:
            return dns.query.tcp(message, self._server, timeout=self._timeout, port=self._port)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise self._translated(error, "request") from error

    def _keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        # Read anew each time: a rotated key is used without a restart.
        name = self._key_dns
        secret = read_key(self._key_file, self._key_name)
        try:
            return {name: dns.tsig.Key(name, secret, dns.tsig.HMAC_SHA256)}
        except ValueError as error:
            text = f"the TSIG key in {self._key_file} is not base64"
            raise ProviderError(text, "operator") from error

    def _translated(self, error: Exception, what: str) -> ProviderError:
        if isinstance(error, dns.tsig.PeerBadTime):
            clocks = "says that the clocks differ by more than 300 s: set the clock (RFC 8945)"
            return self._error("operator", clocks)
        if isinstance(error, dns.tsig.PeerBadKey | dns.tsig.PeerBadSignature):
            return self._error("operator", f"does not know the TSIG key {self._key_name} as given")
        if isinstance(error, dns.tsig.BadTime):
            return self._error("operator", "signs with a clock more than 300 s off (RFC 8945)")
        if isinstance(error, dns.tsig.BadSignature | dns.tsig.BadKey | dns.tsig.PeerError):
            return self._error("operator", f"signs badly for the key {self._key_name}")
        if isinstance(error, dns.exception.FormError):
            return self._error("retry", f"answers the {what} unsigned or unreadably: is it ours?")
        if isinstance(error, dns.exception.Timeout):
            return self._error("retry", f"did not answer the {what} within {self._timeout:g} s")
        if isinstance(error, ConnectionError):
            return self._error("retry", f"is not reached ({error.strerror or 'connection lost'})")
        return self._error("retry", f"broke the {what} off ({type(error).__name__})")

    def _refusal(self, rcode: int, what: str) -> ProviderError:
        remedy, why = _RCODES.get(rcode, ("retry", "answers in an unknown way"))
        return self._error(remedy, f"{why} ({what}: {dns.rcode.to_text(dns.rcode.Rcode(rcode))})")

    def _error(self, remedy: Remedy, why: str) -> ProviderError:
        text = f"DNS server {self._server} port {self._port}, zone {self._rules.zone}: it {why}"
        return ProviderError(text, remedy)


class _Gathered:
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
            self.serial = _serial(rrset)
        if kind == _PROGRESS:
            self._progress += (rdata for rdata in rrset if isinstance(rdata, GenericRdata))
        if kind in _SIGNERS or kind == _PROGRESS:
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
            values += (self._one(_value(kind, rdata)) for rdata in rrset)
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


def _serial(rdataset: Iterable[object]) -> int:
    for rdata in rdataset:
        if isinstance(rdata, SOA):
            return int(rdata.serial)
    return -1


def _parts(changes: Sequence[Change], size: int) -> Iterator[Sequence[Change]]:
    for start in range(0, len(changes), size):
        yield changes[start : start + size]


def _absolute(name: str) -> str:
    return f"{name}."


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _value(kind: str, rdata: object) -> str:
    """Plain text: TXT joined, names without the last dot, all else in presentation form."""
    strings = getattr(rdata, "strings", None)
    if kind == "TXT" and isinstance(strings, tuple):
        return b"".join(s for s in strings if isinstance(s, bytes)).decode("utf-8", "replace")
    text = str(rdata)
    return text.rstrip(".").lower() if kind in ("CNAME", "NS") else text
