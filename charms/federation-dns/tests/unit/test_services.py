"""The unit's services: BIND, the agent, and the one that has the status follow."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import federation_dns_unit
import pytest
from dns_settings import Place
from federation_dns_unit import Machine
from local_agent import UnitError
from name_server import Served
from unit_world import PLACE, SETTINGS, Services, mode

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(federation_dns_unit, "version", lambda: "0.1.0")
    return Machine(Path("/charm"), tmp_path, user="root", group="root")


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    return Services(monkeypatch)


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
            "ExecStart=/charm/venv/bin/python /charm/src/agent_watch.py 10.0.0.12 8443 "
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
        assert services.told == [
            "disable federation-dns-status",
            "daemon_reload",
            "disable federation-dns",
        ]
        assert not self.path.exists()

    def test_one_that_does_not_start(self, machine: Machine, services: Services):
        services.broken = True
        with pytest.raises(UnitError, match="a service does not start: start failed"):
            self.ensure(machine)
