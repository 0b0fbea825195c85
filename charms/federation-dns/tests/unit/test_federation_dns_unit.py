import dataclasses
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import dns.exception
import dns.query
import dns.zone
import federation_dns_unit
import pytest
import yaml
from charmlibs import apt, passwd, systemd
from dns_settings import Place, Settings
from federation_dns.config import read_config, read_peers
from federation_dns_unit import Machine, UnitError
from federation_interfaces import MeshEntry
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    Account,
    ClusterAddress,
    ClusterRefusedError,
    Credential,
)
from federation_interfaces.testing import CA, CERTIFICATES
from name_server import Served

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ACCESS = Access(ClusterAddress("https://10.0.0.1:6443", CA), "admin-token")
SETTINGS = Settings()
PLACE = Place("catania", "10.0.0.12", "192.0.2.12", "10.0.0.0/24")


class FakeCluster:
    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self.minted = 0
        self.fail = False

    def ensure_account(self, account: Account) -> None:
        if self.fail:
            raise ClusterRefusedError("forbidden (403)", 403)
        self.accounts.append(account)

    def mint(self, name: str, namespace: str, lifetime: timedelta) -> Credential:
        assert (name, namespace) == ("federation-dns", "federation-charms")
        self.minted += 1
        return Credential(f"token-{self.minted}", NOW + lifetime)


class Services:
    """What systemd was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.running: set[str] = set()
        self.broken = False
        for name in ("daemon_reload", "service_enable"):
            monkeypatch.setattr(systemd, name, self._tell(name))
        monkeypatch.setattr(systemd, "service_restart", self._restart)
        monkeypatch.setattr(systemd, "service_disable", self._disable)
        monkeypatch.setattr(systemd, "service_running", self.running.__contains__)

    def _tell(self, name: str) -> Any:
        def tell(*words: str) -> bool:
            self.told.append(" ".join([name, *words]))
            return True

        return tell

    def _restart(self, name: str) -> bool:
        if self.broken:
            raise systemd.SystemdError("start failed")
        self.told.append(f"restart {name}")
        self.running.add(name)
        return True

    def _disable(self, *words: str) -> bool:
        self.told.append(f"disable {words[-1]}")
        self.running.discard(words[-1])
        return True


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    found = FakeCluster()
    monkeypatch.setattr(Access, "admin", lambda _: found)
    return found


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    return Services(monkeypatch)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(federation_dns_unit, "version", lambda: "0.1.0")
    return Machine(Path("/charm"), tmp_path, user="root", group="root")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def own_entry(machine: Machine) -> MeshEntry:
    return MeshEntry(
        region="catania", url="https://192.0.2.12:8443", certificate=machine.certificate()
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
        assert machine.certificate() == ""
        machine.ensure_keys(PLACE)
        before = machine.certificate(), (machine.bind / "tsig.key").read_text()
        machine.ensure_keys(PLACE)
        assert (machine.certificate(), (machine.bind / "tsig.key").read_text()) == before
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
        assert machine.ensure_kubeconfig(ACCESS, PLACE, NOW)
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
        _ = machine.ensure_kubeconfig(ACCESS, PLACE, NOW)
        assert not machine.ensure_kubeconfig(ACCESS, PLACE, NOW + timedelta(days=3))
        assert machine.ensure_kubeconfig(ACCESS, PLACE, NOW + timedelta(days=4))
        moved = Access(ClusterAddress("https://10.0.0.2:6443", CA), "admin-token")
        assert machine.ensure_kubeconfig(moved, PLACE, NOW)
        assert cluster.minted == 3

    def test_a_refusal(self, machine: Machine, cluster: FakeCluster):
        cluster.fail = True
        with pytest.raises(UnitError, match="forbidden"):
            _ = machine.ensure_kubeconfig(ACCESS, PLACE, NOW)


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


class TestRunning:
    @pytest.fixture(autouse=True)
    def unit_files(self, machine: Machine) -> None:
        machine.units.mkdir(parents=True)
        for name in ("named", "federation-dns"):
            (machine.units / f"{name}.service").touch()

    def ensure(self, machine: Machine, *, bind: bool, agent: bool) -> bool:
        return machine.ensure_running(bind_changed=bind, agent_changed=agent, moment=NOW)

    def test_they_start_and_stay(self, machine: Machine, services: Services):
        assert machine.running_not() == ["named", "federation-dns"]
        assert not machine.starting(NOW)
        assert self.ensure(machine, bind=True, agent=True)
        assert services.told == [
            "daemon_reload",
            "service_enable named",
            "restart named",
            "service_enable federation-dns",
            "restart federation-dns",
        ]
        assert machine.running_not() == []
        assert not self.ensure(machine, bind=False, agent=False)
        assert len(services.told) == 5

    def test_only_what_changed_starts_again(self, machine: Machine, services: Services):
        _ = self.ensure(machine, bind=True, agent=True)
        assert self.ensure(machine, bind=False, agent=True)
        assert services.told[5:] == [
            "daemon_reload",
            "service_enable federation-dns",
            "restart federation-dns",
        ]
        services.running.discard("named")
        assert not self.ensure(machine, bind=False, agent=False)
        assert services.told[-1] == "restart named"

    def test_how_young_they_are(self, machine: Machine, services: Services):
        _ = self.ensure(machine, bind=True, agent=True)
        assert services.running
        assert machine.starting(NOW + timedelta(seconds=29))
        assert not machine.starting(NOW + timedelta(seconds=30))

    def test_one_that_does_not_start(self, machine: Machine, services: Services):
        services.broken = True
        with pytest.raises(UnitError, match="a service does not start: start failed"):
            _ = self.ensure(machine, bind=True, agent=True)

    def test_stop_and_remove(self, machine: Machine, services: Services):
        for path in machine.units.iterdir():
            path.unlink()
        machine.stop()
        assert services.told == []
        machine.ensure_user()
        _ = machine.ensure_bind(SETTINGS, PLACE, Served())
        _ = machine.ensure_agent(SETTINGS, PLACE)
        machine.remove()
        assert services.told == ["disable federation-dns", "disable named", "daemon_reload"]
        assert not list(machine.units.iterdir())
        gone = (machine.settings, machine.data, machine.bind)
        assert not [path for path in gone if path.exists()]
        assert not list(machine.zones.iterdir())


class TestStatusService:
    @pytest.fixture(autouse=True)
    def set_up(self, machine: Machine, services: Services) -> None:
        machine.ensure_user()
        self.path = machine.units / "federation-dns-status.service"
        self.directory = machine.data / "tell"

    def ensure(self, machine: Machine, place: Place = PLACE) -> None:
        machine.ensure_status_service(SETTINGS, place, "federation-dns/3")

    def test_it_starts_and_stays(self, machine: Machine, services: Services):
        self.ensure(machine)
        started = [
            "daemon_reload",
            "service_enable federation-dns-status",
            "restart federation-dns-status",
        ]
        assert services.told == started
        self.ensure(machine)
        assert services.told == started
        other = dataclasses.replace(PLACE, listen="10.0.0.13")
        self.ensure(machine, other)
        assert services.told == started * 2
        services.running.clear()
        self.ensure(machine, other)
        assert services.told[6:] == ["restart federation-dns-status"]

    def test_its_unit_file(self, machine: Machine):
        self.ensure(machine)
        lines = self.path.read_text().splitlines()
        assert (
            "ExecStart=/charm/venv/bin/python -m federation_dns.tell 10.0.0.12 8443 "
            f"{machine.settings}/agent.crt {self.directory} federation-dns/3 /charm/dispatch"
        ) in lines
        assert f"ReadWritePaths={self.directory}" in lines
        for line in ("CapabilityBoundingSet=", "ProtectSystem=strict", "Restart=always"):
            assert line in lines
        assert not [line for line in lines if line.startswith("User=")]
        assert mode(self.directory) == 0o700

    def test_another_version_starts_it_again(
        self, machine: Machine, services: Services, monkeypatch: pytest.MonkeyPatch
    ):
        self.ensure(machine)
        monkeypatch.setattr(federation_dns_unit, "version", lambda: "0.2.0")
        self.ensure(machine)
        assert services.told.count("restart federation-dns-status") == 2

    def test_what_the_status_says_is_noted_while_it_is_there(self, machine: Machine):
        machine.status_service.note("too early")
        self.ensure(machine)
        assert not list(self.directory.iterdir())
        machine.status_service.note("napoli: lost")
        assert (self.directory / "said").read_text() == "napoli: lost"
        machine.remove()
        machine.status_service.note("too late")
        assert not self.directory.exists()

    def test_it_goes_first(self, machine: Machine, services: Services):
        _ = machine.ensure_agent(SETTINGS, PLACE)
        self.ensure(machine)
        services.told.clear()
        machine.stop()
        assert services.told == ["disable federation-dns-status", "disable federation-dns"]
        machine.remove()
        assert not self.path.exists()

    def test_one_that_does_not_start(self, machine: Machine, services: Services):
        services.broken = True
        with pytest.raises(UnitError, match="a service does not start: start failed"):
            self.ensure(machine)


class TestVerdict:
    def answer(self, monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception) -> list[str]:
        asked: list[str] = []

        class Opener:
            def open(self, url: str, timeout: float) -> BytesIO:
                assert timeout == 1.0
                asked.append(url)
                if isinstance(answer, Exception):
                    raise answer
                return BytesIO(answer)

        monkeypatch.setattr(urllib.request, "build_opener", lambda *_: Opener())
        monkeypatch.setattr(Machine, "certificate", lambda _: CERTIFICATES[0])
        return asked

    def test_the_agent_is_asked(self, machine: Machine, monkeypatch: pytest.MonkeyPatch):
        asked = self.answer(monkeypatch, b'{"quorum": true}')
        assert machine.verdict(SETTINGS, PLACE) == {"quorum": True}
        six = Place("catania", "fd00::12", "fd00::12", "fd00::/64")
        assert machine.verdict(SETTINGS, six) == {"quorum": True}
        assert asked == ["https://10.0.0.12:8443/v1/verdict", "https://[fd00::12]:8443/v1/verdict"]

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (urllib.error.URLError("refused"), "refused"),
            (TimeoutError("timed out"), "timed out"),
            (b"<html>", "Expecting value"),
        ],
    )
    def test_no_answer(
        self,
        machine: Machine,
        monkeypatch: pytest.MonkeyPatch,
        answer: bytes | Exception,
        why: str,
    ):
        _ = self.answer(monkeypatch, answer)
        with pytest.raises(UnitError, match=f"the agent does not answer: {why}"):
            _ = machine.verdict(SETTINGS, PLACE)


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


class TestForceRegion:
    def run(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, answer: Any) -> str:
        def ran(command: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
            assert given["user"] == "root"
            assert given["timeout"] > 0
            if isinstance(answer, Exception):
                raise answer
            return subprocess.CompletedProcess(command, 0, stdout=" ".join(command[3:8]))

        monkeypatch.setattr(subprocess, "run", ran)
        return machine.force_region("palermo", "lost", who="rosa", until="1h")

    def test_the_agents_command_says_it(self, machine: Machine, monkeypatch: pytest.MonkeyPatch):
        assert self.run(machine, monkeypatch, None) == "force-region palermo lost --who rosa"

    @pytest.mark.parametrize(
        ("error", "why"),
        [
            (subprocess.CalledProcessError(2, "x", stderr="no region palermo"), "no region"),
            (subprocess.CalledProcessError(2, "x", stderr=""), "exit status 2"),
            (subprocess.TimeoutExpired("x", 20), "timed out"),
            (FileNotFoundError("python"), "python"),
        ],
    )
    def test_failures(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
    ):
        with pytest.raises(UnitError, match=why):
            _ = self.run(machine, monkeypatch, error)


def test_the_clock_is_real():
    assert federation_dns_unit.now().tzinfo is UTC
