"""The agent on the unit's machine: what it says, and what it is told."""

import subprocess
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dns_settings import Place
from federation_interfaces.testing import CERTIFICATES
from local_agent import LocalAgent, UnitError
from unit_world import PLACE, SETTINGS


@pytest.fixture
def agent(tmp_path: Path) -> LocalAgent:
    return LocalAgent(Path("/charm/venv/bin/python"), tmp_path, user="root")


class TestVerdict:
    def answer(self, monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception) -> list[str]:
        asked: list[str] = []

        class Opener:
            def open(self, url: str, timeout: float) -> BytesIO:
                assert timeout == 1.0
                asked.append(url)
                if isinstance(answer, Exception):
                    raise answer
                return BytesIO(answer)

        monkeypatch.setattr(urllib.request, "build_opener", lambda *_: Opener())
        monkeypatch.setattr(LocalAgent, "certificate", lambda _: CERTIFICATES[0])
        return asked

    def test_the_agent_is_asked(self, agent: LocalAgent, monkeypatch: pytest.MonkeyPatch):
        asked = self.answer(monkeypatch, b'{"quorum": true}')
        assert agent.verdict(SETTINGS, PLACE) == {"quorum": True}
        six = Place("catania", "fd00::12", "fd00::12", "fd00::/64")
        assert agent.verdict(SETTINGS, six) == {"quorum": True}
        assert asked == ["https://10.0.0.12:8443/v1/verdict", "https://[fd00::12]:8443/v1/verdict"]

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (urllib.error.URLError("refused"), "refused"),
            (TimeoutError("timed out"), "timed out"),
            (b"<html>", "Expecting value"),
        ],
    )
    def test_no_answer(
        self,
        agent: LocalAgent,
        monkeypatch: pytest.MonkeyPatch,
        answer: bytes | Exception,
        why: str,
    ):
        _ = self.answer(monkeypatch, answer)
        with pytest.raises(UnitError, match=f"the agent does not answer: {why}"):
            _ = agent.verdict(SETTINGS, PLACE)


class TestForceRegion:
    def run(self, agent: LocalAgent, monkeypatch: pytest.MonkeyPatch, answer: Any) -> str:
        def ran(command: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
            assert given["user"] == "root"
            assert given["timeout"] > 0
            if isinstance(answer, Exception):
                raise answer
            return subprocess.CompletedProcess(command, 0, stdout=" ".join(command[3:8]))

        monkeypatch.setattr(subprocess, "run", ran)
        return agent.force_region("palermo", "lost", who="rosa", until="1h")

    def test_the_agents_command_says_it(self, agent: LocalAgent, monkeypatch: pytest.MonkeyPatch):
        assert self.run(agent, monkeypatch, None) == "force-region palermo lost --who rosa"

    @pytest.mark.parametrize(
        ("error", "why"),
        [
            (subprocess.CalledProcessError(2, "x", stderr="no region palermo"), "no region"),
            (subprocess.CalledProcessError(2, "x", stderr=""), "exit status 2"),
            (subprocess.TimeoutExpired("x", 20), "timed out"),
            (FileNotFoundError("python"), "python"),
        ],
    )
    def test_failures(
        self, agent: LocalAgent, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
    ):
        with pytest.raises(UnitError, match=why):
            _ = self.run(agent, monkeypatch, error)


class TestCommand:
    def ran(self, monkeypatch: pytest.MonkeyPatch, code: int, out: str) -> list[list[str]]:
        found: list[list[str]] = []

        def run(command: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
            found.append(command)
            assert given["timeout"] > 0
            if code:
                raise subprocess.CalledProcessError(code, command, out, "refused")
            return subprocess.CompletedProcess(command, 0, stdout=out)

        monkeypatch.setattr(subprocess, "run", run)
        return found

    def test_the_agents_command_is_asked_in_json(
        self, agent: LocalAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        ran = self.ran(monkeypatch, 0, '{"region": "palermo"}')
        assert agent.cordon("palermo", who="rosa", until="1h") == {"region": "palermo"}
        assert ran[0][1:] == [
            *("-m", "federation_dns.cli", "cordon", "palermo", "--who", "rosa", "--until", "1h"),
            *("--format", "json", "--config", str(tmp_path / "agent.yaml")),
        ]
        assert agent.uncordon("palermo") == {"region": "palermo"}

    def test_what_differs_is_an_answer(self, agent: LocalAgent, monkeypatch: pytest.MonkeyPatch):
        _ = self.ran(monkeypatch, 1, '{"agrees": false}')
        assert agent.verify() == {"agrees": False}
        with pytest.raises(UnitError, match="refused"):
            _ = agent.uncordon("palermo")
        _ = self.ran(monkeypatch, 2, "")
        with pytest.raises(UnitError, match="refused"):
            _ = agent.verify()
