"""Joining and leaving where one process sees both clusters, as a user's command line does."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient, Configuration

from kubefed import errors
from kubefed.accounts import Token, lasting_token, mint_token
from kubefed.api import (
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    NAMESPACE,
    Scope,
    TargetKind,
    TlsValidation,
    TypeConfig,
)
from kubefed.clients import Resources
from kubefed.membership.endpoint import identity_of
from kubefed.membership.host import register, unregister
from kubefed.membership.member import prepare_member, purge_objects, remove_member
from kubefed.membership.orphans import refuse_orphans


@dataclasses.dataclass(frozen=True)
class Names:
    """Who joins whom.

    Attributes:
        cluster: the member's name.
        host_cluster: the host cluster's name.
        namespace: the federation's namespace, in both.
    """

    cluster: str
    host_cluster: str
    namespace: str


@dataclasses.dataclass(frozen=True)
class Departure:
    """What stays after a cluster has left.

    Attributes:
        in_member: what of the federation's account could not be removed, and why.
        placed: objects that the federation had placed there; nobody carries them now.
    """

    in_member: tuple[str, ...]
    placed: tuple[str, ...]


def join(
    host: ApiClient,
    member: ApiClient,
    names: Names,
    *,
    kinds: Iterable[TargetKind],
    labels: Mapping[str, str],
    scope: str = Scope.CLUSTER,
    lifetime: timedelta | None = None,
    secret_name: str = "",
    release_orphans: bool = False,
    dry_run: bool = False,
) -> datetime | None:
    """Make a cluster a member; a failure leaves nothing in a cluster that wasn't one before.

    Args:
        host: the host cluster.
        member: the cluster that joins, as its kubeconfig reaches it: so will the controller.
        names: who joins whom.
        kinds: the kinds that the federation may write there.
        labels: what placements select the cluster by.
        scope: the federation's scope.
        lifetime: how long the token is to hold; None for one that doesn't end.
        secret_name: the name of the Secret for the token, if it must have a certain one.
        release_orphans: join it though the host knows none of a federation's objects there, which
            the controller lets go of then.
        dry_run: let the API servers of both check every step and do none.

    Returns:
        When the token ends; None if it doesn't, or in a dry run.

    Raises:
        errors.HoldsOrphans: it holds such objects.
    """
    existed = Resources(host).get(KUBEFED_CLUSTER, names.cluster, names.namespace) is not None
    if not (existed or release_orphans):
        refuse_orphans(host, member, cluster=names.cluster, namespace=names.namespace, scope=scope)
    if dry_run:
        _try_join(host, member, names, kinds, labels, scope, secret_name)
        return None
    keep = Resources(member).get(NAMESPACE, names.namespace) is not None
    parts = dataclasses.asdict(names)
    try:
        account = prepare_member(member, **parts, kinds=kinds, scope=scope)
        token = _token(member, account, names.namespace, lifetime)
        register(host, **_entry(member, names, labels, secret_name), token=token.token)
    except errors.KubefedError:
        if not existed:
            with contextlib.suppress(errors.KubefedError):
                remove_member(member, **parts, keep_namespace=keep)
        raise
    return token.expires_at


def leave(
    host: ApiClient,
    member: ApiClient | None,
    names: Names,
    *,
    force: bool = False,
    purge: bool = False,
    dry_run: bool = False,
) -> Departure:
    """End a cluster's membership; the bounds of the calls bound it also where the member is dead.

    Args:
        host: the host cluster.
        member: the cluster that leaves; None where it can't be asked at all (by force only).
        names: who leaves whom.
        force: strike it off the register though its account there could not be removed.
        purge: also delete what the federation has placed there, once nobody carries it any more.
        dry_run: let the API servers of both check every step and do none.

    Raises:
        errors.RetryLater: the account is not gone, so the cluster is still a member.
    """
    types = Resources(host).list(FEDERATED_TYPE_CONFIG, names.namespace)
    in_member = (
        ["the federation's account in it: it was not asked"]
        if member is None
        else remove_member(
            member,
            **dataclasses.asdict(names),
            keep_namespace=_same_cluster(member, host),
            dry_run=dry_run,
        )
    )
    if in_member and not force:
        raise errors.RetryLater(
            f"{names.cluster} stays a member, since its account there is not gone "
            f"({'; '.join(in_member)}); try again, or use force if it never comes back"
        )
    placed = unregister(
        host, cluster=names.cluster, namespace=names.namespace, force=force, dry_run=dry_run
    )
    if purge and member is not None:
        # One that can't be reached keeps what it has; the host's list says what that is.
        with contextlib.suppress(errors.Unreachable):
            placed = purge_objects(
                member,
                kinds=[TypeConfig.from_object(each).type.target for each in types],
                namespace=names.namespace,
                dry_run=dry_run,
            )
    return Departure(tuple(in_member), tuple(placed))


def _try_join(
    host: ApiClient,
    member: ApiClient,
    names: Names,
    kinds: Iterable[TargetKind],
    labels: Mapping[str, str],
    scope: str,
    secret_name: str,
) -> None:
    prepare_member(member, **dataclasses.asdict(names), kinds=kinds, scope=scope, dry_run=True)
    register(
        host,
        **_entry(member, names, labels, secret_name),
        token="",
        # There may be no account yet to enter the cluster by; the user's own says which it is.
        identity=identity_of(member),
        dry_run=True,
    )


def _entry(
    member: ApiClient, names: Names, labels: Mapping[str, str], secret_name: str
) -> dict[str, Any]:
    """What the host's register says of a member: all that its client knows, but no token."""
    settings = member.configuration
    return {
        "cluster": names.cluster,
        "api_endpoint": str(settings.host),
        "ca_bundle": _ca_bundle(member),
        "labels": labels,
        "namespace": names.namespace,
        "disabled_tls_validations": [] if settings.verify_ssl else [TlsValidation.ALL],
        "proxy_url": _proxy_url(member),
        "secret_name": secret_name,
    }


def _token(member: ApiClient, account: str, namespace: str, lifetime: timedelta | None) -> Token:
    if lifetime is None:
        return lasting_token(member, service_account=account, namespace=namespace)
    return mint_token(member, service_account=account, namespace=namespace, lifetime=lifetime)


def _ca_bundle(api: ApiClient) -> str:
    settings = api.configuration
    if settings.ca_cert_data:
        data = settings.ca_cert_data
        return data.decode() if isinstance(data, bytes) else str(data)
    return Path(settings.ssl_ca_cert).read_text("utf-8") if settings.ssl_ca_cert else ""


def _proxy_url(api: ApiClient) -> str:
    proxy = api.configuration.proxy or ""
    # The client takes on this machine's HTTPS_PROXY; the controller's machine has its own.
    return "" if proxy == Configuration().proxy else str(proxy)


def _same_cluster(member: ApiClient, host: ApiClient) -> bool:
    def uid(api: ApiClient) -> object:
        return ((Resources(api).get(NAMESPACE, "kube-system") or {}).get("metadata") or {}).get(
            "uid"
        )

    try:
        return uid(member) == uid(host)
    except errors.KubefedError:
        return True  # not to be asked: better a namespace that stays than the host's own deleted
