"""Switching the federation of a kind on and off."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kubernetes.client import ApiClient

from kubefed import discovery, errors, rbac
from kubefed.api import (
    CLUSTER_ROLE,
    CONTROLLER_ACCOUNT,
    CORE_GROUP,
    CORE_V1BETA1,
    FEDERATED_TYPE_CONFIG,
    SCHEDULING_GROUP,
    STANDARD_KINDS,
    TYPE_CONFIG_FINALIZER,
    TYPES_GROUP,
    ControllerState,
    FederatedType,
    Manifest,
    TargetKind,
    Toggle,
    TypeConfig,
    federated_crd,
)
from kubefed.api.names import V1BETA1
from kubefed.clients import Resources
from kubefed.controller.transparent import rights as transparent
from kubefed.install import CRD, apply_crds, await_gone, need_installed

STOP_SECONDS = 10.0
_POLL_SECONDS = 0.2

DIRECTIVE = "EnableTypeDirective"

# Kinds that one API server serves under two groups; federating both would write each object twice
# (v0.10.0's deprecatedapis).
_SAME = (
    frozenset({"deployments.apps", "deployments.extensions"}),
    frozenset({"daemonsets.apps", "daemonsets.extensions"}),
    frozenset({"replicasets.apps", "replicasets.extensions"}),
    frozenset({"statefulsets.apps", "statefulsets.extensions"}),
    frozenset({"ingresses.networking.k8s.io", "ingresses.extensions"}),
    frozenset({"networkpolicies.networking.k8s.io", "networkpolicies.extensions"}),
    frozenset({"podsecuritypolicies.policy", "podsecuritypolicies.extensions"}),
    frozenset({"events", "events.events.k8s.io"}),
)


@dataclasses.dataclass(frozen=True)
class Directive:
    """What is to be federated, and how (v0.10.0's `EnableTypeDirective`, or the flags).

    Attributes:
        name: the target: plural, singular, kind or short name, or `<plural>.<group>`.
        version: the target's version; None for the preferred one.
        federated_group: the group of the federated kind.
        federated_version: the version of the federated kind.
    """

    name: str
    version: str | None = None
    federated_group: str = TYPES_GROUP
    federated_version: str = V1BETA1

    @classmethod
    def from_object(cls, manifest: Mapping[str, Any]) -> Directive:
        """Read an EnableTypeDirective.

        Raises:
            errors.UsageError: it is something else.
        """
        name = (manifest.get("metadata") or {}).get("name")
        kind = (manifest.get("apiVersion"), manifest.get("kind"))
        if kind != (CORE_V1BETA1, DIRECTIVE) or not name:
            raise errors.UsageError(
                f"the file holds no {DIRECTIVE} of {CORE_V1BETA1} with a metadata.name"
            )
        spec = manifest.get("spec") or {}
        return cls(
            name=name,
            version=spec.get("targetVersion") or None,
            federated_group=spec.get("federatedGroup") or TYPES_GROUP,
            federated_version=spec.get("federatedVersion") or V1BETA1,
        )


def plan_enable(api: ApiClient, directive: Directive, *, namespace: str) -> list[Manifest]:
    """Give what federating a kind takes: its CustomResourceDefinition and FederatedTypeConfig.

    Args:
        api: the host cluster.
        directive: what is to be federated.
        namespace: the federation's namespace.

    Raises:
        errors.NotFound: there is no such kind.
        errors.UsageError: the kind can't be federated; the text says why.
    """
    host = Resources(api)
    found = discovery.find(discovery.resources(host), directive.name, version=directive.version)
    kinds = FederatedType.of(
        found.kind, group=directive.federated_group, version=directive.federated_version
    )
    enabled = host.list(FEDERATED_TYPE_CONFIG, namespace)
    check(found, kinds, [TypeConfig.from_object(each).type for each in enabled])
    crd = federated_crd(
        found.kind,
        found.short_names,
        _has_replicas(host, found.kind),
        directive.federated_group,
        directive.federated_version,
    )
    return [crd, TypeConfig(kinds).to_object(namespace)]


def enable(
    api: ApiClient, directive: Directive, *, namespace: str, dry_run: bool = False
) -> FederatedType:
    """Federate a kind; safe to repeat.

    The members' accounts have rights for the kinds that they were prepared for; a further kind
    needs `prepare_member` again.

    Args:
        api: the host cluster.
        directive: what is to be federated.
        namespace: the federation's namespace.
        dry_run: let the API server check it and write nothing.

    Returns:
        The type that is federated now.
    """
    need_installed(Resources(api), namespace)
    crd, type_config = plan_enable(api, directive, namespace=namespace)
    kinds = TypeConfig.from_object(type_config).type
    host = Resources(api, dry_run=dry_run)
    apply_crds(host, [crd])
    grant(host, kinds, namespace)
    host.apply(FEDERATED_TYPE_CONFIG, type_config)
    return kinds


def grant(host: Resources, kinds: FederatedType, namespace: str) -> None:
    """Give users and the controller their rights to a kind beyond the ten.

    Args:
        host: the host cluster.
        kinds: the type.
        namespace: the federation's namespace.
    """
    if kinds.target not in STANDARD_KINDS or kinds.federated.group != TYPES_GROUP:
        for kind, manifest in _rights(kinds, namespace):
            host.apply(kind, manifest)


def disable(
    api: ApiClient,
    directive: Directive,
    *,
    namespace: str,
    delete_crd: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> FederatedType:
    """Stop federating a kind; what is in the members stays.

    Args:
        api: the host cluster.
        directive: the target as `enable` takes it, or the FederatedTypeConfig's name. Its group
            and versions say which kind to delete where the FederatedTypeConfig is gone already.
        namespace: the federation's namespace.
        delete_crd: also delete the federated kind, if it has no objects.
        force: don't wait for a controller to stop carrying the kind.
        dry_run: let the API server check every step and do none.

    Raises:
        errors.NotFound: the kind isn't federated.
        errors.AskOperator: the federated kind still has objects.
        errors.RetryLater: no controller has confirmed; it may not be running.
    """
    host = Resources(api, dry_run=dry_run)
    manifest = _find_type_config(host, directive.name, namespace)
    if manifest is None and not delete_crd:
        raise errors.NotFound(f"{directive.name} is not federated; see kubefed status")
    kinds = TypeConfig.from_object(manifest).type if manifest else _former(host, directive)
    if delete_crd and (count := len(host.list(kinds.federated))):
        raise errors.AskOperator(
            f"{kinds.federated.kind} still has {count} objects, which deleting the kind would "
            "delete with all that they placed; delete them first, or keep the kind"
        )
    if manifest:
        _stop(host, kinds, namespace, force=force)
    if kinds.target not in STANDARD_KINDS:
        for kind, right in _rights(kinds, namespace):
            if kind == CLUSTER_ROLE:
                _drop_own_role(host, right)
    if delete_crd:
        deleted = host.delete(CRD, kinds.federated.full_name)
        if not (deleted or manifest):
            raise errors.NotFound(
                f"{kinds.name} is not federated, and there is no {kinds.federated.full_name}"
            )
        await_gone(host, CRD, kinds.federated.full_name)
    return kinds


def _stop(host: Resources, kinds: FederatedType, namespace: str, *, force: bool) -> None:
    where = (FEDERATED_TYPE_CONFIG, kinds.name, namespace)
    if not force:
        host.patch(*where, {"spec": {"propagation": Toggle.DISABLED.value}})
        if not host.dry_run:
            _await(lambda: _stopped(host.get(*where)), kinds)
    host.delete(*where)
    if force:
        _drop_finalizer(host, kinds.name, namespace)
    if not host.dry_run:
        _await(lambda: host.get(*where) is None, kinds)


def _former(host: Resources, directive: Directive) -> FederatedType:
    """The type that a kind was, where only the federated kind is left of it."""
    found = discovery.find(discovery.resources(host), directive.name, version=directive.version)
    return FederatedType.of(
        found.kind, group=directive.federated_group, version=directive.federated_version
    )


def federated_type(api: ApiClient, name: str, *, namespace: str) -> FederatedType:
    """Give the federated type that a word means.

    Args:
        api: the host cluster.
        name: the target as `enable` takes it, or the FederatedTypeConfig's name.
        namespace: the federation's namespace.

    Raises:
        errors.NotFound: the kind isn't federated.
    """
    manifest = _find_type_config(Resources(api), name, namespace)
    if manifest is None:
        raise errors.NotFound(f"{name} is not federated; see kubefed status")
    return TypeConfig.from_object(manifest).type


def enabled_types(api: ApiClient, *, namespace: str) -> list[TypeConfig]:
    """Give the federated types, by name.

    Args:
        api: the host cluster.
        namespace: the federation's namespace.
    """
    found = Resources(api).list(FEDERATED_TYPE_CONFIG, namespace)
    return sorted((TypeConfig.from_object(each) for each in found), key=lambda each: each.name)


def check(
    found: discovery.Resource, kinds: FederatedType, enabled: Iterable[FederatedType]
) -> None:
    """Refuse what can't be federated, or not beside what is already (pure).

    Args:
        found: the kind.
        kinds: the type that it would become.
        enabled: the types that are federated.

    Raises:
        errors.UsageError: the text says why, and what to do instead.
    """
    kind = found.kind
    if kind.group in (TYPES_GROUP, CORE_GROUP, SCHEDULING_GROUP):
        raise errors.UsageError(f"{kind.full_name} is a kind of the federation itself")
    if missing := sorted(discovery.NEEDED_VERBS - found.verbs):
        raise errors.UsageError(
            f"{kind.full_name} can't be federated: its objects know no {', '.join(missing)}"
        )
    for each in enabled:
        if reason := _in_the_way(each, kinds):
            raise errors.UsageError(reason)


def _has_replicas(host: Resources, kind: TargetKind) -> bool:
    # A custom kind's own definition is there at once; what is published of it comes later.
    if crd := host.get(CRD, kind.full_name) if kind.group else None:
        return discovery.crd_has_replicas(crd, kind.version)
    return discovery.has_replicas(discovery.openapi_of(host, kind), kind)


def _in_the_way(known: FederatedType, wanted: FederatedType) -> str:
    old, new = known.federated, wanted.federated
    if known.name == wanted.name:
        if (old.full_name, old.version) == (new.full_name, new.version):
            return ""
        return (
            f"{wanted.name} is federated already, as {old.full_name}/{old.version}; disable it "
            f"before federating it as {new.full_name}/{new.version}"
        )
    if any({known.name, wanted.name} <= same for same in _SAME):
        return f"{wanted.name} is the same as {known.name}, which is federated already"
    if old.full_name == new.full_name:
        return (
            f"{new.full_name} stands for {known.name} already; give another --federated-group "
            f"for {wanted.name}"
        )
    return ""


def _rights(kinds: FederatedType, namespace: str) -> list[tuple[TargetKind, Manifest]]:
    """What a kind beyond the ten needs: users' roles, and the controller's in another group."""
    federated = kinds.federated
    rights: list[tuple[TargetKind, Manifest]] = []
    beyond = kinds.target.group == CLUSTER_ROLE.group or not federated.namespaced
    if not beyond:
        write = [rbac.rule([federated.group], [federated.plural], [*rbac.READ, *rbac.WRITE])]
        for into in ("admin", "edit"):
            name = f"kubefed-{into}:{federated.full_name}"
            rights.append((CLUSTER_ROLE, rbac.aggregate_role(name, into, write)))
        rights.append((CLUSTER_ROLE, transparent.type_role(kinds.target)))
    if federated.group != TYPES_GROUP:
        name = f"{rbac.CONTROLLER_ROLE}:{federated.group}"
        rights += [
            (CLUSTER_ROLE, rbac.cluster_role(name, [rbac.types_rule(federated.group)])),
            (
                rbac.CLUSTER_ROLE_BINDING,
                rbac.binding(name, name, CONTROLLER_ACCOUNT, namespace),
            ),
        ]
    return rights


def _drop_own_role(host: Resources, role: Manifest) -> None:
    name: str = role["metadata"]["name"]
    # The controller's role is for all kinds of a group; others may need it.
    if not name.startswith(f"{rbac.CONTROLLER_ROLE}:"):
        host.delete(CLUSTER_ROLE, name)


def _find_type_config(host: Resources, name: str, namespace: str) -> Manifest | None:
    if manifest := host.get(FEDERATED_TYPE_CONFIG, name, namespace):
        return manifest
    try:
        target = discovery.find(discovery.resources(host), name).kind
    except errors.NotFound:
        return None
    return host.get(FEDERATED_TYPE_CONFIG, target.full_name, namespace)


def _stopped(manifest: Manifest | None) -> bool:
    if manifest is None:
        return True
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if TYPE_CONFIG_FINALIZER not in (metadata.get("finalizers") or []):
        # No controller has taken the type on, so none has to stop.
        return True
    return status.get("propagationController") == ControllerState.NOT_RUNNING


def _await(done: Callable[[], bool], kinds: FederatedType) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while not done():
        if time.monotonic() >= deadline:
            raise errors.RetryLater(
                f"no controller has confirmed within {STOP_SECONDS:.0f} s that it carries "
                f"{kinds.name} no more; start it, or use --force if there is none"
            )
        time.sleep(_POLL_SECONDS)


def _drop_finalizer(host: Resources, name: str, namespace: str) -> None:
    manifest = host.get(FEDERATED_TYPE_CONFIG, name, namespace)
    if manifest and manifest["metadata"].get("finalizers"):
        change: Manifest = {"metadata": {"finalizers": None}}
        host.patch(FEDERATED_TYPE_CONFIG, name, namespace, change)
