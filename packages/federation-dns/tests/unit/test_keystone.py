"""Tokens and errors of Keystone: a small server on loopback says what a real one says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from federation_dns.providers import ProviderError
from federation_dns.providers.cloud import Auth, Cloud
from federation_dns.providers.keystone import Keystone
from pydantic import SecretStr

ID = "0123456789abcdef0123456789abcdef"
AT_ONCE = 8


class Server(ThreadingHTTPServer):
    """Keystone, and the service beside it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.logins = 0
        self.refuses: set[str] = set()
        self.says: tuple[int, str] | None = None
        # All requests with a token that is refused are answered together.
        self.together = threading.Barrier(AT_ONCE)


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_POST(self) -> None:
        _ = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.says:
            status, message = self.server.says
            self._answer(status, {"error": {"code": status, "message": message, "title": "x"}})
            return
        self.server.logins += 1
        endpoint = {"interface": "public", "region_id": "catania", "region": "catania"}
        endpoint |= {"id": "e", "url": self.server.url}
        token = {
            "methods": ["application_credential"],
            "expires_at": "2999-01-01T00:00:00.000000Z",
            "catalog": [{"type": "dns", "name": "designate", "id": "d", "endpoints": [endpoint]}],
            "project": {"id": "p", "name": "p", "domain": {"id": "default", "name": "Default"}},
        }
        name = f"token{self.server.logins}"
        self._answer(201, {"token": token}, **{"X-Subject-Token": name})

    def do_GET(self) -> None:
        refused = self.headers["X-Auth-Token"] in self.server.refuses
        if refused:
            _ = self.server.together.wait(20)
        self._answer(401 if refused else 200, {})

    def _answer(self, status: int, body: object, **headers: str) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        _ = self.wfile.write(text)


@pytest.fixture
def server() -> Generator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def service(server: Server, region: str = "catania") -> Keystone:
    auth = Auth(
        auth_url=f"{server.url}/v3",
        application_credential_id=ID,
        application_credential_secret=SecretStr("of-the-test"),
    )
    return Keystone(
        Cloud(auth=auth, region_name=region),
        "dns",
        "/v2",
        file=Path("clouds.yaml"),
        timeout=10.0,
        connections=AT_ONCE,
        allow_http=False,
    )


def get(mine: Keystone) -> bytes:
    return mine.request("GET", "/zones", time.monotonic() + 20)


def test_a_token_that_ends_under_several_requests_is_replaced_once(server: Server) -> None:
    mine = service(server)
    assert get(mine) == b"{}"
    server.refuses.add("token1")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = [threads.submit(get, mine) for _ in range(AT_ONCE)]
        assert [answer.result() for answer in answers] == [b"{}"] * AT_ONCE
    assert server.logins == 2


def test_a_new_token_that_is_refused_too_is_a_matter_of_the_service_s_own(server: Server) -> None:
    server.together = threading.Barrier(1)
    server.refuses |= {"token1", "token2"}
    with pytest.raises(ProviderError, match="refuses a token that is new") as caught:
        get(service(server))
    assert caught.value.remedy == "operator"


@pytest.mark.parametrize(
    ("status", "message", "says"),
    [
        (401, "no", "refuses the application credential in clouds.yaml"),
        # So does a real one of a credential that was deleted.
        (
            404,
            f"Could not find Application Credential: {ID}.",
            "refuses the application credential in clouds.yaml",
        ),
        (404, "no such page", "answers 404 .is auth_url right"),
    ],
)
def test_refusals_of_keystone(server: Server, status: int, message: str, says: str) -> None:
    server.says = status, message
    with pytest.raises(ProviderError, match=says) as caught:
        get(service(server))
    assert caught.value.remedy == "operator"


def test_a_region_that_the_catalogue_lacks_is_the_operator_s(server: Server) -> None:
    with pytest.raises(ProviderError, match="no public endpoint of the service dns in region gen"):
        get(service(server, region="genova"))
