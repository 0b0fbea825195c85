"""Reads a federation as it was at one moment."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import os
from collections.abc import Iterable

from kubernetes.client import ApiClient

from kubefed import errors
from kubefed.api import (
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
    FederatedType,
    Manifest,
    TargetKind,
    standard_crds,
)
from kubefed.backup import content, envelope
from kubefed.backup.content import Part, Snapshot
from kubefed.clients import Resources
from kubefed.controller.objects import mapping, metadata
from kubefed.controller.transparent import eligible
from kubefed.controller.transparent.policy import POLICIES
from kubefed.install import need_installed
from kubefed.membership.endpoint import identity_of

_TIMEOUT_S = 60.0
_PAGE = 500
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclasses.dataclass(frozen=True)
class Taken:
    """A backup that was made.

    Attributes:
        data: the encrypted file.
        objects: how many objects are in it, by part.
        clusters: the members in it.
        made_at: the moment that it shows.
        resource_version: the host's version at that moment.
        key_id: which key opens it.
        changed: what was written in the host since then, while the backup was made.
    """

    data: bytes
    objects: dict[str, int]
    clusters: tuple[str, ...]
    made_at: str
    resource_version: str
    key_id: str
    changed: tuple[str, ...]


def take(api: ApiClient, *, namespace: str, key: bytes) -> Taken:
    """Back a federation up, as it is at one moment; nothing is written in the host.

    Args:
        api: the host cluster, by an account that may read all of the federation, Secrets included.
        namespace: the federation's namespace.
        key: what to encrypt it with.

    Raises:
        errors.NotInstalled: there is no federation.
        errors.RetryLater: the host's history ended while it was read.
    """
    host = Resources(api, timeout_s=_TIMEOUT_S)
    need_installed(host, namespace)
    moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    reader = _Reader(host, namespace)
    snapshot = reader.snapshot(identity_of(api).uid)
    about = {
        "made_at": moment,
        "host": snapshot.host,
        "namespace": namespace,
        "kubefed": importlib.metadata.version("kubefed"),
    }
    data = envelope.seal(snapshot.to_bytes(), about, key, os.urandom(envelope.SALT_BYTES))
    return Taken(
        data=data,
        objects=snapshot.counts(),
        clusters=tuple(str(metadata(each)["name"]) for each in snapshot.of(Part.CLUSTERS)),
        made_at=moment,
        resource_version=reader.version,
        key_id=envelope.key_id(key),
        changed=tuple(reader.changed()),
    )


class _Reader:
    """Lists of one moment: each is asked for as it was at the first one's version."""

    def __init__(self, host: Resources, namespace: str) -> None:
        self._host = host
        self._namespace = namespace
        # What was listed, to see what has changed by the end.
        self._listed: list[tuple[TargetKind, str, dict[str, str], list[Manifest]]] = []
        self.version = ""

    def snapshot(self, host_uid: str) -> Snapshot:
        """Read everything."""
        own = self._namespace
        config = self._list(KUBEFED_CONFIG, own)
        if not config:
            raise errors.NotInstalled(
                f"{self._host.api.configuration.host} has no KubeFedConfig in namespace {own}, so "
                "the federation is not installed whole; run kubefed init, or correct "
                "--kubefed-namespace"
            )
        scope = own if mapping(config[0].get("spec")).get("scope") == "Namespaced" else ""
        configs = self._list(FEDERATED_TYPE_CONFIG, own)
        types = content.types_of(configs)
        federated = {kind.name: self._list(kind.federated, scope) for kind in types}
        objects = [each for items in federated.values() for each in items]
        preferences = self._list(REPLICA_SCHEDULING_PREFERENCE, scope)
        records = self._list(PROPAGATED_VERSION, scope)
        records += [] if scope else self._list(CLUSTER_PROPAGATED_VERSION)
        clusters = self._list(KUBEFED_CLUSTER, own)
        namespaces = self._list(NAMESPACE)
        asking = [] if scope else content.asking(namespaces, own)
        named = {_secret_of(each) for each in clusters}
        secrets = [
            each for each in self._list(SECRET, own) if str(metadata(each)["name"]) in named
        ]
        found = {
            Part.CRDS: self._crds(types),
            Part.NAMESPACES: content.homes(namespaces, [*objects, *preferences], own, asking),
            Part.SOURCES: self._sources(types, federated, asking),
            Part.FEDERATED: objects,
            Part.RECORDS: records,
            Part.PREFERENCES: preferences,
            Part.POLICIES: self._list(CONFIG_MAP, own, fields=f"metadata.name={POLICIES}"),
            Part.SECRETS: secrets,
            Part.CLUSTERS: clusters,
            Part.TYPES: configs,
            Part.CONFIG: config,
        }
        parts = {
            part: [content.kept(each, status=part in content.WITH_STATUS) for each in items]
            for part, items in found.items()
        }
        return Snapshot(own, host_uid, str(self._host.api.configuration.host), parts)

    def changed(self) -> list[str]:
        """Say what was written since the moment that the snapshot shows."""
        found: list[str] = []
        for kind, namespace, query, before in self._listed:
            after = self._pages(kind, namespace, query, accept=_METADATA)[0]
            found += [
                f"{what} {kind.kind} {name}" for what, name in content.changed(before, after)
            ]
        return found

    def _sources(
        self,
        types: Iterable[FederatedType],
        federated: dict[str, list[Manifest]],
        asking: Iterable[str],
    ) -> list[Manifest]:
        found: list[Manifest] = []
        kinds = [each for each in types if not eligible.kind_excluded(each.target)]
        for namespace in asking:
            for kind in kinds:
                beside = {
                    str(metadata(each)["name"]): each
                    for each in federated[kind.name]
                    if metadata(each).get("namespace") == namespace
                }
                found += [
                    obj
                    for obj in self._list(kind.target, namespace)
                    if content.is_source(obj, beside, kind)
                ]
        return found

    def _crds(self, types: Iterable[FederatedType]) -> list[Manifest]:
        """Give the definitions of kinds that an installation doesn't bring by itself."""
        standard = {str(metadata(each)["name"]) for each in standard_crds()}
        found: list[Manifest] = []
        for kind in types:
            for each in (kind.target, kind.federated):
                if each.group and each.full_name not in standard:
                    fields = f"metadata.name={each.full_name}"
                    found += self._list(CUSTOM_RESOURCE_DEFINITION, fields=fields)
        return found

    def _list(self, kind: TargetKind, namespace: str = "", *, fields: str = "") -> list[Manifest]:
        query = {"fieldSelector": fields} if fields else {}
        moment = {"resourceVersion": self.version, "resourceVersionMatch": "Exact"}
        items, version = self._pages(kind, namespace, query | (moment if self.version else {}))
        self.version = self.version or version
        self._listed.append((kind, namespace, query, items))
        return items

    def _pages(
        self,
        kind: TargetKind,
        namespace: str,
        query: dict[str, str],
        accept: str = "application/json",
    ) -> tuple[list[Manifest], str]:
        wanted = {**query, "limit": str(_PAGE)}
        items: list[Manifest] = []
        while True:
            try:
                page = self._host.request(
                    "GET",
                    kind.path(namespace or None),
                    query=wanted,
                    accept=accept,
                    what=f"list {kind.full_name}",
                )
            except errors.NotFound:
                # A type whose kind the host doesn't serve.
                return items, ""
            except errors.Refused as error:
                raise errors.RetryLater(
                    f"{error}; reading took longer than the host keeps its history, or was "
                    "refused; try again"
                ) from error
            items += [
                {"apiVersion": kind.api_version, "kind": kind.kind, **each}
                if accept == "application/json"
                else each
                for each in page.get("items") or []
            ]
            meta = metadata(page)
            if not meta.get("continue"):
                return items, str(meta.get("resourceVersion") or "")
            wanted = {**query, "limit": str(_PAGE), "continue": str(meta["continue"])}
            # The token says which moment it is of, and the API server takes it alone.
            wanted.pop("resourceVersion", None)
            wanted.pop("resourceVersionMatch", None)


def _secret_of(cluster: Manifest) -> str:
    reference = mapping(mapping(cluster.get("spec")).get("secretRef"))
    return str(reference.get("name") or "")
