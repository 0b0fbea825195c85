"""The host cluster is lost with all that was in it, and restored; the members live on.

Issue 6: memberships and objects back, no write to a member, at most 2 minutes with 1,000 objects.
The controller runs all the while, and sees the emptied host. The tests build on each other.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Generator
from typing import Any

import pytest
from controller_harness import FEDERATED, FEDERATION, eventually
from kubefed.api import (
    CONFIG_MAP,
    DEPLOYMENT,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    NAMESPACE,
    PROPAGATED_VERSION,
    FederatedType,
)
from kubefed.controller.transparent import marks
from restoring_harness import KINDS, PLACES, POLICY, SHOP, Restoring

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
log = logging.getLogger(__name__)
SOAK = os.environ.get("FEDERATION_SOAK") == "1"
MAPS = 1000 if SOAK else 100
RESTORE_SECONDS = 120
FEDERATED_KINDS = [FederatedType.of(kind).federated for kind in KINDS]


@pytest.fixture(scope="module")
def backed_up(restoring: Restoring) -> Generator[Restoring]:
    """A federation that is full and at rest, its backup, and a controller that goes on."""
    restoring.kubefed("backup", "--new-key", str(restoring.key))
    with restoring.controller():
        restoring.fill(MAPS)
        before = restoring.rest()
        assert len(before["palermo"]) >= MAPS + 8
        taken = restoring.kubefed("backup", str(restoring.file), "--key-file", str(restoring.key))
        assert taken["objects"]["federated objects"] >= MAPS + 8
        assert taken["objects"]["plain objects"] == 3
        assert taken["changed_since"] == []
        yield restoring


def restore(restoring: Restoring, *words: str, status: int = 0) -> Any:
    given = [str(restoring.file), "--key-file", str(restoring.key), *words]
    return restoring.kubefed("restore", *given, status=status)


def host_versions(restoring: Restoring, on: str = "host") -> dict[str, str]:
    """Every object of the federation in the host, and the version of what users say in it."""
    api, found = restoring.federation.apis[on], {}
    for kind in (*FEDERATED_KINDS, FEDERATED_TYPE_CONFIG, PROPAGATED_VERSION, NAMESPACE):
        for item in api.get(kind.path())["items"]:
            meta = item["metadata"]
            key = f"{kind.kind} {meta.get('namespace', '')}/{meta['name']}"
            found[key] = f"{meta['uid']} {meta['resourceVersion']}"
    return found


def test_nobody_else_reads_a_backup(backed_up: Restoring) -> None:
    for path in (backed_up.file, backed_up.key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = backed_up.file.read_bytes()
    line, _, rest = content.partition(b"\n")
    assert b"kubefed-backup" in line
    for secret in (b"hunter2", b"aHVudGVyMg", b"password", b"eyJhbGci", b"map-1"):
        assert secret not in content
    assert len(rest) > 1000


def test_the_members_objects_are_found_and_not_written(backed_up: Restoring) -> None:
    before = backed_up.photos()
    wrote = {name: backed_up.writes(name) for name in before}
    backed_up.lose_the_host()
    # So long a controller has been at the emptied host.
    time.sleep(3)
    would = restore(backed_up, "--dry-run")
    assert len(would["would"]) == sum(would["created"].values()) + 1
    assert "create FederatedConfigMap north/map-0" in would["would"]
    assert "change KubeFedCluster host" in would["would"]
    assert backed_up.host.get(NAMESPACE.path(name=FEDERATION)) is None
    began = time.monotonic()
    done = restore(backed_up)
    assert done["created"] == would["created"]
    took = time.monotonic() - began
    log.warning("%d objects restored in %.1f s", sum(done["created"].values()), took)
    assert took < RESTORE_SECONDS
    assert done["members"] == {"host": "", "palermo": "", "napoli": ""}
    assert done["rejoined"] == "host"
    eventually(backed_up.federation.leader, 30)
    assert backed_up.rest() == before
    assert {name: backed_up.writes(name) for name in before} == wrote
    eventually(backed_up.federation.all_ready, 30)


def test_the_hosts_own_copies_are_made_anew(backed_up: Restoring) -> None:
    def copies() -> int:
        return len(backed_up.photo(backed_up.host))

    eventually(lambda: copies() >= MAPS + 8, 60)
    source = backed_up.host.get(DEPLOYMENT.path(SHOP, "web"))
    assert source["metadata"]["labels"][marks.SOURCE] == "true"
    owner = backed_up.host.get(FEDERATED["deployment"].path(SHOP, "web"))["metadata"][
        "ownerReferences"
    ][0]
    assert owner["uid"] == source["metadata"]["uid"]


def test_what_is_changed_after_it_is_carried(backed_up: Restoring) -> None:
    backed_up.host.merge(CONFIG_MAP.path(SHOP, "web"), {"data": {"color": "green"}})
    backed_up.host.merge(
        FEDERATED["configmap"].path(PLACES[0], "map-0"),
        {"spec": {"template": {"data": {"number": "new"}}}},
    )
    napoli = backed_up.federation.apis["napoli"]

    def carried() -> bool:
        shop = napoli.get(CONFIG_MAP.path(SHOP, "web"))["data"]
        plain = napoli.get(CONFIG_MAP.path(PLACES[0], "map-0"))["data"]
        return shop == {"color": "green"} and plain == {"number": "new"}

    eventually(carried, 30)


def test_a_difference_is_named_and_nothing_is_done(backed_up: Restoring) -> None:
    backed_up.rest()
    before, members = host_versions(backed_up), backed_up.photos()
    said = restore(backed_up, status=1)
    assert "FederatedConfigMap north/map-0" in said
    assert "ConfigMap shop/web" in said
    assert "map-1" not in said
    assert host_versions(backed_up) == before
    assert backed_up.photos() == members


def test_a_difference_is_replaced_while_the_controller_waits(backed_up: Restoring) -> None:
    done = restore(backed_up, "--overwrite")
    assert "FederatedConfigMap north/map-0" in done["changed"]
    assert done["created"] == {}
    napoli = backed_up.federation.apis["napoli"]

    def carried() -> bool:
        shop = napoli.get(CONFIG_MAP.path(SHOP, "web"))["data"]
        plain = napoli.get(CONFIG_MAP.path(PLACES[0], "map-0"))["data"]
        return shop == {"color": "red"} and plain == {"number": "0"}

    eventually(carried, 60)


def test_a_second_restore_changes_nothing(backed_up: Restoring) -> None:
    backed_up.rest()
    before = host_versions(backed_up)
    done = restore(backed_up)
    assert (done["created"], done["changed"], done["not_in_backup"]) == ({}, [], [])
    assert done["rejoined"] == ""
    assert host_versions(backed_up) == before


def test_a_file_that_is_spoilt_changes_nothing(backed_up: Restoring) -> None:
    spoilt = backed_up.directory / "spoilt"
    spoilt.write_bytes(backed_up.file.read_bytes()[:-1])
    before = host_versions(backed_up)
    words = (str(spoilt), "--key-file", str(backed_up.key), "--overwrite")
    assert "cut off" in backed_up.kubefed("restore", *words, status=1)
    assert host_versions(backed_up) == before


def test_a_new_host_takes_no_member_in_whose_objects_it_would_let_go(backed_up: Restoring) -> None:
    """A host in the place of the lost one is given its members before it is restored."""
    before, everywhere = backed_up.rest(), backed_up.everywhere
    given = (str(backed_up.directory / "new.backup"), "--key-file", str(backed_up.key))
    backed_up.kubefed("backup", *given)
    wrote = backed_up.writes("palermo")
    backed_up.lose_the_host()
    backed_up.kubefed("init")
    eventually(backed_up.federation.leader, 30)
    for words in (("palermo", "--dry-run"), ("palermo",)):
        said = backed_up.kubefed("join", *words, config=everywhere, status=1)
        assert "palermo holds objects of a federation of which this host has none" in said
        assert "Namespace north" in said
    backed_up.kubefed("join", "napoli", "--release-orphans", config=everywhere)
    napoli = backed_up.federation.apis["napoli"]
    # What the refusal keeps from palermo: all but the kind that a new host doesn't federate.
    eventually(lambda: {each.split()[0] for each in backed_up.photo(napoli)} == {POLICY.kind}, 60)
    assert napoli.get(DEPLOYMENT.path(PLACES[0], "web")) is not None
    assert backed_up.photos()["palermo"] == before["palermo"]

    backed_up.kubefed("restore", *given, "--overwrite")
    backed_up.give_rights("napoli")
    after = backed_up.rest()
    assert after["palermo"] == before["palermo"]
    assert after["napoli"].keys() == before["napoli"].keys()
    assert backed_up.writes("palermo") == wrote


def test_a_member_becomes_the_host_where_the_host_is_lost_for_good(backed_up: Restoring) -> None:
    """The former host's controller still runs beside the members, and can't lead."""
    palermo, napoli = (backed_up.federation.apis[name] for name in ("palermo", "napoli"))
    # Of what was written since the first backup the members have other versions.
    last = (str(backed_up.directory / "last.backup"), "--key-file", str(backed_up.key))
    _ = backed_up.rest()
    backed_up.kubefed("backup", *last)
    backed_up.machines["host"].kill()
    before = {"palermo": backed_up.photo(palermo), "napoli": backed_up.photo(napoli)}
    wrote = backed_up.writes("napoli")
    done = backed_up.kubefed("restore", *last, on="palermo")
    assert done["rejoined"] == ""
    assert done["members"]["palermo"] == done["members"]["napoli"] == ""
    assert "unreachable" in done["members"]["host"]
    with backed_up.controller("palermo"):

        def at_work() -> bool:
            entries = palermo.get(KUBEFED_CLUSTER.path(FEDERATION))["items"]
            said = {
                each["metadata"]["name"]: backed_up.federation.conditions(each).get("Ready")
                for each in entries
            }
            web = palermo.get(DEPLOYMENT.path(SHOP, "web"))["metadata"]["labels"]
            return said.get("napoli") == "True" and web.get(marks.SOURCE) == "true"

        eventually(at_work, 60)
        # What it would have done to members it has done by now.
        napoli_map = FEDERATED["configmap"].path(PLACES[1], "map-1")
        new = {"spec": {"template": {"data": {"number": "palermo leads"}}}}
        palermo.merge(napoli_map, new)
        path = CONFIG_MAP.path(PLACES[1], "map-1")
        eventually(lambda: napoli.get(path)["data"] == {"number": "palermo leads"}, 60)
        time.sleep(3)
        changed = {
            key
            for key, value in backed_up.photo(napoli).items()
            if before["napoli"].get(key) != value
        }
        assert changed == {"ConfigMap south/map-1"}
        assert backed_up.writes("napoli") - wrote == 1
        assert backed_up.photo(palermo).keys() == before["palermo"].keys()
        uids = {key: value[0] for key, value in backed_up.photo(palermo).items()}
        assert uids == {key: value[0] for key, value in before["palermo"].items()}
