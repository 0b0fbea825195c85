"""Which kinds a cluster has, and which one a user means by a word."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kubefed import errors
from kubefed.api import Manifest, Scope, TargetKind
from kubefed.clients import Resources

# Aggregated discovery (KEP-3352, stable since Kubernetes 1.30): everything in two answers.
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What the federation does to objects; a kind without one of these can't be federated.
NEEDED_VERBS = frozenset({"create", "delete", "get", "list", "update", "watch"})


@dataclasses.dataclass(frozen=True)
class Resource:
    """A kind as discovery shows it.

    Attributes:
        kind: the kind.
        singular: its name in the singular.
        short_names: its short names.
        verbs: what can be done to its objects.
        preferred: whether its version is the one that the group prefers.
    """

    kind: TargetKind
    singular: str = ""
    short_names: tuple[str, ...] = ()
    verbs: frozenset[str] = NEEDED_VERBS
    preferred: bool = True

    def called(self, word: str) -> bool:
        """Say whether the word names this kind: plural, singular, kind or short name."""
        names = {self.kind.plural, self.singular, self.kind.kind.lower(), *self.short_names}
        return word.lower() in names


def resources(cluster: Resources) -> list[Resource]:
    """Give the kinds that a cluster serves.

    Args:
        cluster: the cluster.
    """
    found: list[Resource] = []
    for path in ("/api", "/apis"):
        document = cluster.request("GET", path, accept=_AGGREGATED, what="list the API's kinds")
        if document.get("kind") != "APIGroupDiscoveryList":
            raise errors.AskOperator(
                f"{cluster.api.configuration.host} has no aggregated discovery; upgrade it to "
                "Kubernetes 1.30 or later"
            )
        found += parse(document)
    return found


def parse(document: Mapping[str, Any]) -> list[Resource]:
    """Read an APIGroupDiscoveryList.

    Args:
        document: the answer of /api or /apis.
    """
    found: list[Resource] = []
    for group in document.get("items") or []:
        name = (group.get("metadata") or {}).get("name") or ""
        # The versions stand in the order of preference.
        seen: set[str] = set()
        for version in group.get("versions") or []:
            for item in version.get("resources") or []:
                plural = item["resource"]
                found.append(_read(item, name, version["version"], plural not in seen))
                seen.add(plural)
    return found


def find(known: Iterable[Resource], word: str, *, version: str | None = None) -> Resource:
    """Give the kind that a user means.

    Args:
        known: the kinds that there are.
        word: plural, singular, kind or short name; or `<plural>.<group>`.
        version: the version that it must be of; None for the preferred one.

    Raises:
        errors.NotFound: there is no such kind.
        errors.UsageError: there are several, and the word doesn't say which.
    """
    known = list(known)
    name, _, group = word.partition(".")
    fits = [
        each
        for each in known
        if each.called(name)
        and (not group or each.kind.group == group)
        and (each.kind.version == version if version else each.preferred)
    ]
    if not group and len(fits) > 1:
        # The core group goes before others, and Kubernetes' own before those of users.
        fits = _most_common(fits)
    if not fits:
        wanted = f"{word} of version {version}" if version else word
        raise errors.NotFound(f"the cluster has no kind {wanted}; see kubectl api-resources")
    if len(fits) > 1:
        names = ", ".join(sorted(each.kind.full_name for each in fits))
        raise errors.UsageError(f"'{word}' may be {names}; say which")
    return fits[0]


def has_replicas(openapi: Mapping[str, Any], target: TargetKind) -> bool:
    """Say whether a kind has an integer `spec.replicas`.

    Args:
        openapi: the OpenAPI v3 document of the kind's group and version.
        target: the kind.
    """
    schemas: Mapping[str, Any] = (openapi.get("components") or {}).get("schemas") or {}
    wanted = {"group": target.group, "kind": target.kind, "version": target.version}
    for schema in schemas.values():
        if wanted in (schema.get("x-kubernetes-group-version-kind") or []):
            spec = _resolved((schema.get("properties") or {}).get("spec") or {}, schemas)
            replicas = (spec.get("properties") or {}).get("replicas") or {}
            return replicas.get("type") == "integer"
    return False


def crd_has_replicas(crd: Mapping[str, Any], version: str) -> bool:
    """Say whether a custom kind has an integer `spec.replicas`.

    Args:
        crd: its CustomResourceDefinition.
        version: the version that counts.
    """
    for each in crd["spec"]["versions"]:
        if each["name"] == version:
            found: Any = (each.get("schema") or {}).get("openAPIV3Schema") or {}
            for name in ("spec", "replicas"):
                found = (found.get("properties") or {}).get(name) or {}
            return found.get("type") == "integer"
    return False


def openapi_of(cluster: Resources, target: TargetKind) -> Manifest:
    """Give the OpenAPI v3 document of a kind's group and version."""
    root = "apis" if target.group else "api"
    return cluster.request(
        "GET", f"/openapi/v3/{root}/{target.api_version}", what=f"read the schema of {target.kind}"
    )


def _read(item: Mapping[str, Any], group: str, version: str, preferred: bool) -> Resource:
    kind = TargetKind(
        group,
        version,
        (item.get("responseKind") or {}).get("kind") or "",
        item["resource"],
        item.get("scope") == Scope.NAMESPACED,
    )
    return Resource(
        kind,
        singular=item.get("singularResource") or "",
        short_names=tuple(item.get("shortNames") or ()),
        verbs=frozenset(item.get("verbs") or ()),
        preferred=preferred,
    )


def _most_common(fits: list[Resource]) -> list[Resource]:
    for belongs in (
        lambda group: group == "",
        lambda group: "." not in group or group.endswith(".k8s.io"),
    ):
        if chosen := [each for each in fits if belongs(each.kind.group)]:
            return chosen
    return fits


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    references = [schema, *(schema.get("allOf") or [])]
    for each in references:
        if reference := each.get("$ref"):
            return schemas.get(str(reference).rsplit("/", 1)[-1]) or {}
    return schema
