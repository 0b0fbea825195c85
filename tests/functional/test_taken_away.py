"""A lab that was killed while it was made stands up again, and goes without a trace."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("lab")
LAB_ID = "7"
KILLED_AFTER_SECONDS = 6.0


def traces() -> dict[str, list[str]]:
    """List what a lab leaves if it leaves anything: names with its prefix, and its processes."""
    prefix = f"lab{LAB_ID}-"
    commands = {
        "namespaces": ["ip", "netns", "list"],
        "links": ["ip", "-brief", "link"],
        "routes": ["ip", "route"],
    }
    found: dict[str, list[str]] = {}
    for what, command in commands.items():
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found[what] = [line for line in text.splitlines() if prefix in line]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found["mounts"] = [line for line in mounts if prefix in line]
    return found


def processes(home: Path) -> list[str]:
    """List the processes whose command names the lab's home, or that stand in its namespaces."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(home) in command and folder.name != str(os.getpid()):
            found.append(f"{folder.name} {command}")
    return found


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_killed_while_it_is_made_then_made_and_taken_away(tmp_path: Path):
    environment = {**os.environ, "LAB_HOME": str(tmp_path / "home"), "LAB_ID": LAB_ID}
    command = [str(PROGRAM), "up", "--regions", "solo", "--no-example"]

    def run(argv: list[str], seconds: float) -> None:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]

    try:
        first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(KILLED_AFTER_SECONDS)
        controller = int((tmp_path / "home" / "run" / "juju.lock").read_text())
        os.kill(first.pid, signal.SIGKILL)
        os.kill(controller, signal.SIGKILL)
        first.wait(timeout=10)
        run(command, 300)
        run(command, 120)
    finally:
        run([str(PROGRAM), "down"], 90)
    assert {what: lines for what, lines in traces().items() if lines} == {}
    assert processes(tmp_path / "home") == []
    assert not (tmp_path / "home").exists()
