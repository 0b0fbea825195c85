import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.exception
import dns.query
import dns.zone
import federation_dns_unit
import pytest
import yaml
from charmlibs import apt, passwd
from dns_settings import Settings
from federation_dns.config import read_config, read_peers
from federation_dns_unit import Machine, UnitError
from federation_interfaces import MeshEntry, revocable
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    Account,
    ClusterAddress,
    ClusterRefusedError,
)
from federation_interfaces.revocable import RevocableCredential
from federation_interfaces.testing import CA
from name_server import Served
from unit_world import PLACE, SETTINGS, mode

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
UNIT = "federation-dns/0"
ACCESS = Access(ClusterAddress("https://10.0.0.1:6443", CA), "admin-token")


class FakeCluster:
    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self.minted = 0
        self.ended: list[str] = []
        self.fail = False
        self.uid = "one"

    def identity(self) -> str:
        if self.fail:
            raise ClusterRefusedError("forbidden (403)", 403)
        return self.uid

    def ensure_account(self, account: Account) -> None:
        if self.fail:
            raise ClusterRefusedError("forbidden (403)", 403)
        self.accounts.append(account)

    def mint(
        self, admin: Any, name: str, namespace: str, lifetime: timedelta, *, holder: str
    ) -> RevocableCredential:
        assert (admin, name, namespace) == (self, "federation-dns", "federation-charms")
        assert holder == UNIT
        self.minted += 1
        number = self.minted
        return RevocableCredential(f"token-{number}", NOW + lifetime, f"bound-{number}")

    def revoke(
        self, admin: Any, name: str, namespace: str, *, holder: str, keep: tuple[str, ...]
    ) -> int:
        assert (admin, name, namespace) == (self, "federation-dns", "federation-charms")
        if self.fail:
            raise ClusterRefusedError("forbidden (403)", 403)
        self.ended.append(f"of {holder} but {' '.join(keep)}")
        return 1


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    found = FakeCluster()
    monkeypatch.setattr(Access, "admin", lambda _: found)
    monkeypatch.setattr(revocable, "mint", found.mint)
    monkeypatch.setattr(revocable, "revoke", found.revoke)
    return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(federation_dns_unit, "version", lambda: "0.1.0")
    return Machine(Path("/charm"), tmp_path, user="root", group="root")


def own_entry(machine: Machine) -> MeshEntry:
    return MeshEntry(
        region="catania", url="https://192.0.2.12:8443", certificate=machine.agent.certificate()
    )


class TestPackages:
    def test_what_is_there_is_not_installed(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ):
        machine.named.parent.mkdir(parents=True)
        machine.named.touch()
        monkeypatch.setattr(apt, "add_package", None)
        machine.ensure_packages()

    def test_what_is_missing_is_installed(self, machine: Machine, monkeypatch: pytest.MonkeyPatch):
        asked: list[str] = []

        def add(name: str, *, update_cache: bool) -> None:
            assert update_cache
            asked.append(name)

        monkeypatch.setattr(apt, "add_package", add)
        machine.ensure_packages()
        assert asked == ["bind9"]

    def test_an_archive_that_does_not_give_it(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ):
        def add(name: str, *, update_cache: bool) -> None:
            raise apt.PackageError("no candidate")

        monkeypatch.setattr(apt, "add_package", add)
        with pytest.raises(UnitError, match="installing bind9: no candidate"):
            machine.ensure_packages()


class TestKeys:
    def test_they_are_made_once_and_kept_close(self, machine: Machine):
        machine.ensure_user()
        assert machine.agent.certificate() == ""
        machine.ensure_keys(PLACE)
        before = machine.agent.certificate(), (machine.bind / "tsig.key").read_text()
        machine.ensure_keys(PLACE)
        assert (machine.agent.certificate(), (machine.bind / "tsig.key").read_text()) == before
        assert mode(machine.settings / "agent.key") == 0o600
        assert mode(machine.bind / "tsig.key") == 0o640
        assert mode(machine.settings) == 0o750
        assert mode(machine.data / "state") == 0o700

    def test_half_a_pair_is_made_again(self, machine: Machine):
        machine.ensure_user()
        machine.ensure_keys(PLACE)
        (machine.settings / "agent.crt").unlink()
        machine.ensure_keys(PLACE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(machine.settings / "agent.crt", machine.settings / "agent.key")

    def test_the_user(self, machine: Machine, monkeypatch: pytest.MonkeyPatch):
        made: list[str] = []

        def absent(_: str) -> None:
            return None

        def add_user(name: str, **given: Any) -> None:
            made.append(f"{name} {given['system_user']}")

        monkeypatch.setattr(passwd, "user_exists", absent)
        monkeypatch.setattr(passwd, "add_user", add_user)
        machine.ensure_user()
        assert made == ["root True"]


class TestKubeconfig:
    def test_the_agent_reads_services_and_no_more(self, machine: Machine, cluster: FakeCluster):
        assert machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)
        (account,) = cluster.accounts
        assert [rule.as_object() for rule in account.cluster_rules] == [
            {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": ["get", "list", "watch"],
            },
        ]
        assert account.rules == ()
        text = (machine.settings / "kubeconfig").read_text()
        assert json.loads(text)["users"][0]["user"] == {"token": "token-1"}
        assert mode(machine.settings / "kubeconfig") == 0o600
        assert "admin-token" not in text

    def test_its_token_is_replaced_at_half_of_its_life(
        self, machine: Machine, cluster: FakeCluster
    ):
        _ = machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)
        assert not machine.ensure_kubeconfig(ACCESS, PLACE, NOW + timedelta(days=3), UNIT)
        assert machine.ensure_kubeconfig(ACCESS, PLACE, NOW + timedelta(days=4), UNIT)
        moved = Access(ClusterAddress("https://10.0.0.2:6443", CA), "admin-token")
        assert machine.ensure_kubeconfig(moved, PLACE, NOW, UNIT)
        assert cluster.minted == 3

    def test_another_cluster_at_the_address_gets_a_token_of_its_own(
        self, machine: Machine, cluster: FakeCluster
    ):
        assert machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)
        cluster.fail = True  # who doesn't answer isn't another one
        assert not machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT, look=True)
        cluster.fail, cluster.uid = False, "two"
        assert not machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)
        assert machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT, look=True)
        assert not machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT, look=True)
        assert (cluster.minted, len(cluster.accounts)) == (2, 2)

    def test_what_was_kept_by_an_earlier_revision_says_no_cluster(
        self, machine: Machine, cluster: FakeCluster
    ):
        _ = machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)
        machine.keep(token_cluster="")
        assert not machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT, look=True)
        assert machine.kept().token_cluster == cluster.uid

    def test_the_one_of_before_ends_once(self, machine: Machine, cluster: FakeCluster):
        _ = machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)
        cluster.fail = True
        with pytest.raises(UnitError, match="forbidden"):
            machine.end_older_token(ACCESS, UNIT)
        cluster.fail = False
        for _ in range(2):
            machine.end_older_token(ACCESS, UNIT)
        assert cluster.ended == [f"of {UNIT} but bound-1"]

    def test_new_credentials_when_asked(self, machine: Machine, cluster: FakeCluster):
        machine.ensure_user()
        machine.ensure_keys(PLACE)
        _ = machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)
        tsig, certificate = (machine.bind / "tsig.key").read_text(), machine.agent.certificate()
        machine.renew_credentials(PLACE, NOW)
        machine.ensure_keys(PLACE)
        assert machine.kept().restart
        assert machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)
        assert (machine.bind / "tsig.key").read_text() != tsig
        assert machine.agent.certificate() == certificate
        following = machine.agent.next_certificate()
        assert following not in ("", certificate)
        # Asked again, the next certificate that others may have taken in already stays.
        machine.renew_credentials(PLACE, NOW)
        assert machine.agent.next_certificate() == following

    def test_a_refusal(self, machine: Machine, cluster: FakeCluster):
        cluster.fail = True
        with pytest.raises(UnitError, match="forbidden"):
            _ = machine.ensure_kubeconfig(ACCESS, PLACE, NOW, UNIT)


class TestBind:
    def test_configuration_zone_and_unit(self, machine: Machine):
        assert machine.ensure_bind(SETTINGS, PLACE, Served())
        assert not machine.ensure_bind(SETTINGS, PLACE, Served())
        conf = (machine.bind / "named.conf").read_text()
        assert "listen-on port 53 { 127.0.0.1; 10.0.0.12; };" in conf
        zone = (machine.zones / "federation.example.zone").read_text()
        assert "ns.catania IN A 192.0.2.12" in zone
        unit = (machine.units / "named.service").read_text()
        assert f"-c {machine.bind / 'named.conf'}" in unit

    def test_a_zone_that_lives_is_left_alone(self, machine: Machine):
        _ = machine.ensure_bind(SETTINGS, PLACE, Served())
        path = machine.zones / "federation.example.zone"
        _ = path.write_text("kept by named")
        assert not machine.ensure_bind(SETTINGS, PLACE, Served())
        assert machine.ensure_bind(Settings(dns_port=5353), PLACE, Served())
        assert path.read_text() == "kept by named"


class TestAgent:
    def test_the_agent_understands_what_is_written(self, machine: Machine):
        machine.ensure_user()
        machine.ensure_keys(PLACE)
        assert machine.ensure_agent(SETTINGS, PLACE)
        assert not machine.ensure_agent(SETTINGS, PLACE)
        assert machine.ensure_peers([own_entry(machine)])
        assert not machine.ensure_peers([own_entry(machine)])
        config = read_config(machine.settings / "agent.yaml")
        assert (config.region, config.zone) == ("catania", "federation.example")
        assert config.withdraw_after == 5
        assert read_peers(config.peers, "catania").entries[0].region == "catania"

    def test_another_configuration_or_version_is_a_change(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ):
        machine.ensure_user()
        _ = machine.ensure_agent(SETTINGS, PLACE)
        assert machine.ensure_agent(Settings(ttl=30), PLACE)
        monkeypatch.setattr(federation_dns_unit, "version", lambda: "0.2.0")
        assert machine.ensure_agent(Settings(ttl=30), PLACE)
        found = yaml.safe_load((machine.settings / "agent.yaml").read_text())
        assert found["ttl"] == 30

    @pytest.mark.parametrize("rate", [0.0, 10_000.0])
    def test_how_often_services_are_probed(self, machine: Machine, rate: float):
        machine.ensure_user()
        machine.ensure_keys(PLACE)
        assert machine.ensure_agent(Settings(service_probes=rate), PLACE)
        assert read_config(machine.settings / "agent.yaml").service_probes == rate

    def test_the_unit_file(self, machine: Machine):
        machine.ensure_user()
        _ = machine.ensure_agent(SETTINGS, PLACE)
        text = (machine.units / "federation-dns.service").read_text()
        assert "ExecStart=/charm/venv/bin/python -m federation_dns.cli agent --config" in text
        for line in ("Restart=always", "NoNewPrivileges=true", "ProtectSystem=strict"):
            assert line in text

    def test_what_relations_said_is_remembered(self, machine: Machine):
        assert machine.remembered() == {}
        machine.ensure_user()
        machine.ensure_keys(PLACE)
        machine.remember({7: [own_entry(machine)]})
        assert machine.remembered() == {7: [own_entry(machine)]}


class TestZone:
    def test_it_is_transferred_with_the_key(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ):
        machine.ensure_user()
        machine.ensure_keys(PLACE)
        text = "@ 15 IN SOA ns hostmaster 1 3600 600 1209600 15\n@ 15 IN NS ns\n"
        whole = dns.zone.from_text(text, "federation.example")

        def transfer(server: str, zone: str, **given: Any) -> None:
            assert (server, zone, given["port"]) == ("127.0.0.1", "federation.example", 53)
            assert given["keyring"]

        def from_xfr(_: object) -> dns.zone.Zone:
            return whole

        monkeypatch.setattr(dns.query, "xfr", transfer)
        monkeypatch.setattr(dns.zone, "from_xfr", from_xfr)
        assert "@ 15 IN SOA ns hostmaster" in machine.zone(SETTINGS)

    def test_a_server_that_refuses(self, machine: Machine, monkeypatch: pytest.MonkeyPatch):
        with pytest.raises(UnitError, match="does not give the zone"):
            _ = machine.zone(SETTINGS)
        machine.ensure_user()
        machine.ensure_keys(PLACE)

        def transfer(*_: object, **given: Any) -> None:
            raise dns.exception.Timeout

        monkeypatch.setattr(dns.query, "xfr", transfer)
        with pytest.raises(UnitError, match="does not give the zone"):
            _ = machine.zone(SETTINGS)


def test_the_clock_is_real():
    assert federation_dns_unit.now().tzinfo is UTC
