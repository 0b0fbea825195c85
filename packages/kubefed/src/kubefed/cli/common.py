"""What verbs print and read, and how they fail."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer
import yaml
from rich.console import Console
from rich.table import Table

from kubefed import errors
from kubefed.api import Manifest

_P = ParamSpec("_P")
_R = TypeVar("_R")

# The last is sysexits.h's: a failure that trying again may mend.
EXIT_FAILED, EXIT_USAGE, EXIT_UNWELL, EXIT_RETRY = 1, 2, 3, 75

_UNBROKEN = 400
# Flags that take no value, and whether they are on unless said.
_GO_FLAGS = {
    "--apply": False,
    "--contents": False,
    "--delete-crd": False,
    "--dry-run": False,
    "--enable-type": False,
    "--error-on-existing": True,
    "--force": False,
    "--overwrite": False,
    "--purge": False,
    "--rejoin": True,
    "--release-orphans": False,
    "--undo": False,
}
_MANIFESTS = frozenset({".yaml", ".yml", ".json"})


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def say(text: str) -> None:
    """Print a result or a step."""
    typer.echo(text)


def warn(text: str) -> None:
    """Print what the user should know, beside the result."""
    typer.echo(f"kubefed: {text}", err=True)


def reported(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a verb print its failure as one line and exit by what is to be done about it."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except errors.KubefedError as error:
            warn(f"error: {' '.join(str(error).split())}")
            raise typer.Exit(exit_status(error)) from error

    return run


def exit_status(error: errors.KubefedError) -> int:
    """Give the exit status for a failure: 2 wrong usage, 75 try again, 1 all else."""
    if isinstance(error, errors.UsageError):
        return EXIT_USAGE
    return EXIT_RETRY if isinstance(error, errors.RetryLater) else EXIT_FAILED


def go_flags(words: Iterable[str]) -> list[str]:
    """Read the flags that Go's programs also take with a value (`--dry-run=true`).

    Args:
        words: the command line.

    Raises:
        errors.UsageError: the value is neither true nor false.
    """
    known = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    found: list[str] = []
    for word in words:
        flag, sign, value = word.partition("=")
        if not sign or flag not in _GO_FLAGS:
            found.append(word)
        elif value.lower() not in known:
            raise errors.UsageError(f"{flag} is either true or false, not '{value}'")
        elif known[value.lower()]:
            found.append(flag)
        elif _GO_FLAGS[flag]:
            found.append(f"--no-{flag.removeprefix('--')}")
    return found


def only_yaml(output: str | None) -> None:
    """Refuse a value of kubefedctl's `--output` other than its only one."""
    if output not in (None, "yaml"):
        raise errors.UsageError(f"'{output}' is no output; 'yaml' is the only one")


def table(rows: Iterable[dict[str, Any]], columns: Iterable[str]) -> None:
    """Print some columns of rows."""
    names = list(columns)
    grid = Table(box=None, pad_edge=False)
    for name in names:
        grid.add_column(name.upper().replace("_", "-"), overflow="fold")
    for row in rows:
        grid.add_row(*(_cell(row.get(name)) for name in names))
    console = Console()
    if not console.is_terminal:
        # Nobody's screen, so nothing is broken into several lines.
        console.width = _UNBROKEN
    console.print(grid)


def dump(data: object, output: Format) -> None:
    """Print data as JSON or YAML."""
    if output is Format.JSON:
        say(json.dumps(data, indent=2))
    else:
        say(yaml.safe_dump(data, sort_keys=False).rstrip())


def dump_manifests(manifests: Iterable[Manifest], output: Format = Format.TABLE) -> None:
    """Print objects as kubectl reads them: YAML documents, or a List in JSON."""
    if output is Format.JSON:
        dump({"apiVersion": "v1", "kind": "List", "items": list(manifests)}, output)
    else:
        say(yaml.safe_dump_all(list(manifests), sort_keys=False).rstrip())


def plain_data(value: Any) -> Any:
    """Make data that JSON can hold of dataclasses and dates."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain_data(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {str(name): plain_data(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def read_text(path: Path) -> str:
    """Read a file, all manifests of a directory, or standard input for "-"."""
    try:
        if str(path) == "-":
            return typer.get_text_stream("stdin").read()
        if path.is_dir():
            files = sorted(each for each in path.iterdir() if each.suffix in _MANIFESTS)
            return "\n---\n".join(each.read_text("utf-8") for each in files)
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UsageError(f"cannot read {path}: {error}") from error


def read_bytes(path: Path) -> bytes:
    """Read a file, or standard input for "-"."""
    try:
        return typer.get_binary_stream("stdin").read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise errors.UsageError(f"cannot read {path}: {error}") from error


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone reads, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # Unlike a rename, it fails where there is one of that name.
            os.link(part, path)
        finally:
            part.unlink()
    except FileExistsError as error:
        raise errors.UsageError(
            f"{path} is there already, and no file is written over; give another name"
        ) from error
    except OSError as error:
        raise errors.UsageError(f"cannot write {path}: {error}") from error


def _cell(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ",".join(f"{name}={each}" for name, each in sorted(value.items()))
    return str(value)
