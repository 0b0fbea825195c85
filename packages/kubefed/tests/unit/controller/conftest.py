"""Makes the helpers beside the tests importable, and gives a federation in memory."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

# With importlib's import mode nothing else makes them importable.
sys.path.insert(0, str(Path(__file__).parent))

from fake_federation import World


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Callable[..., World]]:
    """Make a federation in memory; its controller runs once `start` is called."""
    made: list[World] = []

    def make(*members: str, **options: str) -> World:
        made.append(World(monkeypatch, members or ("one", "two"), **options))
        return made[-1]

    yield make
    for each in made:
        await each.stop()
    servers = [server for each in made for server in (each.host, *each.members.values())]
    # What a former leader wrote too late must lose against what was written since.
    assert [line for server in servers for line in server.unconditional] == []
