"""What the federation's account may do in a member, and what RBAC and the policy refuse it."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest
from federation_lab.cluster.control_plane import ControlPlane
from kubefed import clients, errors, membership, rbac
from kubefed.api import (
    CLUSTER_ROLE,
    CONFIG_MAP,
    DEPLOYMENT,
    MANAGED_LABEL,
    NAMESPACE,
    SECRET,
    STANDARD_KINDS,
    Manifest,
    TargetKind,
)
from kubefed.clients import Resources
from kubefed.policy import POLICY, POLICY_BINDING
from membership_harness import Member, admin, config_map, prepared, role, thing

pytestmark = pytest.mark.cluster

FEDERATION = "account-test"
POD = TargetKind("", "v1", "Pod", "pods")


@pytest.fixture(scope="module")
def member(members: list[ControlPlane]) -> Generator[Member]:
    with prepared(members[0], FEDERATION) as member:
        yield member


def test_it_carries_its_own_objects(member: Member) -> None:
    account = member.account()
    name = "carried"
    account.create(CONFIG_MAP, config_map(name))
    assert "ConfigMap default/carried" in membership.managed_objects(
        member.admin.api, kinds=STANDARD_KINDS
    )
    account.patch(CONFIG_MAP, name, "default", {"data": {"a": "b"}})
    account.patch(CONFIG_MAP, name, "default", {"metadata": {"labels": {MANAGED_LABEL: None}}})
    with pytest.raises(errors.Forbidden, match="only objects with the label"):
        account.patch(CONFIG_MAP, name, "default", {"data": {"a": "c"}})
    # Taken over again, as adoption does, and deleted.
    account.patch(CONFIG_MAP, name, "default", {"metadata": {"labels": {MANAGED_LABEL: "true"}}})
    assert account.delete(CONFIG_MAP, name, "default")


def test_it_carries_namespaces_and_roles(member: Member) -> None:
    account = member.account()
    account.create(NAMESPACE, thing(NAMESPACE, "account-shop", None, managed=True))
    assert account.delete(NAMESPACE, "account-shop")
    pods = [rbac.rule([""], ["pods"], ["get", "watch"])]
    account.create(CLUSTER_ROLE, role("reader", pods))
    account.patch(CLUSTER_ROLE, "reader", None, {"rules": [rbac.rule(["apps"], ["*"], ["*"])]})
    assert account.delete(CLUSTER_ROLE, "reader")


@pytest.mark.parametrize(
    "namespace", ["kube-system", "kube-public", "kube-node-lease", FEDERATION]
)
def test_it_stays_out_of_the_systems_namespaces(member: Member, namespace: str) -> None:
    account = member.account()
    with pytest.raises(errors.Forbidden, match="namespaces of the system"):
        account.create(CONFIG_MAP, config_map("x", namespace))
    with pytest.raises(errors.Forbidden, match="namespaces of the system"):
        account.patch(
            NAMESPACE, namespace, None, {"metadata": {"labels": {MANAGED_LABEL: "true"}}}
        )
    with pytest.raises(errors.Forbidden):
        account.delete(NAMESPACE, namespace)


def test_it_leaves_the_members_own_objects_alone(member: Member) -> None:
    account = member.account()
    member.admin.create(CONFIG_MAP, config_map("local", managed=False))
    try:
        with pytest.raises(errors.Forbidden, match="only objects with the label"):
            account.create(CONFIG_MAP, config_map("unlabelled", managed=False))
        with pytest.raises(errors.Forbidden, match="only objects with the label"):
            account.patch(CONFIG_MAP, "local", "default", {"data": {"a": "b"}})
        with pytest.raises(errors.Forbidden, match="only objects with the label"):
            account.delete(CONFIG_MAP, "local", "default")
        labels = {"metadata": {"labels": {MANAGED_LABEL: "false"}}}
        with pytest.raises(errors.Forbidden, match="only objects with the label"):
            account.patch(CONFIG_MAP, "local", "default", labels)
    finally:
        member.admin.delete(CONFIG_MAP, "local", "default")


EVERYTHING = rbac.rule(["*"], ["*"], ["*"])


@pytest.mark.parametrize(
    ("name", "rules", "fields"),
    [
        ("evil", [EVERYTHING], {}),
        ("evil", [rbac.rule(["rbac.authorization.k8s.io"], ["clusterroles"], ["escalate"])], {}),
        ("evil", [rbac.rule([""], ["users"], ["get", "impersonate"])], {}),
        ("evil", [rbac.rule([""], ["serviceaccounts"], ["*"])], {}),
        ("evil", [], {"aggregationRule": {"clusterRoleSelectors": [{}]}}),
        ("kubefed-controller-manager:palermo-host", [], {}),
        ("system:evil", [], {}),
        ("view", [], {}),
    ],
)
def test_it_can_not_raise_itself_by_a_role(
    member: Member, name: str, rules: list[Manifest], fields: dict[str, Any]
) -> None:
    account = member.account()
    with pytest.raises(errors.Forbidden, match="ClusterRole"):
        account.apply(CLUSTER_ROLE, role(name, rules, **fields))


def test_it_can_not_become_part_of_other_roles(member: Member) -> None:
    manifest = role("extra", [rbac.rule([""], ["pods"], ["get"])])
    manifest["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] = "true"
    with pytest.raises(errors.Forbidden, match="nor be part of another role"):
        member.account().create(CLUSTER_ROLE, manifest)


def test_it_can_not_take_over_a_role(member: Member) -> None:
    member.admin.create(CLUSTER_ROLE, thing(CLUSTER_ROLE, "local", None, managed=False, rules=[]))
    try:
        with pytest.raises(errors.Forbidden, match="takes over no existing ClusterRole"):
            member.account().apply(CLUSTER_ROLE, role("local", []))
    finally:
        member.admin.delete(CLUSTER_ROLE, "local")


BINDING = rbac.binding("evil", "cluster-admin", "palermo-host", FEDERATION)


@pytest.mark.parametrize(
    ("kind", "manifest"),
    [
        (rbac.CLUSTER_ROLE_BINDING, BINDING),
        (POD, thing(POD, "p", "default", managed=True)),
        (POLICY, thing(POLICY, "p", None, managed=True)),
    ],
)
def test_it_has_no_other_rights(member: Member, kind: TargetKind, manifest: Manifest) -> None:
    with pytest.raises(errors.Forbidden, match="cannot"):
        member.account().create(kind, manifest)


def test_it_can_not_lift_its_limits_or_make_tokens(member: Member) -> None:
    account = member.account()
    for kind in (POLICY, POLICY_BINDING):
        with pytest.raises(errors.Forbidden):
            account.delete(kind, "kubefed-palermo-host")
    with pytest.raises(errors.Forbidden):
        membership.mint_token(
            account.api,
            service_account="palermo-host",
            namespace=FEDERATION,
            lifetime=timedelta(hours=1),
        )


def test_fewer_kinds_give_fewer_rights(members: list[ControlPlane]) -> None:
    api = admin(members[1])
    names: dict[str, Any] = {
        "cluster": "napoli",
        "host_cluster": "host",
        "namespace": "napoli-test",
    }
    account = membership.prepare_member(api, **names, kinds=[CONFIG_MAP])
    token = membership.mint_token(
        api, service_account=account, namespace="napoli-test", lifetime=timedelta(minutes=10)
    ).token
    plane = members[1]
    resources = Resources(clients.from_token(plane.endpoint, token, plane.ca_certificate))
    with pytest.raises(errors.Forbidden):
        resources.list(SECRET)
    with pytest.raises(errors.Forbidden):
        resources.list(DEPLOYMENT)
    # More kinds later, by the same call.
    membership.prepare_member(api, **names, kinds=[CONFIG_MAP, SECRET])
    assert resources.list(SECRET) == []
    assert membership.remove_member(api, **names, keep_namespace=False) == []
    # Its rights are gone at once, its token within ten seconds.
    with pytest.raises(errors.AskOperator):
        resources.list(CONFIG_MAP)
    assert Resources(api).get(NAMESPACE, "napoli-test") is None
    assert Resources(api).get(POLICY, "kubefed-napoli-host") is None
    # Once more, with nothing there.
    assert membership.remove_member(api, **names, keep_namespace=False) == []
