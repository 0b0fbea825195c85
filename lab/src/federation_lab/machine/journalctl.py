"""journalctl: reads the units' files."""

from __future__ import annotations

import fnmatch
import os
import sys
import time
from collections.abc import Callable

from federation_lab.machine import journal
from federation_lab.machine.loader import full_name

FOLLOW_EVERY_S = 0.2
_IGNORED = {
    "--no-pager", "-x", "--catalog", "-q", "--quiet", "-b", "--boot", "--no-hostname", "-l",
    "--full", "-a", "--all", "--system", "--utc", "-xe", "-m", "--merge",
}  # fmt: skip


class Options:
    """A call, understood."""

    def __init__(self) -> None:
        self.units: list[str] = []
        self.count: int | None = None
        self.follow = False
        self.reverse = False
        self.output = "short"


def parse(arguments: list[str]) -> Options:
    """Understand journalctl's arguments.

    Raises:
        ValueError: one that isn't known.
    """
    options, rest = Options(), list(arguments)
    while rest:
        argument = rest.pop(0)
        key, _, value = argument.partition("=")
        if not argument.startswith("--") and argument[:2] in ("-u", "-n", "-o"):
            key, value = argument[:2], argument[2:]
        if key in ("-u", "--unit", "-xeu"):
            options.units.append(full_name(value or _next(rest, key)))
        elif key in ("-n", "--lines"):
            text = value or (rest.pop(0) if rest and not rest[0].startswith("-") else "10")
            options.count = None if text == "all" else int(text)
        elif key in ("-o", "--output"):
            options.output = value or _next(rest, key)
        elif argument in ("-f", "--follow"):
            options.follow = True
        elif argument in ("-r", "--reverse"):
            options.reverse = True
        elif argument in ("-e", "--pager-end"):
            options.count = options.count or 1000
        elif argument not in _IGNORED:
            raise ValueError(f"journalctl: unrecognized option '{argument}'")
    return options


def _next(rest: list[str], key: str) -> str:
    if not rest:
        raise ValueError(f"journalctl: option '{key}' requires an argument")
    return rest.pop(0)


def shown(line: str, output: str) -> str:
    """Give a line in the asked form: with its time, or as the service wrote it."""
    return line.partition(": ")[2] if output == "cat" else line


def files(options: Options, directory: str = journal.DIRECTORY) -> list[str]:
    """List the files that a call reads."""
    try:
        names = sorted(n.removesuffix(".log") for n in os.listdir(directory) if n.endswith(".log"))
    except OSError:
        return []
    if options.units:
        names = [n for n in names if any(fnmatch.fnmatch(n, unit) for unit in options.units)]
    return [os.path.join(directory, f"{name}.log") for name in names]


def main(arguments: list[str], sleep: Callable[[float], None] = time.sleep) -> int:
    """Be journalctl."""
    try:
        options = parse(arguments)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    paths = files(options)
    sizes = {path: os.path.getsize(path) for path in paths}
    lines = journal.read(paths)
    count = 10 if options.follow and options.count is None else options.count
    if count is not None:
        lines = lines[-count:] if count else []
    if options.reverse:
        lines.reverse()
    if not lines and not options.follow:
        sys.stdout.write("-- No entries --\n")
    for line in lines:
        sys.stdout.write(shown(line, options.output) + "\n")
    sys.stdout.flush()
    while options.follow:
        sleep(FOLLOW_EVERY_S)
        _follow(options, sizes)
    return 0


def _follow(options: Options, sizes: dict[str, int]) -> None:
    """Write what came since; a file that became shorter was begun anew."""
    for path in files(options):
        size, before = os.path.getsize(path), sizes.get(path, 0)
        if size == before:
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            file.seek(before if size > before else 0)
            text = file.read()
        # A half-written line waits for its end.
        whole = text[: text.rfind("\n") + 1]
        sizes[path] = (before if size > before else 0) + len(whole.encode())
        for line in whole.splitlines():
            sys.stdout.write(shown(line, options.output) + "\n")
    sys.stdout.flush()
