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
from kubefed.cli.common import DryRun, HostContext, Kubeconfig, Namespace, reported, say, warn

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


@reported
def enable(
    type_name: TypeName = None,
    filename: DirectiveFile = None,
    federated_group: FederatedGroup = TYPES_GROUP,
    version: Version = None,
    federated_version: Annotated[
        str, typer.Option("--federated-version", help="Version of the federated kind.")
    ] = V1BETA1,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="'yaml': print the objects and create nothing."),
    ] = None,
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    dry_run: DryRun = False,
) -> None:
    """Federate a kind."""
    directive = _directive(
        filename,
        enabling.Directive(type_name or "", version, federated_group, federated_version),
    )
    if output not in (None, "yaml"):
        raise errors.UsageError(f"'{output}' is no output; 'yaml' is the only one")
    api = common.cluster(kubeconfig, host_cluster_context)
    if output:
        common.dump_manifests(enabling.plan_enable(api, directive, namespace=kubefed_namespace))
        return
    known = enabling.enabled_types(api, namespace=kubefed_namespace)
    kinds = enabling.enable(api, directive, namespace=kubefed_namespace, dry_run=dry_run)
    done = "can be" if dry_run else "is"
    say(f"{kinds.name} {done} federated as {kinds.federated.kind} ({kinds.federated.group}).")
    if not dry_run and kinds.target not in [each.type.target for each in known]:
        warn(
            "members that joined before have no right to it; repeat kubefed join "
            "--error-on-existing=false for each"
        )


@reported
def disable(
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
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    dry_run: DryRun = False,
) -> None:
    """Stop federating a kind; what is in the members stays."""
    directive = _directive(filename, enabling.Directive(type_name or "", version, federated_group))
    api = common.cluster(kubeconfig, host_cluster_context)
    if dry_run:
        found = enabling.federated_type(api, directive.name, namespace=kubefed_namespace)
        say(f"{found.name} would no longer be federated.")
        return
    kinds = enabling.disable(
        api, directive.name, namespace=kubefed_namespace, delete_crd=delete_crd, force=force
    )
    say(f"{kinds.name} is no longer federated; what is in the members stays there.")


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
