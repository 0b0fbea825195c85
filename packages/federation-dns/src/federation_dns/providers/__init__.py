"""DNS servers that take the records; their refusals become `ProviderError`s here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from federation_dns.plan import Change, Plan, Stamp, View

Remedy = Literal["retry", "reread", "operator"]


class ProviderError(Exception):
    """The server did not do it.

    Attributes:
        remedy: `retry` later; `reread` the zone and plan again; ask an `operator`.
        done: names that were written before it failed.
        unsure: more may have been written: what was sent had no answer that tells.
    """

    def __init__(self, text: str, remedy: Remedy, done: int = 0, *, unsure: bool = False):
        super().__init__(text)
        self.remedy: Remedy = remedy
        self.done = done
        self.unsure = unsure


class Provider(Protocol):
    """What the agent needs of a DNS server. Calls block, each within its bound.

    `stamp` or `read` may run beside `apply`, each once at a time.
    """

    def stamp(self) -> Stamp:
        """What tells cheaply whether the zone changed."""
        ...

    def read(self) -> View:
        """The whole zone, or an error; never a part."""
        ...

    def due(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Those of a plan's changes that are worth a try now, in their order."""
        ...

    def apply(self, plan: Plan, view: View) -> int:
        """Carry out a plan that was made from `view`; the number of names written.

        Fewer than planned only where single names are refused, which `notes` then tell; whatever
        concerns all is an error.
        """
        ...

    def after(self, plan: Plan, view: View) -> View | None:
        """`view` with all of the plan done to it; None where the next plan needs a reading."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Names that the server refuses, and why."""
        ...

    def behind(self) -> str:
        """Why the server took what was written and does not answer it; nothing if it does."""
        ...

    def close(self) -> None:
        """Let the calls that block end now; none comes after."""
        ...
