"""juju-exec in a machine: what it understands, and its way through a unit's agent."""

import asyncio
import json
import shlex
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from federation_lab import tasks
from federation_lab.juju import execclient, localexec, toolclient
from federation_lab.juju.api_tasks import Tasks
from federation_lab.juju.controller import Controller
from federation_lab.juju.execclient import Call, UsageError
from federation_lab.juju.provider import Machine, Provider
from federation_lab.juju.state import Model, Task, Unit

from .world import OFFERING, START, World

DISPATCH = """#!/bin/sh
echo $JUJU_DISPATCH_PATH $JUJU_UNIT_NAME $JUJU_CONTEXT_ID
"""
LINE = "JUJU_DISPATCH_PATH=hooks/woken /charm/dispatch"


class TestCommandLine:
    def parse(self, *words: str, agents: tuple[str, ...] = ("machine-0", "unit-web-0")) -> Call:
        return execclient.parse(list(words), list(agents), "")

    @pytest.mark.parametrize(
        "words",
        [
            ("-u", "web/0", LINE),
            ("-u", "unit-web-0", LINE),
            ("-u=web/0", "--", LINE),
            ("web/0", LINE),
            ("web/0", *LINE.split()),
            ("-u", "web/0", *LINE.split()),
            (LINE,),
            ("-u", "", LINE),
        ],
    )
    def test_a_unit_and_a_line(self, words: tuple[str, ...]) -> None:
        assert self.parse(*words) == Call("web/0", LINE)

    def test_words_stay_words(self) -> None:
        assert self.parse("web/0", "echo", "a b") == Call("web/0", "echo 'a b'")
        assert self.parse("-u", "my-app/12", "--", "-x") == Call("my-app/12", "-x")

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            ((), "missing unit-name"),
            (("web/0",), "missing commands"),
            (("-u",), "needs an argument: -u"),
            (("-u", "web"), '"web" is not a valid tag'),
            (("-z", "web/0"), "not defined: -z"),
            (("--no-context", "true"), "--no-context is not there in the lab"),
            (("-r", "1", "web/0", "true"), "-r is not there in the lab"),
        ],
    )
    def test_what_is_refused(self, words: tuple[str, ...], why: str) -> None:
        with pytest.raises(UsageError, match=why):
            self.parse(*words)

    def test_the_only_unit_is_meant_where_there_is_one(self) -> None:
        with pytest.raises(UsageError, match='"true" is not a valid tag'):
            self.parse("true", agents=("unit-web-0", "unit-db-0"))

    def test_not_within_a_hook(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        monkeypatch.setenv("JUJU_CONTEXT_ID", "web/0-start-1")
        assert execclient.main(["-u", "web/0", LINE]) == 2
        assert capsys.readouterr().err == (
            'ERROR juju-exec cannot be called from within a hook, have context "web/0-start-1"\n'
        )

    def test_a_unit_of_another_machine(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
    ) -> None:
        monkeypatch.delenv("JUJU_CONTEXT_ID", raising=False)
        monkeypatch.setattr(execclient, "AGENTS", str(tmp_path))
        assert execclient.main(["-u", "web/0", "true"]) == 1
        assert capsys.readouterr().err == 'ERROR unit "web/0" not found on this machine\n'
        (tmp_path / "unit-web-0").mkdir()
        assert execclient.main(["-u", "web/0", "true"]) == 1
        assert "dialing juju run socket" in capsys.readouterr().err


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.to_thread(threading.Event().wait, 0.01)


class Plain:
    """A machine that is this one."""

    address, alive, root = "10.0.0.10", True, Path("/")

    def command(
        self, argv: list[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> list[str]:
        return ["/bin/sh", "-c", f"cd {cwd} && exec {shlex.join(argv)}"]


class Place:
    """Gives that machine."""

    def __init__(self, folder: Path) -> None:
        self.data_dir, self.run_dir = f"{folder}/j", f"{folder}/run"
        self.trees, self.trees_dir = folder / "trees", "/opt/charms"

    def find(self, region: str, name: str) -> Machine:
        return Plain()


@pytest.fixture
def folder() -> Iterator[Path]:
    # A socket's address is short.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


class TestThroughTheAgent:
    @pytest.fixture(autouse=True)
    async def running(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        monkeypatch.delenv("JUJU_CONTEXT_ID", raising=False)
        monkeypatch.setattr(execclient, "AGENTS", f"{folder}/j/agents")
        world = World()
        [self.unit] = world.deploy(world.here, OFFERING)
        world.settle()
        self.unit.local.last_update_status = START
        self.model = world.here
        self.agent = folder / "j/agents/unit-provider-0"
        self.controller = controller = Controller(
            folder / "juju", cast("Provider", Place(folder)), lambda: START
        )
        controller.state.models[self.model.uuid] = self.model
        charm = self.agent / "charm"
        charm.mkdir(parents=True)
        (charm / "dispatch").write_text(DISPATCH)
        (charm / "dispatch").chmod(0o755)
        (self.agent / ".lab-charm").write_text(OFFERING.sha256)

        async def tree(*_: object) -> Path:
            return folder

        monkeypatch.setattr(controller.trees, "get", tree)
        work = asyncio.create_task(controller.run())
        # Before any hook of this controller: the machine was found, that is enough.
        await until((self.agent / "agent.socket").exists)
        yield
        await tasks.end([work])

    async def ask(self, line: str) -> tuple[int, str, str]:
        socket = f"{self.agent}/agent.socket"
        code, out, err = await asyncio.to_thread(execclient.ask, socket, line)
        return code, out.decode(), err.decode()

    def hooks(self) -> list[dict[str, Any]]:
        text = (self.controller.store.folder / "hooks.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    async def test_the_command_has_a_context_of_the_unit(self) -> None:
        line = f"JUJU_DISPATCH_PATH=hooks/woken {self.agent}/charm/dispatch"
        code, out, err = await self.ask(f"{line}; pwd; echo no >&2; exit 3")
        assert (code, err) == (3, "no\n")
        first, second = out.splitlines()
        assert first.startswith("hooks/woken provider/0 provider/0-juju-exec-")
        assert second == f"{self.agent}/charm"

    async def test_it_is_recorded_as_a_hook_and_not_as_an_operation(self) -> None:
        _ = await self.ask("exit 3")
        # The machine was booted, so it started first.
        found = [(each["hook"], each["exit"]) for each in self.hooks()]
        assert found == [("start", 0), ("juju-exec", 3)]
        assert self.unit.error is None
        assert self.model.tasks == {}
        assert Tasks(self.controller).api_operations(self.model.name) == {}

    async def test_one_after_the_other(self) -> None:
        log = self.agent / "log"
        line = f"echo in >> {log}; sleep 0.05; echo out >> {log}"
        _ = await asyncio.gather(self.ask(line), self.ask(line))
        assert log.read_text().split() == ["in", "out", "in", "out"]

    async def test_it_waits_for_no_place(self) -> None:
        async with self.controller.slots.place(), self.controller.slots.place():
            async with asyncio.timeout(5):
                assert (await self.ask("true"))[0] == 0

    async def test_who_goes_away_before_is_not_served(self) -> None:
        lock = self.controller.machine_lock(self.model, self.unit.machine)
        async with lock:
            _, writer = await asyncio.open_unix_connection(f"{self.agent}/agent.socket")
            mark = self.agent / "mark"
            words = [b"", b"2", b"juju-exec", f"touch {mark}".encode()]
            writer.write(toolclient.frames(words))
            await until(lambda: self.model.tasks)
            writer.close()
            await until(lambda: not self.model.tasks)
        assert (await self.ask("true"))[0] == 0
        assert not mark.exists()

    async def test_a_unit_that_is_gone(self) -> None:
        lock = self.controller.machine_lock(self.model, self.unit.machine)
        async with lock:
            asked = asyncio.create_task(self.ask("true"))
            await until(lambda: self.model.tasks)
            self.model.applications["provider"].units.clear()
            self.controller.touch()
            async with asyncio.timeout(5):
                assert await asked == (1, "", "ERROR the unit is gone\n")


def test_a_new_controller_forgets_what_nobody_waits_for() -> None:
    world = World()
    [unit] = world.deploy(world.here, OFFERING)
    add(world.here, unit, operation="")
    kept = add(world.here, unit, operation="1")
    localexec.drop_orphans(world.here)
    assert list(world.here.tasks.values()) == [kept]


def add(model: Model, unit: Unit, *, operation: str) -> Task:
    task = Task(id="", operation=operation, unit="", action="juju-exec", enqueued=START)
    return localexec.add(model, unit, "true", task)
