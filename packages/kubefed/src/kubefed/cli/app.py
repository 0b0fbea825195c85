"""The verbs put together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kubefed import errors, overview
from kubefed.cli import clusters, common, objects, restoring, types
from kubefed.cli.common import Format, reported, say
from kubefed.cli.host import NAMESPACE, Host, Kubeconfig, Namespace, verb

# The base of what typer raises for flags, values and verbs that it doesn't know.
_WRONG_USAGE: type[Exception] = typer.BadParameter.__mro__[1]


class Verbs(TyperGroup):
    """The verbs; wrong usage is reported as any other failure is: in one line."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a verb."""
        given: Sequence[str] | None = args[0] if args else kwargs.pop("args", None)
        if not kwargs.pop("standalone_mode", True):
            return super().main(given, standalone_mode=False, **kwargs)
        try:
            kwargs["prog_name"] = "kubefed"
            words = common.go_flags(sys.argv[1:] if given is None else given)
            status = super().main(words, standalone_mode=False, **kwargs)
        except errors.UsageError as error:
            common.warn(f"error: {error}")
            sys.exit(common.EXIT_USAGE)
        except _WRONG_USAGE as error:
            # Without a verb, the help has been printed by now.
            if type(error).__name__ != "NoArgsIsHelpError":
                _explain(error)
            sys.exit(common.EXIT_USAGE)
        sys.exit(status if isinstance(status, int) else 0)


def _explain(error: Exception) -> None:
    context: Any = getattr(error, "ctx", None)
    where = context.command_path if context else "kubefed"
    text = " ".join(getattr(error, "format_message", error.__str__)().split())
    common.warn(f"error: {text.rstrip('.')}; see {where} --help")


app = typer.Typer(
    cls=Verbs,
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
app.command()(clusters.forget)
app.command()(types.enable)
app.command()(types.disable)
app.command()(objects.federate)
app.command()(restoring.backup)
app.command()(restoring.restore)
app.add_typer(objects.orphaning, name="orphaning-deletion")


@app.command()
@verb(changes=False)
def status(host: Host) -> None:
    """Show clusters, types, and objects that are not where they should be.

    Exit status: 0 all is well; 3 something is not, and the table says what; 1 or 75 (try again
    later) it could not be found out; 2 wrong usage.
    """
    _ = host.settings()
    found = overview.read(host.api, namespace=host.namespace)
    if host.output is Format.TABLE:
        common.table(
            [common.plain_data(each) for each in overview.rows(found)],
            ["what", "name", "where", "state", "explain"],
        )
    else:
        common.dump(common.plain_data(found) | {"healthy": found.healthy}, host.output)
    if not found.healthy:
        raise typer.Exit(common.EXIT_UNWELL)


@app.command()
@reported
def controller(
    kubeconfig: Kubeconfig = None,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            "--host-cluster-context",
            help="Context of the host cluster; the current one unless given.",
        ),
    ] = None,
    kubefed_namespace: Namespace = NAMESPACE,
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
def version(
    output_format: Annotated[
        Format, typer.Option("--format", help="How to print.")
    ] = Format.TABLE,
) -> None:
    """Show the version."""
    number = metadata.version("kubefed")
    if output_format is Format.TABLE:
        say(number)
    else:
        common.dump({"version": number}, output_format)


def main() -> None:
    """Run the command."""
    app()
