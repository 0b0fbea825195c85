"""Which version of a federated object a member has got, and whether it must be written again.

The hashes and versions are bit for bit those of KubeFed v0.10.0 (reference: PropagatedVersion of
core.kubefed.io/v1alpha1), so that what it recorded stays valid when this controller takes over.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from kubefed.api.kinds import CLUSTER_PROPAGATED_VERSION, PROPAGATED_VERSION, TargetKind
from kubefed.controller import gojson
from kubefed.controller.objects import (
    Json,
    Key,
    generation,
    labels,
    mapping,
    metadata,
    notes,
    resource_version,
    sequence,
    spec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """What a PropagatedVersion says.

    Attributes:
        template: hash of the template that was propagated.
        overrides: hash of the overrides that were propagated.
        clusters: cluster name to the version that it was given.
    """

    template: str = ""
    overrides: str = ""
    clusters: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def valid_for(self, template: str, overrides: str) -> Mapping[str, str]:
        """Give the clusters' versions if they were made from the same template and overrides."""
        same = self.template == template and self.overrides == overrides
        return self.clusters if same else {}


def template_hash(federated: Json) -> str:
    """Give the hash of `spec.template`, "" if there is none."""
    template = spec(federated).get("template")
    return "" if template is None else _md5(gojson.encode(template))


def overrides_hash(federated: Json) -> str:
    """Give the hash of `spec.overrides`."""
    overrides = spec(federated).get("overrides")
    items = None if overrides is None else [_item(item) for item in sequence(overrides)]
    return _md5(gojson.encode({"overrides": items}))


def version_of(obj: Json) -> str:
    """Give the version of a member's object: its generation if its kind has one."""
    number = generation(obj)
    return f"gen:{number}" if number else f"rv:{resource_version(obj)}"


def needs_update(desired: Json, current: Json, recorded: str) -> bool:
    """Whether a member's object must be written again.

    Args:
        desired: the object as it should be, retained fields included.
        current: the object as it is; its metadata is enough.
        recorded: the version that the cluster was last given, "" if unknown.
    """
    if recorded != version_of(current):
        return True
    # A change of metadata leaves the generation as it is.
    return recorded.startswith("gen:") and not _same_metadata(desired, current)


def record_name(target: TargetKind, name: str) -> str:
    """Give the name of the (Cluster)PropagatedVersion of an object.

    >>> record_name(TargetKind("apps", "v1", "Deployment", "deployments"), "web")
    'deployment-web'
    """
    return f"{target.kind.lower()}-{name}"


def record_kind(federated: TargetKind) -> TargetKind:
    """Give the kind that records a federated kind's versions.

    It goes by the scope of the federated kind, so FederatedNamespace uses the namespaced one.
    """
    return PROPAGATED_VERSION if federated.namespaced else CLUSTER_PROPAGATED_VERSION


def record(federated: Json, federated_kind: TargetKind, target: TargetKind) -> Json:
    """Give a new (Cluster)PropagatedVersion, without its status."""
    meta = metadata(federated)
    new: Json = {
        "name": record_name(target, str(meta["name"])),
        "ownerReferences": [
            {
                "apiVersion": federated_kind.api_version,
                "kind": federated_kind.kind,
                "name": meta["name"],
                "uid": meta["uid"],
            }
        ],
    }
    if federated_kind.namespaced:
        new["namespace"] = meta["namespace"]
    kind = record_kind(federated_kind)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": new}


def record_key(federated: Key, target: TargetKind) -> Key:
    """Give the key of the (Cluster)PropagatedVersion of the federated object with a key."""
    return (federated[0], record_name(target, federated[1]))


def record_status(recorded: Recorded) -> Json:
    """Give the status of a (Cluster)PropagatedVersion."""
    versions = [
        {"clusterName": name, "version": recorded.clusters[name]}
        for name in sorted(recorded.clusters)
    ]
    status: Json = {
        "templateVersion": recorded.template,
        "overridesVersion": recorded.overrides,
    }
    # v0.10.0 leaves an empty list out.
    return status | ({"clusterVersions": versions} if versions else {})


def parse_record(obj: Json) -> Recorded:
    """Read a (Cluster)PropagatedVersion; what is malformed counts as not recorded."""
    status = mapping(obj.get("status"))
    clusters = {
        str(item["clusterName"]): str(item["version"])
        for item in map(mapping, sequence(status.get("clusterVersions")))
        if item.get("clusterName") and item.get("version")
    }
    return Recorded(
        str(status.get("templateVersion") or ""),
        str(status.get("overridesVersion") or ""),
        clusters,
    )


def _item(item: object) -> gojson.Ordered:
    entry = mapping(item)
    ordered = gojson.Ordered(clusterName=entry.get("clusterName") or "")
    changes = sequence(entry.get("clusterOverrides"))
    if changes:
        ordered["clusterOverrides"] = [_change(change) for change in changes]
    return ordered


def _change(change: object) -> gojson.Ordered:
    entry = mapping(change)
    ordered = gojson.Ordered()
    if entry.get("op"):
        ordered["op"] = entry["op"]
    ordered["path"] = entry.get("path") or ""
    if entry.get("value") is not None:
        ordered["value"] = gojson.floats(entry["value"])
    return ordered


def _same_metadata(left: Json, right: Json) -> bool:
    left_meta, right_meta = metadata(left), metadata(right)
    return (
        (left_meta.get("name") or "") == (right_meta.get("name") or "")
        and (left_meta.get("namespace") or "") == (right_meta.get("namespace") or "")
        and labels(left) == labels(right)
        and notes(left) == notes(right)
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
