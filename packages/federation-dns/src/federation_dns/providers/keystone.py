"""Signed requests to one service of one OpenStack region, each within its bound.

keystoneauth1 gets the token and finds the region's endpoint in the catalogue; after a 401 another
token is got here, since its session lets the second of two threads that share a token that ended
fail for it. It is what openstacksdk is built on; the SDK itself would bring the agent over its
memory, and it does not show the count by which a list is known to be whole (docs/design.md).
"""

from __future__ import annotations

import email.utils
import io
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
import requests.adapters
import urllib3.exceptions
from keystoneauth1 import exceptions as faults
from keystoneauth1.exceptions.connection import SSLError
from keystoneauth1.identity.v3 import ApplicationCredential
from keystoneauth1.session import Session

from federation_dns.providers import ProviderError, Remedy
from federation_dns.providers.cloud import Cloud, in_clear

_MOST_BYTES = 16 * 2**20
_CHUNK = 2**16
_LONGEST_WAIT = 300.0


class Refused(Exception):  # noqa: N818 - an answer, which the caller judges
    """The service answered with an error.

    Attributes:
        status: of HTTP.
        kind: the service's own word for it (`over_quota`), or nothing.
        why: its explanation, shortened.
    """

    def __init__(self, status: int, kind: str, why: str):
        super().__init__(f"{status} {kind}: {why}")
        self.status = status
        self.kind = kind
        self.why = why


class _Limit(threading.local):
    """When the running request has to be over; `Session` has no place to hand it through."""

    deadline: float = 0.0


class _Adapter(requests.adapters.HTTPAdapter):
    """Reads answers up to a size and a deadline, and sends nothing after it."""

    def __init__(self, limit: _Limit, timeout: float, connections: int):
        super().__init__(pool_connections=4, pool_maxsize=connections)
        self._limit = limit
        self._timeout = timeout

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        left = self._limit.deadline - time.monotonic()
        if left <= 0:
            raise requests.exceptions.Timeout("no time is left")
        wait = min(left, self._timeout)
        response = super().send(request, True, wait, verify, cert, proxies)
        try:
            response.raw = io.BytesIO(self._body(response))
        except urllib3.exceptions.TimeoutError as error:
            raise requests.exceptions.ReadTimeout(request=request) from error
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ConnectionError(request=request) from error
        return response

    def _body(self, response: requests.Response) -> bytes:
        raw: urllib3.HTTPResponse = response.raw
        body = bytearray()
        try:
            while piece := raw.read1(_CHUNK, decode_content=True):
                body += piece
                if len(body) > _MOST_BYTES:
                    raise requests.exceptions.ContentDecodingError("too long an answer")
                if time.monotonic() > self._limit.deadline:
                    raise requests.exceptions.ReadTimeout("the answer does not end")
        except BaseException:
            raw.close()
            raise
        raw.release_conn()
        return bytes(body)


class Keystone:
    """One service's endpoint, found by the credential.

    Args:
        cloud: the credential and the region.
        kind: of the service, as in the catalogue.
        path: below the endpoint, if it does not end so already: `/v2`.
        timeout: of one request's silence.
        connections: at once.
        allow_http: send the credential in clear.
    """

    def __init__(
        self,
        cloud: Cloud,
        kind: str,
        path: str,
        *,
        file: Path,
        timeout: float,
        connections: int,
        allow_http: bool,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._cloud = cloud
        self._kind = kind
        self._path = path
        self._file = file
        self._allow_http = allow_http
        self._clock = clock
        self._limit = _Limit()
        self._not_before = 0.0
        plain = requests.Session()
        plain.trust_env = False  # no .netrc, no proxies that nobody configured for the agent
        adapter = _Adapter(self._limit, timeout, connections)
        plain.mount("https://", adapter)
        plain.mount("http://", adapter)
        auth = ApplicationCredential(
            auth_url=cloud.auth.auth_url,
            application_credential_id=cloud.auth.application_credential_id,
            application_credential_secret=cloud.auth.application_credential_secret.get_secret_value(),
        )
        self._session = Session(
            auth=auth,
            session=plain,
            verify=True if cloud.cacert is None else str(cloud.cacert),
            timeout=timeout,
            redirect=False,
            app_name="federation-dns",
        )
        self._endpoint = ""
        self._lock = threading.Lock()
        self._refused = ""

    @property
    def where(self) -> str:
        """What it is and where, for texts."""
        place = self._endpoint or f"region {self._cloud.region_name}"
        return f"{self._kind} service at {place}"

    def project(self, deadline: float) -> str:
        """The project that the credential belongs to."""
        self._prepare(deadline)
        return self._session.get_project_id() or ""

    def request(
        self,
        method: str,
        path: str,
        deadline: float,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> bytes:
        """Send one request; the answer's body.

        Raises:
            Refused: the service answered with an error of this request.
            ProviderError: it can't be used now.
        """
        response, token = self._send(method, path, deadline, params, body)
        if response.status_code == 401:
            self._refused = token
            response, _ = self._send(method, path, deadline, params, body)
        if response.status_code // 100 == 2:
            return response.content
        raise self._refusal(response)

    def _send(
        self,
        method: str,
        path: str,
        deadline: float,
        params: Mapping[str, str] | None,
        body: object,
    ) -> tuple[requests.Response, str]:
        """One request; its answer and the token that it was sent with."""
        endpoint, token = self._prepare(deadline)
        try:
            response = self._session.request(
                f"{endpoint}{path}",
                method,
                json=body,
                params=params,
                authenticated=False,
                raise_exc=False,
                log=False,
                headers={"Accept": "application/json", "X-Auth-Token": token},
            )
        except faults.ClientException as error:
            raise self._translated(error, self.where) from error
        return response, token

    def _prepare(self, deadline: float) -> tuple[str, str]:
        """Have the endpoint and a token."""
        self._limit.deadline = deadline
        wait = self._not_before - self._clock()
        if wait > 0:
            raise ProviderError(
                f"{self.where} asked for {wait:.0f} s of peace (Retry-After)", "retry"
            )
        keystone = f"Keystone at {self._cloud.auth.auth_url}"
        self._in_clear(self._cloud.auth.auth_url, keystone)
        try:
            token = self._token()
            found = self._endpoint or self._session.get_endpoint(
                service_type=self._kind,
                region_name=self._cloud.region_name,
                interface=self._cloud.interface,
                skip_discovery=True,
            )
        except faults.EndpointNotFound:
            found = token = ""
        except faults.ClientException as error:
            raise self._translated(error, keystone) from error
        if not found:
            raise ProviderError(
                f"{keystone}: its catalogue has no {self._cloud.interface} endpoint of the "
                f"service {self._kind} in region {self._cloud.region_name} "
                "('openstack catalog list')",
                "operator",
            )
        plain = found.rstrip("/")
        self._endpoint = plain if plain.endswith(self._path) else f"{plain}{self._path}"
        self._in_clear(self._endpoint, self.where)
        return self._endpoint, token

    def _token(self) -> str:
        """One that nobody was refused with."""
        with self._lock:
            token = self._session.get_token() or ""
            if token == self._refused:
                self._session.invalidate()
                token = self._session.get_token() or ""
            return token

    def _in_clear(self, url: str, what: str) -> None:
        if not self._allow_http and in_clear(url):
            raise ProviderError(
                f"{what} is plain HTTP: the credential could be read on the way. Give it TLS, or "
                "set 'allow-http: true' in the provider",
                "operator",
            )

    def _refusal(self, response: requests.Response) -> Exception:
        kind, why = _explained(response.content)
        status = response.status_code
        if status in (429, 503):
            self._hold_off(response.headers.get("Retry-After"))
        for_good: dict[int, tuple[Remedy, str]] = {
            401: ("operator", "refuses a token that is new: is its own account in Keystone well?"),
            429: ("retry", "is asked too often (429)"),
        }
        if status in for_good:
            remedy, text = for_good[status]
            return ProviderError(f"{self.where} {text}", remedy)
        if status >= 500:
            return ProviderError(f"{self.where} failed inside ({status} {kind})".strip(), "retry")
        if status // 100 == 3:
            return ProviderError(
                f"{self.where} sends elsewhere ({status}); not followed", "operator"
            )
        return Refused(status, kind, why)

    def _hold_off(self, told: str | None) -> None:
        seconds = _seconds(told)
        if seconds > 0:
            self._not_before = self._clock() + min(seconds, _LONGEST_WAIT)

    def _translated(self, error: faults.ClientException, who: str) -> ProviderError:
        auth = self._cloud.auth
        keystone = f"Keystone at {auth.auth_url}"
        # Of one that was deleted Keystone says 404, and names it.
        deleted = isinstance(error, faults.NotFound) and (
            auth.application_credential_id in str(error)
        )
        if deleted or isinstance(error, faults.Unauthorized):
            return ProviderError(
                f"{keystone} refuses the application credential in {self._file}: it has ended, "
                "was deleted, or its user lost the project",
                "operator",
            )
        if isinstance(error, SSLError):
            text = f"{who} shows a certificate that is not trusted: set 'cacert' in {self._file}"
            return ProviderError(text, "operator")
        if isinstance(error, faults.HttpError):
            if error.http_status in (429, 503):
                answer = error.response
                self._hold_off(None if answer is None else answer.headers.get("Retry-After"))
            remedy: Remedy = "operator" if error.http_status in (400, 403, 404) else "retry"
            hint = " (is auth_url right?)" if error.http_status == 404 else ""
            return ProviderError(f"{keystone} answers {error.http_status}{hint}", remedy)
        if isinstance(error, faults.ConnectTimeout):
            return ProviderError(f"{who} did not answer in time", "retry")
        if isinstance(error, faults.ConnectFailure):
            return ProviderError(f"{who} is not reached", "retry")
        return ProviderError(f"{who} cannot be used ({type(error).__name__})", "retry")


def _explained(body: bytes) -> tuple[str, str]:
    try:
        found: object = json.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(found, dict):
        return "", ""
    parts = (found.get("type"), found.get("message"))
    kind, why = (_line(part) if isinstance(part, str) else "" for part in parts)
    return kind, why


def _line(text: str) -> str:
    """One short line without what moves a terminal's cursor."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:300]).split())[:200]


def _seconds(told: str | None) -> float:
    """Of Retry-After, as seconds or as a date (RFC 9110, 10.2.3)."""
    if not told:
        return 0.0
    if told.strip().isdigit():
        return float(told.strip()[:6])
    try:
        when = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return 0.0
    return when.timestamp() - time.time()
