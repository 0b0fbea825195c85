from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubefed.api import (
    DEPLOYMENT,
    FEDERATED_SERVICE_STATUS,
    NAMESPACE,
    SECRET,
    STANDARD_KINDS,
    FederatedType,
    KubeFedConfig,
    PropagationStatus,
    Scope,
    TargetKind,
    TypeConfig,
    core_crds,
    federated_crd,
    format_duration,
    parse_duration,
    standard_crds,
)
from pydantic import ValidationError


def test_the_ten() -> None:
    assert sorted(FederatedType.of(each).name for each in STANDARD_KINDS) == [
        "clusterroles.rbac.authorization.k8s.io",
        "configmaps",
        "deployments.apps",
        "ingresses.networking.k8s.io",
        "jobs.batch",
        "namespaces",
        "replicasets.apps",
        "secrets",
        "serviceaccounts",
        "services",
    ]


def test_a_federated_namespace_is_namespaced_and_its_target_is_not() -> None:
    kinds = FederatedType.of(NAMESPACE)
    assert (kinds.target.namespaced, kinds.federated.namespaced) == (False, True)
    assert kinds.is_namespace


def test_paths() -> None:
    assert SECRET.path() == "/api/v1/secrets"
    assert SECRET.path("a", "b") == "/api/v1/namespaces/a/secrets/b"
    assert NAMESPACE.path("ignored", "b") == "/api/v1/namespaces/b"


def test_type_configs_are_read_as_they_are_written() -> None:
    kinds = FederatedType.of(TargetKind("example.com", "v1", "Widget", "widgets"), group="a.b")
    for written in (
        TypeConfig(kinds),
        TypeConfig(kinds, propagation=False, status_collection=True),
        TypeConfig(FederatedType.of(NAMESPACE), status_type=FEDERATED_SERVICE_STATUS),
    ):
        assert TypeConfig.from_object(written.to_object("ns")) == written


def test_a_type_config_without_a_plural_gets_the_usual_one() -> None:
    manifest = TypeConfig(FederatedType.of(DEPLOYMENT)).to_object("ns")
    manifest["spec"]["targetType"]["pluralName"] = ""
    assert TypeConfig.from_object(manifest).name == "deployments.apps"


def test_settings_keep_what_is_said_and_default_the_rest() -> None:
    config = KubeFedConfig.from_object(
        {
            "spec": {
                "scope": "Namespaced",
                "leaderElect": {"leaseDuration": "1m30s", "retryPeriod": None},
                "featureGates": [
                    {"name": "RawResourceStatusCollection", "configuration": "Enabled"}
                ],
                "statusController": None,
            }
        }
    )
    assert config.scope is Scope.NAMESPACED
    assert config.leader_elect.lease_duration == timedelta(seconds=90)
    assert config.leader_elect.retry_period == timedelta(seconds=5)
    assert config.status_controller.max_concurrent_reconciles == 1
    assert [each.name for each in config.feature_gates] == [
        "PushReconciler",
        "RawResourceStatusCollection",
        "SchedulerPreferences",
    ]
    assert all(config.enabled(each.name) for each in config.feature_gates)
    assert not KubeFedConfig().enabled("RawResourceStatusCollection")


def test_settings_are_read_as_they_are_written() -> None:
    config = KubeFedConfig(scope=Scope.NAMESPACED)
    assert KubeFedConfig.from_object(config.to_object("ns")) == config


@pytest.mark.parametrize(
    "spec",
    [
        {"scope": "World"},
        {"clusterHealthCheck": {"period": "0s"}},
        {"clusterHealthCheck": {"period": "soon"}},
        {"clusterHealthCheck": {"failureThreshold": 0}},
        {"leaderElect": {"resourceLock": "file"}},
    ],
)
def test_settings_that_are_not_allowed(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        KubeFedConfig.from_object({"spec": spec})


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=400)))
def test_durations_are_read_as_they_are_written(value: timedelta) -> None:
    assert abs(parse_duration(format_duration(value)) - value) <= timedelta(microseconds=1)


@pytest.mark.parametrize("text", ["", "20", "s", "1m 30s", "1d", "--1s", "1s2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_negative_and_bare_zero_durations() -> None:
    assert parse_duration("-1.5h") == timedelta(minutes=-90)
    assert parse_duration("0") == timedelta()
    assert format_duration(timedelta(seconds=-1)) == "-1s"


def test_core_crds() -> None:
    crds = {each["metadata"]["name"]: each["spec"] for each in core_crds()}
    assert sorted(crds) == [
        "clusterpropagatedversions.core.kubefed.io",
        "federatedservicestatuses.core.kubefed.io",
        "federatedtypeconfigs.core.kubefed.io",
        "kubefedclusters.core.kubefed.io",
        "kubefedconfigs.core.kubefed.io",
        "propagatedversions.core.kubefed.io",
        "replicaschedulingpreferences.scheduling.kubefed.io",
    ]
    for name, spec in crds.items():
        assert name == f"{spec['names']['plural']}.{spec['group']}"
        has_status = "subresources" in spec["versions"][0]
        without = ("kubefedconfigs", "federatedservicestatuses")
        assert has_status == (not name.startswith(without))
    columns = crds["kubefedclusters.core.kubefed.io"]["versions"][0]["additionalPrinterColumns"]
    assert [each["name"] for each in columns] == ["age", "ready", "kubernetes-version"]


def test_standard_crds() -> None:
    crds = {each["metadata"]["name"]: each["spec"] for each in standard_crds()}
    assert len(crds) == 10
    assert crds["federatedclusterroles.types.kubefed.io"]["scope"] == "Cluster"
    assert crds["federatednamespaces.types.kubefed.io"]["scope"] == "Namespaced"
    shorts = {name: each["names"].get("shortNames") for name, each in crds.items()}
    assert shorts["federateddeployments.types.kubefed.io"] == ["fdeploy"]
    assert shorts["federatedjobs.types.kubefed.io"] is None
    retaining = [
        name
        for name, spec in crds.items()
        if "retainReplicas"
        in spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    ]
    assert retaining == [
        "federateddeployments.types.kubefed.io",
        "federatedreplicasets.types.kubefed.io",
    ]


def test_a_type_in_a_group_of_its_own() -> None:
    widget = TargetKind("example.com", "v1", "Widget", "widgets", namespaced=False)
    crd = federated_crd(widget, ("wi",), True, "federation.example.com", "v2")
    assert crd["metadata"]["name"] == "federatedwidgets.federation.example.com"
    assert crd["spec"]["versions"][0]["name"] == "v2"
    assert crd["spec"]["scope"] == "Cluster"
    assert crd["spec"]["names"]["shortNames"] == ["fwi"]


def test_only_a_cluster_that_failed_to_act_is_tried_again() -> None:
    recoverable = {each.value for each in PropagationStatus if each.recoverable}
    assert "CreationTimedOut" in recoverable
    assert recoverable.isdisjoint({"", "AlreadyExists", "WaitingForRemoval", "ClusterNotReady"})
    assert len(recoverable) == 10
