"""A plain object and the federated one of its name: what is done, and what is left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubefed.api import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    FederatedType,
    TargetKind,
)
from kubefed.controller.objects import Json
from kubefed.controller.transparent import decide, eligible, marks, wanted
from kubefed.controller.transparent.decide import Act, Decision, Planning, difference
from kubefed.controller.transparent.policy import Policy

EVERYWHERE = Policy()
CLUSTERS = {"home": {"tier": "gold"}, "far": {"tier": "gold"}, "other": {}}


def source(target: TargetKind = DEPLOYMENT, **fields: Any) -> Json:
    meta = {
        "name": "web",
        "namespace": "shop",
        "uid": "s1",
        "resourceVersion": "7",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "web", "kubefed.io/managed": "true"},
        "annotations": {"deployment.kubernetes.io/revision": "4"},
    } | fields.pop("metadata", {})
    body = {"spec": {"replicas": 3}} if target == DEPLOYMENT and "spec" not in fields else {}
    kinds = {"apiVersion": target.api_version, "kind": target.kind}
    return kinds | {"metadata": meta, "status": {"replicas": 3}} | body | fields


def plain(**fields: Any) -> Json:
    """A source that wasn't touched yet."""
    meta = fields.pop("metadata", {})
    return source(metadata={"labels": {"app": "web"}} | meta, **fields)


def stored(made: Json, **meta: Any) -> Json:
    """A federated object as the host gives it back."""
    obj = copy.deepcopy(made)
    obj["metadata"] |= {"uid": "f1", "resourceVersion": "9"} | meta
    return obj


def decided(
    plain_object: Json | None,
    federated: Json | None,
    policy: Policy = EVERYWHERE,
    planning: Planning | None = None,
    target: TargetKind = DEPLOYMENT,
) -> Decision:
    kind = FederatedType.of(target)
    return decide.decide(kind, plain_object, federated, policy, planning or Planning())


def kept(policy: Policy = EVERYWHERE, *, planned: bool = False, **meta: Any) -> Json:
    made = wanted.federated(plain(), FederatedType.of(DEPLOYMENT), policy, planned=planned)
    return stored(made, **meta)


# -- one made, and then left alone


def test_a_plain_object_gets_a_federated_one() -> None:
    made = decided(plain(), None)
    assert made.act is Act.CREATE
    assert made.body == {
        "apiVersion": "types.kubefed.io/v1beta1",
        "kind": "FederatedDeployment",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "labels": {marks.MARK: "true"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "s1"}
            ],
        },
        "spec": {
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"replicas": 3}},
            "placement": {"clusterSelector": {"matchLabels": {}}},
        },
    }


def test_what_is_as_it_should_be_is_not_written() -> None:
    assert decided(plain(), kept()) == Decision(Act.NOTHING, kept=True)


def test_what_the_federation_and_the_host_write_into_the_source_changes_nothing() -> None:
    touched = source(
        metadata={
            "annotations": {marks.SUMMARY: "{}", "deployment.kubernetes.io/revision": "5"},
            "resourceVersion": "99",
            "generation": 4,
        },
        status={"replicas": 9},
    )
    assert decided(touched, kept()) == Decision(Act.NOTHING, kept=True)


def test_a_change_of_the_source_is_one_patch_that_undoes_nothing_else() -> None:
    changed = plain(spec={"replicas": 5, "paused": True})
    federated = kept()
    federated["spec"]["overrides"] = [{"clusterName": "far", "clusterOverrides": []}]
    made = decided(changed, federated)
    assert made.act is Act.CHANGE
    assert made.body == {
        "metadata": {"resourceVersion": "9"},
        "spec": {"template": {"spec": {"replicas": 5, "paused": True}}},
    }


def test_somebodys_change_of_the_template_or_placement_is_put_right() -> None:
    federated = kept()
    federated["spec"]["template"]["spec"]["extra"] = 1
    federated["spec"]["placement"] = {"clusters": [{"name": "far"}]}
    assert decided(plain(), federated).body["spec"] == {
        "template": {"spec": {"extra": None}},
        "placement": {"clusters": None, "clusterSelector": {"matchLabels": {}}},
    }


def test_a_federated_object_that_somebody_wrote_is_never_touched() -> None:
    made = decided(plain(), kept(labels={}))
    assert (made.act, made.reason, made.kept) == (Act.NOTHING, "AlreadyFederated", False)


# -- copies aren't sources


def test_a_copy_in_the_host_is_no_source() -> None:
    assert decided(source(), None) == decide.NOTHING
    handwritten = kept(labels={}, ownerReferences=[])
    assert decided(source(), handwritten) == decide.NOTHING
    # Not even with the label of ours, if it stands for another object.
    assert decided(source(metadata={"uid": "s2"}), kept()) == decide.NOTHING


def test_what_is_marked_as_a_source_is_federated_again() -> None:
    # Its host left the federation, and the namespace too, while nobody could take the labels off.
    labels = {"kubefed.io/managed": "true", marks.SOURCE: "true"}
    assert decided(source(metadata={"labels": labels}), None).act is Act.CREATE


def test_a_source_that_carries_the_label_stays_a_source() -> None:
    assert decided(source(), kept()).kept


# -- ends


def test_a_deleted_source_leaves_the_rest_to_the_garbage_collector() -> None:
    assert decided(None, kept()) == decide.NOTHING
    going = plain(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}, spec={"replicas": 9})
    assert decided(going, kept()) == decide.NOTHING


def test_a_source_made_anew_waits_until_its_predecessors_copies_are_gone() -> None:
    assert decided(plain(metadata={"uid": "s2"}), kept()) == decide.NOTHING
    going = kept(deletionTimestamp="2026-01-01T00:00:00Z")
    assert decided(plain(), going) == decide.NOTHING
    assert decided(plain(metadata={"uid": "s2"}), None).act is Act.CREATE


def test_after_a_deletion_that_orphans_the_source_is_owner_again() -> None:
    other = {"apiVersion": "v1", "kind": "Thing", "name": "x", "uid": "t"}
    made = decided(plain(), kept(ownerReferences=[other]))
    owners = made.body["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners] == ["t", "s1"]


def test_keeping_out_an_object_lets_its_copies_run_on() -> None:
    out = plain(metadata={"annotations": {marks.FEDERATE: "false"}})
    assert decided(out, kept()).act is Act.RELEASE
    assert decided(out, None) == decide.NOTHING
    assert decided(out, kept(labels={})) == decide.NOTHING


def test_a_release_that_was_broken_off_is_taken_back() -> None:
    noted = {"kubefed.io/orphan": "true", marks.RELEASED: "true"}
    made = decided(plain(), kept(annotations=noted))
    assert made.body["metadata"]["annotations"] == {
        "kubefed.io/orphan": None,
        marks.RELEASED: None,
    }
    # The user's own word stays.
    assert decided(plain(), kept(annotations={"kubefed.io/orphan": "true"})).act is Act.NOTHING


# -- a plan of replicas

PLANNED = Planning(asked=True, present=True)
SIX = Policy(total=6)


def test_a_planned_object_is_placed_nowhere_until_it_is_planned() -> None:
    made = decided(plain(), None, SIX, Planning(asked=True))
    assert made.body["spec"]["placement"] == {"clusters": []}
    assert made.body["metadata"]["annotations"] == {marks.PLANNED: "true"}


def test_what_the_scheduler_wrote_is_left_alone() -> None:
    federated = kept(SIX, planned=True)
    federated["spec"]["placement"] = {"clusters": [{"name": "far"}, {"name": "home"}]}
    federated["spec"]["overrides"] = [
        {"clusterName": "far", "clusterOverrides": [{"path": "/spec/replicas", "value": 3}]}
    ]
    assert decided(plain(), federated, SIX, PLANNED) == Decision(Act.NOTHING, kept=True)
    # Nor is a plan that somebody wrote by hand.
    federated["metadata"].pop("annotations")
    by_hand = Planning(asked=False, present=True)
    assert decided(plain(), federated, EVERYWHERE, by_hand).act is Act.NOTHING


def test_when_the_plan_is_over_its_numbers_go_and_the_users_stay() -> None:
    federated = kept(SIX, planned=True)
    image = {"path": "/spec/image", "value": "x"}
    number = {"path": "/spec/replicas", "value": 3}
    federated["spec"]["overrides"] = [
        {"clusterName": "far", "clusterOverrides": [number, image]},
        {"clusterName": "home", "clusterOverrides": [number]},
    ]
    made = decided(plain(), federated)
    assert made.body["metadata"]["annotations"] == {marks.PLANNED: None}
    assert made.body["spec"] == {
        "placement": {"clusters": None, "clusterSelector": {"matchLabels": {}}},
        "overrides": [{"clusterName": "far", "clusterOverrides": [image]}],
    }
    # But not as long as the preference is there.
    still = Planning(asked=False, present=True)
    assert decided(plain(), federated, EVERYWHERE, still).act is Act.NOTHING


def preference(policy: Policy, home: str = "home") -> Any:
    made = wanted.preference(plain(), FederatedType.of(DEPLOYMENT), policy, home, CLUSTERS)
    return made["spec"]


def test_the_hosts_share_is_what_its_manifest_says() -> None:
    pinned = {"minReplicas": 3, "maxReplicas": 3, "weight": 0}
    assert preference(Policy(total=9)) == {
        "targetKind": "FederatedDeployment",
        "totalReplicas": 9,
        "rebalance": False,
        "clusters": {"*": {"weight": 1}, "home": pinned},
    }
    gold = Policy(total=9, selector={"matchLabels": {"tier": "gold"}}, rebalance=True)
    assert preference(gold)["clusters"] == {"far": {"weight": 1}, "home": pinned}
    only = Policy(total=9, clusters=("other", "gone"), preferences={"other": {"weight": 2}})
    assert preference(only)["clusters"] == {"other": {"weight": 2}, "home": pinned}


def test_a_host_that_is_no_member_runs_its_share_all_the_same() -> None:
    assert preference(Policy(total=9), home="")["totalReplicas"] == 6
    assert preference(Policy(total=2), home="")["totalReplicas"] == 0


# -- what is federated at all


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (CONFIG_MAP, {"metadata": {"name": "kube-root-ca.crt"}}),
        (SERVICE_ACCOUNT, {"metadata": {"name": "default"}}),
        (SECRET, {"type": "kubernetes.io/service-account-token"}),
        (SECRET, {"type": "helm.sh/release.v1"}),
        (CONFIG_MAP, {"metadata": {"labels": {"owner": "helm", "name": "shop"}}}),
        (CONFIG_MAP, {"metadata": {"labels": {"OWNER": "TILLER"}}}),
        (CONFIG_MAP, {"metadata": {"annotations": {eligible.LOCK: "{}"}}}),
        (TargetKind("", "v1", "Endpoints", "endpoints"), {}),
        (
            TargetKind("apps", "v1", "ReplicaSet", "replicasets"),
            {"metadata": {"ownerReferences": [{"kind": "Deployment", "controller": True}]}},
        ),
        (SECRET, {"metadata": {"annotations": {marks.FEDERATE: "false"}}}),
        (SECRET, {"metadata": {"labels": {"kubefed.io/managed": "false"}}}),
    ],
)
def test_what_belongs_to_one_cluster_stays_there(target: TargetKind, fields: Any) -> None:
    assert eligible.object_excluded(plain(target=target, **fields))


def test_what_users_apply_is_federated() -> None:
    for target in (CONFIG_MAP, SECRET, SERVICE, SERVICE_ACCOUNT, DEPLOYMENT):
        owned = plain(target=target, metadata={"ownerReferences": [{"kind": "App", "name": "a"}]})
        assert eligible.object_excluded(owned) == ""
    helm = {"app.kubernetes.io/managed-by": "Helm"}
    assert eligible.object_excluded(plain(target=CONFIG_MAP, metadata={"labels": helm})) == ""


def test_kinds_of_one_cluster_are_not_federated_whoever_enables_them() -> None:
    assert eligible.kind_excluded(NAMESPACE)
    assert eligible.kind_excluded(TargetKind("", "v1", "Pod", "pods"))
    assert eligible.kind_excluded(TargetKind("", "v1", "Event", "events"))
    assert not eligible.kind_excluded(DEPLOYMENT)


@pytest.mark.parametrize("name", ["kube-system", "kube-node-lease", "default", "fed", "kube-x"])
def test_namespaces_of_the_system_are_refused(name: str) -> None:
    assert eligible.namespace_refused(name, "fed")
    assert eligible.namespace_refused("shop", "fed") == ""


# -- the template


def template(target: TargetKind, **fields: Any) -> Any:
    return wanted.template(plain(target=target, **fields), FederatedType.of(target))


def test_a_template_is_what_the_user_said() -> None:
    ports = [{"port": 80, "nodePort": 30080}]
    service = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": ports, "x": None}
    assert template(SERVICE, spec=service)["spec"] == {"ports": [{"port": 80}]}
    job = {"selector": {"a": "b"}, "template": {"metadata": {"labels": {"job-name": "web"}}}}
    assert "selector" not in template(JOB, spec=job)["spec"]
    assert template(SERVICE_ACCOUNT, secrets=[{"name": "t"}]) == {
        "metadata": {"labels": {"app": "web"}}
    }
    claim = TargetKind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
    assert template(claim, spec={"volumeName": "pv", "size": 1})["spec"] == {"size": 1}


def test_no_instruction_of_ours_is_carried_to_members() -> None:
    named = {
        "name": "shop",
        "labels": {marks.FEDERATE: "true", "kubernetes.io/metadata.name": "x"},
    }
    namespace: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": named}
    assert wanted.template(namespace, FederatedType.of(NAMESPACE)) == {}
    named["labels"] = {"team": "a", marks.FEDERATE: "true"}
    made = wanted.template(namespace, FederatedType.of(NAMESPACE))
    assert made == {"metadata": {"labels": {"team": "a"}}}


# -- namespaces


def namespace_object(**labels: str) -> Json:
    meta = {"name": "shop", "uid": "n1", "labels": {marks.FEDERATE: "true"} | labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def namespaced(federated: Json | None, policy: Policy = EVERYWHERE, **labels: str) -> Decision:
    place = wanted.namespace_placement(federated, policy, CLUSTERS)
    kind = FederatedType.of(NAMESPACE)
    return decide.decide_namespace(kind, namespace_object(**labels), federated, place)


def test_a_namespace_is_federated_where_its_objects_go() -> None:
    made = namespaced(None, Policy(clusters=("far",)))
    assert made.act is Act.CREATE
    assert made.body["metadata"]["name"] == made.body["metadata"]["namespace"] == "shop"
    assert made.body["spec"] == {"template": {}, "placement": {"clusters": [{"name": "far"}]}}
    there = stored(made.body)
    assert namespaced(there, Policy(clusters=("far",))).act is Act.NOTHING
    assert namespaced(there, Policy(clusters=("far",)), team="a").body["spec"] == {
        "template": {"metadata": {"labels": {"team": "a"}}}
    }


def test_a_narrower_policy_takes_no_namespace_away() -> None:
    there = stored(namespaced(None).body)
    made = namespaced(there, Policy(clusters=("far",)))
    names = [item["name"] for item in made.body["spec"]["placement"]["clusters"]]
    assert names == ["far", "home", "other"]
    # A wider one is the policy as it is.
    narrow = stored(namespaced(None, Policy(clusters=("far",))).body)
    assert namespaced(narrow).body["spec"]["placement"] == {
        "clusters": None,
        "clusterSelector": {"matchLabels": {}},
    }


def test_a_federated_namespace_that_somebody_wrote_is_never_touched() -> None:
    there = stored(namespaced(None).body, labels={})
    assert namespaced(there, Policy(clusters=()), team="a") == decide.NOTHING


# -- patches

JSON = st.recursive(
    st.integers(0, 2) | st.booleans() | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def merged(into: Any, patch: Any) -> Any:
    """RFC 7396, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(into) if isinstance(into, dict) else {}  # pyright: ignore[reportUnknownArgumentType]
    for name, value in patch.items():  # pyright: ignore[reportUnknownVariableType]
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_a_difference_makes_the_one_of_the_other(before: Json, after: Json) -> None:
    assert merged(before, difference(before, after)) == after
    assert difference(after, copy.deepcopy(after)) == {}
