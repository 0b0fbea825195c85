"""What the controllers of all types share."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from kubefed.controller.client import Client
    from kubefed.controller.clusters import Clusters
    from kubefed.controller.config import Config
    from kubefed.controller.events import Events
    from kubefed.controller.metrics import Metrics
    from kubefed.controller.records import Records
    from kubefed.controller.region_health import RegionHealth
    from kubefed.controller.transparent.home import Home
    from kubefed.controller.turns import Pacer

# To each member, while a cluster was just lost or is just back (shared promise of both planes).
DISTURBED_WRITES_PER_SECOND = 20.0


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

    def turn(self, cluster: str, what: Hashable) -> float:
        """Give for how many seconds a write to a cluster has to wait, 0 if it may go.

        It only has to while a cluster was just lost or is just back.
        """
        if not self.clusters.disturbed:
            self.pacer.forget()
            return 0.0
        return self.pacer.wait(cluster, what, asyncio.get_running_loop().time())

    async def pace(self, what: Hashable) -> None:
        """Wait for a turn to plan replicas anew, which the host is spared too many of."""
        wait = self.turn("", what)
        if wait:
            await asyncio.sleep(wait)
            self.pacer.used("", what)


def timestamp() -> str:
    """Give the present time as status fields have it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
