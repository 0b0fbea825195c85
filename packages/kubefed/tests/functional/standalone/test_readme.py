"""What README.md shows is what happens: its five lines, as they stand there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from kubefed.api import CONFIG_MAP, DEFAULT_NAMESPACE, DEPLOYMENT, KUBEFED_CLUSTER, NAMESPACE
from standalone_harness import ROOT, controller, eventually, objects, shell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

README = ROOT / "packages" / "kubefed" / "README.md"


def shown() -> list[str]:
    """The lines of the first block of commands."""
    blocks = re.findall(r"(?:^    \S.*\n)+", README.read_text(), re.MULTILINE)
    return [line.strip() for line in blocks[0].splitlines()]


def test_it_is_shown_in_five_lines() -> None:
    lines = shown()
    assert [line.split()[:2] for line in lines] == [
        ["pip", "install"],
        ["kubefed", "init"],
        ["kubefed", "join"],
        ["kubefed", "federate"],
        ["kubefed", "controller"],
    ]
    # The package that the first line installs is the one whose wheel runs the others.
    assert (ROOT / lines[0].split()[2] / "pyproject.toml").samefile(
        README.parent / "pyproject.toml"
    )


def test_the_five_lines_work_alone(
    environment: dict[str, str], kubeconfig: Path, tmp_path: Path
) -> None:
    _, init, join, federate, run = shown()
    host, member = objects(kubeconfig, "catania"), objects(kubeconfig, "palermo")
    said = shell(init, environment)
    assert "The federation is installed in namespace kube-federation-system" in said.stdout
    shell(join, environment)
    shell(federate, environment)
    status = shell("kubefed status", environment, status=3)
    assert "not probed yet" in status.stdout
    log = tmp_path / "controller.log"
    with controller(run, environment, log):
        eventually(
            lambda: member.get(DEPLOYMENT, "web", "demo"), 30, "the application in palermo", log
        )

        def well() -> bool:
            return subprocess.call(["kubefed", "status"], env=environment, cwd=ROOT) == 0

        eventually(well, 30, "a status of 0", log)
        found = member.get(CONFIG_MAP, "web", "demo") or {}
        assert found["data"] == {"GREETING": "Hello from the federation"}
        # Leaving keeps what runs, and says so.
        left = shell("kubefed unjoin palermo", environment)
        assert "still in the member, no longer carried:\n  ConfigMap demo/web" in left.stderr
    assert member.get(CONFIG_MAP, "web", "demo") is not None
    assert member.get(NAMESPACE, DEFAULT_NAMESPACE) is None
    assert host.list(KUBEFED_CLUSTER) == []
    shell("kubefed uninstall", environment)
    assert host.get(NAMESPACE, DEFAULT_NAMESPACE) is None
    assert member.get(CONFIG_MAP, "web", "demo") is not None
