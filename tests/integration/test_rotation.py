"""Every credential is replaced while objects are made: none is lost, the old ones are refused."""

from __future__ import annotations

import base64
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.federation import CLUSTERS, SECRETS, Cluster, Federation, until

log = logging.getLogger(__name__)
HOST = "kubefed-host/leader"
MEMBER = "kubefed-member/leader"
DNS = "federation-dns/leader"
OBJECTS = "/apis/types.kubefed.io/v1beta1/namespaces/demo/federatedconfigmaps"
COPIES = "/api/v1/namespaces/demo/configmaps"
EVENTS = "/api/v1/namespaces/demo/events"
PERIOD = 0.3
REFUSED_SECONDS = 60.0
MESH_PORT = 8443


class Load(threading.Thread):
    """A user who makes objects without pause, and looks how long each takes to every member."""

    def __init__(self, federation: Federation):
        super().__init__(daemon=True)
        self.federation = federation
        self.made: dict[str, float] = {}
        self.took: dict[str, float] = {}
        self.enough = threading.Event()

    def run(self) -> None:
        host = self.federation.cluster(self.federation.host_region)
        number = 0
        while not self.enough.wait(PERIOD):
            name = f"rotation-{number}"
            answer = host.request("POST", OBJECTS, federated(name))
            if answer.is_success:
                self.made[name] = time.monotonic()
                number += 1
            self.look()

    def look(self) -> None:
        """Note which objects have come to every member."""
        members = [
            set(self.federation.cluster(region).names(COPIES))
            for region in self.federation.regions
        ]
        for name in set.intersection(*members) & (set(self.made) - set(self.took)):
            self.took[name] = time.monotonic() - self.made[name]


def federated(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "types.kubefed.io/v1beta1",
        "kind": "FederatedConfigMap",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {"template": {"data": {"a": "b"}}, "placement": {"clusterSelector": {}}},
    }


@pytest.fixture
def load(federation: Federation) -> Iterator[Load]:
    """Give the user at work; what was made is gone afterwards."""
    found = Load(federation)
    found.start()
    yield found
    found.enough.set()
    found.join(30)
    host = federation.cluster(federation.host_region)
    for name in found.made:
        host.delete(f"{OBJECTS}/{name}")
    until(
        lambda: (
            not any(
                name.startswith("rotation-")
                for region in federation.regions
                for name in federation.cluster(region).names(COPIES)
            )
        ),
        "what was made is gone from every member",
    )


class Old:
    """The credentials of before, and how to see that each is refused."""

    def __init__(self, federation: Federation):
        self.federation = federation
        self.refused: dict[str, Callable[[], bool]] = {}
        for region in federation.regions:
            self._of_member(region)
            self._of_agent(region)
        host = federation.host_region
        state = "/var/lib/kubefed-host"
        for path in ("/etc/kubefed/kubeconfig", f"{state}/token", f"{state}/status/kubeconfig"):
            self._token(f"kubefed-host's {path}", host, self._file(host, HOST, path))
        answer = federation.host.run(HOST, "get-kubeconfig", {"lifetime": "1h"})
        path = answer.results["kubeconfig"]
        self._token("a user's kubeconfig", host, self._file(host, HOST, path))

    def _file(self, region: str, unit: str, path: str) -> str:
        return self.federation.model(region).exec(f"cat {path}", unit=unit).stdout

    def _token(self, name: str, region: str, text: str) -> None:
        token = json.loads(text)["users"][0]["user"]["token"] if text[0] == "{" else text.strip()
        known = self.federation.cluster(region)
        cluster = Cluster(known.server, known.authority, token)
        assert cluster.request("GET", "/version").is_success, name
        self.refused[name] = lambda: cluster.request("GET", "/version").status_code == 401

    def _of_member(self, region: str) -> None:
        host = self.federation.cluster(self.federation.host_region)
        entry = host.get(f"{CLUSTERS}/{region}") or {}
        secret = host.get(f"{SECRETS}/{entry['spec']['secretRef']['name']}") or {}
        token = base64.b64decode(secret["data"]["token"]).decode()
        self._token(f"the federation's in {region}", region, token)
        own = self._file(region, MEMBER, "/var/lib/kubefed-member/token")
        self._token(f"kubefed-member's in {region}", region, own)

    def _of_agent(self, region: str) -> None:
        config = self._file(region, DNS, "/etc/federation-dns/kubeconfig")
        self._token(f"the agent's in {region}", region, config)
        address = self.federation.nameserver(region)
        zone, juju = self.federation.zone(), self.federation.model(region)
        # From the unit, since the key is good from the agent's address only.
        old = "/run/rotation-test.key"
        _ = juju.exec(f"install -m 600 /etc/bind/federation/tsig.key {old}", unit=DNS)

        def refused() -> bool:
            said = juju.exec(f"dig -k {old} @127.0.0.1 +tries=1 {zone} SOA || true", unit=DNS)
            return "status: NOTAUTH" in said.stdout

        assert not refused()
        self.refused[f"the name server's key in {region}"] = refused
        before = certificate(address)
        assert before == self._file(region, DNS, "/etc/federation-dns/agent.crt").strip()
        self.refused[f"the agent's certificate in {region}"] = lambda: (
            certificate(address) != before
        )


def certificate(address: str) -> str:
    """Give the certificate that an agent shows, whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, MESH_PORT), 3) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        return ssl.DER_cert_to_PEM_cert(wrapped.getpeercert(binary_form=True) or b"").strip()


def failures(federation: Federation) -> int:
    """Count what the controller said that it could not do."""
    events = (federation.cluster(federation.host_region).get(EVENTS) or {}).get("items") or []
    return sum(each.get("count") or 1 for each in events if each["type"] == "Warning")


def test_every_credential_is_replaced_under_load(federation: Federation, load: Load):
    old = Old(federation)
    before = failures(federation)
    until(lambda: len(load.took) >= 3, "objects come to every member")

    for region in federation.regions:
        juju = federation.model(region)
        assert juju.run(MEMBER, "rotate-token").results["rotated"] == federation.host_region
        assert juju.run(DNS, "rotate-credentials").results["rotated"].startswith("federation-dns/")
    done = federation.host.run(HOST, "rotate-tokens", {"kubeconfigs": True})
    assert int(done.results["kubeconfigs-ended"]) >= 1
    began = time.monotonic()
    seen: dict[str, float] = {}

    def all_refused() -> bool:
        for name, refused in old.refused.items():
            if name not in seen and refused():
                seen[name] = time.monotonic() - began
        return len(seen) == len(old.refused)

    try:
        until(all_refused, "every old credential is refused", seconds=REFUSED_SECONDS)
    finally:
        for name in old.refused:
            log.info("%s: refused %s s after the last action", name, seen.get(name, "not within"))
    federation.settle()
    load.enough.set()
    load.join(30)
    until(lambda: load.look() or set(load.took) == set(load.made), "all objects are everywhere")
    log.info("%d objects, the longest on its way %.1f s", len(load.took), max(load.took.values()))
    assert failures(federation) == before
