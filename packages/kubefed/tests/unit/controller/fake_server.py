"""An API server in memory, as far as the controller uses one.

Objects have UIDs, resourceVersions and finalizers; those with a spec have generations. Lists and
watches take label selectors. Tests put hooks before requests (to fail, hold or watch them).
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, ClassVar

from kubefed.controller.client import ApiError, Client
from kubefed.controller.objects import Json, Key, deleting, finalizers, key_of, metadata

Hook = Callable[[str, str, Json | None], Awaitable[None] | None]
_CORE = ("api", "v1")
_CLUSTER_SCOPED = frozenset({"namespaces", "clusterroles", "clusterpropagatedversions"})
# Versions of one kind are one resource, as they are to an API server.
_SAME = {"extensions/": "apps/"}


@dataclasses.dataclass
class _Watcher:
    resource: str
    namespace: str
    selector: str
    events: asyncio.Queue[Json | None]


@dataclasses.dataclass(frozen=True)
class _Target:
    resource: str
    namespace: str
    name: str
    subresource: str


class Server:
    """One API server.

    Attributes:
        before: called with method, path and body before a request is done; may raise or wait.
        after: called when it was done, before it is answered.
        log: every write as "METHOD path".
        absent: resources (as in "apps/deployments") that aren't served.
        healthy: what /healthz says; None for no answer at all, an error for its answer.
        probes: what it says before that, one answer after the other.
        listed: every list as "resource selector".
        unconditional: every write that names no version of what it changes, so that a late one
            of a former leader would be accepted.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self.log: list[str] = []
        self.absent: set[str] = set()
        self.healthy: str | ApiError | None = "ok"
        self.probes: list[str | ApiError | None] = []
        self.listed: list[str] = []
        self.unconditional: list[str] = []
        self.mute: set[str] = set()
        self._objects: dict[str, dict[Key, Json]] = {}
        self._watchers: list[_Watcher] = []
        self._revisions = itertools.count(1)
        self._uids = itertools.count(1)

    # -- what tests do

    def get(self, path: str) -> Json | None:
        """Look at an object, past every hook."""
        target = _parse(path)
        found = self._objects.get(target.resource, {}).get((target.namespace, target.name))
        return copy.deepcopy(found)

    def put(self, path: str, obj: Json) -> Json:
        """Create or replace an object as somebody else would, past every hook."""
        target = _parse(path)
        known = self.get(path)
        if known is None:
            return self._create(target, copy.deepcopy(obj))
        meta = metadata(known) | metadata(obj)
        return self._replace(target, known, copy.deepcopy(obj | {"metadata": meta}))

    def change(self, path: str, **fields: Any) -> Json:
        """Change top-level fields of an object, as somebody else would."""
        return self.put(path, (self.get(path) or {}) | fields)

    def label(self, path: str, labels: dict[str, str]) -> Json:
        """Replace an object's labels."""
        obj = self.get(path) or {}
        obj["metadata"]["labels"] = labels
        return self.put(path, obj)

    def remove(self, path: str) -> None:
        """Delete an object, finalizers or not."""
        target = _parse(path)
        obj = self._objects[target.resource].pop((target.namespace, target.name))
        metadata(obj)["resourceVersion"] = str(next(self._revisions))
        self._tell(target.resource, "DELETED", obj, obj)

    def delete(self, path: str) -> None:
        """Delete an object as a user would: its finalizers hold it."""
        self._delete(_parse(path), None)

    def all(self, resource: str) -> list[Json]:
        """Every object of a resource, as in "apps/deployments"."""
        return copy.deepcopy(list(self._objects.get(resource, {}).values()))

    def writes(self, part: str = "") -> list[str]:
        """The writes whose path contains a part."""
        return [line for line in self.log if part in line]

    def end_watches(self, part: str) -> None:
        """End the watches of a resource."""
        for watcher in self._watchers:
            if part in watcher.resource:
                watcher.events.put_nowait(None)

    # -- what clients do

    async def serve(
        self, method: str, path: str, body: Json | None, params: dict[str, str], kind: str
    ) -> Json:
        for hook in list(self.before):
            waiting = hook(method, path, body)
            if waiting is not None:
                await waiting
        answer = self._do(method, path, copy.deepcopy(body), params, kind)
        for hook in list(self.after):
            waiting = hook(method, path, body)
            if waiting is not None:
                await waiting
        return copy.deepcopy(answer)

    def _do(
        self, method: str, path: str, body: Json | None, params: dict[str, str], kind: str
    ) -> Json:
        target = _parse(path)
        if target.resource in self.absent:
            raise ApiError(404, "NotFound", f"{target.resource} is not served")
        if method == "GET" and not target.name:
            return self._list(target, params)
        known = self._objects.get(target.resource, {}).get((target.namespace, target.name))
        if method == "GET":
            return self._known(known, path)
        self.log.append(f"{method} {path}")
        body = {} if body is None else body
        if method == "POST":
            return self._create(target, body)
        named = body.get("preconditions") or {} if method == "DELETE" else metadata(body)
        if not named.get("resourceVersion"):
            self.unconditional.append(f"{method} {path}")
        if method == "DELETE":
            return self._delete(target, body)
        present = self._known(known, path)
        sent = metadata(body).get("resourceVersion")
        if sent and sent != present["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", f"{path} was changed")
        if method == "PATCH":
            return self._replace(target, present, _merge(present, body))
        return self._replace(target, present, body)

    def _known(self, obj: Json | None, path: str) -> Json:
        if obj is None:
            raise ApiError(404, "NotFound", f"no {path}")
        return obj

    def _list(self, target: _Target, params: dict[str, str]) -> Json:
        self.listed.append(f"{target.resource} {params.get('labelSelector', '')}".strip())
        items = [
            obj
            for key, obj in self._objects.get(target.resource, {}).items()
            if target.namespace in ("", key[0]) and _matches(obj, params.get("labelSelector", ""))
        ]
        version = str(next(self._revisions))
        return {"kind": "List", "metadata": {"resourceVersion": version}, "items": items}

    def _create(self, target: _Target, obj: Json) -> Json:
        meta = obj.setdefault("metadata", {})
        name = str(meta.get("name") or target.name)
        key = (target.namespace or str(meta.get("namespace") or ""), name)
        if target.resource in _CLUSTER_SCOPED:
            key = ("", name)
        store = self._objects.setdefault(target.resource, {})
        if key in store:
            raise ApiError(409, "AlreadyExists", f"{name} exists")
        meta |= {"name": name, "uid": f"{self.name}-{next(self._uids)}"}
        if key[0]:
            meta["namespace"] = key[0]
        meta["resourceVersion"] = str(next(self._revisions))
        if "spec" in obj:
            meta["generation"] = 1
        store[key] = obj
        self._tell(target.resource, "ADDED", None, obj)
        return obj

    def _replace(self, target: _Target, known: Json, obj: Json) -> Json:
        if target.subresource == "status":
            notes = metadata(obj if _built_in(target) else known).get("annotations")
            meta = known["metadata"] | ({"annotations": notes} if notes is not None else {})
            obj = known | {"status": obj.get("status"), "metadata": meta}
        elif "spec" in obj and "status" in known:
            obj = obj | {"status": known["status"]}
        meta = metadata(obj) | {
            name: known["metadata"][name] for name in ("uid",) if name in known["metadata"]
        }
        if "generation" in known["metadata"]:
            changed = obj.get("spec") != known.get("spec")
            number = known["metadata"]["generation"]
            meta["generation"] = (number if isinstance(number, int) else 0) + changed
        if known["metadata"].get("deletionTimestamp"):
            meta["deletionTimestamp"] = known["metadata"]["deletionTimestamp"]
        obj = obj | {"metadata": meta}
        same = {**obj, "metadata": {**meta, "resourceVersion": ""}} == {
            **known,
            "metadata": {**known["metadata"], "resourceVersion": ""},
        }
        if same:
            return known
        meta["resourceVersion"] = str(next(self._revisions))
        store, key = self._objects[target.resource], key_of(known)
        if deleting(obj) and not finalizers(obj):
            del store[key]
            self._tell(target.resource, "DELETED", known, obj)
            return obj
        store[key] = obj
        self._tell(target.resource, "MODIFIED", known, obj)
        return obj

    def _delete(self, target: _Target, options: Json | None) -> Json:
        store = self._objects.get(target.resource, {})
        key = (target.namespace, target.name)
        known = self._known(store.get(key), target.name)
        wanted = (options or {}).get("preconditions") or {}
        for what in ("uid", "resourceVersion"):
            if wanted.get(what) and wanted[what] != known["metadata"][what]:
                raise ApiError(409, "Conflict", f"another {what}")
        if finalizers(known):
            meta = known["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}
            meta["resourceVersion"] = str(next(self._revisions))
            store[key] = known | {"metadata": meta}
            self._tell(target.resource, "MODIFIED", known, store[key])
            return store[key]
        del store[key]
        gone = known | {
            "metadata": known["metadata"] | {"resourceVersion": str(next(self._revisions))}
        }
        self._tell(target.resource, "DELETED", known, gone)
        return {"kind": "Status", "status": "Success"}

    # -- watches

    def _tell(self, resource: str, kind: str, before: Json | None, obj: Json) -> None:
        if resource in self.mute:
            return
        for watcher in self._watchers:
            if watcher.resource != resource:
                continue
            if watcher.namespace not in ("", key_of(obj)[0]):
                continue
            had = before is not None and _matches(before, watcher.selector)
            has = kind != "DELETED" and _matches(obj, watcher.selector)
            if not (had or has):
                continue
            told = "DELETED" if not has else ("MODIFIED" if had else "ADDED")
            watcher.events.put_nowait({"type": told, "object": copy.deepcopy(obj)})

    async def watch(self, path: str, params: dict[str, str]) -> AsyncGenerator[Json]:
        target = _parse(path)
        if target.resource in self.absent:
            raise ApiError(404, "NotFound", f"{target.resource} is not served")
        watcher = _Watcher(
            target.resource, target.namespace, params.get("labelSelector", ""), asyncio.Queue()
        )
        since = int(params["resourceVersion"])
        for obj in self._objects.get(target.resource, {}).values():
            fits = target.namespace in ("", key_of(obj)[0]) and _matches(obj, watcher.selector)
            if fits and int(metadata(obj)["resourceVersion"]) > since:
                watcher.events.put_nowait({"type": "MODIFIED", "object": copy.deepcopy(obj)})
        self._watchers.append(watcher)
        try:
            while (event := await watcher.events.get()) is not None:
                yield event
        finally:
            self._watchers.remove(watcher)


class FakeClient(Client):
    """A client of the servers in memory, found by URL."""

    servers: ClassVar[dict[str, Server]] = {}

    @property
    def server(self) -> Server:
        """The server behind the address."""
        found = self.servers.get(self.connection.url)
        if found is None:
            raise OSError(f"nobody at {self.connection.url}")
        return found

    async def request(self, method: str, path: str, **options: Any) -> Json:
        if method != "GET":
            self._guard()
        async with asyncio.timeout(options.get("timeout_s", 30)):
            # As the wire has it: what is no JSON doesn't pass.
            body = json.loads(json.dumps(options.get("body")))
            return await self.server.serve(
                method,
                path,
                body,
                dict(options.get("params") or {}),
                str(options.get("content_type")),
            )

    async def watch(self, path: str, *, params: Any, accept: str) -> AsyncGenerator[Json]:
        del accept
        async for event in self.server.watch(path, dict(params)):
            yield event

    async def text(self, path: str, *, timeout_s: float) -> str:
        del path, timeout_s
        server = self.server
        answer = server.probes.pop(0) if server.probes else server.healthy
        if answer is None:
            raise OSError("no answer")
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def version(self, *, timeout_s: float) -> str:
        del timeout_s
        return "v1.35.4"


def _parse(path: str) -> _Target:
    parts = path.strip("/").split("/")
    core = tuple(parts[:2]) == _CORE
    group = "" if core else f"{parts[1]}/"
    group = _SAME.get(group, group)
    rest = parts[2:] if core else parts[3:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return _Target(f"{group}{rest[0]}", namespace, rest[1], rest[2])


def _built_in(target: _Target) -> bool:
    """Whether it is a kind of Kubernetes itself, whose /status takes annotations too."""
    return not target.resource.partition("/")[0].endswith("kubefed.io")


def _matches(obj: Json, selector: str) -> bool:
    labels = metadata(obj).get("labels") or {}
    wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
    return all(labels.get(name) == value for name, value in wanted.items())


def _merge(into: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(into) if isinstance(into, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged
