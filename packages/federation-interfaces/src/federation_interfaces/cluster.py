"""Access to the region's own cluster: accounts of least rights, bounded calls, sorted errors.

A charm gets the admin's token from kube-control. It uses it in memory, to make accounts and to
mint their tokens; whatever runs or is kept uses those. Plain HTTPS to the Kubernetes API does for
that: importing the Kubernetes client would cost each hook most of a second.
"""

import base64
import http.client
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
MANAGER = "federation-charms"
CHARMS_NAMESPACE = "federation-charms"
"""Where the charms' own accounts live, apart from the federation's, which comes and goes."""


class ClusterError(Exception):
    """The cluster did not do what was asked."""


class ClusterUnreachableError(ClusterError):
    """No answer, or none that can be trusted: try again later."""


class ClusterRefusedError(ClusterError):
    """The cluster answered and refused.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ClusterAddress:
    """Where a cluster's API answers and by which CA it is known."""

    server: str
    ca_certificate: str


@dataclass(frozen=True)
class Credential:
    """A bound token and its end."""

    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Rule:
    """One RBAC rule."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def as_object(self) -> dict[str, Any]:
        """Return the rule as Kubernetes writes it."""
        rule: dict[str, Any] = {
            "apiGroups": list(self.groups),
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        if self.names:
            rule["resourceNames"] = list(self.names)
        return rule


@dataclass(frozen=True)
class Account:
    """A ServiceAccount with exactly these rights.

    Attributes:
        cluster_rules: rights in every namespace and on what has none.
        rules: rights in one namespace.
        rules_namespace: that namespace; empty: the account's own.
        role: name of the roles; empty: the account's. An account that serves several
            federations has a role for each.
    """

    name: str
    namespace: str
    cluster_rules: tuple[Rule, ...] = ()
    rules: tuple[Rule, ...] = ()
    rules_namespace: str = ""
    role: str = ""


class KubeControl(Protocol):
    """What is needed of ops.interface_kube_control's requirer."""

    @property
    def is_ready(self) -> bool:
        """Whether the control plane has published its data."""
        ...

    def get_auth_credentials(self, user: str) -> Mapping[str, str] | None:
        """Return the tokens that were made for `user`."""
        ...

    def get_api_endpoints(self) -> list[str]:
        """Return the addresses of the API."""
        ...

    def get_ca_certificate(self) -> bytes | None:
        """Return the CA's certificate, if the control plane gives it."""
        ...


@dataclass(frozen=True)
class Access:
    """The region's cluster and the admin's token, which is kept in memory only."""

    address: ClusterAddress
    admin_token: str = field(repr=False)

    def admin(self) -> "Cluster":
        """Return the API as the admin sees it: to make, mend and remove accounts."""
        return Cluster(self.address, self.admin_token)


def read_access(kube_control: KubeControl, user: str, ca_certificate: str = "") -> Access | None:
    """Read access to the cluster from the kube-control relation.

    Args:
        kube_control: the requirer's side of the relation.
        user: whom the token was asked for.
        ca_certificate: used where the control plane gives none.

    Returns:
        None while the control plane has not published all of it.
    """
    if not kube_control.is_ready:
        return None
    credentials = kube_control.get_auth_credentials(user) or {}
    given = kube_control.get_ca_certificate()
    authority = given.decode() if given else ca_certificate
    servers = kube_control.get_api_endpoints()
    token = credentials.get("client_token")
    if not servers or not token or not authority:
        return None
    return Access(ClusterAddress(servers[0].rstrip("/"), authority), token)


class Cluster:
    """One cluster's API, as one account sees it."""

    def __init__(
        self,
        address: ClusterAddress,
        token: str,
        *,
        connect: Callable[[str, int, ssl.SSLContext], http.client.HTTPSConnection] | None = None,
    ):
        self.address = address
        self._token = token
        self._connect = connect or _connect

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request, bounded in time.

        Raises:
            ClusterUnreachableError: no connection, no answer in time, or a wrong certificate.
            ClusterRefusedError: the answer is an error.
        """
        parts = urlsplit(self.address.server)
        host = parts.hostname or ""
        try:
            context = ssl.create_default_context(cadata=self.address.ca_certificate)
            connection = self._connect(host, parts.port or 443, context)
            try:
                connection.connect()
                connection.sock.settimeout(READ_TIMEOUT_S)
                headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
                text = None if body is None else json.dumps(body)
                connection.request(method, parts.path + path, text, headers)
                response = connection.getresponse()
                data = response.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise ClusterUnreachableError(f"{self.address.server}: {_reason(error)}") from error
        return self._answer(response.status, data)

    def _answer(self, status: int, data: bytes) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(data or b"{}")
        except ValueError:
            answer = {}
        if status < http.HTTPStatus.BAD_REQUEST:
            return answer
        message = str(answer.get("message") or "no reason given")
        raise ClusterRefusedError(f"{self.address.server}: {message} ({status})", status)

    def apply(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create the object or bring it to this shape (server-side apply)."""
        query = urlencode({"fieldManager": MANAGER, "force": "true"})
        return self.request("PATCH", f"{path}?{query}", body, "application/apply-patch+yaml")

    def delete(self, path: str) -> bool:
        """Delete an object; False if it was not there."""
        try:
            _ = self.request("DELETE", path)
        except ClusterRefusedError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def version(self) -> str:
        """Return the API server's version, like v1.35.4."""
        return str(self.request("GET", "/version").get("gitVersion", ""))

    def ensure_account(self, account: Account) -> None:
        """Make the account with its rights, or correct them."""
        for path, body in account_objects(account):
            _ = self.apply(path, body)

    def remove_rights(self, account: Account) -> None:
        """Delete the account's roles; the account and the namespace stay."""
        for path, _ in reversed(account_objects(account)[2:]):
            _ = self.delete(path)

    def remove_account(self, account: Account) -> None:
        """Delete the account with its rights, never the namespace."""
        self.remove_rights(account)
        _ = self.delete(account_objects(account)[1][0])

    def mint(self, name: str, namespace: str, lifetime: timedelta) -> Credential:
        """Mint a token that is bound to the ServiceAccount and ends by itself."""
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": int(lifetime.total_seconds())},
            },
        )
        status: dict[str, Any] = answer.get("status") or {}
        try:
            end = datetime.fromisoformat(status["expirationTimestamp"])
            return Credential(str(status["token"]), end)
        except (KeyError, ValueError) as error:
            text = f"{self.address.server}: the answer to the request for a token has no token"
            raise ClusterUnreachableError(text) from error


def account_objects(account: Account) -> list[tuple[str, dict[str, Any]]]:
    """Return path and body of each object that makes up an account, the namespace first."""
    place = account.rules_namespace or account.namespace
    namespaced = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{place}"
    wide = "/apis/rbac.authorization.k8s.io/v1"
    objects: list[tuple[str, dict[str, Any]]] = [
        (
            f"/api/v1/namespaces/{account.namespace}",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": account.namespace}},
        ),
        (
            f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account.name}},
        ),
    ]
    if account.cluster_rules:
        objects += _role(wide, account, "Cluster", account.cluster_rules)
    if account.rules:
        objects += _role(namespaced, account, "", account.rules)
    return objects


def _role(
    base: str,
    account: Account,
    prefix: str,
    rules: Sequence[Rule],
) -> list[tuple[str, dict[str, Any]]]:
    version = "rbac.authorization.k8s.io/v1"
    name = account.role or account.name
    role = {
        "apiVersion": version,
        "kind": f"{prefix}Role",
        "metadata": {"name": name},
        "rules": [rule.as_object() for rule in rules],
    }
    binding = {
        "apiVersion": version,
        "kind": f"{prefix}RoleBinding",
        "metadata": {"name": name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": f"{prefix}Role",
            "name": name,
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace},
        ],
    }
    low = prefix.lower()
    return [(f"{base}/{low}roles/{name}", role), (f"{base}/{low}rolebindings/{name}", binding)]


def kubeconfig(address: ClusterAddress, token: str, *, name: str, namespace: str = "") -> str:
    """Return a kubeconfig (JSON, which is YAML) with one context called `name`."""
    authority = base64.b64encode(address.ca_certificate.encode()).decode()
    context = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": address.server, "certificate-authority-data": authority},
            },
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    return json.dumps(content, indent=2) + "\n"


def api_client(address: ClusterAddress, token: str) -> Any:
    """Return a kubernetes.client.ApiClient whose every call is bounded and never retried."""
    from kubernetes import client

    class BoundedApiClient(client.ApiClient):
        def call_api(self, *args: Any, _request_timeout: Any = None, **kwargs: Any) -> Any:
            limit = _request_timeout or (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
            return super().call_api(*args, _request_timeout=limit, **kwargs)

    configuration = client.Configuration()
    configuration.host = address.server
    configuration.ca_cert_data = address.ca_certificate
    configuration.api_key = {"authorization": f"Bearer {token}"}
    configuration.retries = 0
    # The API server is reached in the region's own network, never by a proxy of the model.
    configuration.proxy = None
    return BoundedApiClient(configuration)


def _connect(host: str, port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT_S, context=context)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not signed by the given CA ({_ssl_text(error)})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({_ssl_text(error)})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def _ssl_text(error: ssl.SSLError) -> str:
    # Only what OpenSSL raises has these; and both may be empty.
    return str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or error)
