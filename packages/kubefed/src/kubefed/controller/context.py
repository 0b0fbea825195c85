"""What the controllers of all types share."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubefed.controller.client import Client
    from kubefed.controller.clusters import Clusters
    from kubefed.controller.config import Config
    from kubefed.controller.events import Events
    from kubefed.controller.metrics import Metrics
    from kubefed.controller.records import Records
    from kubefed.controller.region_health import RegionHealth
    from kubefed.controller.transparent.home import Home

# While a cluster was just lost or is just back (shared promise of both planes).
DISTURBED_WRITES_PER_SECOND = 20.0


class Pacer:
    """Lets at most so many through a second, while asked to.

    Args:
        per_second: how many.
    """

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._next = 0.0

    async def wait(self) -> bool:
        """Wait for the next turn; say whether it was not there already."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next)
        self._next = turn + self._gap
        if turn > now:
            await asyncio.sleep(turn - now)
        return turn > now


@dataclasses.dataclass(frozen=True)
class Context:
    """What the controllers of all types share.

    Attributes:
        host: the host cluster, writes fenced.
        namespace: the federation's namespace.
        config: the KubeFedConfig.
        clusters: the members.
        regions: the regions' verdict.
        records: what was propagated.
        events: events on federated objects.
        metrics: the metrics.
        pacer: paces writes after a cluster was lost or came back.
        home: which of the members is the host cluster itself.
    """

    host: Client
    namespace: str
    config: Config
    clusters: Clusters
    regions: RegionHealth
    records: Records
    events: Events
    metrics: Metrics
    pacer: Pacer
    home: Home

    async def pace(self) -> bool:
        """Wait for a turn to write, if a cluster was just lost or is just back.

        Returns:
            Whether it waited, so that what is to be written should be thought of anew.
        """
        return self.clusters.disturbed and await self.pacer.wait()


def timestamp() -> str:
    """Give the present time as status fields have it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
