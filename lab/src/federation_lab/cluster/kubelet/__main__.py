"""The program of a region's node: `python -m federation_lab.cluster.kubelet`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

import aiohttp
from aiohttp import web

from federation_lab.cluster.kube import UNREACHABLE, ApiError, Connection, KubeApi
from federation_lab.cluster.kubelet.agent import Events, ImagesFile, Kubelet
from federation_lab.cluster.kubelet.environment import service_names
from federation_lab.cluster.kubelet.images import ImagesError
from federation_lab.cluster.kubelet.node import PORT, NodeFacts, keep_node
from federation_lab.cluster.kubelet.processes import CommandError
from federation_lab.cluster.kubelet.sandbox import AddressPool, prepare_machine
from federation_lab.cluster.kubelet.server import LogServer, tls
from federation_lab.cluster.kubelet.shared import Node
from federation_lab.cluster.names import KUBELET_CLIENT
from federation_lab.cluster.proxy.addresses import Range
from federation_lab.cluster.proxy.proxy import Proxy, ProxySettings

VERSION_SECONDS = 1.0

logger = logging.getLogger("federation_lab.kubelet")


def parser() -> argparse.ArgumentParser:
    """Give the command line."""
    result = argparse.ArgumentParser(
        prog="lab-kubelet", description="Runs a node's pods as local processes, and its services."
    )
    add = result.add_argument
    add("--kubeconfig", type=Path, required=True, help="of an account that may do all this")
    add("--node", required=True, help="the node's name")
    add("--address", required=True, help="the machine's address")
    add("--interface", default="eth0", help="where load balancers' addresses go")
    add("--images", type=Path, required=True, help="images.yaml")
    add("--programs", type=Path, required=True, help="what images.yaml calls {programs}")
    add("--state", type=Path, required=True, help="a directory for pods' files and logs")
    add("--pki", type=Path, required=True, help="the directory with ca.crt and kubelet.crt")
    add("--region", default="", help="the label topology.kubernetes.io/region")
    add("--label", action="append", default=[], metavar="KEY=VALUE", help="of the node")
    add("--taint", action="append", default=[], metavar="KEY=VALUE:EFFECT", help="of the node")
    add("--pod-cidr", default="10.1.0.0/24", help="the pods' addresses")
    add("--balancers", default="", metavar="FIRST-LAST", help="default: .200-.250 of the /24")
    return result


def facts(options: argparse.Namespace, version: str) -> NodeFacts:
    """Give what the command line says about the node."""
    labels = dict(label.split("=", 1) for label in options.label)
    if options.region:
        labels["topology.kubernetes.io/region"] = options.region
    taints: list[tuple[str, str, str]] = []
    for text in options.taint:
        left, _, effect = text.rpartition(":")
        key, _, value = left.partition("=")
        taints.append((key, value, effect))
    return NodeFacts(
        options.node, options.address, options.pod_cidr, labels, tuple(taints), version
    )


async def serve(options: argparse.Namespace) -> None:
    """Run until cancelled."""
    options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    pool = AddressPool(options.pod_cidr)
    await prepare_machine(pool.gateway)
    first, _, last = options.balancers.partition("-")
    balancers = Range(first, last) if last else Range.of_subnet(options.address)
    connector = aiohttp.TCPConnector(ssl=False, force_close=True, limit=0)
    async with (
        KubeApi.connect(Connection.load(options.kubeconfig)) as api,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        version = await _version(api)
        events = Events(api, options.node)
        settings = ProxySettings(options.address, options.interface, options.pod_cidr, balancers)
        proxy = Proxy(api, settings, lambda: kubelet.services_changed(), events)
        node = Node(
            api=api,
            session=session,
            address=options.address,
            state=options.state,
            images=ImagesFile(options.images),
            programs=options.programs,
            pool=pool,
            services=lambda: list(proxy.services.items.values()),
            names=lambda: service_names(
                proxy.services.items.values(), proxy.slices.items.values()
            ),
            event=events,
        )
        kubelet = Kubelet(node, options.node)
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_node(api, facts(options, version)))
            group.create_task(proxy.run())
            await proxy.services.synced.wait()
            group.create_task(kubelet.run())
            group.create_task(_serve_logs(options, kubelet))


async def _version(api: KubeApi) -> str:
    """Wait for the API server and give its version."""
    while True:
        try:
            return str((await api.request("GET", "/version"))["gitVersion"])
        except (ApiError, *UNREACHABLE) as error:
            logger.info("waiting for the API server: %s", error or type(error).__name__)
            await asyncio.sleep(VERSION_SECONDS)


async def _serve_logs(options: argparse.Namespace, kubelet: Kubelet) -> None:
    server = LogServer(kubelet.find_log, kubelet.writes_log, KUBELET_CLIENT)
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    pki: Path = options.pki
    context = tls(pki / "kubelet.crt", pki / "kubelet.key", pki / "ca.crt")
    await web.TCPSite(runner, options.address, PORT, ssl_context=context).start()


async def until_stopped(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(serve(options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Run the program."""
    options = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(until_stopped(options))
    except (CommandError, ImagesError, OSError, KeyError) as error:
        logger.error("cannot start: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
