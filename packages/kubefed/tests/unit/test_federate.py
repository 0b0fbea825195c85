from __future__ import annotations

import copy
from typing import Any

import pytest
from kubefed import errors
from kubefed.api import STANDARD_KINDS, FederatedType, Manifest
from kubefed.federate import federate_all, read_manifests

TYPES = [FederatedType.of(each) for each in STANDARD_KINDS]
ALL = {"clusterSelector": {"matchLabels": {}}}


def federated(manifest: Manifest) -> Manifest:
    before = copy.deepcopy(manifest)
    outcome = federate_all([manifest], TYPES)
    assert manifest == before, "the input was changed"
    [result] = outcome.objects
    return result


def thing(api_version: str, kind: str, **fields: Any) -> Manifest:
    metadata = {"name": "x", "namespace": "shop"} | fields.pop("metadata", {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def test_only_labels_of_the_metadata_stay() -> None:
    metadata = {
        "labels": {"app": "web", "kubefed.io/managed": "true"},
        "annotations": {"a": "b"},
        "finalizers": ["f"],
        "uid": "1",
        "resourceVersion": "2",
    }
    result = federated(thing("v1", "ConfigMap", metadata=metadata, data={"a": "b"}))
    assert result == {
        "apiVersion": "types.kubefed.io/v1beta1",
        "kind": "FederatedConfigMap",
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {
            "template": {"metadata": {"labels": {"app": "web"}}, "data": {"a": "b"}},
            "placement": ALL,
        },
    }


def test_a_service_gives_up_what_its_cluster_gave_it() -> None:
    spec = {
        "type": "LoadBalancer",
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1"],
        "healthCheckNodePort": 30001,
        "ports": [{"port": 80, "nodePort": 30000}],
    }
    result = federated(thing("v1", "Service", spec=spec, status={"loadBalancer": {}}))
    assert result["spec"]["template"] == {
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}
    }


def test_a_headless_service_stays_headless() -> None:
    result = federated(thing("v1", "Service", spec={"clusterIP": "None", "clusterIPs": ["None"]}))
    assert result["spec"]["template"]["spec"] == {"clusterIP": "None"}


def test_a_service_account_gives_up_its_secrets() -> None:
    manifest = thing(
        "v1", "ServiceAccount", secrets=[{"name": "x-token"}], imagePullSecrets=[{"name": "p"}]
    )
    assert federated(manifest)["spec"]["template"] == {"imagePullSecrets": [{"name": "p"}]}


def test_a_namespace_lives_in_itself() -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    result = federated(manifest)
    assert result["metadata"] == {"name": "shop", "namespace": "shop"}
    assert result["spec"]["template"] == {}


def test_a_cluster_role_has_no_namespace() -> None:
    manifest = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "reader"},
        "rules": [],
    }
    assert federated(manifest)["metadata"] == {"name": "reader"}


def test_a_job_gives_up_the_selector_that_its_cluster_chose() -> None:
    labels = {"app": "x", "controller-uid": "1", "batch.kubernetes.io/job-name": "x"}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"controller-uid": "1"}},
        "template": {"metadata": {"labels": labels, "creationTimestamp": None}},
    }
    result = federated(thing("batch/v1", "Job", spec=spec))
    assert result["spec"]["template"]["spec"] == {
        "template": {"metadata": {"labels": {"app": "x"}}}
    }
    spec["manualSelector"] = True
    result = federated(thing("batch/v1", "Job", spec=spec))
    assert "selector" in result["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (thing("v1", "Endpoints"), "each cluster makes its own"),
        (thing("discovery.k8s.io/v1", "EndpointSlice"), "each cluster makes its own"),
        (thing("events.k8s.io/v1", "Event"), "each cluster makes its own"),
        (thing("core.kubefed.io/v1alpha1", "PropagatedVersion"), "each cluster makes its own"),
        (thing("v1", "ServiceAccount", metadata={"name": "default"}), "every namespace has its"),
        (thing("v1", "ConfigMap", metadata={"name": "kube-root-ca.crt"}), "every namespace has"),
        (
            thing("v1", "Secret", type="kubernetes.io/service-account-token"),
            "token of one cluster's",
        ),
        (
            thing(
                "apps/v1",
                "ReplicaSet",
                metadata={
                    "ownerReferences": [{"kind": "Deployment", "name": "w", "controller": True}]
                },
            ),
            "Deployment w makes it",
        ),
    ],
)
def test_what_clusters_make_by_themselves_is_left_out(manifest: Manifest, reason: str) -> None:
    outcome = federate_all([manifest], TYPES)
    assert outcome.objects == ()
    [(_, why)] = outcome.skipped
    assert reason in why


def test_namespaces_come_first_and_federated_objects_pass() -> None:
    already = federated(thing("v1", "ConfigMap"))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    outcome = federate_all([already, thing("v1", "Secret"), namespace], TYPES)
    assert [each["kind"] for each in outcome.objects] == [
        "FederatedNamespace",
        "FederatedConfigMap",
        "FederatedSecret",
    ]
    assert outcome.objects[1] == already


def test_kinds_that_are_not_federated_are_named() -> None:
    outcome = federate_all([thing("apps/v1", "StatefulSet"), thing("v1", "Pod")], TYPES)
    assert outcome.not_federated == ("Pod", "apps/StatefulSet")


def test_documents_and_lists() -> None:
    text = """
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: b}}
- {apiVersion: v1, kind: Secret, metadata: {name: c}}
"""
    assert [each["metadata"]["name"] for each in read_manifests(text)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text", ["a: b: c", "just text", "{kind: X}", "{apiVersion: v1, kind: X, metadata: {}}"]
)
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(errors.UsageError, match=r"not YAML|not a Kubernetes object"):
        read_manifests(text)
