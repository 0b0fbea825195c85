"""The way into the region's own cluster: what kube-control, certificates and configuration give.

Charmed Kubernetes tells no CA by kube-control; its charms learn it from easyrsa by the relation
`certificates`. Canonical Kubernetes gives it as a secret of kube-control.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from federation_interfaces.cluster import Cluster, ClusterAddress
from federation_interfaces.fields import check_certificates

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class AccessMissingError(Exception):
    """Access to the cluster is not there; the text says what is missing.

    Attributes:
        mendable: an operator has to act, and the text says how; otherwise waiting is enough.
    """

    def __init__(self, message: str, *, mendable: bool = False):
        super().__init__(message)
        self.mendable = mendable


class KubeControl(Protocol):
    """What is needed of ops.interface_kube_control's requirer."""

    @property
    def is_ready(self) -> bool:
        """Whether the control plane has published its data."""
        ...

    def get_auth_credentials(self, user: str) -> Mapping[str, str] | None:
        """Return the tokens that were made for `user`."""
        ...

    def get_api_endpoints(self) -> list[str]:
        """Return the addresses of the API."""
        ...

    def get_ca_certificate(self) -> bytes | None:
        """Return the CA's certificate, if the control plane gives it."""
        ...


@dataclass(frozen=True)
class Access:
    """The region's cluster and the admin's token, which is kept in memory only."""

    address: ClusterAddress
    admin_token: str = field(repr=False)

    def admin(self) -> Cluster:
        """Return the API as the admin sees it: to make, mend and remove accounts."""
        return self._admin

    @cached_property
    def _admin(self) -> Cluster:
        return Cluster(self.address, self.admin_token)


def read_access(
    kube_control: KubeControl,
    user: str,
    *,
    certificates: Sequence[Mapping[str, str]] | None = None,
    ca_certificate: str = "",
) -> Access:
    """Read access to the cluster from the charm's relations and configuration.

    Args:
        kube_control: the requirer's side of the relation.
        user: whom the token was asked for.
        certificates: unit databags of the relation `certificates` (tls-certificates, the form
            with a plain key `ca`); None where there is no such relation.
        ca_certificate: the configured one, used where the relations give none.

    Raises:
        AccessMissingError: some of it is not there yet.
    """
    if not kube_control.is_ready:
        raise AccessMissingError("kube-control has not given access yet")
    credentials = kube_control.get_auth_credentials(user) or {}
    servers = kube_control.get_api_endpoints()
    token = credentials.get("client_token")
    if not servers or not token:
        raise AccessMissingError("kube-control has not given access yet")
    authority = _authority(kube_control.get_ca_certificate(), certificates, ca_certificate)
    return Access(ClusterAddress(servers[0].rstrip("/"), authority), token)


def _authority(
    given: bytes | None,
    certificates: Sequence[Mapping[str, str]] | None,
    configured: str,
) -> str:
    if given:
        return _checked(given.decode(errors="replace"), "kube-control")
    told = [bag["ca"] for bag in certificates or () if bag.get("ca", "").strip()]
    if told:
        return _checked("\n".join(dict.fromkeys(told)), "certificates")
    if configured:
        return configured
    if certificates is not None:
        raise AccessMissingError("certificates has not given the cluster's CA yet")
    raise AccessMissingError(
        "the cluster's CA is not known: integrate certificates with easyrsa:client, "
        "or set ca-certificate",
        mendable=True,
    )


def _checked(text: str, source: str) -> str:
    # What easyrsa writes may have the certificate in words before it.
    found = _CERTIFICATE.findall(text)
    try:
        return check_certificates("\n".join(found) if found else text)
    except ValueError as error:
        raise AccessMissingError(f"the CA from {source} is refused: it {error}") from error
