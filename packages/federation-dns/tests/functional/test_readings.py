"""A server that takes updates at once and is slow to be read, as a large zone's on a busy machine.

Nothing that is wanted waits for a reading: neither for one that compares nor for the one after a
write.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import yaml

from .conftest import FOREIGN, ZONE, Federation, Region, eventually
from .eyes import Eye
from .relay import Relay, Told

pytestmark = pytest.mark.timeout(300)
WEB = f"web.shop.svc.{ZONE}"


@pytest.fixture
def slow(tmp_path: Path) -> Generator[tuple[Region, Relay]]:
    region = Region("catania", tmp_path / "catania", 1)
    relay = Relay(region.dns_port, region.keyring())
    relay.start()
    region.api.start()
    try:
        Federation({"catania": region}).peers()
        region.start_named(FOREIGN)
        region.write_config()
        body = yaml.safe_load(region.config_path.read_text())
        body["provider"] |= {"port": relay.port, "timeout": 20}
        region.config_path.write_text(yaml.safe_dump(body))
        region.api.publish("web", region.address())
        region.start_agent()
        yield region, relay
    finally:
        relay.gate.set()
        region.stop()
        region.api.stop()
        relay.stop()


def test_what_is_wanted_does_not_wait_for_a_reading(slow: tuple[Region, Relay]) -> None:
    region, relay = slow
    eventually(lambda: region.ask(WEB) == [region.address()], 60, "it answers")
    eventually(lambda: not region.verdict()["notes"], 60, "all is well")
    before = region.transfer()

    def rule(told: Told) -> str:
        return "held" if told.what == "AXFR" else "pass"

    relay.rule = rule
    readings = relay.counts["AXFR"]
    region.update(lambda u: u.add(f"seen.{ZONE}.", 15, "A", "192.0.2.1"))
    eventually(lambda: relay.counts["AXFR"] > readings, 60, "the zone is read again")
    eye = Eye(region, WEB)
    try:
        for last in (201, 202, 203):
            region.api.publish("web", region.address(last))
            now = [region.address(last)]
            eventually(lambda now=now: region.ask(WEB) == now, 60, f"{now} while it is read")
        relay.rule = lambda _: "pass"
        relay.gate.set()
        readings = relay.counts["AXFR"]
        eventually(lambda: relay.counts["AXFR"] > readings, 60, "what was written is read")
        eventually(lambda: not region.verdict()["notes"], 60, "all is well again")
    finally:
        eye.close()
    assert region.ask(WEB) == [region.address(203)]
    answers = [found for _, found in eye.answers if found is not None]
    assert all(answers), "an answer was empty"
    told = [found[0] for found in answers]
    assert told == sorted(told), "nothing went back"
    after = region.transfer()
    seen = {k for k in after if k[0] == f"seen.{ZONE}"}
    ours = {(WEB, "A"), (f"web.shop.svc.catania.{ZONE}", "A")}
    assert seen
    assert {k: v for k, v in after.items() if k not in seen | ours} == {
        k: v for k, v in before.items() if k not in ours
    }
