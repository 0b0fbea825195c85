"""Transparent federation over real API servers: the host is member one, another is member two."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

import pytest
from controller_harness import FEDERATED, FEDERATION, Federation, eventually
from kubefed.api import CONFIG_MAP, DEPLOYMENT, NAMESPACE, SECRET, SERVICE, TargetKind
from kubefed.controller.transparent import marks, rights

pytestmark = pytest.mark.cluster
# How long nothing may be written once all is done.
STILL = 10.0 if os.environ.get("FEDERATION_SOAK") == "1" else 3.0
MANAGED = "kubefed.io/managed"
ROLE_BINDINGS = TargetKind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
RSP = TargetKind(
    "scheduling.kubefed.io",
    "v1alpha1",
    "ReplicaSchedulingPreference",
    "replicaschedulingpreferences",
)
WATCHED = (DEPLOYMENT, SERVICE, CONFIG_MAP, SECRET, RSP, *FEDERATED.values())


class Shop:
    """One namespace that asks to be federated, with what is in it in each cluster."""

    def __init__(self, federation: Federation, name: str) -> None:
        self.federation, self.name = federation, name
        self.host, self.far = federation.host, federation.apis["member1"]
        self.web = DEPLOYMENT.path(name, "web")
        self.federated = FEDERATED["deployment"].path(name, "web")

    def ask(self, notes: Any = None, *, asks: bool = True) -> None:
        path = NAMESPACE.path(name=self.name)
        if self.host.get(path) is None:
            self.host.call("POST", NAMESPACE.path(), {"metadata": {"name": self.name}})
        labels = {marks.FEDERATE: "true" if asks else None}
        self.host.merge(path, {"metadata": {"labels": labels, "annotations": notes or {}}})

    def kubectl(self, *words: str, stdin: Any = None) -> str:
        plane = self.host.plane
        config = plane.directory / "admin.kubeconfig"
        done = subprocess.run(
            [plane.binaries / "kubectl", f"--kubeconfig={config}", "-n", self.name, *words],
            input=json.dumps(stdin) if stdin is not None else None,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def deployment(self, replicas: int = 2, image: str = "web:1", notes: Any = None) -> Any:
        labels = {"app": "web"}
        containers = [{"name": "web", "image": image}]
        pod = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "annotations": notes or {}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod},
        }

    def copy(self, kind: TargetKind = DEPLOYMENT, name: str = "web") -> Any:
        return self.far.get(kind.path(self.name, name)) or {}

    def source(self) -> Any:
        return self.host.get(self.web) or {}

    def labels(self, obj: Any) -> Any:
        return obj.get("metadata", {}).get("labels") or {}

    def summary(self) -> Any:
        notes = self.source().get("metadata", {}).get("annotations") or {}
        return json.loads(notes.get(marks.SUMMARY, "{}"))

    def settled(self) -> bool:
        return (
            self.copy().get("spec", {}).get("replicas") == self.source()["spec"]["replicas"]
            and self.labels(self.source()).get(MANAGED) == "true"
            and self.summary().get("propagated") is True
            and self.summary().get("replicas", 0)
            == sum(each.get("replicas", 0) for each in self.summary()["clusters"].values())
        )

    def versions(self) -> dict[str, str]:
        """Every object's version, in both clusters."""
        found: dict[str, str] = {}
        for api in (self.host, self.far):
            paths = [kind.path(self.name) for kind in WATCHED] + [NAMESPACE.path(name=self.name)]
            for path in paths:
                answer = api.get(path) or {"items": []}
                for item in answer.get("items", [answer]):
                    meta = item["metadata"]
                    found[f"{api.name} {path} {meta['name']}"] = meta["resourceVersion"]
        return found

    def still(self, seconds: float) -> None:
        """Soon nothing is written at all any more, for so long."""
        before, since = self.versions(), time.monotonic()

        def calm() -> bool:
            nonlocal before, since
            now = self.versions()
            if now != before:
                before, since = now, time.monotonic()
            return time.monotonic() - since >= seconds

        eventually(calm, 30 + seconds, every=0.3)

    def events(self, reason: str, namespace: str = "") -> list[Any]:
        path = f"/api/v1/namespaces/{namespace or self.name}/events"
        items = (self.host.get(path) or {"items": []})["items"]
        return [item for item in items if item["reason"] == reason]


def test_kubectl_apply_from_first_to_last(federation: Federation) -> None:
    shop = Shop(federation, "plain")
    with federation.controller():
        shop.ask()
        shop.kubectl("apply", "-f", "-", stdin=shop.deployment())
        shop.kubectl("create", "configmap", "settings", "--from-literal=a=b")
        shop.kubectl("create", "service", "clusterip", "web", "--tcp=80")
        eventually(shop.settled, 60)
        eventually(lambda: shop.copy(CONFIG_MAP, "settings").get("data") == {"a": "b"})
        eventually(lambda: shop.copy(SERVICE).get("spec", {}).get("clusterIP"))
        # The host's own controllers were at work on it too; the spec is the user's alone.
        source = shop.source()
        assert source["spec"]["replicas"] == 2
        assert source["metadata"]["generation"] == 1
        assert shop.labels(source)[marks.SOURCE] == "true"
        assert marks.SOURCE not in shop.labels(shop.copy())
        assert marks.FEDERATE not in shop.labels(shop.far.get(NAMESPACE.path(name=shop.name)))
        # What each cluster makes by itself isn't federated.
        for kind, name in (("configmap", "kube-root-ca.crt"), ("replicaset", "web")):
            items = shop.host.get(
                f"/apis/types.kubefed.io/v1beta1/namespaces/{shop.name}/federated{kind}s"
            )["items"]
            assert not [item for item in items if item["metadata"]["name"].startswith(name)]
        shop.still(STILL)

        # The same again: nothing happens. A change: everywhere, and nothing comes back.
        before = shop.versions()
        assert "unchanged" in shop.kubectl("apply", "-f", "-", stdin=shop.deployment())
        time.sleep(2)
        assert shop.versions() == before
        shop.kubectl("apply", "-f", "-", stdin=shop.deployment(3, "web:2"))
        eventually(lambda: shop.copy()["spec"]["replicas"] == 3)
        image = shop.copy()["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == "web:2"
        assert shop.labels(shop.source())[MANAGED] == "true"
        eventually(shop.settled)

        # Deleted: gone everywhere, and never made again.
        shop.kubectl("delete", "deployment", "web", "--wait=false")
        eventually(lambda: not shop.copy() and shop.host.get(shop.federated) is None, 60)
        time.sleep(1)
        assert not shop.source()


def test_server_side_apply_meets_no_conflict(federation: Federation) -> None:
    shop = Shop(federation, "applied")
    words = ("apply", "--server-side", "--field-manager=flux", "-f", "-")
    with federation.controller():
        shop.ask()
        shop.kubectl(*words, stdin=shop.deployment())
        eventually(shop.settled, 60)
        # Without --force-conflicts: what the federation owns of it is none of the applier's.
        for replicas in (4, 5):
            shop.kubectl(*words, stdin=shop.deployment(replicas))
            eventually(lambda n=replicas: shop.copy()["spec"]["replicas"] == n)
        eventually(shop.settled)
        managers = {
            entry["manager"]: json.dumps(entry["fieldsV1"])
            for entry in shop.source()["metadata"]["managedFields"]
            if not entry.get("subresource")
        }
        assert "f:spec" in managers["flux"]
        assert "f:spec" not in managers["kubefed"]
        shop.still(STILL)


def test_helms_marks_stay_at_home_and_survive(federation: Federation) -> None:
    shop = Shop(federation, "released")
    body = shop.deployment(notes={"meta.helm.sh/release-name": "web"})
    body["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    with federation.controller():
        shop.ask()
        # As Helm does: created, its record beside it, then patched against the live object.
        shop.host.call("POST", DEPLOYMENT.path(shop.name), body)
        record = {
            "metadata": {"name": "sh.helm.release.v1.web.v1"},
            "type": "helm.sh/release.v1",
            "data": {"release": "eA=="},
        }
        shop.host.call("POST", SECRET.path(shop.name), record)
        eventually(shop.settled, 60)
        shop.host.merge(shop.web, {"spec": {"replicas": 3}})
        eventually(lambda: shop.copy()["spec"]["replicas"] == 3)
        eventually(shop.settled)
        notes = shop.source()["metadata"]["annotations"]
        assert notes["meta.helm.sh/release-name"] == "web"
        assert "meta.helm.sh/release-name" not in shop.copy()["metadata"]["annotations"]
        assert not shop.copy(SECRET, "sh.helm.release.v1.web.v1")


def test_the_label_goes_and_comes_back_and_a_restart_between(federation: Federation) -> None:
    shop = Shop(federation, "leaving")
    with federation.controller():
        shop.ask()
        shop.kubectl("apply", "-f", "-", stdin=shop.deployment())
        eventually(shop.settled, 60)
        shop.still(3)
        assert shop.host.get(ROLE_BINDINGS.path(shop.name, rights.ROLE))
    before = shop.versions()
    uid = shop.copy()["metadata"]["uid"]
    with federation.controller():
        # A restart writes nothing.
        time.sleep(3)
        assert shop.versions() == before
    # The label goes while nobody looks.
    shop.ask(asks=False)
    with federation.controller():
        eventually(lambda: shop.host.get(shop.federated) is None, 60)
        namespace = FEDERATED["namespace"].path(shop.name, shop.name)
        eventually(lambda: shop.host.get(namespace) is None, 60)
        eventually(lambda: MANAGED not in shop.labels(shop.copy()))
        assert shop.copy()["metadata"]["uid"] == uid
        assert shop.copy()["spec"]["replicas"] == 2
        eventually(lambda: not {MANAGED, marks.SOURCE} & shop.labels(shop.source()).keys())
        assert shop.summary() == {}
        binding = ROLE_BINDINGS.path(shop.name, rights.ROLE)
        eventually(lambda: shop.host.get(binding) is None)
        eventually(lambda: shop.events("NoLongerFederated", "default"))
        # Nobody keeps them alike any more.
        shop.kubectl("apply", "-f", "-", stdin=shop.deployment(4))
        shop.still(3)
        assert shop.copy()["spec"]["replicas"] == 2
        shop.ask()
        eventually(lambda: shop.copy()["spec"]["replicas"] == 4, 60)
        eventually(shop.settled, 60)
        # Taken up where it ran, not made anew.
        assert shop.copy()["metadata"]["uid"] == uid
        shop.still(STILL)


def test_a_total_counts_the_hosts_share_and_is_shared_out(federation: Federation) -> None:
    shop = Shop(federation, "shared")
    with federation.controller():
        shop.ask({"kubefed.io/total-replicas": "7", "kubefed.io/clusters": "host,member1"})
        shop.kubectl("apply", "-f", "-", stdin=shop.deployment(2))
        eventually(lambda: shop.copy().get("spec", {}).get("replicas") == 5, 60)
        assert shop.source()["spec"]["replicas"] == 2
        assert shop.source()["metadata"]["generation"] == 1
        shop.kubectl("scale", "deployment", "web", "--replicas=4")
        eventually(lambda: shop.copy()["spec"]["replicas"] == 3, 60)
        shop.still(STILL)
        shop.ask({"kubefed.io/total-replicas": None})
        eventually(lambda: shop.copy()["spec"]["replicas"] == 4, 60)
        eventually(lambda: shop.host.get(RSP.path(shop.name, "web")) is None)
        shop.still(3)


def test_what_isnt_ours_is_left_alone(federation: Federation) -> None:
    shop = Shop(federation, "mixed")
    with federation.controller():
        shop.ask()
        federation.post("ConfigMap", "mixed", "hand", template={"data": {"of": "hand"}})
        shop.kubectl("create", "configmap", "hand", "--from-literal=of=plain")
        shop.kubectl("create", "configmap", "kept", "--from-literal=a=b", "-o", "yaml")
        eventually(lambda: shop.copy(CONFIG_MAP, "kept"))
        shop.kubectl("annotate", "configmap", "kept", f"{marks.FEDERATE}=false")
        kept = FEDERATED["configmap"].path("mixed", "kept")
        eventually(lambda: shop.host.get(kept) is None)
        assert shop.copy(CONFIG_MAP, "kept")["data"] == {"a": "b"}
        eventually(lambda: shop.events("AlreadyFederated"))
        hand = shop.host.get(FEDERATED["configmap"].path("mixed", "hand"))
        assert hand["spec"] == {"template": {"data": {"of": "hand"}}}
        assert not shop.copy(CONFIG_MAP, "hand")


def test_the_controller_takes_no_right_where_it_was_not_asked(federation: Federation) -> None:
    system = Shop(federation, "kube-system")
    config = federation.host.plane.directory / "controller.kubeconfig"

    def as_controller(*words: str) -> subprocess.CompletedProcess[str]:
        kubectl = federation.host.plane.binaries / "kubectl"
        return subprocess.run(
            [kubectl, f"--kubeconfig={config}", *words],
            capture_output=True,
            text=True,
            timeout=30,
        )

    Shop(federation, "unasked").host.call(
        "POST", NAMESPACE.path(), {"metadata": {"name": "unasked"}}
    )
    bind = ("create", "rolebinding", rights.ROLE, f"--clusterrole={rights.ROLE}")
    account = f"--serviceaccount={FEDERATION}:kubefed-controller"
    refused = as_controller(*bind, account, "-n", "unasked")
    assert "only in a namespace with the label" in refused.stderr
    assert "forbidden" in as_controller("get", "secrets", "-n", "unasked").stderr.lower()
    refused = as_controller(
        "create", "rolebinding", "x", f"--clusterrole={rights.ROLE}", account, "-n", "unasked"
    )
    assert refused.returncode != 0
    path = NAMESPACE.path(name="kube-system")
    federation.host.merge(path, {"metadata": {"labels": {marks.FEDERATE: "true"}}})
    try:
        refused = as_controller(*bind, account, "-n", "kube-system")
        assert "only in a namespace with the label" in refused.stderr
        with federation.controller():
            eventually(lambda: system.events("NotFederated", "default"), 60)
    finally:
        federation.host.merge(path, {"metadata": {"labels": {marks.FEDERATE: None}}})
