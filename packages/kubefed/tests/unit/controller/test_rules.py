"""KubeFed v0.10.0's rules, seen from outside: the whole controller over servers in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_federation import FEDERATION, World, calm, until
from kubefed.api import (
    CONFIG_MAP,
    DEPLOYMENT,
    FEDERATED_SERVICE_STATUS,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    NAMESPACE,
    SERVICE,
    FederatedType,
    TargetKind,
)
from kubefed.controller import types
from kubefed.controller.client import ApiError
from kubefed.controller.objects import Json

Make = Callable[..., World]
DATA: dict[str, Any] = {"template": {"data": {"a": "b"}}}
WEB = CONFIG_MAP.path("shop", "web")
SHOP = NAMESPACE.path(name="shop")
WIDGET = TargetKind("example.org", "v1", "Widget", "widgets", namespaced=False)


def failing(method: str, part: str, error: Exception) -> Callable[..., None]:
    def hook(asked: str, path: str, body: Json | None) -> None:
        del body
        if asked == method and part in path:
            raise error

    return hook


REFUSED = ApiError(403, "Forbidden", "no")


async def spread(world: World, *where: str) -> None:
    world.federate(CONFIG_MAP, "shop", "web", *where, **DATA)
    await until(lambda: world.states(CONFIG_MAP, "shop", "web") == dict.fromkeys(where, ""))
    await calm()


# -- adoption, labels, versions of the API


async def test_what_exists_is_adopted_and_what_says_no_is_left(world: Make) -> None:
    shop = await world("one", "two").shop()
    one, two = shop.members["one"], shop.members["two"]
    one.put(WEB, {"metadata": {}, "data": {"of": "one"}})
    two.put(WEB, {"metadata": {"labels": {"kubefed.io/managed": "false"}}, "data": {"of": "two"}})
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    wanted = {"one": "", "two": "ManagedLabelFalse"}
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == wanted)
    assert (one.get(WEB) or {})["data"] == {"a": "b"}
    assert (two.get(WEB) or {})["data"] == {"of": "two"}


async def test_without_adoption_what_exists_is_left(world: Make) -> None:
    make = world("one", syncController={"adoptResources": "Disabled"})
    make.members["one"].put(SHOP, {"metadata": {"labels": {"kubefed.io/managed": "true"}}})
    make.members["one"].put(WEB, {"metadata": {}, "data": {"of": "one"}})
    shop = await make.shop()
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": "AlreadyExists"})
    assert (shop.members["one"].get(WEB) or {})["data"] == {"of": "one"}


@pytest.mark.parametrize(
    ("method", "error", "expected"),
    [
        ("GET", REFUSED, "RetrievalFailed"),
        ("PUT", REFUSED, "UpdateFailed"),
        ("PUT", TimeoutError(), "UpdateTimedOut"),
        ("POST", REFUSED, "CreationFailed"),
        ("POST", TimeoutError(), "CreationTimedOut"),
    ],
)
async def test_each_step_of_an_adoption_fails_under_its_own_name(
    world: Make, method: str, error: Exception, expected: str
) -> None:
    shop = await world("one").shop()
    one = shop.members["one"]
    one.put(WEB, {"metadata": {}, "data": {}})
    part = CONFIG_MAP.path("shop") if method == "POST" else WEB
    one.before.append(failing(method, part, error))
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": expected})


async def test_deletions_and_releases_fail_under_their_own_names(world: Make) -> None:
    shop = await world("one").shop()
    await spread(shop, "one")
    shop.members["one"].before.append(failing("DELETE", WEB, REFUSED))
    shop.members["one"].before.append(failing("PATCH", WEB, REFUSED))
    shop.federate(CONFIG_MAP, "shop", "web", **DATA)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": "DeletionFailed"})
    assert shop.reason(CONFIG_MAP, "shop", "web") == "CheckClusters"


async def test_an_override_of_the_version_goes_to_that_versions_path(world: Make) -> None:
    make = world("one")
    make.enable(DEPLOYMENT)
    shop = await make.shop()
    old = {"path": "/apiVersion", "value": "extensions/v1beta1"}
    shop.federate(
        DEPLOYMENT,
        "shop",
        "api",
        "one",
        template={"spec": {}},
        overrides=[{"clusterName": "one", "clusterOverrides": [old]}],
    )
    await until(
        lambda: (
            "POST /apis/extensions/v1beta1/namespaces/shop/deployments" in shop.members["one"].log
        )
    )


async def test_what_a_template_can_t_have_is_said(world: Make) -> None:
    shop = await world("one").shop()
    meta = {"annotations": {"a": "b"}, "finalizers": ["f"]}
    shop.federate(CONFIG_MAP, "shop", "web", "one", template={"metadata": meta})
    await until(lambda: shop.members["one"].get(WEB))
    await until(lambda: shop.events("AnnotationsNotSupported"))
    await until(lambda: shop.events("FinalizersNotSupported"))
    assert shop.events("CreateInCluster")


@pytest.mark.parametrize(
    ("kind", "template", "expected"),
    [
        (CONFIG_MAP, {"metadata": {"labels": ["x"]}}, "ComputeResourceFailed"),
        (CONFIG_MAP, {"metadata": "x"}, "ComputeResourceFailed"),
        (SERVICE, {"spec": {"ports": "x"}}, "FieldRetentionFailed"),
        (SERVICE, {"spec": []}, "FieldRetentionFailed"),
    ],
)
async def test_a_template_of_a_wrong_shape_is_said(
    world: Make, kind: TargetKind, template: Json, expected: str
) -> None:
    make = world("one")
    make.enable(SERVICE)
    shop = await make.shop()
    shop.members["one"].put(
        kind.path("shop", "web"),
        {
            "metadata": {"labels": {"kubefed.io/managed": "true"}},
            "spec": {"clusterIP": "10.0.0.1"},
        },
    )
    shop.federate(kind, "shop", "web", "one", template=template)
    await until(lambda: shop.states(kind, "shop", "web") == {"one": expected})


# -- namespaces


async def test_a_misnamed_federated_namespace_touches_nothing_even_when_it_goes(
    world: Make,
) -> None:
    make = world("one", syncController={"adoptResources": "Disabled"})
    shop = await make.shop()
    shop.host.put(NAMESPACE.path(name="other"), {"metadata": {}})
    shop.federate(NAMESPACE, "other", "shop", "one")
    await until(lambda: shop.events("InvalidName"))
    shop.host.remove(shop.path(NAMESPACE, "other", "shop"))
    await calm()
    found = shop.members["one"].get(SHOP) or {}
    assert found["metadata"]["labels"] == {"kubefed.io/managed": "true"}


async def test_the_hosts_own_namespace_is_never_deleted_though_nobody_knows_it(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(types.Namespaces, "own", lambda *_: None)
    make = world("one")
    make.enter("home", "https://host")
    make.enable(NAMESPACE)
    make.namespace("shop", "one", "home")
    await make.start()
    await until(lambda: make.states(NAMESPACE, "shop", "shop") == {"one": "", "home": ""})
    make.federate(NAMESPACE, "shop", "shop")
    await until(lambda: make.members["one"].get(SHOP) is None)
    await calm()
    own = make.host.get(SHOP) or {}
    assert "kubefed.io/managed" not in own["metadata"].get("labels", {})


async def test_objects_in_a_namespace_that_is_not_federated_say_so(world: Make) -> None:
    shop = await world("one").shop()
    shop.federate(CONFIG_MAP, "alone", "web", "one", **DATA)
    await until(lambda: shop.reason(CONFIG_MAP, "alone", "web") == "NamespaceNotFederated")


async def test_a_selector_that_is_none_says_so(world: Make) -> None:
    shop = await world("one").shop()
    bad = {"matchExpressions": [{"key": "a", "operator": "Like"}]}
    shop.federate(CONFIG_MAP, "shop", "web", placement={"clusterSelector": bad}, **DATA)
    await until(lambda: shop.reason(CONFIG_MAP, "shop", "web") == "ComputePlacementFailed")


async def test_in_scope_namespaced_only_the_own_namespace_is_federated(world: Make) -> None:
    make = world("one", scope="Namespaced")
    make.enable(NAMESPACE, CONFIG_MAP)
    await make.start()
    make.federate(CONFIG_MAP, FEDERATION, "web", "one", **DATA)
    make.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await until(lambda: make.members["one"].get(CONFIG_MAP.path(FEDERATION, "web")))
    await calm()
    assert make.members["one"].get(WEB) is None
    state = make.host.get(FEDERATED_TYPE_CONFIG.path(FEDERATION, "namespaces")) or {}
    assert state["status"]["propagationController"] == "NotRunning"


# -- deletion


async def test_delete_options_are_those_of_the_annotation_in_a_deletion_only(
    world: Make,
) -> None:
    shop = await world("one", "two").shop()
    asked: list[tuple[str, Json | None]] = []
    for name, member in shop.members.items():
        member.before.append(
            lambda method, path, body, name=name: (
                asked.append((name, body)) if method == "DELETE" else None
            )
        )
    await spread(shop, "one", "two")
    mine = shop.path(CONFIG_MAP, "shop", "web")
    found = shop.host.get(mine) or {}
    found["metadata"]["annotations"] = {
        "kubefed.io/deleteoption": '{"gracePeriodSeconds": 3, "propagationPolicy": "Orphan"}'
    }
    shop.host.put(mine, found)
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await until(lambda: shop.members["two"].get(WEB) is None)
    shop.host.delete(mine)
    await until(lambda: shop.host.get(mine) is None)
    options = {name: body or {} for name, body in asked}
    assert "gracePeriodSeconds" not in options["two"]
    assert options["one"]["gracePeriodSeconds"] == 3
    assert options["one"]["propagationPolicy"] == "Orphan"
    assert options["one"]["preconditions"]["uid"]


async def test_a_cluster_without_the_kind_harms_no_other_and_no_deletion(world: Make) -> None:
    """Upstream's issues 314, 1241, 1252: the type stopped in all clusters."""
    make = world("one", "two")
    make.members["two"].absent.add("configmaps")
    shop = await make.shop()
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    wanted = {"one": "", "two": "CachedRetrievalFailed"}
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == wanted)
    await until(lambda: shop.events("CachedRetrievalFailed"))
    mine = shop.path(CONFIG_MAP, "shop", "web")
    shop.host.delete(mine)
    await until(lambda: shop.host.get(mine) is None)
    assert shop.members["one"].get(WEB) is None


FAST = {"period": "20ms", "timeout": "1s", "failureThreshold": 1}


async def test_a_member_that_is_gone_for_good_is_given_up_by_the_operators_word(
    world: Make,
) -> None:
    """Upstream's issue 1254: the deletion hung for ever."""
    shop = await world("one", "two", clusterHealthCheck=FAST).shop()
    await spread(shop, "one", "two")
    two, mine = shop.members["two"], shop.path(CONFIG_MAP, "shop", "web")
    two.healthy = None
    await until(lambda: shop.condition("two", "Offline"))
    shop.host.delete(mine)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web").get("two") == "ClusterNotReady")
    assert shop.host.get(mine)
    shop.annotate("two", "kubefed.io/forget", "true")
    await until(lambda: shop.host.get(mine) is None)
    # What was left is said.
    assert shop.annotations("two")["kubefed.io/left-behind"] == '["configmaps shop/web"]'
    await until(lambda: shop.events("LeftInCluster"))
    await until(lambda: "configmaps shop/web" in shop.condition("two", "Offline"))
    # And brought to its end if the cluster does come back.
    two.healthy = "ok"
    await until(lambda: two.get(WEB) is None)
    await until(lambda: "kubefed.io/left-behind" not in shop.annotations("two"))


async def test_a_token_that_is_refused_is_said_once_it_is_sure(world: Make) -> None:
    settings = FAST | {"failureThreshold": 3}
    shop = await world("one", "two", clusterHealthCheck=settings).shop()
    await until(lambda: shop.condition("two", "Ready"))
    refused = ApiError(401, "Unauthorized", "its token is refused")
    two = shop.members["two"]
    two.probes = [refused, refused]
    await until(lambda: not two.probes)
    await calm()
    assert shop.condition("two", "Ready")
    assert not shop.condition("two", "ConfigMalformed")
    two.healthy = refused
    await until(lambda: "its token is refused" in shop.condition("two", "ConfigMalformed"))
    assert not shop.condition("two", "Ready")
    assert shop.condition("one", "Ready")
    two.healthy = "ok"
    await until(lambda: shop.condition("two", "Ready"))
    assert not shop.condition("two", "ConfigMalformed")


async def test_what_was_left_behind_is_known_after_a_restart(world: Make) -> None:
    shop = await world("one", "two", clusterHealthCheck=FAST).shop()
    await spread(shop, "one", "two")
    two, mine = shop.members["two"], shop.path(CONFIG_MAP, "shop", "web")
    two.healthy = None
    await until(lambda: shop.condition("two", "Offline"))
    shop.annotate("two", "kubefed.io/forget", "true")
    shop.host.delete(mine)
    await until(lambda: shop.host.get(mine) is None)
    await shop.stop()
    two.healthy = "ok"
    await shop.start()
    await until(lambda: two.get(WEB) is None)
    assert f"DELETE {WEB}" in two.log


async def left_in_two(world: Make) -> World:
    """A ConfigMap that was left in a member, which is away and given up."""
    shop = await world("one", "two", clusterHealthCheck=FAST).shop()
    await spread(shop, "one", "two")
    shop.members["two"].healthy = None
    await until(lambda: shop.condition("two", "Offline"))
    shop.annotate("two", "kubefed.io/forget", "true")
    shop.host.delete(shop.path(CONFIG_MAP, "shop", "web"))
    await until(lambda: "kubefed.io/left-behind" in shop.annotations("two"))
    return shop


async def test_what_somebody_else_took_away_is_struck_off_when_the_cluster_is_back(
    world: Make,
) -> None:
    shop = await left_in_two(world)
    two = shop.members["two"]
    two.remove(WEB)
    await calm()
    two.healthy = "ok"
    await until(lambda: "kubefed.io/left-behind" not in shop.annotations("two"))


async def test_it_is_struck_off_after_a_restart_too(world: Make) -> None:
    shop = await left_in_two(world)
    await shop.stop()
    shop.members["two"].remove(WEB)
    shop.members["two"].healthy = "ok"
    await shop.start()
    await until(lambda: "kubefed.io/left-behind" not in shop.annotations("two"))


async def test_a_late_answer_to_its_deletion_leaves_it_not_listed(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object went, the answer came after the reconcile had gone on: the mark stayed."""
    shop = await left_in_two(world)
    monkeypatch.setattr("kubefed.controller.members.GRACE_SECONDS", 0.02)
    two = shop.members["two"]

    async def slow(method: str, _path: str, _body: object) -> None:
        if method == "DELETE":
            await asyncio.sleep(0.2)

    two.after.append(slow)
    two.healthy = "ok"
    await until(lambda: two.get(WEB) is None)
    await until(lambda: "kubefed.io/left-behind" not in shop.annotations("two"))


async def test_a_host_that_refuses_once_is_told_again_what_to_strike_off(world: Make) -> None:
    shop = await left_in_two(world)
    two, entry = shop.members["two"], KUBEFED_CLUSTER.path(FEDERATION, "two")
    refusals = iter([REFUSED])

    def refuse(method: str, path: str, _body: object) -> None:
        if (method, path) == ("PATCH", entry) and (error := next(refusals, None)):
            raise error

    shop.host.before.append(refuse)
    two.healthy = "ok"
    await until(lambda: two.get(WEB) is None)
    await until(lambda: "kubefed.io/left-behind" not in shop.annotations("two"))
    assert next(refusals, None) is None


async def test_what_is_wanted_elsewhere_now_is_struck_off_where_it_was_left(world: Make) -> None:
    shop = await left_in_two(world)
    two, mine = shop.members["two"], shop.path(CONFIG_MAP, "shop", "web")
    await until(lambda: shop.host.get(mine) is None)
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": ""})
    two.healthy = "ok"
    await until(lambda: two.get(WEB) is None)
    await until(lambda: "kubefed.io/left-behind" not in shop.annotations("two"))


async def test_what_is_wanted_again_is_not_deleted_when_the_cluster_is_back(
    world: Make,
) -> None:
    shop = await world("one", "two", clusterHealthCheck=FAST).shop()
    await spread(shop, "one", "two")
    two, mine = shop.members["two"], shop.path(CONFIG_MAP, "shop", "web")
    two.healthy = None
    await until(lambda: shop.condition("two", "Offline"))
    shop.annotate("two", "kubefed.io/forget", "true")
    shop.host.delete(mine)
    await until(lambda: shop.host.get(mine) is None)
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web").get("two") == "ClusterNotReady")
    before = len(two.log)
    two.healthy = "ok"
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": "", "two": ""})
    assert not [line for line in two.log[before:] if line.startswith("DELETE")]


async def test_an_orphan_of_a_cluster_that_was_away_is_let_go_when_it_is_back(
    world: Make,
) -> None:
    shop = await world("one", "two", clusterHealthCheck=FAST).shop()
    await spread(shop, "one", "two")
    two, mine = shop.members["two"], shop.path(CONFIG_MAP, "shop", "web")
    two.healthy = None
    await until(lambda: shop.condition("two", "Offline"))
    found = shop.host.get(mine) or {}
    found["metadata"]["annotations"] = {"kubefed.io/orphan": "true"}
    shop.host.put(mine, found)
    shop.host.delete(mine)
    await until(lambda: shop.host.get(mine) is None)
    two.healthy = "ok"
    await until(lambda: not (two.get(WEB) or {})["metadata"].get("labels"))
    assert (two.get(WEB) or {})["data"] == {"a": "b"}


async def test_what_was_placed_elsewhere_meanwhile_is_taken_from_a_cluster_that_is_back(
    world: Make,
) -> None:
    """Karmada's issue 3167: both copies ran on."""
    shop = await world("one", "two", clusterHealthCheck=FAST).shop()
    await spread(shop, "two")
    two = shop.members["two"]
    two.healthy = None
    await until(lambda: shop.condition("two", "Offline"))
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": ""})
    assert two.get(WEB)
    two.healthy = "ok"
    await until(lambda: two.get(WEB) is None)


# -- sick members


async def test_a_malformed_cluster_is_named_and_delays_nobody(world: Make) -> None:
    """Upstream's issue 1475: a malformed Secret blocked all clusters."""
    make = world("one", "two")
    make.set_token("two", "no\ntoken")
    make.enable(NAMESPACE, CONFIG_MAP)
    make.namespace("shop")
    await make.start()
    make.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    await until(lambda: make.members["one"].get(WEB))
    await until(lambda: make.condition("two", "ConfigMalformed"))
    assert make.running
    make.set_token("two", "token")
    await until(lambda: make.members["two"].get(WEB))


async def test_a_token_that_turns_bad_is_another_thing_than_a_cluster_that_is_away(
    world: Make,
) -> None:
    shop = await world("one", "two").shop()
    await spread(shop, "one", "two")
    shop.set_token("two", "")
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", template={"data": {"a": "c"}})
    wanted = {"one": "", "two": "ClientRetrievalFailed"}
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == wanted)


QUICK = {"period": "10ms", "timeout": "1s", "failureThreshold": 3, "successThreshold": 2}


async def test_thresholds_hold_in_both_directions(world: Make) -> None:
    """Upstream's issue 1496: a cluster that was long ready was lost by its first failed probe."""
    make = world("one", clusterHealthCheck=QUICK)
    await make.start()
    one, seen = make.members["one"], set[str]()

    def look(method: str, path: str, body: Json | None) -> None:
        if method == "PATCH" and path.endswith("kubefedclusters/one/status") and body:
            seen.update(each["type"] for each in body["status"]["conditions"])

    make.host.before.append(look)
    one.probes += [None, None, "ok", None, "not ok", "ok"]
    await until(lambda: not one.probes)
    await calm()
    assert seen == {"Ready"}
    one.probes += [None, None, None, "ok", None, None]
    await until(lambda: make.condition("one", "Offline"))
    await until(lambda: not one.probes)
    await until(lambda: make.condition("one", "Ready"))
    assert seen == {"Ready", "Offline"}


async def test_only_what_is_managed_is_listed_in_members(world: Make) -> None:
    """Upstream's issue 1235: memory grew with everything that there was in the members."""
    make = world("one")
    make.enable(DEPLOYMENT)
    shop = await make.shop()
    await until(lambda: "apps/deployments kubefed.io/managed=true" in shop.members["one"].listed)
    kinds = {line.split()[0] for line in shop.members["one"].listed}
    assert kinds == {"apps/deployments", "configmaps", "namespaces"}
    managed = "kubefed.io/managed=true"
    assert all(line.endswith(managed) for line in shop.members["one"].listed)


async def test_a_member_that_is_slow_to_list_delays_no_start(world: Make) -> None:
    """Upstream's issue 1459: a cache that didn't come in time ended the process."""
    make = world("one", "two")
    make.enable(NAMESPACE, CONFIG_MAP)
    make.namespace("shop")
    held = asyncio.Event()

    async def slow(method: str, path: str, body: Json | None) -> None:
        del body
        if method == "GET" and path == "/api/v1/configmaps":
            await held.wait()

    make.members["two"].before.append(slow)
    make.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    await make.start()
    await until(lambda: make.members["one"].get(WEB), 3.0)
    # Nothing is said of the slow one before its time is over.
    assert make.states(CONFIG_MAP, "shop", "web") == {}
    held.set()
    await until(lambda: make.states(CONFIG_MAP, "shop", "web") == {"one": "", "two": ""})
    assert make.running


# -- types


async def test_any_kind_can_be_federated_also_a_cluster_scoped_one(world: Make) -> None:
    make = world("one")
    make.enable(NAMESPACE, WIDGET)
    await make.start()
    make.federate(WIDGET, "", "gear", "one", template={"spec": {"teeth": 9}})
    found = await until(lambda: make.members["one"].get(WIDGET.path(name="gear")))
    assert found["apiVersion"] == "example.org/v1"
    assert found["spec"] == {"teeth": 9}
    await until(lambda: make.host.all("core.kubefed.io/clusterpropagatedversions"))
    make.host.delete(make.path(WIDGET, "", "gear"))
    await until(lambda: make.members["one"].get(WIDGET.path(name="gear")) is None)


async def test_a_type_lives_as_its_configuration_says(world: Make) -> None:
    shop = await world("one").shop()
    config = FEDERATED_TYPE_CONFIG.path(FEDERATION, "configmaps")

    def now() -> Json:
        return shop.host.get(config) or {}

    assert now()["metadata"]["finalizers"] == ["core.kubefed.io/federated-type-config"]
    shop.host.change(config, spec=now()["spec"] | {"propagation": "Disabled"})
    await until(lambda: now()["status"]["propagationController"] == "NotRunning")
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await calm()
    assert shop.members["one"].get(WEB) is None
    # The federated kind gets another version, as when its CRD does.
    federated = now()["spec"]["federatedType"] | {"version": "v1"}
    shop.host.change(
        config, spec=now()["spec"] | {"propagation": "Enabled", "federatedType": federated}
    )
    await until(lambda: shop.members["one"].get(WEB))
    assert any("/apis/types.kubefed.io/v1/" in line for line in shop.host.log)
    assert now()["status"]["observedGeneration"] == now()["metadata"]["generation"]
    shop.host.delete(config)
    await until(lambda: shop.host.get(config) is None)
    shop.members["one"].change(WEB, data={"a": "x"})
    await calm()
    assert (shop.members["one"].get(WEB) or {})["data"] == {"a": "x"}
    assert shop.members["one"].get(WEB)


async def test_without_the_gate_nothing_is_propagated(world: Make) -> None:
    gates = [{"name": "PushReconciler", "configuration": "Disabled"}]
    make = world("one", featureGates=gates)
    make.enable(NAMESPACE)
    make.namespace("shop")
    await make.start()
    await calm(0.2)
    assert make.members["one"].log == []
    assert "status" not in (
        make.host.get(FEDERATED_TYPE_CONFIG.path(FEDERATION, "namespaces")) or {}
    )


async def test_a_config_that_is_not_there_is_made_with_all_defaults(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULT_KUBEFED_SCOPE", "Namespaced")
    make = world("one")
    path = KUBEFED_CONFIG.path(FEDERATION, "kubefed")
    make.host.remove(path)
    await make.start()
    made = (make.host.get(path) or {})["spec"]
    assert made["scope"] == "Namespaced"
    assert made["syncController"] == {"maxConcurrentReconciles": 1, "adoptResources": "Enabled"}
    assert [gate["name"] for gate in made["featureGates"]] == [
        "PushReconciler",
        "RawResourceStatusCollection",
        "SchedulerPreferences",
    ]


# -- status of the members' objects


async def test_remote_status_is_collected_where_gate_and_type_say_so(world: Make) -> None:
    gates = [{"name": "RawResourceStatusCollection", "configuration": "Enabled"}]
    make = world("one", featureGates=gates)
    make.enable(SERVICE, statusCollection="Enabled")
    shop = await make.shop()
    path = SERVICE.path("shop", "web")
    shop.federate(SERVICE, "shop", "web", "one", template={"spec": {"ports": []}})
    await until(lambda: shop.members["one"].get(path))
    await until(lambda: shop.reason(SERVICE, "shop", "web") == "CheckClusters")
    shop.members["one"].put(
        path + "/status", {"metadata": {}, "status": {"loadBalancer": {"a": 1}}}
    )
    await until(lambda: shop.reason(SERVICE, "shop", "web") == "")
    status = (shop.federated(SERVICE, "shop", "web") or {})["status"]
    assert status["clusters"] == [{"name": "one", "remoteStatus": {"loadBalancer": {"a": 1}}}]


async def test_a_status_too_long_for_one_object_crowds_out_no_other(world: Make) -> None:
    gates = [{"name": "RawResourceStatusCollection", "configuration": "Enabled"}]
    make = world(featureGates=gates)
    make.enable(SERVICE, statusCollection="Enabled")
    shop = await make.shop()
    path = SERVICE.path("shop", "web")
    shop.federate(SERVICE, "shop", "web", "one", "two", template={"spec": {"ports": []}})
    await until(lambda: all(each.get(path) for each in shop.members.values()))
    huge, modest = {"a": "x" * 1_500_000}, {"loadBalancer": {"a": 1}}
    for name, status in (("one", huge), ("two", modest)):
        shop.members[name].put(path + "/status", {"metadata": {}, "status": status})
    await until(lambda: shop.events("RemoteStatusTooLong"))

    def collected() -> Any:
        return (shop.federated(SERVICE, "shop", "web") or {}).get("status", {}).get("clusters")

    await until(lambda: collected() == [{"name": "one"}, {"name": "two", "remoteStatus": modest}])


async def test_the_older_status_object_has_every_ready_cluster(world: Make) -> None:
    make = world("one", "two")
    kind = FEDERATED_SERVICE_STATUS
    status_type = {
        "group": kind.group,
        "version": kind.version,
        "kind": kind.kind,
        "pluralName": kind.plural,
        "scope": "Namespaced",
    }
    make.enable(SERVICE, statusType=status_type, statusCollection="Enabled")
    shop = await make.shop()
    path, service = kind.path("shop", "web"), SERVICE.path("shop", "web")
    shop.federate(SERVICE, "shop", "web", "one", template={"spec": {"ports": []}})
    await until(lambda: shop.members["one"].get(service))
    shop.members["one"].put(service + "/status", {"metadata": {}, "status": {"loadBalancer": {}}})
    wanted = [
        {"clusterName": "one", "status": {"loadBalancer": {}}},
        {"clusterName": "two", "status": {}},
    ]
    await until(lambda: (shop.host.get(path) or {}).get("clusterStatus") == wanted)
    (owner,) = (shop.host.get(path) or {})["metadata"]["ownerReferences"]
    federated = shop.federated(SERVICE, "shop", "web") or {}
    assert (owner["kind"], owner["uid"]) == ("FederatedService", federated["metadata"]["uid"])
    config = shop.host.get(FEDERATED_TYPE_CONFIG.path(FEDERATION, "services")) or {}
    assert config["status"]["statusController"] == "Running"


# -- replicas


def preference(total: int, name: str = "api", **spec: Any) -> Json:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"targetKind": "FederatedDeployment", "totalReplicas": total} | spec,
    }


RSP = "/apis/scheduling.kubefed.io/v1alpha1/namespaces/shop/replicaschedulingpreferences/api"


async def planning(world: World, **spec: Any) -> World:
    world.enable(DEPLOYMENT)
    await world.shop()
    template = {"spec": {"replicas": 1, "selector": {"matchLabels": {"app": "api"}}}}
    world.federate(DEPLOYMENT, "shop", "api", "one", "two", template=template, **spec)
    return world


def replicas(world: World) -> dict[str, int]:
    found = {
        name: each.get(DEPLOYMENT.path("shop", "api")) for name, each in world.members.items()
    }
    return {name: obj["spec"]["replicas"] for name, obj in found.items() if obj}


async def test_a_preference_is_planned_to_the_replica(world: Make) -> None:
    make = await planning(world("one", "two"))
    weights = {"one": {"weight": 2}, "two": {"weight": 1}}
    make.host.put(RSP, preference(9, clusters=weights))
    await until(lambda: replicas(make) == {"one": 6, "two": 3})
    spec = (make.federated(DEPLOYMENT, "shop", "api") or {})["spec"]
    assert spec["overrides"][0]["clusterOverrides"] == [{"path": "/spec/replicas", "value": 6}]
    make.host.put(RSP, preference(9, clusters={"two": {"weight": 1}}, rebalance=True))
    await until(lambda: replicas(make) == {"one": 0, "two": 9})


async def test_a_preference_can_be_cut_down_to_selectors(world: Make) -> None:
    make = world("one", "two")
    placement = {"clusterSelector": {"matchLabels": {"region": "two"}}}
    await planning(make, placement=placement)
    make.host.put(RSP, preference(4, intersectWithClusterSelector=True, rebalance=True))
    # The namespace has a list and no selector, so nothing is chosen and nothing is changed.
    await calm()
    assert replicas(make) == {"two": 1}
    make.federate(NAMESPACE, "shop", "shop", placement={"clusterSelector": {}})
    make.host.put(RSP, preference(5, intersectWithClusterSelector=True, rebalance=True))
    await until(lambda: replicas(make) == {"two": 5})


async def test_a_preference_for_another_kind_or_no_object_does_nothing(world: Make) -> None:
    make = await planning(world("one"))
    await until(lambda: replicas(make))
    make.host.put(RSP, preference(4, targetKind="FederatedJob"))
    make.host.put(RSP.removesuffix("api") + "none", preference(4, "none"))
    await calm()
    assert replicas(make) == {"one": 1}


async def test_kinds_federate_under_another_group(world: Make) -> None:
    make = world("one")
    kind = FederatedType.of(CONFIG_MAP, group="own.example.org")
    make.enable(NAMESPACE)
    make.namespace("shop")
    make.enable_type(kind)
    await make.start()
    obj = {"kind": "FederatedConfigMap", "metadata": {}, "spec": DATA | make.everywhere()}
    make.host.put(kind.federated.path("shop", "web"), obj)
    await until(lambda: make.members["one"].get(WEB))
