"""How a hook tool's command line is read and its answer printed. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from federation_lab.juju.errors import ToolError


@dataclass(frozen=True)
class Call:
    """One call of a hook tool, its command line taken apart."""

    tool: str
    arguments: tuple[str, ...]
    options: Mapping[str, str]
    flags: frozenset[str]
    files: Mapping[str, str] = field(default_factory=dict[str, str])

    def option(self, *names: str) -> str:
        """An option's value under any of its names, or the empty text."""
        return next((self.options[n] for n in names if n in self.options), "")

    def flag(self, *names: str) -> bool:
        """Whether a flag was given."""
        return any(name in self.flags for name in names)


@dataclass(frozen=True)
class Shape:
    """What a tool's command line may have."""

    options: frozenset[str] = frozenset()
    """Those that take a value."""
    flags: frozenset[str] = frozenset()


_TRUE = {"true", "1", "t"}
_FALSE = {"false", "0", "f"}


def parse(
    tool: str, arguments: Sequence[str], shape: Shape, files: Mapping[str, str] | None = None
) -> Call:
    """Takes a command line apart as Juju's flag reader does: options anywhere, ``--`` ends them.

    Raises:
        ToolError: An unknown option or one without its value; exit code 2.
    """
    plain: list[str] = []
    options: dict[str, str] = {}
    flags: set[str] = set()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            plain += rest
            break
        if not word.startswith("-") or word == "-":
            plain.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in shape.flags:
            lowered = value.lower()
            if equals and lowered not in _TRUE | _FALSE:
                raise ToolError(f'invalid boolean value "{value}" for  --{name}', 2)
            if not equals or lowered in _TRUE:
                flags.add(name)
        elif name in shape.options:
            if not equals:
                if not rest:
                    raise ToolError(f"option needs an argument: --{name}", 2)
                value = rest.pop(0)
            options[name] = value
        else:
            dashes = "--" if len(name) > 1 else "-"
            raise ToolError(f"option provided but not defined: {dashes}{name}", 2)
    return Call(tool, tuple(plain), options, frozenset(flags), files or {})


def pairs(words: Sequence[str]) -> dict[str, str]:
    """``key=value`` words as a mapping.

    Raises:
        ToolError: One is no such word.
    """
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ToolError(f'expected "key=value", got "{word}"', 2)
        found[key] = value
    return found


def mapping_of(text: str) -> dict[str, str]:
    """A YAML or JSON mapping of texts, as ``--file`` takes.

    Raises:
        ToolError: It is none.
    """
    try:
        loaded: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ToolError(f"cannot parse file: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ToolError("expected a mapping of keys to text in file")
    return {
        str(k): "" if v is None else v if isinstance(v, str) else json.dumps(v)
        for k, v in cast("dict[object, object]", loaded).items()
    }


def render(value: Any, style: str) -> str:
    """An answer as ``--format`` asks: json, yaml or smart.

    Raises:
        ToolError: There is no such format.
    """
    if style == "json":
        return json.dumps(value) + "\n"
    if style == "yaml" or (style in {"", "smart"} and isinstance(value, dict)):
        return yaml.safe_dump(value, default_flow_style=False)
    if style not in {"", "smart"}:
        raise ToolError(
            f'invalid value "{style}" for option --format: unknown format "{style}"', 2
        )
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"{value}\n"
    if isinstance(value, list):
        return "".join(f"{item}\n" for item in cast("list[object]", value))
    return f"{value}\n" if value != "" else ""
