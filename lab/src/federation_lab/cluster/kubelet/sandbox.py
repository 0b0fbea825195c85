"""A pod's namespaces and its address: what the containers of one pod share."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import ipaddress
from collections.abc import Collection

from federation_lab.cluster.kubelet.processes import CommandError, Process, children, run

START_SECONDS = 5.0
POLL_SECONDS = 0.002
# Dies with the kubelet, and everything in the pod's PID namespace with it; reaps orphans.
_PAUSE = (
    "setpriv", "--pdeathsig", "KILL", "--",
    "unshare", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--",
    "/bin/sh", "-c",
    'echo "$1" > /proc/sys/kernel/hostname; sleep infinity & while :; do wait; done', "pause",
)  # fmt: skip


class NoAddressError(Exception):
    """All addresses of the node's pod range are taken."""


@dataclasses.dataclass
class AddressPool:
    """The node's pod addresses; the first one is the gateway's.

    A freed address is used again as late as possible, so that no client meets a stranger there.
    """

    cidr: str
    _used: set[str] = dataclasses.field(default_factory=set[str])
    _next: int = 2

    @property
    def gateway(self) -> str:
        """The address that pods send everything to."""
        return str(ipaddress.ip_network(self.cidr)[1])

    def take(self, wanted: str = "") -> str:
        """Give a free address, the wanted one if it is free and of this range.

        Raises:
            NoAddressError: none is free.
        """
        network = ipaddress.ip_network(self.cidr)
        if wanted and ipaddress.ip_address(wanted) in network and wanted not in self._used:
            self._used.add(wanted)
            return wanted
        size = network.num_addresses - 3
        for offset in range(size):
            index = 2 + (self._next - 2 + offset) % size
            address = str(network[index])
            if address not in self._used:
                self._used.add(address)
                self._next = index + 1
                return address
        raise NoAddressError(f"all {size} addresses of {self.cidr} are taken")

    def free(self, address: str) -> None:
        """Take an address back."""
        self._used.discard(address)

    def reserve(self, addresses: Collection[str]) -> None:
        """Keep ``take`` from giving these for as long as others are free (a hint, not a claim)."""
        network = ipaddress.ip_network(self.cidr)
        known = [
            int(where) - int(network.network_address)
            for address in addresses
            if (where := ipaddress.ip_address(address)) in network
        ]
        self._next = max([self._next, *(index + 1 for index in known)])


def interface(uid: str) -> str:
    """Give the name of a pod's interface in the machine."""
    return f"pod{hashlib.sha256(uid.encode()).hexdigest()[:10]}"


def network_commands(uid: str, address: str, gateway: str, pid: int) -> tuple[str, str]:
    """Give what ``ip -batch`` does in the machine and then in the pod.

    A pod has a link of its own and is routed to, with no bridge: so every packet between pods
    passes the machine's rules, services included.
    """
    name = interface(uid)
    outside = [
        f"link add name {name} type veth peer name eth0 netns {pid}",
        f"link set {name} up",
        f"route replace {address}/32 dev {name}",
    ]
    inside = [
        "link set lo up",
        f"addr add {address}/32 dev eth0",
        "link set eth0 up",
        f"route add {gateway}/32 dev eth0",
        f"route add default via {gateway}",
    ]
    return "\n".join(outside) + "\n", "\n".join(inside) + "\n"


@dataclasses.dataclass
class Sandbox:
    """The running namespaces of one pod.

    Attributes:
        pid: the first process in them, as the machine counts.
        address: the pod's.
        pause: ends when the sandbox does.
    """

    pid: int
    address: str
    pause: Process

    @classmethod
    async def create(cls, uid: str, hostname: str, address: str, gateway: str) -> Sandbox:
        """Make namespaces and network.

        Raises:
            CommandError: it didn't work; nothing is left behind.
        """
        pause = Process([*_PAUSE, hostname])
        try:
            async with asyncio.timeout(START_SECONDS):
                while not (found := children(pause.pid)):
                    if not pause.alive:
                        raise CommandError("the pod's first process ended at once")
                    await asyncio.sleep(POLL_SECONDS)
            outside, inside = network_commands(uid, address, gateway, found[0])
            await run(["ip", "-batch", "-"], outside)
            await run(["nsenter", "-t", str(found[0]), "-n", "ip", "-batch", "-"], inside)
        except (CommandError, TimeoutError) as error:
            pause.kill()
            raise CommandError(f"cannot set the pod's network up: {error}") from error
        return cls(found[0], address, pause)

    def enter(self) -> list[str]:
        """Give the words before a command that is to run in the namespaces."""
        return ["nsenter", "-t", str(self.pid), "-n", "-u", "-i", "-p", "--"]

    async def remove(self) -> None:
        """Kill everything in it; its interface goes with it."""
        self.pause.kill()
        await self.pause.wait()


async def prepare_machine(gateway: str) -> None:
    """Let this machine route for its pods.

    Raises:
        CommandError: it may not.
    """
    script = f"echo 1 > /proc/sys/net/ipv4/ip_forward; ip address replace {gateway}/32 dev lo"
    await run(["/bin/sh", "-ec", script])
