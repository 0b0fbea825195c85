"""Databags of earlier revisions read by this one, and this one's read by theirs."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from federation_interfaces import (
    FederatedKind,
    HostAppData,
    MemberAppData,
    MeshEntry,
    MeshHubAppData,
    MeshMemberAppData,
    RegionHealthUnitData,
)
from federation_interfaces.databag import Databag
from federation_interfaces.testing import CERTIFICATES, EARLIER, earlier, earlier_revisions

SECRET = "secret://11111111-2222-4333-8444-555555555555/cvpq9fkvmmfc7ee6ccng"
MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)
# Where each model's databag stands in the files.
WRITTEN: dict[type[Databag], tuple[str, ...]] = {
    MemberAppData: ("kubefed-member", "federation"),
    HostAppData: ("kubefed-host", "members"),
    MeshMemberAppData: ("federation-dns", "spoke", "mesh"),
    MeshHubAppData: ("federation-dns", "hub", "mesh-hub"),
    RegionHealthUnitData: ("federation-dns", "hub", "region-health"),
}
ENTRY = MeshEntry(
    region="palermo",
    url="https://10.210.2.12:8443",
    certificate=CERTIFICATES[0],
    next_certificate=CERTIFICATES[1],
    nameserver="10.210.2.12",
    address_ranges=["10.210.2.0/24"],
    taken={"napoli": "0" * 64},
)
# What Juju itself writes into each unit's databag.
JUJUS = {"egress-subnets", "ingress-address", "private-address"}
# Every field of every model set: what an earlier revision may be given at worst.
WHOLE: list[Databag] = [
    MemberAppData(
        region="palermo",
        api_endpoint="https://api.palermo.example:6443",
        ca_certificate=CERTIFICATES[0],
        kubernetes_version="v1.35.4",
        labels={"region": "palermo"},
        token_secret_id=SECRET,
        token_expires_at=MOMENT,
    ),
    HostAppData(
        host_cluster="catania",
        namespace="kube-federation-system",
        kinds=[FederatedKind(group="apps", version="v1", kind="Deployment", plural="deployments")],
        joined=True,
        token_issued_at=MOMENT,
    ),
    MeshMemberAppData(entry=ENTRY),
    MeshHubAppData(entries=[ENTRY], dnssec_secret_id=SECRET),
    RegionHealthUnitData(
        url="https://10.210.1.12:8443",
        certificate=CERTIFICATES[0],
        next_certificate=CERTIFICATES[1],
    ),
]
READER = """
import json, sys
import federation_interfaces
for line in sys.stdin:
    name, bag = json.loads(line)
    found = getattr(federation_interfaces, name).load(bag)
    print(json.dumps(found.model_dump(mode="json")))
"""


def written(revision: str, model: type[Databag]) -> dict[str, str]:
    charm, *path = WRITTEN[model]
    found: Any = earlier(revision, charm)
    for key in path:
        found = found[key]
    return {key: text for key, text in found.items() if key not in JUJUS}


def covers(more: Any, less: Any) -> bool:
    """Whether nothing of `less` is missing or different in `more`."""
    if isinstance(less, dict):
        return isinstance(more, dict) and all(covers(more.get(k), v) for k, v in less.items())
    if isinstance(less, list):
        same = isinstance(more, list) and len(more) == len(less)
        return same and all(map(covers, more, less))
    return more == less


def as_objects(bag: Mapping[str, str]) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in bag.items()}


@pytest.mark.parametrize("revision", earlier_revisions())
@pytest.mark.parametrize("model", WRITTEN, ids=lambda model: model.__name__)
class TestWhatTheyWrote:
    def test_is_read_whole(self, revision: str, model: type[Databag]):
        bag = written(revision, model)
        assert bag
        again: dict[str, str] = {}
        _ = model.load(bag).dump(again)
        assert covers(as_objects(again), as_objects(bag))

    def test_is_left_as_it_is_where_nothing_changed(self, revision: str, model: type[Databag]):
        bag = {**written(revision, model), "later": '"kept"'}
        kept = dict(bag)
        _ = model.load(bag).dump(kept)
        assert covers(as_objects(kept), as_objects(bag))


def test_every_field_is_tried():
    for data in WHOLE:
        empty = [name for name in type(data).model_fields if getattr(data, name) is None]
        assert empty == [], type(data).__name__
    assert not [name for name in MeshEntry.model_fields if not getattr(ENTRY, name)]
    assert [type(data) for data in WHOLE] == list(WRITTEN)


@pytest.mark.parametrize(
    "revision", sorted(each.name for each in EARLIER.iterdir() if each.is_dir())
)
def test_they_read_what_is_written_now(revision: str):
    bags = [json.dumps([type(data).__name__, _dumped(data)]) for data in WHOLE]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READER],
        input="\n".join(bags),
        env={**os.environ, "PYTHONPATH": str(EARLIER / revision)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line, data in zip(done.stdout.splitlines(), WHOLE, strict=True):
        seen = json.loads(line)
        assert covers(data.model_dump(mode="json"), seen)
        # What it knew then, it still gets.
        assert seen.keys() >= as_objects(written(revision, type(data))).keys()
        assert None not in seen.values()


def _dumped(data: Databag) -> dict[str, str]:
    bag: dict[str, str] = {}
    _ = data.dump(bag)
    return bag
