"""In the host cluster: the register of the members."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from kubernetes.client import ApiClient

from kubefed import errors
from kubefed.api import (
    CLUSTER_UID_ANNOTATION,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    SECRET,
    TOKEN_KEY,
    ClusterCondition,
    Manifest,
    TlsValidation,
    TypeConfig,
    given_up,
)
from kubefed.clients import Resources
from kubefed.install import need_installed
from kubefed.membership.endpoint import Identity, identify, normalized

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A member as the host knows it.

    Attributes:
        name: its name.
        ready: whether its last probes went well; None while nobody knows.
        version: its Kubernetes version; "" while nobody knows.
        endpoint: its API endpoint.
        joined_at: when it joined.
        message: what its last probe said.
        labels: what placements select it by.
        forgotten: whether deletions don't wait for it while it is away.
        left_behind: what such deletions left there.
    """

    name: str
    ready: bool | None
    version: str
    endpoint: str
    joined_at: datetime
    message: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    forgotten: bool = False
    left_behind: tuple[str, ...] = ()

    @classmethod
    def from_object(cls, manifest: Manifest) -> Cluster:
        """Read a KubeFedCluster.

        v0.10.0 writes only the condition that counts: Ready, or Offline, or ConfigMalformed.
        """
        metadata, status = manifest["metadata"], manifest.get("status") or {}
        conditions = {each["type"]: each for each in status.get("conditions") or []}
        ready: bool | None = None
        message = "not probed yet"
        for kind in ClusterCondition:
            condition = conditions.get(kind)
            if condition is None:
                continue
            if condition["status"] == "Unknown":
                ready, message = None, condition.get("message") or ""
            elif kind is ClusterCondition.READY:
                ready, message = condition["status"] == "True", condition.get("message") or ""
            elif condition["status"] == "True":
                ready, message = False, condition.get("message") or ""
        return cls(
            name=metadata["name"],
            ready=ready,
            version=status.get("kubernetesVersion") or "",
            endpoint=manifest["spec"]["apiEndpoint"],
            joined_at=datetime.fromisoformat(metadata["creationTimestamp"]),
            message=message,
            labels=metadata.get("labels") or {},
            forgotten=given_up.forgotten(manifest),
            left_behind=tuple(sorted(given_up.left_behind(manifest))),
        )


def register(
    api: ApiClient,
    *,
    cluster: str,
    api_endpoint: str,
    ca_bundle: str,
    token: str,
    labels: Mapping[str, str],
    namespace: str,
    disabled_tls_validations: Iterable[str] = (),
    proxy_url: str = "",
    secret_name: str = "",
    identity: Identity | None = None,
    dry_run: bool = False,
) -> bool:
    """Make a cluster a member, or bring its entry up to date; safe to repeat.

    The cluster is entered first, then the entry is checked by a dry run, and only then is
    anything written: the token, then the entry that names it. A token whose entry fails is taken
    away again.

    Args:
        api: the host cluster.
        cluster: the member's name.
        api_endpoint: host, host:port or URL of its API server.
        ca_bundle: certificates in PEM to check it by; empty for the system's.
        token: the token of the account that `prepare_member` made there.
        labels: what placements select the cluster by.
        namespace: the federation's namespace.
        disabled_tls_validations: checks of its certificate to leave out; "*" for all.
        proxy_url: a proxy to reach it by.
        secret_name: the name of the Secret for the token, if it must have a certain one.
        identity: which cluster it is, where that is known already; then it isn't entered.
        dry_run: check everything and write nothing.

    Returns:
        Whether anything was changed.

    Raises:
        errors.MembershipError: the cluster can't join as things stand.
    """
    if not _NAME.fullmatch(cluster):
        raise errors.UsageError(
            f"'{cluster}' can't be a cluster's name; use up to 63 of a-z, 0-9 and '-'"
        )
    host = Resources(api)
    need_installed(host, namespace)
    tls = [str(each) for each in disabled_tls_validations]
    identity = identity or identify(
        api_endpoint,
        ca_bundle,
        token,
        insecure=TlsValidation.ALL in tls,
        proxy_url=proxy_url,
    )
    others = {each["metadata"]["name"]: each for each in host.list(KUBEFED_CLUSTER, namespace)}
    entry = others.pop(cluster, None)
    _refuse_twin(cluster, identity.uid, normalized(api_endpoint), others)
    secret = secret_name or (entry["spec"]["secretRef"]["name"] if entry else f"{cluster}-token")
    wanted = _entry(cluster, namespace, api_endpoint, ca_bundle, secret, dict(labels))
    wanted["metadata"]["annotations"] = {CLUSTER_UID_ANNOTATION: identity.uid}
    wanted["spec"] |= {"disabledTLSValidations": tls} if tls else {}
    wanted["spec"] |= {"proxyURL": proxy_url} if proxy_url else {}
    trial = Resources(api, dry_run=True)
    would_change = trial.apply(KUBEFED_CLUSTER, wanted)
    if dry_run:
        return trial.apply(SECRET, _secret(secret, namespace, token)) or would_change
    return _write(host, wanted, _secret(secret, namespace, token))


def unregister(
    api: ApiClient, *, cluster: str, namespace: str, force: bool = False, dry_run: bool = False
) -> list[str]:
    """Strike a cluster off the register, with its token; the member itself isn't called.

    Args:
        api: the host cluster.
        cluster: the member's name.
        namespace: the federation's namespace.
        force: also take off finalizers that keep the entry.
        dry_run: let the API server check every step and do none.

    Returns:
        What stays: objects that the federation has placed there, and what wasn't deleted.
    """
    host = Resources(api, dry_run=dry_run)
    entry = host.get(KUBEFED_CLUSTER, cluster, namespace)
    if entry is None:
        host.delete(SECRET, f"{cluster}-token", namespace)
        return []
    left = placed_objects(host, cluster, namespace)
    # With the entry goes the only list of these.
    left += [f"{each}, deleted in the host" for each in sorted(given_up.left_behind(entry))]
    host.delete(KUBEFED_CLUSTER, cluster, namespace)
    host.delete(SECRET, entry["spec"]["secretRef"]["name"], namespace)
    kept = None if dry_run else host.get(KUBEFED_CLUSTER, cluster, namespace)
    if kept is None or kept["metadata"]["uid"] != entry["metadata"]["uid"]:
        return left
    finalizers = ", ".join(kept["metadata"].get("finalizers") or [])
    if not force:
        return [*left, f"KubeFedCluster {cluster}: kept by its finalizers {finalizers}"]
    with contextlib.suppress(errors.NotFound):
        host.patch(KUBEFED_CLUSTER, cluster, namespace, {"metadata": {"finalizers": None}})
    return left


def list_clusters(api: ApiClient, *, namespace: str) -> list[Cluster]:
    """Give the members, by name.

    Args:
        api: the host cluster.
        namespace: the federation's namespace.
    """
    found = Resources(api).list(KUBEFED_CLUSTER, namespace)
    return sorted((Cluster.from_object(each) for each in found), key=lambda each: each.name)


def placed_objects(
    host: Resources, cluster: str, namespace: str, *, deleted: bool = False
) -> list[str]:
    """Name the members' objects that the host says are in a cluster.

    Args:
        host: the host cluster.
        cluster: the member's name.
        namespace: the federation's namespace.
        deleted: only those whose deletion is under way.
    """
    found: list[str] = []
    for manifest in host.list(FEDERATED_TYPE_CONFIG, namespace):
        kinds = TypeConfig.from_object(manifest).type
        try:
            items = host.list(kinds.federated)
        except errors.Forbidden:
            # Leaving doesn't fail because of what it would only report.
            found.append(f"{kinds.target.kind}: unknown, may not list {kinds.federated.plural}")
            continue
        for item in items:
            metadata = item["metadata"]
            if cluster not in _clusters_in_status(item):
                continue
            if deleted and not metadata.get("deletionTimestamp"):
                continue
            where = "" if kinds.is_namespace else f"{metadata.get('namespace') or ''}/"
            found.append(f"{kinds.target.kind} {where.lstrip('/')}{metadata['name']}")
    return sorted(found)


def _clusters_in_status(item: Manifest) -> set[str]:
    clusters = (item.get("status") or {}).get("clusters") or []
    return {str(each.get("name")) for each in clusters}


def _refuse_twin(cluster: str, uid: str, url: str, others: Mapping[str, Manifest]) -> None:
    for name, manifest in others.items():
        annotations = manifest["metadata"].get("annotations") or {}
        known = annotations.get(CLUSTER_UID_ANNOTATION)
        # An entry that kubefedctl made has no UID, so its address has to do.
        same = known == uid if known else _same_address(manifest, url)
        if same:
            raise errors.AlreadyMember(
                f"{cluster} is the same cluster as {name}, which is a member already; unjoin "
                f"{name} first, or give the endpoint of another cluster"
            )


def _same_address(manifest: Manifest, url: str) -> bool:
    try:
        return normalized(manifest["spec"]["apiEndpoint"]) == url
    except errors.EndpointMalformed:
        return False


def _write(host: Resources, entry: Manifest, secret: Manifest) -> bool:
    name, namespace = secret["metadata"]["name"], secret["metadata"]["namespace"]
    is_new = host.get(SECRET, name, namespace) is None
    changed = host.apply(SECRET, secret)
    try:
        return host.apply(KUBEFED_CLUSTER, entry) or changed
    except errors.KubefedError:
        if is_new:
            # Nothing names it, so it would be half a member.
            with contextlib.suppress(errors.KubefedError):
                host.delete(SECRET, name, namespace)
        raise


def _entry(
    cluster: str,
    namespace: str,
    api_endpoint: str,
    ca_bundle: str,
    secret: str,
    labels: dict[str, str],
) -> Manifest:
    spec: Manifest = {"apiEndpoint": api_endpoint, "secretRef": {"name": secret}}
    if ca_bundle:
        spec["caBundle"] = base64.b64encode(ca_bundle.encode()).decode()
    return {
        "apiVersion": KUBEFED_CLUSTER.api_version,
        "kind": KUBEFED_CLUSTER.kind,
        "metadata": {"name": cluster, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def _secret(name: str, namespace: str, token: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": {TOKEN_KEY: base64.b64encode(token.encode()).decode()},
    }
