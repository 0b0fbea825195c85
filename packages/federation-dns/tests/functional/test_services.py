"""Services' verdicts between real agents over the real mesh; only the connections are made up."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from federation_dns import keys, prober
from federation_dns.agent import Agent
from federation_dns.config import read_config
from federation_dns.zone import Service

from .conftest import free_port

NAMES = ("catania", "napoli", "palermo")
WEB = "web.shop.svc.federation.example"


def configure(folder: Path) -> dict[str, Path]:
    ports = {name: free_port() for name in NAMES}
    now = datetime.datetime.now(datetime.UTC)
    entries: list[dict[str, object]] = []
    for number, name in enumerate(NAMES):
        (folder / name).mkdir()
        certificate = keys.generate(name, "127.0.0.1", folder / name, now)
        entries.append(
            {
                "region": name,
                "url": f"https://127.0.0.1:{ports[name]}",
                "certificate": certificate.read_text(),
                "address_ranges": [f"10.{number}.0.0/16"],
            }
        )
    for name in NAMES:
        home = folder / name
        (home / "peers.json").write_text(json.dumps({"version": 1, "entries": entries}))
        body = {
            "region": name,
            "zone": "federation.example",
            "listen": {"address": "127.0.0.1", "port": ports[name]},
            "certificate": str(home / "agent.crt"),
            "key": str(home / "agent.key"),
            "peers": str(home / "peers.json"),
            "state": str(home / "state"),
            "probe-interval": 0.4,
            "withdraw-after": 4,
            "return-after": 3,
            "service-probe-interval": 0.5,
        }
        (home / "config.yaml").write_text(yaml.safe_dump(body))
    return {name: folder / name / "config.yaml" for name in NAMES}


async def until(what: Callable[[], bool], text: str) -> None:
    for _ in range(1200):
        if what():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within a minute: {text}")


async def test_an_address_that_answers_nobody_leaves_its_service_and_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: set[str] = set()

    async def connect(address: str, _port: int, _timeout: float) -> None:
        if address in broken:
            raise ConnectionRefusedError

    monkeypatch.setattr(prober, "connect", connect)
    agents = {n: Agent(read_config(path)) for n, path in configure(tmp_path).items()}
    running: list[asyncio.Task[None]] = []
    for number, (name, agent) in enumerate(agents.items()):
        await agent.start()
        running.append(asyncio.create_task(agent._work()))  # pyright: ignore[reportPrivateUsage]
        services = [
            Service("shop", s, (f"10.{number}.0.{i}",), 1, probe=80)
            for i, s in enumerate(("web", "api"), 1)
        ]
        assert agent.core.take_own(services), name

    def answer(*numbers: int) -> bool:
        wanted = tuple(f"10.{n}.0.1" for n in numbers)
        found = [a.core.wanted.records.get((WEB, "A")) for a in agents.values()]
        return all(r is not None and r.values == wanted for r in found)

    try:
        await until(lambda: answer(0, 1, 2), "all answer with all")
        await until(lambda: all(a.prober.asked > 30 for a in agents.values()), "all are probed")
        broken.add("10.1.0.1")
        await until(lambda: answer(0, 2), "the address is out everywhere")
        core = agents["palermo"].core
        assert core.wanted.records["api.shop.svc.federation.example", "A"].values == (
            "10.0.0.2",
            "10.1.0.2",
            "10.2.0.2",
        )
        assert not core.judgement.findings["napoli"].withdrawn
        broken.clear()
        await until(lambda: answer(0, 1, 2), "it answers again and is back")
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for agent in agents.values():
            await agent.close()
