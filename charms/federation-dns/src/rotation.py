"""When the agent's certificate changes: the next in time, the change when all know it. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from federation_dns.pins import fingerprint
from federation_interfaces.federation_mesh import MeshEntry

MADE_AT = 2 / 3
"""Of a certificate's life: then the next one is made and announced."""
HOLD = timedelta(days=1)
"""For so long it is announced to regions that do not say whether they have taken it in."""
HOLD_AT_MOST = 1 / 6

Step = Literal["wait", "make", "change"]


def step(
    now: datetime,
    current: tuple[datetime, datetime],
    made: datetime | None,
    *,
    acknowledged: bool,
) -> Step:
    """Say what to do.

    Args:
        now: the time.
        current: from when to when the certificate in use holds.
        made: when the next one was made; None: there is none.
        acknowledged: every other region has said that it took the next one in.
    """
    begins, ends = current
    if made is None:
        return "make" if now >= begins + MADE_AT * (ends - begins) else "wait"
    hold = min(HOLD, HOLD_AT_MOST * (ends - begins))
    return "change" if acknowledged or now >= made + hold else "wait"


def taken(entries: Iterable[MeshEntry], own: str) -> dict[str, str]:
    """Return whose next certificates this region has taken in, by region."""
    return {
        entry.region: fingerprint(entry.next_certificate)
        for entry in entries
        if entry.next_certificate and entry.region != own
    }


def acknowledged(entries: Iterable[MeshEntry], own: str, following: str) -> bool:
    """Say whether all other regions have taken this region's next certificate in."""
    digest = fingerprint(following)
    return all(e.taken.get(own) == digest for e in entries if e.region != own)
