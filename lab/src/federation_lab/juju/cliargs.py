"""Reading command lines and printing answers, for all verbs alike."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from federation_lab.juju.errors import JujuError, UsageError

Namespace = argparse.Namespace
_TEXT = "tag:yaml.org,2002:str"


class Parser(argparse.ArgumentParser):
    """A parser that raises where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        """Refuses the command line."""
        raise UsageError(message)


@dataclass(frozen=True)
class Command:
    """One verb.

    Attributes:
        summary: What it does, in a line.
        build: Adds its arguments.
        run: Does it; answers the exit code.
        model: Whether it takes ``-m``.
        formats: The output formats, the default first; none if it has no output to format.
        interspersed: Whether options may stand behind arguments; else those are the arguments'.
    """

    summary: str
    build: Callable[[Parser], object]
    run: Callable[[Namespace], int]
    model: bool = True
    formats: tuple[str, ...] = ()
    interspersed: bool = True

    def parser(self, verb: str) -> Parser:
        """The parser of this verb."""
        parser = Parser(prog=verb, description=self.summary, add_help=False, allow_abbrev=False)
        if self.model:
            parser.add_argument("-m", "--model", default="", help="the model to work in")
        if self.formats:
            parser.add_argument(
                "--format", default=self.formats[0], choices=self.formats, help="output format"
            )
            parser.add_argument("-o", "--output", default="", help="write to a file")
        parser.add_argument("-q", "--quiet", action="store_true", help=argparse.SUPPRESS)
        parser.add_argument("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)
        self.build(parser)
        return parser

    def parse(self, verb: str, argv: Sequence[str]) -> Namespace:
        """Takes a command line apart; behind ``--`` no option is one.

        Raises:
            UsageError: It is wrong.
        """
        words = list(argv)
        rest: list[str] = []
        if "--" in words:
            place = words.index("--")
            words, rest = words[:place], words[place + 1 :]
        parser = self.parser(verb)
        # Negative numbers and texts such as -5 are values here, never options.
        parse = parser.parse_intermixed_args if self.interspersed else parser.parse_args
        space = parse(words)
        space.rest = rest
        return space

    def help_text(self, verb: str) -> str:
        """What ``--help`` prints."""
        return self.parser(verb).format_help()


def list_of(text: str) -> list[str]:
    """A list written with commas."""
    return [part for part in text.split(",") if part]


def key_values(words: Sequence[str], *, files: bool = True) -> dict[str, str]:
    """``key=value`` words; ``key=@file`` reads the file.

    Raises:
        UsageError: A word is none.
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f'expected "key=value", got "{word}"')
        if files and value.startswith("@"):
            try:
                value = Path(value[1:]).read_text(encoding="utf-8")
            except OSError as error:
                raise JujuError(f"cannot read option from file: {error}") from error
        found[key] = value
    return found


def read_yaml(path: str) -> dict[str, Any]:
    """A YAML mapping in a file, ``-`` for standard input.

    Raises:
        JujuError: It cannot be read or is no mapping.
    """
    import yaml

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        loaded: object = yaml.safe_load(text)
    except (OSError, yaml.YAMLError) as error:
        raise JujuError(f"cannot read {path}: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise JujuError(f"{path}: expected a mapping")
    return cast("dict[str, Any]", loaded)


def config_words(words: Sequence[str], app: str = "") -> dict[str, Any]:
    """``--config`` values: ``key=value``, ``key=@file``, or a YAML file, keyed by application."""
    found: dict[str, Any] = {}
    for word in words:
        if "=" in word:
            found |= key_values([word])
        else:
            loaded = read_yaml(word)
            inner = loaded.get(app)
            found |= cast("dict[str, Any]", inner) if isinstance(inner, dict) else loaded
    return found


def render(value: Any, style: str) -> str:
    """A value as JSON, or as YAML with the quotes of Juju's."""
    if style == "json":
        return json.dumps(value) + "\n"
    import yaml

    class Dumper(yaml.SafeDumper):
        """Texts of several lines as they are; in double quotes what would be a number, say."""

    def text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
        plain = dumper.resolve(yaml.ScalarNode, data, (True, False)) == _TEXT
        style = "|" if "\n" in data else None if plain else '"'
        return dumper.represent_scalar(_TEXT, data, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(value, Dumper=Dumper, default_flow_style=False, sort_keys=False)


def emit(space: Namespace, value: Any, tabular: Callable[[], str]) -> int:
    """Prints an answer in the format that was asked for."""
    style = str(space.format)
    text = render(value, style) if style in {"json", "yaml"} else tabular()
    if getattr(space, "output", ""):
        Path(space.output).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


def say(text: str) -> None:
    """Tells the operator something that no program reads."""
    sys.stderr.write(text + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns, as wide as they need to be."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )
