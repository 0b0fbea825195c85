"""Names of regions (docs/design.md, section 2), and which zone a DNS name is in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]


def home(name: str, zones: Sequence[str]) -> str | None:
    """The zone of `zones` that a name belongs to: the nearest one above it."""
    above = [z for z in zones if name == z or name.endswith(f".{z}")]
    return max(above, key=len, default=None)
