"""The mesh port as strangers, liars and the clumsy meet it."""

from __future__ import annotations

import datetime
import json
import ssl
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from federation_dns import keys, wire
from federation_dns.agent import members
from federation_dns.config import Config, Peers
from federation_dns.core import Core, Memory, Settings
from federation_dns.mesh import Mesh
from federation_dns.server import MeshServer
from federation_dns.wire import VoteMessage

from .conftest import ZONE, free_port


@dataclass
class Port:
    """One agent's mesh port, and everybody's keys."""

    folder: Path
    url: str
    core: Core
    server: MeshServer
    peers: Peers

    def context(self, who: str | None) -> ssl.SSLContext:
        pem = (self.folder / "a" / "agent.crt").read_text()
        own = None if who is None else self.folder / who / "agent.crt"
        return keys.client_context(pem, own, None if own is None else own.with_suffix(".key"))

    async def ask(self, who: str | None, path: str, body: bytes | None = None) -> tuple[int, str]:
        """One request with `who`'s certificate."""
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self.context(who)),
                timeout=aiohttp.ClientTimeout(total=10),
            ) as session,
            session.request("GET" if body is None else "POST", self.url + path, data=body) as got,
        ):
            return got.status, await got.text()


@pytest.fixture
async def port(tmp_path: Path) -> AsyncGenerator[Port]:
    now = datetime.datetime.now(datetime.UTC)
    for name in ("a", "b", "c", "stranger"):
        keys.generate(name, "127.0.0.1", tmp_path / name, now)
    number = free_port()
    entries = [
        {
            "region": name,
            "url": f"https://127.0.0.1:{number}",
            "certificate": (tmp_path / name / "agent.crt").read_text(),
            "address_ranges": ["10.0.0.0/8"],
        }
        for name in ("a", "b", "c")
    ]
    peers = Peers.model_validate({"version": 1, "entries": entries})
    config = Config.model_validate(
        {
            "region": "a",
            "zone": ZONE,
            "listen": {"address": "127.0.0.1", "port": number},
            "certificate": tmp_path / "a" / "agent.crt",
            "key": tmp_path / "a" / "agent.key",
            "peers": tmp_path / "peers.json",
            "state": tmp_path / "state",
        }
    )
    core = Core(
        Settings("a", ZONE, 15, config.holds), members(peers), 1, Memory(), time.monotonic()
    )
    mesh = Mesh(config, core, time.monotonic)
    server = MeshServer(config, core, mesh, time.monotonic, list[str])
    await server.set_peers(peers)
    yield Port(tmp_path, f"https://127.0.0.1:{number}", core, server, peers)
    await server.close()
    await mesh.close()


def vote(region: str, sequence: int = 1) -> bytes:
    return wire.dump_vote(VoteMessage(region=region, incarnation=1, sequence=sequence))


async def test_a_member_votes_and_is_answered(port: Port) -> None:
    status, answer = await port.ask("b", "/v1/votes", vote("b"))
    assert status == 200
    assert wire.parse_vote(answer.encode()).region == "a"
    assert wire.parse_vote(answer.encode()).ages["b"] is not None


async def test_a_member_speaks_only_for_itself(port: Port) -> None:
    status, answer = await port.ask("b", "/v1/votes", vote("c"))
    assert (status, answer) == (400, "b speaks for somebody else")
    assert port.core.vote(time.monotonic()).ages == {"b": None, "c": None}


async def test_the_verdict_is_for_anybody_and_nothing_else_is(port: Port) -> None:
    port.core.tick(time.monotonic(), 0)
    status, answer = await port.ask(None, "/v1/verdict")
    assert status == 200
    found: dict[str, Any] = json.loads(answer)
    assert found["region"] == "a"
    assert found["quorum"] is False
    assert set(found["regions"]) == {"a", "b", "c"}
    assert {"verdict", "withdrawn", "evicted", "since_s", "votes", "explain"} <= set(
        found["regions"]["b"]
    )
    for path in ("/v1/state", "/v1/zone", "/v1/peers"):
        assert (await port.ask(None, path))[0] == 403
    assert (await port.ask(None, "/v1/votes", vote("b")))[0] == 403


async def test_a_strangers_certificate_is_refused(port: Port) -> None:
    with pytest.raises(aiohttp.ClientError):
        await port.ask("stranger", "/v1/verdict")


async def test_a_member_that_left_is_refused_at_once_and_a_new_one_heard(port: Port) -> None:
    rest = port.peers.model_copy(update={"entries": port.peers.entries[:2]})
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=port.context("c"))
    ) as session:
        async with session.post(f"{port.url}/v1/votes", data=vote("c")) as got:
            assert got.status == 200
        await port.server.set_peers(rest)
        # The connection that is open is no way around the list.
        async with session.post(f"{port.url}/v1/votes", data=vote("c", 2)) as got:
            assert got.status == 403
    assert (await port.ask("b", "/v1/votes", vote("b")))[0] == 200
    await port.server.set_peers(port.peers)
    assert (await port.ask("c", "/v1/votes", vote("c", 3)))[0] == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"\x00" * 1000, 400), (b" " * (wire.MAX_VOTE + 1), 413)],
)
async def test_malformed_votes_are_refused(port: Port, body: bytes, status: int) -> None:
    assert (await port.ask("b", "/v1/votes", body))[0] == status
    assert (await port.ask("b", "/v1/votes", vote("b")))[0] == 200


async def test_a_clock_that_is_wrong_takes_no_vote_away(port: Port) -> None:
    """Certificates are pinned; their dates are not checked (see federation_dns.keys)."""
    old = datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC)
    path = keys.generate("c", "127.0.0.1", port.folder / "old", old)
    entries = [e.model_dump() for e in port.peers.entries]
    entries[2]["certificate"] = path.read_text()
    await port.server.set_peers(Peers.model_validate({"version": 1, "entries": entries}))
    assert (await port.ask("old", "/v1/votes", vote("c")))[0] == 200
    with pytest.raises(aiohttp.ClientError):
        await port.ask("c", "/v1/votes", vote("c", 2))


async def test_the_mesh_takes_only_the_pinned_server(port: Port) -> None:
    pem = (port.folder / "b" / "agent.crt").read_text()
    context = keys.client_context(pem, None, None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{port.url}/v1/verdict")
