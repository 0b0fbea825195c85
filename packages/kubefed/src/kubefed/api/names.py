"""Names of the KubeFed API: groups, kinds, labels, annotations, finalizers, reasons.

The names are those of KubeFed v0.10.0, so that objects of an existing federation are understood
as they are; what v0.10.0 doesn't have (the Lease, the annotations of a cluster) says so.
"""

from __future__ import annotations

from enum import StrEnum

CORE_GROUP = "core.kubefed.io"
SCHEDULING_GROUP = "scheduling.kubefed.io"
TYPES_GROUP = "types.kubefed.io"

V1BETA1 = "v1beta1"
V1ALPHA1 = "v1alpha1"
CORE_V1BETA1 = f"{CORE_GROUP}/{V1BETA1}"
CORE_V1ALPHA1 = f"{CORE_GROUP}/{V1ALPHA1}"
SCHEDULING_V1ALPHA1 = f"{SCHEDULING_GROUP}/{V1ALPHA1}"
TYPES_V1BETA1 = f"{TYPES_GROUP}/{V1BETA1}"

# Fixed names.
DEFAULT_NAMESPACE = "kube-federation-system"
CONFIG_NAME = "kubefed"
CONTROLLER_NAME = "kubefed-controller-manager"
CONTROLLER_ACCOUNT = "kubefed-controller"
FIELD_MANAGER = "kubefed"
TOKEN_KEY = "token"  # noqa: S105 - the name of a key in a Secret

# Namespaces that a FederatedNamespace can't name (besides the federation's own).
IGNORED_NAMESPACES = frozenset({"kube-system", "kube-public", "default"})
# Namespaces where the federation's account in a member may write nothing at all.
GUARDED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})

# Labels.
MANAGED_LABEL = "kubefed.io/managed"
MANAGED = "true"
UNMANAGED = "false"

# Annotations.
ORPHAN_ANNOTATION = "kubefed.io/orphan"
DELETE_OPTION_ANNOTATION = "kubefed.io/deleteoption"
# Ours: which cluster a KubeFedCluster is: the UID of its namespace kube-system.
CLUSTER_UID_ANNOTATION = "kubefed.io/cluster-uid"
# Ours, both on a KubeFedCluster: the operator's word that nobody is to wait for it, and what
# deletions left there that didn't wait.
FORGET_ANNOTATION = "kubefed.io/forget"
LEFT_BEHIND_ANNOTATION = "kubefed.io/left-behind"
# Ours: what the account of the federation in a member was made for.
ACCOUNT_LABEL = "kubefed.io/federation-account"

# Finalizers.
SYNC_FINALIZER = "kubefed.io/sync-controller"
TYPE_CONFIG_FINALIZER = "core.kubefed.io/federated-type-config"

# Feature gates and the state that each has unless configured.
PUSH_RECONCILER = "PushReconciler"
RAW_RESOURCE_STATUS_COLLECTION = "RawResourceStatusCollection"
SCHEDULER_PREFERENCES = "SchedulerPreferences"


class Toggle(StrEnum):
    """State of a feature gate, of propagation, of status collection, of adoption."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


FEATURE_GATES: dict[str, Toggle] = {
    PUSH_RECONCILER: Toggle.ENABLED,
    RAW_RESOURCE_STATUS_COLLECTION: Toggle.DISABLED,
    SCHEDULER_PREFERENCES: Toggle.ENABLED,
}


class Scope(StrEnum):
    """What a control plane federates (KubeFedConfig) and the scope of a type."""

    CLUSTER = "Cluster"
    NAMESPACED = "Namespaced"


class ControllerState(StrEnum):
    """State of a type's controllers in the status of its FederatedTypeConfig."""

    RUNNING = "Running"
    NOT_RUNNING = "NotRunning"


class ClusterCondition(StrEnum):
    """Types of condition in the status of a KubeFedCluster."""

    READY = "Ready"
    OFFLINE = "Offline"
    CONFIG_MALFORMED = "ConfigMalformed"


class ClusterReason(StrEnum):
    """Reasons of a KubeFedCluster's conditions."""

    READY = "ClusterReady"
    NOT_READY = "ClusterNotReady"
    REACHABLE = "ClusterReachable"
    NOT_REACHABLE = "ClusterNotReachable"
    CONFIG_MALFORMED = "ClusterConfigMalformed"


PROPAGATION_CONDITION = "Propagation"


class AggregateReason(StrEnum):
    """Reason of the Propagation condition of a federated object; empty when all is well."""

    SUCCESS = ""
    CLUSTER_RETRIEVAL_FAILED = "ClusterRetrievalFailed"
    COMPUTE_PLACEMENT_FAILED = "ComputePlacementFailed"
    CHECK_CLUSTERS = "CheckClusters"
    NAMESPACE_NOT_FEDERATED = "NamespaceNotFederated"


class PropagationStatus(StrEnum):
    """State of one cluster in the status of a federated object; absent when all is well."""

    OK = ""
    WAITING_FOR_REMOVAL = "WaitingForRemoval"
    CLUSTER_NOT_READY = "ClusterNotReady"
    CACHED_RETRIEVAL_FAILED = "CachedRetrievalFailed"
    COMPUTE_RESOURCE_FAILED = "ComputeResourceFailed"
    APPLY_OVERRIDES_FAILED = "ApplyOverridesFailed"
    CREATION_FAILED = "CreationFailed"
    UPDATE_FAILED = "UpdateFailed"
    DELETION_FAILED = "DeletionFailed"
    LABEL_REMOVAL_FAILED = "LabelRemovalFailed"
    RETRIEVAL_FAILED = "RetrievalFailed"
    ALREADY_EXISTS = "AlreadyExists"
    FIELD_RETENTION_FAILED = "FieldRetentionFailed"
    VERSION_RETRIEVAL_FAILED = "VersionRetrievalFailed"
    CLIENT_RETRIEVAL_FAILED = "ClientRetrievalFailed"
    MANAGED_LABEL_FALSE = "ManagedLabelFalse"
    CREATION_TIMED_OUT = "CreationTimedOut"
    UPDATE_TIMED_OUT = "UpdateTimedOut"
    DELETION_TIMED_OUT = "DeletionTimedOut"
    LABEL_REMOVAL_TIMED_OUT = "LabelRemovalTimedOut"

    @property
    def recoverable(self) -> bool:
        """Whether trying again by itself can help, without a change of any object."""
        return self in _RECOVERABLE


_RECOVERABLE = frozenset(
    {
        PropagationStatus.CREATION_FAILED,
        PropagationStatus.UPDATE_FAILED,
        PropagationStatus.DELETION_FAILED,
        PropagationStatus.LABEL_REMOVAL_FAILED,
        PropagationStatus.RETRIEVAL_FAILED,
        PropagationStatus.CLIENT_RETRIEVAL_FAILED,
        PropagationStatus.CREATION_TIMED_OUT,
        PropagationStatus.UPDATE_TIMED_OUT,
        PropagationStatus.DELETION_TIMED_OUT,
        PropagationStatus.LABEL_REMOVAL_TIMED_OUT,
    }
)


class TlsValidation(StrEnum):
    """What `disabledTLSValidations` of a KubeFedCluster can switch off."""

    ALL = "*"
    SUBJECT_NAME = "SubjectName"
    VALIDITY_PERIOD = "ValidityPeriod"
