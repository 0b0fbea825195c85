"""The member clusters: who they are, how to reach them, and whether they are ready.

KubeFedClusters and the Secrets that they name are watched, so that a new token, CA or address is
used at once. Every cluster is probed on its own; none waits for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import time
from typing import TYPE_CHECKING, Protocol

from kubefed.api import given_up
from kubefed.api.kinds import KUBEFED_CLUSTER, NAMESPACE, SECRET
from kubefed.api.names import CLUSTER_UID_ANNOTATION, MANAGED_LABEL
from kubefed.controller import health
from kubefed.controller.answers import printable
from kubefed.controller.client import (
    MERGE_PATCH,
    ApiError,
    Client,
    MalformedError,
    NotLeaderError,
)
from kubefed.controller.health import Probe, Track
from kubefed.controller.informer import FAILURES, Informer
from kubefed.controller.left_behind import LeftBehind
from kubefed.controller.listing import Source
from kubefed.controller.member_cluster import (
    MemberCluster,
    connection,
    token_end,
    token_only,
)
from kubefed.controller.metrics import NOT_READY, OFFLINE, READY
from kubefed.controller.objects import (
    Json,
    Key,
    labels,
    mapping,
    notes,
    resource_version,
    sequence,
    spec,
    uid,
)
from kubefed.controller.openings import Openings

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubefed.controller.config import Config
    from kubefed.controller.events import Events
    from kubefed.controller.metrics import Metrics
    from kubefed.controller.region_health import RegionHealth

__all__ = ["MANAGED_SELECTOR", "Clusters", "MemberCluster", "Returned"]
log = logging.getLogger(__name__)
MANAGED_SELECTOR = f"{MANAGED_LABEL}=true"
# After a cluster was lost or came back, this long its and the others' writes are paced.
DISTURBED_SECONDS = 60.0
# As kubefedcluster_total names them.
_STATES = {
    Probe.OK: READY,
    Probe.NOT_OK: NOT_READY,
    Probe.MALFORMED: NOT_READY,
    Probe.UNREACHABLE: OFFLINE,
}
# So long a start waits for the first answers of clusters that were ready.
FIRST_PROBES_SECONDS = 1.0


class Returned(Protocol):
    """Who follows the clusters' return."""

    def __call__(self, name: str, *, moved: bool) -> None:
        """Take note that a cluster is back."""
        ...


class Clusters:
    """All members.

    Args:
        host: the host cluster.
        namespace: the federation's.
        config: periods and thresholds.
        regions: the regions' verdict.
        events: where a malformed or lost cluster is told.
        metrics: states and times of probes.
        guard: the fence before each write to a member.
    """

    def __init__(
        self,
        host: Client,
        namespace: str,
        config: Config,
        regions: RegionHealth,
        events: Events,
        metrics: Metrics,
        guard: Callable[[], None],
    ) -> None:
        self._host = host
        self._namespace = namespace
        self._config = config
        self._regions = regions
        self._events = events
        self._metrics = metrics
        self._guard = guard
        self.members: dict[str, MemberCluster] = {}
        # Told with a name: a cluster joined or left, or its labels or readiness changed.
        self.listeners: list[Callable[[str], None]] = []
        # Told with a name: it is back, so watches that hang on it must be begun anew; `moved`
        # where another API server may answer now.
        self.returned: list[Returned] = []
        self.disturbed_until = float("-inf")
        self._secrets = Informer(
            host, Source(SECRET, namespace, slim=token_only), self._secret_changed
        )
        self._objects = Informer(host, Source(KUBEFED_CLUSTER, namespace), self._cluster_changed)
        self._group: asyncio.TaskGroup | None = None
        self.left_behind = LeftBehind(host, namespace)
        self.openings = Openings()

    @property
    def labels(self) -> dict[str, dict[str, str]]:
        """Every registered cluster's labels by name."""
        return {name: member.labels for name, member in self.members.items()}

    @property
    def disturbed(self) -> bool:
        """Whether a cluster was lost or came back just now, so that writes are to be paced."""
        return time.monotonic() < self.disturbed_until

    def usable(self, name: str) -> bool:
        """Whether something can be written to a cluster."""
        member = self.members.get(name)
        return (
            member is not None
            and not member.malformed
            and member.identified is not False
            and health.reachable(member.track, self._config.thresholds)
        )

    def forgotten(self, name: str) -> bool:
        """Whether nobody is to wait for a cluster: it is away, and the operator has said so."""
        member = self.members.get(name)
        return member is not None and given_up.forgotten(member.obj) and not self.usable(name)

    def schedulable(self) -> dict[str, bool]:
        """Every cluster, and whether replicas may be planned for it."""
        return {
            name: self._counts(member.track.ready, member.changed_at)
            for name, member in self.members.items()
        }

    async def synced(self) -> None:
        """Wait until the clusters and their tokens are known, and a moment for their answers."""
        await self._secrets.synced.wait()
        await self._objects.synced.wait()
        asked = [
            asyncio.create_task(member.probed.wait())
            for member in self.members.values()
            if member.track.ready
        ]
        if asked:
            _, late = await asyncio.wait(asked, timeout=FIRST_PROBES_SECONDS)
            for task in late:
                task.cancel()

    async def run(self) -> None:
        """Watch and probe until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._secrets.run())
                # Tokens first, else every cluster would look malformed for a moment.
                await self._secrets.synced.wait()
                group.create_task(self._objects.run())
        finally:
            for member in self.members.values():
                await member.client.close()

    def rejudge(self) -> None:
        """Judge all clusters by the verdict as it is now."""
        self._metrics.frozen.set(health.frozen(self._regions.verdict))
        for member in self.members.values():
            before = member.track.ready
            self._judge(member)
            if member.track.ready != before or not member.track.ready:
                member.wake.set()

    def _counts(self, ready: bool, changed_at: float) -> bool:
        """Whether a cluster counts for scheduling; without a verdict, a change must have aged."""
        if self._regions.asked:
            return ready
        delay = self._config.available_delay if ready else self._config.unavailable_delay
        aged = time.monotonic() - changed_at >= delay
        return ready if aged else not ready

    def _cluster_changed(self, key: Key, before: Json | None, after: Json | None) -> None:
        name = key[1]
        if after is None:
            if self._group is not None:
                self._group.create_task(self._confirm_left(key))
            return
        member = self.members.get(name)
        if member is None:
            member = self.members[name] = MemberCluster(name, after, self._guard, self._host.agent)
            log.info("cluster %s joined", name)
            self.left_behind.load(name, after)
            if member.track.published is not None:
                self._metrics.cluster(name, _STATES[member.track.published])
            self._connect(member)
            self._start(member)
        else:
            member.obj = after
            if before is None or spec(before) != spec(after):
                self._reconnect(member)
            elif labels(before) == labels(after) and notes(before) == notes(after):
                return
        self._metrics.joined.set(len(self.members))
        self._tell(name)

    def _start(self, member: MemberCluster) -> None:
        if self._group is not None:
            member.task = self._group.create_task(self._probe_for_ever(member))

    async def _confirm_left(self, key: Key) -> None:
        """Strike a cluster off only when the host itself says that it isn't there.

        A cluster that left has no claims any more: on the word of a list that lacks it,
        deletions would end that have left something there.
        """
        while key not in self._objects.store:
            asked_at = self._objects.reached
            try:
                live = await self._host.request("GET", KUBEFED_CLUSTER.path(*key), timeout_s=10)
            except FAILURES as error:
                if isinstance(error, ApiError) and error.not_found:
                    if key not in self._objects.store:
                        self._left(key[1])
                    return
                log.warning("KubeFedCluster %s: %s", key[1], error)
                await asyncio.sleep(1)
                continue
            log.warning("KubeFedCluster %s is there, though it was not listed", key[1])
            self._objects.learn(live, asked_at=asked_at)
            if key in self._objects.store:
                self._cluster_changed(key, None, live)

    def _left(self, name: str) -> None:
        member = self.members.pop(name, None)
        if member is None:
            return
        log.info("cluster %s left", name)
        self.left_behind.drop(name)
        self._metrics.cluster(name, "")
        self._metrics.token(name, None)
        if member.task is not None:
            member.task.cancel()
        if self._group is not None:
            self._group.create_task(member.client.close())
        self._metrics.joined.set(len(self.members))
        self._tell(name)

    def _tell(self, name: str) -> None:
        for listener in self.listeners:
            listener(name)

    def _secret_changed(self, key: Key, _before: Json | None, _after: Json | None) -> None:
        for member in self.members.values():
            if mapping(spec(member.obj).get("secretRef")).get("name") == key[1]:
                self._reconnect(member)

    def _reconnect(self, member: MemberCluster) -> None:
        """Use what was changed at once: probe, watch and write anew."""
        before = member.client.connection
        self._connect(member)
        now = member.client.connection
        moved = (before.url, before.ca) != (now.url, now.ca)
        if moved and CLUSTER_UID_ANNOTATION in notes(member.obj):
            member.identified = False
        member.wake.set()
        self._tell_returned(member.name, moved=moved)
        self._tell(member.name)

    def _tell_returned(self, name: str, *, moved: bool = False) -> None:
        for listener in self.returned:
            listener(name, moved=moved)

    def _connect(self, member: MemberCluster) -> None:
        secret = mapping(spec(member.obj).get("secretRef")).get("name")
        try:
            with self._metrics.connection_seconds.time():
                wanted = connection(
                    member.obj, self._secrets.store.get((self._namespace, str(secret)))
                )
                if wanted != member.client.connection:
                    wanted.context()
            member.malformed = ""
            member.client.configure(wanted)
            self._metrics.token(member.name, token_end(wanted.token))
        except MalformedError as error:
            member.malformed = str(error)
            self._events.warning(member.obj, "MalformedClusterConfig", member.malformed)

    async def _probe_for_ever(self, member: MemberCluster) -> None:
        while True:
            member.wake.clear()
            try:
                await self._probe(member)
            except NotLeaderError:
                log.debug("not the leader: health of %s not written", member.name)
            except FAILURES as error:
                log.warning("health of %s not written: %s", member.name, error)
            except Exception:
                # Whatever is wrong with one cluster, the others are looked after.
                log.exception("cluster %s", member.name)
            # Not wait_for, which before Python 3.12 may take a cancellation for the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.period):
                    await member.wake.wait()

    async def _probe(self, member: MemberCluster) -> None:
        usable = self.usable(member.name)
        with self._metrics.health_seconds.time():
            result = await self._ask(member)
        member.probed.set()
        before = member.track
        member.track = health.observe(member.track, result)
        self._judge(member)
        if self.usable(member.name) != usable or (before.failures and result is Probe.OK):
            self._tell(member.name)
        if self.usable(member.name) and not usable:
            self._tell_returned(member.name)
        await self._publish(member)

    async def _ask(self, member: MemberCluster) -> Probe:
        if member.malformed:
            member.error = member.malformed
            return Probe.MALFORMED
        limit, member.refused = self._config.timeout, False
        try:
            text = await member.client.text("/healthz", timeout_s=limit)
            if text.strip().lower() != "ok":
                member.error = printable(text, 200)
                return Probe.NOT_OK
            if not member.version or not member.identified or member.track.successes % 10 == 0:
                member.version = await member.client.version(timeout_s=limit)
            await self._identify(member, limit)
            if member.identified is False:
                member.error = "another cluster answers at its address"
                return Probe.MALFORMED
        except (*FAILURES, ValueError) as error:
            member.error = str(error) or type(error).__name__
            self._events.warning(member.obj, "RetrievingClusterHealthFailed", member.error)
            member.refused = isinstance(error, ApiError) and error.status == 401
            return Probe.NOT_OK if member.refused else Probe.UNREACHABLE
        return Probe.OK

    async def _identify(self, member: MemberCluster, limit: float) -> None:
        """Find out whether the cluster is the one that joined, where its entry says which."""
        wanted = notes(member.obj).get(CLUSTER_UID_ANNOTATION)
        if not wanted:
            member.identified = True
            return
        asked = member.client.connection
        try:
            path = NAMESPACE.path(name="kube-system")
            found = uid(await member.client.request("GET", path, timeout_s=limit))
        except ApiError as error:
            if error.status != 403:
                raise
            log.warning("cluster %s doesn't let us see which one it is", member.name)
            found = wanted
        if member.client.connection is not asked:
            # The answer is of its former address; the change has woken the next probe.
            return
        trusted, member.identified = member.identified is not False, found == wanted
        if member.identified is not trusted:
            # Its caches end where they are, or begin anew: between the two they may be another's.
            self._tell_returned(member.name, moved=True)

    def _judge(self, member: MemberCluster) -> None:
        before = member.track
        if self._regions.asked:
            verdict = self._regions.verdict
            member.track = health.judge_with(before, self._config.thresholds, verdict, member.name)
            if verdict and not member.track.ready and member.name in verdict.regions:
                member.error = verdict.regions[member.name].explain or member.error
        else:
            member.track = health.judge(before, self._config.thresholds)
        if member.track.published is not before.published:
            self._turned(member, before)

    def _turned(self, member: MemberCluster, before: Track) -> None:
        state = member.track.published
        log.warning("cluster %s: %s (%s)", member.name, state and state.value, member.error)
        if before.published is not None and before.ready != member.track.ready:
            now = time.monotonic()
            member.changed_at = now
            self.disturbed_until = now + DISTURBED_SECONDS
            if self._group is not None and not self._regions.asked:
                ready = member.track.ready
                delay = self._config.available_delay if ready else self._config.unavailable_delay
                self._group.create_task(self._tell_later(member.name, delay))
        self._metrics.cluster(member.name, _STATES[state] if state else "")
        self._tell(member.name)

    async def _tell_later(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds + 0.1)
        self._tell(name)

    async def _publish(self, member: MemberCluster) -> None:
        state = member.track.published
        if state is None:
            return
        key = (self._namespace, member.name)
        try:
            await self._publish_on(member, state, self._objects.store.get(key, member.obj))
        except ApiError as error:
            if not error.conflict:
                raise
            # It was changed a moment ago, and the watch hasn't said so yet.
            live = await self._host.request("GET", KUBEFED_CLUSTER.path(*key), timeout_s=5)
            await self._publish_on(member, state, live)

    async def _publish_on(self, member: MemberCluster, state: Probe, obj: Json) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        present = mapping(obj.get("status"))
        before = [mapping(item) for item in sequence(present.get("conditions"))]
        # An API server that has just started may refuse for a moment what it doesn't know yet.
        refused = member.refused and member.track.failures >= self._config.thresholds.failure
        status: Json = {
            "conditions": health.conditions(
                state,
                before,
                now,
                member.error + given_up.summary(self.left_behind.of(member.name)),
                # Known for certain: it waits for no threshold, as readiness does.
                malformed=refused or member.track.last is Probe.MALFORMED,
            ),
            "kubernetesVersion": member.version if state is Probe.OK else None,
        }
        path = KUBEFED_CLUSTER.path(self._namespace, member.name)
        self._guard()
        answer = await self._host.request(
            "PATCH",
            f"{path}/status",
            body={"metadata": {"resourceVersion": resource_version(obj)}, "status": status},
            content_type=MERGE_PATCH,
            timeout_s=5,
        )
        self._objects.learn(answer)
