"""Which certificates prove whom, and when the former one of two ends. Pure.

A member announces its next certificate beside the one in use, and both are trusted. Once it has
shown the next one, the former is of use only to whoever stole its key: it is refused `GRACE`
seconds later, whatever the relations say meanwhile.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping

GRACE = 20.0
"""For so long what was opened with the former key may go on."""


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, in hex."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()


class Pins:
    """The certificates that are trusted now."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, ...]] = {}
        self._by_pin: dict[str, str] = {}
        self._shown: dict[str, float] = {}
        self._ended: set[str] = set()

    def take(self, entries: Mapping[str, tuple[str, ...]]) -> None:
        """Trust these, by member: the certificate in use, and the one to come if announced.

        What has ended by being replaced stays ended.
        """
        self._entries = dict(entries)
        pins = {fingerprint(pem): region for region, pems in self._entries.items() for pem in pems}
        self._ended &= set(pins)
        self._shown = {pin: at for pin, at in self._shown.items() if pin in pins}
        self._by_pin = {pin: region for pin, region in pins.items() if pin not in self._ended}

    def whose(self, pin: str) -> str | None:
        """Whose certificate this is, if it is trusted."""
        return self._by_pin.get(pin)

    def shown(self, pin: str, now: float) -> None:
        """Note that a member proved to hold a certificate's key."""
        region = self._by_pin.get(pin)
        if region is not None and pin == self._next(region):
            self._shown.setdefault(pin, now)

    def tick(self, now: float) -> list[str]:
        """End the certificates whose successor was shown long enough ago; whose they were."""
        ended: list[str] = []
        for region, pems in self._entries.items():
            pin = self._next(region)
            if pin is None or now - self._shown.get(pin, now) < GRACE:
                continue
            former = fingerprint(pems[0])
            if former not in self._ended:
                self._ended.add(former)
                self._by_pin.pop(former, None)
                ended.append(region)
        return ended

    def trusted(self, region: str) -> tuple[str, ...]:
        """The certificates (PEM) that prove a region now."""
        pems = self._entries.get(region, ())
        return tuple(pem for pem in pems if fingerprint(pem) in self._by_pin)

    def all(self) -> list[str]:
        """All certificates (PEM) that are trusted now."""
        return [pem for region in self._entries for pem in self.trusted(region)]

    def _next(self, region: str) -> str | None:
        pems = self._entries.get(region, ())
        return fingerprint(pems[1]) if len(pems) > 1 else None
