"""The objects of a backup as they are written to a host cluster (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubefed.api import FederatedType
from kubefed.backup.content import WITH_STATUS, Part
from kubefed.backup.plan import Act, Step
from kubefed.controller.objects import (
    Json,
    deleting,
    finalizers,
    labels,
    mapping,
    metadata,
    notes,
    resource_version,
    sequence,
)
from kubefed.controller.transparent import marks, wanted

# What a volume's own cluster has written.
_BOUND = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")


def body_of(step: Step, uids: Mapping[str, str], types: Mapping[str, FederatedType]) -> Json:
    """Give an object as it is to be created.

    Args:
        step: the object.
        uids: the UID that each restored object had, to the one that it has now. An owner that
            isn't there any more is left out: the garbage collector would delete what names it.
        types: the types by the full names of their targets.
    """
    if step.part is Part.SOURCES:
        return source_body(step.wanted, types[step.kind.full_name])
    meta = {
        name: value
        for name, value in metadata(step.wanted).items()
        if name not in ("uid", "deletionTimestamp", "ownerReferences")
    }
    owners = [
        owner | {"uid": uids[str(owner.get("uid"))]}
        for owner in map(mapping, sequence(metadata(step.wanted).get("ownerReferences")))
        if str(owner.get("uid")) in uids
    ]
    if owners:
        meta["ownerReferences"] = owners
    body = {name: value for name, value in step.wanted.items() if name != "status"}
    return body | {"metadata": meta}


def changed_body(step: Step, uids: Mapping[str, str], types: Mapping[str, FederatedType]) -> Json:
    """Give an object as it is to replace the one that is there."""
    body = body_of(step, uids, types)
    live = step.live or {}
    if step.part is Part.NAMESPACES:
        return body
    meta = metadata(body) | {"resourceVersion": resource_version(live)}
    if owners := metadata(live).get("ownerReferences"):
        meta["ownerReferences"] = owners
    merged = sorted({*finalizers(live), *finalizers(body)})
    return body | {"metadata": meta | ({"finalizers": merged} if merged else {})}


def source_body(source: Json, kind: FederatedType) -> Json:
    """Give a plain object as its user made it: without what one cluster filled in."""
    meta = metadata(source)
    made: Json = {"name": meta["name"], "namespace": meta.get("namespace")}
    said = {
        name: value
        for name, value in notes(source).items()
        if name != marks.SUMMARY and not name.startswith(_BOUND)
    }
    made |= {"labels": labels(source)} if labels(source) else {}
    made |= {"annotations": said} if said else {}
    template = wanted.template(source, kind)
    template.pop("metadata", None)
    target = kind.target
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        **template,
        "metadata": made,
    }


def record_status(step: Step, without: str) -> Json:
    """Give what a restored object's status says.

    Args:
        step: the object.
        without: a cluster whose objects are gone, "" for none.
    """
    status = mapping(step.wanted.get("status"))
    if step.part is not Part.RECORDS or not without:
        return status
    versions = [
        each
        for each in map(mapping, sequence(status.get("clusterVersions")))
        if each.get("clusterName") != without
    ]
    kept = {name: value for name, value in status.items() if name != "clusterVersions"}
    return kept | ({"clusterVersions": versions} if versions else {})


def has_status(step: Step) -> bool:
    """Whether an object's status is to be put back with it."""
    return step.part in WITH_STATUS and bool(step.wanted.get("status"))


def doomed(steps: Iterable[Step]) -> list[Step]:
    """Give what was being deleted, and is to go on being deleted; namespaces last."""
    found = [step for step in steps if step.act is Act.CREATE and deleting(step.wanted)]
    return sorted(found, key=lambda step: step.part is Part.NAMESPACES)
