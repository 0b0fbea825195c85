"""How sources, copies and what this controller made are told apart (pure).

| object | how it is known |
|---|---|
| source: a plain object in the host | a marked federated object names its UID as owner |
| source in a host that is a member | labels `kubefed.io/managed` and `kubefed.io/source` |
| copy: what was propagated | label `kubefed.io/managed`, and nothing of the above |
| federated object kept by this controller | label `kubefed.io/transparent` (marked) |
| federated object that somebody wrote | no such label: it is left alone |

A source in a host that is a member too carries `kubefed.io/managed` like every copy, since DNS and
status look for it. Whoever deletes what the federation has put into a cluster (unjoin) must leave
out what carries `kubefed.io/source`: a user made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubefed.controller.objects import Json, labels, mapping, metadata, notes, sequence

if TYPE_CHECKING:
    from kubefed.api.kinds import TargetKind

# Label of a namespace, "true" to federate what is in it; annotation of an object, "false" to
# keep it out.
FEDERATE = "kubefed.io/federate"
# Label of what this controller made.
MARK = "kubefed.io/transparent"
# Label of a source, given and taken together with the managed label.
SOURCE = "kubefed.io/source"
# Annotation of a marked federated object: a ReplicaSchedulingPreference of ours plans for it.
PLANNED = "kubefed.io/planned"
# Annotation of a federated object that is about to be deleted: the orphan annotation is ours.
RELEASED = "kubefed.io/released"
# Annotation of a plain object: how it stands in the clusters.
SUMMARY = "kubefed.io/federation-status"
# What this controller's instructions to one cluster begin with; they aren't carried to others.
PREFIX = "kubefed.io/"


def marked(obj: Json) -> bool:
    """Whether this controller made an object, and keeps it."""
    return labels(obj).get(MARK) == "true"


def asks(namespace: Json) -> bool:
    """Whether a Namespace asks to be federated."""
    return labels(namespace).get(FEDERATE) == "true"


def kept_out(obj: Json) -> bool:
    """Whether a plain object says that it isn't to be federated."""
    return notes(obj).get(FEDERATE) == "false"


def source_uid(federated: Json, target: TargetKind) -> str:
    """Give the UID of the plain object that a federated one is kept for, "" if of none."""
    if not marked(federated):
        return ""
    name = metadata(federated).get("name")
    for owner in map(mapping, sequence(metadata(federated).get("ownerReferences"))):
        if (owner.get("kind"), owner.get("name")) == (target.kind, name):
            return str(owner.get("uid") or "")
    return ""
