"""The objects that kubefedctl v0.10.0 writes, and what it waits for, without the program itself.

`test_kubefedctl.py` has the program do the same where there is one; then this runs by night only.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from federation_lab import tools
from kubefed import membership, rbac
from kubefed.api import (
    CLUSTER_ROLE,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    Manifest,
    TargetKind,
    federated_crd,
)
from kubefed.clients import Resources
from kubefed.install import CRD
from standalone_harness import controller, eventually, objects, shell


def _program() -> bool:
    try:
        return bool(os.environ.get("KUBEFEDCTL") or tools.upstream())
    except tools.ToolsMissing:
        return False


pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        os.environ.get("FEDERATION_SOAK") != "1" and _program(),
        reason="kubefedctl itself does it in test_kubefedctl.py; FEDERATION_SOAK=1",
    ),
]

FEDERATION = "upstream-test"
ACCOUNT = "napoli-catania"
ROLE = f"kubefed-controller-manager:{ACCOUNT}"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controller") / "log"


@pytest.fixture(scope="module")
def host(kubeconfig: Path, environment: dict[str, str], log: Path) -> Generator[Resources]:
    """The host, with a controller as long as the module's tests run."""
    suffix = f"--kubefed-namespace {FEDERATION}"
    shell(f"kubefed init {suffix}", environment)
    line = f"kubefed controller --kubeconfig {kubeconfig} --context catania {suffix}"
    with controller(line, environment, log):
        yield objects(kubeconfig, "catania")
    shell(f"kubefed uninstall {suffix}", environment)


@pytest.fixture(scope="module")
def member(kubeconfig: Path) -> Resources:
    return objects(kubeconfig, "napoli")


def join(host: Resources, member: Resources) -> Manifest:
    """Do what `kubefedctl join` does; give its KubeFedCluster."""
    namespace: Manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": FEDERATION},
    }
    member.create(NAMESPACE, namespace)
    account: Manifest = {
        "metadata": {
            "name": ACCOUNT,
            "namespace": FEDERATION,
            "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"},
        },
        "automountServiceAccountToken": False,
    }
    member.create(SERVICE_ACCOUNT, {"apiVersion": "v1", "kind": "ServiceAccount", **account})
    everything = [rbac.rule(["*"], ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["get"]}]
    member.create(CLUSTER_ROLE, rbac.cluster_role(ROLE, everything))
    member.create(rbac.CLUSTER_ROLE_BINDING, rbac.binding(ROLE, ROLE, ACCOUNT, FEDERATION))
    token = membership.lasting_token(member.api, service_account=ACCOUNT, namespace=FEDERATION)
    secret = host.create(
        SECRET,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "napoli-x7k2p", "namespace": FEDERATION},
            "data": {"token": base64.b64encode(token.token.encode()).decode()},
        },
    )
    settings = member.api.configuration
    authority = Path(str(settings.ssl_ca_cert)).read_bytes()
    return host.create(
        KUBEFED_CLUSTER,
        {
            "apiVersion": KUBEFED_CLUSTER.api_version,
            "kind": KUBEFED_CLUSTER.kind,
            "metadata": {
                "name": "napoli",
                "namespace": FEDERATION,
                "creationTimestamp": None,
            },
            "spec": {
                "apiEndpoint": settings.host,
                "caBundle": base64.b64encode(authority).decode(),
                "secretRef": {"name": secret["metadata"]["name"]},
            },
            # As Go writes what isn't set.
            "status": {"conditions": None},
        },
    )


def test_a_cluster_that_upstream_joined(
    host: Resources, member: Resources, environment: dict[str, str], log: Path
) -> None:
    made = join(host, member)

    def entry() -> Manifest:
        return host.get(KUBEFED_CLUSTER, "napoli", FEDERATION) or {}

    def ready() -> bool:
        conditions = (entry().get("status") or {}).get("conditions") or []
        return [(each["type"], each["status"]) for each in conditions] == [("Ready", "True")]

    eventually(ready, 20, "the cluster's readiness", log)
    assert entry()["spec"] == made["spec"]
    assert entry()["metadata"]["generation"] == 1
    listed = shell(f"kubefed status --kubefed-namespace {FEDERATION}", environment)
    assert "napoli" in listed.stdout
    # What ours takes away is all that upstream's made.
    shell(f"kubefed unjoin napoli --kubefed-namespace {FEDERATION}", environment)
    assert host.get(SECRET, "napoli-x7k2p", FEDERATION) is None
    assert member.get(CLUSTER_ROLE, ROLE) is None
    assert member.get(rbac.CLUSTER_ROLE_BINDING, ROLE) is None
    assert member.get(NAMESPACE, FEDERATION) is None


def test_a_type_that_upstream_enables_and_disables(host: Resources, log: Path) -> None:
    target = TargetKind("", "v1", "LimitRange", "limitranges")
    crd = federated_crd(target, ("limits",))
    # Upstream's client writes neither columns nor the names that the API server fills in.
    del crd["spec"]["versions"][0]["additionalPrinterColumns"]
    del crd["spec"]["names"]["singular"], crd["spec"]["names"]["listKind"]
    host.create(CRD, crd)
    scope = {"version": "v1", "kind": "LimitRange", "pluralName": "limitranges"}
    where = (FEDERATED_TYPE_CONFIG, "limitranges", FEDERATION)
    host.create(
        FEDERATED_TYPE_CONFIG,
        {
            "apiVersion": FEDERATED_TYPE_CONFIG.api_version,
            "kind": FEDERATED_TYPE_CONFIG.kind,
            "metadata": {
                "name": "limitranges",
                "namespace": FEDERATION,
                "creationTimestamp": None,
            },
            "spec": {
                "targetType": {**scope, "scope": "Namespaced"},
                "propagation": "Enabled",
                "federatedType": {
                    "group": "types.kubefed.io",
                    "version": "v1beta1",
                    "kind": "FederatedLimitRange",
                    "pluralName": "federatedlimitranges",
                    "scope": "Namespaced",
                },
            },
            "status": {"observedGeneration": 0, "propagationController": ""},
        },
    )

    def state() -> tuple[object, object]:
        found = host.get(*where) or {}
        status = found.get("status") or {}
        current = status.get("observedGeneration") == (found.get("metadata") or {}).get(
            "generation"
        )
        return status.get("propagationController"), current

    eventually(lambda: state() == ("Running", True), 20, "the type's controller", log)
    host.patch(*where, {"spec": {"propagation": "Disabled"}})
    # kubefedctl waits for 10 s.
    eventually(lambda: state()[0] == "NotRunning", 10, "the controller's end", log)
    host.delete(CRD, crd["metadata"]["name"])
    host.delete(*where)
    eventually(lambda: host.get(*where) is None, 20, "the type's end", log)
