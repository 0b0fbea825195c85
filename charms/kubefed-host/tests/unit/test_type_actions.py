import dataclasses
import json
from typing import Any

import federation_types
import pytest
from federation_interfaces.access import Access
from federation_interfaces.cluster import ClusterAddress
from federation_interfaces.kubefed_member import FederatedKind
from federation_interfaces.testing import CA
from host_world import PALERMO, Context, World, act, again, state, written
from kubefed import enable, errors, placing
from kubefed.api import CONFIG_MAP, NAMESPACE, SECRET, FederatedType, TargetKind, TypeConfig
from kubefed_host import Settings
from ops import testing

BOX = FederatedType.of(TargetKind("example.com", "v1", "Box", "boxes"))
PLAIN = """
{apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: shop}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}}
"""


class Library:
    """kubefed's types and objects, remembered instead of made."""

    def __init__(self) -> None:
        self.types = [FederatedType.of(kind) for kind in (NAMESPACE, CONFIG_MAP, SECRET)]
        self.error: errors.KubefedError | None = None
        self.put: list[Any] = []

    def enabled_types(self, api: Any, *, namespace: str) -> list[TypeConfig]:
        return [TypeConfig(each) for each in self.types]

    def enable(self, api: Any, directive: Any, *, namespace: str) -> FederatedType:
        if self.error:
            raise self.error
        if BOX not in self.types:
            self.types.append(BOX)
        return BOX

    def disable(
        self, api: Any, directive: Any, *, namespace: str, delete_crd: bool
    ) -> FederatedType:
        if self.error:
            raise self.error
        if BOX not in self.types:
            raise errors.NotFound("boxes is not federated")
        self.types.remove(BOX)
        return BOX

    def put_object(self, host: Any, kind: Any, manifest: Any, *, renew: bool) -> str:
        if self.error:
            raise self.error
        self.put.append((kind.kind, manifest["metadata"], renew))
        return "created"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    for name in ("enabled_types", "enable", "disable"):
        monkeypatch.setattr(enable, name, getattr(found, name))
    monkeypatch.setattr(placing, "put", found.put_object)
    return found


def told(out: testing.State) -> list[str]:
    return [each["kind"] for each in written(out, PALERMO).get("kinds", [])]


class TestTypes:
    def test_a_kind_comes_and_the_members_are_told(
        self, ctx: Context, world: World, library: Library
    ):
        out = again(ctx, state())
        assert told(out) == []
        out = act(ctx, out, "enable-type", type="boxes")
        assert ctx.action_results == {
            "type": "boxes.example.com",
            "federated": "federatedboxes.types.kubefed.io",
            "state": "enabled",
        }
        assert told(out) == ["Namespace", "ConfigMap", "Secret", "Box"]
        out = again(ctx, out)
        assert "Box" in told(out)
        _ = act(ctx, out, "enable-type", type="boxes")
        assert (ctx.action_results or {})["state"] == "already enabled"

    def test_a_kind_goes_and_the_members_are_told(
        self, ctx: Context, world: World, library: Library
    ):
        given = {"type": "boxes", "delete-kind": False}
        out = act(ctx, again(ctx, state()), "enable-type", type="boxes")
        out = act(ctx, out, "disable-type", **given)
        assert ctx.action_results == {"type": "boxes.example.com", "state": "disabled"}
        assert told(out) == ["Namespace", "ConfigMap", "Secret"]
        _ = act(ctx, out, "disable-type", **given)
        assert ctx.action_results == {"type": "boxes", "state": "not federated"}

    @pytest.mark.parametrize("name", ["enable-type", "disable-type"])
    def test_a_refusal_is_the_actions_failure(
        self, ctx: Context, world: World, library: Library, name: str
    ):
        out = again(ctx, state())
        library.error = errors.AskOperator("FederatedBox still has 3 objects")
        given = {"type": "boxes"} | ({"delete-kind": True} if name == "disable-type" else {})
        with pytest.raises(testing.ActionFailed, match="still has 3 objects"):
            _ = act(ctx, out, name, **given)

    @pytest.mark.parametrize(
        ("changed", "text"),
        [({"leader": False}, "on the leader"), ({}, "API is not installed yet")],
    )
    def test_what_is_missing(
        self, ctx: Context, world: World, library: Library, changed: dict[str, Any], text: str
    ):
        out = dataclasses.replace(state(), **changed)
        with pytest.raises(testing.ActionFailed, match=text):
            _ = act(ctx, out, "enable-type", type="boxes")


class TestFederate:
    def test_a_manifest(self, ctx: Context, world: World, library: Library):
        _ = act(ctx, again(ctx, state()), "federate", manifest=PLAIN)
        results = ctx.action_results or {}
        assert json.loads(results["objects"]) == {"FederatedConfigMap shop/web": "created"}
        assert json.loads(results["left-out"]) == {
            "ConfigMap shop/kube-root-ca.crt": "every namespace has its own"
        }
        meta = {"name": "web", "namespace": "shop"}
        assert library.put == [("FederatedConfigMap", meta, True)]

    @pytest.mark.parametrize(
        ("manifest", "text"),
        [
            ("a: [", "not YAML"),
            ("{kind: X}", "not a Kubernetes object"),
            ("{apiVersion: a.b/v1, kind: Box, metadata: {name: x}}", "enable-type for each"),
            ("{apiVersion: v1, kind: Secret, metadata: {name: x}}", "takes no Secret"),
            (
                "{apiVersion: types.kubefed.io/v1beta1, kind: FederatedSecret, "
                "metadata: {name: x}}",
                "takes no Secret",
            ),
        ],
    )
    def test_a_manifest_that_is_refused(
        self, ctx: Context, world: World, library: Library, manifest: str, text: str
    ):
        with pytest.raises(testing.ActionFailed, match=text):
            _ = act(ctx, again(ctx, state()), "federate", manifest=manifest)
        assert library.put == []


def test_kinds_are_those_of_the_databag(library: Library) -> None:
    access = Access(ClusterAddress("https://127.0.0.1:1", CA), "admin-token")
    library.types = [BOX]
    [found] = federation_types.kinds(access, Settings())
    assert found == FederatedKind(
        group="example.com", version="v1", kind="Box", plural="boxes", namespaced=True
    )
