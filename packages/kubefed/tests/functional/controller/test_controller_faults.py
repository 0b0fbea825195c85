"""The controller when members, tokens, regions or controllers fail."""

from __future__ import annotations

import base64
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from controller_harness import (
    FEDERATED,
    FEDERATION,
    Api,
    Federation,
    Verdicts,
    Wire,
    clusters,
    eventually,
)
from kubefed.api import CONFIG_MAP, DEPLOYMENT, KUBEFED_CLUSTER, NAMESPACE, SECRET

pytestmark = pytest.mark.cluster
RSP = "/apis/scheduling.kubefed.io/v1alpha1/namespaces/{}/replicaschedulingpreferences"


@pytest.fixture
def wire(federation: Federation) -> Generator[Wire]:
    """The way to member2 leads over a wire that can be frozen."""
    path = KUBEFED_CLUSTER.path(FEDERATION, "member2")
    made = Wire(federation.apis["member2"].plane)
    federation.host.merge(path, {"spec": {"apiEndpoint": made.endpoint}})
    yield made
    endpoint = federation.apis["member2"].plane.endpoint
    federation.host.merge(path, {"spec": {"apiEndpoint": endpoint}})
    made.close()


def data(api: Api, namespace: str, name: str) -> Any:
    return (api.get(CONFIG_MAP.path(namespace, name)) or {}).get("data")


def states(federation: Federation, namespace: str, name: str) -> dict[str, str]:
    entries = federation.status("ConfigMap", namespace, name).get("clusters", [])
    return {entry["name"]: entry.get("status", "") for entry in entries}


def test_a_token_is_renewed_and_a_restart_writes_nothing(federation: Federation) -> None:
    host, member1 = federation.host, federation.apis["member1"]
    entry = host.get(KUBEFED_CLUSTER.path(FEDERATION, "member1"))
    path = SECRET.path(FEDERATION, entry["spec"]["secretRef"]["name"])

    good = host.get(path)["data"]["token"]

    def set_token(encoded: str) -> None:
        host.merge(path, {"data": {"token": encoded}})

    with federation.controller():
        federation.make_namespace("renewed")
        eventually(lambda: member1.get(NAMESPACE.path(name="renewed")))
        set_token(base64.b64encode(b"revoked").decode())
        # The controller sees the Secret a moment later.
        time.sleep(0.5)
        template = {"data": {"a": "b"}}
        federation.post(
            "ConfigMap", "renewed", "one", template=template, placement=clusters("member1")
        )
        eventually(lambda: states(federation, "renewed", "one").get("member1"))
        set_token(good)
        eventually(lambda: data(member1, "renewed", "one"), 10)
        eventually(lambda: federation.propagated("ConfigMap", "renewed", "one"))

    def versions() -> dict[str, str]:
        kinds = [
            CONFIG_MAP.path("renewed"),
            FEDERATED["configmap"].path("renewed"),
            "/apis/core.kubefed.io/v1alpha1/namespaces/renewed/propagatedversions",
            "/apis/core.kubefed.io/v1beta1/namespaces/kube-federation-system/federatedtypeconfigs",
        ]
        return {
            f"{api.name} {path} {item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for api in federation.apis.values()
            for path in kinds
            for item in (api.get(path) or {"items": []})["items"]
        }

    before = versions()
    with federation.controller():
        time.sleep(2)
        assert versions() == before


def test_a_member_changed_while_no_controller_ran_is_put_right(federation: Federation) -> None:
    member1 = federation.apis["member1"]
    with federation.controller():
        federation.make_namespace("later")
        for name in ("changed", "deleted"):
            federation.post(
                "ConfigMap",
                "later",
                name,
                template={"data": {"a": "b"}},
                placement=clusters("member1"),
            )
            eventually(lambda name=name: federation.propagated("ConfigMap", "later", name))
    member1.merge(CONFIG_MAP.path("later", "changed"), {"data": {"a": "x"}})
    member1.call("DELETE", CONFIG_MAP.path("later", "deleted"))
    with federation.controller():
        eventually(lambda: data(member1, "later", "changed") == {"a": "b"})
        eventually(lambda: data(member1, "later", "deleted") == {"a": "b"})


def test_replicas_move_when_the_regions_evict_one(federation: Federation, tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path)
    everyone = {"host": False, "member1": False, "member2": False}
    verdicts.say(**everyone)
    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    }
    selector = {"matchLabels": {"app": "web"}}

    def replicas() -> dict[str, int]:
        found = {
            name: api.get(DEPLOYMENT.path("planned", "web"))
            for name, api in federation.apis.items()
        }
        return {name: item["spec"]["replicas"] for name, item in found.items() if item}

    try:
        with federation.controller(region_health=verdicts.file):
            federation.make_namespace("planned")
            template = {"spec": {"replicas": 1, "selector": selector, "template": pod}}
            federation.post(
                "Deployment", "planned", "web", template=template, placement=clusters()
            )
            preference = {
                "apiVersion": "scheduling.kubefed.io/v1alpha1",
                "kind": "ReplicaSchedulingPreference",
                "metadata": {"name": "web", "namespace": "planned"},
                "spec": {
                    "targetKind": "FederatedDeployment",
                    "totalReplicas": 6,
                    "rebalance": True,
                    "clusters": {"member1": {"weight": 1}, "member2": {"weight": 1}},
                },
            }
            federation.host.call("POST", RSP.format("planned"), preference)
            eventually(lambda: replicas() == {"host": 0, "member1": 3, "member2": 3})

            # Without a quorum nothing moves, whatever is said of the regions.
            verdicts.say(quorum=False, **(everyone | {"member2": True}))
            time.sleep(2)
            assert replicas()["member1"] == 3
            verdicts.say(**(everyone | {"member2": True}))
            eventually(lambda: replicas()["member1"] == 6, 5)
            conditions = federation.conditions(
                eventually(
                    lambda: (
                        (item := federation.host.get(KUBEFED_CLUSTER.path(FEDERATION, "member2")))
                        and federation.conditions(item).get("Offline")
                        and item
                    )
                )
            )
            assert conditions == {"Offline": "True"}
            verdicts.say(**everyone)
            eventually(lambda: replicas() == {"host": 0, "member1": 3, "member2": 3}, 15)
    finally:
        verdicts.close()


def test_a_clean_end_gives_the_lease_back(federation: Federation) -> None:
    """How a frozen or killed one is followed: faults/test_frozen_leader.py."""
    first, second = "first", "second"
    with federation.controller(identity=first) as leads, federation.controller(identity=second):
        assert federation.leader() == first
        leads.stop()
        eventually(lambda: federation.leader() == second, 5)
        federation.make_namespace("led")
        eventually(lambda: federation.apis["member1"].get(NAMESPACE.path(name="led")), 5)


def test_a_cluster_that_leaves_has_no_claim_any_more(federation: Federation, wire: Wire) -> None:
    host, member1 = federation.host, federation.apis["member1"]
    entry = KUBEFED_CLUSTER.path(FEDERATION, "member2")
    mine = FEDERATED["configmap"].path("left", "one")
    with federation.controller():
        federation.make_namespace("left")
        federation.post(
            "ConfigMap",
            "left",
            "one",
            template={"data": {"a": "b"}},
            placement=clusters("member1", "member2"),
        )
        eventually(lambda: federation.propagated("ConfigMap", "left", "one"))
        wire.freeze()
        host.call("DELETE", mine)
        eventually(lambda: "member2" in states(federation, "left", "one"))
        eventually(lambda: data(member1, "left", "one") is None)
        kept = host.get(entry)
        host.call("DELETE", entry)
        eventually(lambda: host.get(mine) is None)
        wire.thaw()
        # Whole: later tests need its mark of which cluster it is.
        names = ("name", "namespace", "labels", "annotations")
        meta = {name: kept["metadata"][name] for name in names if name in kept["metadata"]}
        host.call("POST", KUBEFED_CLUSTER.path(FEDERATION), kept | {"metadata": meta})
        eventually(federation.all_ready)
