"""enable, disable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from kubefed import enable as enabling
from kubefed import errors
from kubefed.api import TYPES_GROUP
from kubefed.api.names import V1BETA1
from kubefed.cli import common
from kubefed.cli.common import warn
from kubefed.cli.host import Host, verb

TypeName = Annotated[
    str | None,
    typer.Argument(
        metavar="TYPE", help="The kind: plural, singular or short name, or PLURAL.GROUP."
    ),
]
DirectiveFile = Annotated[
    Path | None,
    typer.Option("--filename", "-f", help="A file with an EnableTypeDirective, instead of TYPE."),
]
FederatedGroup = Annotated[
    str, typer.Option("--federated-group", help="Group of the federated kind.")
]
Version = Annotated[
    str | None, typer.Option("--version", help="Version of the kind; the preferred one if none.")
]


Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="'yaml': print the objects and create nothing."),
]


@verb
def enable(
    host: Host,
    type_name: TypeName = None,
    filename: DirectiveFile = None,
    federated_group: FederatedGroup = TYPES_GROUP,
    version: Version = None,
    federated_version: Annotated[
        str, typer.Option("--federated-version", help="Version of the federated kind.")
    ] = V1BETA1,
    output: Output = None,
) -> None:
    """Federate a kind."""
    common.only_yaml(output)
    directive = _directive(
        filename,
        enabling.Directive(type_name or "", version, federated_group, federated_version),
    )
    if output:
        manifests = enabling.plan_enable(host.api, directive, namespace=host.namespace)
        common.dump_manifests(manifests, host.output)
        return
    known = enabling.enabled_types(host.api, namespace=host.namespace)
    kinds = enabling.enable(host.api, directive, namespace=host.namespace, dry_run=host.dry_run)
    done = "can be" if host.dry_run else "is"
    host.answer(
        f"{kinds.name} {done} federated as {kinds.federated.kind} ({kinds.federated.group}).",
        type=kinds.name,
        federated=kinds.federated.full_name,
        version=kinds.federated.version,
    )
    if not host.dry_run and kinds.target not in [each.type.target for each in known]:
        warn(
            "members that joined before have no right to it; repeat kubefed join "
            "--error-on-existing=false for each"
        )


@verb
def disable(
    host: Host,
    type_name: TypeName = None,
    filename: DirectiveFile = None,
    federated_group: FederatedGroup = TYPES_GROUP,
    version: Version = None,
    delete_crd: Annotated[
        bool, typer.Option("--delete-crd", help="Also delete the federated kind, if it is empty.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Don't wait for a controller; there is none.")
    ] = False,
) -> None:
    """Stop federating a kind; what is in the members stays."""
    if not delete_crd and (version or federated_group != TYPES_GROUP):
        raise errors.UsageError(
            "--version and --federated-group say which kind --delete-crd deletes; add it, or "
            "leave them out"
        )
    directive = _directive(filename, enabling.Directive(type_name or "", version, federated_group))
    kinds = enabling.disable(
        host.api,
        directive,
        namespace=host.namespace,
        delete_crd=delete_crd,
        force=force,
        dry_run=host.dry_run,
    )
    done = "would no longer be" if host.dry_run else "is no longer"
    host.answer(
        f"{kinds.name} {done} federated; what is in the members stays there.",
        type=kinds.name,
        federated=kinds.federated.full_name,
        deleted_crd=delete_crd,
    )


def _directive(path: Path | None, flags: enabling.Directive) -> enabling.Directive:
    if (path is None) == (not flags.name):
        raise errors.UsageError("give either TYPE or --filename")
    if path is None:
        return flags
    try:
        manifest = yaml.safe_load(common.read_text(path))
    except yaml.YAMLError as error:
        raise errors.UsageError(f"{path} is not YAML: {error}") from error
    if not isinstance(manifest, dict):
        raise errors.UsageError(f"{path} holds no Kubernetes object")
    return enabling.Directive.from_object(manifest)
