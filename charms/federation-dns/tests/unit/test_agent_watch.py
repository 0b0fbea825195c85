"""The program that has the status follow the agent: what it asks, and what it imports."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import agent_watch
import pytest
from agent_watch import Agent
from federation_dns import keys, told
from federation_interfaces import follower_tests

NOW = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
WELL = {"quorum": True, "regions": {}}
LOST = {"quorum": True, "regions": {"napoli": {"verdict": "lost", "explain": "gone"}}}


class Answers(follower_tests.Answers):
    answer: bytes = json.dumps(WELL).encode()
    status = 200


class Handler(follower_tests.Handler):
    @property
    def answers(self) -> Answers:
        return cast("Answers", self.server)

    def answer(self) -> None:
        self.send_response(self.answers.status if self.path == "/v1/verdict" else 404)
        self.send_header("Content-Length", str(len(self.answers.answer)))
        self.end_headers()
        _ = self.wfile.write(self.answers.answer)
        self.close_connection = self.answers.forgets


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return keys.generate("catania", "127.0.0.1", tmp_path / "own", NOW)


@pytest.fixture
def server(certificate: Path) -> Iterator[Answers]:
    found = Answers(("127.0.0.1", 0), Handler)
    with follower_tests.answering(found, certificate, certificate.with_name("agent.key")):
        yield found


@pytest.fixture
def agent(server: Answers, certificate: Path) -> Iterator[Agent]:
    found = Agent("127.0.0.1", server.server_port, str(certificate))
    yield found
    found.close()


class TestAgent:
    def test_it_is_asked_over_one_connection(self, server: Answers, agent: Agent) -> None:
        assert agent.ask() == WELL
        server.answer = json.dumps(LOST).encode()
        assert agent.ask() == LOST
        assert server.connections == 1

    def test_a_connection_that_ended_is_no_silence(self, server: Answers, agent: Agent) -> None:
        server.forgets = True
        assert [agent.ask() for _ in range(3)] == [WELL] * 3

    @pytest.mark.parametrize("answer", [b"<html>", b""])
    def test_an_answer_that_is_none(self, server: Answers, agent: Agent, answer: bytes) -> None:
        server.answer = answer
        assert agent.ask() is None

    def test_a_long_answer(self, server: Answers, agent: Agent) -> None:
        server.answer = json.dumps(WELL | {"notes": ["x" * 200_000]}).encode()
        assert (agent.ask() or {})["regions"] == {}

    def test_one_that_is_refused(self, server: Answers, agent: Agent) -> None:
        server.status = 503
        assert agent.ask() is None

    def test_another_certificate_is_not_believed(self, server: Answers, tmp_path: Path) -> None:
        other = keys.generate("catania", "127.0.0.1", tmp_path / "other", NOW)
        agent = Agent("127.0.0.1", server.server_port, str(other))
        assert agent.ask() is None

    def test_nobody_is_there(self, certificate: Path, tmp_path: Path) -> None:
        assert Agent("127.0.0.1", 1, str(certificate)).ask() is None
        assert Agent("127.0.0.1", 1, str(tmp_path / "none")).ask() is None


class TestLook:
    def test_a_lost_region(self, server: Answers, agent: Agent) -> None:
        assert agent.look("", 0.0) == ""
        server.answer = json.dumps(LOST).encode()
        assert agent.look("", 0.0) == "napoli: lost (gone)"

    def test_a_start_is_believed_for_half_a_minute(self) -> None:
        agent = Agent("127.0.0.1", 1, "/none")
        assert agent.look(None, 0.0) == told.SILENT
        assert agent.look(told.STARTING, time.time() - 1) == told.STARTING
        assert agent.look(told.STARTING, time.time() - 31) == told.SILENT


def test_it_imports_little() -> None:
    """It runs on every unit for ever: none of the agent's libraries."""
    heavy = {
        "aiohttp",
        "http",
        "email",
        "asyncio",
        "pydantic",
        "cryptography",
        "dns",
        "yaml",
        "typer",
        "logging",
    }
    assert not heavy & follower_tests.imported_by(agent_watch)
