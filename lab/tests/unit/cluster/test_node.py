import datetime

from federation_lab.cluster.kubelet.node import NodeFacts, node_object, node_status

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
FACTS = NodeFacts(
    name="palermo-0",
    address="10.213.1.10",
    pod_cidr="10.1.0.0/24",
    labels={"topology.kubernetes.io/region": "palermo"},
    taints=(("a", "b", "NoSchedule"),),
)


def test_the_node_says_where_it_is() -> None:
    node = node_object(FACTS)
    assert node["metadata"]["labels"]["topology.kubernetes.io/region"] == "palermo"
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "palermo-0"
    assert node["spec"]["taints"] == [{"key": "a", "value": "b", "effect": "NoSchedule"}]


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    first = node_status(FACTS, {}, NOW)
    again = node_status(FACTS, first, NOW + datetime.timedelta(minutes=1))
    assert {c["lastTransitionTime"] for c in again["conditions"]} == {"2026-11-23T00:00:00Z"}
    assert {c["lastHeartbeatTime"] for c in again["conditions"]} == {"2026-11-23T00:01:00Z"}
    assert {c["type"]: c["status"] for c in again["conditions"]}["Ready"] == "True"
    assert first["capacity"] == first["allocatable"]
