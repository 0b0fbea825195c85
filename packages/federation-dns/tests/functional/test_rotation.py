"""Certificates change while agents vote: no vote is lost, and the former key ends."""

from __future__ import annotations

import datetime
import json
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from federation_dns import keys

from .conftest import Region, eventually
from .test_door import NAMES, metrics, well

LEAF = datetime.timedelta(seconds=60)


class Mesh:
    """Three agents, and what their charms would tell them of each other."""

    def __init__(self, folder: Path):
        self.regions = [Region(n, folder / n, i, role="witness") for i, n in enumerate(NAMES, 1)]
        self.first = {r.name: r.entry() for r in self.regions}
        for region in self.regions:
            self.short_lived(region)
            region.write_config()

    def short_lived(self, region: Region) -> None:
        for half in ("agent.key", "agent.crt"):
            (region.folder / half).unlink()
        now = datetime.datetime.now(datetime.UTC)
        _ = keys.generate(region.name, "127.0.0.1", region.folder, now, lifetime=LEAF)

    def publish(self, *, old: bool = False) -> None:
        """Give every agent everybody's entry; `old`: as a charm that knows of one certificate."""
        entries: list[dict[str, Any]] = []
        for region in self.regions:
            entry = region.entry() | {"role": "region"}
            following = region.folder / "next.crt"
            if following.exists() and not old:
                entry["next_certificate"] = following.read_text()
            entries.append(entry)
        for region in self.regions:
            fresh = region.folder / "peers.new"
            fresh.write_text(json.dumps({"version": 1, "entries": entries}))
            fresh.replace(region.folder / "peers.json")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Generator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("rotation"))
    made.publish()
    try:
        for region in made.regions:
            region.start_agent()
        eventually(lambda: well(made.regions), 60, "all hear all")
        yield made
    finally:
        for region in made.regions:
            region.stop()


def changes(mesh: Mesh) -> list[float]:
    return [metrics(r)["federation_dns_verdict_changes_total"] for r in mesh.regions]


def oldest(mesh: Mesh) -> float:
    """The longest that anybody has not heard another now, by everybody's own ears."""
    found: list[float] = []
    for region in mesh.regions:
        finding = region.verdict()["regions"]
        found += [f["heard_s"] for name, f in finding.items() if name != region.name]
    return max(found)


def shows(region: Region, pem: str) -> bool:
    """Whether an agent's port is met with this certificate by a client that trusts it alone."""
    context = keys.client_context(pem, None, None)
    url = f"https://127.0.0.1:{region.mesh_port}/v1/verdict"
    try:
        urllib.request.urlopen(url, timeout=5, context=context).close()
    except urllib.error.URLError:
        return False
    return True


def votes_as(region: Region, folder: Path, server: str) -> bool:
    """Whether an agent takes the certificate in a folder for a member's."""
    context = keys.client_context(server, folder / "agent.crt", folder / "agent.key")
    url = f"https://127.0.0.1:{region.mesh_port}/v1/peers"
    try:
        urllib.request.urlopen(url, timeout=5, context=context).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def test_a_rotation_of_everybody_loses_no_vote(mesh: Mesh, tmp_path: Path) -> None:
    before = changes(mesh)
    kept = tmp_path / "stolen"
    kept.mkdir()
    for half in ("agent.key", "agent.crt"):
        (kept / half).write_bytes((mesh.regions[1].folder / half).read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    for region in mesh.regions:
        _ = keys.generate(region.name, "127.0.0.1", region.folder, now, name="next")
    mesh.publish()
    age = 0.0
    for _ in range(10):
        time.sleep(0.1)
        age = max(age, oldest(mesh))
    changed = time.monotonic()
    for region in mesh.regions:
        assert keys.change_over(region.folder)
    # The relations are slow, or the hub is dead: the lists stay as they are.
    wanted = {r.name: (r.folder / "agent.crt").read_text() for r in mesh.regions}
    eventually(
        lambda: all(shows(r, wanted[r.name]) for r in mesh.regions), 15, "all show the next"
    )
    target, other = mesh.regions[0], mesh.regions[1]
    refused = eventually(
        lambda: not votes_as(target, kept, wanted[target.name]), 60, "the former key is refused"
    )
    assert time.monotonic() - changed <= 60
    assert refused > 0
    assert votes_as(target, other.folder, wanted[target.name])
    mesh.publish()
    for _ in range(20):
        time.sleep(0.1)
        age = max(age, oldest(mesh))
    assert age < 1.5  # 0.2 s is the probe interval here, 2 s the hold
    assert changes(mesh) == before


def test_a_mesh_that_knows_one_certificate_only_is_back_with_the_next_list(mesh: Mesh) -> None:
    """Charms of before: the change takes as long as their hooks, which is a blip."""
    region = mesh.regions[0]
    now = datetime.datetime.now(datetime.UTC)
    _ = keys.generate(region.name, "127.0.0.1", region.folder, now, name="next")
    mesh.publish(old=True)
    assert keys.change_over(region.folder)
    mesh.publish(old=True)
    fresh = (region.folder / "agent.crt").read_text()
    eventually(lambda: shows(region, fresh), 60, "it shows the next")
    eventually(lambda: well(mesh.regions), 60, "all hear all")
    assert oldest(mesh) < 2


def test_halves_that_do_not_fit_are_tried_again(mesh: Mesh) -> None:
    """Between the two renames an agent may look: it stays with what it has."""
    region = mesh.regions[0]
    now = datetime.datetime.now(datetime.UTC)
    _ = keys.generate(region.name, "127.0.0.1", region.folder, now, name="next")
    mesh.publish()
    (region.folder / "next.key").replace(region.folder / "agent.key")
    eventually(
        lambda: any("and its key" in n for n in region.verdict()["notes"]), 10, "it says so"
    )
    assert keys.change_over(region.folder)
    fresh = (region.folder / "agent.crt").read_text()
    eventually(lambda: shows(region, fresh), 60, "it shows the next")
    eventually(lambda: region.verdict()["notes"] == [], 60, "it says so no more")
    assert well(mesh.regions)


def test_certificates_that_ended_everywhere_take_no_vote_away(mesh: Mesh) -> None:
    """A pin ends by its successor, not by a date (federation_dns.keys); the end is said."""
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)
    for region in mesh.regions:
        _ = keys.generate(
            region.name, "127.0.0.1", region.folder, long_ago, name="next", lifetime=LEAF
        )
    mesh.publish()
    time.sleep(0.5)
    for region in mesh.regions:
        assert keys.change_over(region.folder)
    wanted = {r.name: (r.folder / "agent.crt").read_text() for r in mesh.regions}
    eventually(
        lambda: all(shows(r, wanted[r.name]) for r in mesh.regions), 40, "all show the next"
    )
    mesh.publish()
    eventually(
        lambda: all(
            "its certificate ended on" in r.verdict()["faults"].get(other, "")
            for r in mesh.regions
            for other in NAMES
        ),
        40,
        "the end is said",
    )
    assert oldest(mesh) < 1.5
    assert well(mesh.regions)
