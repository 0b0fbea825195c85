"""The agent: the shell around `Core` with its clocks, files and sockets; it does what ticks say.

Order of a start: configuration, peers, memory, incarnation (on disk before the first vote, if the
disk takes it), the mesh port, then asking, watching and publishing at the same time. The disk and
the DNS server have threads of their own; a vote waits for neither.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from federation_dns import disk, metrics, pins
from federation_dns.config import (
    Config,
    ConfigError,
    DesignateProvider,
    Peers,
    Rfc2136Provider,
    read_peers,
)
from federation_dns.core import Core, Member, Memory, Settings
from federation_dns.mesh import Mesh
from federation_dns.plan import Rules
from federation_dns.prober import Prober
from federation_dns.providers import Provider
from federation_dns.publisher import Publisher
from federation_dns.server import MeshServer, MetricsServer
from federation_dns.watch import Watcher

log = logging.getLogger(__name__)

_FILES_SECONDS = 0.25  # a hook that wrote new members waits for their verdict, 2 s at most
_STALE_PASSES = 10.0
_DISK_SECONDS = 5.0  # after a write that failed


def members(peers: Peers) -> list[Member]:
    """The mesh's members for the core."""
    return [
        Member(
            name=e.region,
            role=e.role,
            pin=pins.fingerprint(e.certificate),
            next_pin=pins.fingerprint(e.next_certificate) if e.next_certificate else None,
            ranges=e.address_ranges,
            nameserver=e.nameserver,
        )
        for e in peers.entries
    ]


def rules_of(config: Config, zone: str) -> Rules:
    """How one of the zones is kept."""
    return Rules(
        zone=zone,
        federation=config.owner,
        ttl=config.ttl,
        floor=config.max_deletes,
        share=config.max_deletes_share,
        zones=config.all_zones,
    )


def provider_of(config: Config, rules: Rules) -> Provider | None:
    """The DNS server that the configuration names, for the zone of `rules`.

    Only its own libraries are loaded: those of OpenStack take megabytes.
    """
    if config.provider is None:
        return None
    if config.provider.type == "designate":
        return _designate(config.provider, rules, config.region)
    return _rfc2136(config.provider, rules, config.region)


def _rfc2136(found: Rfc2136Provider, rules: Rules, writer: str) -> Provider:
    from federation_dns.providers.rfc2136 import Rfc2136

    return Rfc2136(
        server=found.server,
        port=found.port,
        key_name=found.key_name,
        key_file=found.key_file,
        rules=rules,
        writer=writer,
        timeout=found.timeout,
    )


def _designate(found: DesignateProvider, rules: Rules, writer: str) -> Provider:
    from federation_dns.providers.designate import Access, Designate

    access = Access(
        file=found.cloud_file,
        cloud=found.cloud,
        zone_id=found.zone_ids.get(rules.zone, ""),
        email=found.email,
        timeout=found.timeout,
        allow_http=found.allow_http,
    )
    return Designate(access, rules, writer, pending_limit=found.pending_limit)


class Watched:
    """A file that is read again when it changed."""

    def __init__(self, path: Path):
        self._path = path
        self._seen = self._stamp()

    def changed(self) -> bool:
        """Whether it changed since the last question."""
        stamp = self._stamp()
        changed, self._seen = stamp != self._seen, stamp
        return changed

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class Agent:
    """One region's agent."""

    def __init__(self, config: Config):
        self.config = config
        now, wall = time.monotonic(), time.time()
        self._files_trouble: dict[str, str] = {}
        self.peers = read_peers(config.peers, config.region)
        config.state.mkdir(parents=True, exist_ok=True)
        memory = disk.load_memory(config.state, config.region, config.zone, now, wall)
        self.overrides = disk.load_overrides(config.state)
        self.core = Core(
            Settings(
                config.region,
                config.zone,
                config.ttl,
                config.holds,
                config.all_zones,
                config.secondaries,
                config.pace,
            ),
            members(self.peers),
            self._incarnation(wall),
            memory,
            now,
        )
        self.core.set_overrides(self.overrides.words())
        self.mesh = Mesh(config, self.core, time.monotonic)
        self.server = MeshServer(
            config, self.core, self.mesh, time.monotonic, self.notes, wrong=self.wrong
        )
        # Each zone is read and written at the same time.
        self._dns = ThreadPoolExecutor(2 * len(config.all_zones), "dns")
        self._disk = ThreadPoolExecutor(1, "disk")
        self._save = asyncio.Event()
        self.watcher = (
            Watcher(config.kubeconfig, self.core, time.monotonic) if config.kubeconfig else None
        )
        self.prober = Prober(self.core.health.probes, time.monotonic, config.reply_timeout)
        self.publishers = [
            publisher for zone in config.all_zones if (publisher := self._publisher(zone))
        ]

    def _incarnation(self, wall: float) -> int:
        """This life's number; a disk that takes nothing keeps no agent from its votes.

        The clock is above all earlier numbers then, unless it was put back.
        """
        number = disk.next_incarnation(self.config.state, wall)
        try:
            disk.tidy(self.config.state)
            disk.keep_incarnation(self.config.state, number)
        except OSError as error:
            self._unwritten(error)
        return number

    def _publisher(self, zone: str) -> Publisher | None:
        rules = rules_of(self.config, zone)
        provider = provider_of(self.config, rules)
        if provider is None:
            return None
        return Publisher(
            self.core,
            provider,
            rules,
            interval=self.config.compare_interval,
            window=self.config.delete_window,
            executor=self._dns,
            clock=time.monotonic,
            lifted=lambda: self.overrides.accept_deletes_until > time.time(),
        )

    def notes(self) -> list[str]:
        """All that is not well, in words."""
        return [
            *self._files_trouble.values(),
            *(self.watcher.notes() if self.watcher else ()),
            *(note for publisher in self.publishers for note in publisher.notes()),
        ]

    def wrong(self) -> list[str]:
        """What is wrong with this region's own DNS server, cluster and disk."""
        unwritten = self._files_trouble.get("memory")
        own = [] if unwritten is None else [unwritten]
        own += self.watcher.wrong() if self.watcher else []
        return own + [text for publisher in self.publishers for text in publisher.wrong()]

    def health(self) -> tuple[bool, str]:
        """`/healthz`: whether the loop runs, and its zones are kept."""
        limit = _STALE_PASSES + 5 * self.config.compare_interval
        for publisher in self.publishers:
            well = publisher.well_at
            if well is None or time.monotonic() - well > limit:
                why = publisher.trouble or "the DNS server has not been compared lately"
                return False, why
        return True, "ok"

    async def run(self) -> None:
        """Run, once started, until a signal."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        work = asyncio.ensure_future(self._work())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, stopping):
                task.cancel()
            await asyncio.gather(work, stopping, return_exceptions=True)
            await self.close()

    async def start(self) -> None:
        """Open the ports."""
        await self.mesh.set_peers(self.peers)
        await self.server.set_peers(self.peers)
        collector = metrics.AgentCollector(
            self.core,
            self.mesh,
            self.publishers,
            self.prober,
            lambda: self.peers,
            time.monotonic,
            time.time,
            lambda: {} if self.server.opened is None else self.server.opened.refused,
        )
        self.metrics = MetricsServer(metrics.registry(collector), self.health)
        if self.config.metrics is not None:
            await self.metrics.open(self.config.metrics.address, self.config.metrics.port)
        log.info(
            "region %s, zone %s, incarnation %d, %d members",
            self.config.region,
            self.config.zone,
            self.core.incarnation,
            len(self.core.members),
        )

    async def close(self) -> None:
        """Close the ports and write what is to be remembered."""
        await self.server.close()
        await self.metrics.close()
        await self.mesh.close()
        await asyncio.get_running_loop().run_in_executor(
            self._disk, self._write_memory, self.core.memory()
        )
        for publisher in self.publishers:
            publisher.close()
        self._dns.shutdown(wait=False, cancel_futures=True)
        self._disk.shutdown(wait=True)

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self.mesh.run())
            group.create_task(self._remember())
            group.create_task(self._files())
            if self.watcher is not None:
                group.create_task(self.watcher.run())
            if self.config.service_probes > 0:
                group.create_task(self.prober.run())
            for publisher in self.publishers:
                group.create_task(publisher.run())

    async def _tick(self) -> None:
        period = self.config.probe_interval / 4
        while True:
            batch = self.core.tick(time.monotonic(), time.time())
            for line in batch.say:
                log.info("%s", line)
            if batch.publish:
                self._wake()
            if batch.remember:
                self._save.set()
            await asyncio.sleep(period)

    async def _remember(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._save.wait()
            self._save.clear()
            written = await loop.run_in_executor(
                self._disk, self._write_memory, self.core.memory()
            )
            if not written:
                self._save.set()
            await asyncio.sleep(self.config.probe_interval if written else _DISK_SECONDS)

    def _write_memory(self, memory: Memory) -> bool:
        """Write the memory; a full or broken disk is said, and the agent goes on without it."""
        try:
            if "memory" in self._files_trouble:  # this life's number may be missing there, too
                disk.keep_incarnation(self.config.state, self.core.incarnation)
            disk.save_memory(
                self.config.state,
                self.config.region,
                self.config.zone,
                memory,
                time.monotonic(),
                time.time(),
            )
        except OSError as error:
            self._unwritten(error)
            return False
        if self._files_trouble.pop("memory", None):
            log.info("%s is written again", self.config.state)
        return True

    def _unwritten(self, error: OSError) -> None:
        self._say(
            "memory",
            f"{self.config.state} cannot be written ({error.strerror}): the agent goes on, and "
            "would forget what it knows at a restart; make room, or mend the disk",
        )

    async def _files(self) -> None:
        peers, words = Watched(self.config.peers), Watched(self.config.state / disk.OVERRIDES)
        own = [Watched(self.config.certificate), Watched(self.config.key)]
        while True:
            await asyncio.sleep(_FILES_SECONDS)
            # Two files are never replaced at once: what didn't fit a moment ago is tried again.
            changed = [each.changed() for each in own]
            if any(changed) or "identity" in self._files_trouble:
                await self._renew("its own certificate", list(self.mesh.links))
            if peers.changed():
                await self._read_peers()
            if words.changed():
                self._read_overrides()
            ended = self.mesh.pins.tick(time.monotonic())
            if ended:
                await self._renew(f"the former certificate of {', '.join(ended)} ends", ended)

    async def _renew(self, why: str, regions: list[str]) -> None:
        """Meet peers with the certificates as they are now."""
        try:
            await self.server.renew()
            for region in regions:
                if region in self.mesh.links:
                    self.mesh.renew(region)
        except OSError as error:
            self._say("identity", f"{self.config.certificate} and its key: {error}")
            return
        self._files_trouble.pop("identity", None)
        log.info("new connections from now on: %s", why)

    async def _read_peers(self) -> None:
        try:
            self.peers = read_peers(self.config.peers, self.config.region)
        except ConfigError as error:
            self._say("peers", f"{error}; the members read before stay")
            return
        self._files_trouble.pop("peers", None)
        self.core.set_members(members(self.peers))
        try:
            await self.mesh.set_peers(self.peers)
            await self.server.set_peers(self.peers)
        except OSError as error:  # the own certificate is being replaced: tried again in a moment
            self._say("identity", f"{self.config.certificate} and its key: {error}")
        log.info("members: %s", ", ".join(sorted(self.core.members)))

    def _read_overrides(self) -> None:
        try:
            self.overrides = disk.load_overrides(self.config.state)
        except disk.DiskError as error:
            self._say("overrides", f"{error}; the words read before stay")
            return
        self._files_trouble.pop("overrides", None)
        self.core.set_overrides(self.overrides.words())
        self._wake()

    def _wake(self) -> None:
        for publisher in self.publishers:
            publisher.wake()

    def _say(self, what: str, text: str) -> None:
        if self._files_trouble.get(what) != text:
            log.error("%s", text)
        self._files_trouble[what] = text
