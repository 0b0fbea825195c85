"""When the charm is given a hook: the rule over simulated time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from federation_dns import told
from federation_dns.told import SILENT, STARTING, Teller

WELL = ""
LOST = "napoli: withdrawn (2 of 3 regions cannot reach napoli (needs 2))"


class Unit:
    """A unit whose charm says what is so when its hook runs; a look each second."""

    def __init__(self, said: str | None = WELL) -> None:
        self.teller = Teller()
        self.seen = WELL
        self.said = said
        self.now = 0.0
        self.hooks: list[float] = []
        self.hook_works = True
        self.charm_says: Callable[[], str] = lambda: self.seen

    def look(self) -> None:
        self.now += 1.0
        if not self.teller.due(self.now, self.seen, self.said):
            return
        self.hooks.append(self.now)
        if self.hook_works:
            self.said = self.charm_says()
        self.teller.told(self.now, done=self.hook_works)

    def run(self, seconds: int) -> list[float]:
        for _ in range(seconds):
            self.look()
        return self.hooks


class TestWhen:
    def test_nothing_changes(self) -> None:
        assert Unit().run(600) == []

    def test_a_change_is_told_once_it_lasted(self) -> None:
        unit = Unit()
        unit.run(100)
        unit.seen = LOST
        assert unit.run(600) == [103.0]
        unit.seen = WELL
        assert unit.run(600) == [103.0, 703.0]

    def test_a_blip_is_not_told(self) -> None:
        unit = Unit()
        for _ in range(100):
            unit.seen = LOST
            unit.run(2)
            unit.seen = WELL
            unit.run(2)
        assert unit.hooks == []

    def test_what_another_hook_said_is_not_told_again(self) -> None:
        unit = Unit()
        unit.seen = LOST
        unit.look()
        unit.said = LOST
        assert unit.run(600) == []

    def test_a_status_that_another_hook_made_stale_is_told(self) -> None:
        """The hook saw what has passed since: what it said counts, not what it was told."""
        unit = Unit(said=LOST)
        assert unit.run(600) == [3.0]

    def test_a_charm_that_has_not_spoken_is_in_a_hook(self) -> None:
        unit = Unit(said=None)
        unit.seen = LOST
        assert unit.run(600) == []

    @pytest.mark.parametrize("period", [3, 4, 7])
    def test_flapping_makes_a_hook_in_five_seconds_at_most(self, period: int) -> None:
        unit = Unit()
        for turn in range(200):
            unit.seen = f"{turn}"
            unit.run(period)
        apart = [after - before for before, after in zip(unit.hooks, unit.hooks[1:], strict=False)]
        assert unit.hooks
        assert min(apart) >= 5.0


class TestTrouble:
    def test_a_failing_juju_exec_is_tried_ever_more_rarely(self) -> None:
        unit = Unit()
        unit.seen, unit.hook_works = LOST, False
        unit.run(300)
        apart = [after - before for before, after in zip(unit.hooks, unit.hooks[1:], strict=False)]
        assert apart == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
        unit.hook_works = True
        unit.run(60)
        assert unit.said == LOST
        unit.hooks.clear()
        unit.seen = WELL
        assert len(unit.run(30)) == 1

    def test_a_charm_that_says_something_else_is_left_alone(self) -> None:
        """Its configuration is refused, say: it knows the news, and has worse to tell."""
        unit = Unit(said=told.OTHER)
        unit.charm_says = lambda: told.OTHER
        assert len(unit.run(3600)) == told.TRIES
        unit.seen = LOST
        assert len(unit.run(3600)) == 2 * told.TRIES

    def test_nor_after_a_restart(self) -> None:
        unit = Unit(said=told.OTHER)
        unit.charm_says = lambda: told.OTHER
        unit.run(600)
        again = Unit(said=told.OTHER)
        again.teller = Teller(unit.teller.asked, unit.teller.tries)
        assert again.run(600) == []

    def test_a_restart_tells_nothing_that_was_told(self) -> None:
        unit = Unit()
        unit.seen = LOST
        assert len(unit.run(10)) == 1
        again = Unit(said=unit.said)
        again.seen = LOST
        again.teller = Teller(unit.teller.asked, unit.teller.tries)
        assert again.run(600) == []

    def test_whatever_happens_hooks_are_bounded_and_the_status_comes_true(self) -> None:
        for number in range(50):
            chance = random.Random(number)  # noqa: S311 - no secret
            unit = Unit()
            for _ in range(60):
                unit.seen = chance.choice([WELL, LOST, SILENT])
                unit.hook_works = chance.random() < 0.7
                unit.run(chance.randint(1, 12))
            pairs = zip(unit.hooks, unit.hooks[1:], strict=False)
            assert all(after - before >= 5.0 for before, after in pairs)
            unit.hook_works = True
            unit.run(70)
            assert unit.said == unit.seen


class TestWords:
    def region(self, **changed: Any) -> dict[str, Any]:
        found = {"verdict": "healthy", "withdrawn": False, "explain": "napoli is reached"}
        return {"quorum": True, "regions": {"napoli": found | changed}}

    def test_all_is_well(self) -> None:
        assert told.said(self.region()) == WELL

    def test_silence(self) -> None:
        assert told.said(None) == SILENT
        assert told.said(None, starting=True) == STARTING

    def test_a_region(self) -> None:
        assert told.said(self.region(withdrawn=True)) == "napoli: withdrawn (napoli is reached)"
        assert told.said(self.region(verdict="unknown", explain="")) == (
            "napoli: unknown (no reason given)"
        )

    def test_no_majority(self) -> None:
        text = "no majority is reached, so the last answers stay"
        assert told.said(self.region() | {"quorum": False}) == text
        assert told.said(self.region() | {"panic": True}) == text

    def test_nothing_that_counts_down(self) -> None:
        counting = {"withdrawn": True, "explain": "back in 12 s", "standing": "back soon"}
        assert told.said(self.region(**counting)) == "napoli: withdrawn (back soon)"
