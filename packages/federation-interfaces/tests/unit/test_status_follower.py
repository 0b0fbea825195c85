"""When a charm is given a hook, and how: the rule over simulated time, and the loop around it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from status_follower import loop
from status_follower.loop import Notes
from status_follower.rule import TRIES, Teller

WELL = ""
LOST = "napoli: withdrawn (2 of 3 regions cannot reach napoli (needs 2))"
OTHER = "something else"


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
        unit = Unit(said=OTHER)
        unit.charm_says = lambda: OTHER
        assert len(unit.run(3600)) == TRIES
        unit.seen = LOST
        assert len(unit.run(3600)) == 2 * TRIES

    def test_nor_after_a_restart(self) -> None:
        unit = Unit(said=OTHER)
        unit.charm_says = lambda: OTHER
        unit.run(600)
        again = Unit(said=OTHER)
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
                unit.seen = chance.choice([WELL, LOST, OTHER])
                unit.hook_works = chance.random() < 0.7
                unit.run(chance.randint(1, 12))
            pairs = zip(unit.hooks, unit.hooks[1:], strict=False)
            assert all(after - before >= 5.0 for before, after in pairs)
            unit.hook_works = True
            unit.run(70)
            assert unit.said == unit.seen


class TestNotes:
    def test_they_outlive_a_restart(self, tmp_path: Path) -> None:
        notes = Notes(str(tmp_path))
        assert notes.asked() == ("", 0)
        assert notes.said() == (None, 0.0)
        notes.keep("napoli: lost (x)", 2)
        assert Notes(str(tmp_path)).asked() == ("napoli: lost (x)", 2)

    def test_what_is_damaged_is_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "asked").write_text("what")
        assert Notes(str(tmp_path)).asked() == ("", 0)

    def test_only_what_is_new_is_written(self, tmp_path: Path) -> None:
        notes = Notes(str(tmp_path))
        notes.keep("", 0)
        assert not list(tmp_path.iterdir())


class TestRun:
    def test_the_command(self) -> None:
        assert loop.command("federation-dns/0", "/var/charm/dispatch", "verdict_changed") == [
            "/usr/bin/juju-exec",
            "-u",
            "federation-dns/0",
            "JUJU_DISPATCH_PATH=hooks/verdict_changed /var/charm/dispatch",
        ]

    @pytest.mark.parametrize(
        ("argv", "why"),
        [
            (["true"], ""),
            (["sh", "-c", "echo first >&2; echo last >&2; exit 3"], "last"),
            (["false"], "exit code 1"),
            (["/none/juju-exec"], "No such file"),
        ],
    )
    def test_why_it_failed(self, argv: list[str], why: str) -> None:
        assert why in loop.run(argv)
        assert bool(loop.run(argv)) is bool(why)

    def test_its_time_is_limited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loop, "EXEC_S", 0.05)
        began = time.monotonic()
        assert loop.run(["sleep", "20"]).startswith("no end within")
        assert time.monotonic() - began < 10

    def test_it_is_in_no_hook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUJU_CONTEXT_ID", "x")
        assert loop.run(["sh", "-c", 'test -z "$JUJU_CONTEXT_ID" && test -n "$PATH"']) == ""


class Charm:
    """The charm, for which a shell notes that it was called."""

    def __init__(self, folder: Path) -> None:
        self.seen = WELL
        self.said, self.called = folder / "said", folder / "called"
        self.notes, self.teller = Notes(str(folder)), Teller()
        self.argv = ["sh", "-c", f"echo >> {self.called}; printf '%s' '{LOST}' > {self.said}"]

    def looks(self, monkeypatch: pytest.MonkeyPatch, seconds: int) -> int:
        now = 100.0

        def clock() -> float:
            return now

        monkeypatch.setattr(time, "monotonic", clock)
        for _ in range(seconds):
            now += 1.0
            loop.step(lambda *_: self.seen, self.notes, self.teller, self.argv)
        return len(self.called.read_text().splitlines()) if self.called.exists() else 0


def test_news_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    charm = Charm(tmp_path)
    charm.said.write_text(WELL)
    assert charm.looks(monkeypatch, 5) == 0
    charm.seen = LOST
    assert charm.looks(monkeypatch, 10) == 1
    assert charm.said.read_text() == LOST
    assert charm.notes.asked() == ("", 0)


def test_it_looks_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str | None, float]] = []
    (tmp_path / "said").write_text(LOST)

    def sleep(seconds: float) -> None:
        assert seconds == loop.PAUSE_S
        if len(given) == 3:
            raise KeyboardInterrupt

    def look(said: str | None, since: float) -> str:
        given.append((said, since))
        return LOST

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        loop.follow(look, str(tmp_path), ["false"])
    assert given == [(LOST, (tmp_path / "said").stat().st_mtime)] * 3
