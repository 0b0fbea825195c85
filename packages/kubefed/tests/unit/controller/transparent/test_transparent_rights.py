"""What the controller may do with plain objects: nothing, but where it was asked."""

from __future__ import annotations

from kubefed import rbac
from kubefed.api import CLUSTER_ROLE, STANDARD_KINDS, TargetKind
from kubefed.controller.transparent import rights


def test_no_right_over_plain_objects_is_bound_everywhere() -> None:
    objects = rbac.controller_objects("fed", namespaced=False)
    bound = {
        manifest["roleRef"]["name"]
        for _, manifest in objects
        if manifest["kind"].endswith("Binding") and "roleRef" in manifest
    }
    assert bound.isdisjoint(rights.ROLES)
    plurals = {kind.plural for kind in STANDARD_KINDS} - {"namespaces", "clusterroles"}
    everywhere = next(
        manifest
        for kind, manifest in objects
        if kind == CLUSTER_ROLE and manifest["metadata"]["name"] == rbac.CONTROLLER_ROLE
    )
    named = {each for rule in everywhere["rules"] for each in rule["resources"]}
    assert named.isdisjoint(plurals)


def test_where_it_was_asked_it_reads_and_annotates_and_changes_no_spec() -> None:
    roles = {manifest["metadata"]["name"]: manifest for _, manifest in rights.objects("fed")}
    rules = roles[rights.ROLE]["rules"]
    reads = {each for rule in rules if "patch" not in rule["verbs"] for each in rule["resources"]}
    assert reads == {kind.plural for kind in STANDARD_KINDS if kind.namespaced}
    writes = {each for rule in rules if "patch" in rule["verbs"] for each in rule["resources"]}
    assert writes == {
        f"{plural}/status"
        for plural in ("deployments", "replicasets", "jobs", "services", "ingresses")
    }
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch", "patch"}


def test_it_binds_those_roles_only() -> None:
    [bind] = [rule for rule in rights.binding_rules() if "bind" in rule["verbs"]]
    assert bind["resourceNames"] == list(rights.ROLES)
    made = rights.role_bindings("fed", "shop")
    assert [each["roleRef"]["name"] for each in made] == list(rights.ROLES)
    assert {each["subjects"][0]["namespace"] for each in made} == {"fed"}


def test_a_further_kind_joins_the_sum() -> None:
    role = rights.type_role(TargetKind("example.com", "v1", "Box", "boxes"))
    assert role["metadata"]["labels"] == {rights.AGGREGATE: "true"}
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["boxes"], ["get", "list", "watch"]),
        (["boxes"], ["patch"]),
    ]
    assert rbac.controller_objects("fed", namespaced=True) == [
        each
        for each in rbac.controller_objects("fed", namespaced=True)
        if each[1]["metadata"]["name"] not in rights.ROLES
    ]
