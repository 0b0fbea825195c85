from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from kubefed import errors
from kubefed.api import CONFIG_MAP, NAMESPACE, FederatedType, Manifest, TargetKind
from kubefed.clients import Resources
from kubefed.dryrun import planned
from kubefed.install import CRD
from kubernetes.client import ApiClient

FEDERATED = FederatedType.of(CONFIG_MAP).federated


class Cluster(Resources):
    """An API server in a dictionary, which checks what a dry run may not change."""

    def __init__(self, *, dry_run: bool = True) -> None:
        super().__init__(ApiClient(), dry_run=dry_run)
        self.found: dict[str, Manifest] = {
            NAMESPACE.path(name="shop"): config("shop"),
            CONFIG_MAP.path("shop", "old"): config("old", data={"a": "b"}),
        }

    def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        body: Manifest | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Manifest:
        if method == "DELETE" and self.dry_run:
            # The URL's dryRun isn't read where there is a body.
            assert (body or {}).get("dryRun") == ["All"]
        # It has one namespace and no federation.
        unhoused = "/namespaces/new/" in path or path.startswith("/apis/types.kubefed.io/")
        if unhoused or (method in ("GET", "DELETE") and path not in self.found):
            raise errors.NotFound(what)
        return {**self.found.get(path, {}), **(body or {})}


def config(name: str, namespace: str = "shop", **fields: Any) -> Manifest:
    return {"metadata": {"name": name, "namespace": namespace}, **fields}


def test_steps_are_told_and_nothing_is_told_of_what_stays() -> None:
    with planned() as plan:
        cluster = Cluster()
        cluster.create(CONFIG_MAP, config("made"))
        cluster.put(CONFIG_MAP, config("put"))
        assert not cluster.apply(CONFIG_MAP, config("old", data={"a": "b"}))
        assert cluster.apply(CONFIG_MAP, config("old", data={"a": "c"}))
        cluster.patch(CONFIG_MAP, "old", "shop", {"data": {"a": "d"}})
        assert cluster.delete(CONFIG_MAP, "old", "shop")
        assert not cluster.delete(CONFIG_MAP, "nothing", "shop")
    assert plan.steps == [
        "create ConfigMap shop/made",
        "create ConfigMap shop/put",
        "change ConfigMap shop/old",
        "delete ConfigMap shop/old",
    ]


def test_what_lives_in_something_that_would_be_made_is_passed_over() -> None:
    with planned() as plan:
        cluster = Cluster()
        with pytest.raises(errors.NotFound):
            cluster.create(CONFIG_MAP, config("a", "new"))
        cluster.create(NAMESPACE, {"metadata": {"name": "new"}})
        cluster.create(CONFIG_MAP, config("a", "new"))
        assert cluster.apply(CONFIG_MAP, config("b", "new"))
        with pytest.raises(errors.NotFound):
            cluster.put(FEDERATED, config("c"))
        cluster.put(CRD, {"metadata": {"name": FEDERATED.full_name}})
        cluster.put(FEDERATED, config("c"))
    assert plan.steps[-1] == "create FederatedConfigMap shop/c"


def test_plans_of_blocks_stay_apart() -> None:
    with planned() as first:
        Cluster().create(CONFIG_MAP, config("a"))
    with planned() as second:
        Cluster().create(CONFIG_MAP, config("b"))
    Cluster().create(CONFIG_MAP, config("c"))
    assert first.steps == ["create ConfigMap shop/a"]
    assert second.steps == ["create ConfigMap shop/b"]


def test_a_home_of_another_name_houses_nothing() -> None:
    with planned() as plan:
        plan.note("create", NAMESPACE, "new")
        plan.note("change", NAMESPACE, "shop")
    other = TargetKind("example.com", "v1", "Widget", "widgets")
    assert plan.will_house(CONFIG_MAP, "new")
    assert not plan.will_house(CONFIG_MAP, "shop")
    assert not plan.will_house(other, None)
