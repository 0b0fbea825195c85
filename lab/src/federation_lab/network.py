"""The WAN: a router in a namespace of its own, with one bridge a region.

All bridges, the machines' outer interfaces and the rules that cut stand in the router's namespace,
so that removing this one namespace removes them all. A cut is a silent drop there: nobody is told,
as with a cable that is cut.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from federation_lab.errors import LabError
from federation_lab.locks import lock
from federation_lab.paths import Paths, paths
from federation_lab.run import run, write_atomically
from federation_lab.wanplan import (
    ALL,
    HOST,
    NAME,
    RULES,
    Change,
    Plan,
    changes,
    lowest_free,
    parse_sets,
    quoted,
    touches,
)

# Which home each standing lab has; gone with the host's boot, as the networks are.
OWNERS = Path("/run/federation-lab")


class Network:
    """One lab's WAN; the kernel holds its state, a file which region has which number."""

    def __init__(self, lab: Paths) -> None:
        self.plan = Plan(lab.lab_id)
        self._home = str(lab.home.resolve())
        self._record = lab.home / "network.json"
        self._owner = OWNERS / self.plan.prefix
        self._lock = lab.home / "network.lock"

    @property
    def regions(self) -> dict[str, int]:
        """The regions' numbers, by name."""
        try:
            found: dict[str, int] = json.loads(self._record.read_text())["regions"]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"{self._record} cannot be read ({error}); `lab down` removes it with the lab"
            ) from error
        return found

    @property
    def exists(self) -> bool:
        """Whether the router stands."""
        return self.plan.router in namespaces(self.plan.prefix)

    def ensure(self) -> None:
        """Make the router and the host's link to it; does nothing where they stand."""
        with lock(self._lock):
            self._ensure()

    def _ensure(self) -> None:
        plan = self.plan
        self._check_owner()
        if self.exists and run(["ip", "link", "show", plan.uplink], check=False).returncode == 0:
            return
        self._drop_router()
        require_namespaces(plan)
        write_atomically(self._owner, self._home)
        run(["ip", "netns", "add", plan.router])
        inside = ["ip", "netns", "exec", plan.router]
        quiet = "net.ipv6.conf.default.disable_ipv6=1"
        run([*inside, "sysctl", "-qw", "net.ipv4.ip_forward=1", quiet])
        run([*inside, "nft", "-f", "-"], stdin=RULES)
        uplink = ["link", "add", plan.uplink, "type", "veth"]
        run(["ip", *uplink, "peer", "name", plan.uplink, "netns", plan.router])
        _batch(
            plan.router,
            ["link set lo up", f"address add {plan.address(0, 1)}/24 dev {plan.uplink}"],
        )
        _batch(plan.router, [f"link set {plan.uplink} up"])
        run(["sysctl", "-qw", f"net.ipv6.conf.{plan.uplink}.disable_ipv6=1"], check=False)
        _batch(
            None,
            [
                f"address add {plan.address(0, 2)}/24 dev {plan.uplink}",
                f"link set {plan.uplink} up",
                f"route replace {plan.network} via {plan.address(0, 1)}",
            ],
        )

    def ensure_region(self, region: str) -> int:
        """Make a region's bridge; give its number.

        Raises:
            LabError: the name is no name of a region, or all numbers are taken.
        """
        if not NAME.fullmatch(region) or region in (HOST, ALL):
            raise LabError(
                f"{region!r} cannot be a region's name: small letters, digits and hyphens, a "
                "letter first, at most 40 of them, and neither `host` nor `all`"
            )
        with lock(self._lock):
            self._ensure()
            regions = self.regions
            if region not in regions:
                regions[region] = lowest_free(regions.values(), 1, 254, "regions")
                self._write(regions)
            index = regions[region]
            if self.plan.bridge(index) not in self._links():
                self._make_bridge(index)
        return index

    def _make_bridge(self, index: int) -> None:
        bridge = self.plan.bridge(index)
        # No delay: the ports forward at once.
        _batch(
            self.plan.router,
            [
                f"link add {bridge} type bridge forward_delay 0",
                f"address add {self.plan.address(index, 1)}/24 dev {bridge}",
                f"link set {bridge} up",
            ],
        )

    def remove_region(self, region: str) -> None:
        """Take a region's bridge away and free its number; the machines are gone before."""
        with lock(self._lock):
            regions = self.regions
            index = regions.pop(region, None)
            if index is None:
                return
            if self.exists:
                bridge = self.plan.bridge(index)
                self._forget(bridge)
                run(["ip", "-n", self.plan.router, "link", "delete", bridge], check=False)
            self._write(regions)

    def attach(self, index: int, octet: int) -> str:
        """Give a machine a new network namespace, with eth0 in the region; give its name."""
        plan, name, port = (
            self.plan,
            self.plan.namespace(index, octet),
            self.plan.port(index, octet),
        )
        self.detach(index, octet)
        run(["ip", "netns", "add", name])
        settings = [
            "net.ipv6.conf.default.disable_ipv6=1",
            # An address that comes up is told to the neighbours at once.
            "net.ipv4.conf.default.arp_notify=1",
            "net.ipv4.ip_forward=1",
        ]
        run(["ip", "netns", "exec", name, "sysctl", "-qw", *settings])
        peer = ["peer", "name", port, "netns", plan.router]
        run(["ip", "-n", name, "link", "add", "eth0", "type", "veth", *peer])
        bridge = plan.bridge(index)
        _batch(plan.router, [f"link set {port} master {bridge}", f"link set {port} up"])
        _batch(
            name,
            [
                "link set lo up",
                f"address add {plan.address(index, octet)}/24 dev eth0",
                "link set eth0 up",
                f"route replace default via {plan.address(index, 1)}",
            ],
        )
        return name

    def unplug(self, index: int, octet: int) -> None:
        """Pull a machine's cable out: from now on it is silent."""
        port = self.plan.port(index, octet)
        run(["ip", "-n", self.plan.router, "link", "delete", port], check=False)

    def detach(self, index: int, octet: int) -> None:
        """Take a machine's cable and its network namespace away."""
        self.unplug(index, octet)
        run(["ip", "netns", "delete", self.plan.namespace(index, octet)], check=False)

    def cut(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Drop, silently, what goes from `a` to `b`, and from `b` to `a` unless `one_way`."""
        found = changes(self.plan, self.regions, a, b, one_way=one_way)
        self._require()
        for change in found:
            self._nft("add", change)

    def heal(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Take a cut back; `all` also takes back the cuts of single links of that place."""
        found = changes(self.plan, self.regions, a, b, one_way=one_way)
        self._require()
        standing = self._standing()
        for change in found:
            gone = [
                element for element in change.elements if element in standing[change.table_set]
            ]
            if gone:
                self._nft("delete", Change(change.table_set, tuple(gone)))
        if ALL in (a, b):
            place = quoted(self.plan.interface(b if a == ALL else a, self.regions))
            self._nft(
                "delete",
                Change(
                    "cuts",
                    tuple(
                        pair
                        for pair in standing["cuts"]
                        if touches(pair, place, outgoing=a != ALL, both=not one_way)
                    ),
                ),
            )

    def isolate(self, region: str) -> None:
        """Let a region fall silent, the router's own answers in its name included."""
        self._require()
        self._nft("add", Change("dead", (quoted(self.plan.bridge(self.regions[region])),)))

    def rejoin(self, region: str) -> None:
        """Undo `isolate`; cuts stay as they are."""
        bridge = quoted(self.plan.bridge(self.regions[region]))
        if self.exists and bridge in self._standing()["dead"]:
            self._nft("delete", Change("dead", (bridge,)))

    def cuts(self) -> list[tuple[str, str]]:
        """List the cuts that stand, as (from, to)."""
        if not self.exists:
            return []
        names = {quoted(self.plan.bridge(index)): name for name, index in self.regions.items()}
        names[quoted(self.plan.uplink)] = HOST
        standing = self._standing()
        found = [(names.get(e, e), ALL) for e in standing["dark_from"]]
        found += [(ALL, names.get(e, e)) for e in standing["dark_to"]]
        for pair in standing["cuts"]:
            source, target = pair.split(" . ")
            found.append((names.get(source, source), names.get(target, target)))
        return sorted(found)

    def remove(self) -> None:
        """Take everything away, from whatever state it is in."""
        with lock(self._lock):
            for name in namespaces(self.plan.prefix):
                run(["ip", "netns", "delete", name], check=False)
            self._drop_router()
            self._record.unlink(missing_ok=True)
            self._owner.unlink(missing_ok=True)

    def _check_owner(self) -> None:
        """Refuse to build into the network of a lab with another home."""
        owner = self._owner.read_text() if self._owner.exists() else self._home
        if owner != self._home and self.exists:
            raise LabError(
                f"the lab with LAB_ID={self.plan.lab_id} at {owner} stands already; give this one "
                f"another LAB_ID, or take that one away: LAB_HOME={owner} lab down"
            )

    def _drop_router(self) -> None:
        run(["ip", "link", "delete", self.plan.uplink], check=False)
        if self.exists:
            run(["ip", "netns", "delete", self.plan.router])

    def _require(self) -> None:
        if not self.exists:
            raise LabError("the lab's network doesn't stand; `lab up` makes it")

    def _links(self) -> set[str]:
        text = run(["ip", "-n", self.plan.router, "-json", "link", "show"]).stdout
        return {link["ifname"] for link in json.loads(text or "[]")}

    def _standing(self) -> dict[str, list[str]]:
        text = self._nft_text("-j", "list", "table", "inet", "lab")
        return parse_sets(text)

    def _forget(self, interface: str) -> None:
        for table_set, elements in self._standing().items():
            gone = tuple(e for e in elements if quoted(interface) in e.split(" . "))
            self._nft("delete", Change(table_set, gone))

    def _nft(self, verb: str, change: Change) -> None:
        if change.elements:
            braced = "{ " + ", ".join(change.elements) + " }"
            self._nft_text(verb, "element", "inet", "lab", change.table_set, braced)

    def _nft_text(self, *arguments: str) -> str:
        return run(["ip", "netns", "exec", self.plan.router, "nft", *arguments]).stdout

    def _write(self, regions: dict[str, int]) -> None:
        write_atomically(self._record, json.dumps({"regions": regions}, indent=2) + "\n")


def namespaces(prefix: str) -> list[str]:
    """List the network namespaces whose names start so."""
    text = run(["ip", "netns", "list"], check=False).stdout
    names = [line.split()[0] for line in text.splitlines() if line]
    return sorted(name for name in names if name.startswith(f"{prefix}-"))


def require_namespaces(plan: Plan) -> None:
    """Try what the lab needs of the kernel.

    Raises:
        LabError: network namespaces cannot be made here.
    """
    # Of this process, since two commands of one lab may try at the same time.
    probe = f"{plan.prefix}-probe-{os.getpid()}"
    made = run(["ip", "netns", "add", probe], check=False)
    used = run(["ip", "-n", probe, "link", "add", "probe", "type", "bridge"], check=False)
    run(["ip", "netns", "delete", probe], check=False)
    for step in (made, used):
        if step.returncode != 0:
            raise LabError(
                f"network namespaces and bridges cannot be made here ({step.stderr.strip()}). "
                "The lab needs them: run it as root (sudo), and in a container start that with "
                "--privileged, or use a virtual machine"
            )


def _batch(namespace: str | None, lines: list[str]) -> None:
    where = ["-n", namespace] if namespace else []
    run(["ip", *where, "-batch", "-"], stdin="\n".join(lines) + "\n")


def ensure_region(region: str) -> int:
    """Make a region's network in this process's lab; give its number."""
    return Network(paths()).ensure_region(region)


def remove_region(region: str) -> None:
    """Take a region's network away in this process's lab."""
    Network(paths()).remove_region(region)


def cut(a: str, b: str, one_way: bool = False) -> None:
    """Cut two places of this process's lab from one another."""
    Network(paths()).cut(a, b, one_way=one_way)


def heal(a: str, b: str, one_way: bool = False) -> None:
    """Heal what `cut` cut."""
    Network(paths()).heal(a, b, one_way=one_way)
