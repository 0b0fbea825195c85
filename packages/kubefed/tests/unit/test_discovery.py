from __future__ import annotations

from typing import Any

import pytest
from kubefed import discovery, errors
from kubefed.api import DEPLOYMENT, TargetKind
from kubefed.enable import Directive


def version(name: str, *resources: dict[str, Any]) -> dict[str, Any]:
    return {"version": name, "resources": list(resources)}


def resource(plural: str, kind: str, *short: str) -> dict[str, Any]:
    return {
        "resource": plural,
        "responseKind": {"kind": kind},
        "scope": "Namespaced",
        "singularResource": kind.lower(),
        "shortNames": list(short),
        "verbs": sorted(discovery.NEEDED_VERBS),
    }


DOCUMENT = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {"versions": [version("v1", resource("events", "Event"))]},
        {
            "metadata": {"name": "apps"},
            "versions": [
                version("v1", resource("deployments", "Deployment", "deploy")),
                version(
                    "v1beta1",
                    resource("deployments", "Deployment", "deploy"),
                    resource("oldthings", "OldThing"),
                ),
            ],
        },
        {
            "metadata": {"name": "events.k8s.io"},
            "versions": [version("v1", resource("events", "Event"))],
        },
        {
            "metadata": {"name": "a.example.com"},
            "versions": [version("v1", resource("widgets", "Widget"))],
        },
        {
            "metadata": {"name": "b.example.com"},
            "versions": [version("v1", resource("widgets", "Widget"))],
        },
    ],
}
KNOWN = discovery.parse(DOCUMENT)


@pytest.mark.parametrize("word", ["deploy", "deployment", "Deployment", "deployments.apps"])
def test_words_for_a_kind(word: str) -> None:
    assert discovery.find(KNOWN, word).kind == DEPLOYMENT


def test_a_version_can_be_asked_for() -> None:
    assert discovery.find(KNOWN, "deploy", version="v1beta1").kind.version == "v1beta1"
    # Of a kind that is only in an old version, that one is the preferred.
    assert discovery.find(KNOWN, "oldthing").kind.version == "v1beta1"


def test_the_core_group_goes_first() -> None:
    assert discovery.find(KNOWN, "events").kind.group == ""
    assert discovery.find(KNOWN, "events.events.k8s.io").kind.group == "events.k8s.io"


def test_an_ambiguous_word() -> None:
    with pytest.raises(errors.UsageError, match=r"widgets\.a\.example\.com, widgets\.b\.example"):
        discovery.find(KNOWN, "widgets")


def test_an_unknown_word() -> None:
    with pytest.raises(errors.NotFound, match="no kind gadgets of version v3"):
        discovery.find(KNOWN, "gadgets", version="v3")


def openapi(spec: dict[str, Any]) -> dict[str, Any]:
    gvk = {"group": "apps", "version": "v1", "kind": "Deployment"}
    return {
        "components": {
            "schemas": {
                "other": {},
                "deployment": {
                    "x-kubernetes-group-version-kind": [gvk],
                    "properties": {"spec": spec},
                },
                "deployment.spec": {"properties": {"replicas": {"type": "integer"}}},
            }
        }
    }


@pytest.mark.parametrize(
    ("spec", "scalable"),
    [
        ({"allOf": [{"$ref": "#/components/schemas/deployment.spec"}]}, True),
        ({"$ref": "#/components/schemas/deployment.spec"}, True),
        ({"properties": {"replicas": {"type": "integer"}}}, True),
        ({"properties": {"replicas": {"type": "string"}}}, False),
        ({}, False),
    ],
)
def test_what_has_replicas(spec: dict[str, Any], scalable: bool) -> None:
    assert discovery.has_replicas(openapi(spec), DEPLOYMENT) is scalable
    assert not discovery.has_replicas(openapi(spec), TargetKind("", "v1", "Pod", "pods"))


def test_a_directive() -> None:
    manifest = {
        "apiVersion": "core.kubefed.io/v1beta1",
        "kind": "EnableTypeDirective",
        "metadata": {"name": "widgets.a.example.com"},
        "spec": {"targetVersion": "v1", "federatedGroup": "f.example.com"},
    }
    assert Directive.from_object(manifest) == Directive(
        "widgets.a.example.com", "v1", "f.example.com", "v1beta1"
    )
    with pytest.raises(errors.UsageError, match="no EnableTypeDirective"):
        Directive.from_object({**manifest, "kind": "ConfigMap"})


def test_a_custom_kind_that_can_be_scaled() -> None:
    def served(name: str, **spec: Any) -> dict[str, Any]:
        root = {"properties": {"spec": {"properties": spec}}}
        return {"name": name, "schema": {"openAPIV3Schema": root}}

    versions = [
        served("v1", replicas={"type": "integer"}),
        served("v2", replicas={"type": "string"}),
        served("v3"),
        {"name": "v4"},
    ]
    crd = {"spec": {"versions": versions}}
    names = ("v1", "v2", "v3", "v4", "v5")
    assert [discovery.crd_has_replicas(crd, each) for each in names] == [True, *[False] * 4]
