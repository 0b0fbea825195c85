"""What the tests of membership share: a member with the federation's account in it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator
from datetime import timedelta
from typing import Any

from federation_lab.cluster.control_plane import ControlPlane
from kubefed import clients, membership
from kubefed.api import (
    CLUSTER_ROLE,
    CONFIG_MAP,
    MANAGED_LABEL,
    STANDARD_KINDS,
    Manifest,
    TargetKind,
)
from kubefed.clients import Resources
from kubernetes.client import ApiClient


def admin(plane: ControlPlane) -> ApiClient:
    return clients.from_kubeconfig(plane.directory / "admin.kubeconfig", plane.name)


@dataclasses.dataclass
class Member:
    """A member cluster with the federation's account in it."""

    plane: ControlPlane
    admin: Resources
    token: str

    def account(self) -> Resources:
        api = clients.from_token(self.plane.endpoint, self.token, self.plane.ca_certificate)
        return Resources(api)


@contextlib.contextmanager
def prepared(plane: ControlPlane, namespace: str) -> Generator[Member]:
    """A member called palermo, as long as the block lasts."""
    api = admin(plane)
    account = membership.prepare_member(
        api, cluster="palermo", host_cluster="host", namespace=namespace, kinds=STANDARD_KINDS
    )
    token = membership.mint_token(
        api, service_account=account, namespace=namespace, lifetime=timedelta(hours=1)
    )
    yield Member(plane, Resources(api), token.token)
    membership.remove_member(
        api, cluster="palermo", host_cluster="host", namespace=namespace, keep_namespace=False
    )


def config_map(name: str, namespace: str = "default", *, managed: bool = True) -> Manifest:
    return thing(CONFIG_MAP, name, namespace, managed=managed)


def thing(
    kind: TargetKind, name: str, namespace: str | None, *, managed: bool, **fields: Any
) -> Manifest:
    metadata: Manifest = {"name": name} | ({"namespace": namespace} if namespace else {})
    if managed:
        metadata["labels"] = {MANAGED_LABEL: "true"}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": metadata,
        **fields,
    }


def role(name: str, rules: list[Manifest], **fields: Any) -> Manifest:
    return thing(CLUSTER_ROLE, name, None, managed=True, rules=rules, **fields)
