"""init, uninstall, join, unjoin, forget."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

import typer
from kubernetes.client import ApiClient

from kubefed import enable, errors, install, membership
from kubefed.api import KUBEFED_CLUSTER, Scope, parse_duration
from kubefed.cli.common import warn
from kubefed.cli.host import Host, verb

ClusterContext = Annotated[
    str | None,
    typer.Option("--cluster-context", help="Context of the member; NAME unless given."),
]
HostName = Annotated[
    str | None,
    typer.Option(
        "--host-cluster-name",
        help="The host's name where its context's name has ':' or '/' in it.",
    ),
]
ClusterName = Annotated[str, typer.Argument(metavar="NAME", help="The member's name.")]


@verb
def init(
    host: Host,
    scope: Annotated[
        Scope, typer.Option("--scope", help="Federate all namespaces, or the federation's only.")
    ] = Scope.CLUSTER,
) -> None:
    """Install the federation's API in the host cluster; safe to repeat."""
    install.install(host.api, namespace=host.namespace, scope=scope, dry_run=host.dry_run)
    endpoint = host.api.configuration.host
    done = "can be installed" if host.dry_run else "is installed"
    host.answer(
        f"The federation {done} in namespace {host.namespace} of {endpoint}.",
        endpoint=endpoint,
        namespace=host.namespace,
    )


@verb
def uninstall(host: Host) -> None:
    """Take the federation out of the host; what is in the members stays."""
    install.uninstall(host.api, namespace=host.namespace, dry_run=host.dry_run)
    endpoint = host.api.configuration.host
    done = "would be gone" if host.dry_run else "is gone"
    host.answer(
        f"The federation {done} from {endpoint}.", endpoint=endpoint, namespace=host.namespace
    )


@verb
def join(
    host: Host,
    name: ClusterName,
    cluster_context: ClusterContext = None,
    host_cluster_name: HostName = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="KEY=VALUE that placements select by; may be repeated."),
    ] = None,
    secret_name: Annotated[
        str, typer.Option("--secret-name", help="Name of the Secret for the member's token.")
    ] = "",
    token_lifetime: Annotated[
        str | None,
        typer.Option(
            "--token-lifetime",
            help="Bound token of this length, as 720h; unless given, one that doesn't end.",
        ),
    ] = None,
    error_on_existing: Annotated[
        bool,
        typer.Option(
            "--error-on-existing/--no-error-on-existing",
            help="Whether joining a member again fails, or updates it (also written =false).",
        ),
    ] = True,
    release_orphans: Annotated[
        bool,
        typer.Option(
            "--release-orphans",
            help="Join a cluster with objects of a federation of which the host has none; it lets "
            "go of them.",
        ),
    ] = False,
) -> None:
    """Make a cluster a member of the federation."""
    lifetime = _lifetime(token_lifetime)
    labels = _labels(label or [])
    names = membership.Names(name, _host_name(host, host_cluster_name), host.namespace)
    settings = host.settings()
    existed = host.objects.get(KUBEFED_CLUSTER, name, host.namespace) is not None
    if error_on_existing and existed:
        raise errors.AskOperator(
            f"{name} is a member already; use --error-on-existing=false to update it"
        )
    api = host.cluster(cluster_context or name)
    types = enable.enabled_types(host.api, namespace=host.namespace)
    lost, told = ((), "") if existed else _lets_go_of(host, api, settings.scope)
    ends_at = membership.join(
        host.api,
        api,
        names,
        kinds=[each.type.target for each in types],
        labels=labels,
        scope=settings.scope,
        lifetime=lifetime,
        secret_name=secret_name,
        release_orphans=release_orphans,
        dry_run=host.dry_run,
    )
    endpoint = api.configuration.host
    done = "can become" if host.dry_run else "is"
    ends = f"; its token ends at {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else ""
    host.answer(
        f"{name} ({endpoint}) {done} a member of the federation{ends}.{told}",
        cluster=name,
        endpoint=endpoint,
        labels=labels,
        token_ends_at=ends_at,
        lets_go_of=lost,
    )


def _lets_go_of(host: Host, member: ApiClient, scope: str) -> tuple[tuple[str, ...], str]:
    """Give what a cluster loses by joining, and a sentence of it; it holds up no joining."""
    try:
        lost = membership.let_go(host.api, member, namespace=host.namespace, scope=scope)
    except errors.RetryLater as error:
        return (), f"\nWhether it lets go of anything is not known: {error}"
    return lost, f"\nIt lets go of {membership.let_go_text(lost)}." if lost else ""


@verb
def unjoin(
    host: Host,
    name: ClusterName,
    cluster_context: ClusterContext = None,
    host_cluster_name: HostName = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on where the member can't be reached or refuses.")
    ] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete what the federation has placed there.")
    ] = False,
) -> None:
    """End a cluster's membership; what was placed there stays, and is named, unless purged."""
    names = membership.Names(name, _host_name(host, host_cluster_name), host.namespace)
    if host.objects.get(KUBEFED_CLUSTER, name, host.namespace) is None and not force:
        raise errors.NotFound(f"there is no member {name}; see kubefed status")
    try:
        api = host.cluster(cluster_context or name)
    except errors.UsageError:
        # The context may be gone with the cluster.
        if not force:
            raise
        api = None
    left = membership.leave(host.api, api, names, force=force, purge=purge, dry_run=host.dry_run)
    if left.in_member:
        _warn_all(
            "left behind in the member; remove it if the cluster comes back:", left.in_member
        )
    if left.placed:
        _warn_all("still in the member, no longer carried:", left.placed)
    done = "would no longer be" if host.dry_run else "is no longer"
    host.answer(
        f"{name} {done} a member of the federation.",
        cluster=name,
        left_in_member=left.in_member,
        still_placed=left.placed,
    )


@verb
def forget(
    host: Host,
    name: ClusterName,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take it back: deletions wait for the member again.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where the member answers, or may.")
    ] = False,
) -> None:
    """Say that a member is gone for good, so that no deletion waits for it any more.

    What deletions leave there is listed on its KubeFedCluster, and deleted if it does come back.
    """
    shared: dict[str, Any] = {"cluster": name, "namespace": host.namespace}
    found = (
        membership.remember(host.api, **shared, dry_run=host.dry_run)
        if undo
        else membership.forget(host.api, **shared, force=force, dry_run=host.dry_run)
    )
    if found.waiting:
        wait = "wait" if undo else "waited"
        _warn_all(f"being deleted, which {wait} for {name}:", found.waiting)
    if found.left_behind:
        _warn_all(f"deleted, and left behind in {name} so far:", found.left_behind)
    how = "wait again" if undo else "wait no more"
    host.answer(
        f"Deletions {'would ' if host.dry_run else ''}{how} for {name}.",
        cluster=name,
        forgotten=not undo,
        changed=found.changed,
        waiting=found.waiting,
        left_behind=found.left_behind,
    )


def _warn_all(heading: str, lines: Iterable[str]) -> None:
    warn("\n  ".join([heading, *lines]))


def _host_name(host: Host, name: str | None) -> str:
    found = name or host.context or str(host.entry()["name"])
    if any(each in found for each in ":/"):
        raise errors.UsageError(
            f"the host's name '{found}' can't be part of a name, since it has ':' or '/' in it; "
            "give another by --host-cluster-name"
        )
    return found


def _lifetime(text: str | None) -> timedelta | None:
    if not text:
        return None
    try:
        lifetime = parse_duration(text)
    except ValueError as error:
        raise errors.UsageError(str(error)) from error
    if lifetime < timedelta(minutes=10):
        raise errors.UsageError("a token must hold for 10 minutes at least")
    return lifetime


def _labels(pairs: Iterable[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise errors.UsageError(f"'{pair}' is no label; write KEY=VALUE")
        labels[key] = value
    return labels
