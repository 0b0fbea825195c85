"""When a charm has to say something new. Pure."""

HOLD_S = 2.0
"""For so long the same has to be true before a hook is worth it."""
GAP_S = 5.0
GAP_MOST_S = 60.0
TRIES = 3
"""After so many hooks for the same news the charm knows it, whatever it says instead."""


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
            seen: what an operator should be told, by what was seen now.
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
