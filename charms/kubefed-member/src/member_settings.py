"""What the charm is told (configuration, federations) and which rights it makes. Pure."""

import dataclasses
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from federation_interfaces.cluster import CHARMS_NAMESPACE, CLUSTER_ROLES, Account, Rule
from federation_interfaces.fields import (
    ConfiguredCertificates,
    ConfiguredRegion,
    ConfiguredUrl,
    Duration,
    TokenLifetime,
    check_labels,
)
from federation_interfaces.kubefed_member import FederatedKind
from pydantic import BaseModel, ConfigDict, field_validator

ACCOUNT = "kubefed-member"


class Settings(BaseModel):
    """The charm's configuration, read and checked."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    region: ConfiguredRegion = ""
    api_endpoint: ConfiguredUrl = ""
    ca_certificate: ConfiguredCertificates = ""
    labels: dict[str, str] = {}
    scope: tuple[str, ...] = ()
    token_lifetime: TokenLifetime = timedelta(hours=24)
    token_warning: Duration = timedelta(hours=2)
    workloads_on_leave: Literal["keep", "delete"] = "keep"

    @field_validator("labels", mode="before")
    @classmethod
    def _labels(cls, value: str) -> dict[str, str]:
        pairs = [part.strip() for part in value.split(",") if part.strip()]
        if any("=" not in pair for pair in pairs):
            raise ValueError("must be KEY=VALUE,KEY=VALUE")
        return check_labels(dict(pair.split("=", 1) for pair in pairs))

    @field_validator("scope", mode="before")
    @classmethod
    def _scope(cls, value: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in value.split(",") if part.strip())


class Federation(BaseModel):
    """One federation that this region is a member of, as kept on disk.

    Attributes:
        kinds: what the host asks for; None: the standard ten.
        scope: what the operator allows of them; empty: all.
        digest: of what was prepared in the cluster; another one is wanted, it is done again.
        issued_at: when its token was minted.
        ends_at: and when that one ends; the databag tells whether Juju kept it.
        taken_at: when the token was minted that the host said to hold when older ones were ended.
        error: why the last try failed; empty: it did not.
    """

    host_cluster: str
    namespace: str
    kinds: list[FederatedKind] | None = None
    scope: tuple[str, ...] = ()
    service_account: str = ""
    digest: str = ""
    issued_at: datetime | None = None
    ends_at: datetime | None = None
    taken_at: datetime | None = None
    error: str = ""

    def same_host(self, other: "Federation") -> bool:
        """Say whether both are the same federation."""
        return (self.host_cluster, self.namespace) == (other.host_cluster, other.namespace)


def wanted_kinds(federation: Federation) -> list[FederatedKind]:
    """Return the kinds that the host asks for, as far as the operator allows them."""
    from kubefed.api import STANDARD_KINDS

    if federation.kinds is None:
        kinds = [FederatedKind(**dataclasses.asdict(kind)) for kind in STANDARD_KINDS]
    else:
        kinds = federation.kinds
    allowed = set(federation.scope)
    return [
        kind
        for kind in kinds
        if not allowed or {kind.plural, f"{kind.plural}.{kind.group}".rstrip(".")} & allowed
    ]


def federation_role(service_account: str) -> str:
    """Return the path of the ClusterRole of the federation's account."""
    return f"{CLUSTER_ROLES}/{role_name(service_account)}"


def role_name(service_account: str) -> str:
    """Return the name of that ClusterRole and its binding, as kubefed.membership makes them."""
    return f"kubefed-controller-manager:{service_account}"


def federation_objects(service_account: str, namespace: str) -> list[str]:
    """Return the paths of what goes with the ClusterRole of the federation's account.

    The cluster's garbage collector deletes them after the role, so that the policy never ends
    before the rights that it limits.
    """
    admission = "/apis/admissionregistration.k8s.io/v1"
    return [
        f"{CLUSTER_ROLES.removesuffix('roles')}rolebindings/{role_name(service_account)}",
        f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}",
        f"{admission}/validatingadmissionpolicies/kubefed-{service_account}",
        f"{admission}/validatingadmissionpolicybindings/kubefed-{service_account}",
    ]


def own_account(
    federation: Federation, service_account: str, *, keep_namespace: bool = False
) -> Account:
    """Return the charm's own account: it mints tokens of the federation's account, and ends it.

    It may end itself too, so that nothing stays when kube-control is gone before the charm.
    """
    role = f"{ACCOUNT}-{federation.host_cluster}"
    place = Rule(("",), ("namespaces",), ("delete",), (federation.namespace,))
    return Account(
        name=ACCOUNT,
        namespace=CHARMS_NAMESPACE,
        cluster_rules=() if keep_namespace else (place,),
        rules=(Rule(("",), ("serviceaccounts/token",), ("create",), (service_account,)),),
        rules_namespace=federation.namespace,
        role=role,
        ends=(role_name(service_account), role),
    )
