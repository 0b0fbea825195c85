"""Two regions with a machine each: links, deaths, services; and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from federation_lab import cgroups
from federation_lab.errors import LabError
from federation_lab.machines import Machine, Machines
from federation_lab.network import namespaces
from federation_lab.paths import Paths

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
# Never the standing lab's.
LAB_ID = int(os.environ.get("LAB_TEST_ID", "9"))
PYTHON = os.path.realpath(sys.executable)

SERVER = """
import socket
listening = socket.create_server(("", 7000))
while True:
    connection, _ = listening.accept()
    connection.sendall(b"here")
    connection.close()
"""
CLIENT = "import socket,sys; print(socket.create_connection((sys.argv[1], 7000), 0.5).recv(9))"
UNIT = f"""
[Unit]
Description=Answers
[Service]
ExecStart={PYTHON} -IS /srv/server.py
Restart=always
RestartSec=0
NoSuchSetting=1
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    home = tmp_path_factory.mktemp("lab")
    found = Machines(Paths(home, home / "cache", LAB_ID))
    found.destroy_all()
    yield found
    found.destroy_all()


@pytest.fixture(scope="module")
def one(machines: Machines) -> Machine:
    machine = machines.create("catania", "one")
    serve(machine)
    return machine


@pytest.fixture(scope="module")
def two(machines: Machines) -> Machine:
    machine = machines.create("palermo", "two")
    serve(machine)
    return machine


def run(machine: Machine, *argv: str, timeout_s: float = 10) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        machine.command(argv), capture_output=True, text=True, check=False, timeout=timeout_s
    )


def serve(machine: Machine) -> None:
    (machine.root / "srv/server.py").write_text(SERVER)
    (machine.root / "etc/systemd/system/answers.service").write_text(UNIT)
    done = run(machine, "systemctl", "enable", "--now", "answers")
    assert done.returncode == 0, done.stderr
    eventually(lambda: reaches(machine, machine))


def reaches(source: Machine, target: Machine) -> bool:
    return run(source, PYTHON, "-IS", "-c", CLIENT, target.address).stdout == "b'here'\n"


def host_reaches(target: Machine) -> bool:
    done = subprocess.run(
        [PYTHON, "-IS", "-c", CLIENT, target.address], capture_output=True, check=False
    )
    return done.returncode == 0


def eventually(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it didn't come to be"
        time.sleep(0.02)


def main_pid(machine: Machine) -> int:
    return int(run(machine, "systemctl", "show", "-P", "MainPID", "answers").stdout)


def test_regions_and_the_host_reach_each_other(one: Machine, two: Machine) -> None:
    assert (one.address, two.address) == (f"10.{210 + LAB_ID}.1.10", f"10.{210 + LAB_ID}.2.10")
    assert reaches(one, two)
    assert reaches(two, one)
    assert host_reaches(one)
    assert run(one, "hostname").stdout == "one\n"


def test_a_cut_one_way_is_silent_and_heals(machines: Machines, one: Machine, two: Machine) -> None:
    machines.network.cut("catania", "palermo", one_way=True)
    assert machines.network.cuts() == [("catania", "palermo")]
    # The answers are cut as well: they go the same way as the requests of the other.
    assert not reaches(one, two)
    assert host_reaches(two)
    machines.network.heal("catania", "palermo", one_way=True)
    assert reaches(one, two)
    machines.network.cut("palermo", "all")
    assert not reaches(one, two)
    assert not host_reaches(two)
    machines.network.heal("palermo", "all")
    assert machines.network.cuts() == []
    assert host_reaches(two)


def test_a_service_that_dies_is_started_again(one: Machine) -> None:
    before = main_pid(one)
    assert run(one, "kill", "-9", str(before)).returncode == 0
    eventually(lambda: main_pid(one) not in (0, before))
    assert run(one, "systemctl", "is-active", "answers").stdout == "active\n"
    words = run(one, "journalctl", "-u", "answers").stdout
    assert "Main process exited, SIGKILL" in words
    assert "settings without effect in the lab: NoSuchSetting" in words


def test_systemctl_answers_as_systemd_does(one: Machine) -> None:
    assert run(one, "/usr/bin/systemctl", "is-enabled", "answers").stdout == "enabled\n"
    missing = run(one, "systemctl", "start", "nothing")
    assert missing.returncode == 5
    assert missing.stderr == ("Failed to start nothing.service: Unit nothing.service not found.\n")
    assert run(one, "systemctl", "is-active", "--quiet", "nothing").returncode == 4
    # What is enabled on the host isn't here.
    assert run(one, "ls", "/etc/systemd/system/multi-user.target.wants").stdout == (
        "answers.service\n"
    )


def test_a_killed_region_keeps_its_disk(machines: Machines, one: Machine, two: Machine) -> None:
    (two.root / "var/lib/kept").write_text("kept")
    (two.root / "tmp/gone").write_text("gone")
    machines.kill_region("palermo")
    assert not two.alive
    assert not reaches(one, two)
    machines.revive_region("palermo")
    # A new process finds it by its record alone.
    again = Machines(machines.lab).get("palermo", "two")
    assert again.alive
    assert run(again, "cat", "/var/lib/kept").stdout == "kept"
    assert not (again.root / "tmp/gone").exists()
    assert not Path("/var/lib/kept").exists()
    eventually(lambda: reaches(one, again))


def test_a_frozen_region_stands_still(machines: Machines, one: Machine, two: Machine) -> None:
    machines.freeze_region("palermo")
    assert machines.is_frozen("palermo")
    assert two.alive
    assert not reaches(one, two)
    machines.thaw_region("palermo")
    eventually(lambda: reaches(one, two))
    machines.freeze_region("palermo")
    machines.kill_region("palermo")
    assert not two.alive
    machines.revive_region("palermo")
    eventually(lambda: reaches(one, two))


BUSY = """
[Service]
ExecStart=/bin/sh -c 'env -i setsid sleep 601 & sleep 602'
"""


@pytest.mark.parametrize("mounts", ["v1", ""])
def test_with_an_older_freezer_or_none(
    machines: Machines, mounts: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    old = [line for line in lines if mounts and line.split()[2] == "cgroup"]
    if mounts and not any("freezer" in line.split()[3].split(",") for line in old):
        pytest.skip("this kernel has no freezer of the first version")
    (tmp_path / "mounts").write_text("".join(f"{line}\n" for line in old))
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    # A region of its own: the others' machines are in the newer groups.
    here = Machines(machines.lab)
    machine = here.create("siracusa", "three")
    (machine.root / "etc/systemd/system/busy.service").write_text(BUSY)
    assert run(machine, "systemctl", "start", "busy").returncode == 0
    eventually(lambda: run(machine, "pgrep", "-c", "sleep").stdout == "2\n")
    here.freeze_region("siracusa")
    assert here.is_frozen("siracusa")
    here.thaw_region("siracusa")
    assert not here.is_frozen("siracusa")
    assert run(machine, "systemctl", "stop", "busy").returncode == 0
    assert run(machine, "pgrep", "-c", "sleep").stdout == "0\n"
    here.freeze_region("siracusa")
    here.destroy_region("siracusa")
    here.groups.remove()
    assert "siracusa" not in here.network.regions


def test_another_lab_with_the_same_number_is_refused(
    machines: Machines, one: Machine, tmp_path: Path
) -> None:
    other = Machines(Paths(tmp_path, tmp_path / "cache", LAB_ID))
    with pytest.raises(LabError, match=f"LAB_HOME={machines.lab.home} lab down"):
        other.create("catania", "one")
    assert one.alive


def test_nothing_is_left(machines: Machines) -> None:
    # The last test: it takes away what the others use.
    machines.destroy_all()
    before = traces()
    machine = machines.create("napoli", "m")
    assert (
        run(
            machine, "sh", "-c", "sleep 600 >/dev/null 2>&1 & setsid sleep 600 >/dev/null 2>&1 &"
        ).returncode
        == 0
    )
    # As if the record had been lost in a crash.
    (machine.directory / "machine.json").unlink()
    machines.destroy_all()
    assert traces() == before
    assert not machines.lab.machines.exists()


def traces() -> tuple[list[str], list[str], list[str], int]:
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True)
    prefix = f"lab{LAB_ID}"
    mounts = [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if prefix in line
    ]
    sleepers = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            sleepers += path.read_bytes() == b"sleep\x00600\x00"
        except OSError:
            continue
    names = [line.split()[0] for line in links.stdout.splitlines() if prefix in line]
    return namespaces(prefix), names, mounts, sleepers
