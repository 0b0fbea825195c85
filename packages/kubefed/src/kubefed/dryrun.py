"""Dry runs: what they would do, gathered while the API servers check each write and do none."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator
from contextvars import ContextVar

from kubefed.api import TargetKind

_CRD_KIND = "CustomResourceDefinition"


@dataclasses.dataclass
class Plan:
    """What dry runs would do.

    Attributes:
        steps: one line an object: "create Secret a/b".
        homes: namespaces and kinds that would be made; what would live in them can't be checked
            by the API server yet.
    """

    steps: list[str] = dataclasses.field(default_factory=list[str])
    homes: set[str] = dataclasses.field(default_factory=set[str])

    def note(self, verb: str, kind: TargetKind, name: str, namespace: str | None = None) -> None:
        """Note a step."""
        step = f"{verb} {label(kind, name, namespace)}"
        if step not in self.steps:
            self.steps.append(step)
        if verb == "create" and kind.kind in ("Namespace", _CRD_KIND):
            self.homes.add(label(kind, name))

    def will_house(self, kind: TargetKind, namespace: str | None) -> bool:
        """Say whether an object's namespace or kind is among what would be made."""
        return not self.homes.isdisjoint(
            {f"Namespace {namespace}", f"{_CRD_KIND} {kind.full_name}"}
        )


_plan: ContextVar[Plan | None] = ContextVar("plan", default=None)


@contextlib.contextmanager
def planned() -> Generator[Plan]:
    """Gather what all dry runs within the block would do."""
    plan = Plan()
    token = _plan.set(plan)
    try:
        yield plan
    finally:
        _plan.reset(token)


def current_plan() -> Plan:
    """Give the plan of the block that `planned` opened, or one that nobody reads."""
    return _plan.get() or Plan()


def label(kind: TargetKind, name: str, namespace: str | None = None) -> str:
    """Name an object for a human: "Secret ns/name"."""
    return f"{kind.kind} {namespace}/{name}" if namespace else f"{kind.kind} {name}"
