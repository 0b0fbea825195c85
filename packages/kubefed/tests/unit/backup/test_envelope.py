"""The encrypted file: what was put in comes out, and nothing else ever does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubefed import errors
from kubefed.backup import envelope

KEY, OTHER = bytes(range(32)), bytes(32)
SALT = b"s" * envelope.SALT_BYTES
ABOUT = {"made_at": "2026-11-29T15:00:00+00:00", "namespace": "kube-federation-system"}


def sealed(content: bytes = b"secret", key: bytes = KEY) -> bytes:
    return envelope.seal(content, ABOUT, key, SALT)


@given(st.binary(max_size=300_000))
@settings(max_examples=20, deadline=None)
def test_what_goes_in_comes_out(content: bytes) -> None:
    header, found = envelope.unseal(sealed(content), KEY)
    assert found == content
    assert header["made_at"] == ABOUT["made_at"]


def test_the_header_is_read_without_the_key_and_holds_nothing_of_it() -> None:
    header = envelope.header_of(sealed())
    assert header["format"] == "kubefed-backup"
    assert header["version"] == 1
    assert header["key_id"] == envelope.key_id(KEY)
    assert envelope.key_text(KEY)[:8] not in json.dumps(header)


def test_another_key_is_named_as_such() -> None:
    with pytest.raises(errors.AskOperator, match="was made with the key") as caught:
        envelope.unseal(sealed(), OTHER)
    assert envelope.key_id(OTHER) in str(caught.value)


@pytest.mark.parametrize("length", range(0, 100, 7))
def test_a_file_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(errors.KubefedError):
        envelope.unseal(sealed()[:-1][: len(sealed()) - length - 1], KEY)


def test_a_file_that_ends_with_a_whole_chunk_is_cut_off_all_the_same() -> None:
    # What doesn't compress, so that it takes three chunks.
    content = b"".join(envelope.key_id(number.to_bytes(32)).encode() for number in range(20_000))
    whole = sealed(content)
    line = whole.index(b"\n") + 1
    chunk = envelope.CHUNK + 16
    assert len(whole) > line + 2 * chunk
    for count in (1, 2):
        with pytest.raises(errors.AskOperator, match="cut off"):
            envelope.unseal(whole[: line + count * chunk], KEY)


def test_chunks_cannot_be_exchanged() -> None:
    content = b"".join(envelope.key_id(number.to_bytes(32)).encode() for number in range(20_000))
    whole = sealed(content)
    line, chunk = whole.index(b"\n") + 1, envelope.CHUNK + 16
    first, second = whole[line : line + chunk], whole[line + chunk : line + 2 * chunk]
    swapped = whole[:line] + second + first + whole[line + 2 * chunk :]
    with pytest.raises(errors.AskOperator, match="altered"):
        envelope.unseal(swapped, KEY)


def test_no_byte_can_be_altered() -> None:
    whole = sealed()
    for place in range(len(whole)):
        altered = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with pytest.raises(errors.KubefedError):
            envelope.unseal(altered, KEY)


def test_a_newer_format_names_the_version_that_made_it() -> None:
    line, _, rest = sealed().partition(b"\n")
    header = json.loads(line) | {"version": 2, "kubefed": "9.1"}
    with pytest.raises(errors.AskOperator, match=r"format 2.*9\.1"):
        envelope.unseal(json.dumps(header).encode() + b"\n" + rest, KEY)


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"apiVersion: v1\n", b"\xff\xfe\n", b"[]"])
def test_what_is_no_backup_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(errors.UsageError, match="no backup"):
        envelope.unseal(data, KEY)


def test_a_key_is_read_as_it_was_written() -> None:
    assert envelope.read_key(envelope.key_text(KEY) + "\n") == KEY


@pytest.mark.parametrize("text", ["", "secret", "aHVudGVyMg==", "ä" * 44])
def test_what_is_no_key_is_not_repeated(text: str) -> None:
    with pytest.raises(errors.UsageError, match="32 bytes") as caught:
        envelope.read_key(text)
    assert not text or text not in str(caught.value)
