"""The hook tools' two programs say the same to the agent and print the same answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from federation_lab import hooktool
from federation_lab.juju import toolclient


def receive(connection: socket.socket) -> list[bytes]:
    def number() -> int:
        return int.from_bytes(exactly(4), "big")

    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = connection.recv(size - len(data))
            if not more:
                raise OSError("cut off")
            data += more
        return data

    return [exactly(number()) for _ in range(number())]


@dataclass
class Agent:
    """Takes one call after the other, and answers each with the same."""

    path: Path
    answer: bytes = b""
    asked: list[list[bytes]] = field(default_factory=list[list[bytes]])

    def serve(self) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            listener.listen()
            self.ready.set()
            while True:
                connection, _ = listener.accept()
                with connection:
                    words = receive(connection)
                    if words == [b"end"]:
                        return
                    self.asked.append(words)
                    connection.sendall(self.answer)

    def __post_init__(self) -> None:
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        assert self.ready.wait(5)

    def stop(self) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(toolclient.frames([b"end"]))
        self.thread.join(5)


@pytest.fixture
def agent(tmp_path: Path) -> Generator[Agent]:
    found = Agent(tmp_path / "s")
    yield found
    found.stop()


Tool = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(params=["python", "built"])
def tool(request: pytest.FixtureRequest, tmp_path: Path, agent: Agent) -> Tool:
    program = tmp_path / "relation-set"
    if request.param == "python":
        text = Path(toolclient.__file__).read_text()
        program.write_text(f"#!{sys.executable} -IS\n{text}")
        program.chmod(0o755)
    else:
        built = hooktool.program()
        if built is None:
            pytest.skip("hooktool isn't built; `make tools` does it")
        program.symlink_to(built)

    def run(
        *arguments: str, text: bytes = b"", context: str = "unit-1"
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {"JUJU_AGENT_SOCKET_ADDRESS": str(agent.path), "JUJU_CONTEXT_ID": context}
        return subprocess.run(
            [program, *arguments],
            input=text,
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
            timeout=20,
        )

    return run


def test_a_call_and_its_answer(agent: Agent, tool: Tool) -> None:
    agent.answer = toolclient.frames([b"3", b"out \xc3\xa8\n", b"err\n"])
    done = tool("a b", "--key", "")
    assert agent.asked == [[b"unit-1", b"4", b"relation-set", b"a b", b"--key", b""]]
    assert (done.returncode, done.stdout, done.stderr) == (3, "out è\n".encode(), b"err\n")


def test_a_long_answer(agent: Agent, tool: Tool) -> None:
    agent.answer = toolclient.frames([b"0", b"x" * 3_000_000, b""])
    assert len(tool().stdout) == 3_000_000


def test_files_are_read_where_the_tool_runs(agent: Agent, tool: Tool, tmp_path: Path) -> None:
    agent.answer = toolclient.frames([b"0", b"", b""])
    secret = tmp_path / "secret"
    secret.write_bytes(b"of the file")
    tool("--file", "-", text=b"of stdin")
    tool(f"--file={secret}")
    tool(f"key#file={secret}")
    assert [asked[-2:] for asked in agent.asked] == [
        [b"-", b"of stdin"],
        [str(secret).encode(), b"of the file"],
        [str(secret).encode(), b"of the file"],
    ]


@pytest.mark.parametrize("answer", [b"", toolclient.frames([b"0", b"out", b"err"])[:-1]])
def test_an_answer_that_is_cut_off_is_a_failure(agent: Agent, tool: Tool, answer: bytes) -> None:
    agent.answer = answer
    done = tool()
    assert done.returncode == 1
    assert done.stderr == b"ERROR the agent closed the connection\n"


def test_what_cannot_be_read_is_named(tool: Tool, tmp_path: Path) -> None:
    done = tool("--file", str(tmp_path / "none"))
    assert done.returncode == 1
    assert b"none" in done.stderr


def test_outside_a_hook_it_is_refused(tool: Tool) -> None:
    done = tool(context="")
    assert done.returncode == 1
    assert done.stderr == b"ERROR relation-set runs in a hook only: JUJU_CONTEXT_ID is not set\n"
