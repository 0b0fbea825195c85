"""DNS servers that take the records; their refusals become `ProviderError`s here."""

from __future__ import annotations

from typing import Literal, Protocol

from federation_dns.plan import Plan, Stamp, View

Remedy = Literal["retry", "reread", "operator"]


class ProviderError(Exception):
    """The server did not do it.

    Attributes:
        remedy: `retry` later; `reread` the zone and plan again; ask an `operator`.
    """

    def __init__(self, text: str, remedy: Remedy):
        super().__init__(text)
        self.remedy: Remedy = remedy


class Provider(Protocol):
    """What the agent needs of a DNS server. Calls block, each within its bound."""

    def stamp(self) -> Stamp:
        """What tells cheaply whether the zone changed."""
        ...

    def read(self) -> View:
        """The whole zone, or an error; never a part."""
        ...

    def apply(self, plan: Plan, view: View) -> None:
        """Carry out a plan that was made from `view`; all of it, or an error."""
        ...
