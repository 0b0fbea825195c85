"""A packed charm's hooks are traced from the relation's first event to its last, and else not.

In a lab of its own, of one region without a cluster: kubefed-member waits for one, and its hooks
run all the same. Who takes the traces listens on its machine's loopback; a charm that does nothing
else names it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jubilant
import pytest
from federation_lab.juju import client
from federation_lab.machines import Machine, Machines

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

LAB = Path(sys.executable).with_name("lab")
LAB_ID = "6"
CHARM = Path(__file__).parents[2] / "charms/kubefed-member/kubefed-member_amd64.charm"
UNIT = "kubefed-member/0"
FOLDER = "var/lib/juju/agents/unit-kubefed-member-0/charm"
PORT = 4318
RECEIVERS = [
    {"protocol": {"name": "otlp_http", "type": "http"}, "url": f"http://127.0.0.1:{PORT}"}
]
SINK = f"""\
#!/bin/sh
case "$JUJU_DISPATCH_PATH" in hooks/receive-traces-relation-c*)
    relation-set --app -r "$JUJU_RELATION_ID" 'receivers={json.dumps(RECEIVERS)}' ;;
esac
status-set active
"""
SERVER = """\
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(self.path, body.replace("\\n", " "), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", %d), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The lab's folder; the lab goes with it."""
    if not CHARM.exists():
        pytest.fail("not packed: kubefed-member; `make charms` does it", pytrace=False)
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_HOME", str(folder))
        patch.setenv("LAB_ID", LAB_ID)
        machines = Machines(folder)
        machines.destroy_all()
        yield folder
        client.stop(folder)
        machines.destroy_all()


@pytest.fixture(scope="module")
def juju(home: Path) -> jubilant.Juju:
    """A model with the charm, and one that names who takes traces."""
    sink = home / "sink.charm"
    dispatch = zipfile.ZipInfo("dispatch")
    dispatch.external_attr = 0o100755 << 16
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(dispatch, SINK)
        metadata = "name: sink\nprovides:\n  receive-traces: {interface: tracing}\n"
        archive.writestr("metadata.yaml", metadata)
    found = jubilant.Juju(cli_binary=LAB, wait_timeout=120)
    found.add_model("roma")
    found.deploy(CHARM)
    found.deploy(sink)
    found.wait(jubilant.all_agents_idle, error=jubilant.any_error)
    return found


@pytest.fixture(scope="module")
def machine(home: Path, juju: jubilant.Juju) -> Machine:
    """The machine of the charm's unit."""
    del juju  # it stands
    [found] = [each for each in Machines(home).list() if (each.root / FOLDER).is_dir()]
    return found


@pytest.fixture(scope="module")
def taken(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What was taken: a line a request, its path first."""
    path = tmp_path_factory.mktemp("traces") / "taken"
    with path.open("w") as file:
        argv = machine.command([sys.executable, "-c", SERVER % PORT])
        server = subprocess.Popen(argv, stdout=file)
        yield path
        server.kill()
        server.wait(timeout=10)


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.2)


def kept(machine: Machine) -> list[Path]:
    """What ops.tracing keeps in the unit's folder."""
    return list((machine.root / FOLDER).glob(".tracing-data.db*"))


def test_nothing_is_traced_before(machine: Machine) -> None:
    assert (machine.root / FOLDER / "tracing/ops_tracing").is_dir()
    assert kept(machine) == []


def test_each_hook_is_traced_while_the_relation_stands(
    juju: jubilant.Juju, machine: Machine, taken: Path
) -> None:
    juju.integrate("kubefed-member:charm-tracing", "sink:receive-traces")
    wait(lambda: "charm_tracing_relation_changed" in taken.read_text())
    assert kept(machine)
    juju.config("kubefed-member", {"region": "roma"})
    wait(lambda: "config_changed" in taken.read_text())
    line = next(each for each in taken.read_text().splitlines() if "config_changed" in each)
    path, _, body = line.partition(" ")
    assert path == "/v1/traces"
    assert {"kubefed-member", UNIT, "roma"} <= strings(json.loads(body))


def test_nothing_is_traced_after(juju: jubilant.Juju, machine: Machine, taken: Path) -> None:
    juju.remove_relation("kubefed-member:charm-tracing", "sink:receive-traces")
    wait(lambda: kept(machine) == [])
    count = len(taken.read_text().splitlines())
    juju.config("kubefed-member", {"region": "No Name"})

    def refused() -> bool:
        unit = juju.status().apps["kubefed-member"].units[UNIT]
        return unit.workload_status.message.startswith("config: region")

    wait(refused)
    assert len(taken.read_text().splitlines()) == count
    assert kept(machine) == []


def strings(value: object) -> set[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict):
        return {text for each in value.values() for text in strings(each)}
    if isinstance(value, list):
        return {text for each in value for text in strings(each)}
    return {value} if isinstance(value, str) else set()
