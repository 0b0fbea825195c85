"""The grammar of unit files: sections, quoting, time spans, specifiers. Pure."""

from __future__ import annotations

# section -> key -> values in their order
Sections = dict[str, dict[str, list[str]]]

_SPANS = {
    "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3,
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "": 1.0,
    "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "w": 604800.0, "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "s": " ",
}  # fmt: skip


class UnitFileError(ValueError):
    """A unit file says something that cannot be understood."""


def parse(text: str) -> Sections:
    """Read one unit file."""
    sections: Sections = {}
    current: dict[str, list[str]] | None = None
    for line in _joined(text):
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1], {})
        elif "=" in line and current is not None:
            key, _, value = line.partition("=")
            current.setdefault(key.strip(), []).append(value.strip())
        else:
            raise UnitFileError(f"neither a section nor an assignment: {line!r}")
    return sections


def _joined(text: str) -> list[str]:
    """Give the lines without comments, those that a backslash continues made one."""
    lines: list[str] = []
    pending = ""
    for raw in text.splitlines():
        line = raw.strip()
        # A comment may stand between the parts of a continued line.
        if line.startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
        elif pending or line:
            lines.append((pending + line).strip())
            pending = ""
    if pending:
        lines.append(pending.strip())
    return [line for line in lines if line]


def merge(base: Sections, more: Sections) -> Sections:
    """Lay a drop-in over a unit; `resolved` makes an empty assignment forget what was before."""
    merged = {section: {k: list(v) for k, v in keys.items()} for section, keys in base.items()}
    for section, keys in more.items():
        target = merged.setdefault(section, {})
        for key, values in keys.items():
            target.setdefault(key, []).extend(values)
    return merged


def resolved(values: list[str]) -> list[str]:
    """Give the values of a list setting: an empty one forgets those before it."""
    found: list[str] = []
    for value in values:
        if value:
            found.append(value)
        else:
            found.clear()
    return found


def split(text: str) -> list[str]:
    """Split into words as systemd does: quotes group, backslashes escape.

    Raises:
        UnitFileError: a quote is left open.
    """
    words: list[str] = []
    word: list[str] = []
    quote, started, position = "", False, 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            character, position = _escape(text, position)
            word.append(character)
            started = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in "\"'" and not word:
            quote, started = character, True
        elif character.isspace():
            if started:
                words.append("".join(word))
            word, started = [], False
        else:
            word.append(character)
            started = True
    if quote:
        raise UnitFileError(f"a quote is left open: {text!r}")
    return [*words, "".join(word)] if started else words


def _escape(text: str, position: int) -> tuple[str, int]:
    """Read what follows a backslash; give the character and where to go on."""
    if position >= len(text):
        return "\\", position
    mark = text[position]
    if mark == "x" and len(text) >= position + 3:
        return chr(int(text[position + 1 : position + 3], 16)), position + 3
    return _ESCAPES.get(mark, "\\" + mark), position + 1


def seconds(text: str) -> float | None:
    """Read a time span (`5`, `1min 30s`, `100ms`); None for infinity.

    Raises:
        UnitFileError: it is none.
    """
    if text.strip() == "infinity":
        return None
    total, number, unit = 0.0, "", ""
    parts: list[tuple[str, str]] = []
    for character in text.replace(" ", "") + "0":
        if (character.isdigit() or character == ".") and unit:
            parts.append((number, unit))
            number, unit = "", ""
        if character.isdigit() or character == ".":
            number += character
        else:
            unit += character
    # The digit that was put behind the text ends its last part.
    if number[:-1]:
        parts.append((number[:-1], ""))
    for amount, name in parts:
        try:
            total += float(amount) * _SPANS[name]
        except (ValueError, KeyError):
            raise UnitFileError(f"no time span: {text!r}") from None
    if not parts:
        raise UnitFileError(f"no time span: {text!r}")
    return total


def boolean(text: str) -> bool:
    """Read yes or no.

    Raises:
        UnitFileError: it is neither.
    """
    lowered = text.strip().lower()
    if lowered in ("1", "yes", "y", "true", "t", "on"):
        return True
    if lowered in ("0", "no", "n", "false", "f", "off"):
        return False
    raise UnitFileError(f"neither yes nor no: {text!r}")


def specifiers(unit: str, host: str, machine_id: str) -> dict[str, str]:
    """Give what the specifiers stand for in a unit."""
    prefix, _, _ = unit.rpartition(".")
    name, at, instance = prefix.partition("@")
    return {
        "n": unit, "N": prefix, "p": name, "P": unescape(name),
        "i": instance if at else "", "I": unescape(instance) if at else "",
        "j": name.rpartition("-")[2], "H": host, "l": host.partition(".")[0], "m": machine_id,
        "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc",
        "T": "/tmp", "V": "/var/tmp", "h": "/root", "u": "root", "U": "0", "s": "/bin/sh",  # noqa: S108
        "%": "%",
    }  # fmt: skip


def expand(text: str, known: dict[str, str]) -> str:
    """Replace `%x`; one that isn't known stays as it is."""
    if "%" not in text:
        return text
    parts, position = list[str](), 0
    while position < len(text):
        if text[position] == "%" and position + 1 < len(text):
            mark = text[position + 1]
            parts.append(known.get(mark, "%" + mark))
            position += 2
        else:
            parts.append(text[position])
            position += 1
    return "".join(parts)


def unescape(text: str) -> str:
    r"""Undo systemd-escape: `-` is a slash, `\xNN` a character."""
    parts, position = list[str](), 0
    while position < len(text):
        if text[position] == "\\" and text[position + 1 : position + 2] == "x":
            parts.append(chr(int(text[position + 2 : position + 4], 16)))
            position += 4
        else:
            parts.append("/" if text[position] == "-" else text[position])
            position += 1
    return "".join(parts)


def substitute(words: list[str], environment: dict[str, str]) -> list[str]:
    """Put the environment into a command: `${X}` anywhere is one text, `$X` alone splits."""
    result: list[str] = []
    for word in words:
        if word.startswith("$") and _is_name(word[1:]):
            result.extend(environment.get(word[1:], "").split())
        else:
            result.append(_braced(word, environment))
    return result


def _braced(word: str, environment: dict[str, str]) -> str:
    parts, rest = list[str](), word
    while "$" in rest:
        before, _, after = rest.partition("$")
        parts.append(before)
        if after.startswith("$"):
            parts.append("$")
            rest = after[1:]
        elif after.startswith("{") and "}" in after:
            name, _, rest = after[1:].partition("}")
            parts.append(environment.get(name, ""))
        else:
            parts.append("$")
            rest = after
    return "".join(parts) + rest


def _is_name(text: str) -> bool:
    return bool(text) and text.replace("_", "a").isalnum() and not text[0].isdigit()


def environment_file(text: str) -> dict[str, str]:
    """Read an EnvironmentFile."""
    found: dict[str, str] = {}
    for line in _joined(text):
        key, equals, value = line.partition("=")
        if not equals or not _is_name(key.strip()):
            continue
        value = value.strip()
        quoted = len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]
        found[key.strip()] = value[1:-1] if quoted else value
    return found
