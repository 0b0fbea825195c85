"""Three clusters with nothing in them and one kubeconfig, as a reader of the README has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from api_harness import control_planes, merged_kubeconfig
from federation_lab import tools
from federation_lab.cluster.control_plane import ControlPlane

# The helpers beside the tests; with importlib's import mode nothing else makes them importable.
sys.path.insert(0, str(Path(__file__).parent))

PACKAGE = Path(__file__).parents[3]
NAMES = ("catania", "palermo", "napoli")


@pytest.fixture(scope="session")
def trio(
    binaries: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Mapping[str, ControlPlane]]:
    """The control planes catania, palermo and napoli."""
    with control_planes(NAMES, binaries, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="session")
def kubeconfig(trio: Mapping[str, ControlPlane], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig with a context for each; it lies where a user's own does."""
    home = tmp_path_factory.mktemp("home")
    (home / ".kube").mkdir()
    path = home / ".kube" / "config"
    path.write_text(json.dumps(merged_kubeconfig(trio.values(), NAMES[0])))
    return path


@pytest.fixture(scope="session")
def environment(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shell's environment with a `kubefed` from the built wheel, not from this checkout."""
    wheels = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(command, cwd=PACKAGE, check=True, capture_output=True, timeout=60)
    [wheel] = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheels / "site")
    program = wheels / "bin" / "kubefed"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={wheels}/site exec {sys.executable} -m kubefed.cli "$@"\n'
    )
    program.chmod(0o755)
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    home = str(kubeconfig.parents[1])
    return {**kept, "PATH": f"{program.parent}:/usr/bin:/bin", "HOME": home}


def upstream(variable: str, name: str) -> Path:
    """One of KubeFed v0.10.0's programs, which the module proxy may not have served."""
    if given := os.environ.get(variable):
        return Path(given)
    try:
        return tools.upstream() / name
    except tools.ToolsMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def upstream_ctl() -> Path:
    """KubeFed's own client: KUBEFEDCTL, or what `make test` has built."""
    return upstream("KUBEFEDCTL", "kubefedctl")


@pytest.fixture(scope="session")
def upstream_manager() -> Path:
    """KubeFed's own controller: KUBEFED_CONTROLLER_MANAGER, or what `make test` has built."""
    return upstream("KUBEFED_CONTROLLER_MANAGER", "controller-manager")
