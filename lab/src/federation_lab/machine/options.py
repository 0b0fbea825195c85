"""systemctl's command line. Pure."""

from __future__ import annotations

import dataclasses
import signal

_FLAGS = {
    "-q": "quiet", "--quiet": "quiet", "--now": "now", "--no-block": "no_block",
    "-a": "everything", "--all": "everything", "--value": "value",
    "--no-legend": "no_legend", "--legend=false": "no_legend", "--failed": "failed",
}  # fmt: skip
# Without any meaning here, but harmless.
_IGNORED = {
    "--no-pager", "--no-ask-password", "--system", "--full", "-l", "--plain", "--no-reload",
    "--force", "-f", "--no-wall", "--no-warn", "--show-types", "--wait",
}  # fmt: skip
_VALUES = {
    "-p": "properties", "--property": "properties", "-P": "only", "-t": "types",
    "--type": "types", "-n": "lines", "--lines": "lines", "-s": "signal", "--signal": "signal",
    "--state": "states", "--kill-who": "whom", "--kill-whom": "whom", "-o": "", "--output": "",
    "--job-mode": "",
}  # fmt: skip


class UsageError(ValueError):
    """A call that systemctl refuses."""


@dataclasses.dataclass
class Options:
    """A call, understood."""

    verb: str = "list-units"
    names: list[str] = dataclasses.field(default_factory=list[str])
    quiet: bool = False
    now: bool = False
    no_block: bool = False
    everything: bool = False
    value: bool = False
    no_legend: bool = False
    failed: bool = False
    properties: list[str] = dataclasses.field(default_factory=list[str])
    types: list[str] = dataclasses.field(default_factory=list[str])
    states: list[str] = dataclasses.field(default_factory=list[str])
    lines: int = 0
    signal: int = 0
    whom: str = "all"


def parse(arguments: list[str]) -> Options:
    """Understand systemctl's arguments.

    Raises:
        UsageError: an option that isn't known, or lacks its value.
    """
    options, words, rest = Options(), list[str](), list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            words += rest
            break
        if not argument.startswith("-"):
            words.append(argument)
        elif argument in _FLAGS:
            setattr(options, _FLAGS[argument], True)
        elif argument not in _IGNORED:
            _value(options, argument, rest)
    if words:
        options.verb, options.names = words[0], words[1:]
    return options


def _value(options: Options, argument: str, rest: list[str]) -> None:
    key, equals, value = argument.partition("=")
    if not argument.startswith("--") and key not in _VALUES:
        key, equals, value = argument[:2], "=", argument[2:]
    elif not argument.startswith("--"):
        equals = ""
    if key not in _VALUES:
        if _all_flags(argument):
            for letter in argument[1:]:
                if f"-{letter}" in _FLAGS:
                    setattr(options, _FLAGS[f"-{letter}"], True)
            return
        raise UsageError(f"systemctl: unrecognized option '{argument}'")
    if not equals:
        if not rest:
            raise UsageError(f"systemctl: option '{key}' requires an argument")
        value = rest.pop(0)
    _store(options, _VALUES[key], value)


def _all_flags(argument: str) -> bool:
    known = {*_FLAGS, *_IGNORED}
    return not argument.startswith("--") and all(f"-{letter}" in known for letter in argument[1:])


def _store(options: Options, name: str, value: str) -> None:
    if name in ("properties", "types", "states"):
        getattr(options, name).extend(value.split(","))
    elif name == "only":
        options.properties.extend(value.split(","))
        options.value = True
    elif name == "lines":
        options.lines = int(value) if value.isdigit() else 0
    elif name == "signal":
        options.signal = _signal(value)
    elif name == "whom":
        options.whom = value


def _signal(text: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        return int(signal.Signals[text if text.startswith("SIG") else f"SIG{text}"])
    except KeyError:
        raise UsageError(f"Failed to parse signal string {text}.") from None
