"""A plain object in the host and its propagation: it is the copy there, and never written over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubefed.api import CONFIG_MAP, NAMESPACE, FederatedType, PropagationStatus
from kubefed.controller import plan, retain
from kubefed.controller.client import ApiError, Client, Connection
from kubefed.controller.dispatch import Dispatcher
from kubefed.controller.objects import Json
from kubefed.controller.plan import Member, Operation, Subject, Verb
from kubefed.controller.transparent import marks

KIND = FederatedType.of(CONFIG_MAP)
EVERYWHERE = frozenset({"home", "far"})
SOURCE = "uid-of-source"


def federated(owner: str = SOURCE, **meta: Any) -> Json:
    owners = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "web", "uid": owner}]
    return {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "uid": "f",
            "labels": {marks.MARK: "true"},
            "ownerReferences": owners if owner else [],
        }
        | meta,
        "spec": {"template": {"data": {"a": "b"}}},
    }


def held(uid: str = SOURCE, **labels: str) -> Json:
    meta = {"namespace": "shop", "name": "web", "uid": uid, "resourceVersion": "5"}
    found = {"kubefed.io/managed": "true"} | ({marks.SOURCE: "true"} if uid == SOURCE else {})
    return {"metadata": meta | {"labels": found | labels}}


def acts(made: plan.Plan) -> dict[str, Verb]:
    return {operation.cluster: operation.verb for operation in made.operations}


def propagated(home: Member, obj: Json | None = None, placed: frozenset[str] = EVERYWHERE) -> Any:
    return plan.propagate(Subject(obj or federated(), KIND), placed, [home, Member("far")], {})


def test_a_source_gets_the_label_and_nothing_else() -> None:
    made = propagated(Member("home", home=True))
    assert acts(made) == {"home": Verb.CLAIM, "far": Verb.CREATE}
    assert made.operations[0].body == {
        "metadata": {"namespace": "shop", "name": "web", "uid": SOURCE}
    }


def test_a_labelled_source_is_left_alone_whatever_the_template_says() -> None:
    made = propagated(Member("home", home=True, current=held()))
    assert acts(made) == {"far": Verb.CREATE}
    assert made.statuses == {"home": PropagationStatus.OK}


def test_a_source_without_its_mark_gets_it_again() -> None:
    unmarked = held()
    del unmarked["metadata"]["labels"][marks.SOURCE]
    assert acts(propagated(Member("home", home=True, current=unmarked)))["home"] is Verb.CLAIM


def test_a_host_that_is_away_keeps_no_deletion_waiting() -> None:
    members = [Member("home", home=True, ready=False), Member("far", ready=False)]
    made = plan.remove(Subject(federated(), KIND), EVERYWHERE, members, {})
    assert made.statuses == {"far": PropagationStatus.CLUSTER_NOT_READY}


def test_a_deleted_source_is_not_made_again() -> None:
    # Deleted with --cascade=orphan: nobody owns the federated object any more.
    made = propagated(Member("home", home=True), federated(owner=""))
    assert acts(made) == {"far": Verb.CREATE}


def test_a_cluster_that_may_be_the_host_is_not_written_to() -> None:
    made = propagated(Member("home", home=None))
    assert acts(made) == {"far": Verb.CREATE}
    assert made.statuses == {"home": PropagationStatus.CACHED_RETRIEVAL_FAILED}


def test_a_source_outside_of_the_placement_loses_only_the_label() -> None:
    far = frozenset({"far"})
    made = propagated(Member("home", home=True, current=held()), placed=far)
    assert acts(made)["home"] is Verb.RELEASE
    assert acts(propagated(Member("home", home=True), placed=far)) == {"far": Verb.CREATE}


@pytest.mark.parametrize("home", [True, False, None])
def test_deletion_takes_the_copies_and_not_the_source(home: bool | None) -> None:
    members = [Member("home", home=home, current=held()), Member("far", current=held("copy"))]
    made = plan.remove(Subject(federated(), KIND), EVERYWHERE, members, {})
    assert acts(made) == {"home": Verb.RELEASE, "far": Verb.DELETE}


def test_what_is_marked_as_a_source_is_deleted_by_nobody() -> None:
    somebodys = federated(labels={}, owner="")
    made = plan.remove(Subject(somebodys, KIND), EVERYWHERE, [Member("far", current=held())], {})
    assert acts(made) == {"far": Verb.RELEASE}


def test_letting_go_of_a_source_takes_both_labels() -> None:
    client = Answers(held())
    carried_out(client, Verb.RELEASE, held())
    assert client.asked[-1][1]["metadata"]["labels"] == {
        "kubefed.io/managed": None,
        marks.SOURCE: None,
    }


def test_an_ordinary_federated_object_is_put_in_the_host_as_ever() -> None:
    ordinary = federated(labels={})
    made = propagated(Member("home", home=True, current=held("copy")), ordinary)
    assert acts(made) == {"home": Verb.UPDATE, "far": Verb.CREATE}
    assert acts(propagated(Member("home", home=None), ordinary))["home"] is Verb.CREATE


class Answers(Client):
    """A client that notes what is asked, and answers from a list."""

    def __init__(self, *answers: Json | Exception) -> None:
        super().__init__("scripted", Connection("https://nowhere"))
        self.answers, self.asked = list(answers), list[tuple[str, Any]]()

    async def request(self, method: str, path: str, **options: Any) -> Json:
        self.asked.append((method, options.get("body")))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def carried_out(client: Client, verb: Verb, body: Json) -> Any:
    dispatcher = Dispatcher(Subject(federated(), KIND), adopt=True)
    return asyncio.run(dispatcher.carry_out(client, Operation("home", verb, body)))


def test_a_host_that_nobody_knew_is_found_out_before_it_is_written() -> None:
    client = Answers(ApiError(409, "AlreadyExists", "there"), held(), held())
    result = carried_out(client, Verb.CREATE, {"metadata": {"namespace": "shop", "name": "web"}})
    assert result.status == PropagationStatus.OK
    assert [method for method, _ in client.asked] == ["POST", "GET", "PATCH"]
    assert client.asked[-1][1] == {
        "metadata": {
            "uid": SOURCE,
            "resourceVersion": "5",
            "labels": {"kubefed.io/managed": "true", marks.SOURCE: "true"},
        }
    }


@pytest.mark.parametrize("status", [404, 409])
def test_a_source_that_is_gone_is_no_failure_and_is_not_recorded(status: int) -> None:
    client = Answers(ApiError(status, "", "gone"), {"metadata": {"uid": "another"}})
    result = carried_out(client, Verb.CLAIM, held())
    assert (result.status, result.version) == (PropagationStatus.OK, "")


def test_a_refused_label_is_a_failure() -> None:
    result = carried_out(Answers(ApiError(403, "Forbidden", "no")), Verb.CLAIM, held())
    assert result.status == PropagationStatus.UPDATE_FAILED


def test_the_label_that_asks_for_federation_is_each_clusters_own() -> None:
    template = {"metadata": {"labels": {"team": "a", marks.FEDERATE: "true"}}}
    there = {"metadata": {"labels": {"old": "x"}}}
    kept = retain.retain(template, there, NAMESPACE, replicas=False)
    assert kept["metadata"]["labels"] == {"team": "a"}
    asking = {"metadata": {"labels": {marks.FEDERATE: "true"}}}
    kept = retain.retain({"metadata": {}}, asking, NAMESPACE, replicas=False)
    assert kept["metadata"]["labels"] == {marks.FEDERATE: "true"}
