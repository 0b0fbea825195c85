"""What is asked of Designate's API (v2), one method a question; answers are checked whole."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from federation_dns.plan import Rules
from federation_dns.providers import ProviderError, Remedy
from federation_dns.providers.keystone import Refused
from federation_dns.providers.recordsets import (
    Key,
    Page,
    SetSeen,
    Write,
    Zones,
    ZoneSeen,
    absolute,
    mark,
    plain,
)

M = TypeVar("M", bound=BaseModel)

_A_PAGE = 500
# A zone's serial is the second in which it was made or brought out last (Designate's
# `increment_serial`): what is brought out in that second too is no news to its name servers.
_SECOND_S = 1.2


class Service(Protocol):
    """What is needed of `keystone.Keystone`."""

    @property
    def where(self) -> str:
        """What it is and where, for texts."""
        ...

    def project(self, deadline: float) -> str:
        """The project that the credential belongs to."""
        ...

    def request(
        self,
        method: str,
        path: str,
        deadline: float,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> bytes:
        """Send one request; the answer's body."""
        ...


class Api:
    """One zone.

    Args:
        service: the region's endpoint.
        rules: name the zone.
        zone_id: the zone's, where the name alone is not enough.
        email: of the zone's SOA; with it a zone that is not there is made.
    """

    def __init__(self, service: Service, rules: Rules, *, zone_id: str = "", email: str = ""):
        self._service = service
        self._rules = rules
        self._zone_id = zone_id
        self._email = email
        self._found = zone_id

    def zone(self, deadline: float) -> ZoneSeen:
        """The zone itself."""
        if self._found:
            try:
                body = self._service.request("GET", f"/zones/{self._found}", deadline)
            except Refused as answer:
                if answer.status != 404 or self._zone_id:
                    raise self._judged(answer) from answer
                self._found = ""  # deleted, and perhaps made anew under the same name
            else:
                return self._usable(self._parsed(ZoneSeen, body))
        zone = self._usable(self._by_name(deadline))
        self._found = zone.id
        return zone

    def _by_name(self, deadline: float) -> ZoneSeen:
        asked = {"name": absolute(self._rules.zone)}
        try:
            listed = self._parsed(
                Zones, self._service.request("GET", "/zones", deadline, params=asked)
            )
            for zone in listed.zones:
                if plain(zone.name) == self._rules.zone:
                    return zone
            if not self._email:
                mend = "'openstack zone create' it, or let 'email' be set and it is made"
                raise self.error(
                    "operator", f"has no such zone in the credential's project: {mend}"
                )
            made = {**asked, "email": self._email, "ttl": self._rules.ttl, "type": "PRIMARY"}
            made["description"] = mark(self._rules)
            zone = self._parsed(
                ZoneSeen, self._service.request("POST", "/zones", deadline, body=made)
            )
            time.sleep(_SECOND_S)
            return zone
        except Refused as answer:
            raise self._judged(answer) from answer

    def _usable(self, zone: ZoneSeen) -> ZoneSeen:
        if plain(zone.name) != self._rules.zone:
            raise self.error("operator", f"has the zone {zone.name} under that zone-id")
        if zone.type != "PRIMARY":
            raise self.error("operator", f"has it as {zone.type}: only a PRIMARY takes records")
        if zone.action == "DELETE":
            raise self.error("retry", "is deleting it")
        return zone

    def project(self, deadline: float) -> str:
        """The credential's project."""
        return self._service.project(deadline)

    def all_sets(self, zone: ZoneSeen, deadline: float) -> list[SetSeen]:
        """Every record set of the zone, or an error: the list's own count must be met."""
        found: dict[str, SetSeen] = {}
        asked = {"limit": str(_A_PAGE)}
        count, more = -1, True
        while more:
            page = self._page(zone, asked, deadline)
            before = len(found)
            found.update((each.id, each) for each in page.recordsets)
            # A page of known ones only would go round for ever; the count then says it.
            more = not page.last and len(found) > before
            # A full last page names a next one, which is empty and says that there are none.
            if page.recordsets or count < 0:
                count = page.metadata.total_count
            if more:
                asked["marker"] = page.recordsets[-1].id
        if len(found) != count:
            text = f"listed {len(found)} of {count} record sets: no whole zone"
            raise self.error("retry", text)
        if not any(s.type == "SOA" and plain(s.name) == self._rules.zone for s in found.values()):
            raise self.error("retry", "gave a zone without SOA")
        return list(found.values())

    def one_set(self, zone: ZoneSeen, key: Key, deadline: float) -> SetSeen | None:
        """One record set."""
        asked = {"name": absolute(key[0]), "type": key[1]}
        sets = self._page(zone, asked, deadline).recordsets
        return next((s for s in sets if (plain(s.name), s.type) == key), None)

    def _page(self, zone: ZoneSeen, asked: Mapping[str, str], deadline: float) -> Page:
        path = f"/zones/{zone.id}/recordsets"
        try:
            return self._parsed(Page, self._service.request("GET", path, deadline, params=asked))
        except Refused as answer:
            raise self._judged(answer) from answer

    def write(self, zone: ZoneSeen, write: Write, deadline: float) -> None:
        """Write one record set.

        Raises:
            Refused: this one; others may go on.
            ProviderError: any would fail.
        """
        path = f"/zones/{zone.id}/recordsets"
        if write.id:
            path += f"/{write.id}"
        try:
            self._service.request(write.method, path, deadline, body=write.body)
        except Refused as answer:
            if answer.status == 403:
                raise self._judged(answer) from answer
            raise

    def _judged(self, answer: Refused) -> ProviderError:
        remedies: dict[int, tuple[Remedy, str]] = {
            403: ("operator", "does not let the credential do this: it needs the role member"),
            404: ("operator", "has no such zone: look at 'openstack zone list'"),
            409: ("operator", "has the zone in another project, or a zone above or below it"),
            413: ("operator", "has no more room in the project's quota of zones"),
        }
        remedy, why = remedies.get(answer.status, ("retry", "refuses the request"))
        return self.error(remedy, f"{why} ({answer})")

    def _parsed(self, model: type[M], body: bytes) -> M:
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            places = {".".join(map(str, fault["loc"][:2])) for fault in error.errors()}
            text = f"gave no whole answer (wrong: {', '.join(sorted(places)[:3]) or 'all'})"
            raise self.error("retry", text) from None

    def error(self, remedy: Remedy, why: str) -> ProviderError:
        """A failure that concerns the zone."""
        return ProviderError(f"{self._service.where}, zone {self._rules.zone}: it {why}", remedy)
