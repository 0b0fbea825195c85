"""README.md and docs/deploy.md as an operator types them, each in a lab that was empty before.

By night only, as they take minutes; FEDERATION_SOAK=1 pytest tests/functional/test_deploy_page.py
runs them alone. The tests of the page build on each other, as its sections do.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from federation_lab import tools

from tests import pages
from tests.conftest import (
    DOWN_SECONDS,
    ROOT,
    UP_SECONDS,
    Lab,
    require_charms,
    require_machine,
)
from tests.functional.many_objects import Audit, Many
from tests.integration.federation import CLUSTERS, NAMESPACE, Cluster, Federation, managed, until
from tests.pages import Command

SOAK = os.environ.get("FEDERATION_SOAK") == "1"
pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not SOAK, reason="takes minutes: FEDERATION_SOAK=1 runs it"),
]
log = logging.getLogger(__name__)
PAGE = "docs/deploy.md"
REGIONS = ("catania", "palermo")
HOST, MEMBER = REGIONS
# Labs of other tests stand beside this one.
LAB_ID = os.environ.get("LAB_ID") or "4"
TYPED_SECONDS = 400.0
SHOWN_SECONDS = 420.0
PERIOD = 1.0
# These look, or are safe to repeat, so they are typed until they show what the page shows.
LOOKING = (["juju", "status"], ["dig", "+short"])
OBJECTS = 1000
# The federation's in the member.
ACCOUNT = f"{NAMESPACE}:{MEMBER}-{HOST}"
RESTORE_SECONDS = 120.0
BACKUP = "The host's region is lost for good"
SERVICE = "/api/v1/namespaces/demo/services/web"


class Operator:
    """Types commands in a lab and reads what is printed.

    Attributes:
        took: the seconds of each command, as it stands on the page.
    """

    def __init__(self, lab: Lab, folder: Path):
        self.lab = lab
        self.federation = Federation(str(lab.program), REGIONS)
        self.took: dict[str, float] = {}
        self._folder = folder
        self._known: dict[str, str] = {}
        self._chapter = ""
        path = [str(Path(sys.executable).parent), str(tools.binaries()), os.environ["PATH"]]
        self._environment = lab.environment | {"PATH": ":".join(path)}
        for each in ROOT.iterdir():
            if not each.name.startswith("."):
                (folder / each.name).symlink_to(each)

    def type(self, command: Command, *, again: Iterable[list[str]] = LOOKING) -> None:
        """Type one command; it fails the test where it doesn't print what the page shows."""
        if command.chapter != self._chapter:
            self._chapter, self._known = command.chapter, {}
        for name in pages.placeholders("\n".join((command.line, *command.shown))):
            if name not in self._known and (found := self._given(name)):
                self._known[name] = found
        line = pages.filled(re.sub(r"^juju\b", "lab", command.line), self._known)
        repeated = any(command.words[: len(words)] == words for words in again)
        began = time.monotonic()
        while True:
            started = time.monotonic()
            status, printed = self._run(line)
            read = self._read(command, printed)
            if status == 0 and read is not None:
                break
            if not repeated or time.monotonic() > began + SHOWN_SECONDS:
                shown = "\n".join(command.shown)
                pytest.fail(f"{line}\nended with {status}; shown:\n{shown}\nprinted:\n{printed}")
            time.sleep(PERIOD)
        self._known |= read
        self.took[command.line] = time.monotonic() - started
        log.warning("%.1f s (after %.1f s): %s", self.took[command.line], started - began, line)

    def _run(self, line: str) -> tuple[int, str]:
        done = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TYPED_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def _read(self, command: Command, printed: str) -> dict[str, str] | None:
        if command.words[0] != "dig":
            return pages.read(command.shown, printed, self._known)
        # A server gives the addresses in any order.
        shown = sorted(pages.filled(line, self._known) for line in command.shown)
        return pages.read(tuple(shown), "\n".join(sorted(printed.splitlines())), self._known)

    def _given(self, name: str) -> str:
        """Say what a placeholder stands for that no command printed; empty: one did."""
        region = name.rpartition(" ")[2]
        givers: dict[str, Callable[[], str]] = {
            "HOST:PORT": lambda: f"{self._address(MEMBER, 'kubernetes-control-plane')}:6443",
            "NAMESERVER": lambda: self._address(MEMBER, "federation-dns"),
            f"ADDRESS OF THE SERVICE IN {region}": lambda: self._service(region),
        }
        return givers[name]() if name in givers else ""

    def _address(self, region: str, app: str) -> str:
        """Give the address of an application's machine, which it has when it has booted."""
        found = ""

        def known() -> bool:
            nonlocal found
            units = self.lab.json("status", "-m", region)["applications"][app]["units"]
            found = next(iter(units.values())).get("public-address", "")
            return found != ""

        until(known, f"{app} in {region} has an address")
        return found

    def _service(self, region: str) -> str:
        """Give the address of the application's service in a region."""
        found: list[dict[str, str]] = []

        def known() -> bool:
            status = (self.federation.cluster(region).get(SERVICE) or {}).get("status", {})
            found.extend(status.get("loadBalancer", {}).get("ingress") or [])
            return bool(found)

        until(known, f"the service has an address in {region}")
        return found[0]["ip"]


@contextmanager
def empty_lab(factory: pytest.TempPathFactory, name: str) -> Generator[Operator]:
    """Give the operator of a lab without a model, taken away at the end."""
    require_machine()
    require_charms()
    lab = Lab(factory.mktemp(f"{name}-lab"), LAB_ID)
    folder = factory.mktemp(name)
    with pytest.MonkeyPatch.context() as patch:
        # Jubilant starts the program with this process's environment.
        patch.setenv("LAB_HOME", lab.environment["LAB_HOME"])
        patch.setenv("LAB_ID", LAB_ID)
        try:
            lab.run("down", check=False, timeout=DOWN_SECONDS)  # what a killed run left
            yield Operator(lab, folder)
        finally:
            if os.environ.get("LAB_KEEP") != "1":
                lab.run("down", timeout=DOWN_SECONDS)
                shutil.rmtree(folder)


def of_lab(*sections: str) -> list[Command]:
    """Give the commands under these headings that the lab has."""
    found = [each for each in pages.commands(PAGE) if each.mark == "lab"]
    chosen = [each for each in found if each.section in sections]
    assert {each.section for each in chosen} == set(sections)
    return chosen


def in_lab(command: Command) -> Command:
    """Give a command of README.md as it says itself that the lab has it."""
    line = command.line.replace(" openstack/", " lab/")
    if command.words[1] == "deploy":
        line += " --overlay ./overlays/lab.yaml"
    return dataclasses.replace(command, line=line, shown=("...",))


def test_the_commands_of_the_readme(tmp_path_factory: pytest.TempPathFactory) -> None:
    commands = [each for each in pages.commands("README.md") if each.section == "Deploy it"]
    assert len(commands) > 7
    with empty_lab(tmp_path_factory, "readme") as operator:
        for command in commands:
            operator.type(in_lab(command), again=[["juju", "run"]])
        assert sorted(operator.federation.listed()) == sorted(REGIONS)


def test_the_hosts_region_is_gone_and_a_member_becomes_the_host(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with empty_lab(tmp_path_factory, "gone") as operator:
        federation, others = operator.federation, (MEMBER, "napoli")
        operator.lab.run("up", "--regions", ",".join((HOST, *others)), timeout=UP_SECONDS)
        for command in of_lab(BACKUP):
            operator.type(command)
        before = {region: identities(federation.cluster(region)) for region in others}
        operator.lab.run("kill", HOST)
        for command in of_lab("The region is gone"):
            operator.type(command)
        host = federation.cluster(MEMBER)
        entries = sorted((HOST, *others))
        assert host.names(CLUSTERS) == entries
        many = Many(host, federation.cluster("napoli"))
        many.make(1)
        many.change(0, "by the new host")
        until(lambda: many.carried(0, "by the new host"), "the new host's word is carried")
        for region, had in before.items():
            now = identities(federation.cluster(region))
            assert {name: now.get(name) for name in had} == had


def identities(cluster: Cluster) -> dict[str, str]:
    """Give the UID of all that the federation has in a cluster."""
    return {name: uid for name, (uid, _) in managed(cluster).items()}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with empty_lab(tmp_path_factory, "page") as found:
        yield found


def test_from_nothing_to_the_first_service(operator: Operator) -> None:
    sections = ("2. The host's region", "3. Each further region", "4. The first federated service")
    for command in of_lab(*sections):
        operator.type(command)


def test_the_hosts_cluster_is_emptied_and_restored(operator: Operator, tmp_path: Path) -> None:
    """Memberships and objects are back within two minutes, and no member is written to."""
    federation = operator.federation
    audit = Audit(federation.model(MEMBER), federation.cluster(MEMBER))
    audit.begin(tmp_path)
    many = Many(federation.cluster(HOST), federation.cluster(MEMBER))
    many.make(OBJECTS)
    for command in of_lab(BACKUP):
        operator.type(command)
    # As a model's own five minutes, in less of the night.
    operator.lab.run("model-config", "-m", HOST, "update-status-hook-interval=20s")
    many.rest()
    before, had = managed(federation.cluster(MEMBER)), many.federation()
    wrote = audit.writes(ACCOUNT)
    assert len(wrote) >= OBJECTS
    assert len(before) >= OBJECTS
    assert len(had) >= OBJECTS
    for command in of_lab("The cluster is empty, the region stands"):
        operator.type(command)
    took = next(seconds for line, seconds in operator.took.items() if " restore " in line)
    assert took <= RESTORE_SECONDS
    assert many.federation() == had
    until(lambda: all(map(federation.ready, REGIONS)), "both clusters are ready")
    many.rest()
    assert managed(federation.cluster(MEMBER)) == before
    assert audit.writes(ACCOUNT)[len(wrote) :] == []
    log.warning("%d objects restored in %.1f s, no write in %s", len(had), took, MEMBER)
    assert federation.cluster(HOST).names(CLUSTERS) == sorted(REGIONS)


def test_the_restored_federation_goes_on(operator: Operator) -> None:
    federation = operator.federation
    many = Many(federation.cluster(HOST), federation.cluster(MEMBER))
    many.change(0, "after the restore")
    until(lambda: many.carried(0, "after the restore"), "a change is carried")
    # The host's own copies are made anew, and all regions answer for them.
    until(lambda: len(managed(federation.cluster(HOST))) >= OBJECTS, "the host has its copies")
    for command in of_lab("4. The first federated service"):
        if command.words[0] == "dig":
            operator.type(command)


def test_a_region_is_removed(operator: Operator) -> None:
    for command in of_lab("Remove a region"):
        operator.type(command)
    models: dict[str, Any] = operator.lab.json("models")
    assert [each["short-name"] for each in models["models"]] == [HOST]
    assert list(operator.federation.listed()) == [HOST]
