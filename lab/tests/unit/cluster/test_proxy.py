import shutil
import subprocess
from typing import Any

import pytest
from federation_lab.cluster.proxy import arp
from federation_lab.cluster.proxy.addresses import Range, assign
from federation_lab.cluster.proxy.rules import (
    Front,
    Target,
    balancer_addresses,
    fronts,
    ruleset,
)

GIVEN = Range.of_subnet("10.213.1.10")


def service(name: str, ip: str = "", created: str = "1", **spec: Any) -> dict[str, Any]:
    ingress = [{"ip": ip}] if ip else []
    return {
        "metadata": {
            "name": name,
            "namespace": "demo",
            "uid": name,
            "creationTimestamp": created,
        },
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.152.183.7",
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
            **spec,
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def endpoint_slice(*endpoints: dict[str, Any], name: str = "web") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "demo", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": list(endpoints),
    }


def test_ready_endpoints_are_the_targets() -> None:
    slices = [
        endpoint_slice(endpoint("10.1.0.3", ready=True), endpoint("10.1.0.2")),
        endpoint_slice(endpoint("10.1.0.4", ready=False, serving=True, terminating=True)),
        endpoint_slice(endpoint("10.1.0.5", ready=True), name="other"),
    ]
    (front,) = fronts([service("web", "10.213.1.200")], slices)
    assert front.name == "demo/web:http"
    assert front.addresses == ("10.152.183.7", "10.213.1.200")
    assert front.targets == (Target("10.1.0.2", 8080), Target("10.1.0.3", 8080))
    assert front.node_port == 30080


def test_those_that_end_are_better_than_none() -> None:
    slices = [
        endpoint_slice(
            endpoint("10.1.0.4", ready=False, serving=True, terminating=True),
            endpoint("10.1.0.5", ready=False, serving=False, terminating=True),
        )
    ]
    (front,) = fronts([service("web")], slices)
    assert front.targets == (Target("10.1.0.4", 8080),)


def test_services_without_an_address_have_no_front() -> None:
    assert fronts([service("a", clusterIP="None"), service("b", type="ExternalName")], []) == []


def test_an_address_that_stayed_in_the_status_of_a_cluster_service_is_no_balancer() -> None:
    stale = service("web", "10.213.1.200", type="ClusterIP")
    assert balancer_addresses([stale]) == ()


def rules(*found: Front, balancers: tuple[str, ...] = ()) -> str:
    return ruleset(found, node="10.213.1.10", pod_cidr="10.1.0.0/24", balancers=balancers)


WEB = Front(
    name="demo/web:http",
    protocol="tcp",
    port=80,
    addresses=("10.152.183.7", "10.213.1.200"),
    targets=(Target("10.1.0.2", 8080), Target("10.1.0.3", 8080)),
    node_port=30080,
)
STICKY = Front("demo/s:", "udp", 53, ("10.152.183.8",), (Target("10.1.0.2", 53),), sticky=True)
EMPTY = Front("demo/e:", "tcp", 80, ("10.152.183.9", "10.213.1.201"), ())


def test_the_ruleset_spreads_over_targets_and_refuses_without() -> None:
    text = rules(WEB, STICKY, EMPTY, balancers=("10.213.1.200", "10.213.1.201"))
    assert (
        "dnat ip to numgen random mod 2 map { 0 : 10.1.0.2 . 8080, 1 : 10.1.0.3 . 8080 }" in text
    )
    assert "meta l4proto udp dnat ip to jhash ip saddr mod 1" in text
    assert "10.213.1.200 . tcp . 80 : goto service_" in text
    assert "10.213.1.10 . tcp . 30080 : goto service_" in text
    assert "elements = { 10.152.183.9 . tcp . 80, 10.213.1.201 . tcp . 80 }" in text
    assert text.startswith("add table ip federation_lab\ndelete table ip federation_lab\n")


def test_only_redirected_connections_to_oneself_are_masqueraded() -> None:
    assert "ct status dnat ip saddr . ip daddr @loops masquerade" in rules(WEB)


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
@pytest.mark.parametrize("found", [(), (WEB,), (WEB, STICKY, EMPTY)])
def test_nft_understands_the_ruleset(found: tuple[Front, ...]) -> None:
    text = rules(*found, balancers=("10.213.1.200",) if found else ())
    command = ["unshare", "--net", "nft", "--file", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip("network namespaces need root")
    assert done.returncode == 0, done.stderr


def test_who_has_an_address_keeps_it() -> None:
    found = assign(
        [service("new", created="0"), service("old", "10.213.1.200", created="9")], GIVEN
    )
    assert found.addresses == {("demo", "old"): "10.213.1.200", ("demo", "new"): "10.213.1.201"}


def test_a_wish_is_granted_when_free_and_of_the_range() -> None:
    found = assign(
        [
            service("a", "10.213.1.205"),
            service("b", loadBalancerIP="10.213.1.210"),
            service("c", loadBalancerIP="10.213.1.205"),
            service("d", loadBalancerIP="192.0.2.1"),
            service("e", loadBalancerIP="nonsense"),
        ],
        GIVEN,
    )
    assert found.addresses == {("demo", "a"): "10.213.1.205", ("demo", "b"): "10.213.1.210"}
    assert "belongs to another" in found.refused["demo", "c"]
    assert "not of this region's" in found.refused["demo", "d"]
    assert "not an address" in found.refused["demo", "e"]


def test_a_service_that_is_a_balancer_no_longer_is_released() -> None:
    found = assign([service("web", "10.213.1.200", type="ClusterIP")], GIVEN)
    assert (found.addresses, found.release) == ({}, (("demo", "web"),))


def test_other_classes_are_not_ours() -> None:
    assert assign([service("web", loadBalancerClass="x")], GIVEN).addresses == {}


def test_a_full_range_is_said() -> None:
    services = [service(f"s{n}", created=f"{n:03}") for n in range(52)]
    found = assign(services, GIVEN)
    assert len(found.addresses) == 51
    assert "are taken" in found.refused["demo", "s51"]


def test_two_with_the_same_address_after_a_restore_are_parted() -> None:
    found = assign([service("a", "10.213.1.200"), service("b", "10.213.1.200")], GIVEN)
    assert sorted(found.addresses.values()) == ["10.213.1.200", "10.213.1.201"]


def test_an_arp_announcement() -> None:
    frame = arp.announcement(bytes.fromhex("020000000001"), "10.213.1.200")
    assert frame.hex() == (
        "ffffffffffff020000000001080600010800060400010200000000010ad501c80000000000000ad501c8"
    )
