"""Which clusters may join without losing what they hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubefed import errors
from kubefed.api import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    FederatedType,
    Manifest,
    Scope,
    TargetKind,
    TypeConfig,
)
from kubefed.membership import held_orphans, let_go, refuse_orphans
from kubernetes.client import ApiClient

FEDERATION = "federation"
KINDS = (CONFIG_MAP, DEPLOYMENT, NAMESPACE)


@dataclasses.dataclass
class Server:
    """An API server: its objects by kind, each as "namespace/name" or "name"."""

    objects: dict[str, list[str]]
    types: list[TypeConfig] = dataclasses.field(default_factory=list[TypeConfig])
    refuses: set[str] = dataclasses.field(default_factory=set[str])
    asked: list[tuple[str, Mapping[str, str]]] = dataclasses.field(default_factory=list[Any])
    configuration: Any = dataclasses.field(
        default_factory=lambda: SimpleNamespace(host="https://x")
    )


class Resources:
    """`kubefed.clients.Resources`, on a `Server`."""

    def __init__(self, server: Server, *, timeout_s: float = 10.0) -> None:
        assert timeout_s <= 10
        self.server = server

    def list(self, kind: TargetKind, namespace: str) -> list[Manifest]:
        assert (kind.kind, namespace) == ("FederatedTypeConfig", FEDERATION)
        return [each.to_object(FEDERATION) for each in self.server.types]

    def get(self, kind: TargetKind, name: str, namespace: str | None) -> Manifest | None:
        self._refuse(kind)
        key = f"{namespace}/{name}" if namespace else name
        return {} if key in self.server.objects.get(kind.kind, []) else None

    def request(
        self, method: str, path: str, *, query: Mapping[str, str], accept: str, what: str
    ) -> Manifest:
        assert (method, accept.partition(";")[2][:2]) == ("GET", "as")
        federated = tuple(FederatedType.of(each).federated for each in KINDS)
        asked = what.removeprefix("list ")
        kind = next(each for each in (*KINDS, *federated) if each.full_name == asked)
        self._refuse(kind)
        self.server.asked.append((path, query))
        names = [each.rpartition("/") for each in self.server.objects.get(kind.kind, [])]
        items = [{"namespace": place, "name": name} for place, _, name in names]
        return {"items": [{"metadata": each} for each in items]}

    def _refuse(self, kind: TargetKind) -> None:
        if kind.kind in self.server.refuses:
            raise errors.Forbidden(f"cannot read {kind.kind}")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    import kubefed.membership.orphans as module

    monkeypatch.setattr(module, "Resources", Resources)


def host(**objects: list[str]) -> Server:
    return Server(objects, [TypeConfig(FederatedType.of(kind)) for kind in KINDS])


def look(registry: Server, member: Server, scope: str = Scope.CLUSTER) -> tuple[str, ...]:
    apis = cast("ApiClient", registry), cast("ApiClient", member)
    return held_orphans(*apis, namespace=FEDERATION, scope=scope)


MEMBER = {"Namespace": ["shop"], "Deployment": ["shop/web"], "ConfigMap": ["shop/web", "shop/b"]}


def test_a_host_that_knows_none_would_let_go_of_all() -> None:
    assert look(host(), Server(MEMBER)) == (
        "Namespace shop",
        "ConfigMap shop/web",
        "ConfigMap shop/b",
        "Deployment shop/web",
    )


@pytest.mark.parametrize(
    "known",
    [
        {"FederatedDeployment": ["shop/web"]},
        {"FederatedConfigMap": ["shop/b"]},
        {"FederatedNamespace": ["shop/shop"], "FederatedConfigMap": ["shop/b"]},
    ],
)
def test_one_that_is_known_shows_that_they_belong_together(known: dict[str, list[str]]) -> None:
    assert look(host(**known), Server(MEMBER)) == ()


@pytest.mark.parametrize(
    "known",
    [
        {"FederatedNamespace": ["till/till"]},
        {"FederatedDeployment": ["till/web"]},
        {"FederatedConfigMap": ["shop/c"], "FederatedDeployment": ["shop/b"]},
    ],
)
def test_something_else_in_the_host_does_not(known: dict[str, list[str]]) -> None:
    assert "Deployment shop/web" in look(host(**known), Server(MEMBER))


def test_a_namespace_may_have_its_name_by_chance() -> None:
    """What is in it tells."""
    member = Server(MEMBER | {"Namespace": ["shop", "till"]})
    assert look(host(FederatedNamespace=["shop/shop"]), member) == (
        "Namespace till",
        "ConfigMap shop/web",
        "ConfigMap shop/b",
        "Deployment shop/web",
    )


def test_where_namespaces_are_all_that_is_held_one_is_enough() -> None:
    member = Server({"Namespace": ["shop", "till"]})
    assert look(host(FederatedNamespace=["shop/shop"]), member) == ()


class TestLetGo:
    """What is lost where the two belong together: after a restore that was partial, say."""

    def look(
        self, registry: Server, member: Server, scope: str = Scope.CLUSTER
    ) -> tuple[str, ...]:
        apis = cast("ApiClient", registry), cast("ApiClient", member)
        return let_go(*apis, namespace=FEDERATION, scope=scope)

    def test_all_that_the_host_does_not_know(self) -> None:
        registry = host(
            FederatedNamespace=["shop/shop"], FederatedConfigMap=["shop/b", "till/web"]
        )
        assert self.look(registry, Server(MEMBER)) == (
            "ConfigMap shop/web",
            "Deployment shop/web",
        )

    def test_it_is_counted_to_the_end(self) -> None:
        many = [f"shop/{number}" for number in range(1000)]
        member = Server({"ConfigMap": [*many, "shop/b"]})
        assert len(self.look(host(FederatedConfigMap=["shop/b"]), member)) == 1000
        assert all("limit" not in query for _, query in member.asked)

    def test_a_host_is_asked_only_for_what_is_held(self) -> None:
        registry = host()
        assert self.look(registry, Server({"Deployment": ["shop/web"]})) == (
            "Deployment shop/web",
        )
        assert len(registry.asked) == 1

    def test_what_may_not_be_read_can_not_be_let_go_of(self) -> None:
        member = Server(MEMBER, refuses={"Deployment", "Namespace"})
        assert self.look(host(), member) == ("ConfigMap shop/web", "ConfigMap shop/b")

    def test_in_a_namespaced_federation(self) -> None:
        registry, member = host(), Server({"ConfigMap": [f"{FEDERATION}/a"]})
        assert self.look(registry, member, Scope.NAMESPACED) == (f"ConfigMap {FEDERATION}/a",)
        assert {path.split("/")[-2] for path, _ in registry.asked} == {FEDERATION}


def test_a_cluster_without_a_federations_objects_joins_any_host() -> None:
    member = Server({})
    assert look(host(FederatedNamespace=["shop/shop"]), member) == ()
    assert look(host(), member) == ()
    assert {query["labelSelector"] for _, query in member.asked} == {"kubefed.io/managed=true"}
    assert all(int(query["limit"]) <= 100 for _, query in member.asked)


def test_what_is_not_carried_is_not_let_go_of() -> None:
    registry = host()
    registry.types = [
        dataclasses.replace(each, propagation=each.type.target == CONFIG_MAP)
        for each in registry.types
    ]
    assert look(registry, Server({"Deployment": ["shop/web"]})) == ()


def test_what_the_account_may_not_read_it_can_not_let_go_of() -> None:
    member = Server(MEMBER, refuses={"Deployment", "Namespace"})
    assert look(host(), member) == ("ConfigMap shop/web", "ConfigMap shop/b")


def test_a_namespaced_federation_looks_at_its_namespace() -> None:
    member = Server({})
    _ = look(host(), member, Scope.NAMESPACED)
    assert f"/api/v1/namespaces/{FEDERATION}/configmaps" in [path for path, _ in member.asked]


def test_the_refusal_names_the_thing_and_the_mends() -> None:
    apis = cast("ApiClient", host()), cast("ApiClient", Server(MEMBER))
    with pytest.raises(errors.HoldsOrphans) as caught:
        refuse_orphans(*apis, cluster="palermo", namespace=FEDERATION)
    assert str(caught.value) == (
        "palermo holds objects of a federation of which this host has none (Namespace shop, "
        "ConfigMap shop/web, ConfigMap shop/b, ...) and would let go of; restore that federation "
        "first, or join with --release-orphans to begin without them"
    )
    assert "Deployment shop/web" in caught.value.objects
    assert isinstance(caught.value, errors.AskOperator)


def test_a_member_that_trickles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import kubefed.membership.orphans as module

    moments = iter((0.0, 5.0, 11.0))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    with pytest.raises(errors.RetryLater, match="does not say within 10 s what it holds"):
        _ = look(host(), Server({}))
