r"""JSON exactly as Go's encoding/json writes it, for hashes that a Go program must agree with.

The rules (Go's documentation of `json.Marshal` and `Encoder`): keys sorted, `<`, `>`, `&`, U+2028
and U+2029 escaped, numbers as ECMAScript prints them, one line feed after each value. KubeFed
v0.10.0 is built with Go 1.16, which writes backspace and form feed as `\\u0008` and `\\u000c`.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

_INT64 = range(-(2**63), 2**63)
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Lone surrogates are no text: Go's decoder turns them into U+FFFD when it reads the object.
_SPECIAL = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')
# encoding/json changes to the exponent form outside of this range.
_SMALLEST, _LARGEST = 1e-6, 1e21


def encode(value: Any) -> str:
    r"""Give what Go's `json.NewEncoder(w).Encode(value)` writes, final line feed included.

    Args:
        value: JSON as `json.loads` gives it. Dictionaries are sorted; for a Go struct, whose
            fields keep their order, use `Ordered`.

    >>> encode({"b": [1, 2.0, 1e-7], "a": "<x>"})
    '{"a":"\\u003cx\\u003e","b":[1,2,1e-7]}\n'
    """
    return _value(value) + "\n"


class Ordered(dict[str, Any]):
    """A Go struct: fields in the order in which they were put in."""


def floats(value: Any) -> Any:
    """Give the value as Go's `interface{}` holds it after decoding: every number a float64.

    >>> floats({"n": 9007199254740993, "yes": True})
    {'n': 9007199254740992.0, 'yes': True}
    """
    if isinstance(value, dict):
        return {str(name): floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [floats(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            return str(value) if value in _INT64 else _number(float(value))
        case float():
            return _number(value)
        case dict():
            names = value if isinstance(value, Ordered) else sorted(value)
            return "{" + ",".join(f"{_string(name)}:{_value(value[name])}" for name in names) + "}"
        case list():
            return "[" + ",".join(map(_value, value)) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON")


def _string(text: str) -> str:
    return f'"{_SPECIAL.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in _SHORT:
        return _SHORT[char]
    if "\ud800" <= char <= "\udfff":
        return "\ufffd"
    return f"\\u{ord(char):04x}"


def _number(number: float) -> str:
    if math.isnan(number) or math.isinf(number):
        raise ValueError("Go has no JSON for a number that is not finite")
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    # repr() gives the fewest digits that read back as the same number, as Go's format -1 does.
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    text = "".join(map(str, digits))
    if _SMALLEST <= abs(number) < _LARGEST:
        body = format(Decimal((0, digits, int(exponent))), "f")
    else:
        power = int(exponent) + len(text) - 1
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        body = f"{text[0]}{fraction}e{'+' if power > 0 else '-'}{abs(power)}"
    return ("-" if sign else "") + body
