"""The controller over a host and two members: real API servers, real watches."""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest
from controller_harness import FEDERATED, FEDERATION, Federation, clusters, eventually
from kubefed.api import CONFIG_MAP, FEDERATED_TYPE_CONFIG, NAMESPACE, SERVICE

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def running(federation: Federation) -> Generator[None]:
    with federation.controller():
        yield


def test_an_object_is_propagated_repaired_and_taken_away(federation: Federation) -> None:
    host, apis = federation.host, federation.apis
    federation.make_namespace("shop")
    red = {"path": "/data/colour", "value": "red"}
    federation.post(
        "ConfigMap",
        "shop",
        "settings",
        template={"data": {"colour": "blue"}},
        placement=clusters(*apis),
        overrides=[{"clusterName": "member2", "clusterOverrides": [red]}],
    )
    path, mine = (
        CONFIG_MAP.path("shop", "settings"),
        FEDERATED["configmap"].path("shop", "settings"),
    )
    found = {
        name: eventually(lambda api=api: api.get(path))["data"]["colour"]
        for name, api in apis.items()
    }
    assert found == {"host": "blue", "member1": "blue", "member2": "red"}
    eventually(lambda: federation.propagated("ConfigMap", "shop", "settings"))
    status = federation.status("ConfigMap", "shop", "settings")
    assert status["clusters"] == [{"name": "host"}, {"name": "member1"}, {"name": "member2"}]

    # A change made in a member is put right at once.
    apis["member1"].merge(path, {"data": {"colour": "green"}})
    began = time.monotonic()
    eventually(lambda: apis["member1"].get(path)["data"]["colour"] == "blue")
    assert time.monotonic() - began < 5.0  # 1 s by promise; other tests run beside this one

    # Taken out of the placement, it goes; deleted, it goes everywhere.
    host.merge(mine, {"spec": {"placement": clusters("host", "member1")}})
    eventually(lambda: apis["member2"].get(path) is None)
    host.call("DELETE", mine)
    eventually(lambda: host.get(mine) is None)
    assert all(api.get(path) is None for api in apis.values())


def test_the_hosts_own_namespace_lives_on(federation: Federation) -> None:
    host, apis = federation.host, federation.apis
    federation.make_namespace("passing")
    path = NAMESPACE.path(name="passing")

    def managed(name: str) -> bool:
        labels = ((apis[name].get(path) or {}).get("metadata") or {}).get("labels", {})
        return labels.get("kubefed.io/managed") == "true"

    eventually(lambda: all(managed(name) for name in apis))
    before = host.get(path)["metadata"]["uid"]
    mine = FEDERATED["namespace"].path("passing", "passing")
    host.call("DELETE", mine)
    eventually(lambda: host.get(mine) is None, 20)
    assert apis["member1"].get(path) is None
    assert apis["member2"].get(path) is None
    assert host.get(path)["metadata"]["uid"] == before
    assert not managed("host")


def test_retained_fields_stay_and_services_are_not_fought(federation: Federation) -> None:
    federation.make_namespace("retained")
    template = {
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    federation.post("Service", "retained", "web", template=template, placement=clusters("member1"))
    member, path = federation.apis["member1"], SERVICE.path("retained", "web")
    before = eventually(lambda: member.get(path))
    member.merge(path, {"metadata": {"annotations": {"of": "the member"}}})
    mine = FEDERATED["service"].path("retained", "web")
    changed = {"spec": {"template": {"spec": {"selector": {"app": "shop"}}}}}
    federation.host.merge(mine, changed)
    after = eventually(
        lambda: (found := member.get(path))["spec"]["selector"]["app"] == "shop" and found
    )
    assert after["spec"]["clusterIP"] == before["spec"]["clusterIP"]
    assert after["spec"]["ports"] == before["spec"]["ports"]
    assert after["metadata"]["annotations"] == {"of": "the member"}


def test_orphans_live_on_without_the_label(federation: Federation) -> None:
    federation.make_namespace("orphans")
    federation.post(
        "ConfigMap",
        "orphans",
        "kept",
        template={"data": {"a": "b"}},
        placement=clusters("member1"),
    )
    member, path = federation.apis["member1"], CONFIG_MAP.path("orphans", "kept")
    eventually(lambda: member.get(path))
    mine = FEDERATED["configmap"].path("orphans", "kept")
    federation.host.merge(mine, {"metadata": {"annotations": {"kubefed.io/orphan": "true"}}})
    federation.host.call("DELETE", mine)
    eventually(lambda: federation.host.get(mine) is None)
    kept = member.get(path)
    assert kept["data"] == {"a": "b"}
    assert "kubefed.io/managed" not in kept["metadata"].get("labels", {})


def test_what_exists_is_adopted_unless_its_label_says_no(federation: Federation) -> None:
    federation.make_namespace("adopted")
    member1, member2 = federation.apis["member1"], federation.apis["member2"]
    path = CONFIG_MAP.path("adopted", "there")
    for member, labels in ((member1, {}), (member2, {"kubefed.io/managed": "false"})):
        eventually(lambda member=member: member.get(NAMESPACE.path(name="adopted")))
        body = {"metadata": {"name": "there", "labels": labels}, "data": {"of": "the member"}}
        member.call("POST", CONFIG_MAP.path("adopted"), body)
    federation.post(
        "ConfigMap",
        "adopted",
        "there",
        template={"data": {"of": "the host"}},
        placement=clusters("member1", "member2"),
    )
    eventually(lambda: member1.get(path)["data"] == {"of": "the host"})

    def states() -> dict[str, str]:
        entries = federation.status("ConfigMap", "adopted", "there").get("clusters", [])
        return {entry["name"]: entry.get("status", "") for entry in entries}

    eventually(lambda: states() == {"member1": "", "member2": "ManagedLabelFalse"})
    assert member2.get(path)["data"] == {"of": "the member"}


def test_a_bad_override_harms_only_its_cluster(federation: Federation) -> None:
    federation.make_namespace("overridden")
    missing = {"path": "/data/none/deep", "value": "x"}
    federation.post(
        "ConfigMap",
        "overridden",
        "one",
        template={"data": {"a": "b"}},
        placement=clusters("member1", "member2"),
        overrides=[{"clusterName": "member1", "clusterOverrides": [missing]}],
    )
    wanted = [{"name": "member1", "status": "ApplyOverridesFailed"}, {"name": "member2"}]
    eventually(
        lambda: federation.status("ConfigMap", "overridden", "one").get("clusters") == wanted
    )
    assert federation.apis["member2"].get(CONFIG_MAP.path("overridden", "one"))


def test_objects_of_an_unfederated_namespace_say_so(federation: Federation) -> None:
    federation.host.call("POST", NAMESPACE.path(), {"metadata": {"name": "alone"}})
    federation.post("ConfigMap", "alone", "one", template={}, placement=clusters("member1"))
    condition = eventually(
        lambda: federation.status("ConfigMap", "alone", "one").get("conditions")
    )[0]
    assert (condition["status"], condition["reason"]) == ("False", "NamespaceNotFederated")


def test_a_type_is_switched_off_and_on(federation: Federation) -> None:
    federation.make_namespace("types")
    config = FEDERATED_TYPE_CONFIG.path(FEDERATION, "configmaps")
    federation.host.merge(config, {"spec": {"propagation": "Disabled"}})

    def state() -> str:
        return federation.host.get(config)["status"]["propagationController"]

    eventually(lambda: state() == "NotRunning")
    federation.post("ConfigMap", "types", "one", template={}, placement=clusters("member1"))
    federation.host.merge(config, {"spec": {"propagation": "Enabled"}})
    eventually(lambda: federation.apis["member1"].get(CONFIG_MAP.path("types", "one")))
    assert state() == "Running"
