"""What API servers may do wrong (reference: reliability.md, faults E) before our controller.

Of every fault: the healthy member isn't delayed, nothing is deleted that should live, nothing is
written twice, and when it is over every member holds exactly what the host says.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from controller_harness import FEDERATED, eventually
from fault_proxy import GONE, HTML, WRITES, Do, Rule, status, too_many
from faults_harness import Faulty
from kubefed.api import CONFIG_MAP
from kubefed.controller import informer
from kubefed.controller.members import GRACE_SECONDS

pytestmark = pytest.mark.cluster
NS = "faulted"
MAPS = r"/configmaps"
# What a healthy member may take while another is sick: undisturbed it is well under 0.1 s, but
# other tests run beside these.
UNDELAYED = 4.0
# What a member may take that is well again.
MENDED = 10.0
SICK = "member2"


@pytest.fixture(scope="module", autouse=True)
def running(faulty: Faulty) -> Generator[None]:
    """One controller for all tests: whatever is done to it, it goes on."""
    with faulty.controller():
        faulty.make_namespace(NS)
        for name in ("old1", "old2"):
            faulty.post(NS, name, "old")
        eventually(lambda: faulty.settled(NS))
        yield


@pytest.fixture(autouse=True)
def mended(faulty: Faulty, running: None) -> Generator[None]:
    """After every test, all is as the host says."""
    del running
    began = time.monotonic()
    assert faulty.settled(NS)
    yield
    faulty.proxy.heal()
    eventually(lambda: faulty.settled(NS), MENDED)
    assert faulty.foreign_untouched(NS)
    # What was there before is what is there now: not made anew, and nothing of it lost.
    assert not [line for line in faulty.deleted(began) if "/old" in line]


def undelayed(
    faulty: Faulty, name: str, do: Callable[[], object], bound: float = UNDELAYED
) -> None:
    """Do something while a member is sick, and see it done in time in the other."""
    do()
    host = faulty.federation.host.get(FEDERATED["configmap"].path(NS, name))
    living = host and "deletionTimestamp" not in host["metadata"]
    wish = host["spec"]["template"]["data"]["is"] if living else None
    eventually(lambda: faulty.value("member1", NS, name) == wish, bound)


def drift(faulty: Faulty, name: str) -> None:
    """Somebody else changes an object in the sick member."""
    faulty.federation.apis[SICK].merge(CONFIG_MAP.path(NS, name), {"data": {"is": "drifted"}})


def right(faulty: Faulty, name: str) -> Callable[[], bool]:
    return lambda: faulty.value(SICK, NS, name) == faulty.wished(NS)[SICK][name]


def took_effect(faulty: Faulty, began: float, verb: str, name: str) -> int:
    """How often a member's server did a write to an object."""
    found = faulty.writes(began, rf"/namespaces/{NS}/configmaps")
    mine = [
        each
        for each in found
        if each.cluster == SICK
        and each.verb == verb
        and each.took_effect
        and (each.path.endswith(f"/{name}") or f'"name":"{name}"'.encode() in each.content)
    ]
    return len(mine)


REFUSALS: dict[str, dict[str, Any]] = {
    "429": too_many(1),
    "500": status(500, "InternalError"),
    "503": status(503, "ServiceUnavailable"),
    "html": HTML,
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
def test_writes_refused_for_a_while(
    faulty: Faulty, answer: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    began = time.monotonic()
    name = f"refused-{request.node.callspec.id}"
    faulty.proxy.rules.append(Rule(Do.ANSWER, WRITES, MAPS, SICK, times=3, **answer))
    undelayed(faulty, name, lambda: faulty.post(NS, name, "new"))
    undelayed(faulty, "old1", lambda: faulty.set(NS, "old1", f"by {name}"))
    eventually(lambda: faulty.settled(NS), MENDED)
    assert took_effect(faulty, began, "create", name) == 1
    assert took_effect(faulty, began, "update", "old1") == 1


def test_a_write_refused_with_retry_after_is_not_tried_before(faulty: Faulty) -> None:
    began = time.monotonic()
    faulty.proxy.rules.append(Rule(Do.ANSWER, "create", MAPS, SICK, times=1, **too_many(2)))
    undelayed(faulty, "patient", lambda: faulty.post(NS, "patient", "new"))
    eventually(lambda: faulty.value(SICK, NS, "patient"), 6)
    tried = [
        each.at
        for each in faulty.proxy.since(began, verbs="create", path=MAPS)
        if each.cluster == SICK
    ]
    assert [round(at - tried[0], 1) for at in tried[1:] if at - tried[0] < 1.9] == []


def test_a_watch_refused_with_retry_after_comes_back(faulty: Faulty) -> None:
    began = time.monotonic()
    faulty.proxy.rules.append(Rule(Do.ANSWER, "watch", MAPS, SICK, times=2, **too_many(1)))
    faulty.proxy.cut(SICK, "watch", MAPS)
    eventually(lambda: faulty.proxy.rules[0].used == 1, 3)
    drift(faulty, "old1")
    undelayed(faulty, "watched", lambda: faulty.post(NS, "watched", "new"))
    eventually(right(faulty, "old1"), 5)
    asked = [
        each.at
        for each in faulty.proxy.since(began, verbs="watch", path=MAPS)
        if each.cluster == SICK
    ]
    gaps = [after - before for before, after in itertools.pairwise(asked)]
    assert len(asked) == 3
    assert min(gaps) >= 1.0


def test_a_gateway_gives_up_but_the_writes_took(faulty: Faulty) -> None:
    faulty.post(NS, "leaving", "old")
    eventually(lambda: faulty.settled(NS))
    began = time.monotonic()
    for verb in ("create", "update", "delete"):
        faulty.proxy.rules.append(
            Rule(Do.ANSWER_AFTER, verb, MAPS, SICK, times=1, **status(504, "Timeout"))
        )
    undelayed(faulty, "slow", lambda: faulty.post(NS, "slow", "new"))
    undelayed(faulty, "old1", lambda: faulty.set(NS, "old1", "after 504"))
    undelayed(faulty, "leaving", lambda: faulty.delete(NS, "leaving"))
    eventually(lambda: faulty.settled(NS), MENDED)
    assert all(rule.used == 1 for rule in faulty.proxy.rules)
    assert took_effect(faulty, began, "create", "slow") == 1
    assert took_effect(faulty, began, "delete", "leaving") == 1
    assert took_effect(faulty, began, "update", "old1") <= 2


def test_connections_that_break_after_the_writes_took(faulty: Faulty) -> None:
    faulty.post(NS, "leaving", "old")
    eventually(lambda: faulty.settled(NS))
    began = time.monotonic()
    for verb in ("create", "update", "delete"):
        faulty.proxy.rules.append(Rule(Do.CUT_AFTER, verb, MAPS, SICK, times=1))
    undelayed(faulty, "broken", lambda: faulty.post(NS, "broken", "new"))
    undelayed(faulty, "old1", lambda: faulty.set(NS, "old1", "after a break"))
    undelayed(faulty, "leaving", lambda: faulty.delete(NS, "leaving"))
    eventually(lambda: faulty.settled(NS), MENDED)
    assert took_effect(faulty, began, "create", "broken") == 1
    assert took_effect(faulty, began, "delete", "leaving") == 1


def test_a_place_that_is_gone_twice_in_a_row(faulty: Faulty) -> None:
    began = time.monotonic()
    faulty.proxy.rules += [
        Rule(Do.ANSWER, "watch", MAPS, SICK, times=2, **GONE),
        Rule(Do.ANSWER, "list", MAPS, SICK, times=2, **GONE),
    ]
    faulty.proxy.cut(SICK, "watch", MAPS)
    drift(faulty, "old1")
    undelayed(faulty, "gone", lambda: faulty.post(NS, "gone", "new"))
    eventually(lambda: faulty.settled(NS), MENDED)
    eventually(lambda: [rule.used for rule in faulty.proxy.rules] == [2, 2])
    assert faulty.deleted(began) == []


@pytest.mark.parametrize("cluster", [SICK, "host"])
def test_a_watch_that_says_that_its_place_is_gone(faulty: Faulty, cluster: str) -> None:
    began = time.monotonic()
    rule = Rule(Do.END_BY_EVENT, "watch", MAPS, cluster, times=2, body=GONE["body"])
    if cluster == "host":
        rule.path = "/federatedconfigmaps"
    faulty.proxy.rules.append(rule)
    name = f"told-{cluster}"
    faulty.post(NS, name, "new")
    eventually(lambda: faulty.settled(NS), MENDED)
    # The watch of the test before may stand again only in a moment.
    for number in range(50):
        faulty.set(NS, name, f"newer{number}")
        eventually(lambda: faulty.settled(NS), MENDED)
        if rule.used:
            break
        time.sleep(0.1)
    assert rule.used >= 1
    assert faulty.deleted(began) == []
    assert took_effect(faulty, began, "create", name) == 1


def test_every_event_doubled(faulty: Faulty) -> None:
    began = time.monotonic()
    faulty.proxy.rules.append(Rule(Do.DOUBLE_EVENT, "watch"))
    faulty.post(NS, "twice", "new")
    eventually(lambda: faulty.settled(NS))
    faulty.set(NS, "twice", "newer")
    eventually(lambda: faulty.settled(NS))
    faulty.delete(NS, "twice")
    eventually(lambda: faulty.value(SICK, NS, "twice") is None)
    for verb in ("create", "update", "delete"):
        assert took_effect(faulty, began, verb, "twice") == 1


def test_every_event_of_a_member_late(faulty: Faulty) -> None:
    began = time.monotonic()
    faulty.proxy.rules.append(Rule(Do.LATE_EVENT, "watch", MAPS, SICK, seconds=0.7))
    undelayed(faulty, "late", lambda: faulty.post(NS, "late", "new"))
    undelayed(faulty, "late", lambda: faulty.set(NS, "late", "newer"))
    undelayed(faulty, "late", lambda: faulty.delete(NS, "late"))
    mine = FEDERATED["configmap"].path(NS, "late")
    eventually(lambda: faulty.federation.host.get(mine) is None, 4)
    faulty.post(NS, "late", "again")
    eventually(lambda: faulty.settled(NS))
    time.sleep(2.5)
    assert faulty.settled(NS)
    assert took_effect(faulty, began, "create", "late") == 2
    assert took_effect(faulty, began, "delete", "late") == 1


def test_dropped_events_are_found_by_the_next_list(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "RELIST_SECONDS", 2.0)
    faulty.proxy.rules += [
        Rule(Do.DROP_EVENT, "watch", MAPS, SICK, event='"type":"MODIFIED"'),
        Rule(Do.DROP_EVENT, "watch", "/federatedconfigmaps", "host", event='"type":"ADDED"'),
    ]
    faulty.proxy.cut(SICK, "watch", MAPS)
    faulty.proxy.cut("host", "watch", "/federatedconfigmaps")
    time.sleep(0.5)
    drift(faulty, "old2")
    faulty.post(NS, "dropped", "new")
    eventually(right(faulty, "old2"), 6)
    eventually(lambda: faulty.settled(NS), 6)
    assert all(rule.used for rule in faulty.proxy.rules)


@pytest.mark.parametrize("do", [Do.HANG, Do.STALL])
def test_answers_that_never_end(faulty: Faulty, do: Do) -> None:
    faulty.proxy.rules.append(Rule(do, "list get " + WRITES, MAPS, SICK))
    faulty.proxy.cut(SICK, "watch", MAPS)
    name = f"endless-{do.name.lower()}"
    undelayed(faulty, name, lambda: faulty.post(NS, name, "new"))
    undelayed(faulty, "old1", lambda: faulty.set(NS, "old1", f"by {name}"))
    # A write that hangs is waited for a moment before the same object is written again.
    bound = GRACE_SECONDS + UNDELAYED
    undelayed(faulty, name, lambda: faulty.set(NS, name, "newer"), bound)
    assert faulty.proxy.rules[0].used


@pytest.mark.parametrize("answer", [HTML, GONE], ids=["html", "gone"])
def test_a_member_that_answers_nonsense_to_everything(
    faulty: Faulty, answer: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    began = time.monotonic()
    faulty.proxy.rules.append(Rule(Do.ANSWER, "", MAPS, SICK, **answer))
    faulty.proxy.cut(SICK, "watch", MAPS)
    name = f"nonsense-{request.node.callspec.id}"
    undelayed(faulty, name, lambda: faulty.post(NS, name, "new"))
    undelayed(faulty, "old1", lambda: faulty.set(NS, "old1", f"by {name}"))
    time.sleep(0.5)
    faulty.proxy.heal()
    eventually(lambda: faulty.settled(NS), MENDED)
    assert faulty.deleted(began) == []


def test_a_member_that_lists_nothing(faulty: Faulty) -> None:
    began = time.monotonic()
    faulty.proxy.rules += [
        Rule(Do.EMPTY, "list", "", SICK),
        Rule(Do.ANSWER, "watch", "", SICK, times=20, **GONE),
    ]
    faulty.proxy.cut(SICK, "watch")
    undelayed(faulty, "listed", lambda: faulty.post(NS, "listed", "new"))
    eventually(lambda: faulty.proxy.rules[0].used > 5, 5)
    time.sleep(0.5)
    assert took_effect(faulty, began, "create", "old1") == 0
    assert faulty.deleted(began) == []


@pytest.mark.parametrize("answer", [None, HTML], ids=["nothing", "html"])
def test_a_host_that_lists_nothing_or_nonsense(
    faulty: Faulty, answer: dict[str, Any] | None
) -> None:
    began = time.monotonic()
    # The lease is left out: who can't renew it has to stop, which is another test's.
    lists = Rule(Do.EMPTY, "list", "", "host")
    if answer is not None:
        lists = Rule(Do.ANSWER, "list", "", "host", **answer)
    faulty.proxy.rules += [lists, Rule(Do.ANSWER, "watch", "", "host", times=40, **GONE)]
    faulty.proxy.cut("host", "watch")
    eventually(lambda: lists.used > 20, 5)
    time.sleep(1.5)
    assert faulty.held(NS) == faulty.wished(NS)
    assert faulty.writes(began, MAPS) == []
    faulty.proxy.heal()
    faulty.set(NS, "old2", f"after {answer is None}")
    eventually(lambda: faulty.settled(NS), MENDED)
    assert faulty.deleted(began) == []


@pytest.mark.parametrize("code", [401, 403])
def test_one_kind_that_may_not_be_touched(faulty: Faulty, code: int) -> None:
    reason = {401: "Unauthorized", 403: "Forbidden"}[code]
    faulty.proxy.rules.append(Rule(Do.ANSWER, "", MAPS, SICK, **status(code, reason)))
    faulty.proxy.cut(SICK, "watch", MAPS)
    name = f"no-{code}"
    undelayed(faulty, name, lambda: faulty.post(NS, name, "new"))
    service = {"spec": {"ports": [{"port": 80}]}}
    placed = {"clusters": [{"name": SICK}]}
    faulty.federation.post("Service", NS, name, template=service, placement=placed)
    path = f"/api/v1/namespaces/{NS}/services/{name}"
    eventually(lambda: faulty.federation.apis[SICK].get(path), UNDELAYED)

    def told() -> bool:
        entries = faulty.federation.status("ConfigMap", NS, name).get("clusters") or []
        return {entry["name"]: entry.get("status", "") for entry in entries}.get(SICK) not in (
            None,
            "",
        )

    eventually(told, 3)
