"""Three regions on loopback: a real agent and `named` each, and an API server made here."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import dns.xfr
import dns.zone
import pytest
import yaml
from aiohttp import web
from federation_dns import bind, keys

T = TypeVar("T")
ZONE = "federation.example"
NAMED = shutil.which("named") or "/usr/sbin/named"
# Which of pytest's processes this is.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])


# Below the range that the kernel takes outgoing connections' ports from: one of those could
# otherwise hold a port between its choice here and its use by an agent. One part a pytest worker.
FIRST_PORT = 12_000 + 2_000 * WORKER
# Another run on this machine begins elsewhere in it.
_BEGIN = os.getpid() * 97 % 2_000
PORTS = itertools.cycle(FIRST_PORT + (_BEGIN + i) % 2_000 for i in range(2_000))


def free_port() -> int:
    for number in itertools.islice(PORTS, 2_000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", number))
            return number
    raise AssertionError("no free port on loopback")


def eventually(
    what: Callable[[], bool], seconds: float, text: str, seen: Callable[[], object] = str
) -> float:
    """Wait for `what`; returns how long it took. If it does not come, tells what is `seen`."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if what():
            return time.monotonic() - started
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {text} {seen()}")


def service(name: str, address: str, namespace: str = "shop", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"kubefed.io/managed": "true", **labels},
        },
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    }


def endpoints(name: str, ready: int, namespace: str = "shop") -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"{name}-x",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "endpoints": [
            {"addresses": [f"172.16.0.{i}"], "conditions": {"ready": True}}
            for i in range(1, ready + 1)
        ],
    }


@dataclass
class FakeApi:
    """Just lists and watches, over TLS; `put` and `drop` change what they tell."""

    folder: Path
    # Called in its thread before it opens a socket.
    enter: Callable[[], None] = lambda: None
    port: int = field(default_factory=free_port)
    items: dict[str, dict[tuple[str, str], dict[str, Any]]] = field(
        default_factory=lambda: {"services": {}, "endpointslices": {}}
    )
    version: int = 1
    status: int = 200
    lists: int = 0

    def start(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = keys.generate("api", "127.0.0.1", self.folder / "api", now)
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        assert ready.wait(10)

    def _run(self, ready: threading.Event) -> None:
        self.enter()
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._changed = asyncio.Condition()
        app = web.Application()
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/api/v1/services", self._services)
        app.router.add_get("/apis/discovery.k8s.io/v1/endpointslices", self._slices)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context).start()
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status, text="ok")

    async def _services(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "services", "ServiceList")

    async def _slices(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "endpointslices", "EndpointSliceList")

    async def _answer(self, request: web.Request, kind: str, name: str) -> web.StreamResponse:
        if self.status != 200:
            return web.Response(status=self.status, headers={"Retry-After": "1"})
        if "watch" not in request.query:
            self.lists += 1
            body = {
                "kind": name,
                "metadata": {"resourceVersion": str(self.version)},
                "items": list(self.items[kind].values()),
            }
            return web.json_response(body)
        response = web.StreamResponse()
        await response.prepare(request)
        sent = dict(self.items[kind])
        async with self._changed:
            while not self._stop.is_set():
                now = dict(self.items[kind])
                for key, item in now.items():
                    if sent.get(key) is not item:
                        await self._event(response, "MODIFIED", item)
                for key, item in sent.items():
                    if key not in now:
                        await self._event(response, "DELETED", item)
                sent = now
                await self._changed.wait()
        return response

    async def _event(self, response: web.StreamResponse, what: str, item: Any) -> None:
        await response.write(json.dumps({"type": what, "object": item}).encode() + b"\n")

    def put(self, kind: str, *items: dict[str, Any]) -> None:
        async def change() -> None:
            async with self._changed:
                self.version += 1
                for item in items:
                    meta = item["metadata"]
                    self.items[kind][meta["namespace"], meta["name"]] = item
                self._changed.notify_all()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(5)

    def drop(self, kind: str, *keys_: tuple[str, str]) -> None:
        async def change() -> None:
            async with self._changed:
                self.version += 1
                for key in keys_:
                    self.items[kind].pop(key, None)
                self._changed.notify_all()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(5)

    def publish(
        self, name: str, address: str, ready: int = 2, namespace: str = "shop", **annotations: str
    ) -> None:
        self.put("endpointslices", endpoints(name, ready, namespace))
        item = service(name, address, namespace)
        asked = {f"dns.kubefed.io/{key}": value for key, value in annotations.items()}
        item["metadata"]["annotations"] = asked
        self.put("services", item)

    def kubeconfig(self) -> str:
        authority = base64.b64encode(self.certificate.read_bytes()).decode()
        return yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {
                            "server": f"https://127.0.0.1:{self.port}",
                            "certificate-authority-data": authority,
                        },
                    }
                ],
                "users": [{"name": "u", "user": {"token": "of-the-test"}}],
            }
        )


@dataclass
class Region:
    """One region: its folder, ports and processes."""

    name: str
    folder: Path
    number: int
    role: str = "region"
    # Where it stands: its address for the others, and what its programs are started through.
    host: str = "127.0.0.1"
    through: tuple[str, ...] = ()
    mesh_port: int = field(default_factory=free_port)
    dns_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    agent: subprocess.Popen[bytes] | None = None
    named: subprocess.Popen[bytes] | None = None
    secret: str = field(default_factory=keys.new_secret)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.api = FakeApi(self.folder)
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = keys.generate(self.name, self.host, self.folder, now)

    @property
    def config_path(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def entry(self) -> dict[str, Any]:
        return {
            "region": self.name,
            "role": self.role,
            "url": f"https://{self.host}:{self.mesh_port}",
            "certificate": self.certificate.read_text(),
            "nameserver": f"10.0.{self.number}.53",
            "address_ranges": [f"10.0.{self.number}.0/24"],
        }

    def address(self, last: int = 200) -> str:
        return f"10.0.{self.number}.{last}"

    def start_named(self, foreign: str = "", **conf: Any) -> None:
        folder = self.folder / "named"
        folder.mkdir()
        key = folder / "key.conf"
        key.write_text(bind.key_file(f"agent-{self.name}", self.secret))
        key.chmod(0o600)
        text = bind.zone_file(
            zone=ZONE, region=self.name, nameservers={self.name: self.address(53)}
        )
        (folder / "zone.db").write_text(text + foreign)
        (folder / "named.conf").write_text(
            bind.named_conf(
                zones={ZONE: str(folder / "zone.db")},
                key_name=f"agent-{self.name}",
                key_path=str(key),
                listen=sorted({"127.0.0.1", self.host}),
                port=self.dns_port,
                directory=str(folder),
                **conf,
            )
        )
        self.spawn_named()

    def spawn_named(self, seconds: float = 60) -> None:
        folder = self.folder / "named"
        with (folder / "log").open("ab") as log:
            self.named = subprocess.Popen(
                [*self.through, NAMED, "-c", str(folder / "named.conf"), "-g", "-n", "1"],
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self.ask(ZONE, "SOA") != [], seconds, f"named of {self.name} answers")

    def write_config(self, speed: float = 2.5, **more: Any) -> None:
        body: dict[str, Any] = {
            "region": self.name,
            "zone": ZONE,
            "listen": {"address": self.host, "port": self.mesh_port},
            "metrics": {"address": "127.0.0.1", "port": self.metrics_port},
            "certificate": str(self.certificate),
            "key": str(self.folder / "agent.key"),
            "peers": str(self.folder / "peers.json"),
            "state": str(self.state),
            "ttl": 15,
            "probe-interval": 0.5 / speed,
            "withdraw-after": 5 / speed,
            "evict-after": 20 / speed,
            "return-after": 30 / speed,
            "compare-interval": 2 / speed,
            **more,
        }
        if self.role == "region":
            (self.folder / "kubeconfig").write_text(self.api.kubeconfig())
            body["kubeconfig"] = str(self.folder / "kubeconfig")
            body["provider"] = {
                "type": "rfc2136",
                "server": "127.0.0.1",
                "port": self.dns_port,
                "key-name": f"agent-{self.name}",
                "key-file": str(self.folder / "named" / "key.conf"),
            }
        self.config_path.write_text(yaml.safe_dump(body))

    def here(self, call: Callable[[], T]) -> T:
        """Do something from where the region stands."""
        return call()

    def start_agent(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [
                    *self.through,
                    sys.executable,
                    "-m",
                    "federation_dns.cli",
                    "agent",
                    "--config",
                    self.config_path,
                ],
                stdout=log,
                stderr=log,
            )

    def kill_agent(self) -> None:
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait(10)
            self.agent = None

    def freeze(self) -> None:
        assert self.agent is not None
        os.kill(self.agent.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.agent is not None
        os.kill(self.agent.pid, signal.SIGCONT)

    def stop(self) -> None:
        for process in (self.agent, self.named):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)

    def ask(self, name: str, kind: str = "A") -> list[str]:
        query = dns.message.make_query(name, kind)
        try:
            answer = self.here(
                lambda: dns.query.udp(query, "127.0.0.1", port=self.dns_port, timeout=3)
            )
        except (OSError, dns.exception.Timeout):
            return []
        return sorted(
            str(r)
            for rs in answer.answer
            if rs.rdtype == dns.rdatatype.from_text(kind)
            for r in rs
        )

    def keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        name = dns.name.from_text(f"agent-{self.name}")
        return {name: dns.tsig.Key(name, self.secret)}

    def update(self, change: Callable[[dns.update.UpdateMessage], object]) -> None:
        """Change the zone by hand, with a valid key."""
        message = dns.update.UpdateMessage(ZONE, keyring=self.keyring())
        change(message)
        answer = self.here(
            lambda: dns.query.tcp(message, "127.0.0.1", port=self.dns_port, timeout=10)
        )
        assert answer.rcode() == dns.rcode.NOERROR, answer

    def transfer(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """The zone as it is, without SOA and generation."""
        zone = dns.zone.Zone(ZONE, relativize=False)
        name = next(iter(self.keyring()))
        query, _ = dns.xfr.make_query(zone, keyring=self.keyring(), keyname=name)
        self.here(
            lambda: dns.query.inbound_xfr(
                "127.0.0.1", zone, query, port=self.dns_port, lifetime=20
            )
        )
        return {
            (n.to_text(omit_final_dot=True), dns.rdatatype.to_text(rs.rdtype)): tuple(
                sorted(f"{rs.ttl} {r}" for r in rs)
            )
            for n, rs in zone.iterate_rdatasets()
            if rs.rdtype != dns.rdatatype.SOA
            and n.to_text(omit_final_dot=True) != f"_federation.{ZONE}"
        }

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *self.through,
                sys.executable,
                "-m",
                "federation_dns.cli",
                *arguments,
                "--config",
                self.config_path,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def verdict(self) -> dict[str, Any]:
        """As the controller asks: without a certificate of its own."""
        context = keys.client_context(self.certificate.read_text(), None, None)
        url = f"https://{self.host}:{self.mesh_port}/v1/verdict"

        def get() -> dict[str, Any]:
            with urllib.request.urlopen(url, timeout=20, context=context) as answer:
                found: dict[str, Any] = json.loads(answer.read())
            return found

        return self.here(get)

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()


@dataclass
class Federation:
    """Some regions side by side."""

    regions: dict[str, Region]

    def __getitem__(self, name: str) -> Region:
        return self.regions[name]

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions.values())

    def peers(self, *names: str) -> None:
        chosen = [r for r in self if not names or r.name in names]
        body = json.dumps({"version": 1, "entries": [r.entry() for r in chosen]})
        for region in chosen:
            fresh = region.folder / "peers.new"
            fresh.write_text(body)
            fresh.replace(region.folder / "peers.json")

    def others(self, name: str) -> list[Region]:
        return [r for r in self if r.name != name and r.role == "region"]


FOREIGN = "".join(
    f'host{i} IN A 198.51.{i // 250}.{i % 250}\nhost{i} IN TXT "somebody else\'s {i}"\n'
    for i in range(1000)
)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Generator[Federation]:
    """Three regions, standing, with 2,000 foreign records in each server."""
    names = ("catania", "napoli", "palermo")
    tmp_path = tmp_path_factory.mktemp("federation")
    made = Federation({n: Region(n, tmp_path / n, i) for i, n in enumerate(names, 1)})
    started: list[Region] = []
    try:
        made.peers()
        for region in made:
            started.append(region)
            region.api.start()
            region.start_named(FOREIGN)
            region.write_config(**{"return-after": 3}, flap={"free": 20, "limit": 0})
            region.api.publish("web", region.address())
        for region in made:
            region.start_agent()
        yield made
    finally:
        for region in started:
            region.stop()
            region.api.stop()
