"""What a disk does not take is tried again until it does, whether or not anything else happens."""

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


async def test_what_a_full_disk_did_not_take_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = keys.generate("a", "127.0.0.1", tmp_path, datetime.now(UTC))
    entry = {"region": "a", "url": "https://127.0.0.1:1", "certificate": certificate.read_text()}
    (tmp_path / "peers.json").write_text(json.dumps({"version": 1, "entries": [entry]}))
    body = {
        "region": "a",
        "zone": "federation.example",
        "listen": {"address": "127.0.0.1", "port": 1},
        "certificate": str(certificate),
        "key": str(certificate.with_suffix(".key")),
        "peers": str(tmp_path / "peers.json"),
        "state": str(tmp_path / "state"),
        "probe-interval": 0.1,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(body))
    agent = agents.Agent(read_config(tmp_path / "config.yaml"))
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
