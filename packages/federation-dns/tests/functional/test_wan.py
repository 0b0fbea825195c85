"""What may befall the network between regions: reliability.md, rows F2, F6, F9, F13 to F31.

Truth is what the test does; what every server answered meanwhile was written down. Each test
begins and ends with all regions answering everywhere.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Iterable, Iterator

import pytest

from .conftest import eventually
from .wan import WEB, WITHDRAW, Wan, run, standing

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
NAMES = ("catania", "napoli", "palermo")
SOAK = os.environ.get("FEDERATION_SOAK") == "1"
PAIRS = (("catania", "napoli"), ("catania", "palermo"), ("napoli", "palermo"))
# A busy machine's, for what takes `WITHDRAW` and a moment.
SOON = 25.0


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Generator[Wan]:
    with standing(tmp_path_factory.mktemp("wan"), NAMES) as made:
        yield made


@pytest.fixture(autouse=True)
def begins_and_ends_whole(wan: Wan) -> Iterator[None]:
    """Nobody's answer was ever empty, and what others hold is as it was."""
    wan.whole()
    began, foreign = time.monotonic(), wan.foreign()
    yield
    wan.whole()
    for eye in wan.eyes.values():
        answers = eye.since(began)
        assert answers
        assert all(answers), "an answer was empty"
    assert wan.foreign() == foreign
    assert all(len(found) == 2000 for found in foreign.values())


@contextlib.contextmanager
def unmoved(wan: Wan, names: Iterable[str] = NAMES) -> Generator[None]:
    """No server's zone changes, whatever happens in the block."""
    before = {name: wan[name].serial for name in names}
    yield
    assert {name: wan[name].serial for name in names} == before


def test_a_region_that_is_cut_off_leaves_and_freezes(wan: Wan) -> None:
    """F13; the host region's agent is like any other's, so it is F14 too."""
    cut_off, rest = wan["napoli"], wan.without("napoli")
    serial = cut_off.serial
    with wan.cut("napoli", "all"):
        took = eventually(
            lambda: all(place.ask(WEB) == rest for place in wan.others("napoli")), SOON, "out"
        )
        assert took < 10.0  # the promise itself, for a busy machine
        eventually(lambda: cut_off.verdict()["panic"], SOON, "it knows that it is alone")
        told = wan["palermo"].verdict()["regions"]["napoli"]
        assert told["withdrawn"]
        eventually(lambda: wan["palermo"].verdict()["regions"]["napoli"]["evicted"], SOON, "moved")
        # A minority: it answers as before, changes nothing, and gives nobody up.
        assert cut_off.ask(WEB) == wan.everywhere
        assert cut_off.serial == serial
        mine = cut_off.verdict()["regions"]
        assert not any(mine[name]["evicted"] for name in ("catania", "palermo"))


def test_all_from_all(wan: Wan) -> None:
    """F15: nobody has a majority, so nobody moves anything."""
    with contextlib.ExitStack() as cuts, unmoved(wan):
        for a, b in PAIRS:
            cuts.enter_context(wan.cut(a, b))
        eventually(
            lambda: all(place.verdict()["panic"] for place in wan.others()), SOON, "all freeze"
        )
        time.sleep(WITHDRAW)
        assert all(place.ask(WEB) == wan.everywhere for place in wan.others())


@pytest.mark.parametrize("pair", PAIRS if SOAK else PAIRS[1:2], ids="-".join)
def test_one_link_is_broken(wan: Wan, pair: tuple[str, str]) -> None:
    """F16: both are heard by the third."""
    with unmoved(wan), wan.cut(*pair):
        time.sleep(2 * WITHDRAW)
        for place in wan.others():
            regions = place.verdict()["regions"]
            assert not any(region["withdrawn"] for region in regions.values())


@pytest.mark.parametrize(
    "way", [*PAIRS, *((b, a) for a, b in PAIRS)] if SOAK else [PAIRS[0]], ids="-".join
)
def test_one_way_is_broken(wan: Wan, way: tuple[str, str]) -> None:
    """F17: over TCP that breaks both."""
    with unmoved(wan), wan.cut(*way, one_way=True):
        time.sleep(2 * WITHDRAW)


def test_blips_move_nothing(wan: Wan) -> None:
    """F20: three fifths of `withdraw-after` each."""
    with unmoved(wan):
        for name in NAMES * (16 if SOAK else 1):
            with wan.cut(name, "all"):
                time.sleep(0.6 * WITHDRAW)
            time.sleep(WITHDRAW)


@pytest.mark.parametrize("percent", [10, 20, 30] if SOAK else [20])
def test_lost_packets_move_nothing(wan: Wan, percent: int) -> None:
    """F22."""
    with unmoved(wan), wan.rule(f"numgen random mod 100 < {percent} drop"):
        time.sleep(60.0 if SOAK else 3 * WITHDRAW)


def test_a_thin_line_carries_the_votes(wan: Wan) -> None:
    """F24: 64 kbit/s into each region."""
    with unmoved(wan), wan.narrow("64kbit"):
        time.sleep(3 * WITHDRAW)
        assert all(place.verdict()["quorum"] for place in wan.others())


def test_connections_that_fall_silent_are_left(wan: Wan) -> None:
    """F27: each connection carries 6 kB and then nothing, and nobody is told."""
    inside = ("ip", "netns", "exec", wan.router)
    run(*inside, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1")
    with unmoved(wan), wan.rule("ct bytes > 6000 drop"):
        time.sleep(4 * WITHDRAW)
        for place in wan.others():
            assert place.verdict()["quorum"]


def test_resets_are_borne(wan: Wan) -> None:
    """F28: one packet of fifty ends its connection."""
    rule = "meta l4proto tcp numgen random mod 50 < 1 reject with tcp reset"
    with unmoved(wan), wan.rule(rule):
        time.sleep(3 * WITHDRAW)


def test_two_of_three_are_lost_one_after_the_other(wan: Wan) -> None:
    """F31: the second loss leaves no majority; the first that is back makes one again."""
    survivor = wan["catania"]
    with contextlib.ExitStack() as second:
        with contextlib.ExitStack() as first:
            first.enter_context(wan.cut("napoli", "all"))
            rest = wan.without("napoli")
            eventually(lambda: survivor.ask(WEB) == rest, SOON, "napoli is out")
            second.enter_context(wan.cut("palermo", "all"))
            eventually(lambda: survivor.verdict()["panic"], SOON, "alone")
            serial = survivor.serial
            time.sleep(1.5 * WITHDRAW)
            assert survivor.ask(WEB) == rest
            assert survivor.serial == serial
        eventually(lambda: survivor.verdict()["quorum"], SOON, "napoli makes a majority")
        gone = wan.without("palermo")
        eventually(lambda: survivor.ask(WEB) == gone, 2 * SOON, "napoli in, palermo out")


def test_a_sleeper_wakes_and_takes_nobody_out(wan: Wan) -> None:
    """F6: while it slept it heard nobody, which proves nothing."""
    sleeper, rest = wan["palermo"], wan.without("palermo")
    sleeper.freeze()
    try:
        eventually(
            lambda: all(place.ask(WEB) == rest for place in wan.others("palermo")), SOON, "out"
        )
        time.sleep(WITHDRAW)
    finally:
        woken = time.monotonic()
        sleeper.thaw()
    wan.whole()
    answers = wan.eyes["palermo"].since(woken)
    assert all({*rest} <= {*answer} for answer in answers)


def test_all_agents_die_and_come_back(wan: Wan) -> None:
    """F2: the servers answer meanwhile, and the agents find all as they left it."""
    records = {place.name: place.transfer() for place in wan.others()}
    for place in wan.others():
        place.kill_agent()
    with unmoved(wan):
        time.sleep(WITHDRAW)
        assert all(place.ask(WEB) == wan.everywhere for place in wan.others())
    # Who starts so late that the others have a right to call him lost is left out for a moment.
    for place in wan.others():
        place.start_agent()
    wan.whole()
    assert {place.name: place.transfer() for place in wan.others()} == records


def test_a_dead_server_harms_nobody_else(wan: Wan) -> None:
    """F9: its agent has it right soon after its return, though the zone changed meanwhile."""
    place, changed = wan["napoli"], wan["catania"]
    assert place.named is not None
    began = time.monotonic()
    place.named.kill()
    place.named.wait(10)
    with wan.cut("palermo", "all"):
        rest = wan.without("palermo")
        eventually(lambda: changed.ask(WEB) == rest, SOON, "the others go on")
        place.spawn_named()
        eventually(lambda: place.ask(WEB) == rest, SOON, "it is right after its return")
    assert all(wan.eyes["catania"].since(began))
