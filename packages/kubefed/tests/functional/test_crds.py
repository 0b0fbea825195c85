"""The API as an API server holds it: what it refuses, what it fills in, what installing does."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from federation_lab.cluster.control_plane import ControlPlane
from kubefed import clients, errors, install, rbac
from kubefed.api import (
    CLUSTER_ROLE,
    CONFIG_MAP,
    CONFIG_NAME,
    CONTROLLER_ACCOUNT,
    DEPLOYMENT,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    NAMESPACE,
    SERVICE_ACCOUNT,
    STANDARD_KINDS,
    SYNC_FINALIZER,
    TYPE_CONFIG_FINALIZER,
    FederatedType,
    KubeFedConfig,
    Manifest,
    Scope,
    TargetKind,
    TypeConfig,
    core_crds,
    standard_crds,
)
from kubefed.clients import Resources
from kubernetes.client import ApiClient

pytestmark = pytest.mark.cluster

# Not the namespace of the controller's tests: both use the same clusters.
FEDERATION = "crds-test"
_numbers = itertools.count()


def admin(plane: ControlPlane) -> ApiClient:
    return clients.from_kubeconfig(plane.directory / "admin.kubeconfig", plane.name)


@pytest.fixture(scope="module")
def host_api(host: ControlPlane) -> Generator[Resources]:
    api = admin(host)
    install.install(api, namespace=FEDERATION)
    yield Resources(api)
    Resources(api).delete(NAMESPACE, FEDERATION)


def installed(cluster: Resources, namespace: str) -> dict[str, str]:
    """What `install` makes, with the version of each."""
    found: dict[str, str] = {}

    def note(kind: TargetKind, name: str, where: str | None = None) -> None:
        manifest = cluster.get(kind, name, where)
        assert manifest is not None, (kind.kind, name)
        found[f"{kind.kind} {name}"] = manifest["metadata"]["resourceVersion"]

    for crd in [*core_crds(), *standard_crds()]:
        note(install.CRD, crd["metadata"]["name"])
    note(NAMESPACE, namespace)
    note(SERVICE_ACCOUNT, CONTROLLER_ACCOUNT, namespace)
    note(KUBEFED_CONFIG, CONFIG_NAME, namespace)
    for target in STANDARD_KINDS:
        note(FEDERATED_TYPE_CONFIG, target.full_name, namespace)
    for kind, manifest in rbac.controller_objects(namespace, namespaced=False):
        note(kind, manifest["metadata"]["name"], manifest["metadata"].get("namespace"))
    return found


# Installing.


def test_installing_twice_changes_nothing(host_api: Resources) -> None:
    before = installed(host_api, FEDERATION)
    install.install(host_api.api, namespace=FEDERATION)
    assert installed(host_api, FEDERATION) == before


def test_settings_and_disabled_types_outlive_another_install(host_api: Resources) -> None:
    change: Manifest = {"spec": {"clusterHealthCheck": {"period": "7s"}}}
    host_api.patch(KUBEFED_CONFIG, CONFIG_NAME, FEDERATION, change)
    host_api.delete(FEDERATED_TYPE_CONFIG, "jobs.batch", FEDERATION)
    install.install(host_api.api, namespace=FEDERATION, scope=Scope.NAMESPACED)
    config = KubeFedConfig.from_object(host_api.get(KUBEFED_CONFIG, CONFIG_NAME, FEDERATION) or {})
    assert config.cluster_health_check.period == timedelta(seconds=7)
    assert config.scope is Scope.CLUSTER
    assert host_api.get(FEDERATED_TYPE_CONFIG, "jobs.batch", FEDERATION) is None


def test_the_controllers_account_has_what_it_needs_and_no_more(
    host: ControlPlane, host_api: Resources
) -> None:
    token = install.controller_credentials(
        host_api.api, namespace=FEDERATION, lifetime=timedelta(hours=1)
    )
    assert token.expires_at is not None
    account = Resources(clients.from_token(host.endpoint, token.token, host.ca_certificate))
    assert account.get(KUBEFED_CONFIG, CONFIG_NAME, FEDERATION) is not None
    for target in STANDARD_KINDS:
        account.list(FederatedType.of(target).federated)
    secret = TargetKind("", "v1", "Secret", "secrets")
    account.list(secret, FEDERATION)
    with pytest.raises(errors.Forbidden):
        account.list(secret)
    with pytest.raises(errors.Forbidden):
        account.list(CONFIG_MAP, "default")
    with pytest.raises(errors.Forbidden):
        account.create(KUBEFED_CLUSTER, cluster())


def test_a_dry_run_installs_nothing(members: list[ControlPlane]) -> None:
    api = admin(members[1])
    install.install(api, namespace=FEDERATION, dry_run=True)
    cluster = Resources(api)
    assert cluster.get(NAMESPACE, FEDERATION) is None
    assert cluster.get(install.CRD, KUBEFED_CLUSTER.full_name) is None


def test_uninstalling_leaves_nothing(members: list[ControlPlane]) -> None:
    api = admin(members[1])
    cluster_api = Resources(api)
    install.install(api, namespace=FEDERATION)
    kind = FederatedType.of(CONFIG_MAP).federated
    cluster_api.create(kind, federated(kind, "held", finalizers=[SYNC_FINALIZER]))
    held = {"metadata": {"finalizers": [TYPE_CONFIG_FINALIZER]}}
    cluster_api.patch(FEDERATED_TYPE_CONFIG, "configmaps", FEDERATION, held)
    cluster_api.create(KUBEFED_CLUSTER, cluster())
    with pytest.raises(errors.MembershipError, match="still joined to the federation; unjoin"):
        install.uninstall(api, namespace=FEDERATION)
    cluster_api.delete(KUBEFED_CLUSTER, "palermo", FEDERATION)
    install.uninstall(api, namespace=FEDERATION)
    assert cluster_api.get(NAMESPACE, FEDERATION) is None
    crds = {each["metadata"]["name"] for each in cluster_api.list(install.CRD)}
    assert not [name for name in crds if name.endswith("kubefed.io")]
    assert cluster_api.get(CLUSTER_ROLE, "kubefed-role") is None
    assert cluster_api.get(CLUSTER_ROLE, "kubefed-edit") is None
    install.uninstall(api, namespace=FEDERATION)


# What the API server refuses.


def federated(kind: TargetKind, name: str, **metadata: Any) -> Manifest:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {},
    }


def cluster() -> Manifest:
    return {
        "apiVersion": KUBEFED_CLUSTER.api_version,
        "kind": KUBEFED_CLUSTER.kind,
        "metadata": {"name": "palermo", "namespace": FEDERATION},
        "spec": {"apiEndpoint": "https://10.0.0.1:6443", "secretRef": {"name": "palermo-token"}},
    }


def type_config() -> Manifest:
    widgets = TargetKind("example.com", "v1", "Widget", "widgets")
    return TypeConfig(FederatedType.of(widgets)).to_object(FEDERATION)


def config() -> Manifest:
    manifest = KubeFedConfig().to_object(FEDERATION)
    # The rules hold for any name, so the installed one is left alone.
    manifest["metadata"]["name"] = "another"
    return manifest


def changed(manifest: Manifest, path: str, value: object) -> Manifest:
    """Set (or, by None, drop) a field given by its path."""
    result = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    place = result
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        place.pop(last)
    else:
        place[last] = value
    return result


REFUSALS: list[tuple[Callable[[], Manifest], TargetKind, str, object, str]] = [
    (cluster, KUBEFED_CLUSTER, "spec.apiEndpoint", None, "Required value"),
    (cluster, KUBEFED_CLUSTER, "spec.apiEndpoint", "", "at least 1"),
    (cluster, KUBEFED_CLUSTER, "spec.apiEndpoint", "ftp://host", "scheme must be http or https"),
    (cluster, KUBEFED_CLUSTER, "spec.apiEndpoint", "host/path", "host, host:port or URL"),
    (cluster, KUBEFED_CLUSTER, "spec.apiEndpoint", "a b", "host, host:port or URL"),
    (cluster, KUBEFED_CLUSTER, "spec.apiEndpoint", "host:0", "port must be between"),
    (cluster, KUBEFED_CLUSTER, "spec.apiEndpoint", "https://h:65536", "port must be between"),
    (cluster, KUBEFED_CLUSTER, "spec.secretRef", None, "Required value"),
    (cluster, KUBEFED_CLUSTER, "spec.secretRef.name", "", "at least 1"),
    (cluster, KUBEFED_CLUSTER, "spec.secretRef.name", "A_b", "DNS-1123 subdomain"),
    (cluster, KUBEFED_CLUSTER, "spec.disabledTLSValidations", ["Age"], "Unsupported value"),
    (
        cluster,
        KUBEFED_CLUSTER,
        "spec.disabledTLSValidations",
        ["*", "SubjectName"],
        "must be the only entry",
    ),
    (cluster, KUBEFED_CLUSTER, "spec.proxyURL", "ftp://proxy", "http, https or socks5"),
    (cluster, KUBEFED_CLUSTER, "spec.caBundle", "not base64!", "must be of type byte"),
    (type_config, FEDERATED_TYPE_CONFIG, "metadata.name", "widgets", "TARGET_PLURAL_NAME"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.targetType.group", "Ex_a", "DNS-1123"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.targetType.version", None, "Required value"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.targetType.version", "1", "DNS-1035"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.targetType.kind", "Wid_get", "DNS-1035"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.targetType.scope", "World", "Unsupported value"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.federatedType", None, "Required value"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.federatedType.group", None, "Required value"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.federatedType.group", "types", "at least one dot"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.federatedType.pluralName", "A", "DNS-1035"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.propagation", None, "Required value"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.propagation", "On", "Unsupported value"),
    (type_config, FEDERATED_TYPE_CONFIG, "spec.statusCollection", "On", "Unsupported value"),
    (config, KUBEFED_CONFIG, "spec.scope", None, "Required value"),
    (config, KUBEFED_CONFIG, "spec.scope", "World", "Unsupported value"),
    (config, KUBEFED_CONFIG, "spec.controllerDuration.availableDelay", "0s", "greater than 0"),
    (config, KUBEFED_CONFIG, "spec.controllerDuration.cacheSyncTimeout", "-5m", "greater than 0"),
    (config, KUBEFED_CONFIG, "spec.clusterHealthCheck.period", "soon", "should match"),
    (config, KUBEFED_CONFIG, "spec.leaderElect.leaseDuration", "10s", "than renewDeadline"),
    (config, KUBEFED_CONFIG, "spec.leaderElect.retryPeriod", "9s", "than retryPeriod"),
    (config, KUBEFED_CONFIG, "spec.leaderElect.resourceLock", "file", "Unsupported value"),
    (config, KUBEFED_CONFIG, "spec.clusterHealthCheck.failureThreshold", 0, "greater than or"),
    (config, KUBEFED_CONFIG, "spec.clusterHealthCheck.successThreshold", -1, "greater than or"),
    (config, KUBEFED_CONFIG, "spec.syncController.maxConcurrentReconciles", 0, "greater than or"),
    (config, KUBEFED_CONFIG, "spec.statusController.maxConcurrentReconciles", 0, "greater than"),
    (config, KUBEFED_CONFIG, "spec.syncController.adoptResources", "Yes", "Unsupported value"),
    (
        config,
        KUBEFED_CONFIG,
        "spec.featureGates",
        [{"name": "Flying", "configuration": "Enabled"}],
        "Unsupported value",
    ),
    (
        config,
        KUBEFED_CONFIG,
        "spec.featureGates",
        [{"name": "PushReconciler", "configuration": "Enabled"}] * 2,
        "Duplicate value",
    ),
]


@pytest.mark.parametrize(("make", "kind", "path", "value", "text"), REFUSALS)
def test_refused(
    host_api: Resources,
    make: Callable[[], Manifest],
    kind: TargetKind,
    path: str,
    value: object,
    text: str,
) -> None:
    with pytest.raises(errors.Refused, match=text):
        host_api.create(kind, changed(make(), path, value))


@pytest.mark.parametrize("make", [cluster, type_config, config])
def test_what_is_right_is_taken(host_api: Resources, make: Callable[[], Manifest]) -> None:
    kinds = {each.kind: each for each in (KUBEFED_CLUSTER, FEDERATED_TYPE_CONFIG, KUBEFED_CONFIG)}
    manifest = make()
    kind = kinds[manifest["kind"]]
    host_api.create(kind, manifest)
    host_api.delete(kind, manifest["metadata"]["name"], FEDERATION)


@pytest.mark.parametrize(
    "endpoint",
    [
        "10.0.0.1",
        "host:6443",
        "host:6443/",
        "https://host",
        "HTTPS://host:1/path",
        "[fd00::1]:6443",
        "http://host:065535",
    ],
)
def test_endpoints(host_api: Resources, endpoint: str) -> None:
    dry = Resources(host_api.api, dry_run=True)
    dry.create(KUBEFED_CLUSTER, changed(cluster(), "spec.apiEndpoint", endpoint))


def test_the_scope_stays(host_api: Resources) -> None:
    with pytest.raises(errors.Refused, match="can't be changed once it is set"):
        host_api.patch(
            KUBEFED_CONFIG, CONFIG_NAME, FEDERATION, {"spec": {"scope": Scope.NAMESPACED.value}}
        )


@pytest.fixture
def registered(host_api: Resources) -> Generator[Callable[[TargetKind, Manifest], None]]:
    """Something to write a status to, by a function that writes it."""
    host_api.create(KUBEFED_CLUSTER, cluster())

    def write(kind: TargetKind, status: Manifest) -> None:
        names: Mapping[TargetKind, str] = {
            KUBEFED_CLUSTER: "palermo",
            FEDERATED_TYPE_CONFIG: "deployments.apps",
        }
        host_api.request(
            "PATCH",
            f"{kind.path(FEDERATION, names[kind])}/status",
            body={"status": status},
            content_type="application/merge-patch+json",
            what="write a status",
        )

    yield write
    host_api.delete(KUBEFED_CLUSTER, "palermo", FEDERATION)


NOW = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        (KUBEFED_CLUSTER, {"conditions": [{"type": "Ready", "status": "True"}]}, "lastProbeTime"),
        (
            KUBEFED_CLUSTER,
            {"conditions": [{"type": "Up", "status": "True", "lastProbeTime": NOW}]},
            "Unsupported value",
        ),
        (
            KUBEFED_CLUSTER,
            {"conditions": [{"type": "Ready", "status": "Yes", "lastProbeTime": NOW}]},
            "Unsupported value",
        ),
        (
            FEDERATED_TYPE_CONFIG,
            {"observedGeneration": -1, "propagationController": "Running"},
            "greater than or equal to 0",
        ),
        (
            FEDERATED_TYPE_CONFIG,
            {"observedGeneration": 1, "propagationController": "Asleep"},
            "Unsupported value",
        ),
    ],
)
def test_a_refused_status(
    registered: Callable[[TargetKind, Manifest], None],
    kind: TargetKind,
    status: Manifest,
    text: str,
) -> None:
    with pytest.raises(errors.Refused, match=text):
        registered(kind, status)


def test_a_status_that_is_taken(registered: Callable[[TargetKind, Manifest], None]) -> None:
    condition = {"type": "Ready", "status": "True", "lastProbeTime": NOW}
    registered(KUBEFED_CLUSTER, {"conditions": [condition], "kubernetesVersion": "v1.35.4"})
    registered(
        FEDERATED_TYPE_CONFIG, {"observedGeneration": 1, "propagationController": "Running"}
    )


# What it fills in, and what it keeps as it is.


def test_settings_are_completed(host_api: Resources) -> None:
    manifest = config()
    manifest["spec"] = {"scope": "Cluster", "leaderElect": {"leaseDuration": "30s"}}
    host_api.create(KUBEFED_CONFIG, manifest)
    found = host_api.get(KUBEFED_CONFIG, "another", FEDERATION) or {}
    host_api.delete(KUBEFED_CONFIG, "another", FEDERATION)
    wanted = KubeFedConfig().to_object(FEDERATION)["spec"]
    wanted["leaderElect"]["leaseDuration"] = "30s"
    # The same lengths, written as the schema writes them.
    wanted["controllerDuration"] |= {"unavailableDelay": "60s", "cacheSyncTimeout": "5m"}
    assert found["spec"] == wanted


@pytest.mark.parametrize("placed", [None, [], [{"name": "palermo"}]])
def test_no_clusters_and_null_stay_apart(
    host_api: Resources, placed: list[Manifest] | None
) -> None:
    kind = FederatedType.of(DEPLOYMENT).federated
    name = f"placed-{next(_numbers)}"
    manifest = federated(kind, name)
    manifest["spec"] = {
        "placement": {"clusters": placed, "clusterSelector": {}},
        "retainReplicas": True,
        "overrides": [
            {
                "clusterName": "palermo",
                "clusterOverrides": [
                    {"path": "/spec/replicas", "value": 3},
                    {"op": "remove", "path": "/a"},
                    {"op": "add", "path": "/b", "value": {"c": [None, 1.5, "x"]}},
                ],
            }
        ],
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"anything": [1, {"x": None}]}},
    }
    created = host_api.create(kind, manifest)
    host_api.delete(kind, name, "default")
    assert created["spec"] == manifest["spec"]


def test_an_operation_that_overrides_do_not_know(host_api: Resources) -> None:
    kind = FederatedType.of(CONFIG_MAP).federated
    manifest = federated(kind, "moved")
    operation = {"op": "move", "path": "/a"}
    manifest["spec"] = {"overrides": [{"clusterName": "a", "clusterOverrides": [operation]}]}
    with pytest.raises(errors.Refused, match="should match"):
        host_api.create(kind, manifest)
