"""Many federated objects, and how it is seen that nobody writes to a member."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jubilant

from tests.integration.federation import Cluster, managed, until

NAMESPACE = "many"
TYPES = "/apis/types.kubefed.io/v1beta1"
MAPS = f"{TYPES}/namespaces/{NAMESPACE}/federatedconfigmaps"
COPIES = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
KINDS = ("federatednamespaces", "federatedconfigmaps", "federatedsecrets", "federatedservices",
         "federateddeployments")  # fmt: skip
WRITERS, CONFLICT = 8, 409
CARRIED_SECONDS = 300.0
REST_SECONDS = 2.0
# Of the API server's audit: each write, by whom and of what.
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
"""
POLICY_FILE, AUDIT_FILE = "/home/ubuntu/audit.yaml", "/var/log/kubernetes-audit.log"
CONTROL_PLANE = "kubernetes-control-plane/leader"


class Many:
    """Federated ConfigMaps in a namespace of their own.

    Args:
        host: the host's cluster.
        member: another member's.
    """

    def __init__(self, host: Cluster, member: Cluster):
        self._host = host
        self._member = member

    def make(self, count: int) -> None:
        """Make them, and wait until the member has them."""
        self._post("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self._post(
            f"{TYPES}/namespaces/{NAMESPACE}/federatednamespaces",
            _federated("FederatedNamespace", NAMESPACE, {}),
        )
        with ThreadPoolExecutor(WRITERS) as pool:
            _ = list(pool.map(self._make, range(count)))
        until(
            lambda: sum(name.startswith("map-") for name in self._member.names(COPIES)) == count,
            f"the member has all {count} objects",
            seconds=CARRIED_SECONDS,
        )

    def change(self, number: int, text: str) -> None:
        """Change one."""
        path = f"{MAPS}/map-{number}"

        def written() -> bool:
            changed = self._host.get(path) or {}
            changed["spec"]["template"]["data"] = {"text": text}
            answer = self._host.request("PUT", path, changed)
            if answer.status_code == CONFLICT:
                return False  # the controller wrote its status in between
            answer.raise_for_status()
            return True

        until(written, f"{path} says {text!r}")

    def carried(self, number: int, text: str) -> bool:
        """Say whether the member has a change."""
        copy = self._member.get(f"{COPIES}/map-{number}") or {}
        return copy.get("data") == {"text": text}

    def federation(self) -> dict[str, Any]:
        """Give what users said in the host: every federated object's spec."""
        found: dict[str, Any] = {}
        for kind in KINDS:
            for item in (self._host.get(f"{TYPES}/{kind}") or {})["items"]:
                metadata = item["metadata"]
                found[f"{kind} {metadata['namespace']}/{metadata['name']}"] = item["spec"]
        return found

    def rest(self) -> None:
        """Wait until nothing has been written in the member for a while."""

        def calm() -> bool:
            before = managed(self._member)
            time.sleep(REST_SECONDS)
            return managed(self._member) == before

        _ = until(calm, "nothing is written in the member")

    def _make(self, number: int) -> None:
        template = {"template": {"data": {"number": str(number)}}}
        self._post(MAPS, _federated("FederatedConfigMap", f"map-{number}", template))

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._host.request("POST", path, body).raise_for_status()


class Audit:
    """What the API server of the lab's control plane in a model was asked to write.

    Args:
        juju: the model.
        cluster: its cluster.
    """

    def __init__(self, juju: jubilant.Juju, cluster: Cluster):
        self._juju = juju
        self._cluster = cluster

    def begin(self, folder: Path) -> None:
        """Have every write noted from now on."""
        policy = folder / "audit.yaml"
        _ = policy.write_text(POLICY)
        self._juju.scp(policy, f"{CONTROL_PLANE}:{POLICY_FILE}")
        words = f"audit-policy-file={POLICY_FILE} audit-log-path={AUDIT_FILE}"
        self._juju.config("kubernetes-control-plane", {"api-extra-args": words})
        file = f"test -s {AUDIT_FILE} && echo written; true"
        _ = until(lambda: bool(self._juju.ssh(CONTROL_PLANE, file)), "writes are noted")
        _ = until(lambda: self._cluster.request("GET", "/readyz").is_success, "it is ready again")

    def writes(self, account: str) -> list[str]:
        """Name the writes that an account of the cluster has asked for, refused ones too.

        Not those in dry runs, by which joining sees what it may do.
        """
        lines = self._juju.ssh(CONTROL_PLANE, f"cat {AUDIT_FILE}").splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in events
            if event["user"]["username"] == f"system:serviceaccount:{account}"
            and "dryRun=All" not in event["requestURI"]
        ]


def _federated(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "types.kubefed.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {**spec, "placement": {"clusterSelector": {}}},
    }
