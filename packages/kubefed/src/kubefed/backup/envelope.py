"""The file that a backup is: one line that says what it is, and the rest encrypted (pure).

The first line is JSON and can be read without the key. What follows are chunks of AES-256-GCM
under a key of this file's own, derived (HKDF-SHA256) from the operator's key, a salt and that very
first line, so that none of its words can be changed. A chunk's nonce is its number and whether it
is the last, so that chunks can be neither exchanged nor left out, nor the end cut off.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kubefed import errors

FORMAT = "kubefed-backup"
VERSION = 1
KEY_BYTES = 32
SALT_BYTES = 16
CHUNK = 1 << 16
_TAG = 16
_LONGEST_HEADER = 1 << 16
_ID_CONTEXT = b"kubefed-backup key id"


def key_text(key: bytes) -> str:
    """Give a key as it is kept in a file."""
    return base64.b64encode(key).decode()


def read_key(text: str) -> bytes:
    """Read a key; no part of it is in what is raised.

    Raises:
        errors.UsageError: it is no key.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise errors.UsageError(
            f"the key is not {KEY_BYTES} bytes in base64; kubefed backup --new-key FILE makes one"
        )
    return key


def key_id(key: bytes) -> str:
    """Give what tells one key from another, and nothing of either.

    >>> key_id(bytes(32))
    '53f0b6786b2841ea'
    """
    return hmac.new(key, _ID_CONTEXT, hashlib.sha256).hexdigest()[:16]


def seal(content: bytes, about: Mapping[str, object], key: bytes, salt: bytes) -> bytes:
    """Encrypt a backup.

    Args:
        content: what is secret.
        about: what the first line says besides.
        key: the operator's key.
        salt: random bytes, of this file only.
    """
    header = {"format": FORMAT, "version": VERSION, **about}
    header |= {"key_id": key_id(key), "salt": base64.b64encode(salt).decode()}
    line = json.dumps(header, sort_keys=True).encode()
    cipher = _cipher(key, salt, line)
    packed = zlib.compress(content)
    parts = [packed[start : start + CHUNK] for start in range(0, len(packed), CHUNK)]
    sealed = [
        cipher.encrypt(_nonce(number, last=number == len(parts) - 1), part, None)
        for number, part in enumerate(parts)
    ]
    return b"".join([line, b"\n", *sealed])


def header_of(data: bytes) -> dict[str, Any]:
    """Read the first line of a backup.

    Raises:
        errors.UsageError: it is no backup.
        errors.AskOperator: it is of a newer format.
    """
    try:
        header = json.loads(_line(data))
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise errors.UsageError("this is no backup that kubefed backup has made")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION:
        made_by = header.get("kubefed") or "a newer one"
        raise errors.AskOperator(
            f"the backup has format {version}, and this kubefed reads up to {VERSION}; use the "
            f"version that made it ({made_by})"
        )
    return dict(header)


def unseal(data: bytes, key: bytes) -> tuple[dict[str, Any], bytes]:
    """Decrypt a backup; give what its first line says, and the content.

    Raises:
        errors.UsageError: it is no backup.
        errors.AskOperator: another key's, of a newer format, cut off or altered.
    """
    header = header_of(data)
    if header.get("key_id") != key_id(key):
        raise errors.AskOperator(
            f"the backup was made with the key {header.get('key_id')}, and the given key is "
            f"{key_id(key)}; give the key that it was made with"
        )
    line = _line(data)
    try:
        salt = base64.b64decode(str(header.get("salt")), validate=True)
        cipher = _cipher(key, salt, line)
        packed = b"".join(
            cipher.decrypt(_nonce(number, last=last), chunk, None)
            for number, (chunk, last) in enumerate(_chunks(data[len(line) + 1 :]))
        )
        return header, zlib.decompress(packed)
    except (InvalidTag, ValueError, zlib.error) as error:
        raise errors.AskOperator(
            "the backup is cut off or was altered; nothing of it is used; take another copy"
        ) from error


def _line(data: bytes) -> bytes:
    return data[:_LONGEST_HEADER].partition(b"\n")[0]


def _chunks(sealed: bytes) -> Iterator[tuple[bytes, bool]]:
    size = CHUNK + _TAG
    if not sealed:
        raise ValueError
    for start in range(0, len(sealed), size):
        yield sealed[start : start + size], start + size >= len(sealed)


def _cipher(key: bytes, salt: bytes, line: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=salt, info=line).derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")
