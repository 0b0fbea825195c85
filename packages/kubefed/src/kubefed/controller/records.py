"""The (Cluster)PropagatedVersions in the host: read once, then known from our own writes.

Only the leader writes them, so a watch would tell nothing new; a record that somebody else removed
or changed shows when it is written next (404, 409) and is read again then.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from kubefed.api.kinds import CLUSTER_PROPAGATED_VERSION, PROPAGATED_VERSION, TargetKind
from kubefed.controller import versions
from kubefed.controller.amend import as_known
from kubefed.controller.client import ApiError
from kubefed.controller.informer import PAGE
from kubefed.controller.objects import (
    Json,
    Key,
    key_of,
    mapping,
    metadata,
    resource_version,
    sequence,
    uid,
)
from kubefed.controller.versions import Recorded

if TYPE_CHECKING:
    from kubefed.api.kinds import FederatedType
    from kubefed.controller.client import Client

NOTHING = Recorded()
_ATTEMPTS = 3


@dataclasses.dataclass(slots=True)
class _Entry:
    recorded: Recorded
    owner: str
    version: str


class Records:
    """What was propagated, for all types.

    Args:
        host: the host cluster.
        namespace: "" for all namespaces, or the only one that is federated.
    """

    def __init__(self, host: Client, namespace: str = "") -> None:
        self._host = host
        self._namespace = namespace
        self._entries: dict[Key, _Entry] = {}
        # What isn't written yet: owner and record.
        self._noted: dict[Key, tuple[str, Recorded]] = {}

    async def load(self) -> None:
        """Read all records.

        Raises:
            ApiError: the host refused.
        """
        kinds = [PROPAGATED_VERSION]
        if not self._namespace:
            kinds.append(CLUSTER_PROPAGATED_VERSION)
        for kind in kinds:
            await self._load(kind)

    def get(self, federated: Json, kind: FederatedType) -> Recorded:
        """Give what is recorded for a federated object.

        A record of a former object of the same name says nothing of this one.
        """
        key = versions.record_key(key_of(federated), kind.target)
        owner, noted = self._noted.get(key, ("", NOTHING))
        if owner == uid(federated):
            return noted
        entry = self._entries.get(key)
        return entry.recorded if entry is not None and entry.owner == uid(federated) else NOTHING

    def version(self, federated: Key, kind: FederatedType, cluster: str) -> str:
        """Give the version that a cluster was given last, "" if none is known."""
        key = versions.record_key(federated, kind.target)
        if key in self._noted:
            return self._noted[key][1].clusters.get(cluster, "")
        entry = self._entries.get(key)
        return entry.recorded.clusters.get(cluster, "") if entry is not None else ""

    def note(self, federated: Json, kind: FederatedType, recorded: Recorded) -> None:
        """Remember what is to be saved; it counts from now on."""
        key = versions.record_key(key_of(federated), kind.target)
        entry = self._entries.get(key)
        same = entry is not None and entry.owner == uid(federated) and entry.recorded == recorded
        if same:
            self._noted.pop(key, None)
        else:
            self._noted[key] = (uid(federated), recorded)

    def invalidate(self, federated: Key, kind: FederatedType, cluster: str) -> None:
        """Forget the version that a cluster was given: another object is in its place now.

        Generations begin anew with each object, so that the same version may be another object's.
        """
        key = versions.record_key(federated, kind.target)
        entry = self._entries.get(key)
        owner, recorded = self._noted.get(key) or (
            (entry.owner, entry.recorded) if entry is not None else ("", NOTHING)
        )
        if cluster in recorded.clusters:
            left = {name: of for name, of in recorded.clusters.items() if name != cluster}
            self._noted[key] = (owner, dataclasses.replace(recorded, clusters=left))

    def saved(self, federated: Key, kind: FederatedType) -> bool:
        """Whether nothing is left to save."""
        return versions.record_key(federated, kind.target) not in self._noted

    def forget(self, federated: Key, kind: FederatedType) -> None:
        """Drop the record of an object that is gone; the host removes it with its owner."""
        key = versions.record_key(federated, kind.target)
        self._entries.pop(key, None)
        self._noted.pop(key, None)

    async def prepare(self, federated: Json, kind: FederatedType) -> None:
        """Make the record if there is none yet, its status still empty.

        Raises:
            ApiError: the host refused.
        """
        key = versions.record_key(key_of(federated), kind.target)
        known = self._entries.get(key)
        if known is not None and known.owner == uid(federated):
            return
        record_kind = versions.record_kind(kind.federated)
        body = versions.record(federated, kind.federated, kind.target)
        path = record_kind.path(key[0] or None)
        try:
            answer = await self._host.request("POST", path, body=body)
        except ApiError as error:
            if not error.exists:
                raise
            answer = await self._take_over(f"{path}/{key[1]}", path, body, uid(federated))
        self._remember(answer)

    async def save(self, federated: Json, kind: FederatedType, recorded: Recorded) -> None:
        """Write a record; nothing is written if it says so already.

        Raises:
            ApiError: the host refused.
        """
        key = versions.record_key(key_of(federated), kind.target)
        record_kind = versions.record_kind(kind.federated)
        for attempt in range(_ATTEMPTS):
            await self.prepare(federated, kind)
            entry = self._entries[key]
            if entry.recorded == recorded:
                self._settle(key, uid(federated), recorded)
                return
            meta = {"name": key[1], "resourceVersion": entry.version}
            if key[0]:
                meta["namespace"] = key[0]
            body = {
                "apiVersion": record_kind.api_version,
                "kind": record_kind.kind,
                "metadata": meta,
                "status": versions.record_status(recorded),
            }
            path = f"{record_kind.path(key[0] or None, key[1])}/status"
            try:
                self._remember(await self._host.request("PUT", path, body=body), key)
            except ApiError as error:
                if not (error.conflict or error.not_found) or attempt == _ATTEMPTS - 1:
                    raise
                # Another hand was at it: read it again, or make it again.
                self._entries.pop(key, None)
            else:
                self._settle(key, uid(federated), recorded)
                return

    def _settle(self, key: Key, owner: str, recorded: Recorded) -> None:
        if self._noted.get(key) == (owner, recorded):
            del self._noted[key]

    async def _take_over(self, path: str, collection: str, body: Json, owner: str) -> Json:
        """Use the record that is there, unless it is a former object's."""
        present = await self._host.request("GET", path)
        if _owner(present) == owner:
            return present
        options = {"preconditions": as_known(present)}
        try:
            await self._host.request("DELETE", path, body=options)
        except ApiError as error:
            if not error.not_found:
                raise
        return await self._host.request("POST", collection, body=body)

    def _remember(self, obj: Json, key: Key | None = None) -> None:
        entry = _Entry(versions.parse_record(obj), _owner(obj), resource_version(obj))
        self._entries[key or key_of(obj)] = entry

    async def _load(self, kind: TargetKind) -> None:
        params = {"limit": str(PAGE)}
        while True:
            page = await self._host.request(
                "GET", kind.path(self._namespace or None), params=params, timeout_s=60
            )
            for item in map(mapping, sequence(page.get("items"))):
                self._remember(item)
            params["continue"] = str(metadata(page).get("continue") or "")
            if not params["continue"]:
                return


def _owner(obj: Json) -> str:
    owners = sequence(metadata(obj).get("ownerReferences"))
    return str(mapping(owners[0]).get("uid") or "") if owners else ""
