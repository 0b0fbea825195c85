"""Where a namespace's objects go and how many replicas they have: the annotations (pure).

A policy is read in layers; what a nearer one says counts: the annotations of the object, those of
its namespace, the named policy (`kubefed.io/policy`, else the one called `default`) and at last
"in every cluster, as many replicas in each as the manifest says". Named policies are the entries
of the ConfigMap `kubefed-policies` in the federation's namespace; each holds the same keys as the
annotations, without their prefix, as YAML.

| annotation | says |
|---|---|
| `kubefed.io/clusters` | `palermo,napoli`: these; empty: none but the host |
| `kubefed.io/cluster-selector` | `tier=gold,region in (a,b),!old`: those whose labels match |
| `kubefed.io/total-replicas` | replicas of all clusters together, the host's own among them |
| `kubefed.io/replica-preferences` | JSON: `spec.clusters` of a ReplicaSchedulingPreference |
| `kubefed.io/rebalance` | `true`: replicas that run may be moved |
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING

import yaml

from kubefed.controller.objects import Json, mapping
from kubefed.controller.transparent.marks import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

POLICIES = "kubefed-policies"
DEFAULT_POLICY = "default"
NAME = "policy"
CLUSTERS, SELECTOR = "clusters", "cluster-selector"
TOTAL, PREFERENCES, REBALANCE = "total-replicas", "replica-preferences", "rebalance"
KEYS = frozenset({CLUSTERS, SELECTOR, TOTAL, PREFERENCES, REBALANCE})
_FIELDS = frozenset({"minReplicas", "maxReplicas", "weight"})
_MOST = 2**31 - 1
_NOT_IN = "NotIn"  # codespell:ignore
_SET = re.compile(r"([^\s!=,()]+)\s+(in|notin)\s+\(([^()]*)\)")  # codespell:ignore
_EQUAL = re.compile(r"([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)")
_PRESENT = re.compile(r"(!?)\s*([^\s!=,()]+)")
_BETWEEN = re.compile(r",(?![^()]*\))")


class PolicyError(ValueError):
    """An annotation, or a named policy, that can't be read; the text says which and why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """Where objects go, and how many replicas there are.

    Attributes:
        clusters: the clusters by name; None if `selector` says.
        selector: a label selector of clusters; empty for all.
        total: replicas of all clusters together; None for the manifest's number in each.
        preferences: by cluster or "*", as a ReplicaSchedulingPreference has them.
        rebalance: whether replicas that run may be moved.
    """

    clusters: tuple[str, ...] | None = None
    selector: Json = dataclasses.field(default_factory=dict[str, object])
    total: int | None = None
    preferences: Json = dataclasses.field(default_factory=dict[str, object])
    rebalance: bool = False

    @property
    def placement(self) -> Json:
        """The placement of a federated object."""
        if self.clusters is not None:
            return {"clusters": [{"name": name} for name in self.clusters]}
        # As `kubefed federate` says "all".
        return {"clusterSelector": self.selector or {"matchLabels": {}}}


def of_annotations(notes: Mapping[str, str]) -> dict[str, str]:
    """Give the layer that an object's annotations are."""
    return {
        name.removeprefix(PREFIX): value
        for name, value in notes.items()
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) in KEYS
    }


def named(policies: Json | None, notes: Mapping[str, str]) -> dict[str, str]:
    """Give the layer that the named policy of a namespace is.

    Args:
        policies: the ConfigMap, None if there is none.
        notes: the namespace's annotations.

    Raises:
        PolicyError: there is no such policy, or it can't be read.
    """
    wanted = notes.get(PREFIX + NAME)
    entries = mapping((policies or {}).get("data"))
    text = entries.get(wanted or DEFAULT_POLICY)
    if text is None:
        if wanted is None:
            return {}
        raise PolicyError(f"there is no policy {wanted!r} in the ConfigMap {POLICIES}")
    try:
        layer = yaml.safe_load(str(text)) or {}
    except yaml.YAMLError as error:
        raise PolicyError(f"policy {wanted or DEFAULT_POLICY!r} is not YAML") from error
    if not isinstance(layer, dict) or not KEYS.issuperset(layer):
        raise PolicyError(
            f"policy {wanted or DEFAULT_POLICY!r} may have the keys {', '.join(sorted(KEYS))}"
        )
    return {name: _text(value) for name, value in mapping(layer).items()}


def resolve(layers: Sequence[Mapping[str, str]]) -> Policy:
    """Put layers together.

    Args:
        layers: the nearest first.

    Raises:
        PolicyError: a value can't be read.
    """
    # Who names clusters doesn't want another layer's selector, and the other way round.
    place = next((each for each in layers if CLUSTERS in each or SELECTOR in each), {})
    if CLUSTERS in place and SELECTOR in place:
        raise PolicyError(f"{CLUSTERS} and {SELECTOR} exclude each other")
    found: dict[str, str] = {}
    for layer in reversed(layers):
        found |= layer
    return Policy(
        clusters=_names(place[CLUSTERS]) if CLUSTERS in place else None,
        selector=selector(place.get(SELECTOR, "")),
        total=_total(found[TOTAL]) if found.get(TOTAL) else None,
        preferences=_preferences(found.get(PREFERENCES, "")),
        rebalance=_boolean(found.get(REBALANCE, "false")),
    )


def selector(text: str) -> Json:
    """Read a label selector as kubectl's `--selector` has it.

    Raises:
        PolicyError: it is none.

    >>> selector("tier=gold,!old")
    {'matchLabels': {'tier': 'gold'}, \
'matchExpressions': [{'key': 'old', 'operator': 'DoesNotExist'}]}
    """
    equal: dict[str, str] = {}
    expressions: list[Json] = []
    for term in (part.strip() for part in _BETWEEN.split(text)):
        if not term and not text.strip():
            continue
        if match := _SET.fullmatch(term):
            operator = "In" if match[2] == "in" else _NOT_IN  # codespell:ignore
            values = [value.strip() for value in match[3].split(",")]
            expressions.append({"key": match[1], "operator": operator, "values": values})
        elif match := _EQUAL.fullmatch(term):
            if match[2] == "!=":
                expressions.append({"key": match[1], "operator": _NOT_IN, "values": [match[3]]})
            elif equal.setdefault(match[1], match[3]) != match[3]:
                raise PolicyError(f"{SELECTOR} {text!r} wants two values of {match[1]}")
        elif match := _PRESENT.fullmatch(term):
            operator = "DoesNotExist" if match[1] else "Exists"
            expressions.append({"key": match[2], "operator": operator})
        else:
            raise PolicyError(f"{SELECTOR} {text!r} is no label selector")
    found: Json = {"matchLabels": equal} if equal else {}
    return found | ({"matchExpressions": expressions} if expressions else {})


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, dict):
        return json.dumps(value)
    return "" if value is None else str(value)


def _names(text: str) -> tuple[str, ...]:
    return tuple(sorted({name.strip() for name in text.split(",") if name.strip()}))


def _total(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text.strip()) or int(text) > _MOST:
        raise PolicyError(f"{TOTAL} {text!r} is no number of replicas")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise PolicyError(f"{REBALANCE} {text!r} is neither true nor false")
    return text == "true"


def _preferences(text: str) -> Json:
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise PolicyError(f"{PREFERENCES} is not JSON") from error
    if not isinstance(found, dict):
        raise PolicyError(f"{PREFERENCES} is no JSON object")
    for cluster, entry in mapping(found).items():
        fields = mapping(entry)
        numbers = all(type(value) is int and 0 <= value <= _MOST for value in fields.values())
        if not isinstance(entry, dict) or not _FIELDS.issuperset(fields) or not numbers:
            raise PolicyError(
                f"{PREFERENCES}: {cluster!r} may have {', '.join(sorted(_FIELDS))}, numbers from 0"
            )
    return mapping(found)
