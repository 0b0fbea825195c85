"""`sudo` of a machine, where everybody who logs in is root: another user, or the command as it is.

It runs inside, without anything but the standard library.
"""

from __future__ import annotations

import os
import pwd
import sys

SHELL = "/bin/bash"
# Nothing to ask for, and the environment is the machine's own anyway.
_OF_NO_EFFECT = frozenset({"-n", "-E", "-H", "-S", "-A", "-b", "--"})


class SudoUsageError(Exception):
    """The command line is wrong, or names a user who isn't there."""


def parse(arguments: list[str]) -> tuple[str, dict[str, str], list[str]]:
    """Give the user, the variables to set, and the command; none: a shell.

    Raises:
        SudoUsageError: an option that isn't known here, or without its value.
    """
    words, user, shell = list(arguments), "root", False
    while words and words[0].startswith("-"):
        option = words.pop(0)
        name, equals, value = option.partition("=")
        if name in {"-u", "--user"}:
            if not equals and not words:
                raise SudoUsageError(f"option {name} requires an argument")
            user = value if equals else words.pop(0)
        elif option in {"-i", "-s"}:
            shell = True
        elif option not in _OF_NO_EFFECT:
            raise SudoUsageError(f"option {option} is not known to the lab's sudo")
        if option == "--":
            break
    variables: dict[str, str] = {}
    while words and "=" in words[0].partition("/")[0]:
        name, _, variables[name] = words.pop(0).partition("=")
    if shell and words:
        words = [SHELL, "-c", " ".join(words)]
    if not words and not shell:
        raise SudoUsageError("a command is required")
    return user, variables, words or [SHELL, "-l"]


def main(arguments: list[str]) -> int:
    """Become the user and run the command; returns only if it can't be run."""
    command = arguments
    try:
        user, variables, command = parse(arguments)
        try:
            entry = pwd.getpwnam(user)
        except KeyError as error:
            raise SudoUsageError(f"unknown user {user}") from error
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        environment = {**os.environ, **variables, "HOME": entry.pw_dir, "SUDO_USER": "ubuntu"}
        os.execvpe(command[0], command, environment)  # noqa: S606
    except SudoUsageError as error:
        sys.stderr.write(f"sudo: {error}\n")
    except FileNotFoundError:
        sys.stderr.write(f"sudo: {command[0]}: command not found\n")
    except OSError as error:
        sys.stderr.write(f"sudo: {error.strerror}\n")
    return 1
