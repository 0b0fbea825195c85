"""What all pods of a node share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import aiohttp

from federation_lab.cluster.kube import KubeApi, Object
from federation_lab.cluster.kubelet.images import Images
from federation_lab.cluster.kubelet.sandbox import AddressPool


@dataclasses.dataclass
class Node:
    """What all pods of a node share.

    Attributes:
        api: the cluster's.
        session: for probes, without credentials.
        address: the node's.
        state: the directory with a directory for each pod.
        images: gives the images.yaml that holds now.
        programs: what images.yaml calls ``{programs}``.
        pool: the pods' addresses.
        services: gives all Services.
        names: gives the addresses of each ``<service>.<namespace>``.
        event: tells users about an object: object, type, reason, message.
    """

    api: KubeApi
    session: aiohttp.ClientSession
    address: str
    state: Path
    images: Callable[[], Images]
    programs: Path
    pool: AddressPool
    services: Callable[[], list[Object]]
    names: Callable[[], dict[str, tuple[str, ...]]]
    event: Callable[[Object, str, str, str], None]
