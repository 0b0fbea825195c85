"""The client side of the mesh: asking every peer, every probe interval.

Votes go first and alone: a few hundred bytes over a connection that stays open, answered from
memory. States follow over connections of their own, when a vote names a newer one. A request that
is late does not hold up the next one, so one lost packet costs one probe and not the hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import aiohttp

from federation_dns import faults, keys, wire
from federation_dns.config import Config, Peer, Peers
from federation_dns.core import Core, Heard
from federation_dns.pins import Pins

log = logging.getLogger(__name__)

_AT_ONCE = 3
_STATE_SECONDS = 60.0


@dataclass(slots=True)
class Link:
    """What is open to one peer."""

    peer: Peer
    session: aiohttp.ClientSession
    asking: int = 0
    fetching: bool = False
    fetching_accused: bool = False
    trouble: str = ""
    latency: float | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])


class Mesh:
    """The links to all peers."""

    def __init__(
        self,
        config: Config,
        core: Core,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ):
        self._config = config
        self._core = core
        self._clock = clock
        self._wall = wall
        self.links: dict[str, Link] = {}
        self.pins = Pins()
        self.faults = faults.Faults()
        self._draining: set[asyncio.Task[None]] = set()
        self.sent = 0
        self.received = 0

    async def set_peers(self, peers: Peers) -> None:
        """Open links to new peers, close those of gone or changed ones.

        A peer whose certificates alone changed keeps its link: what is asked is answered.
        """
        self.pins.take({e.region: e.certificates for e in peers.entries})
        wanted = {e.region: e for e in peers.entries if e.region != self._config.region}
        for region, link in list(self.links.items()):
            if region not in wanted or wanted[region].url != link.peer.url:
                self.faults.forget(region)
                await self._close(self.links.pop(region))
        for region, peer in wanted.items():
            link = self.links.get(region)
            if link is None:
                self.links[region] = Link(peer, self._session(region))
            elif link.peer.certificates != peer.certificates:
                link.peer = peer
                self.renew(region)

    def renew(self, region: str) -> None:
        """Open the link to a peer anew, with the certificates as they are now.

        Raises:
            OSError: the agent's own certificate cannot be used.
        """
        link = self.links[region]
        former, link.session = link.session, self._session(region)
        task = asyncio.ensure_future(_drain(former, set(link.tasks)))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    def _session(self, region: str) -> aiohttp.ClientSession:
        pinned = "\n".join(self.pins.trusted(region))
        context = keys.client_context(pinned, self._config.certificate, self._config.key)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context, limit=_AT_ONCE + 1, keepalive_timeout=60, use_dns_cache=False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
        )

    async def run(self) -> None:
        """Ask, until cancelled."""
        due = self._clock()
        while True:
            for link in self.links.values():
                if link.asking < _AT_ONCE:
                    self._start(link, self._ask(link))
            due = max(due + self._config.probe_interval, self._clock())
            await asyncio.sleep(due - self._clock())

    async def close(self) -> None:
        """Close all links."""
        for link in self.links.values():
            await self._close(link)
        self.links.clear()
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)

    async def _close(self, link: Link) -> None:
        for task in link.tasks:
            task.cancel()
        await asyncio.gather(*link.tasks, return_exceptions=True)
        await link.session.close()

    def _start(self, link: Link, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        link.tasks.add(task)
        task.add_done_callback(link.tasks.discard)

    async def _ask(self, link: Link) -> None:
        link.asking += 1
        started = self._clock()
        try:
            body = self.vote()
            timeout = aiohttp.ClientTimeout(total=self._config.reply_timeout)
            async with link.session.post(
                f"{link.peer.url}/v1/votes", data=body, timeout=timeout, allow_redirects=False
            ) as response:
                answer = await _read(response, wire.MAX_VOTE)
            self.take(wire.parse_vote(answer), link.peer.region)
            link.latency, link.trouble = self._clock() - started, ""
        except (aiohttp.ClientError, wire.WireError, OSError, TimeoutError) as error:
            self._trouble(link, error)
        finally:
            link.asking -= 1

    def vote(self) -> bytes:
        """This agent's next vote, to be sent now."""
        body = wire.dump_vote(self._core.vote(self._clock(), self._wall()))
        self.sent += len(body)
        return body

    def take(self, message: wire.VoteMessage, proved: str) -> Heard:
        """Take a vote from a connection that proved to be `proved`'s.

        Raises:
            wire.WireError: it speaks for somebody else.
        """
        if message.region != proved:
            raise wire.WireError(f"{proved} speaks for somebody else")
        self.received += 1
        now = self._clock()
        heard = self._core.heard(now, message)
        self.faults.counted(proved, now, accepted=heard.accepted, former=heard.former)
        if heard.accepted:
            self.faults.announced(proved, now, newer=heard.fetch or heard.accused)
            if message.clock is not None:
                self.faults.clock(proved, message.clock - self._wall(), now)
        link = self.links.get(proved)
        if heard.fetch and link is not None and not link.fetching:
            link.fetching = True
            self._start(link, self._fetch(link))
        if heard.accused and link is not None and not link.fetching_accused:
            link.fetching_accused = True
            self._start(link, self._fetch_accused(link))
        return heard

    async def _fetch(self, link: Link) -> None:
        try:
            state, notes = wire.parse_state(await self._get(link, "state"))
            if state.region != link.peer.region:
                raise wire.WireError(f"{link.peer.region} speaks for somebody else")
            self._core.take_state(state, notes)
            self.faults.came(link.peer.region)
        except (aiohttp.ClientError, wire.WireError, OSError, TimeoutError) as error:
            self._trouble(link, error)
        finally:
            link.fetching = False

    async def _fetch_accused(self, link: Link) -> None:
        try:
            accusation = wire.parse_accusation(await self._get(link, "accused"))
            if accusation.region != link.peer.region:
                raise wire.WireError(f"{link.peer.region} speaks for somebody else")
            self._core.take_accusation(accusation)
            self.faults.came(link.peer.region)
        except (aiohttp.ClientError, wire.WireError, OSError, TimeoutError) as error:
            self._trouble(link, error)
        finally:
            link.fetching_accused = False

    async def _get(self, link: Link, what: str) -> bytes:
        timeout = aiohttp.ClientTimeout(
            total=_STATE_SECONDS, sock_read=max(1.0, self._config.reply_timeout)
        )
        async with link.session.get(
            f"{link.peer.url}/v1/{what}", timeout=timeout, allow_redirects=False
        ) as response:
            return await _read(response, wire.MAX_STATE)

    def wrong(self) -> dict[str, str]:
        """What is wrong with members whom the verdict may call healthy all the same."""
        now = self._clock()
        ends = {
            region: keys.expires(trusted[0])
            for region in self._core.members
            if (trusted := self.pins.trusted(region))
        }
        clocks = self.faults.clocks(self._config.region, now)
        # Whose own clock is wrong can't tell what has ended.
        ended = {} if self._config.region in clocks else faults.ended(ends, self._wall())
        return ended | faults.alone(self._core.judgement) | clocks | self.faults.shown(now)

    def _trouble(self, link: Link, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if isinstance(error, wire.WireError):
            self.faults.wrong(link.peer.region, text[:200], self._clock())
        if isinstance(error, TimeoutError):
            text = "no answer in time"
        if text != link.trouble:
            log.warning("%s (%s): %s", link.peer.region, link.peer.url, text[:200])
        link.trouble = text[:200]


async def _drain(session: aiohttp.ClientSession, tasks: set[asyncio.Task[None]]) -> None:
    """Close a session when what was asked on it has ended."""
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=_STATE_SECONDS)
    finally:
        await session.close()


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body, or an error; never more than `limit`."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise wire.WireError("the answer is too big")
        parts.append(part)
    body = b"".join(parts)
    if response.status != 200:
        with contextlib.suppress(UnicodeDecodeError):
            told = body[:100].decode("ascii").strip()
            raise wire.WireError(f"answered {response.status} {told!r}")
        raise wire.WireError(f"answered {response.status}")
    return body


async def get(url: str, context: ssl.SSLContext) -> bytes:
    """One GET (the command line's way)."""
    timeout = aiohttp.ClientTimeout(total=5)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), timeout=timeout
        ) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        return await _read(response, wire.MAX_STATE)
