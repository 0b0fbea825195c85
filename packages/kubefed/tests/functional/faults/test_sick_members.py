"""Members that are killed, frozen, taken over, locked, fought over or hostile.

Reference: reliability.md, F8, F38, F51, F54 to F56, F70 (invariants I9, I11). The others aren't
delayed, and afterwards all is as the host says.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

import pytest
from controller_harness import FEDERATED, FEDERATION, eventually
from fault_proxy import GONE, WRITES, Do, Rule, status
from faults_harness import MEMBERS, Faulty
from federation_lab.cluster.loopback import API_SERVER, Programs
from kubefed.api import CONFIG_MAP, KUBEFED_CLUSTER, SECRET, SERVICE_ACCOUNT
from kubefed.controller.turns import BRAKED_SECONDS, FREE_WRITES
from sick_harness import (
    SOAK,
    Beside,
    created_once,
    delays,
    event_texts,
    no_later,
    p99,
    probed_quickly,
    wanted_deletions,
    whole,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NS, OTHER = "sick", "sick-too"
MAPS = r"/configmaps"
SICK = "member2"
ENTRY = KUBEFED_CLUSTER.path(FEDERATION, SICK)
# What a healthy member may take while another is sick, where no other measure is taken.
UNDELAYED = 4.0
BACKLOG = 100 if SOAK else 40


@pytest.fixture(scope="module", autouse=True)
def running(faulty: Faulty) -> Generator[None]:
    """One controller for all tests: whatever is done to the members, it goes on."""
    with probed_quickly(faulty), faulty.controller("sick") as controller:
        for namespace in (NS, OTHER):
            faulty.make_namespace(namespace)
            for name in ("old1", "old2", "leaving"):
                faulty.post(namespace, name, "old")
        eventually(lambda: faulty.settled(NS) and faulty.settled(OTHER))
        yield
        assert controller.alive


@pytest.fixture(scope="module")
def undisturbed(faulty: Faulty, running: None) -> float:
    """How long a new object takes to a member when all are well (p99)."""
    del running
    delays(faulty, NS, "warm", count=5)
    return p99(delays(faulty, NS, "well", count=40 if SOAK else 15))


@pytest.fixture(autouse=True)
def mended(faulty: Faulty, undisturbed: float) -> Generator[None]:
    del undisturbed
    yield
    faulty.proxy.heal()
    eventually(lambda: faulty.settled(NS) and faulty.settled(OTHER), 30)


def entry(faulty: Faulty) -> dict[str, str]:
    """The messages of the sick cluster's true conditions."""
    conditions = faulty.federation.host.get(ENTRY)["status"]["conditions"]
    return {each["type"]: each["message"] for each in conditions if each["status"] == "True"}


def state(faulty: Faulty, namespace: str, name: str) -> str | None:
    """How an object stands in the sick member by the federated object's status."""
    entries = faulty.federation.status("ConfigMap", namespace, name).get("clusters") or []
    return next((each.get("status", "") for each in entries if each["name"] == SICK), None)


def measured(faulty: Faulty) -> Callable[[str], list[float]]:
    return lambda tag: delays(faulty, NS, tag)


def test_one_namespace_that_may_not_be_written_to(faulty: Faulty) -> None:
    """F55: the rest of the same member goes on, and the refusal is told in full.

    It comes first: events are written a few a second, and after the others many wait.
    """
    began = time.monotonic()
    rule = Rule(Do.ANSWER, WRITES, f"/namespaces/{OTHER}/", SICK, **status(403, "Forbidden"))
    faulty.proxy.rules.append(rule)
    faulty.post(OTHER, "barred", "new")
    faulty.post(NS, "let-in", "new")
    faulty.set(OTHER, "old1", "barred")
    for member in MEMBERS:
        eventually(lambda member=member: faulty.value(member, NS, "let-in"), UNDELAYED)
    eventually(lambda: faulty.value("member1", OTHER, "barred"), UNDELAYED)
    eventually(lambda: state(faulty, OTHER, "barred") == "CreationFailed", UNDELAYED)
    eventually(lambda: state(faulty, OTHER, "old1") == "UpdateFailed", UNDELAYED)
    (text,) = eventually(lambda: event_texts(faulty, OTHER, "barred", "CreateInClusterFailed"))
    wanted = f"ConfigMap in {SICK}: {SICK}: POST /api/v1/namespaces/{OTHER}/configmaps: 403"
    assert text.startswith(wanted)
    tries = rule.used
    time.sleep(2)
    assert rule.used - tries <= 8
    faulty.proxy.heal()
    eventually(lambda: faulty.settled(OTHER), 15)
    whole(faulty, NS)
    wanted_deletions(faulty, began)


def kill(programs: Programs) -> None:
    programs.kill()


def kill_etcd(programs: Programs) -> None:
    programs.kill("etcd")


def kill_api_server(programs: Programs) -> None:
    programs.kill(API_SERVER)


HOW: dict[str, tuple[Callable[[Programs], None], Callable[[Programs], None]]] = {
    "killed": (kill, Programs.start),
    "frozen": (Programs.freeze, Programs.thaw),
    "without-etcd": (kill_etcd, Programs.start),
    "without-api-server": (kill_api_server, Programs.start),
}


@pytest.mark.parametrize("how", HOW if SOAK else ("frozen",))
def test_a_member_that_ends_and_comes_back(
    faulty: Faulty, programs: Mapping[str, Programs], undisturbed: float, how: str
) -> None:
    end, revive = HOW[how]
    began = time.monotonic()
    leaving = f"leaving-{how}"
    faulty.post(NS, leaving, "old")
    eventually(lambda: faulty.settled(NS))
    end(programs[SICK])
    try:
        no_later(measured(faulty), undisturbed, f"{how}-at-once-")
        faulty.set(NS, "old1", f"while {how}")
        faulty.delete(NS, leaving)
        eventually(lambda: faulty.value("member1", NS, "old1") == f"while {how}", UNDELAYED)
        eventually(lambda: faulty.value("member1", NS, leaving) is None, UNDELAYED)
        eventually(lambda: "Ready" not in entry(faulty), 15)
        for number in range(BACKLOG):
            faulty.post(NS, f"{how}-backlog-{number}", "new", SICK)
        no_later(measured(faulty), undisturbed, f"{how}-known-")
        # A deletion waits for it, and says so.
        assert faulty.federation.host.get(FEDERATED["configmap"].path(NS, leaving))
        eventually(lambda: state(faulty, NS, leaving), UNDELAYED)
    finally:
        revive(programs[SICK])
    # What it has missed comes before nobody else's.
    eventually(lambda: "Ready" in entry(faulty), 20)
    no_later(measured(faulty), undisturbed, f"{how}-back-")
    whole(faulty, NS)
    created_once(faulty, began, NS)
    wanted_deletions(faulty, began, leaving)


def test_another_cluster_at_its_address(faulty: Faulty) -> None:
    """F54: address and credentials are good, but of another member."""
    host = faulty.federation.host
    own = host.get(ENTRY)["spec"]
    other = host.get(KUBEFED_CLUSTER.path(FEDERATION, "member1"))["spec"]
    began = time.monotonic()
    host.merge(ENTRY, {"spec": other})
    try:
        # Its entry is read a moment later; what is posted before that still has the right address.
        eventually(lambda: "another cluster" in entry(faulty).get("ConfigMalformed", ""), 10)
        moved = time.monotonic()
        faulty.post(NS, "swapped", "new", SICK)
        faulty.set(NS, "old2", "while swapped")
        eventually(lambda: faulty.value("member1", NS, "old2") == "while swapped", UNDELAYED)
        eventually(lambda: state(faulty, NS, "swapped"), UNDELAYED)
        time.sleep(1.5)
        written = [
            each.path
            for each in faulty.writes(began, "^/api/")
            if each.cluster == "member1" and not each.path.endswith("/old2")
        ]
        assert written == []
        # By which way it is reached, the one change that is meant for it goes there once.
        assert len(faulty.writes(moved, "/old2$")) == 1
    finally:
        host.merge(ENTRY, {"spec": own})
    back = time.monotonic()
    eventually(lambda: faulty.settled(NS), 10)
    assert time.monotonic() - back < 10
    assert "ConfigMalformed" not in entry(faulty)
    whole(faulty, NS)
    wanted_deletions(faulty, began)
    # What it had before is as it was, so nothing of it is written anew.
    found = [each for each in faulty.writes(back, "^/api/v1/") if each.cluster == SICK]
    assert {each.path for each in found if each.verb != "create"} <= {
        f"{CONFIG_MAP.path(NS)}/old2"
    }


def account_of(faulty: Faulty, secret: str) -> tuple[str, str]:
    """The ServiceAccount in the member whose token a Secret holds: namespace and name."""
    found = faulty.federation.host.get(secret)["data"]["token"]
    claims = base64.b64decode(found).decode().split(".")[1]
    subject = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
    *_, namespace, name = subject.split(":")
    return namespace, name


def test_a_token_that_ends_and_the_next_one(faulty: Faulty, undisturbed: float) -> None:
    """F38: 401 on all amid the work; the new token is used without a restart."""
    host, member = faulty.federation.host, faulty.federation.apis[SICK]
    secret = SECRET.path(FEDERATION, host.get(ENTRY)["spec"]["secretRef"]["name"])
    namespace, name = account_of(faulty, secret)
    path = SERVICE_ACCOUNT.path(namespace, name)
    began = time.monotonic()
    # The bindings name it, so its successor of the same name has the same rights.
    member.call("DELETE", path)
    member.call("POST", SERVICE_ACCOUNT.path(namespace), {"metadata": {"name": name}})
    tags = iter(range(1000))

    def refused() -> bool:
        # An API server remembers for some seconds that a token was good.
        faulty.post(NS, f"revoked-{next(tags)}", "new")
        time.sleep(0.2)
        return any(
            each.reached == 401 and each.cluster == SICK
            for each in faulty.proxy.since(began, verbs=WRITES)
        )

    eventually(refused, 20)
    no_later(measured(faulty), undisturbed, "without-token-")
    eventually(lambda: state(faulty, NS, "without-token-0-0"), UNDELAYED)
    eventually(lambda: "Ready" not in entry(faulty), 15)
    token = member.call("POST", f"{path}/token", {"spec": {"expirationSeconds": 3600}})
    encoded = base64.b64encode(token["status"]["token"].encode()).decode()
    renewed = time.monotonic()
    host.merge(secret, {"data": {"token": encoded}})

    def taken() -> bool:
        since = faulty.proxy.since(renewed, verbs=WRITES, path=MAPS)
        return any(each.cluster == SICK and each.took_effect for each in since)

    eventually(taken, 5)
    whole(faulty, NS)
    created_once(faulty, began, NS)
    wanted_deletions(faulty, began)


@pytest.mark.skipif(not SOAK, reason="FEDERATION_SOAK=1; unit/controller/test_turns.py has it")
def test_a_second_writer_that_fights(faulty: Faulty, undisturbed: float) -> None:
    """F56: 20 changes a second to one object are answered once a second, and named."""
    began = time.monotonic()
    api = faulty.federation.apis[SICK]
    path = CONFIG_MAP.path(NS, "old1")

    def interfere(number: int) -> None:
        api.merge(path, {"data": {"is": f"theirs {number}"}})

    with Beside(interfere, 0.05) as writer:
        no_later(measured(faulty), undisturbed, "fought-")
        time.sleep(max(0.0, began + 6 - time.monotonic()))
    lasted = time.monotonic() - began
    ours = [each for each in faulty.writes(began, "/old1$") if each.took_effect]
    # Of what both wrote, they wrote by far the most.
    assert writer.done > 2 * len(ours)
    assert FREE_WRITES <= len(ours) <= FREE_WRITES + lasted / BRAKED_SECONDS + 1
    (text,) = eventually(lambda: event_texts(faulty, NS, "old1", "ContestedInCluster"))
    assert f"ConfigMap in {SICK}: python-httpx changes it again and again" in text
    eventually(lambda: faulty.settled(NS), 5)
    # A single change is put right at once, as ever.
    time.sleep(FREE_WRITES * BRAKED_SECONDS)
    interfere(-1)
    eventually(lambda: faulty.value(SICK, NS, "old1") == faulty.wished(NS)[SICK]["old1"], 1.5)
    whole(faulty, NS)
    wanted_deletions(faulty, began)


ODD = [
    {"metadata": {"namespace": NS, "name": name, "uid": name, "resourceVersion": "1"}}
    for name in ("../../secrets/kubefed", "..", "a\nb", "a\x1b[31m", "a/b", "x" * 3000)
]
HOSTILE: dict[str, Callable[[Faulty], list[Rule]]] = {
    "elsewhere": lambda faulty: [
        Rule(
            Do.ANSWER,
            cluster=SICK,
            status=302,
            headers={"Location": f"{faulty.proxy.endpoint('member1')}/elsewhere"},
        )
    ],
    "a-byte-a-second": lambda _: [Rule(Do.TRICKLE, "list get " + WRITES, "", SICK, seconds=1.0)],
    "odd-names": lambda _: [
        Rule(
            Do.ANSWER,
            "list",
            MAPS,
            SICK,
            body={
                "kind": "ConfigMapList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": "1"},
                "items": [
                    each
                    | {"metadata": each["metadata"] | {"labels": {"kubefed.io/managed": "true"}}}
                    for each in ODD
                ],
            },
        ),
        Rule(Do.ANSWER, "watch", MAPS, SICK, times=1, **GONE),
    ],
    "a-book-of-an-error": lambda _: [
        Rule(
            Do.ANSWER,
            cluster=SICK,
            path=MAPS,
            status=500,
            body={"kind": "Status", "message": "line\n\x1b[31m" * 200_000, "reason": "x" * 10**6},
        )
    ],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_member_harms_only_itself(
    faulty: Faulty, undisturbed: float, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """F70, F51."""
    began = time.monotonic()
    faulty.proxy.rules += HOSTILE[what](faulty)
    faulty.proxy.cut(SICK)
    faulty.post(NS, f"{what}-first", "new")
    no_later(measured(faulty), undisturbed, f"{what}-")
    assert any(rule.used for rule in faulty.proxy.rules)
    time.sleep(1)
    faulty.proxy.heal()
    whole(faulty, NS, 40)
    asked: list[Any] = faulty.proxy.since(began)
    assert not [each.path for each in asked if each.path == "/elsewhere"]
    assert not [each.path for each in asked if each.cluster == "host" and not plain(each.path)]
    said = [each.getMessage() for each in caplog.records if each.name.startswith("kubefed")]
    assert [text for text in said if not text.isprintable()] == []
    wanted_deletions(faulty, began)


def plain(path: str) -> bool:
    return path.isprintable() and ".." not in path and "%" not in path and "/secrets/" not in path
