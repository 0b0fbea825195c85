from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import federation_members
import pytest
from federation_interfaces import MemberAppData
from federation_interfaces.cluster import Cluster, ClusterAddress, ClusterError
from federation_interfaces.testing import CA
from federation_members import MemberError, MemberRecord, OrphansError, ReplicasAppData
from kubefed import membership
from kubefed.errors import HoldsOrphans, RetryLater, TokenRefused

ADDRESS = ClusterAddress("https://10.0.0.1:6443", CA)
DATA = MemberAppData(
    region="palermo",
    api_endpoint="https://api.palermo.example:6443",
    ca_certificate=CA,
    labels={"region": "palermo"},
)


class Kubefed:
    """What the package was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None
        for name, answer in {
            "check_endpoint": "v1.35.4",
            "refuse_orphans": None,
            "let_go": ("Namespace shop",),
            "register": True,
            "unregister": ["Deployment shop/web"],
            "list_clusters": [],
        }.items():
            monkeypatch.setattr(membership, name, self._answer(name, answer))

    def _answer(self, name: str, answer: object) -> Any:
        def ask(*_: object, **given: Any) -> object:
            if self.error is not None:
                raise self.error
            self.asked.append((name, given))
            return answer

        return ask


@pytest.fixture
def kubefed(monkeypatch: pytest.MonkeyPatch) -> Kubefed:
    return Kubefed(monkeypatch)


def join(*, release_orphans: bool = False) -> bool:
    return federation_members.join(
        ADDRESS, "own", "fed", DATA, "word", check_s=2, release_orphans=release_orphans
    )


def test_joining_looks_first(kubefed: Kubefed):
    assert join()
    assert [name for name, _ in kubefed.asked] == ["check_endpoint", "refuse_orphans", "register"]
    assert kubefed.asked[0][1] == {"timeout_s": 2}
    assert kubefed.asked[1][1] == {"cluster": "palermo", "namespace": "fed"}
    assert kubefed.asked[2][1] == {
        "cluster": "palermo",
        "api_endpoint": "https://api.palermo.example:6443",
        "ca_bundle": CA,
        "token": "word",
        "labels": {"region": "palermo"},
        "namespace": "fed",
    }


def test_what_is_lost_by_joining(kubefed: Kubefed):
    given = ADDRESS, "own", "fed", DATA, "word"
    text = "1 object of a federation that the host knows nothing of (Namespace shop)"
    assert federation_members.let_go(*given) == text
    kubefed.error = RetryLater("no answer")
    assert federation_members.let_go(*given) == "not known: no answer"


def test_what_joining_would_let_go_of_is_named_with_the_mends(kubefed: Kubefed):
    held = ("Namespace shop", "Namespace till", "Deployment shop/web", "Service shop/web")
    kubefed.error = HoldsOrphans("the package's words", objects=held)
    with pytest.raises(OrphansError) as caught:
        _ = join()
    assert str(caught.value) == (
        "it holds objects of a federation of which this host has none (Namespace shop, "
        "Namespace till, Deployment shop/web, ...): run restore, or join-cluster "
        "cluster=palermo release-orphans=true, which lets go of them"
    )


def test_who_lets_go_on_purpose_does_not_look(kubefed: Kubefed):
    assert join(release_orphans=True)
    assert [name for name, _ in kubefed.asked] == ["check_endpoint", "register"]


def test_the_cause_is_named(kubefed: Kubefed):
    kubefed.error = TokenRefused("palermo: token refused (401)")
    with pytest.raises(MemberError, match="token refused"):
        _ = join()
    with pytest.raises(MemberError, match="token refused"):
        _ = federation_members.leave(ADDRESS, "own", "fed", "palermo", force=False)
    with pytest.raises(MemberError, match="token refused"):
        _ = federation_members.list_clusters(ADDRESS, "own", "fed")


def test_leaving_says_what_stays(kubefed: Kubefed):
    left = federation_members.leave(ADDRESS, "own", "fed", "palermo", force=True)
    assert left == ["Deployment shop/web"]
    given = {"cluster": "palermo", "namespace": "fed", "force": True}
    assert kubefed.asked == [("unregister", given)]


def test_clusters_are_listed_as_plain_data(monkeypatch: pytest.MonkeyPatch):
    cluster = SimpleNamespace(
        name="palermo",
        ready=None,
        version="",
        endpoint="https://x",
        joined_at=datetime(2026, 11, 1, tzinfo=UTC),
        message="not probed yet",
    )

    def clusters(_: object, *, namespace: str) -> list[SimpleNamespace]:
        assert namespace == "fed"
        return [cluster]

    monkeypatch.setattr(membership, "list_clusters", clusters)
    assert federation_members.list_clusters(ADDRESS, "own", "fed") == [
        {
            "name": "palermo",
            "ready": None,
            "version": "",
            "endpoint": "https://x",
            "joined-at": "2026-11-01 00:00:00+00:00",
            "message": "not probed yet",
        }
    ]


def test_workloads_are_deleted_by_the_account_that_wrote_them(monkeypatch: pytest.MonkeyPatch):
    seen: list[object] = []

    def delete(cluster: Any, kinds: list[Any]) -> int:
        seen.extend([cluster.address.server, len(kinds)])
        return 5

    def refuse(*_: object) -> int:
        raise ClusterError("no answer in time")

    monkeypatch.setattr(federation_members, "delete_managed", delete)
    assert federation_members.delete_workloads(DATA, "word") == 5
    assert seen == ["https://api.palermo.example:6443", 10]
    monkeypatch.setattr(federation_members, "delete_managed", refuse)
    with pytest.raises(MemberError, match="no answer"):
        _ = federation_members.delete_workloads(DATA, "word")


class TestRecords:
    def test_trouble(self):
        record = MemberRecord(region="palermo", relation=1, state="joined")
        assert record.trouble == ""
        assert record.model_copy(update={"ready": False}).trouble == "palermo: not ready"
        said = {"ready": False, "message": "no answer for 20 s"}
        assert record.model_copy(update=said).trouble == "palermo: no answer for 20 s"
        assert record.model_copy(update={"error": "refused"}).trouble == "palermo: refused"
        left = record.model_copy(update={"state": "left", "ready": False})
        assert left.trouble == ""

    def test_the_digest_follows_the_data_and_not_the_version(self):
        digest = federation_members.digest(DATA)
        newer = DATA.model_copy(update={"kubernetes_version": "v1.36.0"})
        moved = DATA.model_copy(update={"api_endpoint": "https://x"})
        assert federation_members.digest(newer) == digest
        assert federation_members.digest(moved) != digest

    def test_they_outlive_a_leader(self):
        record = MemberRecord(region="palermo", relation=1, state="left")
        bag: dict[str, str] = {}
        _ = ReplicasAppData(installed="x", members=[record]).dump(bag)
        assert ReplicasAppData.load(bag).members == [record]


@pytest.mark.parametrize(
    ("conditions", "ready", "message"),
    [
        ([], None, "not probed yet"),
        ([("Ready", "True", "answers")], True, "answers"),
        ([("Ready", "False", "")], False, ""),
        ([("Ready", "Unknown", "no majority")], None, "no majority"),
        ([("Offline", "True", "no answer for 20 s")], False, "no answer for 20 s"),
        ([("Offline", "False", "x"), ("Ready", "True", "answers")], True, "answers"),
        ([("Ready", "True", "answers"), ("ConfigMalformed", "True", "401")], False, "401"),
    ],
)
def test_a_hook_reads_the_states_as_the_action_does(
    monkeypatch: pytest.MonkeyPatch,
    conditions: list[tuple[str, str, str]],
    ready: bool | None,
    message: str,
):
    written = [
        {"type": t, "status": s, "message": m, "reason": f"{t}{s}"} for t, s, m in conditions
    ]
    item: dict[str, Any] = {
        "metadata": {"name": "palermo", "creationTimestamp": "2026-11-01T12:00:00Z"},
        "spec": {"apiEndpoint": "https://x"},
        "status": {"conditions": written},
    }

    def request(_: Cluster, method: str, path: str) -> dict[str, Any]:
        assert method == "GET"
        assert path == "/apis/core.kubefed.io/v1beta1/namespaces/fed/kubefedclusters"
        return {"items": [item]}

    monkeypatch.setattr(Cluster, "request", request)
    found = federation_members.cluster_states(ADDRESS, "own", "fed")
    deciding = [f"{t}{s}" for t, s, _ in conditions if (t, s) != ("Offline", "False")]
    reason = deciding[-1] if deciding else ""
    assert found == [{"name": "palermo", "ready": ready, "message": message, "reason": reason}]
    same = membership.Cluster.from_object(item)
    assert (same.ready, same.message) == (ready, message)


def test_states_that_are_not_to_be_had(monkeypatch: pytest.MonkeyPatch):
    def request(*_: object) -> dict[str, Any]:
        raise ClusterError("no answer in time")

    monkeypatch.setattr(Cluster, "request", request)
    with pytest.raises(MemberError, match="no answer"):
        _ = federation_members.cluster_states(ADDRESS, "own", "fed")
