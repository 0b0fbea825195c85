"""Services and their endpoints, as one nftables ruleset: pure.

A ruleset replaces the one before it in a single transaction, so no packet ever meets half of it.
Clients keep their address on the way to a pod, except a pod that reaches itself through a service.
(Only what was redirected is masqueraded: the machine's own connections to itself would break.)
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from federation_lab.cluster.kube import Object

TABLE = "federation_lab"
_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
# externalTrafficPolicy needs no thought here: a region of the lab has one node.
# Where packets meet the sets and maps above it.
_HOOKS = """\
  chain services_in {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr . meta l4proto . th dport vmap @services
  }
  chain services_own {
    type nat hook output priority -100; policy accept;
    ip daddr . meta l4proto . th dport vmap @services
  }
  chain leaving {
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat ip saddr . ip daddr @loops masquerade
    ip saddr $pods ip daddr != $pods oifname != "lo" masquerade
  }
  chain answer_no {
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }
  chain unserved {
    ip daddr . meta l4proto . th dport @refused goto answer_no
    ip daddr @balancers meta l4proto { tcp, udp, sctp } goto answer_no
  }
  chain to_machine {
    type filter hook input priority filter; policy accept;
    ct state new jump unserved
  }
  chain through_machine {
    type filter hook forward priority filter; policy accept;
    ct state new jump unserved
  }
  chain from_machine {
    type filter hook output priority filter; policy accept;
    ct state new jump unserved
  }
"""


@dataclasses.dataclass(frozen=True, order=True)
class Target:
    """Where a connection ends: a pod's address and port."""

    address: str
    port: int


@dataclasses.dataclass(frozen=True, order=True)
class Front:
    """One port of a service and all addresses that it is reached at.

    Attributes:
        name: ``<namespace>/<service>:<port name>``.
        addresses: cluster and load balancer addresses.
        node_port: 0: none.
        sticky: a client stays with its endpoint (``sessionAffinity: ClientIP``).
    """

    name: str
    protocol: str
    port: int
    addresses: tuple[str, ...]
    targets: tuple[Target, ...]
    node_port: int = 0
    sticky: bool = False


def fronts(services: Iterable[Object], slices: Iterable[Object]) -> list[Front]:
    """Give every port of every service that has an address, with its ready endpoints."""
    of_service: dict[tuple[str, str], list[Object]] = {}
    for item in slices:
        metadata = item["metadata"]
        if item.get("addressType") != "IPv4":
            continue
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
        of_service.setdefault((metadata["namespace"], service), []).append(item)
    result: list[Front] = []
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        key = (metadata["namespace"], metadata["name"])
        addresses = _addresses(service)
        if not addresses:
            continue
        for port in spec.get("ports") or []:
            name = port.get("name") or ""
            result.append(
                Front(
                    name=f"{key[0]}/{key[1]}:{name}",
                    protocol=_PROTOCOLS[port.get("protocol", "TCP")],
                    port=int(port["port"]),
                    addresses=addresses,
                    targets=_targets(of_service.get(key, ()), name),
                    node_port=int(port.get("nodePort") or 0),
                    sticky=spec.get("sessionAffinity") == "ClientIP",
                )
            )
    return sorted(result)


def balancer_addresses(services: Iterable[Object]) -> tuple[str, ...]:
    """Give the addresses of all load balancers."""
    return tuple(sorted({address for service in services for address in _ingress(service)}))


def ruleset(found: Sequence[Front], *, node: str, pod_cidr: str, balancers: Sequence[str]) -> str:
    """Give what ``nft -f -`` is to apply.

    Args:
        found: as `fronts` gives them.
        node: the machine's address, for node ports.
        pod_cidr: whose traffic takes the machine's address when it leaves.
        balancers: addresses that belong to load balancers alone: what no service answers there
            is refused, rather than given to the machine's own programs.
    """
    served = [front for front in found if front.targets]
    chains = "".join(_chain(front) for front in served)
    entries = [
        f"{address} . {front.protocol} . {front.port} : goto {_chain_name(front)}"
        for front in served
        for address in front.addresses
    ]
    entries += [
        f"{node} . {front.protocol} . {front.node_port} : goto {_chain_name(front)}"
        for front in served
        if front.node_port
    ]
    refused = [
        f"{address} . {front.protocol} . {front.port}"
        for front in found
        if not front.targets
        for address in front.addresses
    ]
    loops = sorted({f"{t.address} . {t.address}" for front in served for t in front.targets})
    return f"""\
add table ip {TABLE}
delete table ip {TABLE}
define pods = {pod_cidr}
table ip {TABLE} {{
  set balancers {{ type ipv4_addr; {_elements(balancers)}}}
  set loops {{ type ipv4_addr . ipv4_addr; {_elements(loops)}}}
  set refused {{ type ipv4_addr . inet_proto . inet_service; {_elements(refused)}}}
{chains}\
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; {_elements(entries)}}}
{_HOOKS}}}
"""


def _chain(front: Front) -> str:
    count = len(front.targets)
    choice = f"jhash ip saddr mod {count}" if front.sticky else f"numgen random mod {count}"
    where = ", ".join(
        f"{number} : {target.address} . {target.port}"
        for number, target in enumerate(front.targets)
    )
    # The comment is the chain's reader's only way back to the service.
    return (
        f"  # {front.name}\n"
        f"  chain {_chain_name(front)} {{\n"
        f"    meta l4proto {front.protocol} dnat ip to {choice} map {{ {where} }}\n"
        "  }\n"
    )


def _chain_name(front: Front) -> str:
    text = f"{front.name} {front.protocol} {front.port}"
    return f"service_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _elements(items: Sequence[str]) -> str:
    return f"elements = {{ {', '.join(items)} }}; " if items else ""


def _addresses(service: Object) -> tuple[str, ...]:
    spec: dict[str, Any] = service["spec"]
    own = spec.get("clusterIP")
    if spec.get("type") == "ExternalName" or not own or own == "None" or ":" in own:
        return ()
    return (own, *_ingress(service))


def _ingress(service: Object) -> tuple[str, ...]:
    if service["spec"].get("type") != "LoadBalancer":
        return ()
    balancer: Mapping[str, Any] = (service.get("status") or {}).get("loadBalancer") or {}
    return tuple(entry["ip"] for entry in balancer.get("ingress") or [] if entry.get("ip"))


def _targets(slices: Iterable[Object], port_name: str) -> tuple[Target, ...]:
    ready: set[Target] = set()
    ending: set[Target] = set()
    for item in slices:
        numbers = [
            int(port["port"])
            for port in item.get("ports") or []
            if (port.get("name") or "") == port_name and port.get("port")
        ]
        for endpoint in item.get("endpoints") or []:
            conditions: Mapping[str, Any] = endpoint.get("conditions") or {}
            targets = {Target(a, n) for a in endpoint["addresses"] for n in numbers}
            if conditions.get("ready") is not False:
                ready |= targets
            elif conditions.get("serving") and conditions.get("terminating"):
                ending |= targets
    # As kube-proxy: while none is ready, those that end but still answer are better than none.
    return tuple(sorted(ready or ending))
