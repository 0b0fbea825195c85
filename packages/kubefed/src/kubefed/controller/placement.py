"""Which clusters a federated object is placed in.

The table is that of KubeFed v0.10.0 (its user guide, "Using Cluster Selector" and
"Neither spec.placement.clusters nor spec.placement.clusterSelector is provided"):

| placement.clusters | clusterSelector | result |
|---|---|---|
| absent or null | absent or null | none |
| absent or null | {} | all clusters |
| absent or null | a selector | clusters whose labels match |
| [] | anything | none |
| a list | anything | the list |

and what comes out is cut down to the registered clusters.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from kubefed.api.names import AggregateReason
from kubefed.controller.objects import Json, mapping, sequence, spec

if TYPE_CHECKING:
    from collections.abc import Mapping


class SelectorError(ValueError):
    """A label selector that no label can be tested with; the text says what is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """Where an object goes.

    Attributes:
        clusters: names of the clusters.
        reason: why there are none, as the Propagation condition says it; empty if all is well.
        explain: the same for an operator.
    """

    clusters: frozenset[str]
    reason: AggregateReason = AggregateReason.SUCCESS
    explain: str = ""


def select(federated: Json, clusters: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """Give the clusters that one object's own placement chooses.

    Args:
        federated: any federated object.
        clusters: the registered clusters, name to labels.

    Raises:
        SelectorError: the cluster selector is not a valid label selector.
    """
    placement = mapping(spec(federated).get("placement"))
    listed = placement.get("clusters")
    if listed is not None:
        names = {str(mapping(item).get("name") or "") for item in sequence(listed)}
        return frozenset(names & clusters.keys())
    return selected(placement.get("clusterSelector"), clusters)


def selected(selector: object, clusters: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """Give the clusters that a `clusterSelector` chooses; None chooses none, `{}` all.

    Raises:
        SelectorError: it is not a valid label selector.
    """
    if selector is None:
        return frozenset()
    requirements = mapping(selector)
    return frozenset(name for name, labels in clusters.items() if matches(requirements, labels))


def compute(
    federated: Json,
    clusters: Mapping[str, Mapping[str, str]],
    *,
    namespaced: bool,
    namespace: Json | None = None,
    namespaced_scope: bool = False,
) -> Placed:
    """Give the clusters that an object goes to, its namespace's placement included.

    Args:
        federated: the federated object.
        clusters: the registered clusters, name to labels.
        namespaced: whether its target lives in a namespace (so not for FederatedNamespace).
        namespace: the FederatedNamespace of its namespace, None where there is none.
        namespaced_scope: whether the control plane is of scope Namespaced, where a namespace
            that isn't federated doesn't keep its objects back.
    """
    try:
        own = select(federated, clusters)
        if not namespaced or (namespace is None and namespaced_scope):
            return Placed(own)
        if namespace is None:
            return Placed(
                frozenset(),
                AggregateReason.NAMESPACE_NOT_FEDERATED,
                "its namespace has no FederatedNamespace",
            )
        return Placed(own & select(namespace, clusters))
    except SelectorError as error:
        return Placed(frozenset(), AggregateReason.COMPUTE_PLACEMENT_FAILED, str(error))


def matches(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether labels meet a label selector (matchLabels and matchExpressions, all of them).

    Raises:
        SelectorError: an operator is unknown, or its values don't fit it.

    >>> matches({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, {})
    True
    """
    equal = all(labels.get(key) == value for key, value in _labels(selector).items())
    expressions = [mapping(item) for item in sequence(selector.get("matchExpressions"))]
    # Every expression is read, so that a malformed one is always said.
    results = [_expression(expression, labels) for expression in expressions]
    return equal and all(results)


def _labels(selector: Json) -> dict[str, str]:
    return mapping(selector.get("matchLabels"))


def _expression(expression: Json, labels: Mapping[str, str]) -> bool:
    key, operator = str(expression.get("key") or ""), expression.get("operator")
    values = sequence(expression.get("values"))
    if not key:
        raise SelectorError("a matchExpressions entry has no key")
    if operator in ("In", "NotIn"):  # codespell:ignore
        if not values:
            raise SelectorError(f"operator {operator} for label {key} needs values")
        return (labels.get(key) in values and key in labels) == (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        if values:
            raise SelectorError(f"operator {operator} for label {key} takes no values")
        return (key in labels) == (operator == "Exists")
    raise SelectorError(f"{operator!r} for label {key} is not a label selector's operator")
