"""Updates while `named` signs a whole zone: for the first time, and (at night) with a second key.

What is changed between two steps of the first signing would stay without a signature for good, so
the agent waits. `named` signs in small steps here, so that there is time to be wrong.
"""

from __future__ import annotations

import datetime
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import pytest
from dns.rdtypes.ANY.RRSIG import RRSIG
from federation_dns import bind, dnssec
from federation_dns.plan import Rules
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.zone import RecordSet, Zone

from .carrying import carry_out
from .conftest import FOREIGN, ZONE, Region, eventually
from .test_frozen_signing import restart

SOAK = os.environ.get("FEDERATION_SOAK") == "1"
SERVICES = 60
HOSTS = 400


def signed_with(region: Region, name: str) -> set[int]:
    query = dns.message.make_query(name, "A", want_dnssec=True)
    answer = dns.query.tcp(query, "127.0.0.1", 10, region.dns_port)
    return {r.key_tag for rs in answer.answer for r in rs if isinstance(r, RRSIG)}


def wanted(turn: int) -> Zone:
    """Each turn, other services, with other addresses."""
    made = [
        RecordSet(f"s{i}.shop.svc.{ZONE}", "A", 15, (f"10.0.{turn % 250}.{i}",))
        for i in range(SERVICES)
        if (i + turn) % 3
    ]
    return Zone({(r.name, r.type): r for r in made}, complete=True)


@dataclass
class Writer:
    """Makes the zone change as fast as it goes, as an agent does."""

    region: Region
    waited: int = 0
    wrote: int = 0

    def __enter__(self) -> Writer:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        rules = Rules(zone=ZONE, federation="f", lifted=True)
        provider = Rfc2136(
            server="127.0.0.1",
            port=self.region.dns_port,
            key_name=f"agent-{self.region.name}",
            key_file=self.region.folder / "named" / "key.conf",
            rules=rules,
            writer=self.region.name,
            timeout=10.0,
        )
        turn, view = 0, None
        while not self._ended.is_set():
            turn += 1
            done = carry_out(provider, wanted(turn), {}, rules, view)
            view = None if done.waits else done.view
            self.waited += done.waits
            self.wrote += done.outcome == "changed"
            time.sleep(0.5 if done.waits else 0.05)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `named` does it by itself: ten signatures, then whoever else has something."""
    whole: Callable[..., str] = bind.named_conf

    def named_conf(**given: object) -> str:
        text = whole(**given)
        assert "sig-signing-signatures 1000;" in text or given.get("signing") is None
        return text.replace("sig-signing-signatures 1000;", "sig-signing-signatures 50;").replace(
            "sig-signing-nodes 1000;", "sig-signing-nodes 50;"
        )

    monkeypatch.setattr(bind, "named_conf", named_conf)


@pytest.mark.usefixtures("small_steps")
def test_no_update_falls_into_a_signing(tmp_path: Path) -> None:
    region, folder = Region("catania", tmp_path / "catania", 1), tmp_path / "keys"
    now = datetime.datetime.now(datetime.UTC)
    one = dnssec.KeySet(keys=(dnssec.new_key(now),))
    two = one.with_successor(now)

    def whole(keys: dnssec.KeySet) -> None:
        """Every name is signed with every key, those included that were written meanwhile."""
        found = region.transfer()
        names = {name for name, kind in found if kind in ("A", "TXT")}
        assert names - {name for name, kind in found if kind == "RRSIG"} == set()
        ours = {name for name, kind in found if kind == "A" and ".svc." in name}
        assert len(ours) > SERVICES / 2
        for name in (*ours, *(f"host{i}.{ZONE}" for i in range(0, HOSTS, 20))):
            assert signed_with(region, name) == set(keys.tags), name

    try:
        region.start_named("".join(FOREIGN.splitlines(keepends=True)[: 2 * HOSTS]))
        for keys in (one, two) if SOAK else (one,):
            with Writer(region) as writer:
                eventually(lambda: writer.wrote > 3, 60, "it writes")
                restart(region, keys, folder)
                eventually(lambda: writer.waited > 0, 60, "it waits")
                wrote = writer.wrote
                eventually(lambda wrote=wrote: writer.wrote > wrote, 90, "it writes again")
            whole(keys)
    finally:
        region.stop()
