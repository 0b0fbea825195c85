"""The service that gives the charm its hooks: what it asks, keeps and runs."""

from __future__ import annotations

import datetime
import http.server
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from federation_dns import keys, tell, told
from federation_dns.tell import Agent, Notes

NOW = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
WELL = {"quorum": True, "regions": {}}
LOST = {"quorum": True, "regions": {"napoli": {"verdict": "lost", "explain": "gone"}}}


class Answers(http.server.ThreadingHTTPServer):
    daemon_threads = True
    answer: bytes = json.dumps(WELL).encode()
    status = 200
    connections = 0
    # Each connection is served once, and then ended without a word.
    forgets = False


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def answers(self) -> Answers:
        return cast("Answers", self.server)

    def setup(self) -> None:
        super().setup()
        self.answers.connections += 1

    def do_GET(self) -> None:
        self.send_response(self.answers.status if self.path == "/v1/verdict" else 404)
        self.send_header("Content-Length", str(len(self.answers.answer)))
        self.end_headers()
        _ = self.wfile.write(self.answers.answer)
        self.close_connection = self.answers.forgets

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return keys.generate("catania", "127.0.0.1", tmp_path / "own", NOW)


@pytest.fixture
def server(certificate: Path) -> Iterator[Answers]:
    found = Answers(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("agent.key"))
    found.socket = context.wrap_socket(found.socket, server_side=True)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


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


class TestNotes:
    def test_they_outlive_a_restart(self, tmp_path: Path) -> None:
        notes = Notes(str(tmp_path))
        assert notes.asked() == ("", 0)
        assert notes.said() == (None, 0.0)
        notes.keep("napoli: lost (x)", 2)
        assert Notes(str(tmp_path)).asked() == ("napoli: lost (x)", 2)

    def test_what_is_damaged_is_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "asked").write_text("what")
        assert Notes(str(tmp_path)).asked() == ("", 0)

    def test_only_what_is_new_is_written(self, tmp_path: Path) -> None:
        notes = Notes(str(tmp_path))
        notes.keep("", 0)
        assert not list(tmp_path.iterdir())


class TestRun:
    def test_the_command(self) -> None:
        assert tell.command("federation-dns/0", "/var/charm/dispatch") == [
            "/usr/bin/juju-exec",
            "-u",
            "federation-dns/0",
            "JUJU_DISPATCH_PATH=hooks/verdict_changed /var/charm/dispatch",
        ]

    @pytest.mark.parametrize(
        ("argv", "why"),
        [
            (["true"], ""),
            (["sh", "-c", "echo first >&2; echo last >&2; exit 3"], "last"),
            (["false"], "exit code 1"),
            (["/none/juju-exec"], "No such file"),
        ],
    )
    def test_why_it_failed(self, argv: list[str], why: str) -> None:
        assert why in tell.run(argv)
        assert bool(tell.run(argv)) is bool(why)

    def test_its_time_is_limited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tell, "EXEC_S", 0.05)
        began = time.monotonic()
        assert tell.run(["sleep", "20"]).startswith("no end within")
        assert time.monotonic() - began < 10

    def test_it_is_in_no_hook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUJU_CONTEXT_ID", "x")
        assert tell.run(["sh", "-c", 'test -z "$JUJU_CONTEXT_ID" && test -n "$PATH"']) == ""


class Charm:
    """The charm, for which a shell notes that it was called."""

    def __init__(self, folder: Path, server: Answers, agent: Agent) -> None:
        self.server, self.agent = server, agent
        self.said, self.called = folder / "said", folder / "called"
        self.notes, self.teller = Notes(str(folder)), told.Teller()
        self.argv = [
            "sh",
            "-c",
            f"echo >> {self.called}; printf '%s' '{told.said(LOST)}' > {self.said}",
        ]

    def looks(self, monkeypatch: pytest.MonkeyPatch, seconds: int) -> int:
        now = 100.0

        def clock() -> float:
            return now

        monkeypatch.setattr(time, "monotonic", clock)
        for _ in range(seconds):
            now += 1.0
            tell.step(self.agent, self.notes, self.teller, self.argv)
        return len(self.called.read_text().splitlines()) if self.called.exists() else 0


class TestStep:
    @pytest.fixture
    def charm(self, tmp_path: Path, server: Answers, agent: Agent) -> Charm:
        (tmp_path / "tell").mkdir()
        return Charm(tmp_path / "tell", server, agent)

    def test_a_lost_region_is_told_once(
        self, charm: Charm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        charm.said.write_text("")
        assert charm.looks(monkeypatch, 5) == 0
        charm.server.answer = json.dumps(LOST).encode()
        assert charm.looks(monkeypatch, 10) == 1
        assert charm.said.read_text() == "napoli: lost (gone)"
        assert charm.notes.asked() == ("", 0)

    def test_a_start_is_believed_for_half_a_minute(
        self, charm: Charm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        charm.agent = Agent("127.0.0.1", 1, "/none")
        charm.said.write_text(told.STARTING)
        assert charm.looks(monkeypatch, 5) == 0
        monkeypatch.setattr(time, "time", lambda: charm.said.stat().st_mtime + 31)
        assert charm.looks(monkeypatch, 5) == 1


def test_it_imports_little() -> None:
    """It runs on every unit for ever: none of the agent's libraries."""
    code = (
        "import sys; before = set(sys.modules); import federation_dns.tell; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
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
    assert not heavy & set(done.stdout.split())
