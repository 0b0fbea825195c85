"""A fourth region: added to the running federation by a few commands, and taken away again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.federation import Federation, until

NEW = "siracusa"
WEB = "web.demo.svc"
DEPLOYMENTS = "/apis/apps/v1/namespaces/demo/deployments"


@pytest.fixture(scope="module", autouse=True)
def siracusa(federation: Federation, overlay_of: Callable[[str, str], Path]) -> Iterator[None]:
    """Deploy, consume, integrate; whatever a test leaves of it goes at the end."""
    federation.add(NEW, overlay_of(NEW, federation.regions[1]))
    yield
    if NEW in federation.models():
        federation.model(NEW).destroy_model(NEW, force=True, no_wait=True)
    # A forced end leaves the consumed offer behind, and the next run could not consume it.
    if f"{NEW}-member" in federation.host.status().app_endpoints:
        federation.host.cli("remove-saas", f"{NEW}-member", "--force")


def ready_replicas(federation: Federation, region: str) -> dict[str, int]:
    found = federation.cluster(region).get(DEPLOYMENTS) or {}
    return {
        item["metadata"]["name"]: item["status"].get("readyReplicas", 0)
        for item in found.get("items") or []
    }


def leave(federation: Federation) -> None:
    """End the relation, as the first step of the documented order."""
    federation.host.remove_relation("kubefed-host", f"{NEW}-member")
    until(lambda: federation.in_host(NEW) == [], "the host cluster holds nothing of it")
    federation.settle(federation.host_region, NEW)


def test_it_becomes_ready(federation: Federation):
    federation.settle(NEW)
    federation.wait_ready(NEW)
    federation.settle()
    names = " ".join(sorted([*federation.regions, NEW]))
    message = federation.host.status().apps["kubefed-host"].app_status.message
    assert message == f"{len(federation.regions) + 1} clusters joined: {names}"


def test_every_name_server_answers_with_its_address(federation: Federation):
    for region in (*federation.regions, NEW):
        until(
            lambda region=region: len(federation.answers(region, WEB)) == 4,
            f"the server of {region} answers with four addresses",
        )
    own = federation.answers(NEW, f"{WEB}.{NEW}")
    assert len(own) == 1
    assert own < federation.answers(federation.regions[0], WEB)


def test_the_replicas_spread_over_four(federation: Federation):
    """Six of `web` over four regions: at least one in each, two at most."""
    regions = (*federation.regions, NEW)

    def spread() -> list[int]:
        return sorted(ready_replicas(federation, region)["web"] for region in regions)

    until(lambda: spread() == [1, 1, 2, 2], "6 ready replicas over 4 regions")


def test_it_leaves_and_its_workloads_stay(federation: Federation):
    before = ready_replicas(federation, NEW)
    leave(federation)
    assert ready_replicas(federation, NEW) == before
    until(
        lambda: sum(ready_replicas(federation, r)["web"] for r in federation.regions) == 6,
        "the six replicas are in the regions that stayed",
    )


def test_it_returns_and_leaves_with_its_workloads(federation: Federation):
    federation.host.integrate("kubefed-host:members", f"{NEW}-member:federation")
    federation.wait_ready(NEW)
    federation.settle(federation.host_region, NEW)
    federation.model(NEW).config("kubefed-member", {"workloads-on-leave": "delete"})
    federation.settle(NEW)
    leave(federation)
    until(lambda: ready_replicas(federation, NEW) == {}, "its workloads are deleted")
    for region in federation.regions:
        until(
            lambda region=region: len(federation.answers(region, WEB)) == 3,
            f"the server of {region} answers with three addresses",
        )


def test_nothing_of_it_stays(federation: Federation):
    juju = federation.host
    juju.cli("remove-saas", f"{NEW}-member")
    federation.model(NEW).cli(
        "remove-offer", f"admin/{NEW}.{NEW}-member", "--yes", include_model=False
    )
    federation.model(NEW).destroy_model(NEW)
    assert NEW not in federation.models()
    federation.settle()
    status = juju.status()
    assert f"{NEW}-member" not in status.app_endpoints
    count = len(federation.regions)
    assert status.apps["kubefed-host"].app_status.message.startswith(f"{count} clusters joined")
    for region in federation.regions:
        until(
            lambda region=region: electorate(federation, region) == sorted(federation.regions),
            f"{region}'s agent votes without it",
        )
        zone = federation.model(region).run("federation-dns/leader", "show-zone").results["zone"]
        assert NEW not in zone


def electorate(federation: Federation, region: str) -> list[str]:
    task = federation.model(region).run("federation-dns/leader", "show-verdict")
    return json.loads(task.results["verdict"])["electorate"]
