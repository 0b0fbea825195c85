"""An empty OpenStack, made once: Keystone with its content, Designate's empty database.

It lies beside the environment in the cache and is copied for each run; the endpoints' addresses in
it are placeholders that a run replaces by its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import requests
from federation_lab.locks import lock

REGIONS = ("catania", "napoli", "palermo")
HERE = Path(__file__).parent
ADMIN_PASSWORD = "of-the-test-admin"
ADMIN = {"name": "admin", "domain": {"id": "default"}, "password": ADMIN_PASSWORD}
SERVICE_PASSWORD = "of-the-test-designate"
TENANT_PASSWORD = "of-the-test-tenant"
WORLD = "world.json"
TOOL_S = 300
START_S = 300
MAKE_S = 900


def keystone_conf(folder: Path) -> str:
    return f"""\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db?timeout=30
sqlite_synchronous = False
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[identity]
password_hash_rounds = 4
"""


def template(environment: Path) -> Path:
    """The folder to copy; made if it is not there."""
    sources = ("template.py", "run_keystone.py", "serving.py")
    text = b"".join((HERE / name).read_bytes() for name in sources)
    target = environment / f"template-{hashlib.sha256(text).hexdigest()[:12]}"
    with lock(environment / "template.lock", timeout_s=MAKE_S):
        if not (target / WORLD).exists():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            _designate(environment, target)
            made = _keystone(environment, target)
            (target / WORLD).write_text(json.dumps(made))
    return target


def _tool(environment: Path, name: str, *words: str) -> None:
    python = environment / "bin" / "python"
    argv = [str(python), str(environment / "bin" / name), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_S, check=False)
    assert done.returncode == 0, f"{name} {words}: {done.stderr[-2000:]}"


def _designate(environment: Path, folder: Path) -> None:
    config = folder / "designate.conf"
    config.write_text(f"[storage:sqlalchemy]\nconnection = sqlite:///{folder}/designate.db\n")
    _tool(environment, "designate-manage", "--config-file", str(config), "database", "sync")


def _keystone(environment: Path, folder: Path) -> dict[str, str]:
    for name in ("fernet", "credential"):
        (folder / name).mkdir(mode=0o700)
    (folder / "keystone.conf").write_text(keystone_conf(folder))
    words = ("--config-dir", str(folder))
    own = ("--keystone-user", "root", "--keystone-group", "root")
    _tool(environment, "keystone-manage", *words, "db_sync")
    _tool(environment, "keystone-manage", *words, "fernet_setup", *own)
    _tool(environment, "keystone-manage", *words, "credential_setup", *own)
    bootstrap = ("--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", REGIONS[0])
    url = ("--bootstrap-public-url", "http://keystone.placeholder/v3")
    # Where Designate itself asks whether a token is right.
    url = (*url, "--bootstrap-internal-url", "http://inside.placeholder/v3")
    _tool(environment, "keystone-manage", *words, "bootstrap", *bootstrap, *url)
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
    server = start_keystone(environment, folder, port)
    try:
        await_keystone(server, folder, port)
        return _content(f"http://127.0.0.1:{port}/v3")
    finally:
        server.kill()
        server.wait(10)


def start_keystone(environment: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "keystone.out").open("ab") as out:
        argv = [environment / "bin" / "python", HERE / "run_keystone.py", folder]
        server = subprocess.Popen([*argv, "127.0.0.1", str(port)], stdout=out, stderr=out)
    return server


def await_keystone(server: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    end, out = time.monotonic() + START_S, ""
    while time.monotonic() < end:
        out = (folder / "keystone.out").read_text()[-2000:]
        assert server.poll() is None, out
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"http://127.0.0.1:{port}/v3", timeout=20).ok:
                return
        time.sleep(0.2)
    raise AssertionError(f"Keystone does not answer: {out}")


class Admin:
    """What an operator does to Keystone and to quotas."""

    def __init__(self, url: str, user: dict[str, Any], project: str):
        self.url = url
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        asked = {"auth": {"identity": identity, "scope": scope}}
        answer = requests.post(f"{url}/auth/tokens", json=asked, timeout=30)
        assert answer.status_code == 201, answer.text
        self.token = answer.headers["X-Subject-Token"]
        self.user_id = answer.json()["token"]["user"]["id"]

    def call(self, method: str, url: str, body: Any = None, **headers: str) -> Any:
        headers["X-Auth-Token"] = self.token
        answer = requests.request(method, url, json=body, headers=headers, timeout=30)
        assert answer.ok, f"{method} {url}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def make(self, kind: str, plural: str, **fields: Any) -> Any:
        return self.call("POST", f"{self.url}/{plural}", {kind: fields})[kind]


def _content(url: str) -> dict[str, str]:
    admin = Admin(url, ADMIN, "admin")
    service = admin.make("service", "services", name="designate", type="dns")["id"]
    for region in REGIONS:
        if region != REGIONS[0]:
            admin.make("region", "regions", id=region)
        where = f"http://{region}.placeholder"
        fields = {"service_id": service, "interface": "public", "region_id": region, "url": where}
        admin.make("endpoint", "endpoints", **fields)
    listed = admin.call("GET", f"{url}/roles")["roles"]
    roles = {role["name"]: role["id"] for role in listed}
    made: dict[str, str] = {}
    for name, password, granted in (
        ("service", SERVICE_PASSWORD, ("admin", "service")),
        ("tenant", TENANT_PASSWORD, ("member",)),
        ("other", TENANT_PASSWORD, ("member",)),
    ):
        project = admin.make("project", "projects", name=name, domain_id="default")["id"]
        user = admin.make("user", "users", name=name, password=password, domain_id="default")["id"]
        for role in granted:
            path = f"{url}/projects/{project}/users/{user}/roles/{roles[role]}"
            admin.call("PUT", path)
        made[name] = project
    credential = new_credential(url, "federation-dns")
    return {**made, **credential}


def tenant(name: str, url: str) -> Admin:
    user = {"name": name, "domain": {"id": "default"}, "password": TENANT_PASSWORD}
    return Admin(url, user, name)


def new_credential(url: str, name: str) -> dict[str, str]:
    """An application credential, made by the user that it is of."""
    own = tenant("tenant", url)
    made = own.make(
        "application_credential", f"users/{own.user_id}/application_credentials", name=name
    )
    return {"id": made["id"], "secret": made["secret"]}


def revoke_credential(url: str, number: str) -> None:
    """What its user does who finds it stolen."""
    own = tenant("tenant", url)
    own.call("DELETE", f"{url}/users/{own.user_id}/application_credentials/{number}")


def point_endpoints(database: Path, urls: dict[str, str]) -> None:
    """Put this run's addresses into the catalogue."""
    with sqlite3.connect(database) as connection:
        for name, url in urls.items():
            connection.execute(
                "update endpoint set url = replace(url, ?, ?)", (f"http://{name}.placeholder", url)
            )
    connection.close()
