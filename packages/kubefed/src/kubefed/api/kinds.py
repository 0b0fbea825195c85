"""Kinds that can be federated, and the federated kinds made of them."""

from __future__ import annotations

import dataclasses

from kubefed.api.names import (
    CORE_GROUP,
    SCHEDULING_GROUP,
    TYPES_GROUP,
    V1ALPHA1,
    V1BETA1,
    Scope,
)


@dataclasses.dataclass(frozen=True, order=True)
class TargetKind:
    """A kind of the Kubernetes API that is (or can be) federated.

    Attributes:
        group: the API group, "" for the core group.
        version: the version of the group, as in "v1".
        kind: the name of the kind, as in "Deployment".
        plural: the name of the resource, as in "deployments".
        namespaced: whether its objects live in namespaces.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """`<plural>.<group>`, or the plural alone in the core group: a FederatedTypeConfig's name.

        >>> TargetKind("apps", "v1", "Deployment", "deployments").full_name
        'deployments.apps'
        >>> TargetKind("", "v1", "Secret", "secrets").full_name
        'secrets'
        """
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def scope(self) -> Scope:
        """The scope as an APIResource of a FederatedTypeConfig names it."""
        return Scope.NAMESPACED if self.namespaced else Scope.CLUSTER

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Give the URL path of the collection, or of one object.

        Args:
            namespace: the namespace; None for all namespaces or a cluster-scoped kind.
            name: the object's name; None for the collection.

        >>> TargetKind("apps", "v1", "Deployment", "deployments").path("shop", "web")
        '/apis/apps/v1/namespaces/shop/deployments/web'
        >>> TargetKind("", "v1", "Namespace", "namespaces", False).path(name="shop")
        '/api/v1/namespaces/shop'
        """
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        return "/".join(parts)


@dataclasses.dataclass(frozen=True, order=True)
class FederatedType:
    """A target kind with the federated kind that stands for it in the host.

    Attributes:
        target: what is made in the members.
        federated: what users write in the host.
    """

    target: TargetKind
    federated: TargetKind

    @classmethod
    def of(
        cls, target: TargetKind, *, group: str = TYPES_GROUP, version: str = V1BETA1
    ) -> FederatedType:
        """Give the federated type that KubeFed makes of a target.

        Args:
            target: the kind to federate.
            group: the federated group; `--federated-group` of `kubefed enable`.
            version: the federated version.

        >>> FederatedType.of(TargetKind("apps", "v1", "Deployment", "deployments")).federated
        TargetKind(group='types.kubefed.io', version='v1beta1', kind='FederatedDeployment', \
plural='federateddeployments', namespaced=True)
        """
        # The federated kind of Namespace is namespaced although its target is not: a
        # FederatedNamespace lives in the namespace that it federates.
        namespaced = target.namespaced or target.kind == "Namespace"
        federated = TargetKind(
            group, version, f"Federated{target.kind}", f"federated{target.plural}", namespaced
        )
        return cls(target, federated)

    @property
    def name(self) -> str:
        """The name of its FederatedTypeConfig."""
        return self.target.full_name

    @property
    def is_namespace(self) -> bool:
        """Whether this is FederatedNamespace."""
        return self.target.group == "" and self.target.kind == "Namespace"


def plural_of(kind: str) -> str:
    """Guess the plural of a kind as v0.10.0 does where `pluralName` is left empty.

    >>> [plural_of(kind) for kind in ("Ingress", "NetworkPolicy", "Service", "Box")]
    ['ingresses', 'networkpolicies', 'services', 'boxes']
    """
    lower = kind.lower()
    if lower.endswith(("s", "x", "ch", "sh", "z", "o")):
        return f"{lower}es"
    if lower.endswith("y"):
        return f"{lower[:-1]}ies"
    return f"{lower}s"


CLUSTER_ROLE = TargetKind(
    "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False
)
CONFIG_MAP = TargetKind("", "v1", "ConfigMap", "configmaps")
CUSTOM_RESOURCE_DEFINITION = TargetKind(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)
DEPLOYMENT = TargetKind("apps", "v1", "Deployment", "deployments")
INGRESS = TargetKind("networking.k8s.io", "v1", "Ingress", "ingresses")
JOB = TargetKind("batch", "v1", "Job", "jobs")
NAMESPACE = TargetKind("", "v1", "Namespace", "namespaces", namespaced=False)
REPLICA_SET = TargetKind("apps", "v1", "ReplicaSet", "replicasets")
SECRET = TargetKind("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT = TargetKind("", "v1", "ServiceAccount", "serviceaccounts")
SERVICE = TargetKind("", "v1", "Service", "services")

# The ten that a new control plane federates.
STANDARD_KINDS: tuple[TargetKind, ...] = (
    CLUSTER_ROLE,
    CONFIG_MAP,
    DEPLOYMENT,
    INGRESS,
    JOB,
    NAMESPACE,
    REPLICA_SET,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
)

# Short names of the ten's targets; those of the federated kinds put an "f" before each. Those of
# the namespaces, config maps, ... are Kubernetes' own (`kubectl api-resources`).
SHORT_NAMES: dict[str, tuple[str, ...]] = {
    "configmaps": ("cm",),
    "deployments.apps": ("deploy",),
    "ingresses.networking.k8s.io": ("ing",),
    "namespaces": ("ns",),
    "replicasets.apps": ("rs",),
    "serviceaccounts": ("sa",),
    "services": ("svc",),
}

# Targets of the ten with an integer `spec.replicas`, hence with `retainReplicas`. The names
# also say what a ReplicaSchedulingPreference can aim at.
SCALABLE: frozenset[TargetKind] = frozenset({DEPLOYMENT, REPLICA_SET})

# The kinds of the control plane itself: they are never federated, but named and addressed alike.
KUBEFED_CLUSTER = TargetKind(CORE_GROUP, V1BETA1, "KubeFedCluster", "kubefedclusters")
KUBEFED_CONFIG = TargetKind(CORE_GROUP, V1BETA1, "KubeFedConfig", "kubefedconfigs")
FEDERATED_TYPE_CONFIG = TargetKind(
    CORE_GROUP, V1BETA1, "FederatedTypeConfig", "federatedtypeconfigs"
)
PROPAGATED_VERSION = TargetKind(CORE_GROUP, V1ALPHA1, "PropagatedVersion", "propagatedversions")
CLUSTER_PROPAGATED_VERSION = TargetKind(
    CORE_GROUP,
    V1ALPHA1,
    "ClusterPropagatedVersion",
    "clusterpropagatedversions",
    namespaced=False,
)
FEDERATED_SERVICE_STATUS = TargetKind(
    CORE_GROUP, V1ALPHA1, "FederatedServiceStatus", "federatedservicestatuses"
)
REPLICA_SCHEDULING_PREFERENCE = TargetKind(
    SCHEDULING_GROUP, V1ALPHA1, "ReplicaSchedulingPreference", "replicaschedulingpreferences"
)
