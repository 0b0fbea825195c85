"""Access to the region's own cluster: accounts of least rights, bounded calls, sorted errors.

A charm gets the admin's token from kube-control. It uses it in memory, to make accounts and to
mint their tokens; whatever runs or is kept uses those. Plain HTTPS to the Kubernetes API does for
that: importing the Kubernetes client would cost each hook most of a second.
"""

import base64
import http.client
import json
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
MANAGER = "federation-charms"
CHARMS_NAMESPACE = "federation-charms"
"""Where the charms' own accounts live, apart from the federation's, which comes and goes."""
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
CLUSTER_ROLES = f"{_RBAC}/clusterroles"


for _name in ("kubernetes", "urllib3", "httpx", "httpcore", "asyncio", "charmlibs", "ops.charm"):
    # A charm hands each line of its log to Juju, whatever its level: these tell every request,
    # some with the answer and so with tokens.
    logging.getLogger(_name).setLevel(logging.WARNING)


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
        ends: ClusterRoles that the account may delete. What hangs on one goes with it, so the
            account can take itself away when nobody else has access any more.
    """

    name: str
    namespace: str
    cluster_rules: tuple[Rule, ...] = ()
    rules: tuple[Rule, ...] = ()
    rules_namespace: str = ""
    role: str = ""
    ends: tuple[str, ...] = ()


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
        self._connection: http.client.HTTPSConnection | None = None

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

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
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        text = None if body is None else json.dumps(body)
        try:
            connection = self._open()
            connection.request(method, urlsplit(self.address.server).path + path, text, headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ClusterUnreachableError(f"{self.address.server}: {_reason(error)}") from error
        return self._answer(response.status, data)

    def _open(self) -> http.client.HTTPSConnection:
        """Return the connection: one serves all requests, since each handshake costs a hook."""
        if self._connection is None:
            parts = urlsplit(self.address.server)
            context = ssl.create_default_context(cadata=self.address.ca_certificate)
            self._connection = self._connect(parts.hostname or "", parts.port or 443, context)
            self._connection.connect()
            self._connection.sock.settimeout(READ_TIMEOUT_S)
        return self._connection

    def _answer(self, status: int, data: bytes) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(data or b"{}")
        except ValueError:
            answer = {}
        if status < http.HTTPStatus.BAD_REQUEST:
            return answer
        message = str(answer.get("message") or "no reason given")
        raise ClusterRefusedError(f"{self.address.server}: {message} ({status})", status)

    def apply(self, path: str, body: Mapping[str, Any], manager: str = MANAGER) -> dict[str, Any]:
        """Create the object or bring it to this shape (server-side apply)."""
        query = urlencode({"fieldManager": manager, "force": "true"})
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

    def identity(self) -> str:
        """Return which cluster it is: the UID of its namespace kube-system.

        One whose etcd was lost is another one at the same address, without our accounts.
        """
        return str(self.request("GET", "/api/v1/namespaces/kube-system")["metadata"]["uid"])

    def ensure_account(self, account: Account) -> None:
        """Make the account with its rights, or correct them; all of it hangs on its ClusterRole.

        An account with several roles hangs on each, so it goes with the last.
        """
        manager = f"{MANAGER}.{account.role or account.name}"  # keeps an owner for each role
        owners: list[dict[str, str]] = []
        for path, body in account_objects(account):
            if body["kind"] == "Namespace":
                _ = self.apply(path, body)
                continue
            owned = body | {"metadata": body["metadata"] | {"ownerReferences": owners}}
            made = self.apply(path, owned if owners else body, manager)
            if body["kind"] == "ClusterRole":
                owners = [reference(made)]

    def hang(self, owner: str, paths: Iterable[str]) -> None:
        """Let objects go when their owner goes; each is given by its path."""
        references = [reference(self.request("GET", owner))]
        body = {"metadata": {"ownerReferences": references}}
        for path in paths:
            _ = self.request("PATCH", path, body, "application/merge-patch+json")

    def remove_rights(self, account: Account) -> None:
        """Delete the account's roles; the account and the namespace stay."""
        for path, body in reversed(account_objects(account)):
            if body["kind"] not in ("Namespace", "ServiceAccount"):
                _ = self.delete(path)

    def remove_account(self, account: Account) -> None:
        """Delete the account with its rights, never the namespace."""
        self.remove_rights(account)
        for path, body in account_objects(account):
            if body["kind"] == "ServiceAccount":
                _ = self.delete(path)

    def end(self, cluster_role: str) -> bool:
        """Delete a ClusterRole, and by that all that hangs on it; False if it was not there."""
        return self.delete(f"{CLUSTER_ROLES}/{cluster_role}")

    def mint(
        self, name: str, namespace: str, lifetime: timedelta, *, bound: str = ""
    ) -> Credential:
        """Mint a token that ends by itself, and with its ServiceAccount and the Secret `bound`."""
        spec: dict[str, Any] = {"expirationSeconds": int(lifetime.total_seconds())}
        if bound:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Secret", "name": bound}
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": spec,
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
    """Return path and body of each object of an account: the namespace, the owner of the rest."""
    place = account.rules_namespace or account.namespace
    namespaced = f"{_RBAC}/namespaces/{place}"
    cluster_rules = account.cluster_rules
    if account.ends:
        group = ("rbac.authorization.k8s.io",)
        cluster_rules += (Rule(group, ("clusterroles",), ("delete",), account.ends),)
    home = f"/api/v1/namespaces/{account.namespace}"
    objects: list[tuple[str, dict[str, Any]]] = [
        (
            home,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": account.namespace}},
        ),
    ]
    if cluster_rules:
        objects += _role(_RBAC, account, "Cluster", cluster_rules)
    objects.append(
        (
            f"{home}/serviceaccounts/{account.name}",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account.name}},
        ),
    )
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


def reference(owner: Mapping[str, Any]) -> dict[str, str]:
    """Return the owner reference to an object.

    Raises:
        ClusterUnreachableError: it is none, so the cluster did not answer as one.
    """
    try:
        return {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
    except KeyError as error:
        raise ClusterUnreachableError(f"the cluster's answer has no {error}") from error


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


def kubeconfig_cluster(text: str, token: str = "") -> Cluster:
    """Return the cluster of a kubeconfig that `kubeconfig` wrote, by its token or another."""
    found = json.loads(text)
    cluster = found["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    own = str(found["users"][0]["user"]["token"])
    return Cluster(ClusterAddress(cluster["server"], authority), token or own)


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
