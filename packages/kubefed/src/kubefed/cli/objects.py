"""federate, orphaning-deletion."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from kubernetes.client import ApiClient

from kubefed import discovery, enable, errors
from kubefed.api import (
    NAMESPACE,
    ORPHAN_ANNOTATION,
    STANDARD_KINDS,
    FederatedType,
    Manifest,
    TargetKind,
    TypeConfig,
)
from kubefed.cli import common
from kubefed.cli.common import (
    DryRun,
    HostContext,
    Kubeconfig,
    Namespace,
    ObjectNamespace,
    reported,
    say,
    warn,
)
from kubefed.clients import Resources
from kubefed.federate import LEFT_OUT, Outcome, describe, federate_all, read_manifests

orphaning = typer.Typer(
    no_args_is_help=True,
    help="Whether deleting a federated object leaves what it placed in the members.",
)
TypeArgument = Annotated[str, typer.Argument(metavar="TYPE", help="The kind, plain or federated.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The object's name.")]


@reported
def federate(
    type_name: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="The kind of the object.")
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The object's name.")] = None,
    namespace: ObjectNamespace = "default",
    filename: Annotated[
        Path | None,
        typer.Option("--filename", "-f", help="A file or directory of objects, '-' for stdin."),
    ] = None,
    contents: Annotated[
        bool, typer.Option("--contents", "-c", help="Of a namespace: also what is in it.")
    ] = False,
    enable_type: Annotated[
        bool, typer.Option("--enable-type", "-t", help="Federate the kinds first, if need be.")
    ] = False,
    skip_api_resources: Annotated[
        str,
        typer.Option("--skip-api-resources", "-s", help="Kinds or groups to leave out: A,B."),
    ] = "",
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="'yaml': print the objects and create nothing."),
    ] = None,
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    dry_run: DryRun = False,
) -> None:
    """Make federated objects of plain ones, placed in all clusters."""
    if (filename is None) == (type_name is None or name is None):
        raise errors.UsageError("give either TYPE and NAME or --filename")
    if output not in (None, "yaml"):
        raise errors.UsageError(f"'{output}' is no output; 'yaml' is the only one")
    manifests: list[Manifest] = []
    if filename:
        manifests = read_manifests(common.read_text(filename))
        if output and not enable_type:
            # A manifest of standard kinds needs no cluster to be translated.
            types = _standard_types()
            if not federate_all(manifests, types).not_federated:
                _finish(federate_all(manifests, types))
                return
    api = common.cluster(kubeconfig, host_cluster_context)
    if not filename:
        manifests = _from_host(
            api, type_name or "", name or "", namespace, contents, _words(skip_api_resources)
        )
    outcome = _outcome(
        api, manifests, kubefed_namespace, enable_type=enable_type and not (dry_run or output)
    )
    if output:
        _finish(outcome)
    else:
        _create(Resources(api, dry_run=dry_run), outcome, api, kubefed_namespace)


def _words(text: str) -> set[str]:
    return {each.strip() for each in text.split(",") if each.strip()}


def _standard_types() -> list[FederatedType]:
    return [FederatedType.of(each) for each in STANDARD_KINDS]


def _from_host(
    api: ApiClient, word: str, name: str, namespace: str, contents: bool, skip: set[str]
) -> list[Manifest]:
    host = Resources(api)
    known = discovery.resources(host)
    kind = discovery.find(known, word).kind
    manifest = host.get(kind, name, namespace if kind.namespaced else None)
    if manifest is None:
        where = f" in namespace {namespace}" if kind.namespaced else ""
        raise errors.NotFound(f"there is no {kind.kind} {name}{where}")
    if not contents:
        return [manifest]
    if kind != NAMESPACE:
        raise errors.UsageError("--contents is for a namespace only")
    found = [manifest]
    for each in known:
        if _wanted(each, skip):
            found += host.list(each.kind, name)
    return found


def _wanted(resource: discovery.Resource, skip: set[str]) -> bool:
    kind = resource.kind
    return (
        kind.namespaced
        and resource.preferred
        and resource.verbs >= discovery.NEEDED_VERBS
        and (kind.group, kind.kind) not in LEFT_OUT
        and not kind.group.endswith("kubefed.io")
        and not skip & {kind.group, kind.full_name}
        and not any(resource.called(word) for word in skip)
    )


def _outcome(
    api: ApiClient, manifests: Iterable[Manifest], kubefed_namespace: str, *, enable_type: bool
) -> Outcome:
    manifests = list(manifests)

    def translate() -> Outcome:
        types = enable.enabled_types(api, namespace=kubefed_namespace)
        return federate_all(manifests, [each.type for each in types])

    outcome = translate()
    if not outcome.not_federated:
        return outcome
    if not enable_type:
        raise errors.AskOperator(
            f"not federated: {', '.join(outcome.not_federated)}; use kubefed enable, or "
            "--enable-type, or leave them out by --skip-api-resources"
        )
    for each in outcome.not_federated:
        group, _, kind = each.rpartition("/")
        directive = enable.Directive(f"{kind}.{group}" if group else kind)
        kinds = enable.enable(api, directive, namespace=kubefed_namespace)
        say(f"{kinds.name} is federated as {kinds.federated.kind}.")
    return translate()


def _finish(outcome: Outcome) -> None:
    for what, why in outcome.skipped:
        warn(f"left out {what}: {why}")
    common.dump_manifests(outcome.objects)


def _create(host: Resources, outcome: Outcome, api: ApiClient, kubefed_namespace: str) -> None:
    types = {
        (each.type.federated.group, each.type.federated.kind): each.type.federated
        for each in enable.enabled_types(api, namespace=kubefed_namespace)
    }
    for what, why in outcome.skipped:
        warn(f"left out {what}: {why}")
    for manifest in outcome.objects:
        group = str(manifest["apiVersion"]).partition("/")[0]
        kind = types.get((group, manifest["kind"]))
        if kind is None:
            raise errors.AskOperator(f"{manifest['kind']} is of no type that is federated")
        say(f"{describe(manifest)} {_put(host, kind, manifest)}")


def _put(host: Resources, kind: TargetKind, manifest: Manifest) -> str:
    """Create a federated object, or give one that exists the new template."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    if namespace and host.get(NAMESPACE, namespace) is None:
        if host.dry_run:
            return "would be created, with its namespace"
        host.create(
            NAMESPACE,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        )
    found = host.get(kind, metadata["name"], namespace)
    if found is None:
        host.create(kind, manifest)
        return "would be created" if host.dry_run else "created"
    # Where it goes and what differs there was decided since; only what it is comes anew.
    spec = {**found["spec"], "template": manifest["spec"].get("template", {})}
    if spec == found["spec"]:
        return "unchanged"
    host.replace(kind, {**found, "spec": spec})
    return "would be changed" if host.dry_run else "changed"


@orphaning.command("enable")
@reported
def orphaning_enable(
    type_name: TypeArgument,
    name: NameArgument,
    namespace: ObjectNamespace = "default",
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    dry_run: DryRun = False,
) -> None:
    """Leave what the object placed in the members when it is deleted."""
    api = common.cluster(kubeconfig, host_cluster_context)
    kinds, manifest = _federated_object(api, type_name, name, namespace, kubefed_namespace)
    change: Manifest = {"metadata": {"annotations": {ORPHAN_ANNOTATION: "true"}}}
    Resources(api, dry_run=dry_run).patch(
        kinds.federated, name, manifest["metadata"].get("namespace"), change
    )
    say(f"Deleting {describe(manifest)} leaves what it placed.")


@orphaning.command("disable")
@reported
def orphaning_disable(
    type_name: TypeArgument,
    name: NameArgument,
    namespace: ObjectNamespace = "default",
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    dry_run: DryRun = False,
) -> None:
    """Delete what the object placed in the members along with it, as is usual."""
    api = common.cluster(kubeconfig, host_cluster_context)
    kinds, manifest = _federated_object(api, type_name, name, namespace, kubefed_namespace)
    change: Manifest = {"metadata": {"annotations": {ORPHAN_ANNOTATION: None}}}
    Resources(api, dry_run=dry_run).patch(
        kinds.federated, name, manifest["metadata"].get("namespace"), change
    )
    say(f"Deleting {describe(manifest)} deletes what it placed.")


@orphaning.command("status")
@reported
def orphaning_status(
    type_name: TypeArgument,
    name: NameArgument,
    namespace: ObjectNamespace = "default",
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
) -> None:
    """Say whether deleting the object leaves what it placed."""
    api = common.cluster(kubeconfig, host_cluster_context)
    _, manifest = _federated_object(api, type_name, name, namespace, kubefed_namespace)
    annotations = manifest["metadata"].get("annotations") or {}
    say("Enabled" if annotations.get(ORPHAN_ANNOTATION) == "true" else "Disabled")


def _federated_object(
    api: ApiClient, word: str, name: str, namespace: str, kubefed_namespace: str
) -> tuple[FederatedType, Manifest]:
    kinds = _named(enable.enabled_types(api, namespace=kubefed_namespace), api, word)
    where = None if not kinds.federated.namespaced else name if kinds.is_namespace else namespace
    manifest = Resources(api).get(kinds.federated, name, where)
    if manifest is None:
        place = f" in namespace {where}" if where else ""
        raise errors.NotFound(f"there is no {kinds.federated.kind} {name}{place}")
    return kinds, manifest


def _named(types: Iterable[TypeConfig], api: ApiClient, word: str) -> FederatedType:
    known = [each.type for each in types]
    found = discovery.find(discovery.resources(Resources(api)), word).kind
    for kinds in known:
        if found in (kinds.target, kinds.federated):
            return kinds
    raise errors.NotFound(f"{found.full_name} is not federated; see kubefed status")
