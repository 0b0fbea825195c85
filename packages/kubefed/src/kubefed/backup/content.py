"""What of a federation a backup holds, and in which form (pure).

It holds what users and operators said, and what the members' objects are known by: nothing that
the API server or a controller makes anew by itself. UIDs stay in, for owners are known by them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from kubefed import errors
from kubefed.api import (
    CLUSTER_PROPAGATED_VERSION,
    CLUSTER_UID_ANNOTATION,
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    NAMESPACE,
    PROPAGATED_VERSION,
    REPLICA_SCHEDULING_PREFERENCE,
    SECRET,
    FederatedType,
    TargetKind,
    TypeConfig,
)
from kubefed.controller.objects import Json, deleting, labels, mapping, metadata, notes
from kubefed.controller.transparent import eligible, marks

_KEPT = (
    "name",
    "namespace",
    "uid",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "deletionTimestamp",
)


class Part(StrEnum):
    """The parts of a backup, in the order in which they are put back.

    What makes a controller act comes last: without types it carries nothing and lets go of
    nothing, so that a restore that is broken off anywhere has no consequences in the members.
    """

    CRDS = "kinds"
    NAMESPACES = "namespaces"
    # Plain objects that are federated as they are.
    SOURCES = "plain objects"
    FEDERATED = "federated objects"
    RECORDS = "propagated versions"
    PREFERENCES = "scheduling preferences"
    POLICIES = "policies"
    SECRETS = "tokens"
    CLUSTERS = "clusters"
    TYPES = "types"
    CONFIG = "settings"


# Whose status is put back, since nobody can make it anew: what each cluster was given, and
# whether it was lost.
WITH_STATUS = frozenset({Part.RECORDS, Part.CLUSTERS})
_FIXED = {
    (kind.api_version, kind.kind): kind
    for kind in (
        CLUSTER_PROPAGATED_VERSION,
        CONFIG_MAP,
        CUSTOM_RESOURCE_DEFINITION,
        FEDERATED_TYPE_CONFIG,
        KUBEFED_CLUSTER,
        KUBEFED_CONFIG,
        NAMESPACE,
        PROPAGATED_VERSION,
        REPLICA_SCHEDULING_PREFERENCE,
        SECRET,
    )
}


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A federation as it was.

    Attributes:
        namespace: the federation's.
        host_uid: which cluster the host was: the UID of its namespace kube-system.
        host: its API endpoint.
        parts: the objects.
    """

    namespace: str
    host_uid: str
    host: str
    parts: Mapping[Part, list[Json]]

    @property
    def types(self) -> list[FederatedType]:
        """The types that are federated."""
        return types_of(self.of(Part.TYPES))

    @property
    def scope_is_namespaced(self) -> bool:
        """Whether only the federation's own namespace is federated."""
        config = next(iter(self.of(Part.CONFIG)), {})
        return mapping(config.get("spec")).get("scope") == "Namespaced"

    def of(self, part: Part) -> list[Json]:
        """Give the objects of a part."""
        return list(self.parts.get(part, ()))

    def kinds(self) -> dict[tuple[str, str], TargetKind]:
        """Give the kind of every object in it by apiVersion and kind."""
        found = dict(_FIXED)
        for each in self.types:
            for kind in (each.target, each.federated):
                found.setdefault((kind.api_version, kind.kind), kind)
        return found

    def counts(self) -> dict[str, int]:
        """Give how many objects there are of each part."""
        return {part.value: len(self.of(part)) for part in Part}

    def host_member(self) -> str:
        """Give the name that the host had among the members, "" if it was none."""
        for entry in self.of(Part.CLUSTERS):
            known = notes(entry).get(CLUSTER_UID_ANNOTATION)
            address = str(mapping(entry.get("spec")).get("apiEndpoint") or "")
            if known == self.host_uid if known else _host_port(address) == _host_port(self.host):
                return str(metadata(entry)["name"])
        return ""

    def to_bytes(self) -> bytes:
        """Give it as the content of a backup."""
        body = {
            "namespace": self.namespace,
            "host_uid": self.host_uid,
            "host": self.host,
            "parts": {part.name: self.of(part) for part in Part},
        }
        return json.dumps(body, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Snapshot:
        """Read the content of a backup.

        Raises:
            errors.AskOperator: it isn't one that this version understands.
        """
        try:
            body: dict[str, Any] = json.loads(content)
            parts: dict[str, list[Json]] = body["parts"]
            found = {Part[name]: items for name, items in parts.items()}
            made = cls(str(body["namespace"]), str(body["host_uid"]), str(body["host"]), found)
            _ = made.kinds()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise errors.AskOperator(
                "the backup's content is not understood; use the version of kubefed that made it"
            ) from error
        return made


def kept(obj: Json, *, status: bool = False) -> Json:
    """Give of an object what a backup keeps.

    Args:
        obj: the object, with apiVersion and kind.
        status: whether its status is kept too.
    """
    meta = metadata(obj)
    body = {name: obj[name] for name in obj if name not in ("metadata", "status")}
    body["metadata"] = {name: meta[name] for name in _KEPT if meta.get(name)}
    if status and obj.get("status"):
        body["status"] = obj["status"]
    return body


def types_of(configs: Iterable[Json]) -> list[FederatedType]:
    """Give the types of FederatedTypeConfigs."""
    return [TypeConfig.from_object(each).type for each in configs]


def is_source(obj: Json, federated: Mapping[str, Json], kind: FederatedType) -> bool:
    """Whether a plain object of a namespace that asks for it is federated as it is.

    Args:
        obj: the plain object, with apiVersion and kind.
        federated: the federated objects of its type and namespace by name.
        kind: the type.
    """
    beside = federated.get(str(metadata(obj).get("name")))
    return not (
        deleting(obj)
        or eligible.object_excluded(obj)
        or eligible.is_copy(obj, beside, kind.target)
        # Somebody's own federated object stands for it.
        or (beside is not None and not marks.marked(beside))
    )


def asking(namespaces: Iterable[Json], federation: str) -> list[str]:
    """Give the namespaces whose plain objects are federated as they are.

    Args:
        namespaces: the Namespaces.
        federation: the federation's own.
    """
    names = [str(metadata(each)["name"]) for each in namespaces if marks.asks(each)]
    return [name for name in names if not eligible.namespace_refused(name, federation)]


def homes(
    namespaces: Iterable[Json], objects: Iterable[Json], federation: str, sources: Iterable[str]
) -> list[Json]:
    """Give the Namespaces that a federation lives in.

    Args:
        namespaces: all Namespaces.
        objects: its objects.
        federation: its own namespace.
        sources: the namespaces whose plain objects are federated as they are.
    """
    used = {str(metadata(each).get("namespace") or "") for each in objects}
    used |= {federation, *sources}
    return [
        each
        for each in namespaces
        if metadata(each)["name"] in used or marks.FEDERATE in labels(each)
    ]


def changed(before: Iterable[Json], after: Iterable[Json]) -> list[tuple[str, str]]:
    """Give what happened between two lists of one kind: what, and the object.

    Args:
        before: the objects.
        after: the same later; their metadata is enough.
    """
    old = {_key(each): each for each in before}
    new = {_key(each): each for each in after}
    found = [("made", key) for key in new.keys() - old.keys()]
    found += [("deleted", key) for key in old.keys() - new.keys()]
    for key in old.keys() & new.keys():
        if _version(old[key]) != _version(new[key]):
            found.append(("changed", key))
    return sorted((what, "/".join(filter(None, key))) for what, key in found)


def _version(obj: Json) -> Json:
    """Give what tells one version of an object from the next, of what users say."""
    meta = metadata(obj)
    if not meta.get("generation"):
        return {name: meta.get(name) for name in ("uid", "resourceVersion")}
    # Its status is written all the time, which leaves the generation as it is.
    return {name: meta[name] for name in meta if name not in ("resourceVersion", "managedFields")}


def _key(obj: Json) -> tuple[str, str]:
    meta = metadata(obj)
    return str(meta.get("namespace") or ""), str(meta.get("name") or "")


def _host_port(address: str) -> str:
    return address.partition("://")[2].rstrip("/") or address.rstrip("/")
