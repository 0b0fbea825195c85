"""The dates of a certificate, read from its DER (X.690, RFC 5280). Pure.

The agent asks for nothing else of a certificate, and the library that reads all of it costs nine
megabytes in every agent.
"""

from __future__ import annotations

import datetime
import ssl

_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0
_FORMS = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}


def validity(pem: str) -> tuple[datetime.datetime, datetime.datetime]:
    """From when to when a certificate says that it holds.

    Raises:
        ValueError: it is no certificate.
    """
    der = ssl.PEM_cert_to_DER_cert(pem.strip())
    at, _ = _inside(der, 0, _SEQUENCE)  # the certificate
    at, _ = _inside(der, at, _SEQUENCE)  # what is signed of it
    if der[at : at + 1] == bytes([_VERSION]):
        at = _inside(der, at, _VERSION)[1]
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # number, algorithm, issuer
        at = _inside(der, at, tag)[1]
    at, _ = _inside(der, at, _SEQUENCE)
    begin, at = _time(der, at)
    return begin, _time(der, at)[0]


def _inside(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the content of an element begins and ends."""
    if at + 2 > len(der) or der[at] != tag:
        raise ValueError("this is no certificate: an element is missing")
    size, begin = der[at + 1], at + 2
    if size >= 0x80:
        begin += size - 0x80
        size = int.from_bytes(der[at + 2 : begin])
    if begin + size > len(der):
        raise ValueError("this is no certificate: it is cut off")
    return begin, begin + size


def _time(der: bytes, at: int) -> tuple[datetime.datetime, int]:
    form = _FORMS.get(der[at]) if at < len(der) else None
    if form is None:
        raise ValueError("this is no certificate: it has no dates")
    begin, end = _inside(der, at, der[at])
    text = der[begin:end].decode("ascii")
    if form.startswith("%y"):  # of two digits, RFC 5280, 4.1.2.5.1
        text, form = ("20" if text[:2] < "50" else "19") + text, _FORMS[0x18]
    return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.UTC), end
