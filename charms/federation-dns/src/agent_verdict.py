"""For how long a hook waits for the agent's verdict to settle."""

import time
from collections.abc import Callable, Set
from typing import Any

from federation_dns import told
from local_agent import VERDICT_TIMEOUT_S, UnitError

HOOK_S = 2.0
"""How long after its charm began a hook may wait: with all around that it stays below 3 s."""
PAUSE_S = 0.2


def settled(verdict: dict[str, Any], members: Set[str]) -> bool:
    """Say whether the agent has a majority of these members, not of those that it knew before."""
    # Whom the operator calls lost is no elector, but still a region.
    known = {*verdict.get("electorate", members), *verdict.get("regions", {})}
    return told.acts(verdict) and known == members


def time_is_up(began: float, *, changed: bool) -> float:
    """Return until when to ask again.

    Args:
        began: when the hook's charm began.
        changed: the agent was told of other members, or started, in this hook. Only then can
            another answer come soon, and the next hook may be minutes away.
    """
    return began + HOOK_S if changed else began


def asks_again(verdict: dict[str, Any] | None, members: Set[str], left: float) -> bool:
    """Say whether to ask once more, after an answer (None: silence) with so much time left."""
    if left < 2 * PAUSE_S:  # a pause, and as long for the answer
        return False
    return verdict is None or not settled(verdict, members)


def settle(
    ask: Callable[[float], dict[str, Any]], members: Set[str], until: float
) -> dict[str, Any]:
    """Ask the agent until it has a majority of these members, or time is up.

    Args:
        ask: gets the verdict within so many seconds; raises UnitError.
        members: all whom the agent has been told of.
        until: when time is up, by `clock`.

    Returns:
        The last answer.

    Raises:
        UnitError: there was none.
    """
    verdict: dict[str, Any] | None = None
    timeout = VERDICT_TIMEOUT_S
    while True:
        silence: UnitError | None = None
        try:
            verdict = ask(timeout)
        except UnitError as error:
            silence = error
        if not asks_again(verdict, members, until - clock()):
            if verdict is None and silence is not None:
                raise silence
            return verdict or {}
        pause(PAUSE_S)
        timeout = min(VERDICT_TIMEOUT_S, until - clock())


def clock() -> float:
    """Return a time that only grows; tests replace it."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Wait; tests replace it."""
    time.sleep(seconds)
