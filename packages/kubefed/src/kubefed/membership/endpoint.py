"""Looking at a cluster from outside: does it answer, is it what it should be, may we enter?"""

from __future__ import annotations

import dataclasses
import re

from kubernetes.client import ApiClient

from kubefed import errors
from kubefed.api import NAMESPACE
from kubefed.clients import Resources

DEFAULT_TIMEOUT_S = 10.0
# The form that a KubeFedCluster takes: host, host:port or URL (v0.10.0's webhook: client-go's
# DefaultServerURL with TLS by default).
_ENDPOINT = re.compile(
    r"(?i)(https?://)?([^/:@?#\s\[\]]+|\[[0-9a-f:.%]+\])(:(?P<port>[0-9]+))?(?P<path>/[^\s?#]*)?"
)


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which cluster answers.

    Attributes:
        version: its Kubernetes version, as "v1.35.4".
        uid: the UID of its namespace kube-system, which no other cluster has.
    """

    version: str
    uid: str


def check_endpoint(
    api_endpoint: str,
    ca_bundle: str,
    token: str,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    insecure: bool = False,
    proxy_url: str = "",
) -> str:
    """Check that a cluster can be entered, and give its Kubernetes version.

    Args:
        api_endpoint: host, host:port or URL of its API server.
        ca_bundle: certificates in PEM to check it by; empty for the system's.
        token: a bearer token.
        timeout_s: the bound of the whole check, name resolution and a trickling answer included.
        insecure: don't check its certificate.
        proxy_url: a proxy to go by.

    Raises:
        errors.MembershipError: it can't be entered; the class and the text say why.
    """
    return identify(
        api_endpoint,
        ca_bundle,
        token,
        timeout_s=timeout_s,
        insecure=insecure,
        proxy_url=proxy_url,
    ).version


def identify(
    api_endpoint: str,
    ca_bundle: str,
    token: str,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    insecure: bool = False,
    proxy_url: str = "",
) -> Identity:
    """Check as `check_endpoint` does, and say which cluster it is."""
    url = normalized(api_endpoint)
    if not token:
        raise errors.TokenRefused(f"no token for {url}; make one and try again")
    # Only here: most verbs ask no address, and needn't wait for what this imports.
    from kubefed.membership import asking

    return asking.identify(
        url, ca_bundle, token, timeout_s=timeout_s, insecure=insecure, proxy_url=proxy_url
    )


def identity_of(api: ApiClient) -> Identity:
    """Say which cluster a client talks to.

    Args:
        api: the cluster, by an account that may read namespaces.
    """
    cluster = Resources(api)
    version = cluster.request("GET", "/version", what="read the version").get("gitVersion")
    system = cluster.request(
        "GET", NAMESPACE.path(name="kube-system"), what="read Namespace kube-system"
    )
    return Identity(str(version), str(system["metadata"]["uid"]))


def normalized(api_endpoint: str) -> str:
    """Give an endpoint as a URL without a trailing slash.

    Raises:
        errors.EndpointMalformed: it is neither host, host:port nor URL.

    >>> normalized("10.0.0.1:6443")
    'https://10.0.0.1:6443'
    """
    match = _ENDPOINT.fullmatch(api_endpoint)
    plain = match is not None and "://" not in api_endpoint and match["path"] not in (None, "/")
    if match is None or plain:
        raise errors.EndpointMalformed(
            f"'{api_endpoint}' is no API endpoint; give host, host:port or an http(s) URL"
        )
    if match["port"] and not 1 <= int(match["port"]) <= 65535:
        raise errors.EndpointMalformed(
            f"'{api_endpoint}' is no API endpoint: the port must be between 1 and 65535"
        )
    url = api_endpoint if "://" in api_endpoint else f"https://{api_endpoint}"
    return url.rstrip("/")
