"""What a Service and an EndpointSlice say to the zone. Pure.

`ready` counts endpoints whose condition `ready` is true or not given (the EndpointSlice API: "nil
should be interpreted as true").
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from federation_dns.policy import Asked, read
from federation_dns.zone import Service

MANAGED = "kubefed.io/managed"
_SERVICE_OF = "kubernetes.io/service-name"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A Service to publish, and what is wrong with its annotations."""

    service: Service
    faults: tuple[str, ...]


def service_of(item: Object) -> Found | None:
    """A Service object as the zone needs it; None if it isn't one to publish."""
    meta, spec = item.get("metadata") or {}, item.get("spec") or {}
    if spec.get("type") != "LoadBalancer" or meta.get("deletionTimestamp"):
        return None
    if (meta.get("labels") or {}).get(MANAGED) != "true":
        return None
    ingress = ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    addresses = tuple(
        sorted({str(i["ip"]) for i in ingress if isinstance(i, dict) and i.get("ip")})
    )
    asked: Asked = read(meta.get("annotations") or {})
    service = Service(
        str(meta.get("namespace")),
        str(meta.get("name")),
        addresses,
        0,
        asked.ttl,
        asked.policy,
        _seconds(meta.get("creationTimestamp")),
        _tcp(spec.get("ports")) if asked.probe is None else asked.probe,
    )
    return Found(service, asked.faults)


def _tcp(ports: object) -> int:
    """The first TCP port of a Service; 0 if it has none."""
    for port in ports if isinstance(ports, list) else ():
        if isinstance(port, dict) and port.get("protocol", "TCP") == "TCP":
            number = port.get("port")
            return number if isinstance(number, int) and 0 < number < 65536 else 0
    return 0


def _seconds(when: object) -> int:
    """Seconds since the epoch of a Kubernetes time; 0 if there is none."""
    try:
        return max(0, int(datetime.datetime.fromisoformat(str(when)).timestamp()))
    except (ValueError, OverflowError):
        return 0


def ready_of(item: Object) -> tuple[str, int]:
    """The Service of an EndpointSlice, and how many of its endpoints are ready."""
    meta = item.get("metadata") or {}
    count = 0
    for endpoint in item.get("endpoints") or []:
        conditions = endpoint.get("conditions") or {}
        if endpoint.get("addresses") and conditions.get("ready") is not False:
            count += 1
    return str((meta.get("labels") or {}).get(_SERVICE_OF, "")), count
