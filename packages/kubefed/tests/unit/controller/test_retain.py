"""What an update leaves as the member has it."""

from __future__ import annotations

import copy
from typing import Any

from kubefed.api import CONFIG_MAP, DEPLOYMENT, SERVICE, SERVICE_ACCOUNT
from kubefed.controller.members import slimmer
from kubefed.controller.retain import needs_whole_object, retain

MEMBER_META = {
    "name": "web",
    "resourceVersion": "7",
    "annotations": {"of": "the member"},
    "finalizers": ["keep"],
    "labels": {"not": "kept"},
}


def test_version_annotations_and_finalizers_always_stay() -> None:
    desired = {"metadata": {"name": "web", "labels": {"a": "b"}}, "data": {"x": "y"}}
    untouched = copy.deepcopy(desired)
    kept = retain(desired, {"metadata": MEMBER_META}, CONFIG_MAP, replicas=False)
    assert kept["metadata"] == {
        "name": "web",
        "labels": {"a": "b"},
        "resourceVersion": "7",
        "annotations": {"of": "the member"},
        "finalizers": ["keep"],
    }
    assert kept["data"] == {"x": "y"}
    assert desired == untouched


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": spec}


def test_a_service_keeps_its_addresses_and_ports() -> None:
    ports = [
        {"name": "http", "port": 80},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "moved", "port": 82},
    ]
    current = service(
        clusterIP="10.1.1.1",
        clusterIPs=["10.1.1.1"],
        healthCheckNodePort=31000,
        selector={"not": "kept"},
        ports=[
            {"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
            {"name": "moved", "port": 81, "protocol": "TCP", "nodePort": 30081},
        ],
    )
    kept = retain(service(ports=ports), current, SERVICE, replicas=False)["spec"]
    assert kept["clusterIP"] == "10.1.1.1"
    assert kept["clusterIPs"] == ["10.1.1.1"]
    assert kept["healthCheckNodePort"] == 31000
    assert [port.get("nodePort") for port in kept["ports"]] == [30080, 30053, None]
    assert "selector" not in kept


def test_no_health_check_port_is_no_port() -> None:
    current = service(healthCheckNodePort=0)
    assert retain(service(), current, SERVICE, replicas=False)["spec"] == {}


def test_an_account_keeps_its_secrets_unless_the_template_names_some() -> None:
    current = {"metadata": {}, "secrets": [{"name": "made-here"}]}
    assert retain({"metadata": {}}, current, SERVICE_ACCOUNT, replicas=False)["secrets"] == [
        {"name": "made-here"}
    ]
    own = {"metadata": {}, "secrets": [{"name": "own"}]}
    assert retain(own, current, SERVICE_ACCOUNT, replicas=False)["secrets"] == own["secrets"]


def test_replicas_stay_only_where_asked() -> None:
    desired = {"metadata": {}, "spec": {"replicas": 2, "paused": True}}
    current = {"metadata": {}, "spec": {"replicas": 5}}
    assert retain(desired, current, DEPLOYMENT, replicas=True)["spec"] == {
        "replicas": 5,
        "paused": True,
    }
    assert retain(desired, current, DEPLOYMENT, replicas=False)["spec"]["replicas"] == 2


def test_metadata_is_enough_for_those_that_retain_nothing_else() -> None:
    assert not needs_whole_object(CONFIG_MAP)
    assert all(map(needs_whole_object, (SERVICE, SERVICE_ACCOUNT, DEPLOYMENT)))


def test_of_a_workload_only_what_is_needed_is_kept() -> None:
    pod = {"spec": {"containers": [{"image": "web"}]}}
    obj = {
        "metadata": MEMBER_META,
        "spec": {"replicas": 3, "selector": {"matchLabels": {}}, "template": pod},
        "status": {"readyReplicas": 3, "conditions": [{"type": "Available"}]},
    }
    kept = slimmer(DEPLOYMENT, whole_status=False)(obj)
    assert kept["spec"] == {"replicas": 3, "selector": {"matchLabels": {}}}
    assert kept["status"] == {"readyReplicas": 3}
    assert slimmer(DEPLOYMENT, whole_status=True)(obj)["status"] == obj["status"]
    ports = [{"port": 80}]
    service = {"metadata": MEMBER_META, "spec": {"ports": ports, "selector": {"app": "web"}}}
    assert slimmer(SERVICE, whole_status=False)(service)["spec"] == {"ports": ports}
