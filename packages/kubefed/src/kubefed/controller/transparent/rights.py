"""What the controller may do with plain objects in the host, and only where it was asked (pure).

Nothing of it holds everywhere: ClusterRoles say what, and the controller binds them to itself in
a namespace that asks to be federated. That it does so nowhere else, an admission policy sees to;
who may label namespaces decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubefed import policy
from kubefed.api import (
    CLUSTER_ROLE,
    CONTROLLER_ACCOUNT,
    GUARDED_NAMESPACES,
    IGNORED_NAMESPACES,
    STANDARD_KINDS,
    Manifest,
    TargetKind,
)
from kubefed.controller.transparent import fold
from kubefed.controller.transparent.marks import FEDERATE

if TYPE_CHECKING:
    from collections.abc import Iterable

ROLE = "kubefed-transparent"
# For the kinds beyond the standard ones: the sum of all ClusterRoles with the label below.
TYPES_ROLE = "kubefed-transparent-types"
AGGREGATE = "kubefed.io/aggregate-to-transparent"
ROLES = (ROLE, TYPES_ROLE)
_RBAC = "rbac.authorization.k8s.io"


def objects(namespace: str) -> list[tuple[TargetKind, Manifest]]:
    """Give what is installed in the host, for scope Cluster.

    Args:
        namespace: the federation's.
    """
    types = _role(TYPES_ROLE) | {
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {AGGREGATE: "true"}}]}
    }
    guard = guard_name(namespace)
    return [
        (CLUSTER_ROLE, _role(ROLE) | {"rules": _rules(STANDARD_KINDS)}),
        (CLUSTER_ROLE, types),
        (policy.POLICY, _guard(guard, namespace)),
        (policy.POLICY_BINDING, policy.policy_binding(guard)),
    ]


def guard_name(namespace: str) -> str:
    """Name the admission policy of one federation in the host."""
    return f"{ROLE}.{namespace}"


def type_role(kind: TargetKind) -> Manifest:
    """Give the ClusterRole that adds a kind beyond the standard ones."""
    made = _role(f"{ROLE}:{kind.full_name}")
    made["metadata"]["labels"] = {AGGREGATE: "true"}
    return made | {"rules": _rules([kind])}


def binding_rules() -> list[Manifest]:
    """Leave for the controller to bind these roles; where, the admission policy limits."""
    return [
        _rule([_RBAC], ["rolebindings"], ["get", "list", "create", "delete"]),
        _rule([_RBAC], ["clusterroles"], ["bind"]) | {"resourceNames": list(ROLES)},
    ]


def role_bindings(federation: str, where: str) -> list[Manifest]:
    """Give the bindings in a namespace that is federated.

    Args:
        federation: the federation's namespace.
        where: the namespace.
    """
    subject = {"kind": "ServiceAccount", "name": CONTROLLER_ACCOUNT, "namespace": federation}
    return [
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": where},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        }
        for name in ROLES
    ]


def _rules(kinds: Iterable[TargetKind]) -> list[Manifest]:
    """To read kinds, and to write an annotation on the objects of those that have a status."""
    wanted = sorted(kind for kind in kinds if kind.namespaced)
    rules: list[Manifest] = []
    for group in sorted({kind.group for kind in wanted}):
        mine = [kind for kind in wanted if kind.group == group]
        rules.append(_rule([group], [kind.plural for kind in mine], ["get", "list", "watch"]))
        told = [kind.plural + fold.subresource(kind) for kind in mine if _told(kind)]
        if told:
            rules.append(_rule([group], told, ["patch"]))
    return rules


def _told(kind: TargetKind) -> bool:
    """Whether objects of a kind may have a status; of the standard ones it is known."""
    return kind not in STANDARD_KINDS or bool(fold.status_fields(kind))


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Manifest:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


def _role(name: str) -> Manifest:
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}}


def _guard(name: str, federation: str) -> Manifest:
    guarded = ", ".join(
        f"'{each}'" for each in sorted(GUARDED_NAMESPACES | IGNORED_NAMESPACES | {federation})
    )
    roles = ", ".join(f"'{each}'" for each in ROLES)
    account = policy.account_user(CONTROLLER_ACCOUNT, federation)
    return {
        "apiVersion": policy.POLICY.api_version,
        "kind": policy.POLICY.kind,
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [_RBAC],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE", "DELETE"],
                        "resources": ["rolebindings"],
                    }
                ]
            },
            "matchConditions": [
                {
                    "name": "the-controllers-account",
                    "expression": f"request.userInfo.username == '{account}'",
                }
            ],
            "validations": [
                {
                    "expression": f"request.name in [{roles}] && request.operation != 'UPDATE'",
                    "message": f"{policy.REFUSAL}the controller makes and deletes only the "
                    f"RoleBindings {' and '.join(ROLES)}",
                },
                {
                    "expression": "object == null || (object.roleRef.kind == 'ClusterRole' && "
                    f"object.roleRef.name in [{roles}])",
                    "message": f"{policy.REFUSAL}the controller binds only the roles "
                    f"{' and '.join(ROLES)}",
                },
                {
                    "expression": "object == null || (has(namespaceObject.metadata.labels) && "
                    f"namespaceObject.metadata.labels[?'{FEDERATE}'].orValue('') == 'true' && "
                    f"!(request.namespace in [{guarded}]))",
                    "message": f"{policy.REFUSAL}the controller takes rights only in a namespace "
                    f'with the label {FEDERATE}: "true"',
                },
            ],
        },
    }
