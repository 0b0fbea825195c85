"""One federated object and the clusters: what is done where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubefed.api import CONFIG_MAP, NAMESPACE, FederatedType, PropagationStatus, TargetKind
from kubefed.controller import plan
from kubefed.controller.plan import Member, Subject, Verb
from kubefed.controller.versions import Recorded

KIND = FederatedType.of(CONFIG_MAP)
HERE = frozenset({"a"})


def federated(**changes: Any) -> dict[str, Any]:
    spec = {"template": {"data": {"x": "y"}}} | changes.pop("spec", {})
    meta = {"namespace": "shop", "name": "web", "uid": "f"} | changes
    return {"metadata": meta, "spec": spec}


def current(version: str = "7", **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "uid": "m",
            "resourceVersion": version,
            "labels": {"kubefed.io/managed": "true"},
        }
        | meta
    }


def propagate(member: Member, recorded: str = "", **spec: Any) -> plan.Plan:
    given_ = {"a": recorded} if recorded else {}
    return plan.propagate(Subject(federated(spec=spec), KIND), HERE, [member], given_)


def acts(made: plan.Plan) -> dict[str, Verb]:
    return {operation.cluster: operation.verb for operation in made.operations}


def test_what_is_missing_is_created_with_the_label() -> None:
    made = propagate(Member("a"))
    assert acts(made) == {"a": Verb.CREATE}
    assert made.operations[0].body == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"x": "y"},
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "labels": {"kubefed.io/managed": "true"},
        },
    }


@pytest.mark.parametrize("path", ["/metadata/labels/kubefed.io~1managed", "/metadata/labels"])
def test_no_override_takes_the_label_away(path: str) -> None:
    """No cache would see such a copy, and nobody delete it."""
    change = {"path": path, "op": "remove"}
    template = {"metadata": {"labels": {"kubefed.io/managed": "true"}}, "data": {"x": "y"}}
    overrides = [{"clusterName": "a", "clusterOverrides": [change]}]
    made = propagate(Member("a"), template=template, overrides=overrides)
    assert made.operations[0].body["metadata"]["labels"] == {"kubefed.io/managed": "true"}


def test_what_is_as_recorded_is_left_alone() -> None:
    made = propagate(Member("a", current=current()), "rv:7")
    assert not made.operations
    assert made.statuses == {"a": PropagationStatus.OK}


def test_what_was_changed_there_or_is_not_recorded_is_updated() -> None:
    assert acts(propagate(Member("a", current=current("8")), "rv:7")) == {"a": Verb.UPDATE}
    assert acts(propagate(Member("a", current=current()))) == {"a": Verb.UPDATE}


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (Member("a", ready=False), PropagationStatus.CLUSTER_NOT_READY),
        (Member("a", known=False), PropagationStatus.CACHED_RETRIEVAL_FAILED),
        (
            Member("a", current=current(deletionTimestamp="now")),
            PropagationStatus.WAITING_FOR_REMOVAL,
        ),
    ],
)
def test_where_nothing_can_be_done(member: Member, expected: PropagationStatus) -> None:
    made = propagate(member)
    assert not made.operations
    assert made.statuses == {"a": expected}


def test_where_it_is_not_placed_it_is_deleted_if_that_can_be_known() -> None:
    members = [
        Member("b", current=current()),
        Member("c"),
        Member("d", ready=False, current=current()),
        Member("e", known=False, current=current()),
        Member("f", current=current(deletionTimestamp="now")),
    ]
    made = plan.propagate(Subject(federated(), KIND), frozenset(), members, {})
    assert acts(made) == {"b": Verb.DELETE}
    assert made.statuses == {"f": PropagationStatus.WAITING_FOR_REMOVAL}


def test_a_bad_override_stops_its_cluster_only() -> None:
    bad = [{"clusterName": "a", "clusterOverrides": [{"path": "/none", "value": 1}]}]
    subject = Subject(federated(spec={"overrides": bad}), KIND)
    made = plan.propagate(subject, frozenset("ab"), [Member("a"), Member("b")], {})
    assert made.statuses == {"a": PropagationStatus.APPLY_OVERRIDES_FAILED}
    assert "/none" in made.errors["a"]
    assert acts(made) == {"b": Verb.CREATE}


def test_template_annotations_and_finalizers_are_left_out_and_the_label_is_last() -> None:
    template = {
        "apiVersion": "v1",
        "kind": "Wrong",
        "metadata": {
            "name": "wrong",
            "namespace": "wrong",
            "annotations": {"a": "b"},
            "finalizers": ["f"],
            "labels": {"kubefed.io/managed": "false", "mine": "1"},
        },
    }
    made = plan.desired(Subject(federated(spec={"template": template}), KIND), [], None)
    assert made["kind"] == "ConfigMap"
    assert made["metadata"] == {
        "name": "web",
        "namespace": "shop",
        "labels": {"kubefed.io/managed": "true", "mine": "1"},
    }


def test_a_cluster_scoped_object_has_no_namespace() -> None:
    widget = TargetKind("example.org", "v1", "Widget", "widgets", namespaced=False)
    obj = {"metadata": {"name": "web", "uid": "f"}, "spec": {}}
    made = plan.desired(Subject(obj, FederatedType.of(widget)), [], None)
    assert made["apiVersion"] == "example.org/v1"
    assert "namespace" not in made["metadata"]


HOST = Subject(federated(), FederatedType.of(NAMESPACE), host_uid="m")


def test_the_hosts_own_namespace_is_let_go_and_never_deleted() -> None:
    members = [Member("a", current=current()), Member("b", current=current(uid="other"))]
    for made in (
        plan.propagate(HOST, frozenset(), members, {}),
        plan.remove(HOST, frozenset("ab"), members, {}),
    ):
        assert acts(made) == {"a": Verb.RELEASE, "b": Verb.DELETE}


def test_a_deletion_waits_for_every_cluster_that_may_hold_the_object() -> None:
    members = [
        Member("a", current=current()),
        Member("placed", ready=False),
        Member("recorded", ready=False),
        Member("neither", ready=False),
    ]
    recorded = {"recorded": "rv:1"}
    made = plan.remove(Subject(federated(), KIND), frozenset({"a", "placed"}), members, recorded)
    assert acts(made) == {"a": Verb.DELETE}
    away = PropagationStatus.CLUSTER_NOT_READY
    assert made.statuses == {"placed": away, "recorded": away}


def test_who_left_the_federation_has_no_claim() -> None:
    made = plan.remove(Subject(federated(), KIND), frozenset({"gone"}), [], {"gone": "rv:1"})
    assert made == plan.Plan()


def test_orphans_are_let_go_and_nobody_is_waited_for() -> None:
    orphan = federated(annotations={"kubefed.io/orphan": "true"})
    members = [Member("a", current=current()), Member("b", ready=False)]
    made = plan.remove(Subject(orphan, KIND), frozenset("ab"), members, {})
    assert acts(made) == {"a": Verb.RELEASE}
    assert not made.statuses


def test_what_is_recorded_next() -> None:
    members = [
        Member("written"),
        Member("kept", current=current()),
        Member("absent"),
        Member("away", ready=False),
        Member("slow", known=False, pending=5.0),
    ]
    there = ("kept", "absent", "away", "slow", "unjoined")
    before = Recorded("t", "o", dict.fromkeys(there, "rv:7"))
    same = plan.next_record("t", "o", before, members, {"written": "rv:9"})
    assert same.clusters == {"written": "rv:9"} | dict.fromkeys(("kept", "away", "slow"), "rv:7")
    # Of another template it is only known that a cluster that can't be asked holds something.
    other = plan.next_record("new", "o", before, members, {"written": "rv:9"})
    unknown = dict.fromkeys(("away", "slow"), plan.UNKNOWN_VERSION)
    assert other.clusters == {"written": "rv:9"} | unknown


members = st.builds(
    Member,
    st.just("a"),
    ready=st.booleans(),
    known=st.booleans(),
    current=st.none() | st.builds(current, st.sampled_from(["7", "8"])),
)


@given(members, st.booleans(), st.sampled_from(["", "rv:7", plan.UNKNOWN_VERSION]))
def test_each_cluster_gets_an_act_or_a_word_and_never_both(
    member: Member, placed: bool, recorded: str
) -> None:
    where = HERE if placed else frozenset[str]()
    versions = {"a": recorded} if recorded else {}
    for made in (
        plan.propagate(Subject(federated(), KIND), where, [member], versions),
        plan.remove(Subject(federated(), KIND), where, [member], versions),
    ):
        assert len(made.operations) <= 1
        assert not ({"a"} & made.statuses.keys() and made.operations)
        if not (member.ready and member.known):
            assert not made.operations
