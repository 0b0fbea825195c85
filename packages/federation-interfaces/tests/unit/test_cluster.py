import http.client
import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from federation_interfaces.cluster import (
    Access,
    Account,
    Cluster,
    ClusterAddress,
    ClusterError,
    ClusterRefusedError,
    ClusterUnreachableError,
    Rule,
    account_objects,
    api_client,
    kubeconfig,
    read_access,
)
from federation_interfaces.kubefed_member import FederatedKind
from federation_interfaces.testing import CA
from federation_interfaces.workloads import delete_managed

ADDRESS = ClusterAddress("https://10.0.0.1:6443/base", CA)
ACCOUNT = Account(
    "agent",
    "federation-charms",
    cluster_rules=(Rule(("",), ("services",), ("get",)),),
    rules=(Rule(("",), ("secrets",), ("get",), ("one",)),),
    rules_namespace="shop",
    role="agent-role",
)


class FakeSocket:
    def settimeout(self, seconds: float) -> None:
        assert 0 < seconds < 10


class FakeResponse:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    def read(self) -> bytes:
        return self.body


class Server:
    """What answers at the other end: (method, path) to (status, body) or an error."""

    def __init__(self, answers: dict[tuple[str, str], tuple[int, Any]] | Exception) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: dict[str, str] = {}
        self.sock = FakeSocket()
        self.response = FakeResponse(500, b"")

    def __call__(
        self, host: str, port: int, context: ssl.SSLContext
    ) -> http.client.HTTPSConnection:
        assert (host, port) == ("10.0.0.1", 6443)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        return cast("http.client.HTTPSConnection", self)

    def connect(self) -> None:
        if isinstance(self.answers, Exception):
            raise self.answers

    def close(self) -> None:
        pass

    def request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> None:
        self.headers = headers
        self.asked.append((method, path, json.loads(body) if body else None))
        assert not isinstance(self.answers, Exception)
        plain = path.removeprefix("/base").partition("?")[0]
        status, answer = self.answers.get((method, plain), (200, {}))
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.response = FakeResponse(status, data)

    def getresponse(self) -> FakeResponse:
        return self.response


def cluster(server: Server) -> Cluster:
    return Cluster(ADDRESS, "word", connect=server)


class TestRequests:
    def test_the_token_goes_into_the_header_only(self):
        server = Server({("GET", "/version"): (200, {"gitVersion": "v1.35.4"})})
        assert cluster(server).version() == "v1.35.4"
        assert server.headers["Authorization"] == "Bearer word"
        assert server.asked == [("GET", "/base/version", None)]

    @pytest.mark.parametrize(
        ("error", "why"),
        [
            (TimeoutError(), "no answer in time"),
            (ConnectionRefusedError("refused"), "refused"),
            (ssl.SSLError(1, "broken"), "TLS failed"),
            (ssl.SSLCertVerificationError(1, "bad"), "not signed by the given CA"),
            (http.client.BadStatusLine("x"), "x"),
            (OSError(), "OSError"),
        ],
    )
    def test_no_answer(self, error: Exception, why: str):
        with pytest.raises(ClusterUnreachableError, match=why) as caught:
            _ = cluster(Server(error)).version()
        assert ADDRESS.server in str(caught.value)
        assert "word" not in str(caught.value)

    @pytest.mark.parametrize(
        ("body", "why"), [({"message": "forbidden"}, "forbidden"), (b"<html>", "no reason given")]
    )
    def test_a_refusal(self, body: Any, why: str):
        server = Server({("GET", "/version"): (403, body)})
        with pytest.raises(ClusterRefusedError, match=why) as caught:
            _ = cluster(server).version()
        assert caught.value.status == 403


class TestAccounts:
    def test_an_account_is_applied_with_its_rights(self):
        server = Server({})
        cluster(server).ensure_account(ACCOUNT)
        base = "/apis/rbac.authorization.k8s.io/v1"
        assert [path.removeprefix("/base").partition("?")[0] for _, path, _ in server.asked] == [
            "/api/v1/namespaces/federation-charms",
            "/api/v1/namespaces/federation-charms/serviceaccounts/agent",
            f"{base}/clusterroles/agent-role",
            f"{base}/clusterrolebindings/agent-role",
            f"{base}/namespaces/shop/roles/agent-role",
            f"{base}/namespaces/shop/rolebindings/agent-role",
        ]
        assert server.headers["Content-Type"] == "application/apply-patch+yaml"
        assert server.asked[4][2]["rules"] == [
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "verbs": ["get"],
                "resourceNames": ["one"],
            }
        ]
        assert server.asked[5][2]["subjects"] == [
            {"kind": "ServiceAccount", "name": "agent", "namespace": "federation-charms"}
        ]

    def test_an_account_is_removed_but_not_its_namespace(self):
        gone = {("DELETE", account_objects(ACCOUNT)[2][0]): (404, {"message": "gone"})}
        server = Server(gone)
        cluster(server).remove_account(ACCOUNT)
        assert [method for method, _, _ in server.asked] == ["DELETE"] * 5
        assert server.asked[-1][1].endswith("/serviceaccounts/agent")

    def test_a_refusal_to_delete_is_told(self):
        refusal = {("DELETE", account_objects(ACCOUNT)[5][0]): (403, {"message": "no"})}
        with pytest.raises(ClusterRefusedError, match="no"):
            cluster(Server(refusal)).remove_account(ACCOUNT)

    def test_tokens_are_bound_and_end(self):
        path = "/api/v1/namespaces/n/serviceaccounts/a/token"
        status = {"token": "fresh", "expirationTimestamp": "2026-11-01T12:00:00Z"}
        server = Server({("POST", path): (201, {"status": status})})
        minted = cluster(server).mint("a", "n", timedelta(hours=1))
        assert minted.token == "fresh"
        assert minted.expires_at == datetime(2026, 11, 1, 12, tzinfo=UTC)
        assert server.asked[0][2]["spec"] == {"expirationSeconds": 3600}
        assert "fresh" not in repr(minted)

    @pytest.mark.parametrize("answer", [{}, {"status": {"expirationTimestamp": "soon"}}])
    def test_an_answer_without_a_token(self, answer: dict[str, Any]):
        path = "/api/v1/namespaces/n/serviceaccounts/a/token"
        with pytest.raises(ClusterUnreachableError, match="has no token"):
            _ = cluster(Server({("POST", path): (201, answer)})).mint("a", "n", timedelta(hours=1))


class Control:
    """What kube-control's library gives."""

    def __init__(self, **changed: Any) -> None:
        self.is_ready = bool(changed.get("ready", True))
        self.token: str | None = changed.get("token", "admin")
        self.servers: list[str] = changed.get("servers", ["https://10.0.0.1:6443/"])
        self.authority: bytes | None = changed.get("authority", CA.encode())

    def get_auth_credentials(self, user: str) -> dict[str, str] | None:
        assert user == "me/0"
        return None if self.token is None else {"client_token": self.token}

    def get_api_endpoints(self) -> list[str]:
        return self.servers

    def get_ca_certificate(self) -> bytes | None:
        return self.authority


class TestAccess:
    def test_all_of_it(self):
        found = read_access(Control(), "me/0")
        assert found == Access(ClusterAddress("https://10.0.0.1:6443", CA), "admin")
        assert "admin" not in repr(found)

    def test_a_configured_ca_where_none_is_given(self):
        assert read_access(Control(authority=None), "me/0") is None
        found = read_access(Control(authority=None), "me/0", "configured")
        assert found is not None
        assert found.address.ca_certificate == "configured"

    @pytest.mark.parametrize("missing", [{"ready": False}, {"token": None}, {"servers": []}])
    def test_what_is_missing_is_waited_for(self, missing: dict[str, Any]):
        assert read_access(Control(**missing), "me/0") is None


def test_kubeconfig():
    found = json.loads(kubeconfig(ADDRESS, "word", name="catania", namespace="shop"))
    assert found["current-context"] == "catania"
    assert found["contexts"][0]["context"] == {
        "cluster": "catania",
        "user": "catania",
        "namespace": "shop",
    }
    assert found["users"][0]["user"] == {"token": "word"}


def test_the_kubernetes_client_is_bounded_and_tries_once():
    api = api_client(ADDRESS, "word")
    assert api.configuration.retries == 0
    asked: list[Any] = []

    def request(*_: Any, **given: Any) -> None:
        asked.append(given["_request_timeout"])

    api.rest_client.request = request
    api.call_api("GET", "https://10.0.0.1:6443/version")
    api.call_api("GET", "https://10.0.0.1:6443/version", _request_timeout=1)
    assert asked == [(2.0, 5.0), 1]
    api.close()


KINDS = [
    FederatedKind(version="v1", kind="Namespace", plural="namespaces", namespaced=False),
    FederatedKind(group="apps", version="v1", kind="Deployment", plural="deployments"),
]


class TestDeletingWorkloads:
    def listing(self, *names: str) -> dict[str, Any]:
        return {"items": [{"metadata": {"name": n, "namespace": "shop"}} for n in names]}

    def server(self) -> Server:
        return Server(
            {
                ("GET", "/apis/apps/v1/deployments"): (200, self.listing("web", "api")),
                ("GET", "/api/v1/namespaces"): (200, self.listing("shop")),
                ("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api"): (404, {}),
            }
        )

    def test_only_the_federations_and_namespaces_last(self):
        server = self.server()
        assert delete_managed(cluster(server), KINDS) == 2
        assert [(method, path.removeprefix("/base")) for method, path, _ in server.asked] == [
            ("GET", "/apis/apps/v1/deployments?labelSelector=kubefed.io%2Fmanaged%3Dtrue"),
            ("DELETE", "/apis/apps/v1/namespaces/shop/deployments/web"),
            ("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api"),
            ("GET", "/api/v1/namespaces?labelSelector=kubefed.io%2Fmanaged%3Dtrue"),
            ("DELETE", "/api/v1/namespaces/shop"),
        ]

    def test_it_is_bounded(self):
        clock = iter([0.0, 1.0, 30.0])
        with pytest.raises(ClusterError, match="1 objects deleted, more to go"):
            _ = delete_managed(cluster(self.server()), KINDS, clock=lambda: next(clock))
