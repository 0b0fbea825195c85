"""Crowds at the mesh port: real agents, whose votes go on meanwhile."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from federation_dns import door, keys

from .conftest import Region, eventually

NAMES = ("catania", "napoli", "palermo")
MOST_MB = 20
CROWD = 1000
SECONDS = 6.0


def members_of(folder: Path) -> list[Region]:
    """Three agents with neither cluster nor name server, which all count as regions."""
    made = [Region(n, folder / n, i, role="witness") for i, n in enumerate(NAMES, 1)]
    body = {"version": 1, "entries": [r.entry() | {"role": "region"} for r in made]}
    for region in made:
        (region.folder / "peers.json").write_text(json.dumps(body))
        region.write_config()
    return made


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Generator[list[Region]]:
    made = members_of(tmp_path_factory.mktemp("door"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        for region in made:
            region.start_agent()
        eventually(lambda: well(made), 60, "all hear all")
        yield made
    finally:
        for region in made:
            region.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def well(made: list[Region]) -> bool:
    with contextlib.suppress(OSError):
        return all(
            finding["verdict"] == "healthy"
            for region in made
            for finding in region.verdict()["regions"].values()
        )
    return False


def metrics(region: Region) -> dict[str, float]:
    url = f"http://127.0.0.1:{region.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    found = re.findall(r"^(\S+) ([0-9.e+-]+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def resident(region: Region) -> float:
    """MB."""
    return metrics(region)["process_resident_memory_bytes"] / 1e6


def heard(region: Region) -> float:
    """The oldest word of a peer, in seconds."""
    found = metrics(region)
    return max(v for k, v in found.items() if k.startswith("federation_dns_region_heard_seconds"))


class Crowd:
    """Clients with addresses of their own, 100 an address, who come again when shown out."""

    def __init__(self, port: int, greet: Callable[[socket.socket], socket.socket]):
        self._port = port
        self._greet = greet
        self.inside: list[socket.socket] = []
        self.out = 0

    def come(self, number: int) -> None:
        one = socket.socket()
        one.settimeout(2)
        try:
            one.bind((f"127.1.0.{1 + number % (CROWD // 100)}", 0))
            one.connect(("127.0.0.1", self._port))
            self.inside.append(self._greet(one))
        except OSError:
            self.out += 1
            one.close()

    def trickle(self) -> None:
        for one in list(self.inside):
            try:
                one.send(b"G")
            except OSError:
                self.inside.remove(one)
                one.close()

    def leave(self) -> None:
        for one in self.inside:
            one.close()


def silent(one: socket.socket) -> socket.socket:
    return one


def half(one: socket.socket) -> socket.socket:
    """The first bytes of a TLS hello."""
    one.send(bytes.fromhex("160301020001"))
    return one


def in_tls(one: socket.socket) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(one)


@pytest.mark.parametrize("greet", [silent, half, in_tls])
def test_a_crowd_neither_fills_the_memory_nor_delays_votes(
    agents: list[Region], greet: Callable[[socket.socket], socket.socket]
) -> None:
    target = agents[0]
    before, most, oldest = resident(target), 0.0, 0.0
    changes = metrics(target)["federation_dns_verdict_changes_total"]
    crowd = Crowd(target.mesh_port, greet)
    ends = time.monotonic() + SECONDS
    number = 0
    try:
        while time.monotonic() < ends or number < CROWD:
            for _ in range(50):
                crowd.come(number)
                number += 1
            crowd.trickle()
            most = max(most, resident(target))
            oldest = max(oldest, *(heard(region) for region in agents))
            time.sleep(0.1)
    finally:
        crowd.leave()
    assert most - before <= MOST_MB
    assert oldest < 1.5  # 0.2 s is the probe interval here, 2 s the hold
    assert metrics(target)["federation_dns_verdict_changes_total"] == changes
    refused = {k: v for k, v in metrics(target).items() if "mesh_refused" in k}
    assert sum(refused.values()) >= CROWD - door.STRANGERS * SECONDS


def test_who_says_nothing_is_shown_out_in_time(agents: list[Region]) -> None:
    for greet in (silent, half, in_tls):
        one = greet(socket.create_connection(("127.0.0.1", agents[0].mesh_port), timeout=5))
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while one.recv(1000):
                pass
        one.close()
        assert time.monotonic() - began < door.HEAD_SECONDS + 2.5


def test_a_head_that_trickles_is_cut_off(agents: list[Region]) -> None:
    one = in_tls(socket.create_connection(("127.0.0.1", agents[0].mesh_port), timeout=5))
    one.settimeout(0.2)
    began = time.monotonic()
    try:
        for byte in b"GET /v1/verdict HTTP/1.1\r\n" * 10:
            one.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                if not one.recv(100):
                    break
    except OSError:
        pass
    finally:
        one.close()
    assert time.monotonic() - began < door.HEAD_SECONDS + 2.5


def test_tls_1_2_and_plain_http_are_refused(agents: list[Region]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", agents[0].mesh_port), timeout=5) as one,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(one)
    with socket.create_connection(("127.0.0.1", agents[0].mesh_port), timeout=5) as one:
        one.send(b"GET /v1/verdict HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not one.recv(1000).startswith(b"HTTP")


def test_a_kept_connection_is_paced(agents: list[Region]) -> None:
    """Whoever asks the verdict in a loop gets ten a second, and all of them right."""
    certificate = agents[0].certificate.read_text()
    context = keys.client_context(certificate, None, None)
    plain = socket.create_connection(("127.0.0.1", agents[0].mesh_port), timeout=5)
    with context.wrap_socket(plain) as one:
        began = time.monotonic()
        for _ in range(5):
            one.sendall(b"GET /v1/verdict HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(65536).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began >= 4 * door.PACE_SECONDS
