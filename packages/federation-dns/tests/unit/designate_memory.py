"""Designate's API as far as the provider uses it, in memory; how the real one answers was seen."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation_dns.providers.keystone import Refused

ZONE_ID = "11111111-1111-4111-8111-111111111111"
PROJECT = "p" * 32


@dataclass
class Memory:
    """One zone; `on` is called before each request and may raise or change what there is.

    `spoil` may change what a list says; with `no_marker` every page is the first.
    """

    zone: str
    sets: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    serial: int = 1
    status: str = "ACTIVE"
    there: bool = True
    page: int = 3
    did: list[str] = field(default_factory=list[str])
    on: Callable[[str], None] = lambda _: None
    spoil: Callable[[dict[str, Any]], None] = lambda _: None
    no_marker: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.put(self.zone, "SOA", "ns.example. host.example. 1 2 3 4 5", description=None)
        self.put(self.zone, "NS", "ns.example.", description=None)

    where = "dns service in memory"

    def project(self, deadline: float) -> str:
        assert deadline > 0
        return PROJECT

    def put(self, name: str, kind: str, *values: str, **more: Any) -> str:
        """As somebody else would."""
        number = str(uuid.uuid4())
        self.sets[number] = {
            "id": number, "name": f"{name}.", "type": kind, "records": list(values), "ttl": None,
            "description": "theirs", "status": "ACTIVE", "action": "NONE", "version": 1,
            "project_id": PROJECT, **more,
        }  # fmt: skip
        return number

    def find(self, name: str, kind: str) -> dict[str, Any] | None:
        wanted = f"{name}.", kind
        return next((s for s in self.sets.values() if (s["name"], s["type"]) == wanted), None)

    def values(self, name: str, kind: str = "A") -> list[str]:
        found = self.find(name, kind)
        return sorted(found["records"]) if found else []

    def request(
        self,
        method: str,
        path: str,
        deadline: float,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> bytes:
        assert deadline > 0
        with self.lock:
            named = self._named(path, params, body)
            self.did.append(f"{method} {named}".strip())
            self.on(self.did[-1])
            return json.dumps(self._answer(method, path, params or {}, body)).encode()

    def _named(self, path: str, params: Mapping[str, str] | None, body: Any) -> str:
        found = re.search(r"/recordsets/(.+)$", path)
        if found:
            there = self.sets.get(found[1], {"name": "?", "type": "?"})
            return f"{there['name']} {there['type']}"
        given = {**(params or {}), **(body or {})}
        if "name" in given and "type" in given:
            return f"{given['name']} {given['type']}"
        return "all" if path.endswith("/recordsets") else "zone"

    def _answer(self, method: str, path: str, params: Mapping[str, str], body: Any) -> Any:
        found = re.fullmatch(r"/zones/([-\w]+)(/recordsets(?:/([-\w]+))?)?", path)
        if found is None:
            return self._zones(method)
        if not self.there:
            raise Refused(404, "zone_not_found", "Could not find Zone")
        if found[2] is None:
            return self._zone()
        if found[3] is not None:
            return self._change(method, found[3], body)
        return self._list(params) if method == "GET" else self._create(body)

    def _zones(self, method: str) -> Any:
        if method == "POST":
            self.there = True
            return self._zone()
        return {"zones": [self._zone()] if self.there else []}

    def _zone(self) -> dict[str, Any]:
        return {
            "id": ZONE_ID, "name": f"{self.zone}.", "type": "PRIMARY", "status": self.status,
            "action": "NONE", "serial": self.serial, "ttl": 15,
        }  # fmt: skip

    def _list(self, params: Mapping[str, str]) -> dict[str, Any]:
        chosen = [
            s
            for s in self.sets.values()
            if all(s[k] == params[k] for k in ("name", "type") if k in params)
        ]
        ids = [s["id"] for s in chosen]
        follows = "marker" in params and not self.no_marker
        start = ids.index(params["marker"]) + 1 if follows else 0
        part = chosen[start : start + self.page]
        # As the real one (23.0) does it: a full page names a next one, and an empty one counts 0.
        links = {"self": "x", **({"next": "y"} if len(part) == self.page else {})}
        count = len(chosen) if part else 0
        answer = {"recordsets": part, "links": links, "metadata": {"total_count": count}}
        self.spoil(answer)
        return answer

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.find(body["name"][:-1], body["type"]):
            raise Refused(409, "duplicate_recordset", "Duplicate RecordSet")
        self.serial += 1
        number = self.put(body["name"][:-1], body["type"], **{k: v for k, v in body.items()
                          if k not in ("name", "type")})  # fmt: skip
        return self.sets[number]

    def _change(self, method: str, number: str, body: Any) -> Any:
        if number not in self.sets:
            raise Refused(404, "recordset_not_found", "Could not find RecordSet")
        self.serial += 1
        if method == "DELETE":
            return self.sets.pop(number)
        self.sets[number] |= body
        return self.sets[number]
