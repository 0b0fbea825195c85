"""Plain objects to federated ones, as `kubefedctl federate` makes them. Pure.

The template keeps what the user said and drops what the cluster added: of the metadata only the
labels stay (annotations and finalizers aren't carried to members), the status goes, and so do
addresses, ports and names that each cluster hands out by itself. Objects that every cluster makes
by itself, or that another object makes, are left out and named with the reason.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from kubefed import errors
from kubefed.api import FederatedType, Manifest, TargetKind, plural_of

# What a cluster's own controllers keep for Services, and what the federation keeps for itself.
LEFT_OUT = frozenset(
    {
        ("", "Endpoints"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("", "Event"),
        ("events.k8s.io", "Event"),
        ("core.kubefed.io", "PropagatedVersion"),
        ("core.kubefed.io", "ClusterPropagatedVersion"),
    }
)
# Every namespace of every cluster has these.
_EVERYWHERE = frozenset({("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")})
_TOKEN_SECRET = "kubernetes.io/service-account-token"  # noqa: S105 - a type of Secret
# Labels that a Job's controller sets on its pods, with the Job's own UID among them.
_JOB_LABELS = (
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of some plain objects.

    Attributes:
        objects: the federated objects, namespaces first.
        kinds: the kind of each of them.
        skipped: what was left out, and why.
        not_federated: kinds without a federated type, as `group/Kind`.
    """

    objects: tuple[Manifest, ...]
    kinds: tuple[TargetKind, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    not_federated: tuple[str, ...] = ()


def read_manifests(text: str) -> list[Manifest]:
    """Read objects from YAML or JSON: several documents, Lists taken apart.

    Args:
        text: the documents.

    Raises:
        errors.UsageError: it isn't YAML, or a document is no Kubernetes object.
    """
    try:
        documents = [each for each in yaml.safe_load_all(text) if each is not None]
    except yaml.YAMLError as error:
        raise errors.UsageError(f"the manifests are not YAML: {error}") from error
    found: list[Manifest] = []
    for number, document in enumerate(documents, 1):
        if not isinstance(document, dict):
            raise errors.UsageError(f"document {number} is not a Kubernetes object")
        items: list[Any] = (
            document.get("items") or []
            if str(document.get("kind", "")).endswith("List")
            else [document]
        )
        found += items
        for item in items:
            name = (item.get("metadata") or {}).get("name")
            if not (item.get("apiVersion") and item.get("kind") and name):
                raise errors.UsageError(
                    f"document {number} is not a Kubernetes object: apiVersion, kind or "
                    "metadata.name is missing"
                )
    return found


def federate_all(manifests: Iterable[Manifest], types: Sequence[FederatedType]) -> Outcome:
    """Make federated objects of plain ones.

    Args:
        manifests: plain objects; federated ones among them are passed on as they are.
        types: the types that are federated.
    """
    # The first of several types of a kind counts.
    known = {(each.target.group, each.target.kind): each for each in reversed(types)}
    federated = {(each.federated.group, each.federated.kind): each for each in reversed(types)}
    objects: list[tuple[Manifest, TargetKind]] = []
    skipped: list[tuple[str, str]] = []
    missing: set[str] = set()
    for manifest in manifests:
        kind = group_kind(manifest)
        if reason := skip_reason(manifest):
            skipped.append((describe(manifest), reason))
        elif kind in federated:
            objects.append((manifest, federated[kind].federated))
        elif kind in known:
            objects.append((federate(manifest, known[kind]), known[kind].federated))
        else:
            missing.add("/".join(each for each in kind if each))
    # A namespace must be federated before anything in it can be placed.
    objects.sort(key=lambda each: each[0]["kind"] != "FederatedNamespace")
    return Outcome(
        objects=tuple(each for each, _ in objects),
        kinds=tuple(kind for _, kind in objects),
        skipped=tuple(skipped),
        not_federated=tuple(sorted(missing)),
    )


def guessed(manifests: Iterable[Manifest]) -> list[FederatedType]:
    """Guess the types that objects of kinds nobody has federated would have.

    Args:
        manifests: plain objects; which have no namespace are taken for cluster-scoped.
    """
    found: dict[tuple[str, str], FederatedType] = {}
    for manifest in manifests:
        group, kind = group_kind(manifest)
        version = str(manifest["apiVersion"]).rpartition("/")[2]
        namespaced = bool(manifest["metadata"].get("namespace"))
        target = TargetKind(group, version, kind, plural_of(kind), namespaced)
        found.setdefault((group, kind), FederatedType.of(target))
    return list(found.values())


def federate(manifest: Manifest, kinds: FederatedType) -> Manifest:
    """Make the federated object of a plain one, placed in all clusters.

    Args:
        manifest: the plain object.
        kinds: its federated type.
    """
    template = copy.deepcopy(manifest)
    metadata = template.pop("metadata", None) or {}
    for field in ("apiVersion", "kind", "status"):
        template.pop(field, None)
    if labels := metadata.get("labels"):
        template = {"metadata": {"labels": _own_labels(kinds.target, labels)}, **template}
        if not template["metadata"]["labels"]:
            del template["metadata"]
    _strip(kinds.target, template)
    name = metadata["name"]
    place: Manifest = {"name": name}
    if kinds.is_namespace:
        place["namespace"] = name
    elif kinds.federated.namespaced and metadata.get("namespace"):
        # One without is for whoever applies it to place, as with plain objects.
        place["namespace"] = metadata["namespace"]
    return {
        "apiVersion": kinds.federated.api_version,
        "kind": kinds.federated.kind,
        "metadata": place,
        "spec": {
            "template": template,
            "placement": {"clusterSelector": {"matchLabels": {}}},
        },
    }


def skip_reason(manifest: Manifest) -> str:
    """Say why an object is left out; "" if it isn't."""
    metadata = manifest["metadata"]
    if group_kind(manifest) in LEFT_OUT:
        return "each cluster makes its own"
    if (manifest["kind"], metadata["name"]) in _EVERYWHERE:
        return "every namespace has its own"
    if manifest["kind"] == "Secret" and manifest.get("type") == _TOKEN_SECRET:
        return "it is the token of one cluster's account"
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("controller"):
            return f"{owner.get('kind')} {owner.get('name')} makes it"
    return ""


def group_kind(manifest: Manifest) -> tuple[str, str]:
    """Give an object's group and kind."""
    group, _, _version = str(manifest["apiVersion"]).rpartition("/")
    return group, str(manifest["kind"])


def describe(manifest: Manifest) -> str:
    """Name an object for a human."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    return f"{manifest['kind']} {namespace + '/' if namespace else ''}{metadata['name']}"


def _own_labels(target: TargetKind, labels: dict[str, str]) -> dict[str, str]:
    dropped = {"kubefed.io/managed", "kubefed.io/source", "kubefed.io/federate"}
    if target.kind == "Namespace":
        dropped.add("kubernetes.io/metadata.name")
    return {name: value for name, value in labels.items() if name not in dropped}


def _strip(target: TargetKind, template: Manifest) -> None:
    spec = template.get("spec") or {}
    pods = (spec.get("template") or {}).get("metadata") if isinstance(spec, dict) else None
    if isinstance(pods, dict):
        # kubectl writes `creationTimestamp: null` into pod templates.
        pods.pop("creationTimestamp", None)
    match (target.group, target.kind):
        case ("", "Service"):
            _strip_service(spec)
        case ("", "ServiceAccount"):
            template.pop("secrets", None)
        case ("", "Namespace"):
            spec.pop("finalizers", None)
            if not spec:
                template.pop("spec", None)
        case ("batch", "Job"):
            _strip_job(spec)
        case _:
            pass


def _strip_service(spec: Manifest) -> None:
    # A headless Service is the user's wish and not an address.
    if spec.get("clusterIP") != "None":
        spec.pop("clusterIP", None)
    for field in ("clusterIPs", "healthCheckNodePort"):
        spec.pop(field, None)
    for port in spec.get("ports") or []:
        port.pop("nodePort", None)


def _strip_job(spec: Manifest) -> None:
    if spec.get("manualSelector"):
        return
    # Each cluster's API server picks the selector, and refuses one that is given.
    spec.pop("selector", None)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    for name in _JOB_LABELS:
        labels.pop(name, None)
