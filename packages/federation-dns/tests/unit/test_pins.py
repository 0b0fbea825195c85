"""Who is trusted while certificates change, and who is named for what he says."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest
from federation_dns import door, keys, told
from federation_dns.core import Core, Member, Memory, Settings
from federation_dns.faults import BEHIND_S, HEARD_S, KEEP_S, STALE, Faults, alone
from federation_dns.pins import GRACE, Pins, fingerprint
from federation_dns.verdict import Ballot, Holds, judge
from federation_dns.wire import VoteMessage

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pems")
    return [keys.generate("b", "127.0.0.1", folder / str(i), NOW).read_text() for i in range(3)]


class TestPins:
    def test_both_are_trusted_until_the_next_was_shown(self, pems: list[str]) -> None:
        pins = Pins()
        pins.take({"b": (pems[0], pems[1])})
        former, successor = map(fingerprint, pems[:2])
        pins.shown(former, 0.0)
        assert pins.tick(1e6) == []
        assert pins.trusted("b") == (pems[0], pems[1])
        pins.shown(successor, 1e6)
        assert pins.tick(1e6 + GRACE - 0.1) == []
        assert pins.whose(former) == "b"
        assert pins.tick(1e6 + GRACE) == ["b"]
        assert pins.whose(former) is None
        assert pins.trusted("b") == (pems[1],)
        assert pins.tick(2e6) == []

    def test_what_has_ended_stays_ended_while_it_is_listed(self, pems: list[str]) -> None:
        pins = Pins()
        pins.take({"b": (pems[0], pems[1])})
        pins.shown(fingerprint(pems[1]), 0.0)
        _ = pins.tick(GRACE)
        pins.take({"b": (pems[0], pems[1]), "c": (pems[2],)})
        assert pins.whose(fingerprint(pems[0])) is None
        assert pins.all() == [pems[1], pems[2]]
        pins.take({"b": (pems[1],), "c": (pems[2],)})
        assert pins.all() == [pems[1], pems[2]]

    def test_one_that_is_no_members_proves_nobody(self, pems: list[str]) -> None:
        pins = Pins()
        pins.take({"b": (pems[0],)})
        pins.shown(fingerprint(pems[1]), 0.0)
        assert pins.whose(fingerprint(pems[1])) is None
        assert pins.trusted("c") == ()
        pins.take({})
        assert pins.whose(fingerprint(pems[0])) is None


class TestKeys:
    def test_a_change_that_is_cut_short_is_finished(self, tmp_path: Path) -> None:
        _ = keys.generate("a", "127.0.0.1", tmp_path, NOW)
        fresh = keys.generate("a", "127.0.0.1", tmp_path, NOW, name=keys.NEXT).read_text()
        assert not keys.interrupted(tmp_path)
        (tmp_path / "next.key").replace(tmp_path / "agent.key")
        assert keys.interrupted(tmp_path)
        assert keys.change_over(tmp_path)
        assert (tmp_path / "agent.crt").read_text() == fresh
        assert sorted(p.name for p in tmp_path.iterdir()) == ["agent.crt", "agent.key"]
        assert (tmp_path / "agent.key").stat().st_mode & 0o777 == 0o600
        _ = keys.server_context(tmp_path / "agent.crt", tmp_path / "agent.key", [fresh])

    def test_one_that_is_half_made_is_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "next.key").touch()
        assert keys.interrupted(tmp_path)
        assert not keys.change_over(tmp_path)
        assert not list(tmp_path.iterdir())


def core(pin: str = "old", next_pin: str | None = "new") -> Core:
    members = [Member("a", "region", "a"), Member("b", "region", pin, next_pin=next_pin)]
    return Core(Settings("a", "fed.example", 15, Holds()), members, 5, Memory(), now=0.0)


def test_an_announced_certificate_is_the_same_identity() -> None:
    """Replay protection goes on: what counted under the former key doesn't count again."""
    mind = core()
    vote = VoteMessage(region="b", incarnation=3, sequence=7)
    assert mind.heard(1.0, vote).accepted
    mind.set_members([Member("a", "region", "a"), Member("b", "region", "new")])
    assert not mind.heard(2.0, vote).accepted
    mind.set_members([Member("a", "region", "a"), Member("b", "region", "unannounced")])
    assert mind.heard(3.0, vote).accepted


class TestFaults:
    def test_a_wrong_message_is_shown_for_a_while(self) -> None:
        faults = Faults()
        faults.wrong("b", "the vote is malformed (2 faults)", 10.0)
        assert faults.shown(10.0 + KEEP_S - 1) == {"b": "the vote is malformed (2 faults)"}
        assert faults.shown(10.0 + KEEP_S) == {}

    def test_votes_out_of_order_are_none_and_a_clock_put_back_is_one(self) -> None:
        faults = Faults()
        for number in range(10 * STALE):
            faults.counted("b", 0.0, accepted=number % STALE == 0)
        assert faults.shown(0.0) == {}
        for _ in range(STALE):
            faults.counted("b", 0.0, accepted=False)
        assert "older than one that counted" in faults.shown(0.0)["b"]
        faults.counted("b", 0.0, accepted=True)
        assert faults.shown(0.0) == {}
        faults.wrong("b", "x", 0.0)
        faults.forget("b")
        assert faults.shown(0.0) == {}

    def test_two_agents_of_one_region_are_named(self) -> None:
        """F74: after a restart, what was under way of the life before is nothing."""
        faults = Faults()
        for _ in range(STALE - 1):
            faults.counted("b", 1.0, accepted=False, former=True)
        faults.counted("b", 1.0, accepted=True)
        assert faults.shown(1.0) == {}
        for second in range(2, 2 + STALE):
            faults.counted("b", second, accepted=False, former=True)
            faults.counted("b", second, accepted=True)
        assert "two agents speak for it" in faults.shown(2.0 + STALE)["b"]
        assert faults.shown(2.0 + STALE + HEARD_S) == {}

    def test_what_is_announced_and_does_not_come_is_named(self) -> None:
        """F25: votes pass, what is large doesn't."""
        faults = Faults()
        for second in range(10):
            faults.announced("b", 1.0 + second, newer=True)
        assert faults.shown(1.0 + BEHIND_S - 0.1) == {}
        assert "MTU" in faults.shown(1.0 + BEHIND_S)["b"]
        faults.came("b")
        faults.announced("b", 20.0, newer=True)  # and more: each of them comes in time
        assert faults.shown(25.0) == {}
        faults.announced("b", 26.0, newer=False)
        assert faults.shown(60.0) == {}

    def test_a_wrong_clock_is_named_and_forgiven(self) -> None:
        faults = Faults()
        for second, ahead in enumerate((1.0, 4000.0, 0.1, 0.1, -3.0)):  # one waited in a socket
            faults.clock("b", ahead, second)
            faults.clock("c", 0.0, second)
            assert faults.clocks("a", second) == {}
        for second in range(5, 9):
            faults.clock("b", -61.0, second)
        assert faults.clocks("a", 9) == {
            "b": "its clock and this region's differ by more than 60 s: set it (NTP)"
        }
        for second in range(9, 30):  # back and forth, as if two daemons set it
            faults.clock("b", (400.0, 0.0)[second % 2], second)
            faults.clock("c", 0.0, second)
        assert "more than 300 s: set it (NTP); name servers" in faults.clocks("a", 29)["b"]
        assert list(faults.clocks("a", 29)) == ["b"]
        assert faults.clocks("a", 29 + HEARD_S) == {}
        for second in range(30, 34):
            faults.clock("b", 0.0, second)
        assert faults.clocks("a", 34) == {}

    def test_whose_clock_differs_from_most_has_the_wrong_one(self) -> None:
        faults = Faults()
        for second in range(4):
            faults.clock("b", 3600.0, second)
            faults.clock("c", 3600.2, second)
        (said,) = faults.clocks("a", 4).items()
        assert said[0] == "a"
        assert said[1].startswith("this region's clock and those of 2 of 2 others differ by more")

    @pytest.mark.parametrize(
        ("silent_to", "named"),
        [
            ({"c": {"a", "b"}}, ["c"]),  # the liar
            ({"c": {"a"}}, []),  # one broken link
            ({"a": {"c"}, "b": {"c"}}, []),  # c is lost
            ({"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}, []),
        ],
    )
    def test_who_alone_calls_all_lost_is_named(
        self, silent_to: dict[str, set[str]], named: list[str]
    ) -> None:
        names = ("a", "b", "c")
        ballots = {
            voter: Ballot(
                {n: 99.0 if n in silent_to.get(voter, ()) else 0.1 for n in names if n != voter},
                0.0,
            )
            for voter in names
        }
        judged = judge(0.0, dict.fromkeys(names, "region"), ballots, {}, {}, Holds())
        assert list(alone(judged)) == named
        assert alone(dataclasses.replace(judged, quorum=False)) == {}

    def test_the_status_names_it(self) -> None:
        verdict = {"quorum": True, "regions": {}, "faults": {"c": "it alone calls all lost"}}
        assert told.said(verdict) == "c: it alone calls all lost"


class TestSlots:
    def test_strangers_are_counted_by_address_and_in_all(self) -> None:
        slots = door.Slots(known=frozenset({"10.0.0.1"}))
        for number in range(door.STRANGERS):
            address = f"192.0.2.{number % (door.STRANGERS // door.AN_ADDRESS)}"
            assert not slots.refuses(address)
            slots.enter(address)
        assert slots.refuses("192.0.2.0") == "address"
        assert slots.refuses("198.51.100.1") == "crowd"
        assert not slots.refuses("10.0.0.1")
        slots.leave("192.0.2.0", "")
        assert not slots.refuses("198.51.100.1")
        assert not slots.refuses("192.0.2.0")

    def test_a_member_is_no_stranger_and_has_a_number_of_its_own(self) -> None:
        slots = door.Slots()
        for _ in range(door.A_MEMBER):
            slots.enter("192.0.2.1")
            assert slots.prove("192.0.2.1", "b")
        assert not slots.refuses("192.0.2.1")
        slots.enter("192.0.2.1")
        assert not slots.prove("192.0.2.1", "b")
        slots.leave("192.0.2.1", "")
        for _ in range(door.A_MEMBER):
            slots.leave("192.0.2.1", "b")
        assert not slots.members
        assert not slots.strangers

    def test_the_address_of_a_member_is_bounded_too(self) -> None:
        slots = door.Slots(known=frozenset({"10.0.0.1"}))
        for _ in range(door.A_MEMBER):
            slots.enter("10.0.0.1")
        assert slots.refuses("10.0.0.1") == "address"
