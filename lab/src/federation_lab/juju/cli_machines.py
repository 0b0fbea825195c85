"""Verbs that reach into machines: ssh and scp."""

import argparse
import subprocess

from federation_lab.juju.cliargs import Command, Namespace, Parser
from federation_lab.juju.client import call
from federation_lab.juju.errors import JujuError, UsageError
from federation_lab.machine.boot import LOGIN_HOMES

DEFAULT_USER = "ubuntu"


def _reach_args(parser: Parser) -> None:
    parser.add_argument("--container", default="")
    parser.add_argument("--no-host-key-checks", action="store_true")
    parser.add_argument("--proxy", action="store_true")


def _ssh_args(parser: Parser) -> None:
    _reach_args(parser)
    parser.add_argument("--pty", default="", help="taken, and of no effect: the lab makes none")
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, help="[user@]unit or machine, then a command"
    )


def _ssh(space: Namespace) -> int:
    words: list[str] = [*space.words, *space.rest]
    if not words:
        raise UsageError("no target name specified")
    machine, home = _login(space.model, words[0])
    # As ssh does: the words are a line for the shell there, which begins at the user's home.
    shell = ["/bin/bash", "-c", " ".join(words[1:])] if words[1:] else ["/bin/bash", "-l"]
    inside = ["/usr/bin/env", "-C", home, f"HOME={home}", *shell]
    return subprocess.run([*machine["command"], *inside], check=False).returncode


def _scp_args(parser: Parser) -> None:
    _reach_args(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, help="files, then where they go")


def _scp(space: Namespace) -> int:
    words: list[str] = [*space.words, *space.rest]
    options = [word for word in words if word.startswith("-")]
    paths = [_path(space.model, word) for word in words if not word.startswith("-")]
    if len(paths) < 2:
        raise UsageError("at least two arguments required")
    recursive = ["-r"] if any("r" in word for word in options) else []
    return subprocess.run(["cp", *recursive, "--", *paths], check=False).returncode


def _path(model: str, text: str) -> str:
    """The host's path of a file that is here, or ``[user@]target:path`` in a machine."""
    target, colon, path = text.partition(":")
    if not colon:
        return text
    machine, home = _login(model, target)
    return machine["root"] + (path if path.startswith("/") else f"{home}/{path}")


def _login(model: str, target: str) -> tuple[dict[str, str], str]:
    """A machine, and the home of who logs in there.

    Raises:
        JujuError: The machine does not run, or has no such user.
    """
    user, _, name = target.rpartition("@")
    home = LOGIN_HOMES.get(user or DEFAULT_USER)
    if home is None:
        raise JujuError(f'no user "{user}" on a machine of the lab; it has '
                        f"{', '.join(LOGIN_HOMES)}")  # fmt: skip
    return call("machine", model=model, target=name), home


COMMANDS = {
    "ssh": Command(
        "Opens a shell in a unit's machine, or runs a command.",
        _ssh_args,
        _ssh,
        interspersed=False,
    ),
    "scp": Command(
        "Copies files to or from a unit's machine.", _scp_args, _scp, interspersed=False
    ),
}
