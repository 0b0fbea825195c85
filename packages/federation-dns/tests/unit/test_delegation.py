"""What the parent is told, and what it must not be told yet."""

from __future__ import annotations

import datetime

import pytest
from federation_dns import delegation
from federation_dns.delegation import Shown
from federation_dns.dnssec import ds, new_key

ZONE = "fed.example"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SERVERS = {"catania": "192.0.2.1", "palermo": "2001:db8::2"}
KEY, NEXT = new_key(NOW).record, new_key(NOW, 14).record


def said(others: tuple[str, ...] = (), **shown: Shown) -> delegation.Delegation:
    return delegation.delegation(ZONE, SERVERS, others, shown)


def test_ns_and_glue_of_every_region() -> None:
    found = said(("ns1.example.net",), catania=Shown(), palermo=Shown())
    assert found.records == (
        "fed.example. 3600 IN NS ns.catania.fed.example.",
        "fed.example. 3600 IN NS ns.palermo.fed.example.",
        "fed.example. 3600 IN NS ns1.example.net.",
        "ns.catania.fed.example. 3600 IN A 192.0.2.1",
        "ns.palermo.fed.example. 3600 IN AAAA 2001:db8::2",
    )
    assert found.notes == ("fed.example is not signed: no DS belongs into the parent",)


def test_the_ds_is_given_when_every_region_shows_the_key() -> None:
    (text,) = ds(ZONE, [KEY])
    found = said(catania=Shown((KEY,)), palermo=Shown((KEY,)))
    assert found.records[-1] == f"fed.example. 3600 IN DS {text}"
    assert text.startswith(f"{text.split()[0]} 13 2 ")
    assert found.notes == ()


@pytest.mark.parametrize(
    "palermo", [Shown(), Shown(trouble="its name server 2001:db8::2 does not answer")]
)
def test_it_waits_for_the_last_region(palermo: Shown) -> None:
    found = said(catania=Shown((KEY,)), palermo=palermo)
    assert not any(" DS " in line for line in found.records)
    assert "palermo must show it" in found.notes[-1]


def test_both_keys_of_a_roll_are_given_once_both_are_everywhere() -> None:
    found = said(catania=Shown((KEY, NEXT)), palermo=Shown((KEY,)))
    (line,) = [r for r in found.records if " DS " in r]
    assert ds(ZONE, [KEY])[0] in line
    both = said(catania=Shown((KEY, NEXT)), palermo=Shown((NEXT, KEY)))
    assert len([r for r in both.records if " DS " in r]) == 2
    assert "roll" in both.notes[0]


def test_without_a_server_there_is_nothing_to_delegate_to() -> None:
    assert delegation.delegation(ZONE, {}, (), {}).records == ()
