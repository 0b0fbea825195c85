"""When a container is started again, and what its probes say: pure rules."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

FIRST_BACKOFF = 10.0
MAX_BACKOFF = 300.0
# A container that ran this long has its past forgiven.
FORGIVEN_AFTER = 600.0


@dataclasses.dataclass
class Backoff:
    """How long to wait before the next start: at once, then 10 s, doubling up to 5 minutes."""

    delay: float = 0.0
    first: float = FIRST_BACKOFF

    def after_run(self, seconds: float) -> float:
        """Give the wait after a run of so many seconds."""
        if seconds >= FORGIVEN_AFTER:
            self.delay = 0.0
        wait = self.delay
        self.delay = min(MAX_BACKOFF, self.delay * 2) if self.delay else self.first
        return wait


def restarts(policy: str, exit_code: int) -> bool:
    """Tell whether a container is started again after it ended."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


Verdict = Literal["success", "failure", "unknown"]


@dataclasses.dataclass
class Probe:
    """One probe's past: a verdict changes after so many equal answers in a row.

    Attributes:
        kind: readiness, liveness or startup.
        spec: the container's, such as ``readinessProbe``.
        verdict: what is believed now.
    """

    kind: str
    spec: dict[str, Any]
    verdict: Verdict = "unknown"
    _last: bool | None = None
    _row: int = 0

    def __post_init__(self) -> None:
        if self.kind == "readiness":
            self.verdict = "failure"
        if self.kind == "liveness":
            self.verdict = "success"

    @property
    def initial_delay(self) -> float:
        """Seconds between the container's start and the first question."""
        return float(self.spec.get("initialDelaySeconds") or 0)

    @property
    def period(self) -> float:
        """Seconds between two questions."""
        return float(self.spec.get("periodSeconds") or 10)

    @property
    def timeout(self) -> float:
        """Seconds to wait for an answer."""
        return float(self.spec.get("timeoutSeconds") or 1)

    def record(self, success: bool) -> bool:
        """Take one answer in.

        Returns:
            Whether the verdict changed.
        """
        self._row = self._row + 1 if self._last is success else 1
        self._last = success
        name = "successThreshold" if success else "failureThreshold"
        if self._row < int(self.spec.get(name) or (1 if success else 3)):
            return False
        verdict: Verdict = "success" if success else "failure"
        changed = verdict != self.verdict
        self.verdict = verdict
        return changed
