import dataclasses
import http.client
import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from federation_interfaces.cluster import (
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
    kubeconfig_cluster,
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
        self.connects = 0
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
        self.connects += 1
        if isinstance(self.answers, Exception):
            raise self.answers

    def close(self) -> None:
        pass

    def request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> None:
        self.headers = headers
        self.asked.append((method, path, json.loads(body) if body else None))
        if isinstance(self.answers, Exception):
            raise self.answers
        plain = path.removeprefix("/base").partition("?")[0]
        made = {**(json.loads(body) if body else {}), "kind": "Made", "apiVersion": "v1"}
        made["metadata"] = {"name": plain.rpartition("/")[2], "uid": "id-1"}
        status, answer = self.answers.get((method, plain), (200, made))
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.response = FakeResponse(status, data)

    def getresponse(self) -> FakeResponse:
        return self.response


def cluster(server: Server) -> Cluster:
    return Cluster(ADDRESS, "word", connect=server)


class TestRequests:
    def test_one_connection_serves_all_and_a_broken_one_is_left(self):
        server = Server({})
        one = cluster(server)
        _ = one.version(), one.version()
        assert server.connects == 1
        server.answers = ConnectionResetError("reset")
        with pytest.raises(ClusterUnreachableError):
            _ = one.version()
        server.answers = {}
        _ = one.version()
        assert server.connects == 2

    def test_which_cluster_it_is(self):
        path = "/api/v1/namespaces/kube-system"
        server = Server({("GET", path): (200, {"metadata": {"uid": "its-uid"}})})
        assert cluster(server).identity() == "its-uid"

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
            f"{base}/clusterroles/agent-role",
            f"{base}/clusterrolebindings/agent-role",
            "/api/v1/namespaces/federation-charms/serviceaccounts/agent",
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

    def test_all_of_it_hangs_on_its_cluster_role(self):
        server = Server({})
        cluster(server).ensure_account(ACCOUNT)
        owner = {"apiVersion": "v1", "kind": "Made", "name": "agent-role", "uid": "id-1"}
        owners = [body["metadata"].get("ownerReferences") for _, _, body in server.asked]
        assert owners == [None, None, *[[owner]] * 4]
        managers = {path.partition("fieldManager=")[2] for _, path, _ in server.asked[1:]}
        assert managers == {"federation-charms.agent-role&force=true"}

    def test_it_may_end_itself(self):
        server = Server({})
        may = dataclasses.replace(ACCOUNT, ends=("agent-role",))
        cluster(server).ensure_account(may)
        assert server.asked[1][2]["rules"][-1] == {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles"],
            "verbs": ["delete"],
            "resourceNames": ["agent-role"],
        }
        assert cluster(server).end("agent-role")
        assert server.asked[-1][:2] == (
            "DELETE",
            "/base/apis/rbac.authorization.k8s.io/v1/clusterroles/agent-role",
        )

    def test_objects_that_others_made_are_hung_on_an_owner(self):
        server = Server({})
        cluster(server).hang("/owner", ["/one", "/two"])
        assert [(method, path) for method, path, _ in server.asked] == [
            ("GET", "/base/owner"),
            ("PATCH", "/base/one"),
            ("PATCH", "/base/two"),
        ]
        assert server.headers["Content-Type"] == "application/merge-patch+json"
        with pytest.raises(ClusterUnreachableError, match="no 'metadata'"):
            cluster(Server({("GET", "/owner"): (200, {"apiVersion": "v1", "kind": "X"})})).hang(
                "/owner", []
            )

    def test_an_account_is_removed_but_not_its_namespace(self):
        gone = {("DELETE", account_objects(ACCOUNT)[1][0]): (404, {"message": "gone"})}
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


def test_kubeconfig():
    found = json.loads(kubeconfig(ADDRESS, "word", name="catania", namespace="shop"))
    assert found["current-context"] == "catania"
    assert found["contexts"][0]["context"] == {
        "cluster": "catania",
        "user": "catania",
        "namespace": "shop",
    }
    assert found["users"][0]["user"] == {"token": "word"}
    text = json.dumps(found)
    assert kubeconfig_cluster(text).address == ADDRESS
    assert kubeconfig_cluster(text, "other").address == ADDRESS


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
        carried = "kubefed.io%2Fmanaged%3Dtrue%2Ckubefed.io%2Fsource%21%3Dtrue"
        assert [(method, path.removeprefix("/base")) for method, path, _ in server.asked] == [
            ("GET", f"/apis/apps/v1/deployments?labelSelector={carried}"),
            ("DELETE", "/apis/apps/v1/namespaces/shop/deployments/web"),
            ("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api"),
            ("GET", f"/api/v1/namespaces?labelSelector={carried}"),
            ("DELETE", "/api/v1/namespaces/shop"),
        ]

    def test_it_is_bounded(self):
        clock = iter([0.0, 1.0, 30.0])
        with pytest.raises(ClusterError, match="1 objects deleted, more to go"):
            _ = delete_managed(cluster(self.server()), KINDS, clock=lambda: next(clock))
