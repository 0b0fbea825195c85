"""Metrics under the names that KubeFed v0.10.0 gives them, and a small HTTP server for them."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
    generate_latest,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Hashable

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SUCCESS, ERROR, RECHECK, NOT_SYNCED = "success", "error", "needs_recheck", "not_synced"
# Values of the label `state` of kubefedcluster_total.
READY, NOT_READY, OFFLINE = "ready", "notready", "offline"


class Metrics:
    """The controller's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        ProcessCollector(registry=own)
        self.clusters = Gauge(
            "kubefedcluster_total", "Clusters by state.", ["state", "cluster"], registry=own
        )
        self.joined = Gauge("joined_cluster_total", "Clusters of the federation.", registry=own)
        self.health_seconds = Histogram(
            "cluster_health_status_duration_seconds", "Time of a probe of a cluster.", registry=own
        )
        self.connection_seconds = Histogram(
            "cluster_client_connection_duration_seconds", "Time to set up a client.", registry=own
        )
        # Observed by the command that joins; named here since v0.10.0's controller has them.
        for verb in ("join", "unjoin"):
            Histogram(f"{verb}_cluster_duration_seconds", f"Time to {verb}.", registry=own)
        self.dispatch_seconds = Histogram(
            "dispatch_operation_duration_seconds",
            "Time of a write to a member cluster.",
            ["action"],
            registry=own,
        )
        self.federated_seconds = Histogram(
            "reconcile_federated_resources_duration_seconds",
            "Time to handle one federated object. Deprecated: see "
            "controller_runtime_reconcile_time_seconds.",
            registry=own,
        )
        self.reconcile_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Time to handle one object.",
            ["controller"],
            registry=own,
        )
        self.reconcile_duration = Histogram(
            "controller_runtime_reconcile_duration_seconds",
            "The same. Deprecated.",
            ["controller"],
            registry=own,
        )
        self.reconcile_quantile = Summary(
            "controller_runtime_reconcile_quantile_seconds",
            "The same. Deprecated.",
            ["controller"],
            registry=own,
        )
        self.reconciles = Counter(
            "controller_runtime_reconcile",
            "Objects handled.",
            ["controller", "result"],
            registry=own,
        )
        self.errors = Counter(
            "controller_runtime_reconcile_errors",
            "Objects that failed.",
            ["controller"],
            registry=own,
        )
        self.active = Gauge(
            "controller_runtime_active_workers", "Objects in hand.", ["controller"], registry=own
        )
        self.workers = Gauge(
            "controller_runtime_max_concurrent_reconciles",
            "Objects that can be in hand.",
            ["controller"],
            registry=own,
        )
        names = ["name"]
        self.depth = Gauge("workqueue_depth", "Objects waiting.", names, registry=own)
        self.adds = Counter("workqueue_adds", "Objects added.", names, registry=own)
        self.retries = Counter("workqueue_retries", "Objects tried again.", names, registry=own)
        self.queue_seconds = Histogram(
            "workqueue_queue_duration_seconds", "Time that objects wait.", names, registry=own
        )
        self.work_seconds = Histogram(
            "workqueue_work_duration_seconds", "Time that objects take.", names, registry=own
        )
        self.unfinished = Gauge(
            "workqueue_unfinished_work_seconds",
            "Time that the objects in hand have taken together.",
            names,
            registry=own,
        )
        self.longest = Gauge(
            "workqueue_longest_running_processor_seconds",
            "Time that the object longest in hand has taken.",
            names,
            registry=own,
        )
        self.events_dropped = Counter(
            "kubefed_events_dropped", "Events left out to spare the API server.", registry=own
        )
        self.held_back = Counter(
            "kubefed_writes_held_back",
            "Writes put off since somebody else changes the object again and again.",
            registry=own,
        )
        self.token_ends = Gauge(
            "kubefed_member_token_end_timestamp_seconds",
            "When a member's token ends, as it says itself.",
            ["cluster"],
            registry=own,
        )
        self.leader = Gauge("kubefed_leader", "1 while this process is the leader.", registry=own)
        self.frozen = Gauge(
            "kubefed_placement_frozen",
            "1 while no replica may move, for want of a verdict.",
            registry=own,
        )

    def cluster(self, name: str, state: str) -> None:
        """Note a cluster's state, "" for a cluster that is no member any more."""
        for each in (READY, NOT_READY, OFFLINE):
            if state:
                self.clusters.labels(each, name).set(each == state)
            else:
                with contextlib.suppress(KeyError):
                    self.clusters.remove(each, name)

    def token(self, name: str, end: float | None) -> None:
        """Note when a member's token ends, None where that isn't known or it is no member."""
        if end is not None:
            self.token_ends.labels(name).set(end)
            return
        with contextlib.suppress(KeyError):
            self.token_ends.remove(name)

    def queue(self, name: str, workers: int) -> QueueMetrics:
        """Give the metrics of one controller and its work queue."""
        return QueueMetrics(self, name, workers)


class QueueMetrics:
    """The metrics of one controller and its work queue.

    Args:
        metrics: all metrics.
        name: the controller's, and the queue's.
        workers: how many objects it handles at the same time.
    """

    def __init__(self, metrics: Metrics, name: str, workers: int) -> None:
        metrics.workers.labels(name).set(workers)
        self._active = metrics.active.labels(name)
        self._depth = metrics.depth.labels(name)
        self._adds = metrics.adds.labels(name)
        self._retries = metrics.retries.labels(name)
        self._waited = metrics.queue_seconds.labels(name)
        self._took = [
            metrics.work_seconds.labels(name),
            metrics.reconcile_seconds.labels(name),
            metrics.reconcile_duration.labels(name),
            metrics.reconcile_quantile.labels(name),
        ]
        self._results = {
            result: metrics.reconciles.labels(name, result)
            for result in (SUCCESS, ERROR, RECHECK, NOT_SYNCED)
        }
        self._errors = metrics.errors.labels(name)
        # A former queue of this name may have been stopped amid its work.
        self._depth.set(0)
        self._active.set(0)
        self._since: dict[Hashable, float] = {}
        self._began: dict[Hashable, float] = {}
        metrics.unfinished.labels(name).set_function(self._unfinished)
        metrics.longest.labels(name).set_function(self._longest)

    def added(self, key: Hashable) -> None:
        """Note that an object waits."""
        self._adds.inc()
        self._depth.inc()
        self._since[key] = time.perf_counter()

    def again(self) -> None:
        """Note that an object is to be tried again later."""
        self._retries.inc()

    def started(self, key: Hashable) -> None:
        """Note that an object is in hand."""
        now = time.perf_counter()
        self._depth.dec()
        self._active.inc()
        self._waited.observe(now - self._since.pop(key, now))
        self._began[key] = now

    def ended(self, key: Hashable, result: str) -> None:
        """Note what the handling of an object came to."""
        now = time.perf_counter()
        took = now - self._began.pop(key, now)
        self._active.dec()
        for each in self._took:
            each.observe(took)
        self._results[result].inc()
        if result == ERROR:
            self._errors.inc()

    def _unfinished(self) -> float:
        now = time.perf_counter()
        return sum(now - began for began in list(self._began.values()))

    def _longest(self) -> float:
        now = time.perf_counter()
        return max((now - began for began in list(self._began.values())), default=0.0)


@contextlib.asynccontextmanager
async def serving(metrics: Metrics, address: str | None) -> AsyncGenerator[None]:
    """Serve /metrics and /healthz while the block runs.

    Args:
        metrics: what to serve.
        address: HOST:PORT, None to serve nothing.
    """
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(metrics.registry), headers={"Content-Type": _CONTENT_TYPE}
        )

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/metrics", scrape), web.get("/healthz", health)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        yield
    finally:
        await runner.cleanup()
