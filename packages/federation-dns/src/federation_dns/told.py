"""What an operator is told of the agent, and when the charm has to say something new. Pure.

The charm's status and the service that wakes the charm (`federation_dns.tell`) both go by `said`,
so they cannot drift apart. It is loaded by a service that shall stay small: no imports but typing.
"""

from typing import Any

SILENT = "the agent does not answer"
STARTING = "the agent is starting"
OTHER = "something else"
"""What the charm notes when its status is about something that comes before the agent."""

START_S = 30.0
"""For so long after its start the agent may be silent."""
HOLD_S = 2.0
"""For so long the same has to be true before a hook is worth it."""
GAP_S = 5.0
GAP_MOST_S = 60.0
TRIES = 3
"""After so many hooks for the same news the charm knows it, whatever it says instead."""


def trouble_in(verdict: dict[str, Any]) -> str:
    """Say what an operator should know of a verdict, if anything."""
    said: list[str] = []
    if not acts(verdict):
        said.append("no majority is reached, so the last answers stay")
    regions: dict[str, dict[str, Any]] = verdict.get("regions", {})
    for name, region in sorted(regions.items()):
        if region.get("verdict") == "healthy" and not region.get("withdrawn"):
            continue
        state = "withdrawn" if region.get("withdrawn") else str(region.get("verdict"))
        why = region.get("standing") or region.get("explain") or "no reason given"
        said.append(f"{name}: {state} ({why})")
    faults: dict[str, str] = verdict.get("faults", {})
    said += [f"{name}: {why}" for name, why in sorted(faults.items())]
    dns: list[str] = verdict.get("dns", [])
    said += dns
    return "; ".join(said)


def acts(verdict: dict[str, Any]) -> bool:
    """Say whether the agent has a majority and acts on what it sees."""
    return bool(verdict.get("quorum", True)) and not verdict.get("panic")


def said(verdict: dict[str, Any] | None, *, starting: bool = False) -> str:
    """Say what an operator is told of the agent's answer.

    Args:
        verdict: the answer; None: there was none.
        starting: the agent was started so lately that silence means nothing yet.

    Returns:
        Nothing if all is well.
    """
    if verdict is None:
        return STARTING if starting else SILENT
    return trouble_in(verdict)


def gap(behind: int) -> float:
    """Return for how long to wait after a hook, when so many before it changed nothing."""
    return min(GAP_S * 2 ** min(behind, 10), GAP_MOST_S)


class Teller:
    """Decides when the charm is to be told; time is passed in.

    Args:
        asked: for what the charm was given a hook last, before a restart of this.
        tries: how often.
    """

    def __init__(self, asked: str = "", tries: int = 0):
        self.asked = asked
        self.tries = tries
        self._seen: str | None = None
        self._since = 0.0
        self._next = float("-inf")
        self._behind = 0
        self._failed = False

    def due(self, now: float, seen: str, said: str | None) -> bool:
        """Say whether the charm is to get a hook now.

        Args:
            now: a time that only grows.
            seen: what an operator should be told, by the agent's answer.
            said: what the charm's status says; None: it has not spoken yet, and will.
        """
        if seen != self._seen:
            self._seen, self._since = seen, now
        if seen == said:
            self.asked, self.tries = "", 0
            if not self._failed:
                self._behind = 0
            return False
        if said is None or now - self._since < HOLD_S or now < self._next:
            return False
        return self.asked != seen or self.tries < TRIES

    def told(self, now: float, *, done: bool) -> None:
        """Note that the charm was given a hook, or could not be given one."""
        if done:
            seen = self._seen or ""
            self.tries = self.tries + 1 if self.asked == seen else 1
            self.asked = seen
        self._failed = not done
        self._next = now + gap(self._behind)
        self._behind += 1
