"""What an operator is told of the agent. Pure.

The charm's status and the service that has it follow both go by `said`, so they cannot drift
apart. The service shall stay small: no imports but typing.
"""

from typing import Any

SILENT = "the agent does not answer"
STARTING = "the agent is starting"
OTHER = "something else"
"""What the charm notes when its status is about something that comes before the agent."""

START_S = 30.0
"""For so long after its start the agent may be silent."""


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
