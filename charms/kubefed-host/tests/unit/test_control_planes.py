"""control-plane=upstream and back: what ends before what begins, and what the status says."""

import dataclasses
import json
from typing import Any

import kubefed_host
import ops
import pytest
from host_world import (
    NAMESPACE,
    TYPES,
    Context,
    World,
    again,
    binding,
    deployment,
    lock,
    state,
)
from ops import testing

UPSTREAM = {"control-plane": "upstream"}
CORE = f"/apis/core.kubefed.io/v1beta1/namespaces/{NAMESPACE}"
CONFIG = f"{CORE}/kubefedconfigs/kubefed"
POD = f"/api/v1/namespaces/{NAMESPACE}/pods/kubefed-controller-manager-1"
JOINED = "2 clusters joined: napoli palermo"
LEADER = "control-plane.alpha.kubernetes.io/leader"


def configured(out: testing.State, **options: str | int) -> testing.State:
    config = {**out.config, **{name.replace("_", "-"): value for name, value in options.items()}}
    return dataclasses.replace(out, config=config)


def changed(ctx: Context, out: testing.State, **options: str | int) -> testing.State:
    return ctx.run(ctx.on.config_changed(), configured(out, **options))


def in_force(out: testing.State) -> str | None:
    text = out.get_relation(9002).local_app_data.get("control_plane")
    return json.loads(text) if text else None


def lease(holder: str, version: str = "1") -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 8}
    return {"metadata": {"resourceVersion": version}, "spec": spec}


def record(holder: str, version: str = "1") -> dict[str, Any]:
    text = json.dumps({"holderIdentity": holder, "leaseDurationSeconds": 15})
    return {"metadata": {"resourceVersion": version, "annotations": {LEADER: text}}}


class TestToUpstream:
    def test_from_the_beginning(self, ctx: Context, world: World):
        out = again(ctx, state(config=UPSTREAM))
        assert world.story == ["install", "PATCH kubefedconfigs/kubefed " + APPLY, "deploy"]
        assert world.service == ""
        assert in_force(out) == "upstream"
        assert out.unit_status == ops.ActiveStatus(f"{JOINED}; KubeFed v0.10.0")
        assert out.workload_version == "0.10.0"
        assert len(world.joins) == 2

    def test_the_embedded_one_ends_first(self, ctx: Context, world: World):
        out = again(ctx, state())
        assert (world.story, in_force(out)) == (["install and bind", "start"], "embedded")
        world.story.clear()
        out = changed(ctx, out, control_plane="upstream")
        assert world.story == [
            "stand down",
            "DELETE rolebindings/kubefed-config-rolebinding",
            "PATCH kubefedconfigs/kubefed " + APPLY,
            "deploy",
        ]
        assert world.time == 2  # of the API servers, to know of the rights that went
        assert out.unit_status == ops.ActiveStatus(f"{JOINED}; KubeFed v0.10.0")

    def test_nothing_is_done_twice(self, ctx: Context, world: World):
        out = again(ctx, state(config=UPSTREAM))
        world.story.clear()
        out = again(ctx, out)
        assert world.story == []
        assert out.unit_status == ops.ActiveStatus(f"{JOINED}; KubeFed v0.10.0")

    def test_a_silent_units_lease_is_waited_for(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.api.objects[lock("leases")] = lease("kubefed-host-1")
        out = changed(ctx, out, control_plane="upstream")
        assert 8 <= world.time < 10
        assert in_force(out) == "upstream"

    def test_one_that_goes_on_is_named_and_nothing_is_deployed(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.passing = lambda: world.api.objects.update(
            {lock("leases"): lease("kubefed-host-1", str(world.time))}
        )
        out = changed(ctx, out, control_plane="upstream")
        assert "deploy" not in world.story
        assert out.unit_status.message.startswith(
            "the federation's API: the embedded controller (kubefed-host-1) still leads after 45 s"
        )
        assert in_force(out) == "nobody"
        world.passing = lambda: None
        out = again(ctx, out)
        assert in_force(out) == "upstream"

    def test_a_controller_that_does_not_end(
        self, ctx: Context, world: World, monkeypatch: pytest.MonkeyPatch
    ):
        out = again(ctx, state())

        def stand_down(_: object) -> None:
            raise kubefed_host.HostError("kubefed-controller does not end: timeout")

        monkeypatch.setattr("host_world.FakeHost.stand_down", stand_down)
        out = changed(ctx, out, control_plane="upstream")
        assert "does not end: timeout" in out.unit_status.message
        assert binding() in world.api.objects

    def test_somebody_elses_is_refused_and_the_embedded_one_goes_on(
        self, ctx: Context, world: World
    ):
        out = again(ctx, state())
        world.api.objects[deployment()] = {"metadata": {"labels": {"heritage": "Helm"}}}
        out = changed(ctx, out, control_plane="upstream")
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert "is not this charm's; remove it first (helm uninstall" in out.unit_status.message
        assert world.service
        assert binding() in world.api.objects

    def test_transparent_federation_is_refused_and_the_embedded_one_goes_on(
        self, ctx: Context, world: World
    ):
        out = again(ctx, state())
        world.api.objects["/api/v1/namespaces/shop"] = {"metadata": {"name": "shop"}}
        out = changed(ctx, out, control_plane="upstream")
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert "kubefed.io/federate: true (shop); take the label off" in out.unit_status.message
        assert world.service
        del world.api.objects["/api/v1/namespaces/shop"]
        assert in_force(again(ctx, out)) == "upstream"

    def test_a_cluster_that_refuses(self, ctx: Context, world: World):
        out = again(ctx, state())
        world.api.broken = "etcdserver: request timed out (500)"
        out = changed(ctx, out, control_plane="upstream")
        assert out.unit_status == ops.WaitingStatus(
            "the federation's API: etcdserver: request timed out (500)"
        )


class TestDeployment:
    @pytest.mark.parametrize(
        "change",
        [
            {"image": "registry.example.org/kubefed:v0.10.0"},
            {"health_timeout": "5s"},
        ],
    )
    def test_an_option_is_followed(self, ctx: Context, world: World, change: dict[str, str | int]):
        out = again(ctx, state(config=UPSTREAM))
        out = changed(ctx, out, **change)
        assert len(world.deployed) == 2
        assert world.deployed[1].digest != world.deployed[0].digest
        assert in_force(out) == "upstream"

    def test_what_somebody_changed_in_kubefedconfig_is_followed(self, ctx: Context, world: World):
        out = again(ctx, state(config=UPSTREAM))
        world.api.objects[CONFIG] = {"spec": {"clusterHealthCheck": {"period": "30s"}}}
        _ = again(ctx, out)
        assert len(world.deployed) == 2

    def test_types_of_another_group(self, ctx: Context, world: World):
        federated = {"federatedType": {"group": "types.example.org"}}
        world.api.objects[f"{CORE}/{TYPES}/crontabs"] = {"spec": federated}
        _ = again(ctx, state(config=UPSTREAM))
        assert world.deployed[0].groups == ("types.example.org", "types.kubefed.io")

    def test_one_that_was_deleted_is_made_again(self, ctx: Context, world: World):
        out = again(ctx, state(config=UPSTREAM))
        del world.api.objects[deployment()]
        out = again(ctx, out)
        assert len(world.deployed) == 2
        assert out.unit_status == ops.ActiveStatus(f"{JOINED}; KubeFed v0.10.0")

    def test_pods_that_do_not_come(self, ctx: Context, world: World):
        world.ready = 1
        waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
        container = {"state": {"waiting": waiting}}
        world.api.objects[POD] = {"status": {"containerStatuses": [container]}}
        out = again(ctx, state(config=UPSTREAM))
        assert 30 <= world.time < 35
        text = "upstream's controller manager: 1 of 2 pods ready: ImagePullBackOff: Back-off"
        assert out.unit_status == ops.WaitingStatus(f"{text} pulling image")
        world.api.objects[deployment()]["status"]["readyReplicas"] = 2
        world.api.objects[deployment()]["status"]["updatedReplicas"] = 2
        out = again(ctx, out)
        assert out.unit_status == ops.ActiveStatus(f"{JOINED}; KubeFed v0.10.0")

    def test_an_upgrade_leaves_the_embedded_one_without_rights(
        self, ctx: Context, world: World, monkeypatch: pytest.MonkeyPatch
    ):
        out = again(ctx, state(config=UPSTREAM))
        world.story.clear()
        monkeypatch.setattr(kubefed_host, "version", lambda: "0.2.0")
        _ = ctx.run(ctx.on.upgrade_charm(), out)
        assert world.story == ["install"]

    def test_a_hook_of_an_action_tells_it_too(self, ctx: Context, world: World):
        out = again(ctx, state(config=UPSTREAM))
        world.api.objects[deployment()]["status"]["readyReplicas"] = 0
        out = ctx.run(ctx.on.action("list-versions"), out)
        assert out.unit_status.message.endswith("0 of 2 pods ready")
        del world.api.objects[deployment()]
        out = ctx.run(ctx.on.action("list-versions"), out)
        assert out.unit_status.message == (
            "upstream's controller manager is gone; it is made again"
        )
        world.api.broken = "no answer in time"
        out = ctx.run(ctx.on.action("list-versions"), out)
        assert out.unit_status.message == "upstream's controller manager: no answer in time"


class TestToEmbedded:
    @pytest.fixture
    def out(self, ctx: Context, world: World) -> testing.State:
        found = again(ctx, state(config=UPSTREAM))
        world.story.clear()
        world.time = 0
        return found

    def test_upstream_ends_first(self, ctx: Context, world: World, out: testing.State):
        world.api.objects[lock("configmaps")] = record("pod-1")
        out = changed(ctx, out, control_plane="embedded")
        assert world.story == [
            "DELETE deployments/kubefed-controller-manager propagationPolicy=Foreground",
            "DELETE configmaps/kubefed-controller-manager",
            "install and bind",
            "PATCH kubefedconfigs/kubefed " + APPLY,
            "start",
        ]
        assert world.time == 0
        assert in_force(out) == "embedded"
        assert out.unit_status == ops.ActiveStatus(JOINED)

    def test_its_rights_go_after_its_pods(self, ctx: Context, world: World, out: testing.State):
        role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/kubefed-controller-manager"
        world.api.objects[role] = {}
        world.api.objects[POD] = {}
        gone: list[float] = []

        def passing() -> None:
            if world.time > 3 and POD in world.api.objects:
                assert role in world.api.objects
                gone.append(world.time)
                del world.api.objects[POD]

        world.passing = passing
        out = changed(ctx, out, control_plane="embedded")
        assert gone == [world.time]
        assert "DELETE clusterroles/kubefed-controller-manager" in world.story

    def test_a_pod_on_a_lost_node_has_no_lease_any_more(
        self, ctx: Context, world: World, out: testing.State
    ):
        world.api.objects[POD] = {}
        world.api.objects[lock("configmaps")] = record("pod-1")
        out = changed(ctx, out, control_plane="embedded")
        assert 25 + 15 <= world.time < 25 + 15 + 2
        assert in_force(out) == "embedded"

    def test_one_that_goes_on_is_named_and_nothing_is_started(
        self, ctx: Context, world: World, out: testing.State
    ):
        world.api.objects[POD] = {}
        world.passing = lambda: world.api.objects.update(
            {lock("configmaps"): record("pod-1", str(world.time))}
        )
        out = changed(ctx, out, control_plane="embedded")
        assert "upstream's controller manager (pod-1) still leads" in out.unit_status.message
        assert world.service == ""
        assert binding() not in world.api.objects

    def test_somebody_elses_is_not_taken_away(self, ctx: Context, world: World):
        world.api.objects[deployment()] = {"metadata": {}}
        out = again(ctx, state())
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert world.story == []

    def test_after_a_hook_that_died_on_the_way(self, ctx: Context, world: World):
        """Of which nothing is in the peers' databag, and all is in the cluster."""
        out = again(ctx, state())
        _ = changed(ctx, out, control_plane="upstream")
        world.story.clear()
        out = again(ctx, out)
        assert world.story[0].startswith("DELETE deployments/kubefed-controller-manager")
        assert world.story[1:] == ["install and bind", "start"]
        assert out.unit_status == ops.ActiveStatus(JOINED)


class TestOtherUnits:
    @pytest.mark.parametrize("word", ["nobody", "upstream"])
    def test_they_stand_down_at_the_leaders_word(self, ctx: Context, world: World, word: str):
        bag = {"installed": '"x"', "control_plane": json.dumps(word)}
        out = again(ctx, other({}, bag | {"control_plane": '"embedded"'}))
        assert world.service
        out = again(ctx, other(UPSTREAM, bag))
        assert world.service == ""
        assert world.story == ["start", "stand down"]
        assert isinstance(out.unit_status, ops.ActiveStatus) == (word == "upstream")

    def test_they_start_only_after_upstream_has_ended(self, ctx: Context, world: World):
        out = again(ctx, other({}, {"installed": '"x"', "control_plane": '"upstream"'}))
        assert world.service == ""
        assert out.unit_status == ops.WaitingStatus(
            "control-plane=embedded: upstream's controllers end first"
        )

    def test_they_go_on_until_the_leader_says_so(self, ctx: Context, world: World):
        out = again(ctx, other(UPSTREAM, {"installed": '"x"'}))
        assert world.service
        assert out.unit_status == ops.WaitingStatus(
            "control-plane=upstream: the embedded controllers end first"
        )


class TestKubeFedConfig:
    def test_without_options_it_is_left_alone(self, ctx: Context, world: World):
        _ = again(ctx, state())
        assert world.api.objects[CONFIG] == {"spec": {"scope": "Cluster"}}

    def test_options_are_brought_in_and_taken_back(self, ctx: Context, world: World):
        options: dict[str, str | int] = {
            "health_period": "5s",
            "health_failure_threshold": 6,
            "cluster_unavailable_delay": "2m",
        }
        out = changed(ctx, again(ctx, state()), **options)
        assert world.api.objects[CONFIG]["spec"] == {
            "clusterHealthCheck": {"period": "5s", "failureThreshold": 6},
            "controllerDuration": {"unavailableDelay": "2m"},
        }
        world.story.clear()
        out = again(ctx, out)
        assert world.story == []
        _ = ctx.run(ctx.on.config_changed(), dataclasses.replace(out, config={}))
        assert world.api.objects[CONFIG]["spec"] == {}

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"control-plane": "both"}, "config: control-plane: "),
            ({"image": "kubefed"}, "config: image: must be REGISTRY/NAME:TAG"),
            ({"image": "quay.io/kubefed/kubefed"}, "config: image: must be REGISTRY/NAME:TAG"),
            ({"health-period": "10"}, "config: health-period: must be a number with ms, s or m"),
            ({"health-timeout": "0s"}, "config: health-timeout: must be a number with"),
            ({"health-failure-threshold": -1}, "config: health-failure-threshold: "),
        ],
    )
    def test_what_is_refused(self, ctx: Context, world: World, options: dict[str, Any], text: str):
        out = again(ctx, state(config=options))
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert out.unit_status.message.startswith(text)
        assert world.story == []


APPLY = "fieldManager=federation-charms&force=true"


def other(config: dict[str, str], bag: dict[str, str]) -> testing.State:
    """A unit that is not the leader, with what the leader told."""
    given = state(config=config, leader=False)
    peers = testing.PeerRelation("replicas", id=9002, local_app_data=bag)
    rest = {each for each in given.relations if each.id != 9002}
    return dataclasses.replace(given, relations={*rest, peers})
