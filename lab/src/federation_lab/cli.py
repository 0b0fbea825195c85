"""The command `lab`: Juju's verbs, and the lab's own.

Juju's verbs go to `federation_lab.juju.cli` as they are, so that what drives `juju` drives `lab`.
"""

from __future__ import annotations

import sys

import typer

from federation_lab.errors import LabError

HELP = """The whole federation on one machine.

Juju's verbs (deploy, integrate, config, run, status, ...) work as with `juju`: `lab help-juju`
lists them.
"""


def main() -> None:
    """Run one command; errors are one line on standard error and exit status 1."""
    argv = sys.argv[1:]
    # Imported here: a Juju verb must not pay for the rest, and the other way round.
    from federation_lab.juju import cli as juju_cli
    from federation_lab.juju.errors import JujuError

    if argv[:1] == ["help-juju"]:
        raise SystemExit(juju_cli.main(["help"]))
    if argv and argv[0] in juju_cli.VERBS and not _is_the_labs(argv):
        raise SystemExit(juju_cli.main(argv))
    try:
        _application()()
    except (LabError, JujuError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from error


def _is_the_labs(argv: list[str]) -> bool:
    """Tell the lab's `exec REGION -- COMMAND` from Juju's `exec --unit UNIT -- COMMAND`."""
    return argv[0] == "exec" and len(argv) > 1 and not argv[1].startswith("-")


def _application() -> typer.Typer:
    from federation_lab.commands import look, standing, wan

    application = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
    for group in (standing.app, look.app, wan.app):
        application.add_typer(group)
    return application
