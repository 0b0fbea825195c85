"""The standing lab that the tests of the whole federation share.

`LAB_ID` says which lab (default 10, and one more for each further process of pytest), `LAB_BIN`
or `LAB_CACHE` where its programs are. With `LAB_KEEP=1` and `LAB_HOME` a lab that stands there is
used and left standing, which saves the minute or two of `lab up` while tests are written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent
REGIONS = ("catania", "palermo", "napoli")
CHARMS = (
    "charms/kubefed-host/kubefed-host",
    "charms/kubefed-member/kubefed-member",
    "charms/federation-dns/federation-dns",
    "lab/charms/kubernetes-control-plane/kubernetes-control-plane",
)
UP_SECONDS = 420.0
DOWN_SECONDS = 90.0
# Of a test with the lab; the first one waits for `lab up`, the last one for `lab down`.
TEST_SECONDS = 900
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
LAB_ID = os.environ.get("LAB_ID") or str(10 + WORKER)


class Lab:
    """The program `lab` of this environment, with a lab of its own.

    Attributes:
        program: the file of the command.
        environment: what the command is run with; LAB_HOME and LAB_ID say which lab.
    """

    def __init__(self, home: Path, lab_id: str):
        self.program = Path(sys.executable).with_name("lab")
        self.home = home
        self.environment = {**os.environ, "LAB_HOME": str(home), "LAB_ID": lab_id}

    def run(
        self, *argv: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run one command of the lab; with `check`, a failure is the test's, with its reason."""
        done = subprocess.run(
            [str(self.program), *argv],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            words = " ".join(argv)
            pytest.fail(f"`lab {words}` ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return done

    def json(self, *argv: str, timeout: float = 60) -> Any:
        """Run one command with ``--format json`` and give what it means."""
        return json.loads(self.run(*argv, "--format", "json", timeout=timeout).stdout)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of three regions with the example application, taken away at the end."""
    standing = _home_to_keep()
    require_machine()
    require_charms()
    home = standing or tmp_path_factory.mktemp("lab")
    found = Lab(home, LAB_ID)
    with pytest.MonkeyPatch.context() as patch:
        # Jubilant starts the program with this process's environment.
        patch.setenv("LAB_HOME", found.environment["LAB_HOME"])
        patch.setenv("LAB_ID", found.environment["LAB_ID"])
        try:
            if standing is None:
                found.run("down", check=False, timeout=DOWN_SECONDS)  # what a killed run left
            found.run("up", "--regions", ",".join(REGIONS), timeout=UP_SECONDS)
            yield found
        finally:
            if standing is None:
                found.run("down", timeout=DOWN_SECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the lab, and give it time: the fixture's work counts as the test's."""
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def _home_to_keep() -> Path | None:
    if os.environ.get("LAB_KEEP") != "1":
        return None
    home = os.environ.get("LAB_HOME")
    if not home:
        pytest.fail("LAB_KEEP=1 keeps the lab of LAB_HOME, which is not set")
    return Path(home)


def require_machine() -> None:
    """Skip where nobody could make a lab."""
    from federation_lab import network
    from federation_lab.errors import LabError
    from federation_lab.wanplan import Plan

    if os.geteuid() != 0:
        pytest.skip("the lab makes network namespaces, which needs root")
    try:
        network.require_namespaces(Plan(int(LAB_ID)))
    except LabError as error:
        # Root, so it should work: a skip would hide the whole federation.
        pytest.fail(str(error), pytrace=False)


def require_charms() -> None:
    """Fail where the charms are not packed: a skip would hide the whole federation."""
    missing = [path for path in CHARMS if not (ROOT / f"{path}_amd64.charm").exists()]
    if missing:
        pytest.fail(f"not packed: {', '.join(missing)}; `make charms` does it", pytrace=False)
