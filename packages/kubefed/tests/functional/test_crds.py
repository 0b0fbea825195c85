"""The API as an API server holds it: what it refuses, what it fills in, what installing does."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from datetime import timedelta

import pytest
from api_harness import FEDERATION, admin, cluster, federated
from federation_lab.cluster.control_plane import ControlPlane
from kubefed import clients, errors, install, rbac
from kubefed.api import (
    CLUSTER_PROPAGATED_VERSION,
    CLUSTER_ROLE,
    CONFIG_MAP,
    CONFIG_NAME,
    CONTROLLER_ACCOUNT,
    DEPLOYMENT,
    FEDERATED_SERVICE_STATUS,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    NAMESPACE,
    PROPAGATED_VERSION,
    REPLICA_SCHEDULING_PREFERENCE,
    SERVICE_ACCOUNT,
    STANDARD_KINDS,
    SYNC_FINALIZER,
    TYPE_CONFIG_FINALIZER,
    FederatedType,
    KubeFedConfig,
    Manifest,
    Scope,
    TargetKind,
    core_crds,
    standard_crds,
)
from kubefed.clients import Resources
from kubefed.policy import POLICY

pytestmark = pytest.mark.cluster

_numbers = itertools.count()


@pytest.fixture(scope="module")
def host_api(host: ControlPlane) -> Generator[Resources]:
    api = admin(host)
    install.install(api, namespace=FEDERATION)
    yield Resources(api)
    Resources(api).delete(NAMESPACE, FEDERATION)
    install.await_gone(Resources(api), NAMESPACE, FEDERATION)


def installed(cluster: Resources, namespace: str) -> dict[str, str]:
    """What `install` makes, with the version of each."""
    found: dict[str, str] = {}

    def note(kind: TargetKind, name: str, where: str | None = None) -> None:
        manifest = cluster.get(kind, name, where)
        assert manifest is not None, (kind.kind, name)
        # A policy's status comes a little later, from the cluster's controller manager.
        version = "generation" if kind == POLICY else "resourceVersion"
        found[f"{kind.kind} {name}"] = str(manifest["metadata"][version])

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


# What federated types keep as it is.


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


# Kinds that v0.10.0 has no webhook for: their schemas are all that is asked of them.


def bare(kind: TargetKind, **fields: object) -> Manifest:
    namespace = {"namespace": "default"} if kind.namespaced else {}
    metadata = {"name": f"bare-{next(_numbers)}", **namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}


FEDERATED_CONFIG_MAP = FederatedType.of(CONFIG_MAP).federated


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (REPLICA_SCHEDULING_PREFERENCE, {"spec": {"totalReplicas": 3}}, "targetKind: Required"),
        (REPLICA_SCHEDULING_PREFERENCE, {"spec": {"targetKind": "A"}}, "totalReplicas: Required"),
        (
            REPLICA_SCHEDULING_PREFERENCE,
            {"spec": {"targetKind": "A", "totalReplicas": "3"}},
            "must be of type integer",
        ),
        (FEDERATED_CONFIG_MAP, {}, "spec: Required"),
        (FEDERATED_CONFIG_MAP, {"spec": {"placement": {"clusters": [{}]}}}, "name: Required"),
        (FEDERATED_CONFIG_MAP, {"spec": {"placement": {"clusters": ["a"]}}}, "must be of type"),
        (
            FEDERATED_CONFIG_MAP,
            {"spec": {"placement": {"clusterSelector": {"matchExpressions": [{"key": "a"}]}}}},
            "operator: Required",
        ),
        (
            FEDERATED_CONFIG_MAP,
            {"spec": {"overrides": [{"clusterOverrides": [{"value": 1}]}]}},
            "path: Required",
        ),
        (FEDERATED_SERVICE_STATUS, {"clusterStatus": [{"status": {}}]}, "clusterName: Required"),
        (FEDERATED_SERVICE_STATUS, {"clusterStatus": [{"clusterName": "a"}]}, "status: Required"),
    ],
)
def test_a_schemas_refusal(
    host_api: Resources, kind: TargetKind, fields: Manifest, text: str
) -> None:
    with pytest.raises(errors.Refused, match=text):
        Resources(host_api.api, dry_run=True).create(kind, bare(kind, **fields))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (REPLICA_SCHEDULING_PREFERENCE, {}),
        # What makes no sense shows in what is done, not in a refusal.
        (REPLICA_SCHEDULING_PREFERENCE, {"spec": {"targetKind": "Pod", "totalReplicas": -1}}),
        (
            REPLICA_SCHEDULING_PREFERENCE,
            {
                "spec": {
                    "targetKind": "FederatedDeployment",
                    "totalReplicas": 9,
                    "rebalance": True,
                    "intersectWithClusterSelector": True,
                    "clusters": {"*": {"weight": 1}, "a": {"minReplicas": 1, "maxReplicas": 2}},
                }
            },
        ),
        (FEDERATED_CONFIG_MAP, {"spec": {}}),
        (
            FEDERATED_CONFIG_MAP,
            {
                "spec": {
                    "overrides": [
                        {
                            "clusterName": "a",
                            "clusterOverrides": [{"op": "", "path": "/metadata/name"}],
                        }
                    ]
                }
            },
        ),
        (FEDERATED_SERVICE_STATUS, {"clusterStatus": [{"clusterName": "a", "status": {"x": 1}}]}),
        (PROPAGATED_VERSION, {}),
        (CLUSTER_PROPAGATED_VERSION, {}),
    ],
)
def test_what_a_schema_takes_it_keeps(
    host_api: Resources, kind: TargetKind, fields: Manifest
) -> None:
    made = Resources(host_api.api, dry_run=True).create(kind, bare(kind, **fields))
    assert {name: made[name] for name in fields} == fields


def test_replicas_are_retained_only_where_there_are_some(host_api: Resources) -> None:
    trial = Resources(host_api.api, dry_run=True)
    retained: list[bool] = []
    for target in (DEPLOYMENT, CONFIG_MAP):
        kind = FederatedType.of(target).federated
        made = trial.create(kind, bare(kind, spec={"retainReplicas": True, "unknown": 1}))
        retained.append("retainReplicas" in made["spec"])
        assert "unknown" not in made["spec"]
    assert retained == [True, False]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"templateVersion": "a"}, "overridesVersion: Required"),
        ({"overridesVersion": "a"}, "templateVersion: Required"),
        (
            {
                "templateVersion": "",
                "overridesVersion": "a",
                "clusterVersions": [{"clusterName": "a"}],
            },
            "version: Required",
        ),
    ],
)
def test_versions_are_whole(host_api: Resources, status: Manifest, text: str) -> None:
    manifest = bare(PROPAGATED_VERSION)
    host_api.create(PROPAGATED_VERSION, manifest)
    name = manifest["metadata"]["name"]
    try:
        with pytest.raises(errors.Refused, match=text):
            host_api.request(
                "PATCH",
                f"{PROPAGATED_VERSION.path('default', name)}/status",
                body={"status": status},
                content_type="application/merge-patch+json",
                what="write a status",
            )
    finally:
        host_api.delete(PROPAGATED_VERSION, name, "default")
