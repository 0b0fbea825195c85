"""DNSSEC while nobody looks (F39), by the name server's own clock: it steps ahead by four weeks.

`test_frozen_signing.py` has the other half: a resolver's clock over signatures of today, and
shortened periods.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
from federation_dns import dnssec

from .clocks import DAY, Clock, built
from .conftest import ZONE, Region, eventually
from .resolver import Client, Resolver, anchors, put_keys
from .test_frozen_signing import HOST, expiry

pytestmark = pytest.mark.timeout(300)
SOAK = os.environ.get("FEDERATION_SOAK") == "1"


def test_weeks_pass_and_the_server_signs_anew(tmp_path: Path) -> None:
    """No agent runs; the server and a validating resolver go by the same clock."""
    keys = dnssec.KeySet(keys=(dnssec.new_key(datetime.datetime.now(datetime.UTC)),))
    clock = Clock(built(tmp_path), tmp_path / "clock")
    region = Region("catania", tmp_path / "catania", 1)
    region.through = clock.through
    env = os.environ | dict(each.split("=", 1) for each in clock.through[1:])
    resolver = Resolver(tmp_path / "resolver", (region.dns_port,), anchors(keys), env=env)
    try:
        region.start_named("host1 IN A 198.51.100.1\n", signing=put_keys(tmp_path / "keys", keys))
        eventually(lambda: bool(region.ask(ZONE, "DNSKEY")), 60, "it is signed")
        resolver.start()
        assert resolver.ask(HOST).secure
        with Client(resolver, HOST) as client:
            for weeks in (4, 8, 12) if SOAK else (4,):
                before = expiry(region)
                clock.step(7 * weeks * DAY)
                # Its timers run on what is left of their time: 20 s were seen.
                eventually(lambda b=before: expiry(region) > b, 90, f"{weeks} weeks: signed anew")
        assert client.wrong() == []
        assert all(answer.secure for answer in client.answers)
    finally:
        resolver.stop()
        region.stop()
