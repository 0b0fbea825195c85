"""``/usr/bin/juju-exec`` in a machine: has a command run in the hook context of one of its units.

It speaks to the unit's agent over the hook tools' socket, which is at the same place in every
machine. What Juju's own program refuses is refused here in the same words.
"""

# ruff: noqa: T201
import _socket
import os
import re
import shlex
import sys
from dataclasses import dataclass

from federation_lab.juju import toolclient

AGENTS = "/var/lib/juju/agents"
TOOL = "juju-exec"
_UNIT = re.compile(r"([a-z][a-z0-9]*(?:-[a-z0-9]*[a-z][a-z0-9]*)*)/(0|[1-9][0-9]*)")
_TAG = re.compile(r"unit-(.+)-([0-9]+)")
# Of the options of Juju's the lab has none that leave the unit's own context.
_ABSENT = ("--no-context", "-r", "--relation", "--remote-unit", "--remote-app",
           "--force-remote-unit", "--operator")  # fmt: skip


class UsageError(ValueError):
    """A call that is refused."""


@dataclass(frozen=True)
class Call:
    """A call, understood."""

    unit: str
    command: str


def parse(words: list[str], agents: list[str], context: str) -> Call:
    """Understands a call.

    Args:
        words: The command line.
        agents: Names in the agents' folder of this machine.
        context: The hook context that it is called from, empty outside hooks.

    Raises:
        UsageError: It is refused.
    """
    if context:
        raise UsageError(f'{TOOL} cannot be called from within a hook, have context "{context}"')
    explicit, rest = _options(words)
    if explicit is None:
        if not rest:
            raise UsageError("missing unit-name")
        unit = unit_of(rest[0])
        rest = rest[1:] if unit else rest
        unit = unit or _only(agents, f'"{words[0]}" is not a valid tag')
    else:
        unit = unit_of(explicit) if explicit else _only(agents, "no unit")
        if not unit:
            raise UsageError(f'"{explicit}" is not a valid tag')
    if not rest:
        raise UsageError("missing commands")
    # One word is a line for the shell; of several each stays a word.
    return Call(unit, rest[0] if len(rest) == 1 else shlex.join(rest))


def _options(words: list[str]) -> tuple[str | None, list[str]]:
    """What ``-u`` says, if it is there, and the words after all options."""
    explicit: str | None = None
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option == "--":
            break
        if option in _ABSENT:
            raise UsageError(f"{TOOL} {option} is not there in the lab")
        if option not in {"-u", "--u"}:
            raise UsageError(f"option provided but not defined: {option}")
        if not equals and not rest:
            raise UsageError(f"option needs an argument: {option}")
        explicit = value if equals else rest.pop(0)
    return explicit, rest


def unit_of(text: str) -> str:
    """A unit's name by its name or tag; empty if it is neither."""
    if _UNIT.fullmatch(text):
        return text
    tag = _TAG.fullmatch(text)
    name = f"{tag[1]}/{tag[2]}" if tag else ""
    return name if _UNIT.fullmatch(name) else ""


def _only(agents: list[str], otherwise: str) -> str:
    units = [unit for unit in map(unit_of, agents) if unit]
    if len(units) != 1:
        raise UsageError(otherwise)
    return units[0]


def main(words: list[str]) -> int:
    """One call.

    Returns:
        The command's exit code; 2 for a call that is refused, 1 if the agent is not reached.
    """
    try:
        there = os.listdir(AGENTS)
    except OSError:
        there = []
    try:
        call = parse(words, there, os.environ.get("JUJU_CONTEXT_ID", ""))
    except UsageError as error:
        print(f"ERROR {error}", file=sys.stderr)
        return 2
    tag = f"unit-{call.unit.replace('/', '-')}"
    if tag not in there:
        print(f'ERROR unit "{call.unit}" not found on this machine', file=sys.stderr)
        return 1
    try:
        code, out, err = ask(f"{AGENTS}/{tag}/agent.socket", call.command)
    except OSError as error:
        print(f"ERROR dialing juju run socket: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(out)
    sys.stderr.buffer.write(err)
    return code


def ask(address: str, command: str) -> tuple[int, bytes, bytes]:
    """Has an agent run a command, and waits for its end.

    Returns:
        Exit code, standard output, standard error.

    Raises:
        OSError: The agent is not reached, or went away.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(address)
        words = [TOOL.encode(), command.encode("utf-8", "surrogateescape")]
        # No context: it is this call that asks for one.
        connection.sendall(toolclient.frames([b"", str(len(words)).encode(), *words]))
        toolclient.number(connection)
        code, out, err = (
            toolclient.read(connection, toolclient.number(connection)) for _ in range(3)
        )
    finally:
        connection.close()
    return int(code), out, err
