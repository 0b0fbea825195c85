"""The keys: what is drawn, kept, followed and refused."""

from __future__ import annotations

import datetime
import json

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from federation_dns import dnssec
from federation_dns.dnssec import KeysError, KeySet, new_key
from pydantic import ValidationError

NOW = datetime.datetime(2026, 1, 9, 3, 4, 5, tzinfo=datetime.UTC)
ONE = KeySet(keys=(new_key(NOW),))


def test_a_key_set_comes_back_as_it_was() -> None:
    both = ONE.with_successor(NOW)
    assert KeySet.model_validate_json(both.model_dump_json()) == both
    assert both.algorithms == (13, 14)


def test_neither_repr_nor_error_shows_the_private_half() -> None:
    secret = ONE.keys[0].private
    assert secret not in repr(ONE)
    broken = json.loads(ONE.model_dump_json())
    broken["keys"][0]["public"] = new_key(NOW).public
    with pytest.raises(ValidationError, match="do not belong together") as caught:
        KeySet.model_validate(broken)
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": 8},
        {"algorithm": 14},
        {"private": "AAAA"},
        {"private": "A" * 43 + "="},
        {"public": "not base64 at all, but long enough for it"},
        {"made": "yesterday"},
        {"more": 1},
    ],
)
def test_what_is_no_key_is_refused(change: dict[str, object]) -> None:
    body = json.loads(ONE.model_dump_json())
    body["keys"][0].update(change)
    with pytest.raises(ValidationError):
        KeySet.model_validate(body)


def test_a_roll_signs_with_both_and_then_with_the_successor() -> None:
    both = ONE.with_successor(NOW)
    assert both.keys[0] == ONE.keys[0]
    done = both.without_oldest()
    assert done.keys == both.keys[1:]
    assert done.with_successor(NOW).algorithms == (14, 13)
    with pytest.raises(KeysError, match="under way"):
        both.with_successor(NOW)
    with pytest.raises(KeysError, match="no roll"):
        ONE.without_oldest()
    with pytest.raises(ValidationError, match="same algorithm"):
        KeySet(keys=(new_key(NOW), new_key(NOW)))


def test_a_strangers_keys_are_refused() -> None:
    both = ONE.with_successor(NOW)
    assert dnssec.followed(None, ONE) == ONE
    assert dnssec.followed(ONE, both) == both
    assert dnssec.followed(both, both.without_oldest()) == both.without_oldest()
    with pytest.raises(KeysError, match="two hubs") as caught:
        dnssec.followed(ONE, KeySet(keys=(new_key(NOW),)))
    assert str(ONE.keys[0].tag) in str(caught.value)


def test_the_files_name_the_key_and_say_that_it_is_in_force() -> None:
    (key,) = ONE.keys
    files = dnssec.key_files("fed.example", key)
    stem = f"Kfed.example.+013+{key.tag:05d}"
    assert set(files) == {f"{stem}.key", f"{stem}.private", f"{stem}.state"}
    assert "GoalState: omnipresent" in files[f"{stem}.state"]
    assert "Generated: 20260109030405 (Fri Jan  9 03:04:05 2026)" in files[f"{stem}.state"]
    assert key.private in files[f"{stem}.private"]
    assert not any(key.private in files[f"{stem}.{end}"] for end in ("key", "state"))


def test_a_retired_key_is_given_up_by_the_parent_and_by_us() -> None:
    (key,) = ONE.keys
    state = dnssec.key_files("fed.example", key)[f"{key.stem('fed.example')}.state"]
    gone = dnssec.retired(state)
    assert "DSState: hidden" in gone
    assert "GoalState: hidden" in gone
    assert "DNSKEYState: omnipresent" in gone  # named takes it away in its own order
    assert dnssec.retired(gone) == gone


def test_the_ds_is_of_keys_that_the_parent_vouches_for_only() -> None:
    (key,) = ONE.keys
    zsk = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.DNSKEY, f"256 3 13 {key.public}")
    (text,) = dnssec.ds("fed.example", [key.record, zsk])  # type: ignore[list-item]
    expected = dns.dnssec.make_ds(dns.name.from_text("fed.example"), key.record, "SHA256")
    assert text == str(expected)
