"""Joining and leaving, and what the federation's account may do, on real API servers."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from federation_lab.cluster.control_plane import ControlPlane
from kubefed import clients, errors, install, membership, rbac
from kubefed.api import (
    CLUSTER_ROLE,
    CONFIG_MAP,
    KUBEFED_CLUSTER,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    STANDARD_KINDS,
    FederatedType,
    TargetKind,
)
from kubefed.clients import Resources
from kubefed.policy import POLICY, POLICY_BINDING
from kubernetes.client import ApiClient
from membership_harness import Member, admin, prepared, thing

pytestmark = pytest.mark.cluster

# Not the namespace of the controller's tests: both use the same clusters.
FEDERATION = "membership-test"
POD = TargetKind("", "v1", "Pod", "pods")


@pytest.fixture(scope="module")
def federation(host: ControlPlane) -> ApiClient:
    api = admin(host)
    install.install(api, namespace=FEDERATION)
    return api


@pytest.fixture(scope="module")
def member(members: list[ControlPlane]) -> Generator[Member]:
    with prepared(members[0], FEDERATION) as member:
        yield member


def register(federation: ApiClient, member: Member, **changes: Any) -> bool:
    arguments: dict[str, Any] = {
        "cluster": "palermo",
        "api_endpoint": member.plane.endpoint,
        "ca_bundle": member.plane.ca_certificate,
        "token": member.token,
        "labels": {"country": "it"},
        "namespace": FEDERATION,
    } | changes
    return membership.register(federation, **arguments)


@pytest.fixture
def joined(federation: ApiClient, member: Member) -> Generator[ApiClient]:
    register(federation, member)
    yield federation
    membership.unregister(federation, cluster="palermo", namespace=FEDERATION)


# What joins, and how often.


def test_a_cluster_joins_once_and_again(federation: ApiClient, member: Member) -> None:
    assert register(federation, member, dry_run=True) is True
    assert membership.list_clusters(federation, namespace=FEDERATION) == []
    assert register(federation, member) is True
    assert register(federation, member) is False
    assert register(federation, member, dry_run=True) is False
    [cluster] = membership.list_clusters(federation, namespace=FEDERATION)
    assert (cluster.name, cluster.ready, cluster.labels) == ("palermo", None, {"country": "it"})
    assert register(federation, member, labels={"country": "ch"}, dry_run=True) is True
    assert register(federation, member, labels={"country": "ch"}) is True
    membership.unregister(federation, cluster="palermo", namespace=FEDERATION)
    assert membership.list_clusters(federation, namespace=FEDERATION) == []
    assert secrets(federation) == []
    assert membership.unregister(federation, cluster="palermo", namespace=FEDERATION) == []


def test_labels_that_others_set_are_kept(joined: ApiClient, member: Member) -> None:
    host = Resources(joined)
    host.patch(KUBEFED_CLUSTER, "palermo", FEDERATION, {"metadata": {"labels": {"tier": "gold"}}})
    register(joined, member, labels={"country": "ch"})
    [cluster] = membership.list_clusters(joined, namespace=FEDERATION)
    assert cluster.labels == {"country": "ch", "tier": "gold"}


def test_the_same_cluster_joins_under_one_name_only(joined: ApiClient, member: Member) -> None:
    with pytest.raises(errors.AlreadyMember, match="napoli is the same cluster as palermo"):
        register(joined, member, cluster="napoli")
    assert [each.name for each in membership.list_clusters(joined, namespace=FEDERATION)] == [
        "palermo"
    ]


def test_a_new_token_takes_the_place_of_the_old(joined: ApiClient, member: Member) -> None:
    lasting = membership.lasting_token(
        member.admin.api, service_account="palermo-host", namespace=FEDERATION
    )
    assert lasting.expires_at is None
    assert register(joined, member, token=lasting.token) is True
    assert len(secrets(joined)) == 1


def test_preparing_twice_changes_nothing(member: Member) -> None:
    before = member_objects(member)
    membership.prepare_member(
        member.admin.api,
        cluster="palermo",
        host_cluster="host",
        namespace=FEDERATION,
        kinds=STANDARD_KINDS,
    )
    assert member_objects(member) == before


def test_what_was_placed_there_is_named_when_it_leaves(joined: ApiClient, member: Member) -> None:
    host = Resources(joined)
    kind = FederatedType.of(CONFIG_MAP).federated
    manifest = thing(kind, "left", "default", managed=False, spec={})
    host.create(kind, manifest)
    status = {"status": {"clusters": [{"name": "palermo"}]}}
    host.request(
        "PATCH",
        f"{kind.path('default', 'left')}/status",
        body=status,
        content_type="application/merge-patch+json",
        what="set a status",
    )
    left = membership.unregister(joined, cluster="palermo", namespace=FEDERATION)
    host.delete(kind, "left", "default")
    assert left == ["ConfigMap default/left"]


def test_an_entry_that_is_held_goes_by_force(joined: ApiClient, member: Member) -> None:
    Resources(joined).patch(
        KUBEFED_CLUSTER, "palermo", FEDERATION, {"metadata": {"finalizers": ["example.com/hold"]}}
    )
    left = membership.unregister(joined, cluster="palermo", namespace=FEDERATION)
    assert left == ["KubeFedCluster palermo: kept by its finalizers example.com/hold"]
    assert membership.unregister(joined, cluster="palermo", namespace=FEDERATION, force=True) == []
    assert membership.list_clusters(joined, namespace=FEDERATION) == []


# What is refused, how soon, and that nothing is left.


def secrets(federation: ApiClient) -> list[str]:
    return [each["metadata"]["name"] for each in Resources(federation).list(SECRET, FEDERATION)]


@contextlib.contextmanager
def refused(federation: ApiClient, kind: type[Exception], text: str) -> Generator[None]:
    started = time.monotonic()
    with pytest.raises(kind, match=text) as caught:
        yield
    assert time.monotonic() - started < 12
    assert isinstance(caught.value, errors.MembershipError)
    assert membership.list_clusters(federation, namespace=FEDERATION) == []
    assert secrets(federation) == []


def test_wrong_ca(federation: ApiClient, member: Member, host: ControlPlane) -> None:
    with refused(federation, errors.EndpointUntrusted, "can't be checked by the given CA"):
        register(federation, member, ca_bundle=host.ca_certificate)
    with refused(federation, errors.EndpointUntrusted, "holds no certificate"):
        register(federation, member, ca_bundle="palermo's CA")


def test_wrong_token(federation: ApiClient, member: Member) -> None:
    with refused(federation, errors.TokenRefused, "revoked, expired or of another"):
        register(federation, member, token="x.y.z")
    with refused(federation, errors.TokenRefused, "no token"):
        register(federation, member, token="")


def test_revoked_token(federation: ApiClient, member: Member) -> None:
    api = member.admin.api
    manifest = thing(SERVICE_ACCOUNT, "short", "default", managed=False)
    member.admin.create(SERVICE_ACCOUNT, manifest)
    token = membership.mint_token(
        api, service_account="short", namespace="default", lifetime=timedelta(minutes=10)
    ).token
    with refused(federation, errors.RightsMissing, "kube-system"):
        register(federation, member, token=token)
    member.admin.delete(SERVICE_ACCOUNT, "short", "default")
    # The API server remembers a good token for ten seconds.
    await_unauthorized(member, token)
    with refused(federation, errors.TokenRefused, "revoked"):
        register(federation, member, token=token)
    assert token not in repr(membership.Token(token, None))


def test_nobody_there(federation: ApiClient, member: Member) -> None:
    with refused(federation, errors.EndpointUnreachable, "refused"):
        register(federation, member, api_endpoint="https://127.0.0.1:1")
    with refused(federation, errors.EndpointUnreachable, "name doesn't resolve"):
        register(federation, member, api_endpoint="nowhere.invalid:6443")


def test_silence(federation: ApiClient, member: Member) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"127.0.0.1:{silent.getsockname()[1]}"
        with refused(federation, errors.EndpointUnreachable, "unreachable"):
            register(federation, member, api_endpoint=endpoint)


def await_unauthorized(member: Member, token: str) -> None:
    plane = member.plane
    account = Resources(clients.from_token(plane.endpoint, token, plane.ca_certificate))
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            account.list(CONFIG_MAP)
        except errors.Unauthorized:
            return
        except errors.Forbidden:
            time.sleep(0.5)
    raise AssertionError("the token still holds after 15 s")


def test_something_else_there(federation: ApiClient, member: Member) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>It works!</html>")

        def log_message(self, format: str, *args: Any) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            port = web.server_port
            with refused(federation, errors.NotKubernetes, "doesn't speak TLS"):
                register(federation, member, api_endpoint=f"https://127.0.0.1:{port}")
            with refused(federation, errors.NotKubernetes, "not a Kubernetes API server"):
                register(federation, member, api_endpoint=f"http://127.0.0.1:{port}")
        finally:
            web.shutdown()
            thread.join()


def test_names_and_endpoints_that_are_none(federation: ApiClient, member: Member) -> None:
    with pytest.raises(errors.UsageError, match="can't be a cluster's name"):
        register(federation, member, cluster="Palermo!")
    for endpoint in ("ftp://host", "host/path", "a b", "host:99999", ""):
        with refused(federation, errors.EndpointMalformed, "is no API endpoint"):
            register(federation, member, api_endpoint=endpoint)


def test_a_host_without_a_federation(member: Member, federation: ApiClient) -> None:
    with pytest.raises(errors.NotInstalled, match="kubefed init"):
        register(federation, member, namespace="elsewhere")
    with pytest.raises(errors.NotInstalled, match="kubefed init"):
        register(member.admin.api, member)


def test_a_refused_entry_leaves_no_token(federation: ApiClient, member: Member) -> None:
    with pytest.raises(errors.Refused, match=r"metadata.labels.*Invalid value"):
        register(federation, member, labels={"country": "not a label value!"})
    with pytest.raises(errors.EndpointMalformed, match="proxy"):
        register(federation, member, proxy_url="ftp://x")
    assert secrets(federation) == []


def test_leaving_a_dead_member_ends_and_says_what_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = clients.from_token(f"http://127.0.0.1:{silent.getsockname()[1]}", "none")
        started = time.monotonic()
        left = membership.remove_member(
            api, cluster="napoli", host_cluster="host", namespace=FEDERATION, keep_namespace=False
        )
        assert time.monotonic() - started < 12
    assert left[0].startswith("ClusterRoleBinding kubefed-controller-manager:napoli-host: ")
    assert len(left) == 11


def member_objects(member: Member) -> str:
    """Everything that preparing makes, with its versions."""
    name = "kubefed-controller-manager:palermo-host"
    found = [
        member.admin.get(NAMESPACE, FEDERATION),
        member.admin.get(SERVICE_ACCOUNT, "palermo-host", FEDERATION),
        member.admin.get(CLUSTER_ROLE, name),
        member.admin.get(rbac.CLUSTER_ROLE_BINDING, name),
        member.admin.get(POLICY_BINDING, "kubefed-palermo-host"),
        # Its status comes a little later, from the cluster's controller manager.
        (member.admin.get(POLICY, "kubefed-palermo-host") or {})["spec"],
    ]
    assert None not in found
    return json.dumps(found)
