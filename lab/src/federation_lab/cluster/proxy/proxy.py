"""Keeps the machine's rules and load balancer addresses as the services are."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable

from federation_lab.cluster.kube import UNREACHABLE, ApiError, KubeApi, Object, Store, key_of
from federation_lab.cluster.kubelet.processes import CommandError, run
from federation_lab.cluster.proxy import arp
from federation_lab.cluster.proxy.addresses import Range, assign
from federation_lab.cluster.proxy.rules import balancer_addresses, fronts, ruleset

# Several changes that come together make one pass.
GATHER_SECONDS = 0.02
RETRY_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ProxySettings:
    """Where the proxy works.

    Attributes:
        node: the machine's address.
        interface: where load balancers' addresses go.
        pod_cidr: the pods' addresses.
        balancers: the load balancers' addresses.
    """

    node: str
    interface: str
    pod_cidr: str
    balancers: Range


class Proxy:
    """The services of one region.

    Args:
        api: the cluster's.
        settings: where it works.
        changed: called after services or endpoints changed.
        event: tells users about a service: object, type, reason, message.
    """

    def __init__(
        self,
        api: KubeApi,
        settings: ProxySettings,
        changed: Callable[[], None],
        event: Callable[[Object, str, str, str], None],
    ) -> None:
        self._api = api
        self._settings = settings
        self._tell = changed
        self._event = event
        self._dirty = asyncio.Event()
        self._applied = ""
        self._held: set[str] | None = None
        self.services = Store(api, "/api/v1/services", self._on_change)
        self.slices = Store(api, "/apis/discovery.k8s.io/v1/endpointslices", self._on_change)

    async def run(self) -> None:
        """Follow services and endpoints for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.services.follow())
            group.create_task(self.slices.follow())
            group.create_task(self._work())

    def _on_change(self, kind: str, item: Object) -> None:
        self._dirty.set()

    async def _work(self) -> None:
        # Rules made from half of the picture would refuse what is well.
        await self.services.synced.wait()
        await self.slices.synced.wait()
        self._dirty.set()
        while True:
            await self._dirty.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._dirty.clear()
            try:
                await self._pass()
            except (CommandError, ApiError, *UNREACHABLE) as error:
                logger.warning("services are not as they should be: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._dirty.set()

    async def _pass(self) -> None:
        services = list(self.services.items.values())
        assignment = assign(services, self._settings.balancers)
        await self._hold(set(assignment.addresses.values()))
        wanted = {**assignment.addresses, **dict.fromkeys(assignment.release, "")}
        for key, address in wanted.items():
            await self._write(self.services.items[key], address)
        for key, why in assignment.refused.items():
            self._event(self.services.items[key], "Warning", "SyncLoadBalancerFailed", why)
        # The statuses just written are stored, so these are the services as they are now.
        services = list(self.services.items.values())
        rules = ruleset(
            fronts(services, self.slices.items.values()),
            node=self._settings.node,
            pod_cidr=self._settings.pod_cidr,
            balancers=balancer_addresses(services),
        )
        if rules != self._applied:
            await run(["nft", "-f", "-"], rules)
            self._applied = rules
        self._tell()

    async def _write(self, service: Object, address: str) -> None:
        ingress = [{"ip": address, "ipMode": "VIP"}] if address else None
        known = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        if [entry.get("ip") for entry in known] == ([address] if address else []):
            return
        namespace, name = key_of(service)
        path = f"/api/v1/namespaces/{namespace}/services/{name}"
        body = {
            "metadata": {"uid": service["metadata"]["uid"]},
            "status": {"loadBalancer": {"ingress": ingress}},
        }
        try:
            written = await self._api.patch(f"{path}/status", body)
        except ApiError as error:
            # Removed or replaced since it was read; the watch will say so.
            if error.status not in (404, 409):
                raise
            return
        if (namespace, name) in self.services.items:
            self.services.items[namespace, name] = written

    async def _hold(self, wanted: set[str]) -> None:
        """Have just these load balancer addresses on the interface."""
        if self._held is None:
            self._held = await self._found()
        commands = [
            f"address del {address}/32 dev {self._settings.interface}"
            for address in sorted(self._held - wanted)
        ]
        commands += [
            f"address add {address}/32 dev {self._settings.interface}"
            for address in sorted(wanted - self._held)
        ]
        if commands:
            fresh, self._held = wanted - self._held, None
            await run(["ip", "-batch", "-"], "\n".join(commands) + "\n")
            self._held = set(wanted)
            for address in sorted(fresh):
                arp.announce(self._settings.interface, address)

    async def _found(self) -> set[str]:
        shown = await run(["ip", "-json", "address", "show", "dev", self._settings.interface])
        return {
            entry["local"]
            for link in json.loads(shown)
            for entry in link.get("addr_info", [])
            if entry.get("family") == "inet" and entry["local"] in self._settings.balancers
        }
