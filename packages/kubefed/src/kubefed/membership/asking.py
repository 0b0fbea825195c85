"""Asking an address which cluster answers there, and what is said when none does."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar

import httpx

from kubefed import errors
from kubefed.membership.endpoint import Identity

_T = TypeVar("_T")
_MAX_ANSWER = 1 << 20


def identify(
    url: str, ca_bundle: str, token: str, *, timeout_s: float, insecure: bool, proxy_url: str
) -> Identity:
    """Do what `endpoint.identify` promises, for a URL that is sound."""
    context: ssl.SSLContext | bool = False if insecure else _trust(ca_bundle, url)
    proxy = _proxy(proxy_url)

    def ask() -> Identity:
        with httpx.Client(
            verify=context,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=timeout_s,
            proxy=proxy,
            # The environment's proxy isn't the controller's.
            trust_env=False,
        ) as client:
            version = _get(client, url, "/version").get("gitVersion")
            if not version:
                raise errors.NotKubernetes(_not_kubernetes(url, "its /version names no version"))
            system = _get(client, url, "/api/v1/namespaces/kube-system")
            return Identity(str(version), str(system["metadata"]["uid"]))

    try:
        return _bounded(ask, timeout_s)
    except ImportError as error:  # httpx speaks SOCKS only with a package of its own
        raise errors.UsageError(
            f"a proxy {proxy_url} needs the Python package socksio; install it or use http"
        ) from error
    except TimeoutError as error:
        raise errors.EndpointUnreachable(
            _unreachable(url, f"no answer within {timeout_s:g} s")
        ) from error


def _proxy(url: str) -> httpx.Proxy | None:
    if not url:
        return None
    try:
        return httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise errors.EndpointMalformed(
            f"'{url}' is no proxy; give a URL with the scheme http, https or socks5"
        ) from error


def _trust(ca_bundle: str, url: str) -> ssl.SSLContext:
    if not ca_bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=ca_bundle)
    except (ssl.SSLError, ValueError) as error:
        raise errors.EndpointUntrusted(
            f"the CA bundle for {url} holds no certificate in PEM; give the cluster's CA"
        ) from error


def _get(client: httpx.Client, url: str, path: str) -> dict[str, dict[str, object]]:
    try:
        with client.stream("GET", url + path) as response:
            data = b""
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > _MAX_ANSWER:
                    raise errors.NotKubernetes(_not_kubernetes(url, "its answer has no end"))
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise _transport_error(url, error) from error
    return _read(url, path, status, data)


def _read(url: str, path: str, status: int, data: bytes) -> dict[str, dict[str, object]]:
    """Judge an answer of the API server.

    Raises:
        errors.MembershipError: it isn't the one that is needed.
    """
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    message = str(body.get("message") or "") if isinstance(body, dict) else ""
    if status == 401:
        raise errors.TokenRefused(
            f"{url} refuses the token: it is revoked, expired or of another cluster; "
            "make a new one in that cluster"
        )
    if status == 403:
        raise errors.RightsMissing(
            f"the token's account may not read {path} at {url} ({message or 'forbidden'}); "
            "prepare the member again to give it its rights"
        )
    if status == 429 or status >= 500:
        raise errors.EndpointUnreachable(
            f"{url} answers with HTTP status {status}; wait until it is up and try again"
        )
    if status != 200 or not isinstance(body, dict):
        raise errors.NotKubernetes(_not_kubernetes(url, f"{path} gives HTTP status {status}"))
    return body


def _transport_error(url: str, error: Exception) -> errors.MembershipError:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return errors.EndpointUntrusted(
                f"the certificate of {url} can't be checked by the given CA "
                f"({cause.verify_message}); give the CA of that cluster, or correct the address"
            )
        if isinstance(cause, ssl.SSLError):
            return errors.NotKubernetes(_not_kubernetes(url, "it doesn't speak TLS"))
        if isinstance(cause, socket.gaierror):
            return errors.EndpointUnreachable(_unreachable(url, "its name doesn't resolve"))
    if isinstance(error, httpx.ConnectError | httpx.TimeoutException):
        return errors.EndpointUnreachable(_unreachable(url, str(error) or type(error).__name__))
    if isinstance(error, httpx.RemoteProtocolError | httpx.InvalidURL):
        return errors.NotKubernetes(_not_kubernetes(url, str(error)))
    return errors.EndpointUnreachable(_unreachable(url, str(error) or type(error).__name__))


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _unreachable(url: str, why: str) -> str:
    return (
        f"{url} is unreachable ({why}); check the address, and that this machine gets through "
        "to it"
    )


def _not_kubernetes(url: str, why: str) -> str:
    return f"{url} is not a Kubernetes API server ({why}); correct the address"


def _bounded(call: Callable[[], _T], seconds: float) -> _T:
    # The bounds of sockets are for each packet, and resolving a name has none; a thread that
    # isn't waited for bounds the whole.
    result: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(call())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="check-endpoint", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not result:
        raise TimeoutError
    return result[0]
