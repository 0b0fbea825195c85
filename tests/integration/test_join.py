"""Joining on demand: safe to repeat; a failure names its cause and leaves nothing half made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import jubilant
import pytest

from tests.integration.federation import NAMESPACE, Federation

LIMIT = 30.0
TOKEN_CACHE_SECONDS = 11.0


@pytest.fixture(scope="module")
def taken_out(federation: Federation) -> Iterator[str]:
    """Give the last region, of a federation that joins on demand only; it is joined after."""
    region = federation.regions[-1]
    federation.host.config("kubefed-host", {"auto-join": False})
    federation.settle(federation.host_region)
    yield region
    federation.host.config("kubefed-host", reset="auto-join")
    federation.settle(federation.host_region, region)
    _ = federation.join(region)
    _ = federation.wait_ready(region)


@pytest.fixture
def out(federation: Federation, taken_out: str) -> str:
    """Give that region, out of the federation whatever the test before did to it."""
    if federation.in_host(taken_out):
        federation.unjoin(taken_out)
    assert federation.in_host(taken_out) == []
    return taken_out


def refusal(federation: Federation, region: str) -> str:
    """Try to join, and give why it failed: in time, and with nothing left behind."""
    began = time.monotonic()
    with pytest.raises(jubilant.TaskError) as failed:
        federation.join(region)
    assert time.monotonic() - began < LIMIT
    assert federation.in_host(region) == []
    return failed.value.task.message


def test_a_wrong_name_is_answered_with_those_there_are(federation: Federation):
    reason = refusal(federation, "neapel")
    assert "no related member is called 'neapel'" in reason
    for region in federation.regions:
        assert region in reason


def test_an_unreachable_endpoint(federation: Federation, out: str):
    address = urlsplit(federation.cluster(out).server).hostname
    # A port where nothing listens, and an address of a network that is nowhere (RFC 5737).
    for endpoint in (f"https://{address}:1", "https://192.0.2.1:6443"):
        with federation.configured(out, "kubefed-member", api_endpoint=endpoint):
            reason = refusal(federation, out)
            assert endpoint in reason
            assert "not joined" in reason
            assert "reach" in reason or "refused" in reason or "no answer" in reason


def test_a_wrong_authority(federation: Federation, out: str):
    server = federation.cluster(out).server
    other = federation.cluster(federation.regions[1]).authority
    with federation.configured(out, "kubefed-member", api_endpoint=server, ca_certificate=other):
        reason = refusal(federation, out)
    assert server in reason
    assert "certificate" in reason


def test_a_revoked_token(federation: Federation, out: str):
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{out}-{federation.host_region}"
    federation.cluster(out).delete(account)
    # An API server believes a token that it has just seen for up to ten seconds more.
    time.sleep(TOKEN_CACHE_SECONDS)
    reason = refusal(federation, out)
    assert "token" in reason
    # The mend that the reason names.
    federation.model(out).run("kubefed-member/leader", "rotate-token")
    assert federation.join(out).results["state"] == "joined"


def test_joining_twice_is_harmless(federation: Federation, out: str):
    assert federation.join(out).results["state"] == "joined"
    assert federation.join(out).results["state"] == "already joined"
    assert federation.in_host(out) == [f"KubeFedCluster {out}", f"Secret {out}-token"]
    federation.wait_ready(out)
    federation.settle(federation.host_region, out)


def test_what_was_taken_out_stays_out_until_it_is_asked_back(federation: Federation, out: str):
    federation.host.config("kubefed-host", reset="auto-join")
    federation.settle(federation.host_region)
    assert federation.in_host(out) == []
    assert out not in federation.listed()
