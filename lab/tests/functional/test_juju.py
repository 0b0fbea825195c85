"""The lab's Juju as jubilant sees it: two models, a relation across them, secrets, faults."""

import json
import os
import shlex
import signal
import sys
import sysconfig
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jubilant
import pytest
from federation_lab.juju import client
from federation_lab.machines import Machines

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

LAB = Path(sys.prefix) / "bin" / "lab"
_SOURCES = Path(__file__).parent / "juju_charms"
_DISPATCH = """#!/bin/sh
exec env PYTHONPATH={site} {python} ./src/charm.py
"""
_FILES = {
    "provider": {
        "metadata.yaml": """
name: provider
provides:
  api: {interface: token}
peers:
  friends: {interface: friends}
""",
        "config.yaml": """
options:
  level: {type: int, default: 1, description: A number.}
""",
        "actions.yaml": """
rotate:
  description: Changes the token.
  params: {to: {type: string}}
  required: [to]
  additionalProperties: false
greet:
  description: Says hello.
  params: {name: {type: string, default: you}}
  additionalProperties: false
""",
    },
    "consumer": {
        "metadata.yaml": """
name: consumer
requires:
  api: {interface: token, limit: 1}
""",
        "actions.yaml": """
share-back:
  description: Tries to grant a secret of its own.
  additionalProperties: false
""",
    },
}


def pack(name: str, folder: Path, python: str) -> Path:
    """Packs one charm.

    Args:
        name: ``provider`` or ``consumer``.
        folder: Where the packed charm goes.
        python: The interpreter that its hooks use.
    """
    path = folder / f"{name}.charm"
    dispatch = zipfile.ZipInfo("dispatch")
    dispatch.external_attr = 0o100755 << 16
    text = _DISPATCH.format(site=sysconfig.get_paths()["purelib"], python=python)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(dispatch, text)
        archive.writestr("src/charm.py", (_SOURCES / f"{name}.py").read_text())
        for file, body in _FILES[name].items():
            archive.writestr(file, body)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_HOME", str(folder))
        patch.setenv("LAB_ID", os.environ.get("LAB_ID", "9"))
        machines = Machines(folder)
        machines.destroy_all()
        yield folder
        client.stop(folder)
        machines.destroy_all()


def in_model(name: str) -> jubilant.Juju:
    return jubilant.Juju(cli_binary=LAB, model=name, wait_timeout=120)


def wait(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.2)


def settled(status: jubilant.Status) -> bool:
    return jubilant.all_active(status) and jubilant.all_agents_idle(status)


def message(juju: jubilant.Juju, unit: str) -> str:
    app = unit.partition("/")[0]
    return juju.status().apps[app].units[unit].workload_status.message


@pytest.fixture(scope="module")
def models(home: Path) -> tuple[jubilant.Juju, jubilant.Juju]:
    charms = {name: pack(name, home, sys.executable) for name in ("provider", "consumer")}
    offering, consuming = in_model(""), in_model("")
    offering.model = consuming.model = None
    offering.add_model("catania")
    consuming.add_model("palermo")
    offering.deploy(charms["provider"], config={"level": 3}, num_units=2)
    consuming.deploy(charms["consumer"], "reader")
    offering.offer("provider", endpoint="api", name="catania-api")
    consuming.consume("catania.catania-api", owner="admin")
    consuming.integrate("reader", "catania-api")
    for juju in (offering, consuming):
        juju.wait(settled, error=jubilant.any_error)
    return offering, consuming


def test_secret_reaches_the_consumer(models: tuple[jubilant.Juju, jubilant.Juju]) -> None:
    offering, consuming = models
    assert message(consuming, "reader/0") == "token first"
    status = offering.status()
    assert status.apps["provider"].units["provider/0"].open_ports == ["8080/tcp"]
    assert status.apps["provider"].version == "1.2.3"
    assert status.offers["catania-api"].total_connected_count == 1
    related = status.apps["provider"].relations["api"][0].related_app
    assert related.startswith("remote-")
    assert len(related) == len("remote-") + 32
    unit = consuming.show_unit("reader/0")
    relation = next(r for r in unit.relation_info if r.endpoint == "api")
    assert relation.cross_model
    assert json.loads(relation.app_data["seen"])["app"] == related
    assert list(relation.related_units) == ["catania-api/0", "catania-api/1"]
    [secret] = offering.secrets()
    assert secret.label == "token"
    assert offering.show_secret(secret.uri, reveal=True).content == {"token": "first"}


def test_new_revision_is_told(models: tuple[jubilant.Juju, jubilant.Juju]) -> None:
    offering, consuming = models
    task = offering.run("provider/leader", "rotate", {"to": "second"})
    assert task.results == {"token": {"length": "6"}}
    wait(lambda: message(consuming, "reader/0") == "token second")
    # Nobody reads the first revision any more, so its owner is asked to remove it.
    uri = offering.secrets()[0].uri

    def kept() -> list[int]:
        return [r.revision for r in offering.show_secret(uri, revisions=True).revisions or []]

    wait(lambda: kept() == [2])


def test_only_the_offering_side_grants(models: tuple[jubilant.Juju, jubilant.Juju]) -> None:
    _, consuming = models
    with pytest.raises(jubilant.TaskError) as caught:
        consuming.run("reader/0", "share-back")
    assert "cross model relation" in caught.value.task.message


def test_actions(models: tuple[jubilant.Juju, jubilant.Juju]) -> None:
    offering, _ = models
    task = offering.run("provider/1", "greet", {"name": "ada"})
    assert task.results == {"greeting": "hello ada"}
    assert task.log[0].endswith("greeting")
    with pytest.raises(jubilant.TaskError) as caught:
        offering.run("provider/1", "greet", {"name": ""})
    assert caught.value.task.message == "nobody to greet"
    with pytest.raises(ValueError, match="not found"):
        offering.run("provider/1", "nothing")
    assert offering.exec("hostname", unit="provider/0").stdout.strip() == "catania-0"
    with pytest.raises(jubilant.TaskError):
        offering.exec("exit 3", unit="provider/0")


def test_juju_exec_in_a_machine(models: tuple[jubilant.Juju, jubilant.Juju], home: Path) -> None:
    """A command of the machine's own gets a context of the unit, and no hook may ask for one."""
    offering, _ = models
    line = "JUJU_DISPATCH_PATH=hooks/woken sh -c 'echo $JUJU_DISPATCH_PATH $JUJU_UNIT_NAME'"

    def count() -> int:
        hooks = (home / "juju" / "hooks.jsonl").read_text().splitlines()
        return [json.loads(hook)["hook"] for hook in hooks].count("juju-exec")

    before = count()
    said = offering.ssh("provider/0", f"juju-exec -u provider/0 {shlex.quote(line)}")
    assert said.strip() == "hooks/woken provider/0"
    assert offering.ssh("provider/0", "juju-exec provider/0 exit 3; echo $?").strip() == "3"
    said = offering.ssh("provider/0", "juju-exec -u reader/0 true 2>&1; true")
    assert said.strip() == 'ERROR unit "reader/0" not found on this machine'
    assert count() == before + 2
    with pytest.raises(jubilant.TaskError) as caught:
        offering.exec("juju-exec provider/0 true", unit="provider/0")
    assert "cannot be called from within a hook" in caught.value.task.stderr


def test_ssh_and_scp_are_at_home_as_jujus_are(
    models: tuple[jubilant.Juju, jubilant.Juju], tmp_path: Path
) -> None:
    offering, _ = models
    there = tmp_path / "there"
    there.write_text("over\n")
    offering.scp(there, "provider/0:")
    assert offering.ssh("provider/leader", "pwd; sudo -n cat there") == "/home/ubuntu\nover\n"
    offering.scp("provider/0:there", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "over\n"
    # It is the machine's own home: no other sees it, nor does the host.
    assert offering.ssh("provider/1", "ls") == ""
    assert not Path("/home/ubuntu/there").exists()


def test_refusals(models: tuple[jubilant.Juju, jubilant.Juju]) -> None:
    offering, consuming = models

    def refused(juju: jubilant.Juju, *argv: str) -> str:
        with pytest.raises(jubilant.CLIError) as caught:
            juju.cli(*argv)
        return str(caught.value.stderr)

    assert 'unknown option "nix"' in refused(offering, "config", "provider", "nix=1")
    assert "expected int" in refused(offering, "config", "provider", "level=high")
    assert "already exists" in refused(consuming, "integrate", "reader", "catania-api")
    assert "used by 1 offer" in refused(offering, "remove-application", "provider")
    assert "offer has 1 relation" in refused(offering, "remove-offer", "catania-api")
    assert 'application "none" not found' in refused(offering, "config", "none")
    assert "saas application" in refused(consuming, "consume", "catania.catania-api", "reader")


def test_settings(models: tuple[jubilant.Juju, jubilant.Juju]) -> None:
    offering, _ = models
    offering.config("provider", {"level": 7})
    wait(lambda: message(offering, "provider/0") == "level 7")
    assert offering.config("provider") == {"level": 7}
    offering.model_config({"update-status-hook-interval": "10m"})
    settings = offering.model_config()
    assert settings is not None
    assert settings["update-status-hook-interval"] == "10m"
    uri = offering.add_secret("mine", {"password": "hunter2"})
    offering.grant_secret("mine", "provider")
    got = offering.exec("secret-get", str(uri), "password", unit="provider/0")
    assert got.stdout.strip() == "hunter2"
    offering.remove_secret("mine")
    assert offering.show_model().short_name == "catania"
    assert offering.version().tuple == (3, 6, 24)


def test_killed_controller_comes_back(
    home: Path, models: tuple[jubilant.Juju, jubilant.Juju]
) -> None:
    offering, consuming = models
    before = offering.status().apps["provider"].units["provider/0"].juju_status.since
    pid = int((home / "run" / "juju.lock").read_text())
    os.kill(pid, signal.SIGKILL)
    assert message(consuming, "reader/0") == "token second"
    assert int((home / "run" / "juju.lock").read_text()) != pid
    offering.run("provider/leader", "rotate", {"to": "third"})
    wait(lambda: message(consuming, "reader/0") == "token third")
    assert before


def test_dead_region_is_silent_and_catches_up(
    home: Path, models: tuple[jubilant.Juju, jubilant.Juju]
) -> None:
    offering, consuming = models
    machines = Machines(home)
    starts = "/var/lib/consumer-starts"
    assert consuming.exec(f"cat {starts}", unit="reader/0").stdout == "start\n"
    machines.kill_region("palermo")
    wait(lambda: consuming.status().apps["reader"].units["reader/0"].juju_status.current == "lost")
    assert consuming.status().machines["0"].juju_status.current == "down"
    offering.run("provider/leader", "rotate", {"to": "fourth"})
    machines.revive_region("palermo")
    wait(lambda: message(consuming, "reader/0") == "token fourth")
    assert consuming.exec(f"cat {starts}", unit="reader/0").stdout == "start\nstart\n"


def test_taking_apart(models: tuple[jubilant.Juju, jubilant.Juju]) -> None:
    offering, consuming = models
    consuming.remove_relation("reader", "catania-api")
    wait(lambda: not offering.status().apps["provider"].relations.get("api"))
    wait(lambda: message(consuming, "reader/0") == "needs api")
    consuming.cli("remove-saas", "catania-api")
    offering.cli("remove-offer", "admin/catania.catania-api", include_model=False)
    offering.remove_unit("provider/0")
    wait(lambda: "provider/0" not in offering.status().apps["provider"].units)
    wait(lambda: offering.status().apps["provider"].units["provider/1"].leader)
    offering.remove_application("provider")
    wait(lambda: not offering.status().apps)
    wait(lambda: not offering.status().machines)
    consuming.destroy_model("palermo")
    offering.destroy_model("catania")
    names = json.loads(in_model("").cli("models", "--format", "json", include_model=False))
    assert names["models"] == []
