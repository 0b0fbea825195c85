"""What RBAC can't say: the federation's account in a member writes only the federation's objects.

A ValidatingAdmissionPolicy (KEP-3488, stable since Kubernetes 1.30) looks at every write of the
account and of nobody else. Pure: the objects and the expressions.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubefed.api import GUARDED_NAMESPACES, MANAGED, MANAGED_LABEL, Manifest, TargetKind

POLICY = TargetKind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
)
POLICY_BINDING = TargetKind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    namespaced=False,
)

# How each refusal begins: whoever sees it knows which policy said so.
REFUSAL = "kubefed: "

# Roles of Kubernetes itself, and the accounts' own: with `escalate`, changing one of them would be
# taking any right.
_BUILT_IN_ROLES = ("cluster-admin", "admin", "edit", "view")
_OWN_ROLES = "kubefed-"
_RBAC_GROUP = "rbac.authorization.k8s.io"


def account_user(service_account: str, namespace: str) -> str:
    """Give the user name that a ServiceAccount's requests carry."""
    return f"system:serviceaccount:{namespace}:{service_account}"


def policy(
    name: str, service_account: str, namespace: str, *, namespaced: bool = False
) -> Manifest:
    """Give the policy for one account.

    Args:
        name: the policy's name.
        service_account: the federation's account in this member.
        namespace: the account's namespace, where the account may write nothing.
        namespaced: scope Namespaced: it writes in its namespace, and RBAC keeps it there.
    """
    guarded = GUARDED_NAMESPACES if namespaced else {*GUARDED_NAMESPACES, namespace}
    return {
        "apiVersion": POLICY.api_version,
        "kind": POLICY.kind,
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "resourceRules": [
                    {
                        "apiGroups": ["*"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"],
                        "resources": ["*/*"],
                        "scope": "*",
                    }
                ],
            },
            "matchConditions": [
                {
                    "name": "the-federations-account",
                    "expression": "request.userInfo.username == "
                    f"{_text(account_user(service_account, namespace))}",
                }
            ],
            "variables": _variables(guarded),
            "validations": _validations(),
        },
    }


def policy_binding(name: str) -> Manifest:
    """Give the binding that makes the policy of the same name count everywhere."""
    return {
        "apiVersion": POLICY_BINDING.api_version,
        "kind": POLICY_BINDING.kind,
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


def _variables(namespaces: Iterable[str]) -> list[Manifest]:
    guarded = ", ".join(_text(each) for each in sorted(namespaces))
    return [
        _variable("guarded", f"[{guarded}]"),
        _variable("name", "object != null ? object.metadata.name : oldObject.metadata.name"),
        # A Namespace is in itself; its object says no namespace.
        _variable(
            "where",
            "request.resource.group == '' && request.resource.resource == 'namespaces' "
            "? variables.name : request.?namespace.orValue('')",
        ),
        _variable("carried", f"object != null && {_labelled('object')}"),
        _variable("carriedBefore", f"oldObject != null && {_labelled('oldObject')}"),
        _variable(
            "role",
            f"request.resource.group == {_text(_RBAC_GROUP)} "
            "&& request.resource.resource == 'clusterroles'",
        ),
    ]


def _validations() -> list[Manifest]:
    built_in = ", ".join(_text(each) for each in _BUILT_IN_ROLES)
    rules = (
        "!has(object.rules) || object.rules == null || object.rules.all(r, "
        "!r.verbs.exists(v, v in ['escalate', 'bind', 'impersonate']) && "
        "!(r.verbs.exists(v, v == '*') && has(r.apiGroups) && "
        f"r.apiGroups.exists(g, g in ['*', '', 'authentication.k8s.io', {_text(_RBAC_GROUP)}])))"
    )
    labels = (
        "!has(object.metadata.labels) || !object.metadata.labels.exists(k, "
        "k.startsWith('rbac.authorization.k8s.io/aggregate-to-'))"
    )
    return [
        _validation(
            "request.operation in ['CREATE', 'UPDATE', 'DELETE']",
            "the federation's account connects to nothing",
        ),
        _validation(
            "request.?subResource.orValue('') == ''",
            "the federation's account writes no subresources",
        ),
        _validation(
            "!(variables.where in variables.guarded)",
            "the federation's account writes nothing in the namespaces of the system and its own",
        ),
        _validation(
            "variables.carried || variables.carriedBefore",
            f"the federation's account writes only objects with the label {MANAGED_LABEL}: "
            f'"{MANAGED}"',
        ),
        # Adopting a role that somebody is bound to, and rewriting it, would give any right.
        _validation(
            "!variables.role || oldObject == null || variables.carriedBefore",
            "the federation's account takes over no existing ClusterRole",
        ),
        _validation(
            f"!variables.role || !(variables.name in [{built_in}] "
            f"|| variables.name.startsWith('system:') "
            f"|| variables.name.startsWith({_text(_OWN_ROLES)}))",
            "the federation's account leaves the ClusterRoles of Kubernetes and its own alone",
        ),
        _validation(
            f"!variables.role || object == null || (({rules}) && ({labels}) "
            "&& (!has(object.aggregationRule) || object.aggregationRule == null))",
            "a federated ClusterRole may not allow escalate, bind, impersonate or every verb "
            "of the core or RBAC groups, nor be part of another role",
        ),
    ]


def _labelled(value: str) -> str:
    return (
        f"has({value}.metadata.labels) && {value}.metadata.labels[?{_text(MANAGED_LABEL)}]"
        f".orValue('') == {_text(MANAGED)}"
    )


def _variable(name: str, expression: str) -> Manifest:
    return {"name": name, "expression": expression}


def _validation(expression: str, message: str) -> Manifest:
    return {"expression": expression, "message": REFUSAL + message, "reason": "Forbidden"}


def _text(value: str) -> str:
    # A CEL string; the names that come here are DNS names, without quotes or backslashes.
    return f"'{value}'"
