from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest
from kubefed import errors
from kubefed.clients import from_token, refusal
from kubefed.membership import Token, check_endpoint
from kubefed.membership.endpoint import normalized

VERSION = {"gitVersion": "v1.35.4"}
SYSTEM = {"metadata": {"uid": "u"}}


@contextlib.contextmanager
def server(answers: dict[str, tuple[int, bytes]]) -> Generator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


def answers(
    version: tuple[int, object] = (200, VERSION), system: tuple[int, object] = (200, SYSTEM)
) -> dict[str, tuple[int, bytes]]:
    return {
        "/version": (version[0], json.dumps(version[1]).encode()),
        "/api/v1/namespaces/kube-system": (system[0], json.dumps(system[1]).encode()),
    }


def test_a_cluster_that_can_be_entered() -> None:
    with server(answers()) as url:
        assert check_endpoint(url, "", "token") == "v1.35.4"


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (answers(version=(401, {})), errors.TokenRefused, "revoked, expired or of another"),
        (answers(system=(401, {})), errors.TokenRefused, "revoked, expired or of another"),
        (answers(system=(403, {"message": "no"})), errors.RightsMissing, r"\(no\)"),
        (answers(version=(503, {})), errors.EndpointUnreachable, "HTTP status 503"),
        (answers(version=(429, {})), errors.EndpointUnreachable, "HTTP status 429"),
        (answers(version=(302, {})), errors.NotKubernetes, "HTTP status 302"),
        (answers(version=(200, [])), errors.NotKubernetes, "not a Kubernetes"),
        (answers(version=(200, {"major": "1"})), errors.NotKubernetes, "names no version"),
        ({"/version": (200, b"<html>")}, errors.NotKubernetes, "not a Kubernetes"),
        ({"/version": (200, b"x" * (1 << 21))}, errors.NotKubernetes, "has no end"),
    ],
)
def test_answers_that_will_not_do(
    given: dict[str, tuple[int, bytes]], kind: type[errors.KubefedError], text: str
) -> None:
    with server(given) as url, pytest.raises(kind, match=text) as caught:
        check_endpoint(url, "", "s3cret-token")
    assert isinstance(caught.value, errors.MembershipError)
    assert "s3cret-token" not in str(caught.value)


def test_silence_is_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(errors.EndpointUnreachable, match="unreachable"):
            check_endpoint(f"127.0.0.1:{silent.getsockname()[1]}", "", "t", timeout_s=0.3)
        assert time.monotonic() - started < 2


def test_a_trickle_is_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not done.wait(0.05):
                    with contextlib.suppress(OSError):
                        connection.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with pytest.raises(errors.EndpointUnreachable, match=r"no answer within 0\.5 s"):
                check_endpoint(
                    f"http://127.0.0.1:{listener.getsockname()[1]}", "", "t", timeout_s=0.5
                )
        finally:
            done.set()
            thread.join()


def test_no_token_and_no_ca() -> None:
    with pytest.raises(errors.TokenRefused, match="no token"):
        check_endpoint("host", "", "")
    with pytest.raises(errors.EndpointUntrusted, match="holds no certificate"):
        check_endpoint("host", "nonsense", "t")
    with pytest.raises(errors.EndpointMalformed, match="is no proxy"):
        check_endpoint("host", "", "t", proxy_url="ftp://x")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("host", "https://host"),
        ("host:6443/", "https://host:6443"),
        ("HTTP://host/path/", "HTTP://host/path"),
        ("[fd00::1]:6443", "https://[fd00::1]:6443"),
    ],
)
def test_endpoints(given: str, url: str) -> None:
    assert normalized(given) == url


@pytest.mark.parametrize("given", ["", "host/path", "ftp://host", "a b", "host:0", "host:65536"])
def test_what_is_no_endpoint(given: str) -> None:
    with pytest.raises(errors.EndpointMalformed, match="no API endpoint"):
        normalized(given)


def test_tokens_stay_out_of_texts() -> None:
    assert "abc" not in repr(Token("abc", None))
    client = from_token("host:1", "abc", "CA")
    assert client.configuration.host == "https://host:1"
    client.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Refused),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (422, errors.Refused),
        (429, errors.RetryLater),
        (500, errors.RetryLater),
        (504, errors.RetryLater),
    ],
)
def test_refusals_are_sorted(status: int, kind: type[errors.KubefedError]) -> None:
    error = refusal(status, b'{"message": "why"}', "create Secret a/b", "https://host")
    assert type(error) is kind
    assert "create Secret a/b" in str(error)
    assert refusal(status, b"[]", "x", "y").args
