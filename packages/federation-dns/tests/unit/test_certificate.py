"""A certificate's dates, beside what the library says of it."""

from __future__ import annotations

import base64
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from federation_dns import keys
from federation_dns.certificate import validity
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("year", [1999, 2026, 2049, 2050, 2999])
@pytest.mark.parametrize("days", [1, 365, 36500])
def test_as_the_library_reads_them(tmp_path: Path, year: int, days: int) -> None:
    begin = datetime.datetime(year, 12, 31, 23, 59, 58, tzinfo=datetime.UTC)
    life = datetime.timedelta(days=days)
    path = keys.generate("palermo", "10.0.0.1", tmp_path, begin, lifetime=life)
    read = x509.load_pem_x509_certificate(path.read_bytes())
    assert validity(path.read_text()) == (read.not_valid_before_utc, read.not_valid_after_utc)


def cut(pem: str, size: int) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pem)[:size])


def test_one_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    pem = keys.generate("palermo", "10.0.0.1", tmp_path, now).read_text()
    for size in range(0, len(ssl.PEM_cert_to_DER_cert(pem)), 7):
        with pytest.raises(ValueError):
            _ = validity(cut(pem, size))
        assert keys.expires(cut(pem, size)) is None


@given(st.binary(max_size=200))
def test_anything_else_is_refused(junk: bytes) -> None:
    body = base64.b64encode(b"\x30" + junk).decode()
    with pytest.raises(ValueError):
        _ = validity(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
