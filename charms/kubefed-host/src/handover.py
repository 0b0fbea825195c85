"""Ends one control plane's turn in the host cluster, so that the other's may begin.

The embedded controller's RoleBinding in the federation's namespace says whose turn it is: it goes
before anything of upstream's is made, and comes back after the last of it is gone. Without it no
embedded controller renews its Lease, not even one on a unit that nobody hears of; and without its
own upstream renews nothing either. So a lock that is not renewed for its whole duration is free.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from federation_interfaces.cluster import CLUSTER_ROLES, Cluster, ClusterRefusedError
from host_accounts import UPSTREAM_ACCOUNT
from kubefed_host import HostError

# Names of kubefed.rbac and kubefed.api, which to import would cost each hook.
LOCK = "kubefed-controller-manager"
SYSTEM_ROLE_BINDING = "kubefed-config-rolebinding"
CONTROLLER_ROLE_BINDING = "kubefed-rolebinding"
DEFAULT_NAMESPACE = "kube-federation-system"
LOCK_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"

DEPLOYMENT = "kubefed-controller-manager"
POD_LABEL = "kubefed-control-plane=controller-manager"
APP_LABEL = "juju.io/application"  # as ops.manifests writes it
# A right that was taken is taken in every API server after a moment.
SETTLE_SECONDS = 2.0
LOCK_SECONDS = 45.0
# Of the pods' 10 s to end by themselves; a node that is lost never says so.
PODS_SECONDS = 25.0
POLL_SECONDS = 0.5
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_NOT_FOUND = 404


class AskOperatorError(HostError):
    """Something stands in the way that only an operator should move; the text says what."""


@dataclasses.dataclass(frozen=True)
class Lock:
    """The lock of a leader election.

    Attributes:
        version: another one after each write; empty: there is no lock.
        holder: who holds it.
        duration: seconds without a renewal after which others may take it.
    """

    version: str = ""
    holder: str = ""
    duration: float = 0.0


def lease_of(lease: Mapping[str, Any] | None) -> Lock:
    """Read the embedded controller's lock."""
    if lease is None:
        return Lock()
    spec: dict[str, Any] = lease.get("spec") or {}
    return Lock(
        str(lease["metadata"].get("resourceVersion")),
        str(spec.get("holderIdentity") or ""),
        float(spec.get("leaseDurationSeconds") or 0),
    )


def record_of(config_map: Mapping[str, Any] | None) -> Lock:
    """Read upstream's lock."""
    if config_map is None:
        return Lock()
    metadata: dict[str, Any] = config_map["metadata"]
    text = str((metadata.get("annotations") or {}).get(LOCK_ANNOTATION) or "{}")
    try:
        record: dict[str, Any] = json.loads(text)
    except ValueError:
        record = {}
    return Lock(
        str(metadata.get("resourceVersion")),
        str(record.get("holderIdentity") or ""),
        float(record.get("leaseDurationSeconds") or 0),
    )


class Handover:
    """What has to end, and how it is seen that it has.

    Args:
        cluster: the host cluster, as its administrator sees it.
        namespace: the federation's.
        app: this application's name, by which its own objects are known.
    """

    def __init__(self, cluster: Cluster, namespace: str, app: str):
        self._cluster = cluster
        self._namespace = namespace
        self._app = app

    def embedded_may_act(self) -> bool:
        """Say whether it is the embedded controller's turn; raises ClusterError."""
        return self.get(self._embedded_bindings()[0]) is not None

    def deployment(self) -> dict[str, Any] | None:
        """Return upstream's Deployment.

        Raises:
            AskOperatorError: it is somebody else's.
            ClusterError: the cluster refused or did not answer.
        """
        found = self.get(self._deployment())
        labels: dict[str, str] = (found or {}).get("metadata", {}).get("labels") or {}
        if found is not None and labels.get(APP_LABEL) != self._app:
            raise AskOperatorError(
                f"Deployment {self._namespace}/{DEPLOYMENT} controls this federation and is not "
                "this charm's; remove it first (helm uninstall, or kubectl delete)"
            )
        return found

    def end_embedded(self) -> None:
        """Take the embedded controllers' rights, and see that none leads any more.

        Raises:
            HostError: one still does.
            ClusterError: the cluster refused or did not answer.
        """
        for path in self._embedded_bindings():
            _ = self._cluster.delete(path)
        group = "/apis/coordination.k8s.io/v1"
        lease = f"{group}/namespaces/{self._namespace}/leases/{LOCK}"
        self._await_free("the embedded controller", lambda: lease_of(self.get(lease)))

    def end_upstream(self) -> None:
        """Take upstream away, and see that none of it leads any more.

        Raises:
            AskOperatorError: it is somebody else's.
            HostError: one still does.
            ClusterError: the cluster refused or did not answer.
        """
        if self.deployment() is not None:
            _ = self._cluster.delete(f"{self._deployment()}?propagationPolicy=Foreground")
        core = f"/api/v1/namespaces/{self._namespace}"
        ended = self._await_no_pods(f"{core}/pods?{urlencode({'labelSelector': POD_LABEL})}")
        # Not before its pods have ended: they write down what they did.
        for path in self._upstream_objects():
            _ = self._cluster.delete(path)
        lock = f"{core}/configmaps/{LOCK}"
        if not ended:
            self._await_free("upstream's controller manager", lambda: record_of(self.get(lock)))
        _ = self._cluster.delete(lock)

    def get(self, path: str) -> dict[str, Any] | None:
        """Return an object, None where there is none; raises ClusterError."""
        try:
            return self._cluster.request("GET", path)
        except ClusterRefusedError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def _await_free(self, whose: str, look: Callable[[], Lock]) -> None:
        """Wait until nobody holds a lock, by this unit's own clock."""
        began = since = clock()
        seen = look()
        while True:
            needed = max(SETTLE_SECONDS, seen.duration if seen.holder else 0)
            if clock() - since >= needed:
                return
            if clock() - began >= LOCK_SECONDS:
                raise HostError(
                    f"{whose} ({seen.holder}) still leads after {LOCK_SECONDS:.0f} s; "
                    "end it, and the charm goes on"
                )
            sleep(POLL_SECONDS)
            lock = look()
            if lock.version != seen.version:
                seen, since = lock, clock()

    def _await_no_pods(self, path: str) -> bool:
        """Wait until the cluster has no pod of upstream's; False: one is still there."""
        began = clock()
        while (self.get(path) or {}).get("items") or self.get(self._deployment()) is not None:
            if clock() - began >= PODS_SECONDS:
                return False
            sleep(POLL_SECONDS)
        return True

    def _deployment(self) -> str:
        return f"/apis/apps/v1/namespaces/{self._namespace}/deployments/{DEPLOYMENT}"

    def _embedded_bindings(self) -> tuple[str, str]:
        """Return the paths of the embedded controller's bindings; the first one decides."""
        own = "" if self._namespace == DEFAULT_NAMESPACE else f":{self._namespace}"
        return (
            f"{_RBAC}/namespaces/{self._namespace}/rolebindings/{SYSTEM_ROLE_BINDING}",
            f"{_RBAC}/clusterrolebindings/{CONTROLLER_ROLE_BINDING}{own}",
        )

    def _upstream_objects(self) -> tuple[str, ...]:
        """Return the paths of what upstream has beside its Deployment; its role last."""
        namespaced = f"{_RBAC}/namespaces/{self._namespace}"
        core = f"/api/v1/namespaces/{self._namespace}"
        network = f"/apis/networking.k8s.io/v1/namespaces/{self._namespace}"
        name = UPSTREAM_ACCOUNT
        return (
            f"{_RBAC}/clusterrolebindings/{name}",
            f"{namespaced}/rolebindings/{name}",
            f"{namespaced}/roles/{name}",
            f"{core}/services/{DEPLOYMENT}-metrics-service",
            f"{network}/networkpolicies/{name}",
            f"{core}/serviceaccounts/{name}",
            f"{CLUSTER_ROLES}/{name}",
        )


def clock() -> float:
    """Return seconds that never go back; tests replace it."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait; tests replace it."""
    time.sleep(seconds)
