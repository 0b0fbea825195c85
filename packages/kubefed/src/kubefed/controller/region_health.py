"""Asks the region's agent for the regions' verdict (docs/design.md, section 4).

Three answers: a fresh verdict, none because nobody was named to ask (judge by own probes), or
unknown because nobody answers, which freezes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import logging
import ssl
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from kubefed.controller import health
from kubefed.controller.answers import ApiError, read_capped
from kubefed.controller.client import UNTIMED
from kubefed.controller.objects import mapping, sequence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)
PERIOD = 1.0
TIMEOUT = 1.0
FRESH = 3.0
_LARGEST = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """An agent to ask: its URL and the SHA-256 of its certificate."""

    url: str
    fingerprint: bytes


class RegionHealth:
    """The latest verdict.

    Args:
        file: the JSON file with the endpoints, None to judge by own probes.
        answered: called when another verdict is known, or none any more.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        file: Path | None,
        answered: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._answered = answered
        self._clock = clock
        self._endpoints: list[Endpoint] = []
        self._stamp: tuple[int, int, int] | None = None
        self._verdict: health.Verdict | None = None
        self._at = float("-inf")
        self._told: health.Verdict | None = None

    @property
    def asked(self) -> bool:
        """Whether the regions are asked at all."""
        return self._file is not None

    @property
    def verdict(self) -> health.Verdict | None:
        """The verdict if it is fresh, `health.ALONE` where nobody is asked, else None."""
        if self._file is None:
            return health.ALONE
        return self._verdict if self._clock() - self._at <= FRESH else None

    async def run(self) -> None:
        """Ask every second until cancelled."""
        if self._file is None:
            return
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=UNTIMED
        ) as session:
            while True:
                began = self._clock()
                self._read(self._file)
                await self._ask(session)
                # Told also when nothing answers: what was fresh may have become stale.
                if self.verdict != self._told:
                    self._told = self.verdict
                    self._answered()
                await asyncio.sleep(max(0.05, PERIOD - (self._clock() - began)))

    def _read(self, file: Path) -> None:
        try:
            # A few bytes on a local disk, and only when they changed.
            stat = file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return
            self._endpoints = parse_endpoints(json.loads(file.read_text()))
            self._stamp = stamp
        except (OSError, ValueError) as error:
            # Who was known is asked on; an unreadable file never means that nobody is to be asked.
            log.warning("region-health file %s: %s", file, error)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        for endpoint in self._endpoints:
            asked_at = self._clock()
            try:
                self._verdict = await self._get(session, endpoint)
            except (ApiError, aiohttp.ClientError, OSError, ValueError) as error:
                log.debug("region-health %s: %s", endpoint.url, error)
                continue
            self._at = asked_at
            return

    async def _get(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> health.Verdict:
        async with (
            asyncio.timeout(TIMEOUT),
            session.get(
                f"{endpoint.url}/v1/verdict",
                ssl=aiohttp.Fingerprint(endpoint.fingerprint),
                allow_redirects=False,
            ) as response,
        ):
            content = await read_capped(response, _LARGEST)
            if response.status != 200:
                raise ValueError(f"it answers {response.status}")
        answer = json.loads(content)
        if not isinstance(mapping(answer).get("regions"), dict):
            raise ValueError("it answers no verdict")
        return health.parse_verdict(mapping(answer))


def parse_endpoints(content: Any) -> list[Endpoint]:
    """Read the file's content.

    Raises:
        ValueError: it isn't what docs/design.md says.
    """
    entries = mapping(content).get("endpoints")
    if not isinstance(entries, list):
        raise ValueError('it has no list "endpoints"')
    endpoints: list[Endpoint] = []
    for entry in map(mapping, sequence(entries)):
        url = str(entry.get("url") or "")
        if not url.startswith("https://"):
            raise ValueError(f"{url!r} is not an https URL")
        der = ssl.PEM_cert_to_DER_cert(str(entry.get("certificate") or "").strip())
        endpoints.append(Endpoint(url.rstrip("/"), hashlib.sha256(der).digest()))
    return endpoints
