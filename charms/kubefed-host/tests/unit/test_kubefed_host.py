import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubefed_host
import pytest
from charmlibs import passwd, systemd
from federation_interfaces import RegionHealthUnitData, revocable
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    Account,
    Cluster,
    ClusterAddress,
    ClusterError,
    ClusterRefusedError,
    account_objects,
)
from federation_interfaces.revocable import RevocableCredential
from federation_interfaces.testing import CA, CERTIFICATES
from kubefed_host import Host, HostError, Settings

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ACCESS = Access(ClusterAddress("https://10.0.0.1:6443", CA), "admin-token")
SETTINGS = Settings()
UNIT = "kubefed-host/0"


class FakeCluster:
    """The admin's view of the host cluster."""

    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self.hung: dict[str, list[str]] = {}
        self.minted: list[str] = []
        self.ended: list[str] = []
        self.fail = False

    def ensure_account(self, account: Account) -> None:
        if self.fail:
            raise ClusterRefusedError("forbidden (403)", 403)
        self.accounts.append(account)

    def hang(self, owner: str, paths: Iterable[str]) -> None:
        self.hung[owner] = list(paths)

    def mint(
        self, admin: Any, name: str, namespace: str, lifetime: timedelta, *, holder: str
    ) -> RevocableCredential:
        assert admin is self
        assert holder in (UNIT, "users")
        self.minted.append(f"{namespace}/{name}")
        number = len(self.minted)
        token = f"token-{number}-of-{name}"
        return RevocableCredential(token, NOW + lifetime, f"bound-{number}")

    def revoke(
        self, admin: Any, name: str, namespace: str, *, holder: str, keep: tuple[str, ...] = ()
    ) -> int:
        if self.fail:
            raise ClusterRefusedError("forbidden (403)", 403)
        self.ended.append(f"{namespace}/{name} of {holder} but {' '.join(keep)}")
        return 2


class Services:
    """What systemd was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.running = False
        self.broken = False

    @contextmanager
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> Generator["Services"]:
        for name in ("daemon_reload", "service_enable", "service_stop", "service_disable"):
            monkeypatch.setattr(systemd, name, self._tell(name))
        monkeypatch.setattr(systemd, "service_restart", self._restart)
        monkeypatch.setattr(systemd, "service_running", lambda _: self.running)
        yield self

    def _tell(self, name: str) -> Any:
        def tell(*words: str) -> bool:
            self.told.append(" ".join([name, *words]))
            return True

        return tell

    def _restart(self, name: str) -> bool:
        if self.broken:
            raise systemd.SystemdError("start failed")
        self.told.append(f"restart {name}")
        self.running = True
        return True


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    found = FakeCluster()
    monkeypatch.setattr(Access, "admin", lambda _: found)
    monkeypatch.setattr(revocable, "mint", found.mint)
    monkeypatch.setattr(revocable, "revoke", found.revoke)
    monkeypatch.setattr(kubefed_host, "version", lambda: "0.1.0")
    return found


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    with Services().installed(monkeypatch) as found:
        yield found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(Path("/charm"), tmp_path, user="root")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


class TestIdentity:
    def test_a_cluster_is_known_by_its_kube_system(
        self, host: Host, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(cluster, "identity", lambda: "its-uid", raising=False)
        assert host.identity(ACCESS) == "its-uid"

    def test_no_answer(self, host: Host, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch):
        def identity() -> str:
            raise ClusterError("no answer")

        monkeypatch.setattr(cluster, "identity", identity, raising=False)
        with pytest.raises(HostError, match="no answer"):
            _ = host.identity(ACCESS)


class TestTokens:
    def test_each_account_gets_one(self, host: Host, cluster: FakeCluster):
        assert host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        assert cluster.minted == [
            "federation-charms/kubefed-host",
            "kube-federation-system/kubefed-controller",
            "federation-charms/kubefed-host-status",
        ]
        path = host.settings / "kubeconfig"
        assert mode(path) == 0o600
        found = json.loads(path.read_text())
        assert found["users"][0]["user"]["token"] == "token-2-of-kubefed-controller"
        assert host.charm_token() == "token-1-of-kubefed-host"
        assert mode(host.state / "token") == 0o600
        path = host.status / "kubeconfig"
        assert (mode(path), mode(path.parent)) == (0o600, 0o700)
        found = json.loads(path.read_text())
        assert found["users"][0]["user"]["token"] == "token-3-of-kubefed-host-status"

    def test_the_admins_token_is_not_kept(self, host: Host, cluster: FakeCluster, tmp_path: Path):
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        assert cluster.minted
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [path for path in files if "admin-token" in path.read_text()]

    def test_they_are_replaced_at_half_of_their_life(self, host: Host, cluster: FakeCluster):
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        assert not host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW + timedelta(days=3), UNIT)
        assert len(cluster.minted) == 3
        assert host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW + timedelta(days=3.5), UNIT)
        assert len(cluster.minted) == 6

    def test_another_endpoint_needs_others(self, host: Host, cluster: FakeCluster):
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        moved = Access(ClusterAddress("https://10.0.0.2:6443", CA), "admin-token")
        assert host.ensure_tokens(moved, SETTINGS, "catania", NOW, UNIT)
        assert len(cluster.minted) == 6

    def test_they_are_replaced_when_asked(self, host: Host, cluster: FakeCluster):
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        assert host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT, renew=True)
        assert len(cluster.minted) == 6

    def test_those_of_before_end_once(self, host: Host, cluster: FakeCluster):
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        host.end_older_tokens(ACCESS, SETTINGS, UNIT)
        kept = "of kubefed-host/0 but bound-1 bound-2 bound-3"
        assert cluster.ended == [
            f"federation-charms/kubefed-host {kept}",
            f"kube-federation-system/kubefed-controller {kept}",
            f"federation-charms/kubefed-host-status {kept}",
        ]
        host.end_older_tokens(ACCESS, SETTINGS, UNIT)
        assert len(cluster.ended) == 3

    def test_what_could_not_be_ended_is_ended_later(self, host: Host, cluster: FakeCluster):
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        cluster.fail = True
        with pytest.raises(HostError, match="forbidden"):
            host.end_older_tokens(ACCESS, SETTINGS, UNIT)
        cluster.fail = False
        host.end_older_tokens(ACCESS, SETTINGS, UNIT)
        assert len(cluster.ended) == 3

    def test_users_kubeconfigs_are_ended(self, cluster: FakeCluster):
        assert kubefed_host.end_user_kubeconfigs(ACCESS, SETTINGS) == 2
        assert cluster.ended == ["kube-federation-system/federation-user of users but "]
        cluster.fail = True
        with pytest.raises(HostError, match="forbidden"):
            _ = kubefed_host.end_user_kubeconfigs(ACCESS, SETTINGS)

    def test_a_refusal(self, host: Host, cluster: FakeCluster):
        cluster.fail = True
        with pytest.raises(HostError, match="forbidden"):
            _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        assert host.charm_token() == ""


class TestAccounts:
    def test_the_status_service_lists_the_clusters_and_no_more(
        self, host: Host, cluster: FakeCluster
    ):
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        objects = dict(account_objects(cluster.accounts[1]))
        roles = [body for body in objects.values() if body["kind"].endswith("Role")]
        rule = {
            "apiGroups": ["core.kubefed.io"],
            "resources": ["kubefedclusters"],
            "verbs": ["list"],
        }
        assert [(each["kind"], each["rules"]) for each in roles] == [("Role", [rule])]
        assert [path for path in objects if path.endswith("/roles/kubefed-host-status")] == [
            "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-federation-system/roles/"
            "kubefed-host-status"
        ]

    def test_it_goes_with_the_charms(self, host: Host, cluster: FakeCluster):
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        [(owner, paths)] = cluster.hung.items()
        assert owner.endswith("/clusterroles/kubefed-host")
        kinds = sorted(path.split("/")[-2] for path in paths)
        assert kinds == ["rolebindings", "roles", "serviceaccounts"]

    def test_the_charm_writes_in_the_federations_namespace_only(self):
        account = kubefed_host.charm_account("fed")
        assert account.rules_namespace == "fed"
        verbs = {verb for rule in account.cluster_rules for verb in rule.verbs}
        assert verbs == {"get", "list"}

    def test_users_read_no_secret_and_no_member(self):
        account = kubefed_host.user_account("fed")
        assert not [rule for rule in account.cluster_rules if "secrets" in rule.resources]
        core = next(rule for rule in account.cluster_rules if rule.groups == ("core.kubefed.io",))
        assert core.verbs == ("get", "list", "watch")

    def test_a_users_kubeconfig(self, cluster: FakeCluster):
        text, minted = kubefed_host.user_kubeconfig(
            ACCESS, SETTINGS, "catania", "https://fed.example:6443", timedelta(hours=1)
        )
        assert json.loads(text)["clusters"][0]["cluster"]["server"] == "https://fed.example:6443"
        assert minted.expires_at == NOW + timedelta(hours=1)
        cluster.fail = True
        with pytest.raises(HostError, match="forbidden"):
            _ = kubefed_host.user_kubeconfig(ACCESS, SETTINGS, "c", "", timedelta(hours=1))


class TestRegionHealth:
    def test_where_to_ask(self, host: Host):
        agents = [
            RegionHealthUnitData(url="https://10.0.0.1:8443", certificate=CERTIFICATES[1]),
            RegionHealthUnitData(),
        ]
        host.ensure_region_health(agents)
        path = host.settings / "region-health.json"
        assert json.loads(path.read_text()) == {
            "endpoints": [{"url": "https://10.0.0.1:8443", "certificate": CERTIFICATES[1]}]
        }
        assert "--region-health" in host.command(SETTINGS, "10.0.0.9")

    def test_agents_that_are_silent_mean_unknown_and_not_none(self, host: Host):
        host.ensure_region_health([])
        assert "--region-health" in host.command(SETTINGS, "10.0.0.9")
        host.ensure_region_health(None)
        assert "--region-health" not in host.command(SETTINGS, "10.0.0.9")


class TestService:
    def test_it_starts_and_stays(self, host: Host, services: Services, cluster: FakeCluster):
        assert not host.running()
        host.ensure_service(SETTINGS, "10.0.0.9", restart=False)
        assert services.told == [
            "daemon_reload",
            "service_enable kubefed-controller",
            "restart kubefed-controller",
        ]
        assert host.running()
        host.ensure_service(SETTINGS, "10.0.0.9", restart=False)
        assert len(services.told) == 3
        assert not cluster.minted

    @pytest.mark.usefixtures("cluster")
    def test_it_starts_again_with_new_tokens_and_after_a_crash(
        self, host: Host, services: Services
    ):
        host.ensure_service(SETTINGS, "10.0.0.9", restart=False)
        host.ensure_service(SETTINGS, "10.0.0.9", restart=True)
        services.running = False
        host.ensure_service(SETTINGS, "10.0.0.9", restart=False)
        assert services.told[3:] == ["restart kubefed-controller"] * 2

    @pytest.mark.usefixtures("cluster")
    def test_another_version_starts_again(
        self, host: Host, services: Services, monkeypatch: pytest.MonkeyPatch
    ):
        host.ensure_service(SETTINGS, "10.0.0.9", restart=False)
        monkeypatch.setattr(kubefed_host, "version", lambda: "0.2.0")
        host.ensure_service(SETTINGS, "10.0.0.9", restart=False)
        assert services.told[3:5] == ["daemon_reload", "service_enable kubefed-controller"]

    @pytest.mark.usefixtures("cluster")
    def test_one_that_does_not_start(self, host: Host, services: Services):
        services.broken = True
        with pytest.raises(HostError, match="kubefed-controller does not start: start failed"):
            host.ensure_service(SETTINGS, "10.0.0.9", restart=False)

    @pytest.mark.usefixtures("cluster", "services")
    def test_the_unit_file(self, host: Host):
        host.ensure_service(SETTINGS, "fd00::9", restart=False)
        text = host.unit.read_text()
        assert "User=root" in text
        assert "ExecStart=/charm/venv/bin/python -c 'from kubefed.cli import main; main()'" in text
        assert "--metrics-address '[fd00::9]:9091'" in text
        for line in ("Restart=always", "NoNewPrivileges=true", "ProtectSystem=strict"):
            assert line in text

    @pytest.mark.usefixtures("cluster")
    def test_stop_and_remove(self, host: Host, services: Services):
        host.stop()
        assert services.told == []
        host.ensure_service(SETTINGS, "10.0.0.9", restart=False)
        _ = host.ensure_tokens(ACCESS, SETTINGS, "catania", NOW, UNIT)
        host.stop()
        host.remove()
        assert services.told[-3:] == [
            "service_stop kubefed-controller",
            "service_disable --now kubefed-controller",
            "daemon_reload",
        ]
        assert not host.settings.exists()
        assert not host.state.exists()
        host.remove()


class TestStatusService:
    @pytest.fixture(autouse=True)
    def one_version(self, cluster: FakeCluster) -> None:
        del cluster

    def test_it_starts_and_stays(self, host: Host, services: Services):
        host.ensure_status_service(SETTINGS, UNIT)
        host.ensure_status_service(SETTINGS, UNIT)
        assert services.told == [
            "daemon_reload",
            "service_enable kubefed-host-status",
            "restart kubefed-host-status",
        ]
        host.ensure_status_service(Settings(namespace="fed"), UNIT)
        assert services.told[-1] == "restart kubefed-host-status"
        assert len(services.told) == 6

    @pytest.mark.usefixtures("services")
    def test_its_unit_file(self, host: Host):
        host.ensure_status_service(SETTINGS, UNIT)
        text = host.unit.with_name("kubefed-host-status.service").read_text()
        assert (
            "ExecStart=/charm/venv/bin/python /charm/src/clusters_watch.py "
            f"{host.status}/kubeconfig kube-federation-system {host.status} {UNIT} "
            "/charm/dispatch\n"
        ) in text
        assert "After=kubefed-controller.service\n" in text
        assert f"ReadWritePaths={host.status}\n" in text
        assert "User=" not in text

    def test_it_ends_with_its_unit_and_comes_again(self, host: Host, services: Services):
        host.end_status_service()
        assert services.told == []
        host.ensure_status_service(SETTINGS, UNIT)
        host.end_status_service()
        assert services.told[3:] == ["service_disable --now kubefed-host-status", "daemon_reload"]
        assert not list(host.unit.parent.iterdir())
        host.ensure_status_service(SETTINGS, UNIT)
        assert services.told[5:] == services.told[:3]

    def test_it_ends_before_the_controller(self, host: Host, services: Services):
        host.ensure_service(SETTINGS, "10.0.0.9", restart=False)
        host.ensure_status_service(SETTINGS, UNIT)
        services.told.clear()
        host.stop()
        assert services.told[0] == "service_disable --now kubefed-host-status"
        host.ensure_status_service(SETTINGS, UNIT)
        host.remove()
        assert not list(host.unit.parent.iterdir())

    def test_without_systemd(self, host: Host, monkeypatch: pytest.MonkeyPatch):
        """By the real library, which calls systemctl."""
        folder = host.state / "bin"
        folder.mkdir(parents=True)
        (folder / "systemctl").write_text("#!/bin/sh\necho no systemd here >&2\nexit 1\n")
        (folder / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        with pytest.raises(HostError, match="kubefed-host-status does not start"):
            host.ensure_status_service(SETTINGS, UNIT)
        with pytest.raises(HostError, match="kubefed-host-status does not end"):
            host.end_status_service()


def test_the_user(host: Host, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []

    def absent(_: str) -> None:
        return None

    def add_user(name: str, **given: Any) -> None:
        made.append(f"{name} {given['system_user']} {given['create_home']}")

    monkeypatch.setattr(passwd, "user_exists", absent)
    monkeypatch.setattr(passwd, "add_user", add_user)
    host.ensure_user()
    assert made == ["root True False"]
    assert mode(host.settings) == 0o750
    assert mode(host.state) == 0o700


def test_what_tells_whether_to_install_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubefed_host, "version", lambda: "0.1.0")
    first = kubefed_host.install_digest(ACCESS, SETTINGS)
    assert kubefed_host.install_digest(ACCESS, SETTINGS) == first
    assert kubefed_host.install_digest(ACCESS, Settings(namespace="fed")) != first
    monkeypatch.setattr(kubefed_host, "version", lambda: "0.2.0")
    assert kubefed_host.install_digest(ACCESS, SETTINGS) != first


def test_the_clock_and_the_version_are_real():
    assert kubefed_host.now().tzinfo is UTC
    assert Cluster(ACCESS.address, "x").address == ACCESS.address
