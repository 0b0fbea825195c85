import pytest
from federation_lab.cluster.kubelet.sandbox import (
    AddressPool,
    NoAddressError,
    interface,
    network_commands,
)


def test_a_freed_address_is_used_again_last() -> None:
    pool = AddressPool("10.1.0.0/29")
    assert pool.gateway == "10.1.0.1"
    first = pool.take()
    assert first == "10.1.0.2"
    pool.free(first)
    assert [pool.take() for _ in range(5)] == [
        "10.1.0.3",
        "10.1.0.4",
        "10.1.0.5",
        "10.1.0.6",
        "10.1.0.2",
    ]
    with pytest.raises(NoAddressError, match="all 5 addresses"):
        pool.take()


def test_a_wish_is_granted_when_free_and_of_the_range() -> None:
    pool = AddressPool("10.1.0.0/24")
    assert pool.take("10.1.0.77") == "10.1.0.77"
    assert pool.take("10.1.0.77") == "10.1.0.2"
    assert pool.take("192.0.2.1") == "10.1.0.3"


def test_known_pods_addresses_are_left_for_them() -> None:
    pool = AddressPool("10.1.0.0/24")
    pool.reserve(["10.1.0.5", "192.0.2.9"])
    assert pool.take() == "10.1.0.6"


def test_a_pod_is_routed_to_over_a_link_of_its_own() -> None:
    outside, inside = network_commands("uid", "10.1.0.2", "10.1.0.1", 42)
    assert f"link add name {interface('uid')} type veth peer name eth0 netns 42" in outside
    assert f"route replace 10.1.0.2/32 dev {interface('uid')}" in outside
    assert "route add default via 10.1.0.1" in inside
    assert len(interface("uid")) <= 15
