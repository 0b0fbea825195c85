"""The host's API server ends while it is written to; histories end while watches stand.

Reference: reliability.md, F8, F49. Nothing is lost, nothing deleted, nothing made twice.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping

import httpx
import pytest
from controller_harness import Controller, eventually
from fault_proxy import GONE, Do, Rule
from faults_harness import Faulty
from federation_lab.cluster.loopback import API_SERVER, Programs
from kubefed.api import CONFIG_MAP
from kubefed.controller import informer
from sick_harness import Beside, Etcd, created_once, wanted_deletions, whole

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NS = "hosted"
MAPS = r"/configmaps"
SICK = "member2"


@pytest.fixture(scope="module", autouse=True)
def running(faulty: Faulty) -> Generator[Controller]:
    """One controller for all tests, which asks for lists page by page."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(informer, "PAGE", 3)
        with faulty.controller("hosted") as controller:
            faulty.make_namespace(NS)
            for number in range(8):
                faulty.post(NS, f"old{number}", "old")
            eventually(lambda: faulty.settled(NS))
            yield controller


def test_the_hosts_api_server_ends_while_it_is_written_to(
    faulty: Faulty, programs: Mapping[str, Programs], running: Controller
) -> None:
    began = time.monotonic()
    answered: dict[str, int] = {}

    def write(number: int) -> None:
        name, value = f"written-{number // 3}", str(number)
        try:
            if number % 3 == 0:
                faulty.post(NS, name, value)
            else:
                faulty.set(NS, name, value)
        except (httpx.TransportError, AssertionError):
            # Nobody there, or not let in yet; what was answered counts.
            return
        answered[name] = number

    with Beside(write, 0.05) as writer:
        eventually(lambda: writer.done > 20)
        # So that no place of a watch is known any more when it is back.
        etcd = Etcd(programs["host"].plane)
        etcd.compact()
        programs["host"].kill(API_SERVER)
        before = len(answered)
        time.sleep(1)
        etcd.compact()
        programs["host"].start()
        eventually(lambda: len(answered) > before + 5)
    back = time.monotonic()
    whole(faulty, NS)
    assert time.monotonic() - back < 30
    assert running.alive
    for values in faulty.held(NS).values():
        # What was done without an answer may be later.
        assert [name for name, of in answered.items() if int(values[name] or 0) < of] == []
    created_once(faulty, began, NS)
    wanted_deletions(faulty, began)
    # It did have to begin anew.
    assert faulty.proxy.since(back - 30, verbs="list", path="/federatedconfigmaps")


def test_a_member_whose_history_ends_while_it_is_watched(
    faulty: Faulty, programs: Mapping[str, Programs]
) -> None:
    began = time.monotonic()
    etcd = Etcd(programs[SICK].plane)
    for number in range(10):
        faulty.set(NS, "old0", f"compacted {number}")
        etcd.compact()
    faulty.federation.apis[SICK].merge(CONFIG_MAP.path(NS, "old1"), {"data": {"is": "drift"}})
    whole(faulty, NS)
    created_once(faulty, began, NS)
    wanted_deletions(faulty, began)


@pytest.mark.parametrize("cluster", [SICK, "host"])
def test_a_list_that_breaks_off_is_no_list(faulty: Faulty, cluster: str) -> None:
    """410 on a further page, twice and then for a while: what is known stays until all is read."""
    began = time.monotonic()
    maps = MAPS if cluster == SICK else "/federatedconfigmaps"
    broken = Rule(Do.ANSWER, "list", maps, cluster, query="continue=", **GONE)
    faulty.proxy.rules += [broken, Rule(Do.ANSWER, "watch", maps, cluster, times=1, **GONE)]
    faulty.proxy.cut(cluster, "watch", maps)
    eventually(lambda: broken.used >= 3, 10)
    assert faulty.held(NS) == faulty.wished(NS)
    assert faulty.writes(began, MAPS) == []
    faulty.post(NS, f"meanwhile-{cluster}", "new", "member1")
    if cluster == SICK:
        eventually(lambda: faulty.value("member1", NS, f"meanwhile-{cluster}"), 4)
    # Nor is a broken list asked for again without a pause.
    asked = broken.used
    time.sleep(1.5)
    assert broken.used - asked <= 6
    faulty.proxy.heal()
    whole(faulty, NS)
    wanted_deletions(faulty, began)
