"""What the lab refuses or cannot do, said once: the thing, the reason and the mend."""

from __future__ import annotations


class LabError(RuntimeError):
    """Something a person has to change; the text names the thing and the mend."""


class UnknownRegionError(LabError):
    """A region that the lab doesn't have."""

    def __init__(self, region: str, known: list[str], also: str = "") -> None:
        names = ", ".join(sorted(known)) or "none yet; `lab up` makes them"
        super().__init__(f"no region called {region!r}; the lab has: {names}{also}")
        self.region = region
