import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubefed_member
import pytest
from federation_interfaces import FederatedKind, revocable
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    Account,
    Cluster,
    ClusterAddress,
    ClusterRefusedError,
)
from federation_interfaces.revocable import RevocableCredential
from federation_interfaces.testing import CA
from kubefed import membership
from kubefed.errors import Unreachable
from kubefed.membership.member import policy_name, role_name
from kubefed_member import Federation, MemberError, Records, Store
from member_settings import federation_objects, federation_role

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ACCESS = Access(ClusterAddress("https://10.0.0.1:6443", CA), "admin-token")
UNIT = "kubefed-member/0"
FEDERATION = Federation(host_cluster="catania", namespace="fed")
SERVICE = FederatedKind(version="v1", kind="Service", plural="services")
DEPLOYMENT = FederatedKind(group="apps", version="v1", kind="Deployment", plural="deployments")


class FakeCluster:
    """The cluster as admin or own account sees it."""

    def __init__(self) -> None:
        self.address = ACCESS.address
        self.did: list[str] = []
        self.fail = False

    def _do(self, what: str) -> None:
        if self.fail:
            raise ClusterRefusedError("forbidden (403)", 403)
        self.did.append(what)

    def ensure_account(self, account: Account) -> None:
        self._do(f"ensure {account.name} {account.role}")

    def hang(self, owner: str, paths: list[str]) -> None:
        self._do(f"hang {len(paths)} on {owner.rpartition('/')[2]}")

    def end(self, cluster_role: str) -> bool:
        self._do(f"end {cluster_role}")
        return True

    def remove_rights(self, account: Account) -> None:
        self._do(f"remove rights {account.role}")

    def remove_account(self, account: Account) -> None:
        self._do(f"remove {account.name}")

    def delete(self, path: str) -> bool:
        self._do(f"delete {path}")
        return True

    def mint(
        self,
        admin: Any,
        name: str,
        namespace: str,
        lifetime: timedelta,
        *,
        holder: str,
        minter: Any = None,
    ) -> RevocableCredential:
        assert admin is self
        self._do(f"mint {namespace}/{name} for {holder}")
        number = len(self.did)
        return RevocableCredential(f"token-{number}", NOW + lifetime, f"bound-{number}")

    def revoke(
        self, admin: Any, name: str, namespace: str, *, holder: str, keep: tuple[str, ...] = ()
    ) -> int:
        assert admin is self
        self._do(f"end {namespace}/{name} of {holder} but {' '.join(keep)}")
        return 1

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self._do(f"{method} {path} {body['spec']['namespace']}")
        return {"status": {"resourceRules": [{"verbs": ["get"]}]}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    found = FakeCluster()
    monkeypatch.setattr(Access, "admin", lambda _: found)
    monkeypatch.setattr(revocable, "mint", found.mint)
    monkeypatch.setattr(revocable, "revoke", found.revoke)
    return found


def as_cluster(cluster: FakeCluster) -> Cluster:
    found: Any = cluster
    return found


class TestStore:
    def test_nothing_is_there_at_first(self, tmp_path: Path):
        store = Store(tmp_path)
        assert store.load() == Records()
        assert store.token() == ""
        store.remove()

    def test_what_is_kept(self, tmp_path: Path):
        store = Store(tmp_path)
        records = Records(federations={7: FEDERATION}, own_token_renew_at=NOW)
        store.save(records)
        store.save_token("word")
        assert store.load() == records
        assert store.token() == "word"
        modes = {path.stat().st_mode & 0o777 for path in store.directory.iterdir()}
        assert modes == {0o600}
        assert store.directory.stat().st_mode & 0o777 == 0o700


class TestKinds:
    def test_the_standard_ten(self):
        assert len(kubefed_member.wanted_kinds(FEDERATION)) == 10

    def test_what_the_host_asks_as_far_as_it_is_allowed(self):
        wanted = FEDERATION.model_copy(update={"kinds": [SERVICE, DEPLOYMENT]})
        assert kubefed_member.wanted_kinds(wanted) == [SERVICE, DEPLOYMENT]
        for scope in (("deployments.apps",), ("deployments", "secrets")):
            kept = wanted.model_copy(update={"scope": scope})
            assert kubefed_member.wanted_kinds(kept) == [DEPLOYMENT]

    def test_what_is_prepared_again(self):
        digest = kubefed_member.digest(ACCESS, "palermo", FEDERATION)
        same = FEDERATION.model_copy(update={"error": "x", "service_account": "y"})
        assert kubefed_member.digest(ACCESS, "palermo", same) == digest
        assert kubefed_member.digest(ACCESS, "napoli", FEDERATION) != digest
        scoped = FEDERATION.model_copy(update={"scope": ("services",)})
        assert kubefed_member.digest(ACCESS, "palermo", scoped) != digest


class TestPreparing:
    def test_two_accounts(self, monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster):
        asked: dict[str, Any] = {}

        def prepare_member(_: object, **given: Any) -> str:
            asked.update(given)
            return "palermo-catania"

        monkeypatch.setattr(membership, "prepare_member", prepare_member)
        assert kubefed_member.prepare(ACCESS, "palermo", FEDERATION) == "palermo-catania"
        assert (asked["cluster"], asked["host_cluster"]) == ("palermo", "catania")
        assert len(asked["kinds"]) == 10
        assert cluster.did == [
            "hang 4 on kubefed-controller-manager:palermo-catania",
            "ensure kubefed-member kubefed-member-catania",
        ]

    def test_the_own_account_mints_and_ends_what_was_made(self):
        account = kubefed_member.own_account(FEDERATION, "palermo-catania")
        assert [rule.as_object() for rule in account.rules] == [
            {
                "apiGroups": [""],
                "resources": ["serviceaccounts/token"],
                "verbs": ["create"],
                "resourceNames": ["palermo-catania"],
            }
        ]
        assert account.rules_namespace == "fed"
        assert [rule.as_object() for rule in account.cluster_rules] == [
            {
                "apiGroups": [""],
                "resources": ["namespaces"],
                "verbs": ["delete"],
                "resourceNames": ["fed"],
            }
        ]
        assert account.ends == (
            "kubefed-controller-manager:palermo-catania",
            "kubefed-member-catania",
        )
        kept = kubefed_member.own_account(FEDERATION, "palermo-catania", keep_namespace=True)
        assert kept.cluster_rules == ()

    def test_what_goes_with_the_federations_role(self):
        """The names are kubefed.membership's."""
        role = role_name("palermo-catania")
        policy = policy_name("palermo-catania")
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        assert federation_role("palermo-catania") == f"{rbac}/clusterroles/{role}"
        assert federation_objects("palermo-catania", "fed") == [
            f"{rbac}/clusterrolebindings/{role}",
            "/api/v1/namespaces/fed/serviceaccounts/palermo-catania",
            f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{policy}",
            f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/{policy}",
        ]

    def test_failures(self, monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster):
        def prepare_member(_: object, **given: Any) -> str:
            raise Unreachable("no answer in time")

        monkeypatch.setattr(membership, "prepare_member", prepare_member)
        with pytest.raises(MemberError, match="no answer"):
            _ = kubefed_member.prepare(ACCESS, "palermo", FEDERATION)
        assert cluster.did == []


class TestTokens:
    def test_the_own_token_is_minted_once_and_ends_the_one_of_before(
        self, tmp_path: Path, cluster: FakeCluster
    ):
        store, records = Store(tmp_path), Records()
        _ = kubefed_member.own_cluster(ACCESS, store, records, NOW, UNIT)
        _ = kubefed_member.own_cluster(ACCESS, store, records, NOW + timedelta(days=3), UNIT)
        assert cluster.did == [
            f"mint federation-charms/kubefed-member for {UNIT}",
            f"end federation-charms/kubefed-member of {UNIT} but bound-1",
        ]
        _ = kubefed_member.own_cluster(ACCESS, store, records, NOW + timedelta(days=4), UNIT)
        assert len(cluster.did) == 4
        assert store.token() == "token-3"

    def test_refusals(self, tmp_path: Path, cluster: FakeCluster):
        cluster.fail = True
        with pytest.raises(MemberError, match="forbidden"):
            _ = kubefed_member.own_cluster(ACCESS, Store(tmp_path), Records(), NOW, UNIT)
        with pytest.raises(MemberError, match="forbidden"):
            _ = kubefed_member.mint(ACCESS, as_cluster(cluster), FEDERATION, timedelta(hours=1))
        with pytest.raises(MemberError, match="forbidden"):
            _ = kubefed_member.end_older_tokens(ACCESS, FEDERATION, "bound-1")
        with pytest.raises(MemberError, match="forbidden"):
            _ = kubefed_member.rights(as_cluster(cluster), "shop")
        with pytest.raises(MemberError, match="forbidden"):
            kubefed_member.remove_own_account(ACCESS)

    def test_a_token_of_the_federation(self, cluster: FakeCluster):
        federation = FEDERATION.model_copy(update={"service_account": "palermo-catania"})
        minted = kubefed_member.mint(ACCESS, as_cluster(cluster), federation, timedelta(hours=1))
        assert minted.expires_at == NOW + timedelta(hours=1)
        assert cluster.did == ["mint fed/palermo-catania for kubefed-member"]
        assert kubefed_member.end_older_tokens(ACCESS, federation, minted.bound) == 1
        assert cluster.did[1:] == ["end fed/palermo-catania of kubefed-member but bound-1"]

    @pytest.mark.parametrize(
        ("issued", "ends", "due"),
        [
            (None, NOW, True),
            (NOW, None, True),
            (NOW - timedelta(hours=1), NOW + timedelta(hours=2), False),
            (NOW - timedelta(hours=1), NOW + timedelta(hours=1), True),
        ],
    )
    def test_when_it_is_due(self, issued: datetime | None, ends: datetime | None, due: bool):
        assert kubefed_member.due(issued, ends, NOW) is due

    def test_rights(self, cluster: FakeCluster):
        assert kubefed_member.rights(as_cluster(cluster), "shop") == [{"verbs": ["get"]}]
        assert cluster.did[0].endswith("selfsubjectrulesreviews shop")

    @pytest.mark.parametrize(
        ("left", "text"),
        [(timedelta(minutes=59), "59 min"), (timedelta(hours=2), "2 h 0 min")],
    )
    def test_the_remaining_life(self, left: timedelta, text: str):
        assert kubefed_member.remaining(NOW + left, NOW) == text
        assert kubefed_member.remaining(NOW - left, NOW) == "0 min"


class TestLeaving:
    def leave(self, monkeypatch: pytest.MonkeyPatch, left: list[str], *, keep: bool) -> None:
        def remove_member(_: object, **given: Any) -> list[str]:
            assert given["keep_namespace"]  # its end is not waited for
            return left

        monkeypatch.setattr(membership, "remove_member", remove_member)
        kubefed_member.withdraw(ACCESS, "palermo", FEDERATION, keep_namespace=keep)

    def test_rights_first_and_the_namespace_last(
        self, monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster
    ):
        self.leave(monkeypatch, [], keep=False)
        assert cluster.did == [
            "remove rights kubefed-member-catania",
            "delete /api/v1/namespaces/fed",
        ]

    def test_a_namespace_that_others_need(
        self, monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster
    ):
        self.leave(monkeypatch, [], keep=True)
        assert cluster.did == ["remove rights kubefed-member-catania"]

    def test_what_is_left_is_said(self, monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster):
        with pytest.raises(MemberError, match="left in the cluster: ClusterRole x"):
            self.leave(monkeypatch, ["ClusterRole x"], keep=True)
        cluster.fail = True
        with pytest.raises(MemberError, match="forbidden"):
            self.leave(monkeypatch, [], keep=True)

    def test_its_own_account_ends_itself_last(self, cluster: FakeCluster):
        federation = FEDERATION.model_copy(update={"service_account": "palermo-catania"})
        kubefed_member.end(as_cluster(cluster), federation, keep_namespace=False)
        assert cluster.did == [
            "end kubefed-controller-manager:palermo-catania",
            "delete /api/v1/namespaces/fed",
            "end kubefed-member-catania",
        ]
        kubefed_member.end(as_cluster(cluster), federation, keep_namespace=True)
        assert len(cluster.did) == 5

    def test_workloads(self, monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster):
        def delete(_: object, kinds: list[FederatedKind]) -> int:
            if cluster.fail:
                raise ClusterRefusedError("forbidden (403)", 403)
            return len(kinds)

        monkeypatch.setattr(kubefed_member, "delete_managed", delete)
        assert kubefed_member.delete_workloads(ACCESS, FEDERATION) == 10
        cluster.fail = True
        with pytest.raises(MemberError, match="forbidden"):
            _ = kubefed_member.delete_workloads(ACCESS, FEDERATION)


def test_the_own_account_goes(cluster: FakeCluster):
    kubefed_member.remove_own_account(ACCESS)
    assert cluster.did == ["remove kubefed-member"]
    assert kubefed_member.now().tzinfo is UTC
    assert "admin-token" not in json.dumps(repr(ACCESS))
