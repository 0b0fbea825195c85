"""Bursts of events and answers without end, before a controller that is a process of its own.

Reference: reliability.md, F51, F70 (invariants I11, I12). It neither ends nor grows, and what it
does for others is done in time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping

import pytest
from controller_harness import clusters, eventually
from fault_proxy import Do, Rule
from faults_harness import MEMBERS, Faulty
from federation_lab.cluster.loopback import Programs
from kubefed.api import CONFIG_MAP
from sick_harness import (
    SOAK,
    Beside,
    Etcd,
    Process,
    created_once,
    delays,
    p99,
    probed_quickly,
    wanted_deletions,
    whole,
)

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NS, BURST = "flooded", "burst"
SICK = "member2"
EVENTS = 10_000 if SOAK else 1_000
MARK = "burst-00000000"
# What it may have more in the middle of it, in MiB: it keeps what is known of objects, not events.
GROWTH = 60.0
# What of that it may keep.
KEPT = 20.0
# How late what goes to others may be meanwhile. The proxy, the API servers and etcd share two
# processors with the controller here, so that this is no measure of it alone.
LATE = 10.0


@pytest.fixture(scope="module")
def process(faulty: Faulty, tmp_path_factory: pytest.TempPathFactory) -> Generator[Process]:
    log = tmp_path_factory.mktemp("flooded") / "controller.log"
    with probed_quickly(faulty):
        running = Process(faulty.kubeconfig, log)
        try:
            eventually(faulty.federation.all_ready, 30)
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def undisturbed(faulty: Faulty, process: Process) -> float:
    """How long a new object takes to a member when all is quiet (p99)."""
    for namespace in (NS, BURST):
        faulty.make_namespace(namespace)
    for number in range(100 if SOAK else 30):
        template = {"metadata": {"labels": {"burst": MARK}}, "data": {"is": "old"}}
        faulty.federation.post(
            "ConfigMap", BURST, f"old{number}", template=template, placement=clusters(*MEMBERS)
        )
    path = f"/apis/types.kubefed.io/v1beta1/namespaces/{BURST}/federatedconfigmaps"
    for item in faulty.federation.host.get(path)["items"]:
        labels = {"metadata": {"labels": {"burst": MARK}}}
        faulty.federation.host.merge(f"{path}/{item['metadata']['name']}", labels)
    eventually(lambda: faulty.settled(NS) and faulty.settled(BURST), 60)
    delays(faulty, NS, "warm", count=5)
    assert process.alive
    return p99(delays(faulty, NS, "quiet"))


def marks(faulty: Faulty) -> set[str]:
    """The marks of all objects in the members."""
    found = [faulty.federation.apis[name].get(CONFIG_MAP.path(BURST)) for name in MEMBERS]
    items = [item for each in found for item in each["items"]]
    return {
        item["metadata"]["labels"]["burst"]
        for item in items
        if "burst" in (item["metadata"].get("labels") or {})
    }


@pytest.mark.parametrize(
    ("cluster", "prefix"),
    [
        (SICK, f"/registry/configmaps/{BURST}/"),
        pytest.param(
            "host",
            f"/registry/types.kubefed.io/federatedconfigmaps/{BURST}/",
            marks=pytest.mark.skipif(not SOAK, reason="read as a member's; FEDERATION_SOAK=1"),
        ),
    ],
)
def test_a_burst_of_events(
    faulty: Faulty,
    process: Process,
    programs: Mapping[str, Programs],
    undisturbed: float,
    cluster: str,
    prefix: str,
) -> None:
    began = time.monotonic()
    memory, descriptors = process.memory(), process.descriptors()
    etcd = Etcd(programs[cluster].plane)
    found: list[float] = []
    with Beside(lambda turn: turn or etcd.burst(prefix, EVENTS), 0.05) as burst:
        while burst.done < 1:
            found += delays(faulty, NS, f"burst-{cluster}-{len(found)}", count=1)
    found += delays(faulty, NS, f"burst-{cluster}-after", count=10)
    assert p99(found) < max(LATE, 1.5 * undisturbed)
    grown = process.memory("VmHWM") - memory
    assert grown < GROWTH
    # What was changed in the member is put right, too.
    eventually(lambda: marks(faulty) == {MARK} and faulty.settled(BURST), 120)
    whole(faulty, NS)
    assert marks(faulty) == {MARK}
    assert faulty.settled(BURST)
    created_once(faulty, began, BURST)
    wanted_deletions(faulty, began)
    assert process.alive
    # Nor was the lease ever lost.
    assert process.log.read_text().count(" leads") == 1
    kept = process.memory() - memory
    assert kept < KEPT
    text = (
        "%d events: others wait %.1f s at most, quiet %.1f s; MiB more: %.0f amid it, %.0f after"
    )
    log.warning(text, EVENTS, p99(found), undisturbed, grown, kept)
    # Connections that were used are kept for a minute.
    if SOAK:
        eventually(lambda: process.descriptors() <= descriptors + 5, 120)
    assert process.descriptors() < descriptors + 100


def test_answers_without_end(faulty: Faulty, process: Process, undisturbed: float) -> None:
    began = time.monotonic()
    memory = process.memory()
    faulty.proxy.rules.append(Rule(Do.ENDLESS, cluster=SICK, body=" " * 65536))
    faulty.proxy.cut(SICK)
    assert p99(delays(faulty, NS, "endless")) < max(LATE, 1.5 * undisturbed)
    eventually(lambda: faulty.proxy.rules[0].used > 5)
    time.sleep(2)
    faulty.proxy.heal()
    # The allowance of one server, and what Python needs to grow buffers.
    assert process.memory("VmHWM") - memory < 2 * 128 + GROWTH
    whole(faulty, NS, 40)
    wanted_deletions(faulty, began)
    assert process.alive
