"""In the cluster that joins: the federation's account, its rights and their limits."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta

from kubernetes.client import ApiClient

from kubefed import errors, rbac
from kubefed.accounts import mint_token
from kubefed.api import (
    ACCOUNT_LABEL,
    CLUSTER_ROLE,
    CONFIG_MAP,
    GUARDED_NAMESPACES,
    MANAGED,
    MANAGED_LABEL,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    Manifest,
    Scope,
    TargetKind,
)
from kubefed.clients import Resources, from_token
from kubefed.controller.transparent import marks
from kubefed.dryrun import label
from kubefed.policy import POLICY, POLICY_BINDING, REFUSAL, policy, policy_binding

POLICY_SECONDS = 15.0
NAMESPACE_SECONDS = 30.0
_POLL_SECONDS = 0.2
_PROBE_LIFETIME = timedelta(minutes=10)
# Kinds whose smallest object is valid, so that the policy is what refuses it.
_PROBE_KINDS = (CONFIG_MAP, SECRET, SERVICE_ACCOUNT)


def account_name(cluster: str, host_cluster: str) -> str:
    """Give the name of the federation's ServiceAccount in a member, as v0.10.0 makes it."""
    return f"{cluster}-{host_cluster}"


def role_name(account: str) -> str:
    """Give the name of the account's ClusterRole, its binding and its policy."""
    return f"kubefed-controller-manager:{account}"


def health_role_name(account: str, namespace: str) -> str:
    """Give the name of what `kubefedctl join` makes besides in a Namespaced federation."""
    return f"kubefed-controller-manager:{namespace}:healthcheck-{account}"


def policy_name(account: str) -> str:
    """Give the name of the account's policy and its binding; policies' names take no colon."""
    return f"kubefed-{account}"


def prepare_member(
    api: ApiClient,
    *,
    cluster: str,
    host_cluster: str,
    namespace: str,
    kinds: Iterable[TargetKind],
    scope: str = Scope.CLUSTER,
    dry_run: bool = False,
) -> str:
    """Make the federation's account in a member; safe to repeat, also with other kinds.

    The account may read and write exactly the given kinds, and an admission policy keeps its
    writes to the objects that the federation carries. The policy comes before the rights, and is
    seen to hold before this returns.

    Args:
        api: the member cluster, by an account that may make roles and admission policies.
        cluster: the member's name.
        host_cluster: the host cluster's name.
        namespace: the federation's namespace; made if absent.
        kinds: the kinds that the federation may write.
        scope: "Cluster", or "Namespaced" for rights in the federation's namespace only.
        dry_run: let the API server check what can be checked; the steps are gathered by
            `kubefed.dryrun.planned`.

    Returns:
        The name of the ServiceAccount in `namespace`.

    Raises:
        errors.KubefedError: what is wrong, and whether to try again.
    """
    member = Resources(api, dry_run=dry_run)
    account = account_name(cluster, host_cluster)
    wanted = tuple(kinds)
    namespaced = scope == Scope.NAMESPACED
    limits = [
        (POLICY, policy(policy_name(account), account, namespace, namespaced=namespaced)),
        (POLICY_BINDING, policy_binding(policy_name(account))),
    ]
    _open_namespace(member, namespace)
    role = member.get(CLUSTER_ROLE, role_name(account))
    try:
        _limit(member, limits, role)
    except errors.NotFound as error:
        raise errors.RightsMissing(
            f"{cluster} has no ValidatingAdmissionPolicy, which keeps the federation to its own "
            "objects; upgrade it to Kubernetes 1.30 or later"
        ) from error
    member.apply(SERVICE_ACCOUNT, _account(account, namespace, cluster))
    for kind, manifest in rbac.member_objects(
        role_name(account), account, namespace, wanted, namespaced=namespaced
    ):
        member.apply(kind, manifest)
    if not dry_run:
        if role is None:
            _limit(member, limits, member.get(CLUSTER_ROLE, role_name(account)))
        _await_policy(api, account, namespace, wanted, namespaced=namespaced)
    return account


def remove_member(
    api: ApiClient,
    *,
    cluster: str,
    host_cluster: str,
    namespace: str,
    keep_namespace: bool,
    dry_run: bool = False,
) -> list[str]:
    """Take the federation's account out of a member; safe to repeat.

    What the federation has carried there stays (`managed_objects` lists it).

    Args:
        api: the member cluster.
        cluster: the member's name.
        host_cluster: the host cluster's name.
        namespace: the federation's namespace.
        keep_namespace: leave the namespace, as where the member is the host itself.
        dry_run: let the API server check every step and do none.

    Returns:
        What could not be removed and why; empty when all is gone. The account's rights
        end at once; its tokens within ten seconds, since API servers remember a good one.
    """
    member = Resources(api, timeout_s=5, dry_run=dry_run)
    account = account_name(cluster, host_cluster)
    # Rights first, the limits of the rights last.
    targets: list[tuple[TargetKind, str, str | None]] = [
        (rbac.CLUSTER_ROLE_BINDING, role_name(account), None),
        (rbac.CLUSTER_ROLE_BINDING, health_role_name(account, namespace), None),
        (rbac.ROLE_BINDING, role_name(account), namespace),
        (SERVICE_ACCOUNT, account, namespace),
        (SECRET, account, namespace),
        (CLUSTER_ROLE, role_name(account), None),
        (CLUSTER_ROLE, health_role_name(account, namespace), None),
        (rbac.ROLE, role_name(account), namespace),
        (POLICY_BINDING, policy_name(account), None),
        (POLICY, policy_name(account), None),
    ]
    if not keep_namespace:
        targets.append((NAMESPACE, namespace, None))
    left: list[str] = []
    for kind, name, where in targets:
        try:
            member.delete(kind, name, where)
        except errors.Unreachable as error:
            # A member that is gone answers no further call either; each would wait in vain.
            rest = targets[targets.index((kind, name, where)) :]
            return [*left, *(f"{label(*each)}: {error}" for each in rest)]
        except errors.Forbidden as error:
            # Only kubefedctl makes it; who may not look for it has most likely not got it.
            if name != health_role_name(account, namespace):
                left.append(f"{label(kind, name, where)}: {error}")
        except errors.KubefedError as error:
            left.append(f"{label(kind, name, where)}: {error}")
    if not (keep_namespace or dry_run or _gone(member, namespace)):
        left.append(f"Namespace {namespace}: still being deleted")
    return left


# In a host that is a member, what its users made carries the label too, and a mark of its own.
_CARRIED = f"{MANAGED_LABEL}={MANAGED},{marks.SOURCE}!=true"


def purge_objects(
    api: ApiClient, *, kinds: Iterable[TargetKind], namespace: str, dry_run: bool = False
) -> list[str]:
    """Delete what the federation has carried to a member: all objects with its label.

    Namespaces come last, and take along what else is in them. The system's and the federation's
    own are left out.

    Args:
        api: the member cluster, by an account of its administrator.
        kinds: the kinds to look for.
        namespace: the federation's namespace.
        dry_run: let the API server check every step and do none.

    Returns:
        What could not be deleted, and why.
    """
    member = Resources(api, dry_run=dry_run)
    guarded = {*GUARDED_NAMESPACES, namespace}
    left: list[str] = []
    for kind in sorted(kinds, key=lambda each: each == NAMESPACE):
        for item in member.list(kind, selector=_CARRIED):
            name, where = item["metadata"]["name"], item["metadata"].get("namespace")
            if guarded & {where, name if kind == NAMESPACE else None}:
                continue
            try:
                member.delete(kind, name, where)
            except errors.Unreachable:
                raise
            except errors.KubefedError as error:
                left.append(f"{label(kind, name, where)}: {error}")
    return left


def managed_objects(api: ApiClient, *, kinds: Iterable[TargetKind]) -> list[str]:
    """Name the objects that the federation has carried to a member.

    Args:
        api: the member cluster.
        kinds: the kinds to look for.
    """
    member = Resources(api)
    found: list[str] = []
    for kind in kinds:
        for item in member.list(kind, selector=_CARRIED):
            metadata = item["metadata"]
            found.append(label(kind, metadata["name"], metadata.get("namespace")))
    return sorted(found)


def _limit(
    member: Resources, limits: Iterable[tuple[TargetKind, Manifest]], role: Manifest | None
) -> None:
    """Make the account's limits, and let them go with its role.

    `kubefedctl unjoin` knows nothing of them, but deletes the role; the garbage collector does the
    rest.
    """
    for kind, manifest in limits:
        metadata = dict(manifest["metadata"])
        if role:
            owner = {"apiVersion": CLUSTER_ROLE.api_version, "kind": CLUSTER_ROLE.kind}
            owner |= {field: role["metadata"][field] for field in ("name", "uid")}
            metadata["ownerReferences"] = [owner]
        member.apply(kind, {**manifest, "metadata": metadata})


def _account(account: str, namespace: str, cluster: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": account,
            "namespace": namespace,
            "labels": {ACCOUNT_LABEL: cluster},
        },
        # No pod runs by this account.
        "automountServiceAccountToken": False,
    }


def _open_namespace(member: Resources, namespace: str) -> None:
    """Make the namespace; one that is being deleted (after an unjoin) is waited for."""
    deadline = time.monotonic() + NAMESPACE_SECONDS
    while True:
        found = member.get(NAMESPACE, namespace)
        if found is None:
            member.create(
                NAMESPACE,
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            )
            return
        if not found["metadata"].get("deletionTimestamp"):
            return
        if time.monotonic() >= deadline:
            raise errors.RetryLater(
                f"namespace {namespace} is still being deleted after {NAMESPACE_SECONDS:.0f} s; "
                "see its status.conditions, and try again when it is gone"
            )
        time.sleep(_POLL_SECONDS)


def _gone(member: Resources, namespace: str) -> bool:
    deadline = time.monotonic() + NAMESPACE_SECONDS
    try:
        while member.get(NAMESPACE, namespace) is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
    except errors.RetryLater:
        return False
    return True


def _await_policy(
    api: ApiClient,
    account: str,
    namespace: str,
    kinds: tuple[TargetKind, ...],
    *,
    namespaced: bool,
) -> None:
    """Wait until the API server applies the policy, which it learns of by a watch.

    Asked as the account itself, by a dry run of what must be refused.
    """
    kind = next((each for each in _PROBE_KINDS if each in kinds), None)
    if kind is None:
        return
    token = mint_token(
        api, service_account=account, namespace=namespace, lifetime=_PROBE_LIFETIME
    ).token
    settings = api.configuration
    probe_api = from_token(settings.host, token)
    probe_api.configuration.ssl_ca_cert = settings.ssl_ca_cert
    probe_api.configuration.ca_cert_data = settings.ca_cert_data
    probe_api.configuration.verify_ssl = settings.verify_ssl
    probe_api.configuration.proxy = settings.proxy
    deadline = time.monotonic() + POLICY_SECONDS
    with ApiClient(probe_api.configuration) as client:
        account_resources = Resources(client, dry_run=True)
        where = namespace if namespaced else "default"
        while not _refused(account_resources, kind, where):
            if time.monotonic() >= deadline:
                raise errors.RetryLater(
                    f"the admission policy {policy_name(account)} has no effect after "
                    f"{POLICY_SECONDS:.0f} s; see its status, and try again"
                )
            time.sleep(_POLL_SECONDS)


def _refused(account: Resources, kind: TargetKind, namespace: str) -> bool:
    manifest = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "kubefed-policy-probe", "namespace": namespace},
    }
    try:
        account.create(kind, manifest)
    except errors.Forbidden as error:
        # Until the role is known too, RBAC is what refuses.
        return REFUSAL in str(error)
    except errors.Unauthorized:
        return False
    return False
