"""Who of several controllers works: a Lease, and a fence before every write.

The holder trusts its lease for `RENEW_DEADLINE` seconds after it *began* its last good renewal,
by its own clock; a standby takes over when it has seen no renewal for `DURATION` seconds, by its
own clock. So the fence closes before another can open, whatever the clocks say. A standby looks
each RETRY seconds and watches besides, so it sees a renewal when it is made, and follows a leader
that crashed right after one DURATION seconds later. Upstream's 15/10/5 s would take longer than
the ten seconds promised, and its locks are gone from Kubernetes.

The fence is asked as late as can be (`client`), what was sent and not acknowledged is dropped by
the kernel before another may lead, and a write that is late for all that names the version that
it changes, so that it loses against a newer one (docs/design.md, "One controller writes").
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import time
from typing import TYPE_CHECKING

import aiohttp

from kubefed.api.kinds import TargetKind
from kubefed.api.names import CONTROLLER_NAME
from kubefed.controller.client import ApiError, NotLeaderError
from kubefed.controller.objects import Json, mapping, metadata, resource_version, spec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kubefed.controller.client import Client

log = logging.getLogger(__name__)
LEASE = TargetKind("coordination.k8s.io", "v1", "Lease", "leases")
DURATION = 8.0
RENEW_DEADLINE = 5.0
RETRY = 1.0
_REQUEST_SECONDS = 3.0
# So long after the fence closed a renewal under way may still come to a good end; then the writes
# under way are broken off too, before another may lead.
_LATE_SECONDS = 2.0


def _now() -> float:
    """Give seconds that go on while the machine is suspended, where there are such."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def held_by(identity: str, namespace: str, before: Json) -> Json:
    """Give the controllers' Lease as this holder writes it now.

    Args:
        identity: the holder's name.
        namespace: where the Lease is.
        before: the Lease as it was read, empty if there is none.
    """
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    known = spec(before)
    same = known.get("holderIdentity") == identity
    transitions = int(known.get("leaseTransitions") or 0)
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": metadata(before) or {"name": CONTROLLER_NAME, "namespace": namespace},
        "spec": {
            "holderIdentity": identity,
            "leaseDurationSeconds": int(DURATION),
            "acquireTime": known.get("acquireTime") if same else now,
            "renewTime": now,
            "leaseTransitions": transitions if same or not before else transitions + 1,
        },
    }


class Leader:
    """One candidate.

    Args:
        client: the host cluster, without a fence of its own.
        namespace: where the Lease is.
        identity: this process's name, unlike any other's.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        identity: str,
        clock: Callable[[], float] = _now,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._until = float("-inf")
        self._seen = ""
        self._seen_at = 0.0
        # When the lease that was seen last is free, unless it is renewed.
        self._free_at = 0.0
        self._given_back = asyncio.Event()

    @property
    def leading(self) -> bool:
        """Whether this process may write now."""
        return self._clock() < self._until

    def fence(self) -> None:
        """Hold back a write unless this process is the leader now.

        Raises:
            NotLeaderError: it isn't.
        """
        if not self.leading:
            raise NotLeaderError(f"{self._identity} is not the leader")

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Be a candidate until cancelled; do `lead` while leading, and stop it when not."""
        try:
            while True:
                await self._until_acquired()
                log.info("%s leads", self._identity)
                await self._while_leading(lead)
                log.warning("%s does not lead any more", self._identity)
        finally:
            await self.release()

    async def _until_acquired(self) -> None:
        following = asyncio.create_task(self._follow())
        try:
            while not await self.attempt():
                # Not a moment later than the lease is free.
                left = self._free_at - self._clock()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left if 0 < left < RETRY else RETRY):
                        await self._given_back.wait()
                self._given_back.clear()
        finally:
            following.cancel()
            # To await it would take our own cancellation for its.
            await asyncio.wait({following})

    async def _follow(self) -> None:
        """See a renewal when it is made; what is missed here, the next attempt sees."""
        params = {"fieldSelector": f"metadata.name={CONTROLLER_NAME}", "resourceVersion": "0"}
        path = LEASE.path(self._namespace)
        while True:
            try:
                stream = self._client.watch(path, params=params, accept="application/json")
                async with contextlib.aclosing(stream) as events:
                    async for event in events:
                        self._see(mapping(event.get("object")))
            except (ApiError, aiohttp.ClientError, OSError) as error:
                log.debug("watch of the lease: %s", error)
            await asyncio.sleep(RETRY)

    def _see(self, lease: Json) -> None:
        """Take note of a lease that isn't ours; times in it are another machine's."""
        if resource_version(lease) != self._seen:
            self._seen, self._seen_at = resource_version(lease), self._clock()
        duration = float(spec(lease).get("leaseDurationSeconds") or DURATION)
        self._free_at = self._seen_at + duration
        if not spec(lease).get("holderIdentity"):
            self._given_back.set()

    async def _while_leading(self, lead: Callable[[], Awaitable[None]]) -> None:
        async def body() -> None:
            await lead()

        work = asyncio.create_task(body())
        try:
            while self.leading and not work.done():
                await asyncio.wait({work}, timeout=RETRY)
                await self.attempt()
            if work.done():
                # It only ends by a failure, which is the caller's.
                work.result()
        finally:
            work.cancel()
            # To await it would take our own cancellation for its.
            await asyncio.wait({work})

    async def attempt(self) -> bool:
        """Acquire or renew once; say whether this process leads."""
        began = self._clock()
        limit = _REQUEST_SECONDS
        if self.leading:
            limit = min(limit, self._until + _LATE_SECONDS - began)
        try:
            async with asyncio.timeout(limit):
                if await self._write():
                    self._until = began + RENEW_DEADLINE
        except (ApiError, aiohttp.ClientError, OSError) as error:
            log.debug("lease: %s", error)
        return self.leading

    async def _write(self) -> bool:
        path = LEASE.path(self._namespace, CONTROLLER_NAME)
        try:
            lease = await self._client.request("GET", path, timeout_s=_REQUEST_SECONDS)
        except ApiError as error:
            if not error.not_found:
                raise
            await self._client.request(
                "POST",
                LEASE.path(self._namespace),
                body=held_by(self._identity, self._namespace, {}),
                timeout_s=3,
            )
            return True
        if not self._free(lease):
            self._until = float("-inf")
            return False
        await self._client.request(
            "PUT", path, body=held_by(self._identity, self._namespace, lease), timeout_s=3
        )
        return True

    def _free(self, lease: Json) -> bool:
        holder = spec(lease).get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        self._see(lease)
        return self._clock() >= self._free_at

    async def release(self) -> None:
        """Give the lease back, so that the next needs not wait for its end."""
        if not self.leading:
            return
        self._until = float("-inf")
        path = LEASE.path(self._namespace, CONTROLLER_NAME)
        # Once more: a renewal that was cancelled in flight may have come in between.
        for _ in range(2):
            with contextlib.suppress(ApiError, aiohttp.ClientError, OSError):
                lease = await self._client.request("GET", path, timeout_s=2)
                if spec(lease).get("holderIdentity") != self._identity:
                    return
                lease["spec"] = spec(lease) | {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.request("PUT", path, body=lease, timeout_s=2)
                return
