"""Durations as Go writes them ("1m30s"), which the KubeFed API uses."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ns": 1e-3, "us": 1, "µs": 1, "μs": 1, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}
_TERM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"[-+]?(?:0|(?:{_TERM.pattern})+)")


def parse_duration(text: str) -> timedelta:
    """Read a duration.

    Args:
        text: numbers with units, as in "20s", "1h15m30.5s", "300ms"; "0" needs no unit.

    Raises:
        ValueError: it isn't one.

    >>> parse_duration("1m30s")
    datetime.timedelta(seconds=90)
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"'{text}' is not a duration; write it as 20s, 5m or 1h30m")
    micros = sum(float(number) * _UNITS[unit] for number, unit in _TERM.findall(text))
    return timedelta(microseconds=-micros if text.startswith("-") else micros)


def format_duration(value: timedelta) -> str:
    """Write a duration as Go does.

    >>> [format_duration(timedelta(seconds=s)) for s in (0, 0.25, 20, 90, 3600)]
    ['0s', '250ms', '20s', '1m30s', '1h0m0s']
    """
    if value < timedelta(0):
        return f"-{format_duration(-value)}"
    if value < timedelta(seconds=1):
        micros = value // timedelta(microseconds=1)
        if micros == 0:
            return "0s"
        return f"{micros / 1000:g}ms" if micros >= 1000 else f"{micros}µs"
    whole, micros = divmod(value // timedelta(microseconds=1), 1_000_000)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{micros:06d}".rstrip("0").rstrip(".")
    text = f"{seconds}{fraction}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
