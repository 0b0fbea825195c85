"""Which rights the federation needs, in the host and in a member, as plain RBAC objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kubefed.api import (
    CLUSTER_ROLE,
    CONTROLLER_ACCOUNT,
    CORE_GROUP,
    DEFAULT_NAMESPACE,
    SCHEDULING_GROUP,
    STANDARD_KINDS,
    TYPES_GROUP,
    FederatedType,
    Manifest,
    TargetKind,
)
from kubefed.controller.transparent import rights

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete")
RBAC_V1 = "rbac.authorization.k8s.io/v1"

ROLE = TargetKind("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING = TargetKind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
CLUSTER_ROLE_BINDING = TargetKind(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    namespaced=False,
)

CONTROLLER_ROLE = "kubefed-role"
CONTROLLER_ROLE_BINDING = "kubefed-rolebinding"
SYSTEM_ROLE = "kubefed-config-role"
SYSTEM_ROLE_BINDING = "kubefed-config-rolebinding"

# Types that reach beyond the namespace of who writes them: a FederatedClusterRole can change what
# every member's roles allow, a FederatedNamespace can lift a namespace's pod security. They are
# left to the cluster's administrators.
_BEYOND_NAMESPACE = frozenset({"clusterroles", "namespaces"})


def rule(groups: Iterable[str], resources: Iterable[str], verbs: Iterable[str]) -> Manifest:
    """Give one rule of a Role."""
    return {
        "apiGroups": list(groups),
        "resources": list(resources),
        "verbs": list(verbs),
    }


def controller_rules() -> list[Manifest]:
    """What the controller may do on the federation's own objects in the host."""
    return [
        rule(
            [CORE_GROUP], ["kubefedclusters", "federatedtypeconfigs"], [*READ, "update", "patch"]
        ),
        rule(
            [CORE_GROUP],
            ["kubefedclusters/status", "federatedtypeconfigs/status"],
            ["get", "update", "patch"],
        ),
        rule([CORE_GROUP], ["kubefedconfigs"], [*READ, "create", "update", "patch"]),
        rule(
            [CORE_GROUP],
            [
                "propagatedversions",
                "clusterpropagatedversions",
                "propagatedversions/status",
                "clusterpropagatedversions/status",
                "federatedservicestatuses",
            ],
            [*READ, *WRITE],
        ),
        # To create and delete: what the controller keeps for plain objects.
        rule([SCHEDULING_GROUP], ["*"], [*READ, *WRITE]),
        types_rule(TYPES_GROUP),
    ]


def types_rule(group: str) -> Manifest:
    """What the controller may do on the federated types of a group.

    All resources of the group: it is the federation's own, and types are enabled at run time.
    """
    return rule([group], ["*"], [*READ, *WRITE])


def cluster_rules() -> list[Manifest]:
    """What the controller may do in all namespaces of the host besides."""
    return [
        rule([""], ["namespaces"], READ),
        rule(["apiextensions.k8s.io"], ["customresourcedefinitions"], READ),
        events_rule(),
        *rights.binding_rules(),
    ]


def events_rule() -> Manifest:
    """Leave to record events."""
    return rule(["", "events.k8s.io"], ["events"], ["get", "create", "update", "patch"])


def system_rules() -> list[Manifest]:
    """What the controller may do in the federation's namespace: tokens, locks, policies."""
    return [
        rule([""], ["secrets"], READ),
        # The named policies of transparent federation; and v0.10.0's lock, which it writes when it
        # takes over again.
        rule([""], ["configmaps"], [*READ, "create", "update", "patch"]),
        rule(["coordination.k8s.io"], ["leases"], [*READ, "create", "update", "patch"]),
        events_rule(),
    ]


def aggregate_roles() -> list[Manifest]:
    """Give ClusterRoles that extend Kubernetes' admin, edit and view by the federated types."""
    types = [
        kind.plural
        for target in STANDARD_KINDS
        if target.plural not in _BEYOND_NAMESPACE
        for kind in [FederatedType.of(target).federated]
    ]
    writes = [
        rule([TYPES_GROUP], types, [*READ, *WRITE]),
        rule([SCHEDULING_GROUP], ["replicaschedulingpreferences"], [*READ, *WRITE]),
    ]
    reads = [
        # Kubernetes' view can't read Secrets either.
        rule([TYPES_GROUP], [each for each in types if each != "federatedsecrets"], READ),
        rule([SCHEDULING_GROUP], ["replicaschedulingpreferences"], READ),
        rule([CORE_GROUP], ["propagatedversions", "federatedservicestatuses"], READ),
    ]
    return [
        aggregate_role("kubefed-admin", "admin", writes),
        aggregate_role("kubefed-edit", "edit", writes),
        aggregate_role("kubefed-view", "view", reads),
    ]


def aggregate_role(name: str, into: str, rules: Sequence[Manifest]) -> Manifest:
    """Give a ClusterRole whose rules become part of Kubernetes' role `into`."""
    return cluster_role(name, rules, {f"rbac.authorization.k8s.io/aggregate-to-{into}": "true"})


def member_rules(kinds: Iterable[TargetKind]) -> list[Manifest]:
    """What the federation's account may write in a member: the federated kinds, nothing else.

    RBAC can't look at labels, so what is written is further limited by `kubefed.policy`; what is
    read is not.

    Args:
        kinds: the kinds that the federation may write.
    """
    wanted = sorted(set(kinds))
    rules: list[Manifest] = []
    for group in sorted({kind.group for kind in wanted}):
        plurals = [kind.plural for kind in wanted if kind.group == group]
        rules.append(rule([group], plurals, [*READ, *WRITE]))
    if any(_same(kind, CLUSTER_ROLE) for kind in wanted):
        # The API server lets nobody write a ClusterRole with rights that he lacks, unless he
        # holds `escalate`. Which roles and which rules, the admission policy limits.
        rules.append(rule([CLUSTER_ROLE.group], [CLUSTER_ROLE.plural], ["escalate"]))
    # Which replicas can't be scheduled.
    return [*rules, rule([""], ["pods"], READ)]


def look_rules() -> list[Manifest]:
    """What the federation's account may look at in a member: which cluster it is, its health."""
    return [
        rule([""], ["namespaces"], READ),
        {"nonResourceURLs": ["/healthz", "/version"], "verbs": ["get"]},
    ]


def member_objects(
    name: str, account: str, namespace: str, kinds: Iterable[TargetKind], *, namespaced: bool
) -> list[tuple[TargetKind, Manifest]]:
    """Give the roles and bindings of the federation's account in a member.

    Args:
        name: the name of all of them.
        account: the ServiceAccount.
        namespace: its namespace.
        kinds: the kinds that the federation may write.
        namespaced: scope Namespaced: write in the federation's namespace only.
    """
    wanted = [kind for kind in kinds if kind.namespaced or not namespaced]
    rules = look_rules() if namespaced else [*member_rules(wanted), *look_rules()]
    objects = [
        (CLUSTER_ROLE, cluster_role(name, rules)),
        (CLUSTER_ROLE_BINDING, binding(name, name, account, namespace)),
    ]
    if namespaced:
        objects += [
            (ROLE, role(name, namespace, member_rules(wanted))),
            (ROLE_BINDING, binding(name, name, account, namespace, role_kind="Role")),
        ]
    return objects


def _same(one: TargetKind, other: TargetKind) -> bool:
    return (one.group, one.plural) == (other.group, other.plural)


def cluster_role(
    name: str, rules: Sequence[Manifest], labels: dict[str, str] | None = None
) -> Manifest:
    """Give a ClusterRole."""
    metadata: dict[str, Any] = {"name": name} | ({"labels": labels} if labels else {})
    return {
        "apiVersion": RBAC_V1,
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": list(rules),
    }


def role(name: str, namespace: str, rules: Sequence[Manifest]) -> Manifest:
    """Give a Role."""
    return {
        "apiVersion": RBAC_V1,
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": list(rules),
    }


def binding(
    name: str, role_name: str, account: str, namespace: str, *, role_kind: str = "ClusterRole"
) -> Manifest:
    """Give the binding of a role to a ServiceAccount.

    Args:
        name: the binding's name.
        role_name: the role.
        account: the ServiceAccount.
        namespace: the ServiceAccount's namespace, and the binding's for a Role.
        role_kind: "ClusterRole" for a ClusterRoleBinding, "Role" for a RoleBinding.
    """
    metadata = {"name": name} | ({"namespace": namespace} if role_kind == "Role" else {})
    return {
        "apiVersion": RBAC_V1,
        "kind": f"{role_kind}Binding",
        "metadata": metadata,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": role_kind,
            "name": role_name,
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def controller_binding(namespace: str) -> str:
    """Name the controller's ClusterRoleBinding; another federation in the host has its own."""
    if namespace == DEFAULT_NAMESPACE:
        return CONTROLLER_ROLE_BINDING
    return f"{CONTROLLER_ROLE_BINDING}:{namespace}"


def controller_objects(
    namespace: str, *, namespaced: bool, bound: bool = True
) -> list[tuple[TargetKind, Manifest]]:
    """Give the roles and bindings of the controller's account.

    Args:
        namespace: the federation's namespace.
        namespaced: scope Namespaced: nothing beyond the federation's namespace.
        bound: with the bindings, by which the account may act.
    """
    system = [*system_rules(), *controller_rules()] if namespaced else system_rules()
    objects = [
        (ROLE, role(SYSTEM_ROLE, namespace, system)),
        (
            ROLE_BINDING,
            binding(
                SYSTEM_ROLE_BINDING, SYSTEM_ROLE, CONTROLLER_ACCOUNT, namespace, role_kind="Role"
            ),
        ),
    ]
    if not namespaced:
        rules = [*controller_rules(), *cluster_rules()]
        objects += [
            (CLUSTER_ROLE, cluster_role(CONTROLLER_ROLE, rules)),
            (
                CLUSTER_ROLE_BINDING,
                binding(
                    controller_binding(namespace), CONTROLLER_ROLE, CONTROLLER_ACCOUNT, namespace
                ),
            ),
            *rights.objects(namespace),
        ]
    bindings = (ROLE_BINDING, CLUSTER_ROLE_BINDING)
    return [each for each in objects if bound or each[0] not in bindings]
