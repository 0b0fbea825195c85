"""The verdict: its arithmetic, its invariants on random histories, and a slow obvious twin."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from federation_dns import explain, told
from federation_dns.verdict import (
    Ballot,
    Holds,
    Judgement,
    Observations,
    Role,
    Standing,
    Word,
    judge,
    return_hold,
)
from hypothesis import given, settings
from hypothesis import strategies as st

HOLDS = Holds(jitter=0)
NAMES = "abcdefg"
Ages = dict[str, float | None]


def electorate(size: int, witnesses: int = 0) -> dict[str, Role]:
    found: dict[str, Role] = {name: "region" for name in NAMES[:size]}
    for number in range(witnesses):
        found[f"w{number}"] = "witness"
    return found


def table(now: float, said: Mapping[str, Ages]) -> dict[str, Ballot]:
    return {voter: Ballot(ages, now) for voter, ages in said.items()}


def everyone_says(
    members: Mapping[str, Role], about: str, age: float, *who: str
) -> dict[str, Ages]:
    """Ballots of `who`: all is well, but for `about`."""
    return {v: {m: age if m == about else 0.1 for m in members if m != v} for v in who}


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_a_majority_counts_the_accused(size: int, needed: int) -> None:
    members = electorate(size)
    accused, *others = members
    for count in range(size):
        voters = others[:count]
        said = everyone_says(members, accused, 6.0, *voters)
        judged = judge(100, members, table(100, said), {}, {}, HOLDS)
        assert judged.needed == needed
        if accused in judged.findings and count:
            assert judged.findings[accused].withdrawn == (count >= needed)


def test_one_observer_is_never_enough() -> None:
    members = electorate(3)
    said = everyone_says(members, "a", 1000.0, "b") | everyone_says(members, "a", 0.1, "c")
    judged = judge(100, members, table(100, said), {}, {}, HOLDS)
    assert not judged.findings["a"].withdrawn
    assert explain.region("a", judged) == "only b cannot reach a: 1 of 2 needed"


def test_a_status_does_not_count_the_seconds_of_a_return() -> None:
    members = electorate(3)
    lost = table(100, everyone_says(members, "a", 6.0, "b", "c"))
    standings = judge(100, members, lost, {}, {}, HOLDS).standings
    documents: list[dict[str, Any]] = []
    for now in range(102, 112):
        heard = table(now, everyone_says(members, "a", 0.1, "b", "c"))
        judged = judge(now, members, heard, standings, {}, HOLDS)
        standings = judged.standings
        documents.append(explain.document("b", 1, now, judged, []))
    assert len({each["regions"]["a"]["explain"] for each in documents}) > 5
    assert {told.said(each) for each in documents} == {
        "a: withdrawn (a is heard again and comes back if that lasts)"
    }


def test_a_stale_ballot_does_not_count() -> None:
    members = electorate(3)
    ballots = table(100, everyone_says(members, "a", 9.0, "b", "c"))
    assert judge(102, members, ballots, {}, {}, HOLDS).findings["a"].withdrawn
    assert not judge(102.1, members, ballots, {}, {}, HOLDS).quorum


def test_two_regions_have_no_automatic_verdict_and_say_so() -> None:
    members = electorate(2)
    judged = judge(100, members, table(100, {"a": {"b": 99.0}}), {}, {}, HOLDS)
    assert judged.panic
    assert not judged.quorum
    assert not judged.findings["b"].withdrawn
    assert "add a witness" in explain.region("b", judged)
    word = {"b": Word("lost", "ada")}
    judged = judge(100, members, table(100, {"a": {"b": 99.0}}), {}, word, HOLDS)
    assert judged.quorum
    assert judged.findings["b"].withdrawn
    assert judged.findings["b"].evicted
    assert explain.region("b", judged) == "ada says that b is lost"


def test_a_witness_makes_two_regions_three() -> None:
    members = electorate(2, 1)
    said = everyone_says(members, "b", 5.0, "a", "w0")
    judged = judge(100, members, table(100, said), {}, {}, HOLDS)
    assert judged.findings["b"].withdrawn
    assert "w0" not in judged.findings
    assert explain.region("b", judged) == "2 of 3 members cannot reach b (needs 2)"


def test_when_all_look_lost_nobody_is_believed() -> None:
    members = electorate(2, 3)
    ages: Ages = {"a": 60.0, "b": 60.0, "w0": 0.1, "w1": 0.1, "w2": 0.1}
    judged = judge(100, members, table(100, {w: ages for w in ("w0", "w1", "w2")}), {}, {}, HOLDS)
    assert judged.panic
    assert judged.all_lost
    assert not any(f.withdrawn for f in judged.findings.values())


def test_a_cordon_takes_addresses_and_leaves_replicas() -> None:
    members = electorate(3)
    said = everyone_says(members, "a", 0.1, "b", "c")
    judged = judge(100, members, table(100, said), {}, {"a": Word("cordoned", "ada")}, HOLDS)
    assert judged.findings["a"].withdrawn
    assert not judged.findings["a"].evicted
    assert judged.findings["a"].verdict == "healthy"


def test_sleep_is_not_held_against_others() -> None:
    ears = Observations(0.0)
    ears.tick(0.0, 2.0)
    ears.heard("a", 1.0)
    assert ears.tick(41.0, 2.0) == 41.0
    assert ears.ages(41.0, ["a"]) == {"a": 0.0}
    assert ears.ages(41.5, ["a", "new"]) == {"a": 0.5, "new": None}


def test_who_was_known_before_a_restart_counts_from_the_start() -> None:
    ears = Observations(10.0, {"a"})
    assert ears.ages(16.0, ["a", "b"]) == {"a": 6.0, "b": None}


def test_flapping_asks_for_a_longer_proof_of_health() -> None:
    def hold(count: int) -> float:
        return return_hold("a", Standing(withdrawals=tuple(range(count))), HOLDS)

    assert [hold(n) for n in (1, 2, 3, 4, 5, 6)] == [30, 30, 60, 120, 240, 240]


# --- the twin: the same rules told as slowly and plainly as possible, over the whole history ---


@dataclass
class Twin:
    """Recounts everything from the list of all that happened, by trying every group of voters."""

    members: Mapping[str, Role]
    holds: Holds
    history: list[tuple[float, dict[str, Ballot]]] = field(default_factory=list)

    def majority(self, moment: int, about: str, at_least: float) -> bool:
        now, ballots = self.history[moment]
        against = [
            v
            for v, b in ballots.items()
            if v in self.members and now - b.received <= self.holds.fresh_for and v != about
            if (age := b.ages.get(about)) is not None and age >= at_least
        ]
        groups = itertools.combinations(self.members, len(self.members) // 2 + 1)
        return any(set(group) <= set(against) for group in groups)

    def quorum(self, moment: int) -> bool:
        now, ballots = self.history[moment]
        here = [
            v
            for v, b in ballots.items()
            if v in self.members and now - b.received <= self.holds.fresh_for
        ]
        groups = itertools.combinations(self.members, len(self.members) // 2 + 1)
        return any(set(group) <= set(here) for group in groups)

    def heard(self, moment: int, about: str) -> bool:
        now, ballots = self.history[moment]
        return any(
            v == about
            or ((age := b.ages.get(about)) is not None and age < self.holds.withdraw_after)
            for v, b in ballots.items()
            if v in self.members and now - b.received <= self.holds.fresh_for
        )

    def replay(self) -> list[dict[str, tuple[bool, bool]]]:
        out: dict[str, bool] = dict.fromkeys(self.members, False)
        gone: dict[str, bool] = dict.fromkeys(self.members, False)
        left: dict[str, list[float]] = {m: [] for m in self.members}
        steady: dict[str, float | None] = dict.fromkeys(self.members)
        told: list[dict[str, tuple[bool, bool]]] = []
        regions = [m for m, role in self.members.items() if role == "region"]
        for moment, (now, _) in enumerate(self.history):
            saved = (dict(out), dict(gone), {m: list(v) for m, v in left.items()}, dict(steady))
            for m in self.members:
                if not self.quorum(moment):
                    steady[m] = None
                elif self.majority(moment, m, self.holds.withdraw_after):
                    steady[m] = None
                    if not out[m]:
                        out[m], gone[m] = True, False
                        left[m].append(now)
                    gone[m] = gone[m] or self.majority(moment, m, self.holds.evict_after)
                elif out[m] and not self.heard(moment, m):
                    steady[m] = None
                elif out[m]:
                    since = now if steady[m] is None else steady[m]
                    steady[m] = since
                    count = len([t for t in left[m] if now - t <= self.holds.flap_window]) or 1
                    wait = return_hold(m, Standing(withdrawals=(0.0,) * count), self.holds)
                    stuck = 0 < self.holds.flap_limit <= count
                    if since is not None and now - since >= wait and not stuck:
                        out[m] = gone[m] = False
                        steady[m] = None
            if all(out[r] for r in regions):
                out, gone, left, steady = saved
            told.append({r: (out[r], gone[r]) for r in regions})
        return told


def run(
    members: Mapping[str, Role], history: list[tuple[float, dict[str, Ballot]]], holds: Holds
) -> list[Judgement]:
    standings: Mapping[str, Standing] = {}
    judged: list[Judgement] = []
    for now, ballots in history:
        judged.append(judge(now, members, ballots, standings, {}, holds))
        standings = judged[-1].standings
    return judged


AGES = st.sampled_from([None, 0.1, 4.9, 5.0, 7.0, 19.9, 20.0, 100.0])


@st.composite
def histories(
    draw: st.DrawFn,
) -> tuple[dict[str, Role], list[tuple[float, dict[str, Ballot]]]]:
    members = electorate(draw(st.integers(1, 5)), draw(st.integers(0, 2)))
    now = 1000.0
    history: list[tuple[float, dict[str, Ballot]]] = []
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.sampled_from([0.5, 1.0, 10.0, 31.0, 4000.0]))
        ballots: dict[str, Ballot] = {}
        for voter in members:
            if draw(st.booleans()) or draw(st.booleans()):
                ages = {m: draw(AGES) for m in members if m != voter}
                ballots[voter] = Ballot(ages, now - draw(st.sampled_from([0.0, 2.0, 2.5])))
        history.append((now, ballots))
    return members, history


@settings(max_examples=150, deadline=None)
@given(histories())
def test_the_twin_agrees(
    found: tuple[dict[str, Role], list[tuple[float, dict[str, Ballot]]]],
) -> None:
    members, history = found
    judged = run(members, history, HOLDS)
    slow = Twin(members, HOLDS, history).replay()
    fast = [{r: (f.withdrawn, f.evicted) for r, f in j.findings.items()} for j in judged]
    assert fast == slow


@settings(max_examples=100, deadline=None)
@given(histories())
def test_never_all_out_and_never_without_a_majority(
    found: tuple[dict[str, Role], list[tuple[float, dict[str, Ballot]]]],
) -> None:
    members, history = found
    before: Mapping[str, Standing] = {}
    for (now, ballots), judged in zip(history, run(members, history, HOLDS), strict=True):
        assert not all(f.withdrawn for f in judged.findings.values())
        for region, finding in judged.findings.items():
            against = sum(v == "lost" for v in finding.votes.values())
            if finding.withdrawn and not before.get(region, Standing()).withdrawn:
                assert against > len(members) / 2
            if finding.evicted:
                assert finding.withdrawn
            if not judged.quorum:
                was = before.get(region, Standing())
                assert (finding.withdrawn, finding.evicted) == (was.withdrawn, was.evicted)
                assert finding.verdict == "unknown"
        # The same votes give the same verdict to whoever counts them, in whatever order.
        turned = dict(reversed(ballots.items()))
        again = judge(now, dict(reversed(members.items())), turned, before, {}, HOLDS)
        assert again == judged
        before = judged.standings


@settings(max_examples=100, deadline=None)
@given(histories(), st.data())
def test_one_liar_of_three_removes_nobody(
    found: tuple[dict[str, Role], list[tuple[float, dict[str, Ballot]]]], data: st.DataObject
) -> None:
    _, history = found
    members = electorate(3)
    liar = data.draw(st.sampled_from(sorted(members)))
    for now, _ in history:
        honest = {m: 0.1 for m in members}
        ballots = {v: Ballot(honest, now) for v in members if v != liar}
        ballots[liar] = Ballot({m: data.draw(AGES) for m in members}, now)
        judged = judge(now, members, ballots, {}, {}, HOLDS)
        assert not any(f.withdrawn for f in judged.findings.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 90), st.booleans()), min_size=2, max_size=60))
def test_flapping_moves_little(spans: list[tuple[float, bool]]) -> None:
    """At most two changes of one region in any return hold, however its link behaves."""
    members = electorate(3)
    now, silent, standings = 0.0, 0.0, dict[str, Standing]()
    changes: list[float] = []
    for length, up in spans:
        ends = now + length
        while now < ends:
            now += 0.5
            silent = 0.1 if up else silent + 0.5
            said = everyone_says(members, "a", silent, "b", "c")
            judged = judge(now, members, table(now, said), standings, {}, HOLDS)
            if judged.findings["a"].withdrawn != standings.get("a", Standing()).withdrawn:
                changes.append(now)
            standings = dict(judged.standings)
    for first in changes:
        assert sum(first <= at < first + HOLDS.return_after for at in changes) <= 2
