"""What the verbs on a federation share: options, answers, failures."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from kubernetes import config
from kubernetes.client import ApiClient

from kubefed import clients, dryrun, errors, install
from kubefed.api import DEFAULT_NAMESPACE, KubeFedConfig
from kubefed.cli import common
from kubefed.cli.common import Format
from kubefed.clients import Resources

Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="Kubeconfig; $KUBECONFIG or ~/.kube/config unless given."),
]
Namespace = Annotated[str, typer.Option("--kubefed-namespace", help="The federation's namespace.")]
NAMESPACE = DEFAULT_NAMESPACE


@dataclasses.dataclass(frozen=True)
class Host:
    """The host cluster as the options name it, and how its verb is to answer.

    Attributes:
        kubeconfig: the file; None for the usual one.
        context: the host's context; None for the file's current one.
        namespace: the federation's namespace.
        output: how to print.
        dry_run: whether everything is only checked.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = NAMESPACE
    output: Format = Format.TABLE
    dry_run: bool = False

    @functools.cached_property
    def api(self) -> ApiClient:
        """The host cluster's client."""
        return clients.from_kubeconfig(self.kubeconfig, self.context)

    @property
    def objects(self) -> Resources:
        """The host cluster's objects; in a dry run they can't be changed."""
        return Resources(self.api, dry_run=self.dry_run)

    def cluster(self, context: str) -> ApiClient:
        """Give the client of another cluster of the kubeconfig."""
        return clients.from_kubeconfig(self.kubeconfig, context)

    def settings(self) -> KubeFedConfig:
        """Give the federation's settings.

        Raises:
            errors.NotInstalled: the host has no federation.
        """
        found = install.settings(self.objects, self.namespace)
        if found is None:
            raise errors.NotInstalled(
                f"{self.api.configuration.host} has no federation in namespace {self.namespace}; "
                "install it first with kubefed init, or correct --kubefed-namespace or "
                "--host-cluster-context"
            )
        return found

    def entry(self) -> dict[str, Any]:
        """Give the kubeconfig's entry of the host's context.

        Raises:
            errors.UsageError: there is no such kubeconfig or context.
        """
        path = str(self.kubeconfig) if self.kubeconfig else None
        try:
            known: tuple[list[Any], Any] = config.list_kube_config_contexts(path)
        except (config.ConfigException, OSError) as error:
            raise errors.UsageError(f"cannot read the kubeconfig: {error}") from error
        entries, current = known
        return dict(next((each for each in entries if each["name"] == self.context), current))

    def default_namespace(self) -> str:
        """Give the namespace of the host's context, as kubectl takes it where none is named."""
        return str((self.entry().get("context") or {}).get("namespace") or "default")

    def answer(self, text: str, **facts: object) -> None:
        """Print a verb's result: sentences for a person, the facts for a program.

        Args:
            text: the result in a sentence.
            facts: the result for a program.
        """
        steps = dryrun.current_plan().steps if self.dry_run else []
        if self.output is Format.TABLE:
            for step in steps:
                common.say(f"would {step}")
            common.say(text)
        else:
            dry: dict[str, object] = {"would": steps} if self.dry_run else {}
            common.dump(common.plain_data({**facts, "dry_run": self.dry_run, **dry}), self.output)


def verb(
    command: Callable[..., None] | None = None, *, changes: bool = True
) -> Callable[..., Any]:
    """Make a verb of a function: give it the shared options, and report its failure in one line.

    The function's first parameter is the `Host` that the options make.

    Args:
        command: the function.
        changes: whether the verb changes anything, so that `--dry-run` means something.
    """
    if command is None:
        return functools.partial(verb, changes=changes)
    function = command
    shared = dict(inspect.signature(_options).parameters)
    if not changes:
        del shared["dry_run"]

    def run(**arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in shared}
        host = Host(
            kubeconfig=options["kubeconfig"],
            context=options["host_cluster_context"],
            namespace=options["kubefed_namespace"],
            output=options["output_format"],
            dry_run=options.get("dry_run", False),
        )
        with dryrun.planned():
            function(host, **arguments)

    # Typer reads the options from the signature.
    hints = get_type_hints(function, include_extras=True)
    hints |= get_type_hints(_options, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    parameters = [
        each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for each in [*own, *shared.values()]
    ]
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return common.reported(run)


def _options(
    kubeconfig: Kubeconfig = None,
    host_cluster_context: Annotated[
        str | None,
        typer.Option(
            "--host-cluster-context",
            help="Context of the host cluster; the current one unless given.",
        ),
    ] = None,
    kubefed_namespace: Namespace = NAMESPACE,
    output_format: Annotated[
        Format, typer.Option("--format", help="How to print.")
    ] = Format.TABLE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; check it, change nothing.")
    ] = False,
    verbosity: Annotated[
        int, typer.Option("--v", "-v", hidden=True, help="kubefedctl's log level; no effect.")
    ] = 0,
) -> None:
    """The options that all verbs share."""
