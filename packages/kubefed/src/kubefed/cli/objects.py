"""federate, orphaning-deletion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from kubefed import discovery, enable, errors, placing
from kubefed.api import (
    NAMESPACE,
    ORPHAN_ANNOTATION,
    STANDARD_KINDS,
    FederatedType,
    Manifest,
    TargetKind,
)
from kubefed.cli import common
from kubefed.cli.common import warn
from kubefed.cli.host import Host, verb
from kubefed.cli.types import Output
from kubefed.clients import Resources
from kubefed.federate import LEFT_OUT, Outcome, describe, federate_all, guessed, read_manifests

ObjectNamespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="The object's namespace; the context's unless given."),
]

orphaning = typer.Typer(
    no_args_is_help=True,
    help="Whether deleting a federated object leaves what it placed in the members.",
)
TypeArgument = Annotated[str, typer.Argument(metavar="TYPE", help="The kind, plain or federated.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The object's name.")]


@verb
def federate(
    host: Host,
    type_name: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="The kind of the object.")
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The object's name.")] = None,
    namespace: ObjectNamespace = None,
    filename: Annotated[
        Path | None,
        typer.Option(
            "--filename",
            "-f",
            help="A file or directory of objects, '-' for stdin; printed unless --apply is given.",
        ),
    ] = None,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply",
            help="Create also what --filename names; give what exists the new template.",
        ),
    ] = False,
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
    output: Output = None,
) -> None:
    """Make federated objects of plain ones, placed in all clusters."""
    common.only_yaml(output)
    if filename and type_name:
        raise errors.UsageError(f"--filename goes without TYPE and NAME; leave out '{type_name}'")
    if not filename and not (type_name and name):
        raise errors.UsageError("give either TYPE and NAME or --filename")
    for flag, given in (("--enable-type", enable_type and not filename), ("--apply", apply)):
        if output and given:
            raise errors.UsageError(f"{flag} changes the host, and --output doesn't; give one")
    if filename:
        manifests = read_manifests(common.read_text(filename))
    else:
        where = namespace or host.default_namespace()
        skip = _words(skip_api_resources)
        manifests = _from_host(host.objects, type_name or "", name or "", where, contents, skip)
    if output or (filename and not apply):
        _print(host, manifests)
    else:
        outcome = _outcome(host, manifests, enable_type=enable_type)
        _create(host, outcome, namespace, renew=apply)


def _print(host: Host, manifests: Sequence[Manifest]) -> None:
    """Print the federated objects; neither their types nor the federation need to exist."""
    types = [FederatedType.of(each) for each in STANDARD_KINDS]
    outcome = federate_all(manifests, types)
    if outcome.not_federated:
        try:
            enabled = enable.enabled_types(host.api, namespace=host.namespace)
        except errors.KubefedError as error:
            warn(f"{', '.join(outcome.not_federated)} taken for kinds of the usual names: {error}")
            enabled = []
        types = [*(each.type for each in enabled), *types, *guessed(manifests)]
        outcome = federate_all(manifests, types)
    _warn_skipped(outcome)
    common.dump_manifests(outcome.objects, host.output)


def _words(text: str) -> set[str]:
    return {each.strip() for each in text.split(",") if each.strip()}


def _from_host(
    host: Resources, word: str, name: str, namespace: str, contents: bool, skip: set[str]
) -> list[Manifest]:
    known = discovery.resources(host)
    kind = discovery.find(known, word).kind
    if contents and kind != NAMESPACE:
        raise errors.UsageError(f"--contents is for a namespace only, not for {kind.full_name}")
    manifest = host.get(kind, name, namespace if kind.namespaced else None)
    if manifest is None:
        where = f" in namespace {namespace}" if kind.namespaced else ""
        raise errors.NotFound(f"there is no {kind.kind} {name}{where}")
    found = [manifest]
    for each in known:
        if contents and _wanted(each, skip):
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


def _outcome(host: Host, manifests: Sequence[Manifest], *, enable_type: bool) -> Outcome:
    def translate(more: Iterable[FederatedType] = ()) -> Outcome:
        types = enable.enabled_types(host.api, namespace=host.namespace)
        return federate_all(manifests, [*(each.type for each in types), *more])

    outcome = translate()
    if not outcome.not_federated:
        return outcome
    if not enable_type:
        raise errors.AskOperator(
            f"not federated: {', '.join(outcome.not_federated)}; use kubefed enable, or "
            "--enable-type, or leave them out by --skip-api-resources"
        )
    enabled: list[FederatedType] = []
    for each in outcome.not_federated:
        group, _, kind = each.rpartition("/")
        directive = enable.Directive(f"{kind}.{group}" if group else kind)
        enabled.append(
            enable.enable(host.api, directive, namespace=host.namespace, dry_run=host.dry_run)
        )
    return translate(enabled)


def _warn_skipped(outcome: Outcome) -> None:
    for what, why in outcome.skipped:
        warn(f"left out {what}: {why}")


def _create(host: Host, outcome: Outcome, namespace: str | None, *, renew: bool) -> None:
    _warn_skipped(outcome)
    done: list[dict[str, str]] = []
    for manifest, kind in zip(outcome.objects, outcome.kinds, strict=True):
        if kind.namespaced and not manifest["metadata"].get("namespace"):
            manifest["metadata"]["namespace"] = namespace or host.default_namespace()
        result = placing.put(host.objects, kind, manifest, renew=renew)
        done.append({"object": describe(manifest), "result": result})
    lines = [f"{each['object']} {each['result']}" for each in done]
    text = f"{len(done)} objects can be federated." if host.dry_run else "\n".join(lines)
    host.answer(text or "Nothing to federate.", objects=done)


@orphaning.command("enable")
@verb
def orphaning_enable(
    host: Host, type_name: TypeArgument, name: NameArgument, namespace: ObjectNamespace = None
) -> None:
    """Leave what the object placed in the members when it is deleted."""
    _orphan(host, type_name, name, namespace, wanted=True)


@orphaning.command("disable")
@verb
def orphaning_disable(
    host: Host, type_name: TypeArgument, name: NameArgument, namespace: ObjectNamespace = None
) -> None:
    """Delete what the object placed in the members along with it, as is usual."""
    _orphan(host, type_name, name, namespace, wanted=False)


@orphaning.command("status")
@verb(changes=False)
def orphaning_status(
    host: Host, type_name: TypeArgument, name: NameArgument, namespace: ObjectNamespace = None
) -> None:
    """Say whether deleting the object leaves what it placed."""
    _, manifest = _federated_object(host, type_name, name, namespace)
    kept = _orphaned(manifest)
    host.answer("Enabled" if kept else "Disabled", object=describe(manifest), orphaning=kept)


def _orphan(host: Host, type_name: str, name: str, namespace: str | None, *, wanted: bool) -> None:
    kind, manifest = _federated_object(host, type_name, name, namespace)
    if _orphaned(manifest) != wanted:
        change: Manifest = {
            "metadata": {"annotations": {ORPHAN_ANNOTATION: "true" if wanted else None}}
        }
        host.objects.patch(kind, name, manifest["metadata"].get("namespace"), change)
    what = describe(manifest)
    does = "leaves what it placed" if wanted else "deletes what it placed"
    host.answer(f"Deleting {what} {does}.", object=what, orphaning=wanted)


def _orphaned(manifest: Manifest) -> bool:
    annotations = manifest["metadata"].get("annotations") or {}
    return annotations.get(ORPHAN_ANNOTATION) == "true"


def _federated_object(
    host: Host, word: str, name: str, namespace: str | None
) -> tuple[TargetKind, Manifest]:
    kinds = _named(host, word)
    where = None
    if kinds.federated.namespaced:
        where = name if kinds.is_namespace else namespace or host.default_namespace()
    manifest = host.objects.get(kinds.federated, name, where)
    if manifest is None:
        place = f" in namespace {where}" if where else ""
        raise errors.NotFound(f"there is no {kinds.federated.kind} {name}{place}")
    return kinds.federated, manifest


def _named(host: Host, word: str) -> FederatedType:
    found = discovery.find(discovery.resources(host.objects), word).kind
    for each in enable.enabled_types(host.api, namespace=host.namespace):
        if found in (each.type.target, each.type.federated):
            return each.type
    raise errors.NotFound(f"{found.full_name} is not federated; see kubefed status")
