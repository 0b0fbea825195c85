"""The command line with Juju's verbs."""

import importlib
import sys
from typing import TYPE_CHECKING

from federation_lab.juju.errors import JujuError, UsageError

if TYPE_CHECKING:
    from federation_lab.juju.cliargs import Command

_MODULES: dict[str, tuple[str, ...]] = {
    "cli_apps": (
        "deploy", "refresh", "config", "add-unit", "remove-unit", "remove-application",
        "expose", "unexpose", "trust", "resolved",
    ),
    "cli_relations": (
        "integrate", "relate", "remove-relation", "suspend-relation", "resume-relation",
        "offer", "offers", "find-offers", "show-offer", "remove-offer", "consume", "remove-saas",
    ),
    "cli_models": (
        "add-model", "destroy-model", "models", "show-model", "switch", "model-config",
        "version", "whoami", "controllers", "show-controller", "clouds", "regions",
        "add-credential", "credentials", "add-cloud", "model-constraints", "help",
    ),
    "cli_tasks": (
        "run", "run-action", "exec", "actions", "show-task", "show-operation", "operations",
        "cancel-task",
    ),
    "cli_machines": ("ssh", "scp"),
    "cli_look": ("status", "show-unit", "show-application", "show-status-log", "debug-log"),
    "cli_secrets": (
        "secrets", "show-secret", "add-secret", "update-secret", "grant-secret",
        "revoke-secret", "remove-secret",
    ),
}  # fmt: skip

VERBS: frozenset[str] = frozenset(verb for verbs in _MODULES.values() for verb in verbs)
"""What ``main`` understands."""


def find(verb: str) -> "Command":
    """The command of a verb, its module loaded only now.

    Raises:
        UsageError: There is none.
    """
    for module, verbs in _MODULES.items():
        if verb in verbs:
            loaded = importlib.import_module(f"federation_lab.juju.{module}")
            return loaded.COMMANDS[verb]
    raise UsageError(f'"{verb}" is not a juju command. See "help" for those that there are')


_UNITS = {"-u", "--unit", "-a", "--app", "--application", "--all"}


def is_region_form(argv: list[str]) -> bool:
    """Whether this is the lab's own ``exec REGION -- COMMAND`` and not Juju's ``exec``."""
    if argv[0] != "exec" or len(argv) < 3 or argv[1].startswith("-"):
        return False
    marked = "--" in argv
    options = {word.partition("=")[0] for word in argv[: argv.index("--") if marked else None]}
    # Both forms have --machine; Juju's has its command in front of it, the lab's behind a mark.
    return not options & (_UNITS if marked else {*_UNITS, "--machine"})


def _in_region(argv: list[str]) -> int:
    from federation_lab.commands import wan

    try:
        wan.app(args=argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def main(argv: list[str]) -> int:
    """One command.

    Args:
        argv: The verb and its arguments.

    Returns:
        The exit code: 0, 1 when it was refused, 2 when the command line is wrong.
    """
    try:
        if not argv:
            raise UsageError('no command given. See "help" for those that there are')
        if is_region_form(argv):
            return _in_region(argv)
        command = find(argv[0])
        if {"-h", "--help"} & set(argv[1 : argv.index("--") if "--" in argv else None]):
            sys.stdout.write(command.help_text(argv[0]))
            return 0
        return command.run(command.parse(argv[0], argv[1:]))
    except JujuError as error:
        sys.stderr.write(f"ERROR {error.message}\n")
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has seen enough; nothing may be flushed at exit.
        sys.stdout = None
        return 0
    except Exception as error:
        from federation_lab.errors import LabError

        if not isinstance(error, LabError):
            raise
        sys.stderr.write(f"ERROR {error}\n")
        return 1
