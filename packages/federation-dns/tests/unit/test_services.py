"""Services beyond their region's verdict: probes, accusations, returns in steps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from federation_dns import judging, ramp, wire
from federation_dns.core import Core, Member, Memory, Settings
from federation_dns.health import Accusation
from federation_dns.probes import Pace, Probes, Target
from federation_dns.verdict import Ballot, Holds, Judgement, Role, Standing, judge
from federation_dns.wire import VoteMessage, WireError
from federation_dns.zone import RegionState, Service
from hypothesis import given, settings
from hypothesis import strategies as st

HOLDS = Holds(jitter=0)
WEB = Target("a", "shop", "web", "10.0.0.1")
API = Target("b", "shop", "api", "10.1.0.1")
KNOWN = {"a": {WEB}, "b": {API}}


def state(region: str, *names: str, probe: int = 80) -> RegionState:
    services = tuple(
        Service("shop", n, (f"10.0.{i // 250}.{i % 250}",), 1, probe=probe)
        for i, n in enumerate(names)
    )
    return RegionState(region, 1, 1, services)


def everything(_region: str, _address: str) -> bool:
    return True


def ask(probes: Probes, now: float, *, well: bool) -> int:
    count = 0
    for region in list(probes.regions):
        while found := probes.next(region, now):
            probes.answered(found[0], now, well=well)
            count += 1
    return count


def play(probes: Probes, start: float, seconds: float, *, well: bool) -> float:
    now = start
    while now < start + seconds:
        now += 0.25
        ask(probes, now, well=well)
    return now


def test_failing_is_some_misses_in_a_row_over_the_hold() -> None:
    probes = Probes(Pace())
    probes.take(0, state("a", "web"), everything)
    now = play(probes, 0, 10, well=True)
    assert probes.failing(now) == frozenset()
    now = play(probes, now, 5.5, well=False)
    assert probes.failing(now) == frozenset()
    now = play(probes, now, 6, well=False)
    (found,) = probes.failing(now)
    assert found.name == "web"
    now = play(probes, now, 6, well=True)
    assert probes.failing(now) == frozenset()


def test_what_never_answered_is_unknown_and_not_lost() -> None:
    probes = Probes(Pace())
    probes.take(0, state("a", "web"), everything)
    assert probes.failing(play(probes, 0, 100, well=False)) == frozenset()


def test_after_a_restart_what_failed_goes_on_failing() -> None:
    (known,) = (Target("a", "shop", "web", "10.0.0.0"),)
    probes = Probes(Pace(), [known])
    probes.take(0, state("a", "web"), everything)
    assert probes.failing(0.1) == {known}
    play(probes, 0, 6, well=True)
    assert probes.failing(6) == frozenset()


def test_misses_of_a_time_asleep_prove_nothing() -> None:
    probes = Probes(Pace())
    probes.take(0, state("a", "web"), everything)
    now = play(probes, 0, 10, well=True)
    now = play(probes, now, 5.5, well=False)
    probes.doubt("a")
    now = play(probes, now, 2, well=False)
    assert probes.failing(now) == frozenset()


def test_only_addresses_that_may_be_published_are_connected_to() -> None:
    probes = Probes(Pace())
    probes.take(0, state("a", "web", "api"), lambda _, a: a == "10.0.0.1")
    assert len(probes) == 1
    probes.take(0, state("a", "web", "api", probe=0), everything)
    assert len(probes) == 0


def test_a_thousand_services_are_asked_evenly() -> None:
    probes = Probes(Pace(interval=5))
    names = [f"s{i}" for i in range(1000)]
    probes.take(0, state("a", *names), everything)
    counts = [ask(probes, 0.25 * i, well=True) for i in range(1, 81)]
    assert sum(counts) == pytest.approx(4000, rel=0.1)
    assert max(counts) < 120
    assert probes.rate() == 100


def test_those_that_miss_take_at_most_every_second_question() -> None:
    probes = Probes(Pace(interval=1))
    probes.take(0, state("a", *(f"s{i}" for i in range(100))), everything)
    play(probes, 0, 5, well=True)
    missed: set[Target] = set()
    for _ in range(40):
        found = probes.next("a", 7)
        assert found
        missed.add(found[0])
        probes.answered(found[0], 7, well=False)
    asked = [probes.next("a", 30) for _ in range(60)]
    assert sum(1 for found in asked if found and found[0] in missed) == 30


# --- the verdict about addresses ---


def judged(now: float, size: int = 3, silent: str = "", lost: str = "") -> Judgement:
    members: dict[str, Role] = dict.fromkeys("abcdefg"[:size], "region")
    ballots = {
        v: Ballot({m: 99.0 if m in lost else 0.1 for m in members if m != v}, now)
        for v in members
        if v not in silent
    }
    return judge(now, members, ballots, {}, {}, HOLDS)


def test_a_majority_of_all_takes_an_address_out_and_one_observer_never() -> None:
    alone = judging.judge(10, judged(10), {"b": {WEB}}, {}, KNOWN, HOLDS)
    assert alone.withdrawn == frozenset()
    assert judging.explain(WEB, alone.found[WEB], "abc") == (
        "only b cannot connect to 10.0.0.1: 1 of 2 needed"
    )
    both = judging.judge(10, judged(10), {"b": {WEB}, "c": {WEB, API}}, {}, KNOWN, HOLDS)
    assert both.withdrawn == {WEB}
    assert judging.explain(WEB, both.found[WEB], "abc") == (
        "2 of 3 members cannot connect to 10.0.0.1 (needs 2)"
    )
    # The accusation of who is not heard, or is no member, does not count.
    for voters in ({"b": {WEB}, "x": {WEB}}, {"b": {WEB}, "d": {WEB}}):
        assert not judging.judge(10, judged(10), voters, {}, KNOWN, HOLDS).withdrawn
    heard = judged(10, silent="c")
    assert not judging.judge(10, heard, {"b": {WEB}, "c": {WEB}}, {}, KNOWN, HOLDS).withdrawn


def test_what_is_unknown_here_is_forgotten() -> None:
    both = {"b": {WEB}, "c": {WEB}}
    done = judging.judge(10, judged(10), both, {}, KNOWN, HOLDS)
    assert not judging.judge(11, judged(11), both, done.standings, {"b": {API}}, HOLDS).standings


def test_a_lost_region_and_a_lost_quorum_stop_the_clock() -> None:
    done = judging.judge(10, judged(10), {"b": {WEB}, "c": {WEB}}, {}, KNOWN, HOLDS)
    for of in (judged(20, lost="a", silent="a"), judged(20, silent="bc")):
        later = judging.judge(20, of, {}, done.standings, KNOWN, HOLDS)
        assert later.withdrawn == {WEB}
        assert later.found[WEB].waits is None


@dataclass
class Twin:
    """The same rules, slowly: every group of voters is tried."""

    members: str
    out: set[Target] = field(default_factory=set[Target])
    left: dict[Target, list[float]] = field(default_factory=dict[Target, list[float]])
    well: dict[Target, float] = field(default_factory=dict[Target, float])

    def majority(self, of: set[str]) -> bool:
        groups = itertools.combinations(self.members, len(self.members) // 2 + 1)
        return any(set(group) <= of for group in groups)

    def look(self, now: float, votes: dict[str, set[Target]], silent: set[str]) -> set[Target]:
        here = set(self.members) - silent
        for target in (WEB, API):
            if not self.majority(here):
                self.well.pop(target, None)
            elif self.majority({v for v in here if target in votes.get(v, ())}):
                self.well.pop(target, None)
                if target not in self.out:
                    self.out.add(target)
                    self.left.setdefault(target, []).append(now)
            elif target in self.out:
                since = self.well.setdefault(target, now)
                count = len([t for t in self.left[target] if now - t <= 3600]) or 1
                if now - since >= 30 * min(8, 2 ** max(0, count - 2)):
                    self.out.discard(target)
                    del self.well[target]
        return self.out


VOTES = st.lists(
    st.tuples(
        st.sampled_from([0.5, 1.0, 10.0, 31.0]),
        st.dictionaries(st.sampled_from("abcde"), st.sets(st.sampled_from([WEB, API]))),
        st.sets(st.sampled_from("abcde"), max_size=3),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([1, 3, 5]), VOTES)
def test_the_twin_agrees(
    size: int, history: list[tuple[float, dict[str, set[Target]], set[str]]]
) -> None:
    now = 1000.0
    standings: Mapping[Target, Standing] = {}
    twin = Twin("abcde"[:size])
    for gap, votes, silent in history:
        now += gap
        of = judged(now, size, "".join(silent))
        before = standings
        done = judging.judge(now, of, votes, standings, KNOWN, HOLDS)
        standings = done.standings
        assert done.withdrawn == twin.look(now, votes, silent)
        # The same votes give the same to whoever counts them, in whatever order.
        turned = dict(reversed(votes.items()))
        assert judging.judge(now, of, turned, before, KNOWN, HOLDS) == done


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 90), st.booleans()), min_size=2, max_size=60))
def test_flapping_moves_little(spans: list[tuple[float, bool]]) -> None:
    now, standings = 0.0, dict[Target, Standing]()
    changes: list[float] = []
    was = False
    for length, well in spans:
        ends = now + length
        while now < ends:
            now += 0.5
            votes = {} if well else {"b": {WEB}, "c": {WEB}}
            done = judging.judge(now, judged(now), votes, standings, KNOWN, HOLDS)
            standings = dict(done.standings)
            if (WEB in done.withdrawn) != was:
                was = not was
                changes.append(now)
    for first, third in zip(changes, changes[2:], strict=False):
        assert third - first >= HOLDS.return_after


# --- returning in steps ---


def test_a_region_returns_in_steps() -> None:
    services = {("shop", f"s{i}"): True for i in range(20)}
    found = ramp.advance(0, None, services, 5)
    assert found is not None
    assert len(ramp.admitted(services, found.step)) == 2
    assert ramp.advance(4.9, found, services, 5) == found
    found = ramp.advance(5, found, services, 5)
    assert found is not None
    assert len(ramp.admitted(services, found.step)) == 10
    assert ramp.advance(10, found, services, 5) is None


def test_a_service_that_falls_delays_the_next_step_once() -> None:
    services = {("shop", f"s{i}"): True for i in range(20)}
    found = ramp.advance(0, None, services, 5)
    assert found is not None
    first = sorted(found.held)[0]
    fallen = services | {first: False}
    found = ramp.advance(4, found, fallen, 5)
    assert found is not None
    assert (found.step, found.since, first in found.held) == (0, 4, False)
    again = ramp.advance(6, found, services, 5)
    again = ramp.advance(7, again, fallen, 5)
    assert again == found
    found = ramp.advance(9, found, fallen, 5)
    assert found is not None
    assert found.step == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_services_return_soon(count: int) -> None:
    services = {("shop", f"s{i}"): True for i in range(count)}
    found = ramp.advance(0, None, services, 5)
    assert found is not None
    assert len(ramp.admitted(services, 0)) == min(1, count)
    found = ramp.advance(5, found, services, 5)
    assert ramp.advance(10, found, services, 5) is None


# --- in the core ---


def three(count: int) -> Core:
    members = [Member(n, "region", n, ("10.0.0.0/8",)) for n in "abc"]
    core = Core(Settings("a", "fed.example", 15, HOLDS), members, 1, Memory(), 0.0)
    for i, name in enumerate("abc"):
        services = tuple(
            Service("shop", f"s{n}", (f"10.{i}.0.{n}",), 1, probe=80) for n in range(count)
        )
        if name == "a":
            core.take_own(services)
        else:
            core.take_state(RegionState(name, 1, 1, services))
    return core


def live(core: Core, start: float, seconds: float, mute: str = "") -> float:
    """Everybody in the mesh says that all is well, but for `mute`, of whom nobody hears."""
    now = start
    while now < start + seconds:
        now += 0.5
        for name in "bc":
            if name not in mute:
                ages: dict[str, float | None] = {
                    m: 99.0 if m in mute else 0.1 for m in "abc" if m != name
                }
                core.heard(
                    now,
                    VoteMessage(region=name, incarnation=1, sequence=int(now * 10), ages=ages),
                )
        core.tick(now, now)
    return now


def answers(core: Core, region: int) -> int:
    return sum(
        any(v.startswith(f"10.{region}.") for v in r.values)
        for (name, _), r in core.wanted.records.items()
        if name.endswith(".shop.svc.fed.example")
    )


def test_the_services_of_a_lost_region_come_back_in_steps() -> None:
    core = three(20)
    now = live(core, 0, 5)
    assert answers(core, 2) == 20
    now = live(core, now, 10, mute="c")
    assert answers(core, 2) == 0
    seen: list[int] = []
    for _ in range(60):
        now = live(core, now, 1)
        seen.append(answers(core, 2))
        told = core.verdict(now)["returning"]
        if seen[-1] == 2:
            assert told["c"].startswith("c comes back in steps: 2 of 20 services")
    assert sorted(set(seen)) == [0, 2, 10, 20]
    assert seen == sorted(seen)
    assert core.verdict(now)["returning"] == {}


def test_an_accused_address_leaves_only_its_own_service() -> None:
    core = three(3)
    now = live(core, 0, 5)
    target = Target("c", "shop", "s1", "10.2.0.1")
    for voter in "bc":
        core.take_accusation(Accusation(voter, 1, 1, frozenset({target})))
    now = live(core, now, 1)
    assert core.wanted.records["s1.shop.svc.fed.example", "A"].values == ("10.0.0.1", "10.1.0.1")
    assert answers(core, 2) == 2
    (told,) = core.verdict(now)["services"]
    assert (told["service"], told["withdrawn"]) == ("shop/s1", True)
    # Its name in that region stays, since there is nowhere else to go.
    assert core.wanted.records["s1.shop.svc.c.fed.example", "A"].values == ("10.2.0.1",)
    again = Core(core.settings, core.members.values(), 2, core.memory(), now)
    live(again, now, 2)
    assert again.wanted.records["s1.shop.svc.fed.example", "A"].values == ("10.0.0.1", "10.1.0.1")


def test_an_accusation_of_an_earlier_life_ends_with_it() -> None:
    core = three(1)
    target = Target("c", "shop", "s0", "10.2.0.0")
    core.take_accusation(Accusation("b", 1, 3, frozenset({target})))
    assert not core.health.is_newer("b", 1, 3)
    assert core.health.is_newer("b", 1, 4)
    assert core.health.is_newer("b", 2, 1)
    assert not core.health.is_newer("b", 2, 0)
    core.take_accusation(Accusation("stranger", 1, 1, frozenset({target})))
    assert not core.health.tick(1, core.judgement, "bc")


# --- on the wire ---


def test_an_accusation_travels_whole() -> None:
    accusation = Accusation("b", 3, 9, frozenset({WEB, API}))
    body = json.dumps(wire.dump_accusation(accusation)).encode()
    assert wire.parse_accusation(body) == accusation


def test_entries_that_are_none_are_left_out_of_an_accusation() -> None:
    body = {
        "region": "b",
        "incarnation": 1,
        "sequence": 1,
        "accused": {"a": [["shop", "web", "10.0.0.1"], ["x"], 7, ["a", "b", "c" * 99]]},
    }
    assert wire.parse_accusation(json.dumps(body).encode()).targets == {WEB}
    for bad in (b"{}", b"[]", b"x", json.dumps(body | {"accused": {"A!": []}}).encode()):
        with pytest.raises(WireError):
            wire.parse_accusation(bad)
    with pytest.raises(WireError, match="too big"):
        wire.parse_accusation(b" " * (wire.MAX_STATE + 1))
