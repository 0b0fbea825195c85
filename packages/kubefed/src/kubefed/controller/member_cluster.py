"""One member cluster: how it is reached, and what is known of its health."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

from kubefed.api.names import TOKEN_KEY, TlsValidation
from kubefed.controller import health
from kubefed.controller.client import Client, Connection, MalformedError, decode_base64
from kubefed.controller.health import Track
from kubefed.controller.objects import Json, labels, mapping, sequence, spec

if TYPE_CHECKING:
    from collections.abc import Callable


class MemberCluster:
    """One member: its client, and what is known of its health.

    Attributes:
        name: its name.
        obj: its KubeFedCluster.
        client: requests to it.
        track: its health.
        malformed: why it can't be asked at all, "" if it can.
        error: why the latest probe failed.
        refused: whether it failed since the token is refused.
        lagging: whether a write is waiting for its answer for long; nobody waits for it then.
        changed_at: when it was called ready or not ready last.
    """

    def __init__(self, name: str, obj: Json, guard: Callable[[], None], agent: str) -> None:
        self.name = name
        self.obj = obj
        self.client = Client(name, Connection(""), guard, agent)
        self.track = Track(published=health.published(obj))
        self.malformed = "not read yet"
        self.error = ""
        self.refused = False
        self.version = ""
        self.lagging = False
        # Set while it may be read: what isn't known to be the cluster that joined isn't.
        self.trusted = asyncio.Event()
        self.identified = None
        self.changed_at = float("-inf")
        self.wake = asyncio.Event()
        self.probed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def identified(self) -> bool | None:
        """Whether it is the cluster that joined.

        None until it was asked, False from the moment that its address changed until it has said
        so.
        """
        return self._identified

    @identified.setter
    def identified(self, known: bool | None) -> None:
        self._identified = known
        if known is False:
            self.trusted.clear()
        else:
            self.trusted.set()

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its KubeFedCluster."""
        return labels(self.obj)


def token_end(token: str) -> float | None:
    """Give the time (Unix) at which a token says that it ends, None where it says none.

    A JSON Web Token's claims (RFC 7519) are read, not verified: that is for the API server.
    """
    try:
        claims = token.split(".")[1]
        end = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        return float(end)
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def connection(cluster: Json, secret: Json | None) -> Connection:
    """Give how to reach the cluster that a KubeFedCluster describes.

    Args:
        cluster: the KubeFedCluster.
        secret: the Secret that it names, None if there is none.

    Raises:
        MalformedError: something is missing or unusable; the text says what.
    """
    wanted = spec(cluster)
    endpoint = str(wanted.get("apiEndpoint") or "").rstrip("/")
    if not endpoint:
        raise MalformedError("apiEndpoint is empty")
    if "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    if secret is None:
        name = mapping(wanted.get("secretRef")).get("name")
        raise MalformedError(f"the Secret {name} is not there")
    token = decode_base64(mapping(secret.get("data")).get(TOKEN_KEY), "the token").strip()
    if not token:
        raise MalformedError("the Secret has no token")
    if not token.isascii() or not token.isprintable():
        raise MalformedError("the token has characters that no token has")
    proxy = str(wanted.get("proxyURL") or "")
    if proxy and not proxy.lower().startswith(("http://", "https://")):
        raise MalformedError(f"proxyURL {proxy} is not an HTTP proxy, the only kind supported")
    off = set(sequence(wanted.get("disabledTLSValidations")))
    return Connection(
        url=endpoint,
        ca=decode_base64(wanted.get("caBundle"), "caBundle"),
        token=token,
        verify=TlsValidation.ALL not in off,
        check_name=TlsValidation.SUBJECT_NAME not in off,
        check_time=TlsValidation.VALIDITY_PERIOD not in off,
        proxy=proxy,
    )


def token_only(secret: Json) -> Json:
    """Drop from a Secret what isn't the token."""
    data = mapping(secret.get("data"))
    meta = mapping(secret.get("metadata"))
    names = ("name", "namespace", "uid", "resourceVersion")
    kept = {name: meta[name] for name in names if name in meta}
    return {"metadata": kept, "data": {TOKEN_KEY: data[TOKEN_KEY]} if TOKEN_KEY in data else {}}
