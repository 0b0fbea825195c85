"""Every account of ours has the rights that are listed, as the clusters hold them, and no more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tests.integration.federation import NAMESPACE, Cluster, Federation

LISTED = Path(__file__).with_name("rights.yaml")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
OURS = (NAMESPACE, "federation-charms")
# By design: with the kind ClusterRole federated, and held to what the admission policy allows.
ESCALATES = {"clusterroles.rbac.authorization.k8s.io"}
FORBIDDEN = {"impersonate", "approve", "sign"}
NEVER = {
    "nodes",
    "nodes/proxy",
    "pods/exec",
    "pods/attach",
    "persistentvolumes",
    "certificatesigningrequests",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
}


def rights(cluster: Cluster, region: str) -> dict[str, list[str]]:
    """Give the rights of each ServiceAccount of ours: `verbs resources[names] in namespace`."""
    found: dict[str, list[str]] = {}
    for kind in ("clusterrolebindings", "rolebindings"):
        for binding in (cluster.get(f"{RBAC}/{kind}") or {})["items"]:
            place = binding["metadata"].get("namespace", "")
            for subject in binding.get("subjects") or []:
                if subject["kind"] == "ServiceAccount" and subject.get("namespace") in OURS:
                    account = f"{subject['namespace']}/{subject['name']}".replace(region, "REGION")
                    lines = [line(rule, place) for rule in rules(cluster, binding)]
                    found.setdefault(account, []).extend(lines)
    return {account: sorted(set(lines)) for account, lines in sorted(found.items())}


def rules(cluster: Cluster, binding: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the rules of the role that a binding names."""
    role = binding["roleRef"]
    place = (
        "" if role["kind"] == "ClusterRole" else f"/namespaces/{binding['metadata']['namespace']}"
    )
    found = cluster.get(f"{RBAC}{place}/{role['kind'].lower()}s/{role['name']}") or {}
    return found.get("rules") or []


def line(rule: dict[str, Any], place: str) -> str:
    """Write one rule as it is read aloud."""
    what = [
        f"{resource}.{group}".rstrip(".")
        for group in rule.get("apiGroups") or []
        for resource in rule.get("resources") or []
    ] + list(rule.get("nonResourceURLs") or [])
    names = (
        f" named {' '.join(sorted(rule['resourceNames']))}" if rule.get("resourceNames") else ""
    )
    where = f" in {place}" if place else ""
    return f"{' '.join(sorted(rule['verbs']))}: {' '.join(sorted(what))}{names}{where}"


def test_every_account_has_the_rights_that_are_listed(federation: Federation):
    host, member = federation.regions[0], federation.regions[1]
    # Users' account is made with their first kubeconfig.
    _ = federation.host.run("kubefed-host/leader", "get-kubeconfig", {"lifetime": "10m"})
    found = {
        "host": rights(federation.cluster(host), host),
        "member": rights(federation.cluster(member), member),
    }
    found = yaml.safe_load(yaml.safe_dump(found).replace(host, "HOST"))
    if os.environ.get("FEDERATION_LIST_RIGHTS"):
        LISTED.write_text(yaml.safe_dump(found, width=200))
    assert found == yaml.safe_load(LISTED.read_text()), (
        "an account's rights changed: if that is meant, FEDERATION_LIST_RIGHTS=1 writes them anew"
    )


def test_no_account_may_do_what_none_needs():
    for accounts in yaml.safe_load(LISTED.read_text()).values():
        for account, lines in accounts.items():
            for each in lines:
                verbs, _, rest = each.partition(": ")
                what = set(rest.partition(" named ")[0].partition(" in ")[0].split())
                assert not set(verbs.split()) & FORBIDDEN, (account, each)
                assert not {name.partition(".")[0] for name in what} & NEVER, (account, each)
                if "escalate" in verbs.split():
                    assert what <= ESCALATES, (account, each)
                if "*" in each.split():
                    # All of a group of our own is meant, never all of Kubernetes.
                    assert all(name.endswith(".kubefed.io") for name in what), (account, each)
                    assert "*" not in verbs.split(), (account, each)
                if "serviceaccounts/token" in what or "bind" in verbs.split():
                    assert " named " in each, (account, each)
