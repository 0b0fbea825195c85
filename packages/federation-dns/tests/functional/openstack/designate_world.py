"""Keystone, and in each of three regions Designate with a BIND behind it, on loopback."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import requests
import yaml

from ..conftest import NAMED, eventually, free_port
from . import template
from .fault_proxy import FaultProxy
from .template import Admin

ZONE = "federation.example"
HERE = Path(__file__).parent
START_S = 300


@dataclass
class Region:
    """One region's Designate and its name server."""

    name: str
    folder: Path
    environment: Path
    keystone_port: int
    api_port: int = field(default_factory=free_port)
    mdns_port: int = field(default_factory=free_port)
    dns_port: int = field(default_factory=free_port)
    rndc_port: int = field(default_factory=free_port)
    designate: subprocess.Popen[bytes] | None = None
    named: subprocess.Popen[bytes] | None = None

    @property
    def direct(self) -> str:
        """Its API, not through the proxy."""
        return f"http://127.0.0.1:{self.api_port}/v2"

    def prepare(self, database: Path) -> None:
        self.folder.mkdir()
        (self.folder / "bind").mkdir()
        (self.folder / "state").mkdir()
        shutil.copy(database, self.folder / "designate.db")
        source = self.environment / "etc" / "designate" / "api-paste.ini"
        shutil.copy(source, self.folder / "api-paste.ini")
        secret = "b2YtdGhlLXRlc3Qtb2YtdGhlLXRlc3Qtb2YtdGhlLXRlc3Q="
        key = f'key "rndc-key" {{ algorithm hmac-sha256; secret "{secret}"; }};\n'
        (self.folder / "rndc.key").write_text(key)
        (self.folder / "designate.conf").write_text(self._conf())
        (self.folder / "pools.yaml").write_text(yaml.safe_dump(self._pools()))
        (self.folder / "named.conf").write_text(key + self._named())

    def _conf(self) -> str:
        return f"""\
[DEFAULT]
host = {self.name}
state_path = {self.folder}/state
root_helper =
transport_url = fake:///
log_file = {self.folder}/designate.log
default_ttl = 15
default_soa_refresh_min = 10
default_soa_refresh_max = 15
default_soa_retry = 5
default_soa_expire = 3600
default_soa_minimum = 5
[oslo_concurrency]
lock_path = {self.folder}/state
[oslo_messaging_notifications]
driver = noop
[storage:sqlalchemy]
connection = sqlite:///{self.folder}/designate.db?timeout=30
sqlite_synchronous = False
[service:api]
auth_strategy = keystone
enable_api_v2 = True
enable_api_admin = True
api_base_uri = {self.direct.removesuffix("v2")}
[service:central]
workers = 1
threads = 20
managed_resource_email = hostmaster@example.org.
[service:mdns]
workers = 1
threads = 20
listen = 127.0.0.1:{self.mdns_port}
[service:worker]
workers = 1
threads = 20
poll_delay = 1
poll_retry_interval = 1
poll_timeout = 1
poll_max_retries = 3
serial_max_retries = 3
serial_retry_delay = 1
[service:producer]
workers = 1
threads = 20
[producer_task:increment_serial]
interval = 1
[producer_task:delayed_notify]
interval = 1
[producer_task:worker_periodic_recovery]
interval = 3
[keystone_authtoken]
www_authenticate_uri = http://127.0.0.1:{self.keystone_port}/v3
auth_url = http://127.0.0.1:{self.keystone_port}/v3
auth_type = password
username = service
password = {template.SERVICE_PASSWORD}
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = {template.REGIONS[0]}
# What Keystone revoked, the middleware takes for so long (300 by default).
token_cache_time = 2
"""

    def _pools(self) -> list[dict[str, Any]]:
        options = {
            "host": "127.0.0.1",
            "port": self.dns_port,
            "rndc_host": "127.0.0.1",
            "rndc_port": self.rndc_port,
            "rndc_key_file": str(self.folder / "rndc.key"),
            "clean_zonefile": True,
        }
        target = {
            "type": "bind9",
            "masters": [{"host": "127.0.0.1", "port": self.mdns_port}],
            "options": options,
        }
        return [
            {
                "name": "default",
                "description": "the test's",
                "ns_records": [{"hostname": f"ns.{self.name}.example.org.", "priority": 1}],
                "nameservers": [{"host": "127.0.0.1", "port": self.dns_port}],
                "targets": [target],
            }
        ]

    def _named(self) -> str:
        folder = self.folder / "bind"
        return f"""\
controls {{ inet 127.0.0.1 port {self.rndc_port} allow {{ 127.0.0.1; }} keys {{ "rndc-key"; }}; }};
options {{
  directory "{folder}"; pid-file "{folder}/pid"; session-keyfile "{folder}/session";
  managed-keys-directory "{folder}";
  listen-on port {self.dns_port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  allow-new-zones yes; allow-notify {{ 127.0.0.0/8; }}; allow-transfer {{ 127.0.0.1; }};
  recursion no; dnssec-validation no; notify no; request-ixfr no;
  min-refresh-time 1; max-refresh-time 15; min-retry-time 1; max-retry-time 5;
}};
"""

    def start_named(self) -> None:
        with (self.folder / "named.out").open("ab") as out:
            argv = [NAMED, "-c", str(self.folder / "named.conf"), "-g", "-n", "1"]
            self.named = subprocess.Popen(argv, stdout=out, stderr=out)

    def stop_named(self) -> None:
        assert self.named is not None
        self.named.kill()
        self.named.wait(10)

    def start_designate(self) -> None:
        files = [self.folder / name for name in ("designate.conf", "pools.yaml", "api-paste.ini")]
        argv = [self.environment / "bin" / "python", HERE / "run_designate.py", *files]
        with (self.folder / "designate.out").open("ab") as out:
            self.designate = subprocess.Popen(
                [*argv, "127.0.0.1", str(self.api_port)], stdout=out, stderr=out
            )

    def await_designate(self) -> None:
        eventually(self._answers, START_S, f"Designate of {self.name} answers")

    def _answers(self) -> bool:
        assert self.designate is not None
        out = (self.folder / "designate.out").read_text()[-2000:]
        assert self.designate.poll() is None, out
        with contextlib.suppress(requests.RequestException):
            return requests.get(self.direct, timeout=5).status_code < 500
        return False

    def stop_designate(self) -> None:
        assert self.designate is not None
        self.designate.kill()
        self.designate.wait(10)

    def stop(self) -> None:
        for process in (self.designate, self.named):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)

    def ask(self, name: str, kind: str = "A") -> list[str]:
        """What the region's name server answers."""
        query = dns.message.make_query(name, kind)
        try:
            answer = dns.query.udp(query, "127.0.0.1", port=self.dns_port, timeout=2)
        except (OSError, dns.exception.Timeout):
            return ["no answer"]
        wanted = dns.rdatatype.from_text(kind)
        return sorted(str(r) for rs in answer.answer if rs.rdtype == wanted for r in rs)


@dataclass
class World:
    """All of it."""

    folder: Path
    environment: Path
    made: dict[str, str]
    keystone_port: int
    keystone: subprocess.Popen[bytes]
    identity: FaultProxy
    regions: dict[str, Region]
    proxies: dict[str, FaultProxy]
    tenants: dict[str, Admin] = field(default_factory=dict[str, Admin])

    @property
    def keystone_url(self) -> str:
        return f"http://127.0.0.1:{self.keystone_port}/v3"

    def new_credential(self, name: str) -> dict[str, str]:
        return template.new_credential(self.keystone_url, name)

    def revoke(self, credential: dict[str, str]) -> None:
        template.revoke_credential(self.keystone_url, credential["id"])

    def cloud_file(
        self, path: Path, region: str, of: dict[str, str] | None = None, **changed: Any
    ) -> Path:
        """The credential's file, as Horizon gives it."""
        credential = of or self.made
        auth = {
            "auth_url": f"{self.identity.url}/v3",
            "application_credential_id": credential["id"],
            "application_credential_secret": credential["secret"],
        }
        cloud = {
            "auth": auth,
            "auth_type": "v3applicationcredential",
            "region_name": region,
            "identity_api_version": 3,
            "cacert": str(self.identity.certificate),
            **changed,
        }
        path.write_text(yaml.safe_dump({"clouds": {"openstack": cloud}}))
        path.chmod(0o600)
        return path

    def tenant(self, name: str = "tenant") -> Admin:
        if name not in self.tenants:
            self.tenants[name] = template.tenant(name, self.keystone_url)
        return self.tenants[name]

    def told(self, region: str, zone: str) -> str:
        """What a region's Designate and name server say of a zone, for a failed test."""
        own, where = self.tenant(), self.regions[region]
        zones = own.call("GET", f"{where.direct}/zones?name={zone}.")["zones"]
        if not zones:
            return "no such zone at Designate"
        found = {key: zones[0][key] for key in ("status", "action", "serial")}
        sets = own.call("GET", f"{where.direct}/zones/{zones[0]['id']}/recordsets")["recordsets"]
        late = [f"{s['name']} {s['type']} {s['status']}" for s in sets if s["status"] != "ACTIVE"]
        log = (where.folder / "designate.log").read_text().splitlines()
        lines = [line[:300] for line in log if " ERROR " in line or " WARNING " in line][-8:]
        return f"{found}, {late}, its server {where.ask(zone, 'SOA')}; {lines}"

    def set_quota(self, region: str, **limits: int) -> None:
        """As the cloud's administrator: of the tenant's project."""
        admin = Admin(self.keystone_url, template.ADMIN, "admin")
        url = f"{self.regions[region].direct}/quotas/{self.made['tenant']}"
        everybody = {"X-Auth-All-Projects": "true"}
        if limits:
            admin.call("PATCH", url, limits, **everybody)
        else:
            admin.call("DELETE", url, **everybody)


@contextlib.contextmanager
def standing(environment: Path, folder: Path) -> Generator[World]:
    """Start all, and stop it."""
    source = template.template(environment)
    keystone_port = free_port()
    regions = {
        name: Region(name, folder / name, environment, keystone_port) for name in template.REGIONS
    }
    for each in regions.values():
        each.prepare(source / "designate.db")
    home = folder / "keystone"
    shutil.copytree(source, home)
    (home / "keystone.conf").write_text(template.keystone_conf(home))
    identity = FaultProxy(folder / "identity", f"http://127.0.0.1:{keystone_port}")
    proxies = {
        name: FaultProxy(folder / f"proxy-{name}", f"http://127.0.0.1:{each.api_port}", identity)
        for name, each in regions.items()
    }
    urls = {name: proxy.url for name, proxy in proxies.items()}
    template.point_endpoints(
        home / "keystone.db",
        {**urls, "keystone": identity.url, "inside": f"http://127.0.0.1:{keystone_port}"},
    )
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for proxy in (identity, *proxies.values()):
            proxy.start()
        for each in regions.values():
            each.start_named()
            each.start_designate()
        processes.append(template.start_keystone(environment, home, keystone_port))
        template.await_keystone(processes[0], home, keystone_port)
        for each in regions.values():
            each.await_designate()
        made = json.loads((home / template.WORLD).read_text())
        yield World(
            folder, environment, made, keystone_port, processes[0], identity, regions, proxies
        )
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
        for each in regions.values():
            each.stop()
        for proxy in (identity, *proxies.values()):
            proxy.stop()
