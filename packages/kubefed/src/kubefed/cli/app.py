"""The verbs put together."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from kubefed import overview
from kubefed.cli import clusters, common, objects, types
from kubefed.cli.common import HostContext, Kubeconfig, Namespace, OutputFormat, reported, say

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # A traceback with the values of variables would show tokens.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One Kubernetes API for many clusters.",
)
app.command()(clusters.init)
app.command()(clusters.uninstall)
app.command()(clusters.join)
app.command()(clusters.unjoin)
app.command()(types.enable)
app.command()(types.disable)
app.command()(objects.federate)
app.add_typer(objects.orphaning, name="orphaning-deletion")


@app.command()
@reported
def status(
    kubeconfig: Kubeconfig = None,
    host_cluster_context: HostContext = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    output: OutputFormat = common.DEFAULT_FORMAT,
) -> None:
    """Show clusters, types, and objects that are not where they should be (exit status 1)."""
    api = common.cluster(kubeconfig, host_cluster_context)
    found = overview.read(api, namespace=kubefed_namespace)
    if output is common.Format.TABLE:
        common.show(
            found.clusters, output, ["name", "ready", "version", "endpoint", "message"], "Clusters"
        )
        say("")
        common.show(
            found.types, output, ["name", "kind", "propagation", "running", "objects"], "Types"
        )
        say("")
        if found.problems:
            common.show(
                found.problems,
                output,
                ["object", "cluster", "reason", "explain"],
                "Not where they should be",
            )
        else:
            say("All objects are where they should be.")
    else:
        common.dump(common.plain_data(found), output)
    if not found.healthy:
        raise typer.Exit(common.EXIT_FAILED)


@app.command()
@reported
def controller(
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", help="Kubeconfig of the host cluster.")
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            "--host-cluster-context",
            help="Context of the host cluster; the current one unless given.",
        ),
    ] = None,
    kubefed_namespace: Namespace = common.KUBEFED_NAMESPACE,
    region_health: Annotated[
        Path | None,
        typer.Option(
            "--region-health",
            help="File that names the agents whose verdict counts; without it, own probes do.",
        ),
    ] = None,
    metrics_address: Annotated[
        str | None, typer.Option("--metrics-address", help="HOST:PORT of /metrics and /healthz.")
    ] = None,
) -> None:
    """Run the embedded controller until it is told to end."""
    # Only here: the other verbs needn't wait for what it imports.
    from kubefed.controller import manager

    raise typer.Exit(
        manager.run(
            manager.Options(
                kubeconfig=kubeconfig,
                context=context,
                namespace=kubefed_namespace,
                region_health=region_health,
                metrics_address=metrics_address,
            )
        )
    )


@app.command()
def version() -> None:
    """Show the version."""
    say(metadata.version("kubefed"))


def main() -> None:
    """Run the command."""
    app()
