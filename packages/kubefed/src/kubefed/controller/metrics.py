"""Metrics under the names that KubeFed v0.10.0 gives them, and a small HTTP server for them."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SUCCESS, ERROR, RECHECK = "success", "error", "needs_recheck"


class Metrics:
    """The controller's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
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
        self.dispatch_seconds = Histogram(
            "dispatch_operation_duration_seconds",
            "Time of a write to a member cluster.",
            ["action"],
            registry=own,
        )
        self.reconcile_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Time to handle one object.",
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
        self.depth = Gauge("workqueue_depth", "Objects waiting.", ["name"], registry=own)
        self.events_dropped = Counter(
            "kubefed_events_dropped", "Events left out to spare the API server.", registry=own
        )
        self.leader = Gauge("kubefed_leader", "1 while this process is the leader.", registry=own)
        self.frozen = Gauge(
            "kubefed_placement_frozen",
            "1 while no replica may move, for want of a verdict.",
            registry=own,
        )

    @contextlib.contextmanager
    def reconcile(self, controller: str) -> Generator[None]:
        """Count and time the handling of one object; the result is counted by the caller."""
        started = time.perf_counter()
        self.active.labels(controller).inc()
        try:
            yield
        except Exception:
            self.errors.labels(controller).inc()
            self.reconciles.labels(controller, ERROR).inc()
            raise
        finally:
            self.active.labels(controller).dec()
            self.reconcile_seconds.labels(controller).observe(time.perf_counter() - started)


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
