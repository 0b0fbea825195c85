"""init, uninstall, join, unjoin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from kubernetes import config

from kubefed import enable, errors, install, membership
from kubefed.api import (
    CONFIG_NAME,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    KubeFedConfig,
    Scope,
    parse_duration,
)
from kubefed.cli import common
from kubefed.cli.common import DryRun, HostContext, Kubeconfig, Namespace, reported, say, warn
from kubefed.clients import Resources

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


@reported
def init(
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    scope: Annotated[
        Scope, typer.Option("--scope", help="Federate all namespaces, or the federation's only.")
    ] = Scope.CLUSTER,
    dry_run: DryRun = False,
) -> None:
    """Install the federation's API in the host cluster; safe to repeat."""
    api = common.cluster(kubeconfig, host_cluster_context)
    install.install(api, namespace=kubefed_namespace, scope=scope, dry_run=dry_run)
    done = "can be installed" if dry_run else "is installed"
    say(f"The federation {done} in namespace {kubefed_namespace} of {api.configuration.host}.")


@reported
def uninstall(
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
) -> None:
    """Take the federation out of the host; what is in the members stays."""
    api = common.cluster(kubeconfig, host_cluster_context)
    install.uninstall(api, namespace=kubefed_namespace)
    say(f"The federation is gone from {api.configuration.host}.")


@reported
def join(
    name: ClusterName,
    cluster_context: ClusterContext = None,
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    host_cluster_name: HostName = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
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
        str,
        typer.Option(
            "--error-on-existing",
            metavar="BOOL",
            help="Whether joining a member again fails (true) or updates it (false).",
        ),
    ] = "true",
    dry_run: DryRun = False,
) -> None:
    """Make a cluster a member of the federation."""
    lifetime = _lifetime(token_lifetime)
    labels = _labels(label or [])
    host_api = common.cluster(kubeconfig, host_cluster_context)
    host = Resources(host_api)
    settings = _settings(host, kubefed_namespace)
    existed = host.get(KUBEFED_CLUSTER, name, kubefed_namespace) is not None
    if common.boolean(error_on_existing) and existed:
        raise errors.AskOperator(
            f"{name} is a member already; use --error-on-existing=false to update it"
        )
    api = common.cluster(kubeconfig, cluster_context or name)
    host_name = _host_name(kubeconfig, host_cluster_context, host_cluster_name)
    names = membership.Names(name, host_name, kubefed_namespace)
    types = enable.enabled_types(host_api, namespace=kubefed_namespace)
    kinds = [each.type.target for each in types]
    if dry_run:
        membership.prepare_member(
            api, **dataclasses.asdict(names), kinds=kinds, scope=settings.scope, dry_run=True
        )
        say(f"{name} ({api.configuration.host}) can become a member of the federation.")
        return
    ends_at = membership.join(
        host_api,
        api,
        names,
        kinds=kinds,
        labels=labels,
        scope=settings.scope,
        lifetime=lifetime,
        secret_name=secret_name,
    )
    ends = f"; its token ends at {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else ""
    say(f"{name} ({api.configuration.host}) is a member of the federation{ends}.")


@reported
def unjoin(
    name: ClusterName,
    cluster_context: ClusterContext = None,
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    host_cluster_name: HostName = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    force: Annotated[
        bool, typer.Option("--force", help="Go on where the member can't be reached or refuses.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """End a cluster's membership; what was placed there stays, and is named."""
    host_api = common.cluster(kubeconfig, host_cluster_context)
    host = Resources(host_api)
    if host.get(KUBEFED_CLUSTER, name, kubefed_namespace) is None and not force:
        raise errors.NotFound(f"there is no member {name}; see kubefed status")
    host_name = _host_name(kubeconfig, host_cluster_context, host_cluster_name)
    if dry_run:
        say(f"{name} would leave the federation.")
        return
    try:
        api = common.cluster(kubeconfig, cluster_context or name)
    except errors.UsageError:
        # The context may be gone with the cluster.
        if not force:
            raise
        api = None
    left = membership.leave(
        host_api, api, membership.Names(name, host_name, kubefed_namespace), force=force
    )
    if left.in_member:
        _warn_all(
            "left behind in the member; remove it if the cluster comes back:", left.in_member
        )
    if left.placed:
        _warn_all("still in the member, no longer carried:", left.placed)
    say(f"{name} is no longer a member of the federation.")


def _warn_all(heading: str, lines: Iterable[str]) -> None:
    warn("\n  ".join([heading, *lines]))


def _settings(host: Resources, namespace: str) -> KubeFedConfig:
    manifest = host.get(KUBEFED_CONFIG, CONFIG_NAME, namespace)
    if manifest is None:
        raise errors.NotInstalled(
            f"{host.api.configuration.host} has no federation in namespace {namespace}; "
            "install it first with kubefed init"
        )
    return KubeFedConfig.from_object(manifest)


def _host_name(kubeconfig: Path | None, context: str | None, name: str | None) -> str:
    if not name and not context:
        try:
            _, current = config.list_kube_config_contexts(str(kubeconfig) if kubeconfig else None)
        except (config.ConfigException, OSError) as error:
            raise errors.UsageError(f"cannot read the kubeconfig: {error}") from error
        context = str(current["name"])
    found = name or context or ""
    if any(each in found for each in ":/"):
        raise errors.UsageError(
            f"the host's context '{found}' can't be part of a name; give --host-cluster-name"
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
