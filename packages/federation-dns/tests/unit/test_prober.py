"""The prober with real sockets on loopback."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from typing import Any

import pytest
from federation_dns import prober
from federation_dns.prober import Prober
from federation_dns.probes import Pace, Probes, Target
from federation_dns.zone import RegionState, Service


def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def target(name: str) -> Target:
    return Target("a", "shop", name, "127.0.0.1")


def targets(**ports: int) -> Probes:
    probes = Probes(Pace(interval=0.1, budget=1000, hold=0.3))
    services = tuple(
        Service("shop", name, ("127.0.0.1",), 1, probe=port) for name, port in ports.items()
    )
    probes.take(time.monotonic(), RegionState("a", 1, 1, services), lambda _r, _a: True)
    return probes


async def until(what: Any) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - plain numbers are waited for
            await asyncio.sleep(0.01)


async def test_who_listens_is_well_and_who_stops_fails() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    probes = targets(web=port, api=closed_port())
    made = Prober(probes, time.monotonic, 1.0)
    running = asyncio.create_task(made.run())
    await until(lambda: made.asked - made.missed >= 2)
    server.close()
    await server.wait_closed()
    await until(lambda: probes.failing(time.monotonic()))
    assert probes.failing(time.monotonic()) == {target("web")}  # api never answered: unknown
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_this_machine_lacks_is_no_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lacking(_address: str, _port: int, _timeout: float) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(prober, "connect", lacking)
    probes = targets(web=closed_port())
    made = Prober(probes, time.monotonic, 1.0)
    running = asyncio.create_task(made.run())
    await until(lambda: made.asked >= 2)
    assert made.missed == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_silence_ends_in_time() -> None:
    with socket.socket() as full:  # never accepts; its queue is full after one
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.socket() as first, socket.socket() as second:
            for each in (first, second):
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", port))
            with pytest.raises(TimeoutError):
                await prober.connect("127.0.0.1", port, 0.2)
