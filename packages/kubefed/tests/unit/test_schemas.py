"""The schemas of the API's kinds, as far as they can be judged without an API server.

`functional/test_crds.py` shows the same rules as API servers apply them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from kubefed.api import (
    FEATURE_GATES,
    ClusterCondition,
    ControllerState,
    KubeFedConfig,
    Manifest,
    Scope,
    TlsValidation,
    Toggle,
    core_crds,
    parse_duration,
    standard_crds,
)

Schema = dict[str, Any]
CRDS: dict[str, Manifest] = {
    each["metadata"]["name"].partition(".")[0]: each for each in [*core_crds(), *standard_crds()]
}


def root(plural: str) -> Schema:
    return CRDS[plural]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def at(plural: str, path: str) -> Schema:
    """The schema of one field; lists and maps are passed through."""
    found = root(plural)
    for name in path.split("."):
        while "properties" not in found:
            found = found.get("items") or found["additionalProperties"]
        found = found["properties"][name]
    return found


def fields(schema: Schema, path: str = "") -> Iterator[str]:
    """All fields below a schema with their types; a `!` says that one is required."""
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from fields(inner, path)
    for name, each in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        mark = "!" if name in schema.get("required", ()) else ""
        yield f"{here}{mark} {each.get('type', 'any')}"
        yield from fields(each, here)


# The fields of v0.10.0, from its documentation and the CustomResourceDefinitions of its chart.
API_RESOURCE = (
    "group string",
    "version! string",
    "kind! string",
    "pluralName! string",
    "scope! string",
)
FIELDS: dict[str, list[str]] = {
    "kubefedclusters": [
        "spec! object",
        "spec.apiEndpoint! string",
        "spec.caBundle string",
        "spec.secretRef! object",
        "spec.secretRef.name! string",
        "spec.disabledTLSValidations array",
        "spec.proxyURL string",
        "status object",
        "status.conditions! array",
        "status.conditions.type! string",
        "status.conditions.status! string",
        "status.conditions.lastProbeTime! string",
        "status.conditions.lastTransitionTime string",
        "status.conditions.reason string",
        "status.conditions.message string",
        "status.kubernetesVersion string",
        "status.region string",
        "status.zones array",
    ],
    "kubefedconfigs": [
        "spec! object",
        "spec.scope! string",
        "spec.controllerDuration object",
        "spec.controllerDuration.availableDelay string",
        "spec.controllerDuration.unavailableDelay string",
        "spec.controllerDuration.cacheSyncTimeout string",
        "spec.leaderElect object",
        "spec.leaderElect.leaseDuration string",
        "spec.leaderElect.renewDeadline string",
        "spec.leaderElect.retryPeriod string",
        "spec.leaderElect.resourceLock string",
        "spec.featureGates array",
        "spec.featureGates.name! string",
        "spec.featureGates.configuration! string",
        "spec.clusterHealthCheck object",
        "spec.clusterHealthCheck.period string",
        "spec.clusterHealthCheck.timeout string",
        "spec.clusterHealthCheck.failureThreshold integer",
        "spec.clusterHealthCheck.successThreshold integer",
        "spec.syncController object",
        "spec.syncController.maxConcurrentReconciles integer",
        "spec.syncController.adoptResources string",
        "spec.statusController object",
        "spec.statusController.maxConcurrentReconciles integer",
    ],
    "federatedtypeconfigs": [
        "spec! object",
        "spec.propagation! string",
        "spec.statusCollection string",
        "spec.targetType! object",
        *(f"spec.targetType.{each}" for each in API_RESOURCE),
        *(
            f"spec.{kind}.{each.replace('group string', 'group! string')}"
            for kind in ("federatedType", "statusType")
            for each in API_RESOURCE
        ),
        "spec.federatedType! object",
        "spec.statusType object",
        "status object",
        "status.observedGeneration! integer",
        "status.propagationController! string",
        "status.statusController string",
    ],
    "propagatedversions": [
        "status object",
        "status.templateVersion! string",
        "status.overridesVersion! string",
        "status.clusterVersions array",
        "status.clusterVersions.clusterName! string",
        "status.clusterVersions.version! string",
    ],
    "federatedservicestatuses": [
        "clusterStatus array",
        "clusterStatus.clusterName! string",
        "clusterStatus.status! object",
    ],
    "replicaschedulingpreferences": [
        "spec object",
        "spec.targetKind! string",
        "spec.totalReplicas! integer",
        "spec.rebalance boolean",
        "spec.intersectWithClusterSelector boolean",
        "spec.clusters object",
        "spec.clusters.minReplicas integer",
        "spec.clusters.maxReplicas integer",
        "spec.clusters.weight integer",
        "status object",
    ],
    "federatedconfigmaps": [
        "spec! object",
        "spec.template object",
        "spec.placement object",
        "spec.placement.clusters array",
        "spec.placement.clusters.name! string",
        "spec.placement.clusterSelector object",
        "spec.placement.clusterSelector.matchLabels object",
        "spec.placement.clusterSelector.matchExpressions array",
        "spec.placement.clusterSelector.matchExpressions.key! string",
        "spec.placement.clusterSelector.matchExpressions.operator! string",
        "spec.placement.clusterSelector.matchExpressions.values array",
        "spec.overrides array",
        "spec.overrides.clusterName string",
        "spec.overrides.clusterOverrides array",
        "spec.overrides.clusterOverrides.op string",
        "spec.overrides.clusterOverrides.path! string",
        "spec.overrides.clusterOverrides.value any",
        "status object",
        "status.observedGeneration integer",
        "status.conditions array",
        "status.conditions.type! string",
        "status.conditions.status! string",
        "status.conditions.reason string",
        "status.conditions.lastUpdateTime string",
        "status.conditions.lastTransitionTime string",
        "status.clusters array",
        "status.clusters.name! string",
        "status.clusters.status string",
        "status.clusters.remoteStatus object",
    ],
}
FIELDS["clusterpropagatedversions"] = FIELDS["propagatedversions"]
FIELDS["federateddeployments"] = [
    *FIELDS["federatedconfigmaps"],
    "spec.retainReplicas boolean",
]
OBJECT = ["apiVersion string", "kind string", "metadata object"]


@pytest.mark.parametrize("plural", FIELDS)
def test_the_fields_are_those_of_v0_10_0(plural: str) -> None:
    assert sorted(fields(root(plural))) == sorted([*OBJECT, *FIELDS[plural]])


@pytest.mark.parametrize(
    ("plural", "path", "values"),
    [
        ("kubefedclusters", "spec.disabledTLSValidations", TlsValidation),
        ("kubefedclusters", "status.conditions.type", ClusterCondition),
        ("kubefedclusters", "status.conditions.status", ("True", "False", "Unknown")),
        ("federatedtypeconfigs", "spec.propagation", Toggle),
        ("federatedtypeconfigs", "spec.statusCollection", Toggle),
        ("federatedtypeconfigs", "spec.targetType.scope", Scope),
        ("federatedtypeconfigs", "spec.federatedType.scope", Scope),
        ("federatedtypeconfigs", "spec.statusType.scope", Scope),
        ("federatedtypeconfigs", "status.propagationController", ControllerState),
        ("federatedtypeconfigs", "status.statusController", ControllerState),
        ("kubefedconfigs", "spec.scope", Scope),
        ("kubefedconfigs", "spec.leaderElect.resourceLock", ("configmaps", "endpoints")),
        ("kubefedconfigs", "spec.featureGates.name", FEATURE_GATES),
        ("kubefedconfigs", "spec.featureGates.configuration", Toggle),
        ("kubefedconfigs", "spec.syncController.adoptResources", Toggle),
    ],
)
def test_values_that_a_field_may_have(plural: str, path: str, values: Any) -> None:
    schema = at(plural, path)
    assert sorted(schema.get("items", schema)["enum"]) == sorted(str(each) for each in values)


def filled(schema: Schema) -> Any:
    """An empty object as the API server's defaulting fills it."""
    value = schema.get("default")
    if "properties" in schema and isinstance(value, dict):
        for name, each in schema["properties"].items():
            if name not in value and "default" in each:
                value = value | {name: filled(each)}
    return value


def test_what_the_api_server_fills_in_is_what_python_fills_in() -> None:
    spec = root("kubefedconfigs")["properties"]["spec"]["properties"]
    found = {name: filled(each) for name, each in spec.items() if "default" in each}
    wanted = KubeFedConfig().to_object("ns")["spec"]
    assert found == {name: value for name, value in wanted.items() if name != "scope"}
    assert "default" not in spec["scope"]


DURATIONS = ["20s", "1m30s", "1.5h", ".5s", "5.s", "300ms", "+2s", "-5m", "0", "1us", "1µs"]


@pytest.mark.parametrize("text", DURATIONS)
def test_durations_that_go_knows(text: str) -> None:
    pattern = at("kubefedconfigs", "spec.clusterHealthCheck.period")["pattern"]
    assert re.search(pattern, text)
    parse_duration(text)


@pytest.mark.parametrize("text", ["", "20", "s", "1 s", "1d", "--1s", "soon", "5m "])
def test_durations_that_go_does_not_know(text: str) -> None:
    pattern = at("kubefedconfigs", "spec.clusterHealthCheck.period")["pattern"]
    assert not re.search(pattern, text)


def every_duration() -> list[str]:
    spec = root("kubefedconfigs")["properties"]["spec"]
    groups = ("controllerDuration", "leaderElect", "clusterHealthCheck")
    names = [each.split()[0].rstrip("!") for each in fields(spec)]
    strings = ("leaderElect.resourceLock",)
    return [
        name
        for name in names
        if name.partition(".")[0] in groups
        and "." in name
        and name not in strings
        and not name.endswith("Threshold")
    ]


def test_every_duration_is_more_than_nothing() -> None:
    assert len(every_duration()) == 8
    for name in every_duration():
        schema = at("kubefedconfigs", f"spec.{name}")
        rules = [each["rule"] for each in schema["x-kubernetes-validations"]]
        assert rules == ["duration(self) > duration('0s')"], name


@pytest.mark.parametrize(
    ("plural", "path", "good", "bad"),
    [
        (
            "federatedtypeconfigs",
            "spec.targetType.group",
            ["apps", "networking.k8s.io", "0.a", "a-b.c"],
            ["Apps", "-a", "a-", "a..b", ".a", "a_b"],
        ),
        (
            "federatedtypeconfigs",
            "spec.targetType.version",
            ["v1", "v1beta1", "a"],
            ["1", "V1", "v1.", "-v", "v-"],
        ),
        (
            "federatedtypeconfigs",
            "spec.federatedType.kind",
            ["ConfigMap", "A", "x-Y"],
            ["1Map", "Config_Map", "Map-", "Config Map"],
        ),
        (
            "federatedtypeconfigs",
            "spec.statusType.pluralName",
            ["widgets", "w-1"],
            ["Widgets", "1widgets", "w."],
        ),
        (
            "kubefedclusters",
            "spec.secretRef.name",
            ["palermo-token", "a.b", "0"],
            ["Palermo", "a_b", "-a", "a..b"],
        ),
    ],
)
def test_names(plural: str, path: str, good: list[str], bad: list[str]) -> None:
    rules = at(plural, path)["x-kubernetes-validations"]
    found = re.search(r"self\.matches\('(.*?)'\)", rules[0]["rule"])
    assert found
    # A string of CEL writes each backslash twice.
    pattern = found[1].replace("\\\\", "\\")
    assert [each for each in good if not re.search(pattern, each)] == []
    assert [each for each in bad if re.search(pattern, each)] == []
