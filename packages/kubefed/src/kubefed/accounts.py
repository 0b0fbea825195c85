"""Tokens of ServiceAccounts."""

from __future__ import annotations

import base64
import dataclasses
import time
from datetime import datetime, timedelta

from kubernetes.client import ApiClient

from kubefed import errors
from kubefed.api import SECRET, SERVICE_ACCOUNT, TOKEN_KEY, Manifest
from kubefed.clients import Resources

SECRET_SECONDS = 30.0
_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Token:
    """A ServiceAccount's token.

    Attributes:
        token: the token itself; kept out of the object's text.
        expires_at: when it ends; None for one that holds as long as its Secret.
    """

    token: str = dataclasses.field(repr=False)
    expires_at: datetime | None


def mint_token(
    api: ApiClient, *, service_account: str, namespace: str, lifetime: timedelta
) -> Token:
    """Make a bound token (TokenRequest, KEP-1205) of a ServiceAccount.

    Args:
        api: the cluster.
        service_account: the ServiceAccount's name.
        namespace: its namespace.
        lifetime: how long the token is to hold, 10 minutes at least; the API server may shorten
            it, so look at `expires_at`.

    Raises:
        errors.NotFound: there is no such ServiceAccount.
    """
    answer = Resources(api).request(
        "POST",
        f"{SERVICE_ACCOUNT.path(namespace, service_account)}/token",
        body={
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": int(lifetime.total_seconds())},
        },
        what=f"make a token for ServiceAccount {namespace}/{service_account}",
    )
    status = answer["status"]
    return Token(status["token"], datetime.fromisoformat(status["expirationTimestamp"]))


def lasting_token(api: ApiClient, *, service_account: str, namespace: str) -> Token:
    """Make a token that holds until it is taken back: a Secret of the account's name.

    For a federation that nobody rotates the tokens of; it is what `kubefedctl join` makes.

    Args:
        api: the cluster.
        service_account: the ServiceAccount's name.
        namespace: its namespace.

    Raises:
        errors.RetryLater: the cluster's controller manager has put no token in.
    """
    cluster = Resources(api)
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": service_account,
            "namespace": namespace,
            "annotations": {"kubernetes.io/service-account.name": service_account},
        },
    }
    cluster.apply(SECRET, manifest)
    deadline = time.monotonic() + SECRET_SECONDS
    while time.monotonic() < deadline:
        secret = cluster.get(SECRET, service_account, namespace) or {}
        if token := (secret.get("data") or {}).get(TOKEN_KEY):
            return Token(base64.b64decode(token).decode(), None)
        time.sleep(_POLL_SECONDS)
    raise errors.RetryLater(
        f"Secret {namespace}/{service_account} has got no token within {SECRET_SECONDS:.0f} s; "
        "is the cluster's controller manager running?"
    )
