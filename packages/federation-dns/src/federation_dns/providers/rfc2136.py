"""Any server that takes dynamic updates (RFC 2136) signed by TSIG (RFC 8945), such as BIND 9.

The zone is read by a signed transfer (RFC 5936). Each update carries as prerequisites the
generation that the plan was made from and the owner's mark of each name, so that an older plan, or
one made from a stale reading, is refused by the server itself: the check is in the write (RFC
2136, 2.4.2).
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import dns.xfr
from dns.rdataclass import IN
from dns.rdtypes.ANY.CNAME import CNAME

from federation_dns.plan import (
    Change,
    Plan,
    Rules,
    Stamp,
    View,
    carried_out,
    generation_text,
    is_generation,
    owner_name,
    owner_text,
)
from federation_dns.providers import ProviderError, Remedy, transfer
from federation_dns.providers.crew import Crew, Late
from federation_dns.providers.transfer import PROGRESS, Gathered
from federation_dns.zone import RecordSet, RecordType

T = TypeVar("T")

# What a server does at once and answers in time; and below the 64 KiB of a message, however many
# addresses a name has.
_NAMES_A_MESSAGE, _BYTES_A_MESSAGE = 100, 80_000
# dnspython bounds its waits by the wall clock, which may go back; these hold by the other. They
# are long: the time that a busy machine takes for what has come is no silence.
_EXCHANGE_S, _READ_S = 20.0, 60.0
# So long a transfer stands back for updates that take a lost region away: both are Python's work,
# one thread of which runs at a time.
_WAY_S = 5.0
_KEY = re.compile(r'key\s+"([^"]+)"\s*{[^}]*secret\s+"([^"]+)"\s*;', re.DOTALL)

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
        self._crew = Crew(1)
        self._unhurried = threading.Event()
        self._unhurried.set()

    def stamp(self) -> Stamp:
        """The SOA's serial and the generation, asked over TCP."""
        serial = [transfer.serial(rrset) for rrset in self._ask(self.zone_name, "SOA")]
        if not serial:
            raise self._error("retry", "gives no SOA of the zone")
        texts = self._ask(owner_name(self.zone_name), "TXT")
        values = sorted(transfer.value("TXT", rdata) for rrset in texts for rdata in rrset)
        return Stamp(serial[0], tuple(values))

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
        gathered = self._bounded(self._transfer, _READ_S, "zone transfer")
        if gathered.serial < 0:
            raise self._error("retry", "gave a zone without SOA")
        return gathered.view()

    def _transfer(self) -> Gathered:
        gathered, way = Gathered(), _WAY_S
        for message in dns.query.xfr(
            self._server,
            self._origin,
            port=self._port,
            keyring=self._keyring(),
            keyname=self._key_dns,
            relativize=False,
            timeout=self._timeout,
            lifetime=_READ_S,
        ):
            for rrset in message.answer:
                gathered.add(rrset)
            if way > 0 and not self._unhurried.is_set():
                began = time.monotonic()
                self._unhurried.wait(way)
                way -= time.monotonic() - began
        return gathered

    def after(self, plan: Plan, view: View) -> View | None:
        """What the server holds once it has taken each message of the plan."""
        text = generation_text(self._rules.federation, _following(plan), self._writer)
        return carried_out(view, plan, self._rules, text)

    def notes(self) -> tuple[str, ...]:
        """Nothing: a message is done whole or not at all."""
        return ()

    def behind(self) -> str:
        """Nothing: the server answers what it has taken."""
        return ""

    def close(self) -> None:
        """Let what waits for an answer end now."""
        self._crew.close()

    def due(self, changes: Sequence[Change]) -> Sequence[Change]:
        """All of them."""
        return changes

    def apply(self, plan: Plan, view: View) -> int:
        """Send the changes, some names a message; each is checked and done whole by the server."""
        try:
            if any(change.withdraws for change in plan.changes):
                self._unhurried.clear()
            return self._send(plan, view)
        finally:
            self._unhurried.set()

    def _send(self, plan: Plan, view: View) -> int:
        generation = plan.generation
        following = _following(plan)
        done = 0
        for part in _parts(plan.changes):
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
        others = [v for v in (found.values if found else ()) if not is_generation(v, self._rules)]
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
                if is_generation(value, self._rules):
                    update.delete(name, "TXT", _quoted(value))
        update.add(name, self._rules.ttl, "TXT", _quoted(ours))

    def _signs_as_seen(self, update: dns.update.UpdateMessage, view: View) -> None:
        """No update slips into a signing that began after the reading: see `View.signing`."""
        name = _absolute(self._rules.zone)
        for value in view.progress:
            update.present(name, PROGRESS, value)
        if not view.progress:
            update.absent(name, PROGRESS)

    def _add(self, update: dns.update.UpdateMessage, change: Change, view: View) -> None:
        name = dns.name.from_text(change.name)
        owner = dns.name.from_text(owner_name(change.name))
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
        update.update += [_rrset(name, record) for record in change.sets]

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
        def ask() -> dns.message.Message:
            return dns.query.tcp(message, self._server, timeout=self._timeout, port=self._port)

        return self._bounded(ask, self._timeout + _EXCHANGE_S, "request")

    def _bounded(self, work: Callable[[], T], seconds: float, what: str) -> T:
        """Work on a thread of its own, which is left behind if it takes too long."""
        try:
            return self._crew.run([work], seconds)[0].result()
        except Late:
            late = self._error("retry", f"did not end the {what} in {seconds:g} s")
            late.unsure = True
            raise late from None
        except dns.xfr.TransferError as error:
            raise self._refusal(error.rcode, what) from error
        except (dns.exception.DNSException, OSError, EOFError) as error:
            found = self._translated(error, what)
            # Who says by TSIG that he refuses it, or takes no connection, has done nothing.
            found.unsure = not isinstance(error, dns.tsig.PeerError | ConnectionRefusedError)
            raise found from error

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


def _following(plan: Plan) -> int:
    return (plan.generation or 0) + 1


def _parts(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    part, size = list[Change](), 0
    for change in changes:
        weight = _weight(change)
        if part and (len(part) == _NAMES_A_MESSAGE or size + weight > _BYTES_A_MESSAGE):
            yield part
            part, size = [], 0
        part.append(change)
        size += weight
    if part:
        yield part


def _weight(change: Change) -> int:
    """At most so many bytes: a name, its owner's mark, what goes, and each value."""
    values = [value for record in change.sets for value in record.values]
    return 250 + 2 * len(change.name) + sum(20 + len(value) for value in values)


def _rrset(name: dns.name.Name, record: RecordSet) -> dns.rrset.RRset:
    """Of bytes: dnspython's reading of text, and back, would be most of a pass."""
    made = dns.rrset.RRset(name, IN, dns.rdatatype.from_text(record.type))
    for value in record.values:
        made.add(_rdata(record.type, value), record.ttl)
    return made


def _rdata(kind: RecordType, value: str) -> dns.rdata.Rdata:
    number = dns.rdatatype.from_text(kind)
    if kind == "CNAME":
        return CNAME(IN, number, dns.name.from_text(value))
    family = socket.AF_INET if kind == "A" else socket.AF_INET6
    return dns.rdata.GenericRdata(IN, number, socket.inet_pton(family, value))


def _absolute(name: str) -> str:
    return f"{name}."


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
