"""What upstream's users suffered from sick members, on real API servers.

The numbers are issues of kubernetes-retired/kubefed; in memory the same rules are tested in
tests/unit/controller/test_rules.py.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from api_harness import admin
from controller_harness import (
    FEDERATED,
    FEDERATION,
    Federation,
    Wire,
    clusters,
    eventually,
)
from federation_lab.cluster.control_plane import ControlPlane
from federation_lab.cluster.pki import CertificateAuthority
from kubefed import errors, membership
from kubefed.api import (
    CONFIG_MAP,
    FEDERATED_SERVICE_STATUS,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    SERVICE,
)
from kubefed.controller import members

# A controller that is stopped amid the handshakes with a silent member leaves their sockets to the
# end of its process, which is not the end of the tests'.
_UNCLOSED = "ignore::pytest.PytestUnraisableExceptionWarning"
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings(_UNCLOSED)]
MEMBER2 = KUBEFED_CLUSTER.path(FEDERATION, "member2")
CONFIG = KUBEFED_CONFIG.path(FEDERATION, "kubefed")
# So that a lost member is lost within seconds.
QUICK = {"period": "1s", "timeout": "1s", "failureThreshold": 2, "successThreshold": 1}


@pytest.fixture
def quick(federation: Federation) -> Generator[None]:
    """Clusters are probed every second."""
    before = federation.host.get(CONFIG)["spec"]["clusterHealthCheck"]
    federation.host.merge(CONFIG, {"spec": {"clusterHealthCheck": QUICK}})
    yield
    federation.host.merge(CONFIG, {"spec": {"clusterHealthCheck": before}})


@pytest.fixture
def wire(federation: Federation) -> Generator[Wire]:
    """A way to member2 that can be frozen; who uses it puts its endpoint in."""
    made = Wire(federation.apis["member2"].plane)
    yield made
    endpoint = federation.apis["member2"].plane.endpoint
    annotations = {"kubefed.io/forget": None}
    federation.host.merge(
        MEMBER2, {"metadata": {"annotations": annotations}, "spec": {"apiEndpoint": endpoint}}
    )
    made.close()


def post(federation: Federation, namespace: str, name: str, *where: str) -> None:
    template = {"data": {"a": "b"}}
    federation.post("ConfigMap", namespace, name, template=template, placement=clusters(*where))


def offline(federation: Federation) -> str:
    conditions = federation.host.get(MEMBER2)["status"]["conditions"]
    return next((each["message"] for each in conditions if each["type"] == "Offline"), "")


def left_behind(federation: Federation) -> str:
    annotations = federation.host.get(MEMBER2)["metadata"].get("annotations") or {}
    return annotations.get("kubefed.io/left-behind", "")


def give_up_member2(plane: ControlPlane) -> membership.GivenUp:
    with admin(plane) as api:
        return membership.forget(api, cluster="member2", namespace=FEDERATION)


def test_a_member_that_is_gone_for_good_holds_no_deletion(
    federation: Federation, wire: Wire, quick: None
) -> None:
    """1254: the deletion waited for ever."""
    host, member1, member2 = (federation.apis[name] for name in ("host", "member1", "member2"))
    host.merge(MEMBER2, {"spec": {"apiEndpoint": wire.endpoint}})
    path, mine = CONFIG_MAP.path("given-up", "one"), FEDERATED["configmap"].path("given-up", "one")
    with federation.controller():
        federation.make_namespace("given-up")
        post(federation, "given-up", "one", "member1", "member2")
        eventually(lambda: member1.get(path) and member2.get(path), 20)
        eventually(lambda: federation.propagated("ConfigMap", "given-up", "one"))
        # Nobody gives up by mistake what answers.
        with pytest.raises(errors.AskOperator, match="it answered at"):
            give_up_member2(host.plane)
        wire.freeze()
        eventually(lambda: offline(federation), 20)
        host.call("DELETE", mine)
        eventually(lambda: member1.get(path) is None)
        time.sleep(1)
        assert host.get(mine)
        began = time.monotonic()
        assert give_up_member2(host.plane).waiting == ("ConfigMap given-up/one",)
        eventually(lambda: host.get(mine) is None, 30)
        assert time.monotonic() - began < 30
        eventually(lambda: "configmaps given-up/one" in offline(federation))
        assert member2.get(path)
        # And it is brought to its end when the member comes back after all.
        wire.thaw()
        eventually(lambda: member2.get(path) is None, 40)
        eventually(lambda: left_behind(federation) == "", 30)


def test_a_silent_member_delays_no_start(
    federation: Federation, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1459: a cache that was not there in time ended the process."""
    monkeypatch.setattr(members, "SYNC_SECONDS", 3.0)
    host, member1 = federation.host, federation.apis["member1"]
    host.merge(MEMBER2, {"spec": {"apiEndpoint": wire.endpoint}})
    with federation.controller():
        federation.make_namespace("started")
        eventually(lambda: federation.propagated("Namespace", "started", "started"), 20)
    wire.freeze()
    post(federation, "started", "one", "member1", "member2")
    with federation.controller_of_some() as running:
        eventually(lambda: member1.get(CONFIG_MAP.path("started", "one")), 8)
        # And it goes on when the silent one's time is over.
        time.sleep(members.SYNC_SECONDS + 1)
        post(federation, "started", "two", "member1", "member2")
        eventually(lambda: member1.get(CONFIG_MAP.path("started", "two")), 4)
        assert running.alive
        wire.thaw()
        eventually(lambda: federation.apis["member2"].get(CONFIG_MAP.path("started", "one")), 40)


def test_address_and_ca_are_read_anew_while_it_runs(
    federation: Federation, wire: Wire, tmp_path: Path
) -> None:
    """1132 and its like: every change needed a restart."""
    host, member2 = federation.host, federation.apis["member2"]
    entry = host.get(MEMBER2)["spec"]
    with federation.controller():
        federation.make_namespace("moved")
        eventually(lambda: federation.propagated("Namespace", "moved", "moved"), 20)
        # Another way to it.
        host.merge(MEMBER2, {"spec": {"apiEndpoint": wire.endpoint}})
        post(federation, "moved", "one", "member2")
        eventually(lambda: member2.get(CONFIG_MAP.path("moved", "one")), 10)
        # Another CA, which is the wrong one, and the right one again.
        wrong = base64.b64encode(CertificateAuthority(tmp_path, "wrong").pem.encode()).decode()
        host.merge(MEMBER2, {"spec": {"caBundle": wrong}})
        post(federation, "moved", "two", "member2")
        time.sleep(2)
        assert member2.get(CONFIG_MAP.path("moved", "two")) is None
        host.merge(MEMBER2, {"spec": {"caBundle": entry["caBundle"]}})
        eventually(lambda: member2.get(CONFIG_MAP.path("moved", "two")), 15)


def test_the_older_status_object_is_kept(federation: Federation) -> None:
    """The right to write it and its CRD's shape: what memory can't show."""
    host, member1 = federation.host, federation.apis["member1"]
    config = FEDERATED_TYPE_CONFIG.path(FEDERATION, "services")
    kind = FEDERATED_SERVICE_STATUS
    status_type: dict[str, Any] = {
        "group": kind.group,
        "version": kind.version,
        "kind": kind.kind,
        "pluralName": kind.plural,
        "scope": "Namespaced",
    }
    host.merge(config, {"spec": {"statusType": status_type, "statusCollection": "Enabled"}})
    try:
        with federation.controller():
            federation.make_namespace("gathered")
            template = {"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
            federation.post(
                "Service", "gathered", "web", template=template, placement=clusters("member1")
            )
            service = SERVICE.path("gathered", "web")
            eventually(lambda: member1.get(service), 20)
            ingress = [{"ip": "192.0.2.1"}]
            member1.merge(service + "/status", {"status": {"loadBalancer": {"ingress": ingress}}})

            def gathered() -> Any:
                found = host.get(kind.path("gathered", "web")) or {}
                return {
                    each["clusterName"]: each.get("status", {})
                    .get("loadBalancer", {})
                    .get("ingress")
                    for each in found.get("clusterStatus", [])
                }

            wanted = {"host": None, "member1": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}
            eventually(lambda: gathered() == wanted | {"member2": None}, 15)
            assert host.get(config)["status"]["statusController"] == "Running"
    finally:
        host.merge(config, {"spec": {"statusType": None, "statusCollection": None}})
