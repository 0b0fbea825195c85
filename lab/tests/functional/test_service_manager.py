"""Units in a machine: rights, kinds, limits; and charmlibs' systemd library, unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from federation_lab.machines import Machine, Machines
from federation_lab.paths import Paths

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
LAB_ID = int(os.environ.get("LAB_TEST_ID", "9"))
PYTHON = os.path.realpath(sys.executable)

UNITS = {
    "rights": f"""
[Unit]
Description=Binds port 53 without root
[Service]
User=nobody
AmbientCapabilities=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
StateDirectory=rights
RuntimeDirectory=rights
UMask=0077
LimitNOFILE=512
Environment="SAID=two words"
ExecStartPre=/usr/bin/touch /var/lib/rights/made
ExecStart={PYTHON} -IS /srv/rights.py
""",
    "forks": "[Service]\nType=forking\nPIDFile=/run/f.pid\n"
    "ExecStart=/bin/sh -c 'sleep 900 & echo $! > /run/f.pid'\n",
    "once": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo one\n"
    "ExecStart=/bin/echo two\nExecStop=/bin/echo bye\n[Install]\nWantedBy=multi-user.target\n",
    "fails": "[Service]\nExecStart=/bin/false\nRestart=on-failure\nRestartSec=10ms\n",
    "refuses": "[Service]\nType=oneshot\nExecStart=/bin/false\n",
    "deaf": "[Service]\nTimeoutStopSec=300ms\n"
    "ExecStart=/bin/sh -c \"trap '' TERM; setsid sleep 901 & while :; do sleep 0.1; done\"\n",
    "tells": f"[Service]\nType=notify\nExecStart={PYTHON} -IS /srv/tells.py\n",
}
PROGRAMS = {
    "rights": """
import os, socket, resource, time
socket.create_server(("", 53))
print(os.environ["SAID"], os.getuid(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)
time.sleep(900)
""",
    "tells": """
import os, socket, time
open("/run/before", "w").close()
while not os.path.exists("/run/go"):
    time.sleep(0.01)
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.sendto(b"READY=1\\nSTATUS=at work", os.environ["NOTIFY_SOCKET"])
time.sleep(900)
""",
}
CHARMLIBS = """
from charmlibs import systemd
assert not systemd.service_running("once")
assert systemd.service_enable("once") and systemd.service_start("once")
assert systemd.service_running("once") and not systemd.service_failed("once")
assert systemd.service_restart("once") and systemd.service_reload("once", restart_on_failure=True)
assert systemd.service_pause("once") and not systemd.service_running("once")
assert systemd.service_resume("once") and systemd.service_running("once")
assert systemd.service_stop("once") and systemd.service_disable("once")
assert systemd.daemon_reload()
try:
    systemd.service_start("refuses")
except systemd.SystemdError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    home = tmp_path_factory.mktemp("lab")
    machines = Machines(Paths(home, home / "cache", LAB_ID))
    machines.destroy_all()
    made = machines.create("catania", "m")
    for name, text in UNITS.items():
        (made.root / f"etc/systemd/system/{name}.service").write_text(text)
    for name, text in PROGRAMS.items():
        (made.root / f"srv/{name}.py").write_text(text)
    yield made
    machines.destroy_all()


def run(machine: Machine, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        machine.command(argv, env=env), capture_output=True, text=True, check=False, timeout=20
    )


def shown(machine: Machine, unit: str, *names: str) -> list[str]:
    return run(machine, "systemctl", "show", unit, "-P", ",".join(names)).stdout.split("\n")[:-1]


def eventually(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it didn't come to be"
        time.sleep(0.02)


def journal(machine: Machine, unit: str) -> str:
    return run(machine, "journalctl", "--no-pager", "-u", unit, "-o", "cat").stdout


def test_a_service_has_the_rights_of_its_unit_only(machine: Machine) -> None:
    started = run(machine, "systemctl", "start", "rights")
    assert started.returncode == 0, started.stderr
    nobody = (machine.root / "etc/passwd").read_text().split("nobody:x:")[1].split(":")[0]
    eventually(lambda: f"two words {nobody} 512" in journal(machine, "rights"))
    made = machine.root / "var/lib/rights/made"
    assert (made.stat().st_uid, made.stat().st_mode & 0o777) == (int(nobody), 0o600)
    assert run(machine, "systemctl", "stop", "rights").returncode == 0
    assert not (machine.root / "run/rights").exists()


def test_kinds(machine: Machine) -> None:
    assert run(machine, "systemctl", "start", "forks", "once").returncode == 0
    assert shown(machine, "forks", "MainPID") == [(machine.root / "run/f.pid").read_text().strip()]
    assert shown(machine, "once", "ActiveState", "SubState") == ["active", "exited"]
    assert run(machine, "systemctl", "stop", "forks", "once").returncode == 0
    eventually(lambda: "bye" in journal(machine, "once"))
    assert run(machine, "pgrep", "sleep").returncode == 1


def test_a_service_that_tells_when_it_is_ready(machine: Machine) -> None:
    asked = run(machine, "systemctl", "start", "--no-block", "tells")
    assert asked.returncode == 0, asked.stderr
    eventually((machine.root / "run/before").exists)
    assert run(machine, "systemctl", "is-active", "tells").stdout == "activating\n"
    (machine.root / "run/go").touch()
    eventually(lambda: shown(machine, "tells", "ActiveState", "StatusText")
               == ["active", "at work"])  # fmt: skip
    assert run(machine, "systemctl", "stop", "tells").returncode == 0


def test_restarts_have_a_limit(machine: Machine) -> None:
    assert run(machine, "systemctl", "start", "fails").returncode == 0
    eventually(lambda: shown(machine, "fails", "Result") == ["start-limit-hit"])
    assert shown(machine, "fails", "NRestarts", "ActiveState") == ["5", "failed"]
    again = run(machine, "systemctl", "start", "fails")
    assert (again.returncode, "attempted too often" in again.stderr) == (1, True)
    assert run(machine, "systemctl", "is-failed", "fails").returncode == 0
    assert run(machine, "systemctl", "reset-failed", "fails").returncode == 0
    assert run(machine, "systemctl", "is-active", "fails").stdout == "inactive\n"


def test_what_does_not_listen_is_killed_with_all_its_children(machine: Machine) -> None:
    assert run(machine, "systemctl", "start", "deaf").returncode == 0
    eventually(lambda: run(machine, "pgrep", "-f", "sleep 901").returncode == 0)
    assert run(machine, "systemctl", "stop", "deaf").returncode == 0
    assert shown(machine, "deaf", "Result", "ActiveState") == ["timeout", "failed"]
    assert run(machine, "pgrep", "sleep").returncode == 1


def test_only_root_orders(machine: Machine) -> None:
    done = run(machine, "su", "-s", "/bin/sh", "nobody", "-c", "systemctl stop once")
    assert (done.returncode, done.stderr) == (1, "Failed to stop: Access denied\n")


def test_charmlibs_drives_it_unchanged(machine: Machine) -> None:
    packages = sysconfig.get_path("purelib")
    done = run(machine, PYTHON, "-c", CHARMLIBS, PYTHONPATH=packages)
    assert done.returncode == 0, done.stderr
    assert "Job for refuses.service failed because the control process exited" in done.stdout


@pytest.mark.skipif(not Path("/usr/sbin/named").exists(), reason="needs Debian's bind9")
def test_debians_bind_starts_from_its_own_unit(machine: Machine) -> None:
    assert run(machine, "systemctl", "is-active", "named").stdout == "inactive\n"
    started = run(machine, "systemctl", "enable", "--now", "named")
    assert started.returncode == 0, started.stderr
    assert shown(machine, "bind9", "Id", "ActiveState") == ["named.service", "active"]
    assert run(machine, "dig", "@127.0.0.1", "localhost", "+short").stdout == "127.0.0.1\n"
    assert run(machine, "systemctl", "reload", "named").returncode == 0
    assert run(machine, "systemctl", "stop", "named").returncode == 0
