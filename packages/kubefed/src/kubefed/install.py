"""The federation in the host cluster: kinds, settings, the controller's account; and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from kubernetes.client import ApiClient
from pydantic import ValidationError

from kubefed import errors, policy, rbac
from kubefed.accounts import Token, mint_token
from kubefed.api import (
    CLUSTER_ROLE,
    CONFIG_NAME,
    CONTROLLER_ACCOUNT,
    CUSTOM_RESOURCE_DEFINITION,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    NAMESPACE,
    SERVICE_ACCOUNT,
    STANDARD_KINDS,
    TYPE_CONFIG_FINALIZER,
    FederatedType,
    KubeFedConfig,
    Manifest,
    Scope,
    TargetKind,
    TypeConfig,
    core_crds,
    standard_crds,
)
from kubefed.clients import Resources
from kubefed.controller.transparent import rights as transparent

CRD = CUSTOM_RESOURCE_DEFINITION
ESTABLISHED_SECONDS = 30.0
GONE_SECONDS = 30.0
_POLL_SECONDS = 0.1


def install(
    api: ApiClient,
    *,
    namespace: str,
    scope: str = Scope.CLUSTER,
    dry_run: bool = False,
    bound: bool = True,
) -> None:
    """Install the federation in a host cluster; safe to repeat, and then nothing is written.

    An existing KubeFedConfig keeps its values; feature gates that it doesn't name are added at
    their defaults, as v0.10.0's webhook does. The ten FederatedTypeConfigs are made with it, so a
    type that is disabled later stays so when this runs again.

    Args:
        api: the host cluster.
        namespace: the federation's namespace.
        scope: "Cluster" or "Namespaced"; counts only where there is no KubeFedConfig yet.
        dry_run: let the API server check what can be checked before the kinds exist; the steps
            are gathered by `kubefed.dryrun.planned`.
        bound: whether the controller's account may act. False leaves its bindings as they are,
            for a host where another control plane has its turn.

    Raises:
        errors.KubefedError: what is wrong, and whether to try again.
    """
    host = Resources(api, dry_run=dry_run)
    found = settings(host, namespace)
    wanted = found or KubeFedConfig(scope=Scope(scope))
    namespaced = wanted.scope is Scope.NAMESPACED
    lay_ground(host, namespace, namespaced=namespaced, bound=bound)
    if found:
        _complete_gates(host, found, namespace)
        return
    for target in STANDARD_KINDS:
        if target.namespaced or not namespaced:
            _create_once(
                host,
                FEDERATED_TYPE_CONFIG,
                TypeConfig(FederatedType.of(target)).to_object(namespace),
            )
    # Last, since its presence says that the rest was made.
    _create_once(host, KUBEFED_CONFIG, wanted.to_object(namespace))


def lay_ground(host: Resources, namespace: str, *, namespaced: bool, bound: bool = True) -> None:
    """Make what a federation stands on: kinds, namespace, account and rights, but no settings.

    Args:
        host: the host cluster.
        namespace: the federation's namespace.
        namespaced: whether only that namespace is federated.
        bound: as for `install`.
    """
    apply_crds(host, [*core_crds(), *standard_crds()])
    _create_once(host, NAMESPACE, _namespace(namespace))
    if namespaced:
        # v0.10.0's webhooks find the namespace of a Namespaced federation by this label.
        _ = host.put(NAMESPACE, _namespace(namespace, labels={"name": namespace}))
    _ = host.put(SERVICE_ACCOUNT, _account(namespace))
    rights = rbac.controller_objects(namespace, namespaced=namespaced, bound=bound)
    for kind, manifest in rights:
        _ = host.put(kind, manifest)
    for manifest in rbac.aggregate_roles():
        _ = host.put(CLUSTER_ROLE, manifest)


def settings(host: Resources, namespace: str) -> KubeFedConfig | None:
    """Give the federation's settings; None if there are none.

    Args:
        host: the host cluster.
        namespace: the federation's namespace.

    Raises:
        errors.AskOperator: they can't be read.
    """
    manifest = host.get(KUBEFED_CONFIG, CONFIG_NAME, namespace)
    try:
        return KubeFedConfig.from_object(manifest) if manifest else None
    except ValidationError as error:
        raise errors.AskOperator(
            f"KubeFedConfig {namespace}/{CONFIG_NAME} is not valid; correct it: {error}"
        ) from error


def uninstall(api: ApiClient, *, namespace: str, dry_run: bool = False) -> None:
    """Take the federation out of a host cluster, with every federated object.

    What was carried to the members stays there. The clusters must have left first: their
    accounts can't be taken back once the host has forgotten them.

    Args:
        api: the host cluster.
        namespace: the federation's namespace.
        dry_run: let the API server check every step and do none.

    Raises:
        errors.MembershipError: clusters are still joined.
        errors.RetryLater: something is still being deleted.
    """
    host = Resources(api, dry_run=dry_run)
    joined = [each["metadata"]["name"] for each in host.list(KUBEFED_CLUSTER, namespace)]
    if joined:
        raise errors.MembershipError(
            f"{', '.join(joined)} still joined to the federation; unjoin first"
        )
    types = host.list(FEDERATED_TYPE_CONFIG, namespace)
    for manifest in types:
        _drop_type_config(host, manifest)
    if not _other_federations(host, namespace):
        _remove_shared(host, types)
    host.delete(rbac.CLUSTER_ROLE_BINDING, rbac.controller_binding(namespace))
    for kind in (policy.POLICY_BINDING, policy.POLICY):
        host.delete(kind, transparent.guard_name(namespace))
    host.delete(NAMESPACE, namespace)
    await_gone(host, NAMESPACE, namespace)


def need_installed(host: Resources, namespace: str) -> None:
    """Refuse a host that has no federation.

    Raises:
        errors.NotInstalled: it has none in that namespace.
    """
    if host.get(CRD, KUBEFED_CLUSTER.full_name) is None or host.get(NAMESPACE, namespace) is None:
        raise errors.NotInstalled(
            f"{host.api.configuration.host} has no federation in namespace {namespace}; "
            "install it there first (kubefed init)"
        )


def controller_credentials(api: ApiClient, *, namespace: str, lifetime: timedelta) -> Token:
    """Give a token of the controller's account in the host, which `install` has made.

    Args:
        api: the host cluster, by an account that may create tokens.
        namespace: the federation's namespace.
        lifetime: how long the token is to hold; the API server may shorten it.
    """
    return mint_token(
        api, service_account=CONTROLLER_ACCOUNT, namespace=namespace, lifetime=lifetime
    )


def apply_crds(host: Resources, manifests: Iterable[Manifest]) -> None:
    """Install CustomResourceDefinitions and wait until the API server serves them.

    Raises:
        errors.RetryLater: one isn't served in time; the text says why.
    """
    names: list[str] = []
    for manifest in manifests:
        _ = host.put(CRD, manifest)
        names.append(manifest["metadata"]["name"])
    if host.dry_run:
        return
    for name in names:
        reason = f"{name} is not established"
        if not _wait(lambda name=name: _established(host.get(CRD, name)), ESTABLISHED_SECONDS):
            raise errors.RetryLater(
                f"{reason} after {ESTABLISHED_SECONDS:.0f} s; see its status.conditions"
            )


def await_gone(cluster: Resources, kind: TargetKind, name: str) -> None:
    """Wait until a cluster-scoped object is gone.

    Raises:
        errors.RetryLater: it is still there; the text says what keeps it.
    """
    if cluster.dry_run:
        return
    if _wait(lambda: cluster.get(kind, name) is None, GONE_SECONDS):
        return
    manifest = cluster.get(kind, name) or {}
    conditions = (manifest.get("status") or {}).get("conditions") or []
    why = "; ".join(
        str(each.get("message")) for each in conditions if each.get("status") == "True"
    )
    raise errors.RetryLater(
        f"{kind.kind} {name} is still being deleted: {why or 'no reason given'}"
    )


def _established(crd: Manifest | None) -> bool:
    conditions = ((crd or {}).get("status") or {}).get("conditions") or []
    return any(
        each.get("type") == "Established" and each.get("status") == "True" for each in conditions
    )


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _create_once(host: Resources, kind: TargetKind, manifest: Manifest) -> None:
    metadata = manifest["metadata"]
    if host.get(kind, metadata["name"], metadata.get("namespace")) is None:
        # Applied, not posted: API servers let a POST of a kind younger than 2 s sleep for 2 s.
        _ = host.put(kind, manifest)


def _complete_gates(host: Resources, found: KubeFedConfig, namespace: str) -> None:
    manifest = host.get(KUBEFED_CONFIG, CONFIG_NAME, namespace) or {}
    known: list[Manifest] = (manifest.get("spec") or {}).get("featureGates") or []
    gates: list[Manifest] = found.to_object(namespace)["spec"]["featureGates"]
    if {each["name"] for each in gates} - {each["name"] for each in known}:
        change: Manifest = {"spec": {"featureGates": gates}}
        _ = host.patch(KUBEFED_CONFIG, CONFIG_NAME, namespace, change)


def _drop_type_config(host: Resources, manifest: Manifest) -> None:
    metadata = manifest["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    host.delete(FEDERATED_TYPE_CONFIG, name, namespace)
    # The controller takes its finalizer off; where none runs any more, we do.
    if TYPE_CONFIG_FINALIZER in (metadata.get("finalizers") or []):
        try:
            host.patch(FEDERATED_TYPE_CONFIG, name, namespace, {"metadata": {"finalizers": None}})
        except errors.NotFound:
            return


def _other_federations(host: Resources, namespace: str) -> bool:
    found = host.list(KUBEFED_CONFIG)
    return any(each["metadata"]["namespace"] != namespace for each in found)


def _remove_shared(host: Resources, types: Iterable[Manifest]) -> None:
    """Remove what all federations in a host share: kinds, and users' and controllers' roles."""
    kinds = {crd["metadata"]["name"] for crd in [*core_crds(), *standard_crds()]}
    kinds |= {TypeConfig.from_object(each).type.federated.full_name for each in types}
    _remove_crds(host, sorted(kinds))
    for name in (
        rbac.CONTROLLER_ROLE,
        *transparent.ROLES,
        *(each["metadata"]["name"] for each in rbac.aggregate_roles()),
    ):
        host.delete(CLUSTER_ROLE, name)


def _remove_crds(host: Resources, names: Iterable[str]) -> None:
    gone = list(names)
    for name in gone:
        crd = host.get(CRD, name)
        if crd is None:
            continue
        _release_objects(host, crd)
        host.delete(CRD, name)
    for name in gone:
        await_gone(host, CRD, name)


def _release_objects(host: Resources, crd: Manifest) -> None:
    # The members' objects are to stay, so no controller may see these go: off with its finalizer.
    spec = crd["spec"]
    kind = TargetKind(
        spec["group"],
        spec["versions"][0]["name"],
        spec["names"]["kind"],
        spec["names"]["plural"],
        spec["scope"] == Scope.NAMESPACED,
    )
    for item in host.list(kind):
        metadata = item["metadata"]
        if metadata.get("finalizers"):
            host.patch(
                kind,
                metadata["name"],
                metadata.get("namespace"),
                {"metadata": {"finalizers": None}},
            )


def _namespace(name: str, **metadata: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}


def _account(namespace: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": CONTROLLER_ACCOUNT, "namespace": namespace},
        # The embedded controller runs outside and v0.10.0 in a pod of its own, so the account's
        # token is left mountable.
        "automountServiceAccountToken": True,
    }
