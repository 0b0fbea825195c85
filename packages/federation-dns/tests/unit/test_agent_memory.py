"""The agent around its core: what a disk does not take is tried again; what is wrong is told."""

from __future__ import annotations

import asyncio
import errno
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from federation_dns import agent as agents
from federation_dns import disk, keys
from federation_dns.config import read_config


def agent_of_a(folder: Path, **more: str) -> agents.Agent:
    certificate = keys.generate("a", "127.0.0.1", folder, datetime.now(UTC))
    entry = {"region": "a", "url": "https://127.0.0.1:1", "certificate": certificate.read_text()}
    (folder / "peers.json").write_text(json.dumps({"version": 1, "entries": [entry]}))
    body = {
        "region": "a",
        "zone": "federation.example",
        "listen": {"address": "127.0.0.1", "port": 1},
        "certificate": str(certificate),
        "key": str(certificate.with_suffix(".key")),
        "peers": str(folder / "peers.json"),
        "state": str(folder / "state"),
        "probe-interval": 0.1,
        **more,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(body))
    return agents.Agent(read_config(folder / "config.yaml"))


async def test_what_a_full_disk_did_not_take_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agent_of_a(tmp_path)
    tries, done = 0, asyncio.Event()
    loop = asyncio.get_running_loop()
    real = disk.save_memory

    def full_twice(*given: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*given)
        loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(disk, "save_memory", full_twice)
    monkeypatch.setattr(agents, "_DISK_SECONDS", 0.01)
    agent._save.set()  # pyright: ignore[reportPrivateUsage]
    work = asyncio.create_task(agent._remember())  # pyright: ignore[reportPrivateUsage]
    try:
        async with asyncio.timeout(5):
            await done.wait()
        assert tries == 3
    finally:
        work.cancel()
        _ = await asyncio.gather(work, return_exceptions=True)


async def test_a_cluster_that_is_not_read_is_told_with_what_else_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agent_of_a(tmp_path, kubeconfig=str(tmp_path / "kubeconfig"))
    assert agent.wrong() == []
    assert agent.watcher is not None
    monkeypatch.setattr(agent.watcher, "wrong", lambda: ["a: the agent cannot read services"])
    assert agent.wrong() == ["a: the agent cannot read services"]
