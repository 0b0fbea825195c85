"""Which of the members is the host cluster itself.

A cluster is known by the UID of its namespace kube-system, which nothing but a new cluster
changes. `kubefed join` writes it down with the cluster; one that was joined by other means is
asked. Until that is known nothing that is kept for a plain object is written to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from kubefed.api.kinds import NAMESPACE
from kubefed.api.names import CLUSTER_UID_ANNOTATION
from kubefed.controller.client import METADATA_ONE, ApiError
from kubefed.controller.informer import FAILURES
from kubefed.controller.objects import notes, uid

if TYPE_CHECKING:
    from kubefed.controller.client import Client
    from kubefed.controller.clusters import Clusters, MemberCluster

log = logging.getLogger(__name__)
IDENTITY = NAMESPACE.path(name="kube-system")
ASK_SECONDS = 2.0
AGAIN_SECONDS = 5.0


class Home:
    """The host cluster among the members.

    Args:
        host: the host cluster.
        clusters: the members.
    """

    def __init__(self, host: Client, clusters: Clusters) -> None:
        self._host = host
        self._clusters = clusters
        self._uid = ""
        # What a member was found to be at an address, and the address.
        self._asked: dict[str, tuple[str, bool]] = {}
        self._wake = asyncio.Event()
        # Set when every member that answers at once has been asked once.
        self.ready = asyncio.Event()

    @property
    def name(self) -> str:
        """The host cluster's name among the members, "" if it is none of them."""
        for name in sorted(self._clusters.members):
            if self.is_home(name):
                return name
        return ""

    def is_home(self, name: str) -> bool | None:
        """Whether a member is the host cluster; None while nobody knows."""
        member = self._clusters.members.get(name)
        if member is None or not self._uid:
            return None
        written = notes(member.obj).get(CLUSTER_UID_ANNOTATION)
        if written:
            return written == self._uid
        address, found = self._asked.get(name, ("", False))
        return found if address and address == member.client.connection.url else None

    async def run(self) -> None:
        """Find out until cancelled."""
        self._clusters.listeners.append(self._changed)
        try:
            while True:
                self._wake.clear()
                later = await self._round()
                self.ready.set()
                # Not wait_for: in Python 3.11 it loses a cancellation that comes with the wake.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_SECONDS if later else None):
                        await self._wake.wait()
        finally:
            self._clusters.listeners.remove(self._changed)

    def _changed(self, name: str) -> None:
        if self.is_home(name) is None:
            self._wake.set()

    async def _round(self) -> bool:
        """Ask whoever isn't known; say whether somebody is to be asked again."""
        if not self._uid:
            try:
                self._uid = await _identity(self._host)
            except FAILURES as error:
                log.warning("the host cluster doesn't say which it is: %s", error)
                return True
            for name in self._clusters.members:
                self._tell(name)
        members = list(self._clusters.members.values())
        unknown = [each for each in members if self.is_home(each.name) is None]
        await asyncio.gather(*(self._ask(member) for member in unknown))
        return any(self.is_home(name) is None for name in self._clusters.members)

    async def _ask(self, member: MemberCluster) -> None:
        if member.malformed:
            return
        address = member.client.connection.url
        try:
            found = await _identity(member.client) == self._uid
        except FAILURES as error:
            if not isinstance(error, ApiError) or error.status not in (403, 404):
                return
            # Its account may not look; then the address must do.
            found = address == self._host.connection.url
        self._asked[member.name] = (address, found)
        self._tell(member.name)

    def _tell(self, name: str) -> None:
        """Have what waited for it looked at again."""
        if self.is_home(name) is not None:
            for listener in list(self._clusters.listeners):
                listener(name)


async def _identity(client: Client) -> str:
    answer = await client.request("GET", IDENTITY, accept=METADATA_ONE, timeout_s=ASK_SECONDS)
    return uid(answer)
