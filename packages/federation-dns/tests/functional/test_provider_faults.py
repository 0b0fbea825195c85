"""The provider before a server and a network that fail (F59 to F61), 2,000 foreign records beside.

The generation in the server decides: an older plan is refused whole, wherever its writer stood
still, and whatever became of an answer.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from unittest import mock

import dns.message
import dns.query
import pytest
from federation_dns.passes import Pass
from federation_dns.providers import ProviderError, rfc2136
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.zone import Zone

from .carrying import RULES, WEB, carry_out, wanted
from .conftest import FOREIGN, ZONE, Region
from .relay import Relay, Rule, Told, passes

MANY = 250  # three messages
SOAK = os.environ.get("FEDERATION_SOAK") == "1"
NIGHT = pytest.mark.skipif(not SOAK, reason="FEDERATION_SOAK=1")


@dataclass
class Faulty:
    """A server, what stands before it, and every generation that it took."""

    region: Region
    relay: Relay
    generations: list[int] = field(default_factory=list[int])

    def provider(self, writer: str, *, behind: bool = True, timeout: float = 10.0) -> Rfc2136:
        return Rfc2136(
            server="127.0.0.1",
            port=self.relay.port if behind else self.region.dns_port,
            key_name=f"agent-{self.region.name}",
            key_file=self.region.folder / "named" / "key.conf",
            rules=RULES,
            writer=writer,
            timeout=timeout,
        )

    def write(self, zone: Zone, writer: str = "fast") -> None:
        done = carry_out(self.provider(writer, behind=False), zone, {}, RULES, None)
        assert done.outcome != "failed", done.error
        self.look()

    def ask(self, name: str, kind: str = "A") -> list[str]:
        """Over TCP: on a busy machine a datagram may be late, and silence is no answer."""
        query = dns.message.make_query(name, kind)
        found = dns.query.tcp(query, "127.0.0.1", 10, self.region.dns_port)
        return sorted(str(r) for rrset in found.answer for r in rrset)

    def look(self) -> None:
        """What must hold at every moment."""
        assert self.ask(WEB), "an empty answer"
        (text,) = self.ask(f"_federation.{ZONE}", "TXT")
        found = re.search(r"generation=(\d+)", text)
        assert found
        self.generations.append(int(found[1]))
        assert self.generations == sorted(self.generations)

    def foreign(self) -> dict[tuple[str, str], tuple[str, ...]]:
        return {k: v for k, v in self.region.transfer().items() if k[0].startswith("host")}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Generator[Region]:
    region = Region("catania", tmp_path_factory.mktemp("faults") / "catania", 1)
    try:
        region.start_named(FOREIGN)
        yield region
    finally:
        region.stop()


@pytest.fixture
def faulty(standing: Region) -> Generator[Faulty]:
    relay = Relay(standing.dns_port, standing.keyring())
    relay.start()
    made = Faulty(standing, relay)
    try:
        made.write(wanted("10.1.0.1"))
        before = made.foreign()
        yield made
        made.look()
        assert made.foreign() == before
        assert len(before) == 2000
    finally:
        relay.stop()


@pytest.mark.parametrize(
    ("step", "answered"),
    [
        (1, True),  # the others' like is in test_delayed_writer
        *(
            pytest.param(*each, marks=NIGHT)
            for each in ((0, False), (1, False), (2, False), (0, True), (2, True))
        ),
    ],
)
def test_a_delayed_writer_never_undoes_newer_plans(
    faulty: Faulty, step: int, answered: bool
) -> None:
    """F59, the AWS case: it stands still before or after a message; others write and clean up."""
    others = 20 if SOAK else 3

    def overtake() -> None:
        for last in range(others):
            faulty.write(wanted(f"10.1.2.{last}", many=5 * (last % 2)))

    def rule(told: Told) -> str:
        if told.what != "UPDATE" or told.number != step:
            return "pass"
        if answered:
            return "lose"
        overtake()
        return "pass"

    faulty.relay.rule = rule
    slow = faulty.provider("slow")
    view = slow.read()
    done = carry_out(slow, wanted("10.1.0.9", many=MANY), {}, RULES, view)
    if answered:
        assert (done.outcome, done.remedy) == ("failed", "retry")
        overtake()
        faulty.relay.rule = passes
        # It wakes with its old reading; the server refuses it, and it plans anew.
        done = carry_out(slow, wanted("10.1.0.9", many=MANY), {}, RULES, view)
    assert done.outcome == "changed"
    faulty.look()
    assert faulty.ask(WEB) == ["10.1.0.9"]
    assert faulty.ask(f"s249.shop.svc.{ZONE}") == ["10.1.1.249"]


def times(act: str, what: str, count: int) -> Rule:
    return lambda told: act if told.what == what and told.number < count else "pass"


def passes_until_done(provider: Rfc2136, zone: Zone, most: int = 4) -> list[Pass]:
    """As the publisher does: read anew after each failure."""
    found: list[Pass] = []
    while len(found) < most:
        found.append(carry_out(provider, zone, {}, RULES, None))
        if found[-1].outcome != "failed":
            return found
    raise AssertionError(f"not done: {[p.error for p in found]}")


@pytest.mark.parametrize(
    ("act", "remedy"),
    [
        ("lose", "retry"),
        pytest.param("drop", "retry", marks=NIGHT),
        ("late", "retry"),
        ("SERVFAIL", "retry"),
        ("REFUSED", "operator"),
        ("NOTAUTH", "operator"),
        ("YXRRSET", ""),
        ("NXRRSET", ""),
    ],
)
def test_an_update_whose_answer_is_bad_or_lost_is_looked_at_and_repeated(
    faulty: Faulty, act: str, remedy: str
) -> None:
    faulty.relay.rule = times(act, "UPDATE", 1)
    mine = faulty.provider("mine", timeout=2.0 if act == "late" else 10.0)
    found = passes_until_done(mine, wanted("10.1.3.1"))
    first = found[0]
    if remedy:
        assert (first.outcome, first.remedy) == ("failed", remedy)
        assert "127.0.0.1" in first.error
    # What the server took although nobody heard of it isn't written twice.
    assert found[-1].outcome == ("same" if act in ("lose", "late") else "changed")
    assert faulty.ask(WEB) == ["10.1.3.1"]


def test_who_answers_in_the_servers_place_is_not_believed(faulty: Faulty) -> None:
    """An unsigned "done" (RFC 8945, 5.3): nothing was done."""
    faulty.relay.rule = times("forge", "UPDATE", 1)
    mine = faulty.provider("mine")
    found = passes_until_done(mine, wanted("10.1.3.2"))
    assert (found[0].outcome, found[0].remedy) == ("failed", "retry")
    assert "unsigned" in found[0].error
    assert faulty.ask(WEB) == ["10.1.3.2"]


@pytest.mark.parametrize(
    "act",
    [
        "cut",
        "empty",
        "SERVFAIL",
        *(pytest.param(each, marks=NIGHT) for each in ("drop", "REFUSED", "forge")),
    ],
)
def test_a_reading_that_is_not_whole_is_no_reading(faulty: Faulty, act: str) -> None:
    """F61: unknown, never empty; nothing is written."""
    faulty.relay.rule = times(act, "AXFR", 1_000)
    mine = faulty.provider("mine")
    with pytest.raises(ProviderError):
        mine.read()
    serial = faulty.ask(ZONE, "SOA")
    done = carry_out(mine, wanted("10.1.4.1"), {}, replace(RULES, lifted=True), None)
    assert (done.outcome, done.view, done.plan) == ("failed", None, None)
    assert faulty.ask(ZONE, "SOA") == serial
    assert faulty.relay.counts.get("UPDATE", 0) == 0
    faulty.relay.rule = passes
    assert passes_until_done(mine, wanted("10.1.4.1"))[-1].outcome == "changed"


@pytest.mark.parametrize("seconds", [400, -400])
def test_a_clock_that_is_wrong_is_named(faulty: Faulty, seconds: int) -> None:
    """F36: the server says BADTIME, and an operator hears of clocks."""
    mine = faulty.provider("mine")
    moment = time.time() + seconds
    with (
        mock.patch("time.time", return_value=moment),
        pytest.raises(ProviderError, match="300 s") as caught,
    ):
        mine.read()
    assert caught.value.remedy == "operator"


@pytest.mark.parametrize("what", ["UPDATE", "AXFR"])
def test_a_clock_that_goes_back_within_a_silence_holds_nothing_up(
    faulty: Faulty, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F33: dnspython ends its waits by that clock, which says for an hour that it is too early."""
    monkeypatch.setattr(rfc2136, "_EXCHANGE_S", 1.0)
    monkeypatch.setattr(rfc2136, "_READ_S", 3.0)
    mine = faulty.provider("mine", timeout=2.0)
    back: list[float] = []

    def rule(told: Told) -> str:
        if told.what != what or back:
            return "pass"
        time.sleep(0.3)  # once a transfer is asked for, dnspython reckons until when it waits
        back.append(-3600.0)
        return "mute"

    faulty.relay.rule = rule
    view, right, began = mine.read() if what == "UPDATE" else None, time.time, time.monotonic()
    with mock.patch("time.time", side_effect=lambda: right() + sum(back)):
        done = carry_out(mine, wanted("10.1.5.1"), {}, RULES, view)
    assert back, "it went back"
    assert (done.outcome, done.remedy) == ("failed", "retry")
    assert "did not end the" in done.error
    assert time.monotonic() - began < 15
    assert passes_until_done(mine, wanted("10.1.5.1"))[-1].outcome in ("same", "changed")
    assert faulty.ask(WEB) == ["10.1.5.1"]
