"""The controller as a process: connects to the host, waits to lead, and runs everything."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import random
import signal
import socket
import uuid
from pathlib import Path
from typing import Any

import kubernetes.config as kube_config
from kubernetes import client as kube_client

from kubefed import errors
from kubefed.api.config import KubeFedConfig
from kubefed.api.kinds import KUBEFED_CONFIG
from kubefed.api.names import CONFIG_NAME, DEFAULT_NAMESPACE, Scope
from kubefed.controller import config as configuration
from kubefed.controller.client import USER_AGENT, ApiError, Client, Connection, MalformedError
from kubefed.controller.clusters import Clusters
from kubefed.controller.context import DISTURBED_WRITES_PER_SECOND, Context
from kubefed.controller.events import Events
from kubefed.controller.informer import FAILURES
from kubefed.controller.leader import Leader
from kubefed.controller.metrics import Metrics, serving
from kubefed.controller.objects import mapping
from kubefed.controller.records import Records
from kubefed.controller.region_health import RegionHealth
from kubefed.controller.scheduling import Scheduling
from kubefed.controller.sync import TypeSync
from kubefed.controller.transparent.controller import Transparent
from kubefed.controller.transparent.home import Home
from kubefed.controller.turns import Pacer
from kubefed.controller.types import Types

log = logging.getLogger(__name__)
# How often the host's credentials are read anew; they may be short-lived.
RELOAD_SECONDS = 30.0
RESTART_SECONDS = 2.0
# The scope of a KubeFedConfig that isn't there yet, as v0.10.0's images have it.
SCOPE_VARIABLE = "DEFAULT_KUBEFED_SCOPE"


def _identity() -> str:
    return f"{socket.gethostname()}_{uuid.uuid4()}"


@dataclasses.dataclass(frozen=True)
class Options:
    """How the controller is to run.

    Attributes:
        kubeconfig: the file with the host cluster's address and credentials; None for the
            usual places, or the Pod's own account.
        context: the context in it; None for the current one.
        namespace: the federation's namespace.
        region_health: the file with the agents to ask for the regions' verdict; None to judge
            by own probes.
        metrics_address: HOST:PORT for /metrics and /healthz; None for none.
        identity: this process's name in the Lease, unlike any other's.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = DEFAULT_NAMESPACE
    region_health: Path | None = None
    metrics_address: str | None = None
    identity: str = dataclasses.field(default_factory=_identity)


def run(options: Options) -> int:
    """Run the controller until SIGTERM or SIGINT; give the exit status.

    Raises:
        errors.AskOperator: the kubeconfig can't be used.
    """
    # Where the caller has set up logging already, this changes nothing.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        return asyncio.run(serve(options))
    except MalformedError as error:
        raise errors.AskOperator(f"{error}; check --kubeconfig and --context") from error


async def serve(options: Options) -> int:
    """Run the controller until the task is cancelled or the process is told to end."""
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(_serve(options))
    for number in (signal.SIGTERM, signal.SIGINT):
        # Only the main thread may; elsewhere (tests) the task is cancelled instead.
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        if not work.cancelled():
            work.cancel()
            await asyncio.wait({work})
    return 0


async def _serve(options: Options) -> None:
    connection = await asyncio.to_thread(host_connection, options)
    metrics = Metrics()
    # So that an audit log tells the writes of one leader from those of the next.
    agent = f"{USER_AGENT}/{options.identity}"
    lease_client = Client("host", connection, agent=agent)
    leader = Leader(lease_client, options.namespace, options.identity)
    host = Client("host", connection, leader.fence, agent)
    try:
        async with serving(metrics, options.metrics_address), asyncio.TaskGroup() as group:
            group.create_task(_reload(options, [lease_client, host]))
            controller = _Controller(options, host, leader, metrics)
            group.create_task(leader.run(controller.lead))
    finally:
        await host.close()
        await lease_client.close()


class _Controller:
    def __init__(self, options: Options, host: Client, leader: Leader, metrics: Metrics) -> None:
        self._options = options
        self._host = host
        self._leader = leader
        self._metrics = metrics

    async def lead(self) -> None:
        """Run all controllers while leading; what fails in the host is tried again."""
        self._metrics.leader.set(1)
        try:
            while True:
                try:
                    await self._run()
                except* FAILURES as group:
                    log.warning("the host cluster: %s; trying again", group.exceptions[0])
                except* Exception as group:
                    # Whatever it is, members that are served late beat members that are not.
                    log.error("controllers failed; starting them again", exc_info=group)
                _heed_cancellation()
                await asyncio.sleep(RESTART_SECONDS * (0.5 + random.random()))  # noqa: S311
        finally:
            self._metrics.leader.set(0)

    async def _run(self) -> None:
        namespace, host = self._options.namespace, self._host
        config = configuration.parse(await self._config())
        events = Events(host, self._metrics)

        def answered() -> None:
            clusters.rejudge()
            scheduling.enqueue_all()

        regions = RegionHealth(self._options.region_health, answered)
        clusters = Clusters(
            host, namespace, config, regions, events, self._metrics, self._leader.fence
        )
        records = Records(host, namespace if config.namespaced_scope else "")
        home = Home(host, clusters)
        context = Context(
            host=host,
            namespace=namespace,
            config=config,
            clusters=clusters,
            regions=regions,
            records=records,
            events=events,
            metrics=self._metrics,
            pacer=Pacer(DISTURBED_WRITES_PER_SECOND),
            home=home,
        )

        def started(sync: TypeSync) -> None:
            scheduling.attach(sync)
            transparent.attach(sync)

        types = Types(context, started)
        transparent = Transparent(context, types)
        scheduling = Scheduling(context, types.of_federated_kind, types.namespaces.federated)
        async with asyncio.TaskGroup() as group:
            group.create_task(events.run())
            group.create_task(regions.run())
            group.create_task(clusters.run())
            await asyncio.gather(clusters.synced(), records.load())
            group.create_task(home.run())
            if config.push:
                group.create_task(types.run())
            if config.scheduler:
                group.create_task(scheduling.run())
            if not config.namespaced_scope:
                group.create_task(transparent.run())

    async def _config(self) -> dict[str, Any]:
        path = KUBEFED_CONFIG.path(self._options.namespace, CONFIG_NAME)
        try:
            return await self._host.request("GET", path)
        except ApiError as error:
            if not error.not_found:
                raise
        return await self._make_config()

    async def _make_config(self) -> dict[str, Any]:
        """Make the KubeFedConfig that isn't there: others read the scope in it."""
        scope = os.environ.get(SCOPE_VARIABLE) or Scope.CLUSTER.value
        if scope not in list(Scope):
            log.error("%s=%s is no scope; Cluster is used", SCOPE_VARIABLE, scope)
            scope = Scope.CLUSTER.value
        body = KubeFedConfig(scope=Scope(scope)).to_object(self._options.namespace)
        log.warning("there is no KubeFedConfig %s; one with the defaults is made", CONFIG_NAME)
        try:
            path = KUBEFED_CONFIG.path(self._options.namespace)
            return await self._host.request("POST", path, body=body)
        except ApiError as error:
            # Not to be let in is no reason to stand still.
            log.warning("KubeFedConfig %s: %s; defaults are used", CONFIG_NAME, error)
            return body


def _heed_cancellation() -> None:
    """End if that was asked for: a failure on the way out hides the cancellation.

    Raises:
        asyncio.CancelledError: it was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _reload(options: Options, clients: list[Client]) -> None:
    while True:
        await asyncio.sleep(RELOAD_SECONDS)
        try:
            connection = await asyncio.to_thread(host_connection, options)
        except MalformedError as error:
            log.warning("%s; the credentials at hand are used on", error)
            continue
        for client in clients:
            client.configure(connection)


def host_connection(options: Options) -> Connection:
    """Read the host cluster's address and credentials; `kubernetes` understands them all.

    Raises:
        MalformedError: they can't be read.
    """
    wanted = kube_client.Configuration()
    try:
        if options.kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            kube_config.load_incluster_config(client_configuration=wanted)
        else:
            kube_config.load_kube_config(
                config_file=str(options.kubeconfig) if options.kubeconfig else None,
                context=options.context,
                client_configuration=wanted,
                persist_config=False,
            )
    except (kube_config.ConfigException, OSError, ValueError, TypeError) as error:
        raise MalformedError(f"the kubeconfig can't be used: {error}") from error
    # What the package itself would send; the name under which it keeps the token has changed.
    settings = [mapping(item) for item in wanted.auth_settings().values()]
    headers = {item.get("key"): item.get("value") for item in settings}
    token = str(headers.get("authorization") or "")
    certificate = None
    if wanted.cert_file and wanted.key_file:
        certificate = (str(wanted.cert_file), str(wanted.key_file))
    return Connection(
        url=str(wanted.host).rstrip("/"),
        ca=Path(wanted.ssl_ca_cert).read_text() if wanted.ssl_ca_cert else "",
        token=token.removeprefix("Bearer ").strip(),
        verify=bool(wanted.verify_ssl),
        proxy=str(wanted.proxy or ""),
        client_certificate=certificate,
    )
