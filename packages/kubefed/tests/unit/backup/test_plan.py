"""What a backup keeps, and what a restore does with what is there already."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kubefed import errors
from kubefed.api import (
    CONFIG_MAP,
    DEPLOYMENT,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    NAMESPACE,
    PROPAGATED_VERSION,
    SECRET,
    SERVICE,
    FederatedType,
    KubeFedConfig,
    TargetKind,
    TypeConfig,
)
from kubefed.backup import bodies, content
from kubefed.backup.content import Part, Snapshot
from kubefed.backup.plan import Act, Plan, Step, Target, place_of, plan
from kubefed.controller.objects import Json
from kubefed.controller.transparent import marks

FEDERATION = "kube-federation-system"
TYPES = [FederatedType.of(kind) for kind in (NAMESPACE, CONFIG_MAP, DEPLOYMENT, SERVICE)]
MAPS = TYPES[1].federated
OLD, NEW = "uid-of-the-lost-host", "uid-of-the-new-host"


def obj(kind: TargetKind, name: str, namespace: str = "", **more: Any) -> Json:
    meta: Json = {"name": name, "uid": f"old-{kind.kind}-{name}"}
    meta |= {"namespace": namespace} if namespace else {}
    meta |= more.pop("metadata", {})
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, **more}


def federated(name: str = "web", **meta: Any) -> Json:
    spec = {"template": {"data": {"a": "b"}}, "placement": {"clusters": [{"name": "palermo"}]}}
    return obj(MAPS, name, "shop", spec=spec, metadata=meta)


def record(name: str = "web") -> Json:
    owner = {
        "apiVersion": MAPS.api_version,
        "kind": MAPS.kind,
        "name": name,
        "uid": f"old-{MAPS.kind}-{name}",
    }
    versions = [{"clusterName": name, "version": "rv:7"} for name in ("catania", "palermo")]
    status = {"templateVersion": "a", "overridesVersion": "b", "clusterVersions": versions}
    meta = {"ownerReferences": [owner]}
    return obj(PROPAGATED_VERSION, f"configmap-{name}", "shop", status=status, metadata=meta)


def cluster(name: str, uid: str, **more: Any) -> Json:
    spec = {"apiEndpoint": f"https://{name}:6443", "secretRef": {"name": f"{name}-token"}}
    meta = {"annotations": {"kubefed.io/cluster-uid": uid}, **more}
    return obj(KUBEFED_CLUSTER, name, FEDERATION, spec=spec, metadata=meta)


def snapshot(**parts: list[Json]) -> Snapshot:
    made: dict[Part, list[Json]] = {
        Part.NAMESPACES: [obj(NAMESPACE, FEDERATION), obj(NAMESPACE, "shop")],
        Part.FEDERATED: [federated()],
        Part.RECORDS: [record()],
        Part.SECRETS: [
            obj(SECRET, f"{name}-token", FEDERATION) for name in ("catania", "palermo")
        ],
        Part.CLUSTERS: [cluster("catania", OLD), cluster("palermo", "uid-of-palermo")],
        Part.TYPES: [
            obj(FEDERATED_TYPE_CONFIG, each.name, FEDERATION)
            | {"spec": TypeConfig(each).to_object(FEDERATION)["spec"]}
            for each in TYPES
        ],
        Part.CONFIG: [
            obj(KUBEFED_CONFIG, "kubefed", FEDERATION)
            | {"spec": KubeFedConfig().to_object(FEDERATION)["spec"]}
        ],
    }
    changed = {Part[name.upper()]: items for name, items in parts.items()}
    return Snapshot(FEDERATION, OLD, "https://catania:6443", made | changed)


def live(*objects: Json) -> dict[tuple[str, str, str], Json]:
    kinds = snapshot().kinds()
    found: dict[tuple[str, str, str], Json] = {}
    for each in objects:
        there = copy.deepcopy(each)
        there["metadata"]["uid"] = f"new-{there['kind']}-{there['metadata']['name']}"
        there["metadata"]["resourceVersion"] = "42"
        found[place_of(kinds[there["apiVersion"], there["kind"]], there)] = there
    return found


def everything(of: Snapshot) -> list[Json]:
    found = [copy.deepcopy(each) for part in Part for each in of.of(part)]
    for each in found:
        # As they are put back: owners are those of now, the host is another cluster.
        for owner in each["metadata"].get("ownerReferences", []):
            owner["uid"] = owner["uid"].replace("old", "new")
        if each["metadata"]["name"] == "catania":
            each["metadata"]["annotations"]["kubefed.io/cluster-uid"] = NEW
    return found


def step(found: Plan, kind: TargetKind, name: str) -> Step:
    return next(
        each
        for each in found.steps
        if each.kind == kind and each.wanted["metadata"]["name"] == name
    )


def test_into_nothing_everything_is_made_and_the_host_joins_anew() -> None:
    found = plan(snapshot(), Target(NEW, {}))
    left = {each.text for each in found.steps if each.act is Act.LEAVE}
    # The host's own membership is made anew, with a new token.
    assert left == {
        f"KubeFedCluster {FEDERATION}/catania",
        f"Secret {FEDERATION}/catania-token",
    }
    assert found.rejoin == "catania"
    assert (found.differs, found.beyond, found.drop) == ([], [], [])


def test_what_makes_a_controller_act_comes_last() -> None:
    order = [each.part for each in plan(snapshot(), Target(NEW, {})).steps]
    assert order == sorted(order, key=list(Part).index)
    assert list(Part)[-2:] == [Part.TYPES, Part.CONFIG]
    assert list(Part).index(Part.RECORDS) > list(Part).index(Part.FEDERATED)


def test_a_second_time_nothing_is_written() -> None:
    of = snapshot()
    found = plan(of, Target(NEW, live(*everything(of))))
    assert found.writes == []
    assert (found.differs, found.beyond, found.rejoin) == ([], [], "")


def test_the_controllers_own_writing_is_no_difference() -> None:
    of = snapshot()
    there = live(*everything(of))
    for each in there.values():
        each["status"] = each.get("status") or {"conditions": []}
    maps = there["federatedconfigmaps.types.kubefed.io", "shop", "web"]
    maps["metadata"]["finalizers"] = ["kubefed.io/sync-controller"]
    palermo = there["kubefedclusters.core.kubefed.io", FEDERATION, "palermo"]
    palermo["metadata"]["annotations"]["kubefed.io/left-behind"] = "something"
    assert plan(of, Target(NEW, there)).writes == []


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"template": {}}},
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {"kubefed.io/orphan": "true"}}},
        {"metadata": {"finalizers": ["example.com/mine"]}},
    ],
)
def test_what_differs_is_named(change: Json) -> None:
    of = snapshot()
    there = live(*everything(of))
    maps = there["federatedconfigmaps.types.kubefed.io", "shop", "web"]
    maps["metadata"] |= change.pop("metadata", {})
    maps |= change
    found = plan(of, Target(NEW, there))
    assert found.differs == ["FederatedConfigMap shop/web"]
    # What the members were given of another template says nothing of this one.
    assert [each.text for each in found.writes] == ["FederatedConfigMap shop/web"]


def test_a_replaced_object_is_the_same_object() -> None:
    of = snapshot()
    there = live(*everything(of))
    maps = there["federatedconfigmaps.types.kubefed.io", "shop", "web"]
    maps["spec"] = {}
    maps["metadata"]["finalizers"] = ["kubefed.io/sync-controller"]
    [changed] = plan(of, Target(NEW, there)).writes
    body = bodies.changed_body(changed, {}, {})
    assert body["metadata"]["resourceVersion"] == "42"
    assert body["metadata"]["finalizers"] == ["kubefed.io/sync-controller"]
    assert body["spec"] == federated()["spec"]
    assert "uid" not in body["metadata"]


def test_a_token_that_is_there_is_newer_than_a_backups() -> None:
    of = snapshot()
    there = live(*everything(of))
    there["secrets", FEDERATION, "palermo-token"]["data"] = {"token": "newer"}
    assert plan(of, Target(NEW, there)).writes == []


def test_settings_that_nobody_chose_are_replaced_without_a_word() -> None:
    of = snapshot()
    config = obj(KUBEFED_CONFIG, "kubefed", FEDERATION, spec={"scope": "Cluster"})
    jobs = FederatedType.of(TargetKind("batch", "v1", "Job", "jobs"))
    unchosen = obj(FEDERATED_TYPE_CONFIG, jobs.name, FEDERATION)
    unchosen |= {"spec": TypeConfig(jobs).to_object(FEDERATION)["spec"]}
    fresh = plan(of, Target(NEW, live(config, unchosen)))
    assert (fresh.differs, fresh.drop, fresh.beyond) == ([], ["jobs.batch"], [])
    used = plan(of, Target(NEW, live(config, unchosen, cluster("palermo", "uid-of-palermo"))))
    assert used.differs == [f"KubeFedConfig {FEDERATION}/kubefed"]
    assert used.drop == []
    assert used.beyond == [f"FederatedTypeConfig {FEDERATION}/jobs.batch"]


def test_what_is_beyond_the_backup_is_named_and_stays() -> None:
    of = snapshot()
    found = plan(of, Target(NEW, live(*everything(of), federated("later"))))
    assert found.beyond == ["FederatedConfigMap shop/later"]
    assert found.writes == []


def test_a_namespace_that_is_there_only_gets_the_federations_marks() -> None:
    asks = {"labels": {marks.FEDERATE: "true", "team": "a"}}
    of = snapshot(namespaces=[obj(NAMESPACE, "shop", metadata=asks)])
    there = live(obj(NAMESPACE, "shop", metadata={"labels": {"made": "elsewhere"}}))
    found = plan(of, Target(NEW, there))
    assert step(found, NAMESPACE, "shop").act is Act.CHANGE
    assert found.differs == []


def test_who_owned_by_uid_owns_by_the_new_uid() -> None:
    owner = {"kind": "Deployment", "name": "web", "uid": "old", "apiVersion": "apps/v1"}
    lost = {"kind": "ConfigMap", "name": "gone", "uid": "lost", "apiVersion": "v1"}
    of = snapshot(federated=[federated(ownerReferences=[owner, lost])])
    made = step(plan(of, Target(NEW, {})), MAPS, "web")
    body = bodies.body_of(made, {"old": "new"}, {})
    # The garbage collector would delete what names an owner that isn't there, everywhere.
    assert body["metadata"]["ownerReferences"] == [owner | {"uid": "new"}]
    assert "uid" not in body["metadata"]


def test_what_the_lost_host_was_given_is_not_remembered() -> None:
    made = step(plan(snapshot(), Target(NEW, {})), PROPAGATED_VERSION, "configmap-web")
    said = bodies.record_status(made, "catania")
    assert said["clusterVersions"] == [{"clusterName": "palermo", "version": "rv:7"}]
    assert said["templateVersion"] == "a"
    assert len(bodies.record_status(made, "")["clusterVersions"]) == 2


def test_a_record_of_a_former_object_is_made_anew() -> None:
    of = snapshot()
    there = live(*everything(of))
    said = there["propagatedversions.core.kubefed.io", "shop", "configmap-web"]
    said["metadata"]["ownerReferences"][0]["uid"] = "somebody else's"
    found = plan(of, Target(NEW, there))
    assert [each.text for each in found.writes] == ["PropagatedVersion shop/configmap-web"]
    assert found.differs == []


def test_a_record_that_was_cut_short_is_made_anew() -> None:
    of = snapshot()
    there = live(*everything(of))
    del there["propagatedversions.core.kubefed.io", "shop", "configmap-web"]["status"]
    assert len(plan(of, Target(NEW, there)).writes) == 1


@pytest.mark.parametrize(
    ("target", "rejoin"),
    [
        (Target(OLD, {}), ""),
        (Target("uid-of-palermo", {}), ""),
        (Target(NEW, {}, rejoin=False), ""),
        (Target(NEW, {}), "catania"),
    ],
)
def test_the_host_joins_anew_where_its_account_is_lost(target: Target, rejoin: str) -> None:
    assert plan(snapshot(), target).rejoin == rejoin


def test_a_host_that_kubefedctl_joined_is_known_by_its_address() -> None:
    entry = cluster("catania", "")
    entry["metadata"]["annotations"] = {}
    entry["spec"]["apiEndpoint"] = "catania:6443/"
    assert snapshot(clusters=[entry]).host_member() == "catania"
    entry["spec"]["apiEndpoint"] = "https://other:6443"
    assert snapshot(clusters=[entry]).host_member() == ""


def test_what_was_being_deleted_goes_on_being_deleted() -> None:
    going = federated(deletionTimestamp="2026-11-29T15:00:00Z", finalizers=["f"])
    home = obj(NAMESPACE, "shop", metadata={"deletionTimestamp": "2026-11-29T15:00:00Z"})
    found = plan(snapshot(federated=[going], namespaces=[home]), Target(NEW, {}))
    assert [each.text for each in bodies.doomed(found.steps)] == [
        "FederatedConfigMap shop/web",
        "Namespace shop",
    ]
    body = bodies.body_of(step(found, MAPS, "web"), {}, {})
    assert "deletionTimestamp" not in body["metadata"]
    assert body["metadata"]["finalizers"] == ["f"]


def source(**more: Any) -> Json:
    spec = {
        "clusterIP": "10.0.0.7",
        "clusterIPs": ["10.0.0.7"],
        "ports": [{"port": 80, "nodePort": 31000}],
        "selector": {"app": "web"},
    }
    said = {marks.SUMMARY: "{}", "team.example.com/owner": "a", marks.FEDERATE: "true"}
    meta = {"annotations": said, "labels": {"app": "web", marks.SOURCE: "true"}}
    status = {"loadBalancer": {}}
    return obj(SERVICE, "web", "shop", spec=spec, metadata=meta | more, status=status)


def test_a_plain_object_comes_back_as_its_user_made_it() -> None:
    found = plan(snapshot(sources=[source()]), Target(NEW, {}))
    types = {each.target.full_name: each for each in TYPES}
    body = bodies.body_of(step(found, SERVICE, "web"), {}, types)
    assert body["spec"] == {"ports": [{"port": 80}], "selector": {"app": "web"}}
    assert body["metadata"]["labels"] == {"app": "web", marks.SOURCE: "true"}
    assert marks.SUMMARY not in body["metadata"]["annotations"]
    assert body["metadata"]["annotations"]["team.example.com/owner"] == "a"
    assert "status" not in body


def test_another_clusters_address_is_no_difference() -> None:
    there = source()
    there["spec"] |= {"clusterIP": "10.9.9.9", "clusterIPs": ["10.9.9.9"]}
    there["spec"]["ports"] = [{"port": 80, "nodePort": 30001}]
    found = plan(snapshot(sources=[source()]), Target(NEW, live(there)))
    assert step(found, SERVICE, "web").act is Act.LEAVE


def test_a_members_copy_becomes_the_plain_object_without_a_word() -> None:
    labels = {"kubefed.io/managed": "true"}
    there = source(labels=labels)
    there["spec"]["ports"] = [{"port": 8080}]
    found = plan(snapshot(sources=[source()]), Target("uid-of-palermo", live(there)))
    assert step(found, SERVICE, "web").act is Act.CHANGE
    assert found.differs == []
    mine = copy.deepcopy(there)
    mine["metadata"]["labels"] = {}
    found = plan(snapshot(sources=[source()]), Target("uid-of-palermo", live(mine)))
    assert found.differs == ["Service shop/web"]


def test_which_plain_objects_are_kept() -> None:
    kind = TYPES[2]
    web = obj(DEPLOYMENT, "web", "shop")

    def is_source(beside: Json | None = None, **meta: Any) -> bool:
        given = copy.deepcopy(web)
        given["metadata"] |= meta
        return content.is_source(given, {"web": beside} if beside else {}, kind)

    mine = obj(kind.federated, "web", "shop")
    assert is_source()
    assert not is_source(mine)
    assert not is_source(annotations={marks.FEDERATE: "false"})
    assert not is_source(deletionTimestamp="now")
    assert not is_source(labels={"kubefed.io/managed": "true"})
    assert is_source(labels={"kubefed.io/managed": "true", marks.SOURCE: "true"})
    assert not is_source(ownerReferences=[{"controller": True, "kind": "Other", "name": "it"}])


def test_what_is_kept_of_an_object() -> None:
    meta: Json = {
        "resourceVersion": "7",
        "generation": 3,
        "creationTimestamp": "then",
        "managedFields": [{}],
        "labels": {"a": "b"},
        "finalizers": ["f"],
    }
    kept = content.kept(federated(**meta) | {"status": {"conditions": []}})
    assert set(kept["metadata"]) == {"name", "namespace", "uid", "labels", "finalizers"}
    assert "status" not in kept
    assert content.kept(record(), status=True)["status"] == record()["status"]


def test_a_snapshot_is_read_as_it_was_written() -> None:
    before = snapshot()
    after = Snapshot.from_bytes(before.to_bytes())
    assert after.counts() == before.counts()
    assert [after.of(part) for part in Part] == [before.of(part) for part in Part]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"parts": {"LATER": []}}', b'{"parts": 1}'])
def test_a_content_that_is_not_understood_is_refused(body: bytes) -> None:
    with pytest.raises(errors.AskOperator, match="not understood"):
        Snapshot.from_bytes(body)


def test_what_happened_meanwhile_leaves_out_what_controllers_write() -> None:
    def seen(name: str, version: str, **meta: Any) -> Json:
        return {
            "metadata": {"name": name, "uid": name, "resourceVersion": version, "generation": 1}
            | meta
        }

    before = [seen("same", "1"), seen("status", "1"), seen("labelled", "1"), seen("gone", "1")]
    after = [
        seen("same", "1"),
        seen("status", "2"),
        seen("labelled", "3", labels={"a": "b"}),
        seen("made", "4"),
    ]
    assert content.changed(before, after) == [
        ("changed", "labelled"),
        ("deleted", "gone"),
        ("made", "made"),
    ]
    no_generation: list[Json] = [{"metadata": {"name": "a", "resourceVersion": "1"}}]
    later: list[Json] = [{"metadata": {"name": "a", "resourceVersion": "2"}}]
    assert content.changed(no_generation, later) == [("changed", "a")]
