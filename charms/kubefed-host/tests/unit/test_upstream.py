"""Upstream's manifests, and the actions on them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import ops
import pytest
import upstream_manifests
import yaml
from federation_interfaces.access import Access
from federation_interfaces.cluster import ClusterAddress
from federation_interfaces.testing import CA
from host_world import Context, World, act, again, state
from kubefed_host import HostError
from lightkube.core.exceptions import ApiError
from ops import testing
from upstream_facts import RELEASES, Facts, groups_of, state_of
from upstream_manifests import UpstreamManifests

UPSTREAM = {"control-plane": "upstream"}
FACTS = Facts("kubefed-host", "fed", "registry.example.org/kubefed:v0.10.0", "c1")
NAME = "kubefed-controller-manager"
# By kind and verb; what upstream was seen to need, and nothing else.
RIGHTS = {
    "clusterpropagatedversions": "create get list watch",
    "clusterpropagatedversions/status": "update",
    "configmaps": "create",
    f"configmaps/{NAME}": "get update",
    "events": "create patch",
    "federatedservicestatuses": "create get list update watch",
    "federatedtypeconfigs": "get list patch update watch",
    "federatedtypeconfigs/status": "update",
    "kubefedclusters": "get list watch",
    "kubefedclusters/status": "update",
    "kubefedconfigs": "get",
    "namespaces": "get list watch",
    "propagatedversions": "create get list watch",
    "propagatedversions/status": "update",
    "replicaschedulingpreferences": "get list watch",
    "secrets": "get",
    "types.kubefed.io/*": "get list patch update watch",
}


class FakeClient:
    """lightkube's client, on objects in memory."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Any] = {}
        self.refuse: Exception | None = None

    def apply(self, obj: Any, *, force: bool) -> Any:
        assert force
        if self.refuse:
            raise self.refuse
        obj.metadata.uid = "uid-1"
        self.objects[type(obj).__name__, obj.metadata.name] = obj
        return obj

    def get(self, kind: Any, name: str, *, namespace: str | None = None) -> Any:
        if (kind.__name__, name) not in self.objects:
            raise ApiError(response=answer(404, "not found"))
        return self.objects[kind.__name__, name]

    def list(
        self,
        kind: Any,
        *,
        namespace: str | None,
        labels: dict[str, str],
        fields: dict[str, str] | None = None,
    ) -> Iterator[Any]:
        if self.refuse:
            raise self.refuse
        name = (fields or {}).get("metadata.name")
        for (known, called), obj in list(self.objects.items()):
            mine = labels.items() <= (obj.metadata.labels or {}).items()
            if known == kind.__name__ and mine and name in (None, called):
                yield obj

    def delete(self, kind: Any, name: str, *, namespace: str | None = None) -> None:
        del self.objects[kind.__name__, name]


def answer(status: int, message: str) -> httpx.Response:
    request = httpx.Request("GET", "https://x")
    return httpx.Response(status, json={"message": message, "code": status}, request=request)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    found = FakeClient()
    monkeypatch.setattr(UpstreamManifests, "client", found)
    return found


def manifests(facts: Facts = FACTS) -> UpstreamManifests:
    model = mock.Mock(spec=ops.Model)
    model.app.name = "kubefed-host"
    return UpstreamManifests(model, Access(ClusterAddress("https://x", CA), "t"), facts)


def objects(client: FakeClient, facts: Facts = FACTS) -> dict[str, Any]:
    manifests(facts).deploy()
    return {kind: obj.to_dict() for (kind, _), obj in client.objects.items()}


class TestManifests:
    def test_all_is_in_the_federations_namespace_and_hangs_on_the_role(self, client: FakeClient):
        found = objects(client)
        assert found.keys() == {
            *("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"),
            *("Deployment", "Service", "NetworkPolicy"),
        }
        for kind, each in found.items():
            assert each["metadata"].get("namespace") == (None if "Cluster" in kind else "fed")
            assert each["metadata"]["labels"]["juju.io/application"] == "kubefed-host"
            owners = each["metadata"].get("ownerReferences") or []
            assert [owner["uid"] for owner in owners] == (
                [] if kind == "ClusterRole" else ["uid-1"]
            )
        for kind in ("ClusterRoleBinding", "RoleBinding"):
            assert found[kind]["subjects"][0]["namespace"] == "fed"

    def test_its_rights_are_these(self, client: FakeClient):
        found = objects(client)
        rights: dict[str, set[str]] = {}
        for kind in ("ClusterRole", "Role"):
            for rule in found[kind]["rules"]:
                [name] = rule.get("resourceNames") or [""]
                for resource in rule["resources"]:
                    what = f"{rule['apiGroups'][0]}/*" if resource == "*" else resource
                    key = f"{what}/{name}" if name else what
                    rights.setdefault(key, set()).update(rule["verbs"])
        assert {key: " ".join(sorted(verbs)) for key, verbs in rights.items()} == RIGHTS
        # The members' tokens in the federation's namespace only.
        cluster_wide = [r for rule in found["ClusterRole"]["rules"] for r in rule["resources"]]
        assert not {"secrets", "configmaps", "kubefedclusters"} & set(cluster_wide)

    def test_further_groups_of_types(self, client: FakeClient):
        groups = ("types.example.org", "types.kubefed.io")
        found = objects(client, dataclasses.replace(FACTS, groups=groups))
        rules = [r for r in found["ClusterRole"]["rules"] if r["resources"] == ["*"]]
        assert [rule["apiGroups"] for rule in rules] == [list(groups)]

    def test_the_pods_are_restricted_as_pod_security_has_it(self, client: FakeClient):
        pod = objects(client)["Deployment"]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["image"] == FACTS.image
        # The image's own program runs, whatever its path in a copy.
        assert "command" not in container

    def test_a_change_of_kubefedconfig_starts_it_anew(self, client: FakeClient):
        before = objects(client)["Deployment"]
        after = objects(client, dataclasses.replace(FACTS, config="c2"))["Deployment"]
        for path in (("metadata",), ("spec", "template", "metadata")):
            one, two = before, after
            for key in path:
                one, two = one[key], two[key]
            assert one["annotations"] != two["annotations"]

    def test_the_release_that_is_named_is_there(self):
        release = (RELEASES / "version").read_text().strip()
        assert (RELEASES / "manifests" / release).is_dir()

    def test_the_service_finds_the_pods(self, client: FakeClient):
        found = objects(client)
        labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
        assert found["Service"]["spec"]["selector"].items() <= labels.items()
        policy = found["NetworkPolicy"]["spec"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        assert policy["ingress"] == [{"ports": [{"port": "metrics"}]}]

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (ApiError(response=answer(403, "roles is forbidden")), "roles is forbidden"),
            (httpx.ConnectTimeout("timed out"), "timed out"),
        ],
    )
    def test_a_refusal(self, client: FakeClient, error: Exception, text: str):
        client.refuse = error
        with pytest.raises(HostError, match=rf"Failed Applying ClusterRole/.*: {text}"):
            manifests().deploy()

    def test_the_client_is_bounded_and_trusts_the_ca_alone(self):
        found = manifests().client
        assert found.config.cluster.server == "https://x"
        assert found.config.user is not None
        assert found.config.user.token == "t"


DEPLOYMENT: dict[str, Any] = {
    "metadata": {"generation": 2},
    "spec": {"replicas": 2},
    "status": {"observedGeneration": 2, "updatedReplicas": 2, "readyReplicas": 2},
}


class TestState:
    def test_complete(self):
        assert state_of(DEPLOYMENT, []).trouble == ""

    def test_a_change_that_is_not_seen_yet(self):
        newer = DEPLOYMENT | {"metadata": {"generation": 3}}
        assert state_of(newer, []).ready == 0

    def test_ready_pods_of_before_a_change_do_not_count(self):
        status = {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 2}
        assert state_of(DEPLOYMENT | {"status": status}, []).ready == 1

    @pytest.mark.parametrize(
        ("pod", "why"),
        [
            (
                {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
                ": CrashLoopBackOff",
            ),
            ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
            (
                {
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "no nodes",
                        }
                    ]
                },
                ": Unschedulable: no nodes",
            ),
        ],
    )
    def test_why_pods_do_not_come(self, pod: dict[str, Any], why: str):
        found = state_of(DEPLOYMENT | {"status": {"observedGeneration": 2}}, [{"status": pod}])
        assert found.trouble == f"upstream's controller manager: 0 of 2 pods ready{why}"

    def test_why_there_are_no_pods(self):
        failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
        status = {"observedGeneration": 2, "conditions": [failure]}
        assert state_of(DEPLOYMENT | {"status": status}, []).problem == "FailedCreate"

    def test_groups(self):
        assert groups_of([]) == ("types.kubefed.io",)


class TestActions:
    @pytest.fixture
    def out(self, ctx: Context, world: World, client: FakeClient) -> testing.State:
        found = again(ctx, state(config=UPSTREAM))
        manifests(world.deployed[0]).deploy()
        return found

    def test_versions(self, ctx: Context, world: World):
        out = again(ctx, state())
        _ = act(ctx, out, "list-versions")
        assert ctx.action_results == {"kubefed-versions": "v0.10.0", "deployed": "none"}
        assert world.service
        out = again(ctx, dataclasses.replace(out, config=UPSTREAM))
        _ = act(ctx, out, "list-versions")
        assert ctx.action_results == {"kubefed-versions": "v0.10.0", "deployed": "v0.10.0"}

    def test_resources_are_listed(self, ctx: Context, client: FakeClient, out: testing.State):
        del client.objects["Service", f"{NAME}-metrics-service"]
        client.objects["Role", NAME].metadata.labels = {}
        act(ctx, out, "list-resources", resources="")
        results = ctx.action_results or {}
        role = f"Role/kube-federation-system/{NAME}"
        service = f"Service/kube-federation-system/{NAME}-metrics-service"
        assert results["kubefed-missing"].splitlines() == [role, service]
        assert results["kubefed-conflicting"] == role
        assert len(results["kubefed-correct"].splitlines()) == 6
        act(ctx, out, "list-resources", resources="Deployment ClusterRole")
        assert ctx.action_results == {
            "kubefed-correct": f"ClusterRole/{NAME}\nDeployment/kube-federation-system/{NAME}"
        }

    def test_resources_are_put_right(self, ctx: Context, client: FakeClient, out: testing.State):
        del client.objects["Service", f"{NAME}-metrics-service"]
        client.objects["Deployment", NAME].spec.replicas = 0
        act(ctx, out, "sync-resources", resources="")
        assert len((ctx.action_results or {})["kubefed-correct"].splitlines()) == 8
        assert client.objects["Deployment", NAME].spec.replicas == 2

    def test_left_overs_are_scrubbed(self, ctx: Context, client: FakeClient, out: testing.State):
        old = client.objects["Service", f"{NAME}-metrics-service"]
        left = type(old).from_dict(old.to_dict() | {"metadata": old.metadata.to_dict()})
        left.metadata.name = "former"
        client.objects["Service", "former"] = left
        act(ctx, out, "list-resources", resources="")
        assert (ctx.action_results or {})["kubefed-extra"] == (
            "Service/kube-federation-system/former"
        )
        act(ctx, out, "scrub-resources", resources="Role")
        assert ("Service", "former") in client.objects
        act(ctx, out, "scrub-resources", resources="")
        assert ("Service", "former") not in client.objects
        assert len(client.objects) == 8

    @pytest.mark.parametrize("action", ["list-resources", "sync-resources", "scrub-resources"])
    def test_what_is_missing(
        self, ctx: Context, world: World, client: FakeClient, out: testing.State, action: str
    ):
        with pytest.raises(testing.ActionFailed, match="run this action on the leader"):
            act(ctx, dataclasses.replace(out, leader=False), action, resources="")
        embedded = dataclasses.replace(out, config={})
        with pytest.raises(testing.ActionFailed, match="has nothing of upstream's in the cluster"):
            act(ctx, embedded, action, resources="")
        peers = dataclasses.replace(out.get_relation(9002), local_app_data={"installed": '"x"'})
        rest = {each for each in out.relations if each.id != 9002}
        switching = dataclasses.replace(out, relations={*rest, peers})
        with pytest.raises(testing.ActionFailed, match="upstream is not deployed yet"):
            act(ctx, switching, action, resources="")
        client.refuse = httpx.ConnectError("connection refused")
        with pytest.raises(testing.ActionFailed, match="connection refused"):
            act(ctx, out, action, resources="")
        world.api.broken = "no answer in time"
        with pytest.raises(testing.ActionFailed, match="no answer in time"):
            act(ctx, out, action, resources="")


def test_the_image_of_the_option_is_the_manifests_and_the_settings():
    root = Path(upstream_manifests.__file__).parents[1]
    options = yaml.safe_load((root / "charmcraft.yaml").read_text())["config"]["options"]
    from upstream_settings import IMAGE, ControlPlaneSettings

    assert options["image"]["default"] == IMAGE
    for name, field in ControlPlaneSettings.model_fields.items():
        assert options[name.replace("_", "-")]["default"] == field.default
    text = (RELEASES / "manifests/v0.10.0/2-controller-manager.yaml").read_text()
    assert f"image: {IMAGE}\n" in text
