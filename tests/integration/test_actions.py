"""Every action that looks, renews, federates or backs up.

Joining and leaving are in test_join.py, upstream's objects in test_control_plane.py.
"""

from __future__ import annotations

import base64
import json
import os

import jubilant
import pytest
import yaml

from tests.integration.federation import (
    CLUSTERS,
    NAMESPACE,
    SECRETS,
    Cluster,
    Federation,
    managed,
    until,
)

HOST = "kubefed-host/leader"
MEMBER = "kubefed-member/leader"
DNS = "federation-dns/leader"
WEB = "web.demo.svc"
POLICIES = "networkpolicies.networking.k8s.io"
COPIES = "/apis/networking.k8s.io/v1/namespaces/demo/networkpolicies"
FEDERATED = "/apis/types.kubefed.io/v1beta1/namespaces/demo/federatednetworkpolicies"
MANIFEST = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-an-action, namespace: demo}
spec: {podSelector: {}}
"""


def test_list_clusters(federation: Federation):
    found = federation.listed()
    assert sorted(found) == sorted(federation.regions)
    for region, cluster in found.items():
        assert cluster["ready"] is True
        assert cluster["version"].startswith("v1.")
        assert cluster["endpoint"] == federation.cluster(region).server


def test_get_kubeconfig_is_in_a_secret_and_is_good_for_federating_only(federation: Federation):
    juju = federation.host
    task = juju.run(HOST, "get-kubeconfig", {"lifetime": "10m"})
    assert task.results["context"] == federation.host_region
    secret = juju.show_secret(task.results["secret-id"], reveal=True)
    config = yaml.safe_load(secret.content["kubeconfig"])
    token = config["users"][0]["user"]["token"]
    assert token not in json.dumps(task.results)
    cluster = config["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    user = Cluster(cluster["server"], authority, token)
    assert federation.host_region in user.names(CLUSTERS)
    assert user.request("GET", SECRETS).status_code == 403
    assert user.request("GET", "/api/v1/nodes").status_code == 403


def test_a_kind_is_federated_and_let_go_again(federation: Federation):
    host = federation.cluster(federation.host_region)

    def copies() -> list[str]:
        return [name for r in federation.regions for name in federation.cluster(r).names(COPIES)]

    for state in ("enabled", "already enabled"):
        results = federation.host.run(HOST, "enable-type", {"type": "networkpolicies"}).results
        assert results["type"] == POLICIES
        assert results["federated"] == "federatednetworkpolicies.types.kubefed.io"
        assert results["state"] == state
    for outcome in ("created", "unchanged"):
        results = federation.host.run(HOST, "federate", {"manifest": MANIFEST}).results
        assert (results["count"], json.loads(results["left-out"])) == ("1", {})
        (said,) = json.loads(results["objects"]).values()
        assert said == outcome
    # The members' rights follow the kind first.
    everywhere = ["from-an-action"] * len(federation.regions)
    until(lambda: copies() == everywhere, "every region has the policy")
    host.delete(f"{FEDERATED}/from-an-action")
    until(lambda: copies() == [], "no region has the policy")
    params = {"type": "networkpolicies", "delete-kind": True}
    for state in ("disabled", "not federated"):
        assert federation.host.run(HOST, "disable-type", params).results["state"] == state
    assert host.get(FEDERATED) is None
    federation.settle()


def test_a_backup_restored_beside_what_it_holds_changes_nothing(federation: Federation):
    juju = federation.host
    key = base64.b64encode(os.urandom(32)).decode()
    secret = juju.add_secret("backup-key", {"key": key})
    try:
        with pytest.raises(jubilant.TaskError, match="backup-key names no secret"):
            juju.run(HOST, "backup")
        juju.config("kubefed-host", {"backup-key": secret})
        with pytest.raises(jubilant.TaskError, match="juju grant-secret it to this application"):
            juju.run(HOST, "backup")
        juju.grant_secret("backup-key", "kubefed-host")
        made = juju.run(HOST, "backup").results
        assert made["clusters"].split() == sorted(federation.regions)
        assert key not in json.dumps(made)
        seen = juju.exec(f"sha256sum {made['path']}; stat -c %a {made['path']}", unit=HOST).stdout
        assert seen.split() == [made["sha256"], made["path"], "600"]
        before = {region: managed(federation.cluster(region)) for region in federation.regions}
        done = juju.run(HOST, "restore", {"path": made["path"]}).results
        assert (done["created"], done["changed"]) == ("0", "[]")
        assert json.loads(done["clusters-in-trouble"]) == {}
        federation.settle(federation.host_region)
        for region, copies in before.items():
            assert managed(federation.cluster(region)) == copies
    finally:
        juju.config("kubefed-host", reset="backup-key")
        juju.remove_secret(secret)


def test_list_versions(federation: Federation):
    results = federation.host.run(HOST, "list-versions").results
    assert (results["kubefed-versions"], results["deployed"]) == ("v0.10.0", "none")


def test_rotate_token_reaches_the_hosts_cluster(federation: Federation):
    region = federation.regions[-1]
    host = federation.cluster(federation.host_region)
    entry = host.get(f"{CLUSTERS}/{region}") or {}
    path = f"{SECRETS}/{entry['spec']['secretRef']['name']}"
    before = (host.get(path) or {})["data"]["token"]
    task = federation.model(region).run(MEMBER, "rotate-token")
    assert task.results["rotated"] == federation.host_region
    until(lambda: (host.get(path) or {})["data"]["token"] != before, "the host has the new token")
    assert federation.ready(region)


def test_show_rights_names_no_right_to_everything(federation: Federation):
    task = federation.model(federation.regions[-1]).run(MEMBER, "show-rights")
    rules = json.loads(task.results["rights"])[federation.host_region]
    written = [rule for rule in rules if "create" in rule["verbs"]]
    kinds = {name for rule in written for name in rule["resources"]}
    assert {"configmaps", "deployments", "services"} <= kinds
    for rule in rules:
        assert "*" not in rule["verbs"]
        assert "*" not in rule.get("resources", [])


def test_show_verdict(federation: Federation):
    for region in federation.regions:
        task = federation.model(region).run(DNS, "show-verdict")
        verdict = json.loads(task.results["verdict"])
        assert verdict["electorate"] == sorted(federation.regions)
        assert verdict["quorum"] is True
        assert {each["verdict"] for each in verdict["regions"].values()} == {"healthy"}


def test_show_zone_has_what_the_name_server_answers(federation: Federation):
    zone = federation.model(federation.regions[1]).run(DNS, "show-zone").results["zone"]
    addresses = federation.answers(federation.regions[1], WEB)
    assert len(addresses) == len(federation.regions)
    for address in addresses:
        assert f"{WEB} 15 IN A {address}" in zone


def test_force_region_is_shown_and_taken_back(federation: Federation):
    region = federation.regions[-1]

    def shown() -> dict[str, object]:
        task = federation.host.run(DNS, "show-verdict")
        return json.loads(task.results["verdict"])["regions"][region]

    params = {"region": region, "verdict": "healthy", "who": "the tests", "until": "10m"}
    federation.host.run(DNS, "force-region", params)
    until(lambda: shown()["word"] == "healthy", "the word is shown")
    assert shown()["explain"] == f"the tests says that {region} is healthy"
    federation.host.run(DNS, "force-region", {"region": region, "verdict": "clear"})
    until(lambda: shown()["word"] is None, "the word is taken back")


def test_a_cordoned_region_leaves_the_answers_where_it_is_said(federation: Federation):
    here, there, region = federation.regions
    everywhere = federation.answers(here, WEB)
    params = {"region": region, "who": "the tests", "until": "10m"}
    for _ in range(2):
        task = federation.model(here).run(DNS, "cordon-region", params)
        assert (task.results["said"], task.results["who"]) == ("cordoned", "the tests")
    until(lambda: len(federation.answers(here, WEB)) == 2, f"{region} is out in {here}")
    assert federation.answers(there, WEB) == everywhere
    for changed in ("true", "false"):
        task = federation.model(here).run(DNS, "uncordon-region", {"region": region})
        assert task.results["changed"] == changed
    until(lambda: federation.answers(here, WEB) == everywhere, f"{region} is back")
    federation.settle(here)


def test_verify_finds_every_server_as_it_should_be(federation: Federation):
    def agrees() -> bool:
        return federation.host.run(DNS, "verify").results["agrees"] == "true"

    until(agrees, "all servers hold what they should")
    found = json.loads(federation.host.run(DNS, "verify").results["regions"])
    assert sorted(found) == sorted(federation.regions)
    for each in found.values():
        assert each["answered"] is True
        assert each["asked"] > 0
        assert each["intends-otherwise"] == 0


@pytest.mark.parametrize(
    ("unit", "action", "params"),
    [
        (HOST, "list-clusters", {"colour": "red"}),
        (HOST, "join-cluster", {}),
        (HOST, "unjoin-cluster", {"cluster": "nowhere", "workloads": "burn"}),
        (HOST, "join-cluster", {"cluster": 7}),
        (MEMBER, "rotate-token", {"colour": "red"}),
        (DNS, "show-zone", {"colour": "red"}),
        (DNS, "cordon-region", {}),
        (DNS, "uncordon-region", {"region": 7}),
        (DNS, "verify", {"colour": "red"}),
        (DNS, "force-region", {"region": "nowhere", "verdict": "sleepy"}),
    ],
)
def test_juju_refuses_parameters_that_the_action_does_not_know(
    federation: Federation, unit: str, action: str, params: dict[str, object]
):
    with pytest.raises((jubilant.CLIError, jubilant.TaskError)) as refused:
        federation.host.run(unit, action, params)
    assert "validation failed" in f"{refused.value} {getattr(refused.value, 'stderr', '')}"


@pytest.mark.parametrize(
    ("unit", "action", "params", "reason"),
    [
        (HOST, "get-kubeconfig", {"lifetime": "soon"}, "lifetime: must be a number with"),
        (HOST, "get-kubeconfig", {"lifetime": "1m"}, "lifetime: "),
        (HOST, "get-kubeconfig", {"server": "http://nowhere"}, "server: "),
        (HOST, "unjoin-cluster", {"cluster": "nowhere"}, "no such cluster"),
        (DNS, "force-region", {"region": "nowhere", "verdict": "lost"}, "nowhere"),
        (DNS, "cordon-region", {"region": "nowhere"}, "there is no region nowhere"),
        (DNS, "uncordon-region", {"region": "nowhere"}, "there is no region nowhere"),
        (DNS, "force-region", {"region": "napoli", "verdict": "lost", "until": "soon"}, "soon"),
    ],
)
def test_an_action_fails_with_the_reason(
    federation: Federation, unit: str, action: str, params: dict[str, object], reason: str
):
    with pytest.raises(jubilant.TaskError) as failed:
        federation.host.run(unit, action, params)
    assert reason in failed.value.task.message


def test_a_standing_members_namespace_holds_only_its_account(federation: Federation):
    region = federation.regions[-1]
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    names = federation.cluster(region).names(path)
    assert set(names) - {"default"} == {f"{region}-{federation.host_region}"}
