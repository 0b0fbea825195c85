from __future__ import annotations

from kubefed import rbac
from kubefed.api import CLUSTER_ROLE, CONFIG_MAP, DEPLOYMENT, STANDARD_KINDS, Manifest
from kubefed.controller.transparent.rights import ROLE
from kubefed.policy import account_user, policy


def allowed(rules: list[Manifest]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
        for verb in rule["verbs"]
    }


def test_a_members_account_gets_the_kinds_and_no_wildcard() -> None:
    rights = allowed(rbac.member_rules(STANDARD_KINDS))
    assert not [right for right in rights if "*" in right]
    assert ("apps", "deployments", "update") in rights
    assert ("", "pods", "watch") in rights
    assert ("", "pods", "create") not in rights
    # No subresource: neither a token, nor a console, nor a scale.
    assert not [right for right in rights if "/" in right[1]]
    # Deleting many at once is not what the federation does.
    assert not [right for right in rights if right[2] == "deletecollection"]


def test_escalate_comes_only_with_cluster_roles() -> None:
    escalate = (CLUSTER_ROLE.group, CLUSTER_ROLE.plural, "escalate")
    assert escalate in allowed(rbac.member_rules([CONFIG_MAP, CLUSTER_ROLE]))
    assert escalate not in allowed(rbac.member_rules([CONFIG_MAP, DEPLOYMENT]))
    assert not [
        right for right in allowed(rbac.member_rules(STANDARD_KINDS)) if right[2] == "bind"
    ]


def test_a_namespaced_federation_writes_in_its_namespace_only() -> None:
    objects = rbac.member_objects("r", "a", "ns", STANDARD_KINDS, namespaced=True)
    by_kind = {kind.kind: manifest for kind, manifest in objects}
    assert {verb for *_, verb in allowed(by_kind["ClusterRole"]["rules"])} == set(rbac.READ)
    rights = allowed(by_kind["Role"]["rules"])
    assert ("", "configmaps", "create") in rights
    assert not [right for right in rights if right[1] in ("namespaces", "clusterroles")]


def test_v0_10_0_can_take_its_lock_by_the_same_account() -> None:
    for namespaced in (False, True):
        objects = rbac.controller_objects("ns", namespaced=namespaced)
        [role] = [manifest for kind, manifest in objects if kind == rbac.ROLE]
        locks = {verb for _, what, verb in allowed(role["rules"]) if what == "configmaps"}
        assert locks >= {"get", "create", "update", "patch"}
        assert "delete" not in locks


def test_the_controllers_account_reads_secrets_of_its_namespace_only() -> None:
    for namespaced in (False, True):
        for kind, manifest in rbac.controller_objects("ns", namespaced=namespaced):
            # Bound by the controller itself, in a namespace that asks to be federated.
            if "rules" not in manifest or manifest["metadata"]["name"] == ROLE:
                continue
            secrets = [right for right in allowed(manifest["rules"]) if right[1] == "secrets"]
            assert (secrets != []) == (kind == rbac.ROLE)
            assert {verb for *_, verb in secrets} <= set(rbac.READ)
    assert not any(
        kind == CLUSTER_ROLE for kind, _ in rbac.controller_objects("ns", namespaced=True)
    )


def test_users_of_a_namespace_can_not_reach_beyond_it() -> None:
    for role in rbac.aggregate_roles():
        resources = {resource for _, resource, _ in allowed(role["rules"])}
        assert resources.isdisjoint({"federatedclusterroles", "federatednamespaces", "*"})
        if role["metadata"]["name"] == "kubefed-view":
            assert "federatedsecrets" not in resources
            assert {verb for *_, verb in allowed(role["rules"])} == set(rbac.READ)


def test_the_policy_is_about_one_account_and_fails_closed() -> None:
    spec = policy("p", "palermo-catania", "kfs")["spec"]
    assert spec["failurePolicy"] == "Fail"
    [condition] = spec["matchConditions"]
    assert account_user("palermo-catania", "kfs") in condition["expression"]
    guarded = next(each for each in spec["variables"] if each["name"] == "guarded")
    assert guarded["expression"] == "['kfs', 'kube-node-lease', 'kube-public', 'kube-system']"
    spec = policy("p", "palermo-catania", "kfs", namespaced=True)["spec"]
    guarded = next(each for each in spec["variables"] if each["name"] == "guarded")
    assert "'kfs'" not in guarded["expression"]
