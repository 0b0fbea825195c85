"""The delayed enactor (F59): a writer's process is stopped at each step of its work.

While it stands still, others write newer plans and take away what these no longer want. Then it
goes on with what it read before. The server's journal is the oracle: it holds every state that the
zone ever had.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from federation_dns.providers.rfc2136 import Rfc2136

from .carrying import RULES, WEB, carry_out, wanted
from .conftest import FOREIGN, ZONE, Region
from .eyes import Eye
from .relay import Relay, Told

pytestmark = pytest.mark.timeout(300)
SOAK = os.environ.get("FEDERATION_SOAK") == "1"
JOURNALPRINT = shutil.which("named-journalprint") or "/usr/sbin/named-journalprint"
MANY = 250  # three messages
OTHERS = 20 if SOAK else 3
# All that a pass sends. The writer is stopped before the server has it (`sent`), or when the
# answer waits to be read (`answered`).
STEPS = (("AXFR", 0), ("UPDATE", 0), ("UPDATE", 1), ("UPDATE", 2), ("AXFR", 1))
ALL = [(*step, where) for step in STEPS for where in ("sent", "answered")]
SOME = [each for number, each in enumerate(ALL) if number in (1, 2, 5, 6, 9)]


@dataclass
class Slow:
    """A server, what stands before it, and a writer that is stopped once on the way."""

    region: Region
    relay: Relay
    step: tuple[str, int] = ("", 0)
    where: str = ""
    process: subprocess.Popen[str] | None = None
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])
    wrong: list[str] = field(default_factory=list[str])
    passed: int = 0

    def write(self, address: str, many: int, writer: str) -> None:
        """Another's newer plan, straight to the server."""
        provider = Rfc2136(
            server="127.0.0.1",
            port=self.region.dns_port,
            key_name=f"agent-{self.region.name}",
            key_file=self.region.folder / "named" / "key.conf",
            rules=RULES,
            writer=writer,
            timeout=20.0,
        )
        done = carry_out(provider, wanted(address, many), {}, RULES, None)
        if done.outcome == "failed":
            self.wrong.append(done.error)

    def overtake(self) -> None:
        """Newer plans, by two others in turn, with names that come and go."""
        for last in range(OTHERS):
            self.write(f"10.1.2.{last}", 7 * (last % 2), ("second", "third")[last % 2])

    def rule(self, told: Told) -> str:
        """Stop the writer at its step; it goes on after the others."""
        if (told.what, told.number) != self.step:
            return "pass"
        assert self.process is not None
        self.passed += 1
        os.kill(self.process.pid, signal.SIGSTOP)
        if self.where == "sent":
            self._others()
        else:
            thread = threading.Thread(target=self._answered)
            self.threads.append(thread)
            thread.start()
        return "pass"

    def _answered(self) -> None:
        time.sleep(0.5)  # the answer is in the stopped process' socket
        self._others()

    def _others(self) -> None:
        try:
            self.overtake()
        finally:
            assert self.process is not None
            os.kill(self.process.pid, signal.SIGCONT)

    def run(self, address: str, log: Path) -> int:
        """Start the writer and see it to its end."""
        key_file = self.region.folder / "named" / "key.conf"
        argv = [sys.executable, str(Path(__file__).with_name("writer.py")), str(self.relay.port)]
        argv += [f"agent-{self.region.name}", str(key_file), address, str(MANY)]
        with log.open("w") as file:
            self.process = subprocess.Popen(argv, stderr=file, text=True)
            try:
                return self.process.wait(90)
            finally:
                if self.process.poll() is None:
                    self.process.kill()
                    self.process.wait(10)
                for thread in self.threads:
                    thread.join(60)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Generator[Region]:
    region = Region("catania", tmp_path_factory.mktemp("delayed") / "catania", 1)
    try:
        region.start_named(FOREIGN)
        yield region
    finally:
        region.stop()


@pytest.fixture
def slow(standing: Region) -> Generator[Slow]:
    relay = Relay(standing.dns_port, standing.keyring())
    relay.start()
    made = Slow(standing, relay)
    relay.rule = made.rule
    foreign = others_records(standing)
    made.write("10.1.0.1", 0, "first")
    eye = Eye(standing, WEB)
    try:
        yield made
    finally:
        eye.close()
        relay.stop()
    assert not made.wrong
    assert all(found for _, found in eye.answers if found is not None), "an answer was empty"
    assert others_records(standing) == foreign
    assert len(foreign) == 2000


def others_records(region: Region) -> dict[tuple[str, str], tuple[str, ...]]:
    return {k: v for k, v in region.transfer().items() if k[0].startswith("host")}


_RECORD = re.compile(r"^(add|del) (\S+)\s+\d+\s+IN\s+(\S+)\s+(.*)$")


def states(region: Region, of: str = WEB) -> Iterator[tuple[int, set[str]]]:
    """Every state of the zone that has been: its generation, and a name's addresses."""
    journal = region.folder / "named" / "zone.db.jnl"
    told = subprocess.run(
        [JOURNALPRINT, str(journal)], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    addresses: set[str] = set()
    generation = 0
    changes = 0
    for line in told.splitlines():
        found = _RECORD.match(line)
        if found is None:
            continue
        act, name, kind, value = found.groups()
        if act == "del" and kind == "SOA" and changes:
            yield generation, set(addresses)
        changes += 1
        if name == f"{of}." and kind == "A":
            (addresses.add if act == "add" else addresses.discard)(value)
        numbers = re.search(r"generation=(\d+)", value)
        if name == f"_federation.{ZONE}." and act == "add" and numbers:
            generation = int(numbers[1])
    yield generation, set(addresses)


def test_the_journal_tells_every_state(slow: Slow) -> None:
    """The oracle itself: what was written is there, and an empty name would be seen."""
    region, name = slow.region, f"seen.{ZONE}"
    slow.write("10.1.9.1", 0, "first")
    slow.write("10.1.9.2", 0, "first")
    (before, one), (after, other) = list(states(region))[-2:]
    assert (one, other, after) == ({"10.1.9.1"}, {"10.1.9.2"}, before + 1)
    region.update(lambda u: u.add(f"{name}.", 15, "A", "192.0.2.1"))
    region.update(lambda u: u.delete(f"{name}."))
    assert [found for _, found in states(region, name)][-2:] == [{"192.0.2.1"}, set()]


@pytest.mark.parametrize(("what", "number", "where"), ALL if SOAK else SOME)
def test_a_writer_that_stood_still_undoes_nothing(
    slow: Slow, tmp_path: Path, what: str, number: int, where: str
) -> None:
    """I5: its plan is refused whole, and it plans anew; the name is never empty."""
    slow.step, slow.where = (what, number), where
    began = len(list(states(slow.region)))
    assert slow.run("10.1.0.9", tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert slow.passed == 1, "it came to that step, once"
    found = list(states(slow.region))[began:]
    assert len(found) > OTHERS
    generations = [generation for generation, _ in found]
    assert generations == sorted(generations)
    assert all(addresses for _, addresses in found)
