"""One pass over a zone: look at it, plan, write a part. Blocks within the provider's bounds.

A plan is made from a whole reading. After a write the reading that it was made from still serves,
with the write done to it: the prerequisites of the next one make the server refuse if that is not
the zone. So nothing that is wanted has to wait for a reading. Nor for a long plan: a pass
writes a part of it, withdrawals first, and the next pass plans anew by the newest verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from federation_dns import plan as plans
from federation_dns.plan import UNREAD, Plan, Rules, View
from federation_dns.providers import Provider, ProviderError
from federation_dns.zone import Key, RecordSet, Zone

TRIES = 4
SIGNING_SECONDS = 60.0
"""For so long changes wait for a server that signs the whole zone."""
NAMES_A_PASS = 1000
"""What BIND takes in about a second, and one region's loss with as many services."""


@dataclass(frozen=True, slots=True)
class Pass:
    """How a pass ended.

    Attributes:
        view: the zone afterwards, if that is known.
        plan: the part of it that was tried.
        waits: nothing was tried, because the server signs the zone.
    """

    outcome: Literal["same", "changed", "failed"]
    view: View | None
    plan: Plan | None
    changes: int
    spends: frozenset[str] = frozenset()
    error: str = ""
    remedy: str = ""
    waits: bool = False

    @property
    def left(self) -> int:
        """Changes that the plan has beyond this pass."""
        return 0 if self.plan is None else self.plan.left


def look(provider: Provider, kept: View | None, rules: Rules, *, whole: bool = False) -> View:
    """The zone as it is now: `kept` itself where its stamp still holds, else a reading.

    Raises:
        ProviderError: it can't be read.
    """
    if kept is not None and kept.serial != UNREAD and not whole:
        try:
            if provider.stamp() == kept.stamp(rules.zone):
                return kept
        except ProviderError:
            pass  # the reading finds out what is wrong
    return provider.read()


def write(
    provider: Provider,
    wanted: Zone,
    apex: dict[Key, RecordSet],
    rules: Rules,
    view: View,
    *,
    wait: bool = True,
) -> Pass:
    """Plan from a reading and carry a part of the plan out, at most `NAMES_A_PASS` names.

    What is changed while a server signs the whole zone may keep no signature for good, and
    validates nowhere; so with `wait` nothing is written then.
    """
    whole = plans.plan(wanted, view, rules, apex)
    plan = plans.part(whole, provider.due(whole.changes), NAMES_A_PASS, view)
    if wait and view.signing and plan.changes:
        why = _waiting(len(plan.changes) + plan.left, rules)
        return Pass("failed", view, plan, 0, frozenset(), why, "retry", waits=True)
    try:
        written = provider.apply(plan, view) if plan.changes else 0
    except ProviderError as error:
        # Which of them went is not known, so all that might have gone counts.
        spends = plan.spends if error.done or error.unsure else frozenset[str]()
        return Pass("failed", None, plan, error.done, spends, str(error), error.remedy)
    if not written:
        return Pass("same", view, plan, 0)
    after = provider.after(plan, view) if written == len(plan.changes) else None
    return Pass("changed", after, plan, written, plan.spends)


def _waiting(changes: int, rules: Rules) -> str:
    return (
        f"zone {rules.zone}: its server signs all of it; {changes} names wait for that, "
        f"{SIGNING_SECONDS:.0f} s at most"
    )


def caught_up(provider: Provider, found: View, since: Sequence[Plan], rules: Rules) -> View | None:
    """What was found, with what was written since the look at it began; None if they don't fit.

    What was found may hold any part of that: each change says all that its name shall hold, so
    it may be done once more.
    """
    if not since:
        return found
    number = plans.read_generation(found, rules) or 0
    if not (since[0].generation or 0) <= number <= (since[-1].generation or 0) + 1:
        return None
    view: View | None = found
    for plan in since:
        view = None if view is None else provider.after(plan, view)
    return view
