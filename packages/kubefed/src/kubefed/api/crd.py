"""CustomResourceDefinitions: the seven core ones from `crds/`, federated types by a function."""

from __future__ import annotations

import copy
from importlib import resources
from typing import Any

import yaml

from kubefed.api.kinds import SCALABLE, SHORT_NAMES, STANDARD_KINDS, FederatedType, TargetKind
from kubefed.api.names import TYPES_GROUP, V1BETA1

Manifest = dict[str, Any]
"""A Kubernetes object as JSON decodes it."""


def core_crds() -> list[Manifest]:
    """Give the seven CustomResourceDefinitions of the control plane's own kinds.

    They carry what v0.10.0 leaves to its webhooks: CEL rules for what it refuses and defaults for
    KubeFedConfig, so no webhook is needed.
    """
    folder = resources.files("kubefed.api") / "crds"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".yaml")),
        key=lambda file: file.name,
    )
    # A copy by value: YAML's anchors give one object in many places.
    return [copy.deepcopy(yaml.safe_load(file.read_text("utf-8"))) for file in files]


def standard_crds() -> list[Manifest]:
    """Give the CustomResourceDefinitions of the ten standard federated types."""
    return [
        federated_crd(target, SHORT_NAMES.get(target.full_name, ()), target in SCALABLE)
        for target in STANDARD_KINDS
    ]


def federated_crd(
    target: TargetKind,
    short_names: tuple[str, ...] = (),
    has_replicas: bool = False,
    federated_group: str = TYPES_GROUP,
    federated_version: str = V1BETA1,
) -> Manifest:
    """Make the CustomResourceDefinition of the federated kind of a target.

    The shape is that of v0.10.0's generated types: `template`, `placement`, `overrides`, and
    `retainReplicas` where the target can be scaled.

    Args:
        target: the kind to federate.
        short_names: the target's short names; the federated kind's put an "f" before each.
        has_replicas: whether the target has an integer `spec.replicas`.
        federated_group: the group of the federated kind.
        federated_version: the version of the federated kind.
    """
    federated = FederatedType.of(
        target, group=federated_group, version=federated_version
    ).federated
    names: Manifest = {
        "kind": federated.kind,
        "listKind": f"{federated.kind}List",
        "plural": federated.plural,
        "singular": federated.kind.lower(),
    }
    if short_names:
        names["shortNames"] = [f"f{name}" for name in short_names]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": federated.full_name},
        "spec": {
            "group": federated.group,
            "scope": federated.scope.value,
            "names": names,
            "versions": [
                {
                    "name": federated.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": _schema(target, has_replicas)},
                }
            ],
        },
    }


def _columns() -> list[Manifest]:
    condition = ".status.conditions[?(@.type=='Propagation')]"
    return [
        {"name": "propagated", "type": "string", "jsonPath": f"{condition}.status"},
        {"name": "reason", "type": "string", "jsonPath": f"{condition}.reason"},
        {"name": "age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def _schema(target: TargetKind, has_replicas: bool) -> Manifest:
    spec: Manifest = {
        "type": "object",
        "properties": {
            "template": {
                "type": "object",
                "description": f"The {target.kind} as it is made in the clusters.",
                "x-kubernetes-preserve-unknown-fields": True,
            },
            "placement": _placement(),
            "overrides": _overrides(),
        },
    }
    if has_replicas:
        spec["properties"]["retainReplicas"] = {
            "type": "boolean",
            "description": "Whether each cluster keeps its own number of replicas.",
        }
    return {
        "type": "object",
        "description": f"A {target.kind} of many clusters.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _status(),
        },
    }


def _placement() -> Manifest:
    expression: Manifest = {
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": {"type": "string"},
            "operator": {"type": "string"},
            "values": {"type": "array", "items": {"type": "string"}},
        },
    }
    return {
        "type": "object",
        "description": "The clusters: a list of names, or else a selector of labels.",
        "properties": {
            # An empty list selects nothing, and an absent one or null leaves it to the selector.
            "clusters": {
                "type": "array",
                "nullable": True,
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                },
            },
            "clusterSelector": {
                "type": "object",
                "properties": {
                    "matchExpressions": {"type": "array", "items": expression},
                    "matchLabels": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                    },
                },
            },
        },
    }


def _overrides() -> Manifest:
    operation: Manifest = {
        "type": "object",
        "required": ["path"],
        "properties": {
            "op": {
                "type": "string",
                "description": "add, remove or replace (RFC 6902); replace unless said.",
                "pattern": "^(add|remove|replace)?$",
            },
            "path": {"type": "string", "description": "A JSON pointer into the object."},
            "value": {"x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {
        "type": "array",
        "description": "Changes to the template for single clusters.",
        "items": {
            "type": "object",
            "properties": {
                "clusterName": {"type": "string"},
                "clusterOverrides": {"type": "array", "items": operation},
            },
        },
    }


def _status() -> Manifest:
    condition: Manifest = {
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            "type": {"type": "string"},
            "status": {"type": "string"},
            "reason": {"type": "string"},
            "lastUpdateTime": {"type": "string", "format": "date-time"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    }
    cluster: Manifest = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "status": {"type": "string", "description": "Absent when all is well."},
            "remoteStatus": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {
        "type": "object",
        "properties": {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": {"type": "array", "items": condition},
            "clusters": {"type": "array", "items": cluster},
        },
    }
