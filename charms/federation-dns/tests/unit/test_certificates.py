"""The agent's certificate: made anew in time, and changed when all regions know it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rotation
from dns_settings import Place, Settings
from dns_world import HEALTH, Context, FakeMachine, again, entry, hub, state
from federation_dns import keys
from federation_dns.pins import fingerprint
from federation_dns_unit import Machine
from federation_interfaces import MeshEntry, RegionHealthUnitData
from federation_interfaces.testing import CERTIFICATES
from mesh_entries import Heard, combine
from ops import testing

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LIFE = (BEGIN, BEGIN + timedelta(days=360))


class TestStep:
    @pytest.mark.parametrize(
        ("days", "made", "known", "wanted"),
        [
            (0, None, False, "wait"),
            (239, None, False, "wait"),
            (240, None, False, "make"),
            (400, None, False, "make"),  # it has ended: late is better than never
            (240, 240, False, "wait"),
            (240, 240, True, "change"),
            (240.9, 240, False, "wait"),
            (241, 240, False, "change"),  # somebody is dead, or knows of one certificate only
        ],
    )
    def test_it_is_made_in_time_and_changed_when_known(
        self, days: float, made: int | None, known: bool, wanted: str
    ):
        when = None if made is None else BEGIN + timedelta(days=made)
        now = BEGIN + timedelta(days=days)
        assert rotation.step(now, LIFE, when, acknowledged=known) == wanted

    def test_the_hold_of_a_short_life_is_short(self):
        life = (BEGIN, BEGIN + timedelta(seconds=60))
        made = BEGIN + timedelta(seconds=40)
        assert rotation.step(made + timedelta(seconds=9), life, made, acknowledged=False) == "wait"
        assert (
            rotation.step(made + timedelta(seconds=10), life, made, acknowledged=False) == "change"
        )


class Unit:
    """A region's unit with real files."""

    def __init__(self, folder: Path, name: str, number: int):
        self.machine = Machine(Path("/charm"), folder / name, user="root", group="root")
        self.place = Place(name, f"10.0.{number}.12", f"10.0.{number}.12", f"10.0.{number}.0/24")
        self.machine.settings.mkdir(parents=True)
        self.machine.bind.mkdir(parents=True)
        self.machine.ensure_keys(self.place)
        self.told: list[MeshEntry] = []

    def entry(self) -> MeshEntry:
        return MeshEntry(
            region=self.place.region,
            url=f"https://{self.place.address}:8443",
            certificate=self.machine.agent.certificate(),
            next_certificate=self.machine.agent.next_certificate() or None,
        )

    def hook(self, heard: list[MeshEntry], moment: datetime) -> MeshEntry:
        """Run the part of a hook that matters here; gives what it publishes of itself."""
        self.told = combine(self.entry(), {1: Heard(heard, from_hub=True)}, {}).entries
        if self.machine.rotate(self.place, self.told, moment):
            self.told = combine(self.entry(), {1: Heard(heard, from_hub=True)}, {}).entries
        return next(e for e in self.told if e.region == self.place.region)


@pytest.fixture
def units(tmp_path: Path) -> list[Unit]:
    names = ("catania", "napoli", "palermo")
    return [Unit(tmp_path, name, number) for number, name in enumerate(names, 1)]


class TestRotation:
    @pytest.fixture(autouse=True)
    def a_day_in_autumn(self) -> None:
        self._due = datetime.now(UTC) + timedelta(days=250)

    def due(self) -> datetime:
        return self._due

    def test_nothing_is_due_for_long(self, units: list[Unit]):
        for unit in units:
            assert not unit.machine.rotate(unit.place, [], self.due() - timedelta(days=30))

    def test_every_step_is_known_to_all_before_the_next(self, units: list[Unit]):
        """Hooks in any order: at each moment all regions trust what each shows."""
        one, *others = units
        bag = [unit.entry() for unit in units]
        former = one.machine.agent.certificate()
        bag[0] = one.hook(bag, self.due())
        following = one.machine.agent.next_certificate()
        assert bag[0].certificates == [former, following]
        bag[0] = one.hook(bag, self.due())
        assert one.machine.agent.certificate() == former  # nobody has taken it in
        for number, unit in enumerate(others, 1):
            quiet = datetime.now(UTC)
            bag[number] = unit.hook(bag, quiet)
            assert bag[number].taken == {"catania": fingerprint(following)}
        bag[0] = one.hook(bag, self.due())
        assert one.machine.agent.certificate() == following
        assert bag[0].certificates == [following]
        assert not (one.machine.settings / "next.crt").exists()
        for number, unit in enumerate(others, 1):
            bag[number] = unit.hook(bag, datetime.now(UTC))
            assert bag[number].taken == {}

    def test_a_region_that_is_silent_holds_it_up_for_a_day(self, units: list[Unit]):
        one = units[0]
        bag = [unit.entry() for unit in units]
        bag[0] = one.hook(bag, self.due())
        following = one.machine.agent.next_certificate()
        bag[0] = one.hook(bag, self.due() + timedelta(hours=23))
        assert one.machine.agent.next_certificate() == following
        bag[0] = one.hook(bag, self.due() + timedelta(hours=24, minutes=1))
        assert bag[0].certificates == [following]

    def test_a_change_that_was_cut_short_is_finished(self, units: list[Unit]):
        machine, place = units[0].machine, units[0].place
        _ = keys.generate("catania", place.address, machine.settings, self.due(), name="next")
        following = machine.agent.next_certificate()
        (machine.settings / "next.key").replace(machine.settings / "agent.key")
        machine.ensure_keys(place)
        assert machine.agent.certificate() == following
        assert machine.agent.next_certificate() == ""

    def test_nobody_takes_anothers_next_certificate(self, units: list[Unit]):
        thief = (
            units[1].entry().model_copy(update={"next_certificate": units[0].entry().certificate})
        )
        known = combine(units[0].entry(), {1: Heard([thief])}, {})
        assert [e.region for e in known.entries] == ["catania"]
        assert known.problems == ["mesh relation 1: napoli shows the certificate of catania"]


def test_the_next_certificate_is_published_at_once(ctx: Context, machine: FakeMachine):
    machine.rotates = [CERTIFICATES[2]]
    health = testing.Relation("region-health", id=HEALTH)
    out = again(ctx, state(hub(entry("palermo", 1)), health))
    assert machine.peers[0].next_certificate == CERTIFICATES[2]
    bag = out.get_relation(HEALTH).local_unit_data
    assert RegionHealthUnitData.load(bag).next_certificate == CERTIFICATES[2]


def test_a_certificate_that_ended_is_asked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The charm's question is pinned as the mesh is: no date takes the verdict away."""
    seen: list[int] = []
    real = keys.client_context

    def noted(pinned: str, *rest: None) -> object:
        context = real(pinned, *rest)
        seen.append(context.verify_flags)
        return context

    monkeypatch.setattr(keys, "client_context", noted)
    unit = Unit(tmp_path, "catania", 1)
    with pytest.raises(Exception, match="the agent does not answer"):
        _ = unit.machine.agent.verdict(Settings(port=1024), unit.place, 0.2)
    assert seen[0] & 0x200000
