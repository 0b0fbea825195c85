"""What happens between a write, its answer and its echo is never lost (whole controller)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from fake_federation import FEDERATION, World, calm, until
from fake_server import FakeClient, Server
from kubefed.api import CONFIG_MAP, DEPLOYMENT, KUBEFED_CLUSTER, NAMESPACE
from kubefed.controller import (
    bookkeeping,
    clusters,
    dispatch,
    events,
    host_objects,
    informer,
    queue,
    removal,
    turns,
)
from kubefed.controller.client import ApiError
from kubefed.controller.objects import Json

Make = Callable[..., World]
DATA: dict[str, Any] = {"template": {"data": {"a": "b"}}}
WEB = CONFIG_MAP.path("shop", "web")
MAPS = CONFIG_MAP.path("shop")


class Gate:
    """Holds the requests of one kind before they are answered (or done)."""

    def __init__(self, method: str, part: str) -> None:
        self.arrived = asyncio.Event()
        self.open = asyncio.Event()
        self._method, self._part = method, part

    async def __call__(self, method: str, path: str, body: Json | None) -> None:
        del body
        if method == self._method and self._part in path:
            self.arrived.set()
            await self.open.wait()


async def propagated(world: World, *where: str) -> None:
    world.federate(CONFIG_MAP, "shop", "web", *where, **DATA)
    wanted = dict.fromkeys(where, "")
    await until(lambda: world.states(CONFIG_MAP, "shop", "web") == wanted)
    await calm()


async def test_an_object_that_was_made_and_deleted_before_the_answer_is_made_again(
    world: Make,
) -> None:
    """The answer must not bring back into the cache what the watch has buried."""
    shop = await world().shop()
    one, gate = shop.members["one"], Gate("POST", MAPS)
    one.after.append(gate)
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await gate.arrived.wait()
    one.remove(WEB)
    await calm()
    one.after.clear()
    gate.open.set()
    await until(lambda: one.get(WEB))


async def test_what_came_in_the_place_of_a_deleted_object_stays_known(world: Make) -> None:
    shop = await world().shop()
    await propagated(shop, "one")
    one, gate = shop.members["one"], Gate("DELETE", WEB)
    one.after.append(gate)
    before = one.get(WEB)
    shop.federate(CONFIG_MAP, "shop", "web", **DATA)
    await gate.arrived.wait()
    one.put(WEB, {"metadata": {"labels": before and before["metadata"]["labels"]}})
    await calm()
    one.after.clear()
    gate.open.set()
    # It is managed and not placed there, so it is not to stay.
    await until(lambda: one.get(WEB) is None)


async def test_a_removal_that_ends_while_its_write_is_answered_is_noticed(world: Make) -> None:
    shop = await world().shop()
    await propagated(shop, "one", "two")
    one, gate = shop.members["one"], Gate("DELETE", WEB)
    held = one.get(WEB)
    assert held
    held["metadata"]["finalizers"] = ["example.org/hold"]
    one.put(WEB, held)
    await calm()
    one.after.append(gate)
    shop.federate(CONFIG_MAP, "shop", "web", "two", **DATA)
    await gate.arrived.wait()
    one.remove(WEB)
    await calm()
    gate.open.set()
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"two": ""})


async def test_an_object_replaced_by_another_of_the_same_generation_is_put_right(
    world: Make,
) -> None:
    """`kubectl replace --force`: the new object has the recorded version, and other content."""
    make = world()
    make.enable(DEPLOYMENT)
    shop = await make.shop()
    path = DEPLOYMENT.path("shop", "api")
    shop.federate(DEPLOYMENT, "shop", "api", "one", template={"spec": {"replicas": 1}})
    one = shop.members["one"]
    found = await until(lambda: one.get(path))
    await until(lambda: shop.states(DEPLOYMENT, "shop", "api") == {"one": ""})
    one.remove(path)
    labels = found["metadata"]["labels"]
    one.put(path, {"metadata": {"labels": labels}, "spec": {"replicas": 9}})
    await until(lambda: (one.get(path) or {"spec": {}})["spec"] == {"replicas": 1}, 1.0)


async def test_what_came_after_a_deletion_whose_answer_was_lost_stays(world: Make) -> None:
    """Who repeats it after a 504 must not take what is somebody else's now."""
    shop = await world().shop()
    await propagated(shop, "one", "two")
    one = shop.members["one"]

    def lose(method: str, path: str, body: Json | None) -> None:
        del body
        if (method, path) == ("DELETE", WEB):
            one.after.clear()
            one.put(WEB, {"metadata": {}, "data": {"of": "somebody"}})
            raise ApiError(504, "Timeout", "no answer from etcd")

    one.after.append(lose)
    shop.federate(CONFIG_MAP, "shop", "web", "two", **DATA)
    await until(lambda: not one.after and shop.states(CONFIG_MAP, "shop", "web") == {"two": ""})
    await calm()
    assert (one.get(WEB) or {})["data"] == {"of": "somebody"}


async def test_the_finalizer_stays_until_the_members_are_empty(world: Make) -> None:
    shop = await world().shop()
    await propagated(shop, "one", "two")
    one, mine = shop.members["one"], shop.path(CONFIG_MAP, "shop", "web")
    held = one.get(WEB) or {}
    held["metadata"]["finalizers"] = ["example.org/hold"]
    one.put(WEB, held)
    await calm()
    shop.host.delete(mine)
    waits = {"one": "WaitingForRemoval"}
    await until(lambda: waits.items() <= shop.states(CONFIG_MAP, "shop", "web").items())
    assert "kubefed.io/sync-controller" in (shop.host.get(mine) or {})["metadata"]["finalizers"]
    one.remove(WEB)
    await until(lambda: shop.host.get(mine) is None)


async def test_nothing_is_recorded_of_a_copy_before_it_is_answered(world: Make) -> None:
    """Who ends in between would leave word of a copy that there isn't."""
    shop = await world().shop()
    one, gate = shop.members["one"], Gate("POST", MAPS)
    one.before.append(gate)
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await gate.arrived.wait()
    await calm()
    assert shop.versions("shop", "configmap-web") == {}
    gate.open.set()
    await until(lambda: shop.versions("shop", "configmap-web").keys() == {"one"})


async def test_what_was_planned_before_a_wait_is_thought_of_anew(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While writes are paced after a loss, an object waits for its turn, and may change."""
    shop = await world().shop()
    await propagated(shop, "one")
    waits, turn = asyncio.Event(), asyncio.Event()

    def wait(*_: object) -> float:
        waits.set()
        return 0.0 if turn.is_set() else 0.01

    monkeypatch.setattr(turns.Pacer, "wait", wait)
    monkeypatch.setattr(clusters.Clusters, "disturbed", True)
    shop.federate(CONFIG_MAP, "shop", "web", "one", template={"data": {"a": "old"}})
    await waits.wait()
    written: list[Json] = []
    shop.members["one"].before.append(
        lambda method, _, body: written.append(body["data"]) if method == "PUT" and body else None
    )
    await calm(0.05)
    shop.federate(CONFIG_MAP, "shop", "web", "one", template={"data": {"a": "new"}})
    await calm()
    turn.set()
    await until(lambda: (shop.members["one"].get(WEB) or {})["data"] == {"a": "new"})
    assert written == [{"a": "new"}]


async def test_a_status_that_says_nothing_new_is_not_written(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upstream's issue 1373: each writing brought the next reconcile, and that the next one."""
    seconds = itertools.count()
    for module in (host_objects, bookkeeping):
        monkeypatch.setattr(module, "timestamp", lambda: f"2026-01-01T00:00:{next(seconds)}Z")
    shop = await world().shop()
    await propagated(shop, "one", "two")
    await calm(0.1)
    count = len(shop.host.writes("federated"))
    await calm(0.1)
    assert len(shop.host.writes("federated")) == count


async def test_one_clusters_unforeseen_failure_leaves_the_others_writable(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await world().shop()
    carry_out = dispatch.Dispatcher.carry_out

    async def poisoned(self: Any, client: Any, operation: Any) -> Any:
        if operation.cluster == "one":
            raise TypeError("poison")
        return await carry_out(self, client, operation)

    monkeypatch.setattr(dispatch.Dispatcher, "carry_out", poisoned)
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web").get("one") == "CreationFailed")
    two = shop.members["two"]
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", template={"data": {"a": "c"}})
    await until(lambda: (two.get(WEB) or {}).get("data") == {"a": "c"})
    monkeypatch.setattr(dispatch.Dispatcher, "carry_out", carry_out)
    await until(lambda: shop.members["one"].get(WEB))


async def test_an_answer_of_a_cluster_that_left_is_not_the_new_ones(world: Make) -> None:
    shop = await world().shop()
    # Its versions are ahead of the new one's, so that nothing but its identity tells them apart.
    for number in range(50):
        shop.members["one"].put(NAMESPACE.path(name=f"n{number}"), {})
    gate = Gate("POST", MAPS)
    shop.members["one"].before.append(gate)
    shop.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await gate.arrived.wait()
    path = KUBEFED_CLUSTER.path(FEDERATION, "one")
    shop.host.remove(path)
    await calm()
    # Another cluster under the same name.
    fresh = FakeClient.servers["https://fresh"] = Server("fresh")
    shop.join("one")
    entry = shop.host.get(path) or {}
    shop.host.change(path, spec=entry["spec"] | {"apiEndpoint": "https://fresh"})
    fresh.put(NAMESPACE.path(name="shop"), {"metadata": {"name": "shop"}})
    await calm()
    gate.open.set()
    await until(lambda: fresh.get(WEB))


async def test_a_restored_cluster_is_filled_anew(world: Make) -> None:
    """Its versions went back: what was known of it says nothing, and nothing is waited for."""
    shop = await world().shop()
    await propagated(shop, "one", "two")
    fresh = FakeClient.servers["https://fresh"] = Server("fresh")
    path = KUBEFED_CLUSTER.path(FEDERATION, "one")
    entry = shop.host.get(path) or {}
    shop.host.change(path, spec=entry["spec"] | {"apiEndpoint": "https://fresh"})
    await until(lambda: fresh.get(WEB))
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": "", "two": ""})


async def test_another_cluster_at_a_members_address_is_not_written_to(world: Make) -> None:
    make = world()
    own = make.members["one"].put(NAMESPACE.path(name="kube-system"), {})
    make.join("one", **{"kubefed.io/cluster-uid": own["metadata"]["uid"]})
    shop = await make.shop()
    fresh = FakeClient.servers["https://fresh"] = Server("fresh")
    fresh.put(NAMESPACE.path(name="kube-system"), {})
    path = KUBEFED_CLUSTER.path(FEDERATION, "one")
    entry = shop.host.get(path) or {}
    shop.host.change(path, spec=entry["spec"] | {"apiEndpoint": "https://fresh"})
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    await until(lambda: shop.members["two"].get(WEB))
    await until(lambda: "one" in shop.states(CONFIG_MAP, "shop", "web"))
    # That is said at once; whether it is ready is another thing, and takes its threshold.
    await until(lambda: "another cluster" in shop.condition("one", "ConfigMalformed"))
    assert shop.condition("one", "Ready")
    assert fresh.log == []
    shop.host.change(path, spec=entry["spec"])
    await until(lambda: shop.members["one"].get(WEB))
    await until(lambda: not shop.condition("one", "ConfigMalformed"))


@pytest.mark.parametrize("moved", [True, False], ids=["told", "found-out"])
async def test_another_cluster_at_a_members_address_is_not_read(
    world: Make, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    """What it holds says nothing of this one: nothing is recorded or written for it."""
    monkeypatch.setattr(informer, "SHORTEST_WATCH", 0.0)
    make = world(clusterHealthCheck={"period": "100ms"})
    own = make.members["one"].put(NAMESPACE.path(name="kube-system"), {})
    make.join("one", **{"kubefed.io/cluster-uid": own["metadata"]["uid"]})
    shop = await make.shop()
    await propagated(shop, "one", "two")
    one, record = shop.members["one"], shop.versions("shop", "configmap-web")
    count = len(one.log)
    fresh = FakeClient.servers["https://fresh"] = Server("fresh")
    fresh.put(NAMESPACE.path(name="kube-system"), {})
    managed: Json = {"metadata": {"labels": {"kubefed.io/managed": "true"}}}
    # So often that its versions are the later ones.
    for number in range(200):
        fresh.put(WEB, managed | {"data": {"a": str(number)}})
    path = KUBEFED_CLUSTER.path(FEDERATION, "one")
    spec = (shop.host.get(path) or {})["spec"]
    if moved:
        shop.host.change(path, spec=spec | {"apiEndpoint": "https://fresh"})
    else:
        monkeypatch.setitem(FakeClient.servers, "https://one", fresh)
    await until(lambda: "another cluster" in shop.condition("one", "ConfigMalformed"))
    listed = len(fresh.listed)
    one.end_watches("")
    await until(
        lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": "ClusterNotReady", "two": ""}
    )
    await calm(0.1)
    assert fresh.log == []
    assert fresh.listed[listed:] == []
    assert shop.versions("shop", "configmap-web") == record
    if moved:
        assert listed == 0
        shop.host.change(path, spec=spec)
    else:
        monkeypatch.setitem(FakeClient.servers, "https://one", one)
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": "", "two": ""})
    await calm()
    # Nothing was changed in it, so nothing is to be put right.
    assert one.log[count:] == []


async def test_a_list_of_nothing_is_not_believed(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await world().shop()
    await propagated(shop, "one", "two")
    one = shop.members["one"]
    count = len(one.log)
    lists: list[str] = []
    really = Server.serve

    async def lying(self: Server, *args: Any) -> Json:
        answer = await really(self, *args)
        if "items" in answer:
            lists.append(str(args[1]))
            answer["items"] = []
        return answer

    monkeypatch.setattr(Server, "serve", lying)
    monkeypatch.setattr(informer, "RELIST_SECONDS", 0.0)
    for server in (shop.host, *shop.members.values()):
        server.end_watches("")
    await until(lambda: {"configmaps", "kubefedclusters"} <= {x.split("/")[-1] for x in lists})
    await calm(0.1)
    assert one.log[count:] == []
    assert shop.states(CONFIG_MAP, "shop", "web") == {"one": "", "two": ""}


async def test_a_cluster_that_a_list_lacks_keeps_its_claims(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await world().shop()
    await propagated(shop, "one", "two")
    really = Server.serve

    async def partial(self: Server, *args: Any) -> Json:
        answer = await really(self, *args)
        if "kubefedclusters" in args[1] and "items" in answer:
            answer["items"] = [
                each for each in answer["items"] if each["metadata"]["name"] != "one"
            ]
        return answer

    shop.members["one"].healthy = None
    monkeypatch.setattr(Server, "serve", partial)
    monkeypatch.setattr(informer, "RELIST_SECONDS", 0.0)
    shop.host.end_watches("kubefedclusters")
    await calm(0.4)
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", template={"data": {"a": "c"}})
    await until(lambda: shop.members["two"].get(WEB) and shop.states(CONFIG_MAP, "shop", "web"))
    assert "one" in shop.states(CONFIG_MAP, "shop", "web")


async def test_a_lost_event_is_found_by_the_next_list(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await world().shop()
    await propagated(shop, "one")
    one = shop.members["one"]
    one.mute.add("configmaps")
    one.change(WEB, data={"a": "x"})
    one.mute.clear()
    await calm()
    assert (one.get(WEB) or {})["data"] == {"a": "x"}
    monkeypatch.setattr(informer, "RELIST_SECONDS", 0.0)
    one.end_watches("configmaps")
    await until(lambda: (one.get(WEB) or {})["data"] == {"a": "b"})


async def test_an_object_that_nobody_can_read_ends_nothing(
    world: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The host holds a number beyond all numbers, a member a generation that is no number."""
    shop = await world().shop()
    await propagated(shop, "one", "two")
    one, two = shop.members["one"], shop.members["two"]
    poison = one.get(WEB) or {}
    poison["metadata"]["generation"] = "none"
    one.put(WEB, poison)
    shop.federate(CONFIG_MAP, "shop", "odd", "one", template={"data": {"a": float("inf")}})
    await until(lambda: "not finite" in caplog.text)
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", template={"data": {"a": "c"}})
    await until(lambda: (two.get(WEB) or {})["data"] == {"a": "c"})
    assert shop.running
    assert "starting them again" not in caplog.text


async def test_objects_don_t_wait_for_a_namespace_that_has_come(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The namespace's creation is told to who waits for it, though it is our own write."""
    monkeypatch.setattr(queue, "FIRST_RETRY", 30.0)
    make = world()
    make.enable(NAMESPACE, CONFIG_MAP)
    make.namespace("shop")
    one, there, full = make.members["one"], NAMESPACE.path(name="shop"), [True]

    async def refuse(method: str, path: str, body: Json | None) -> None:
        del body
        if method == "POST" and path == NAMESPACE.path():
            if full:
                raise ApiError(403, "Forbidden", "quota")
            # So that what waits for it has tried again in vain.
            await asyncio.sleep(0.05)
        if method == "POST" and path == MAPS and one.get(there) is None:
            raise ApiError(404, "NotFound", "no namespace shop")

    one.before.append(refuse)
    await make.start()
    make.federate(CONFIG_MAP, "shop", "web", "one", **DATA)
    await until(lambda: make.states(CONFIG_MAP, "shop", "web") == {"one": "CreationFailed"})
    full.clear()
    make.federate(NAMESPACE, "shop", "shop", "one", template={"metadata": {"labels": {"a": "b"}}})
    await until(lambda: one.get(WEB))


async def test_who_is_told_to_end_ends_though_something_fails_on_the_way(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure in the middle of the end hid that the end was asked for, and all began anew."""

    async def fails_late(_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("too late")

    monkeypatch.setattr(events.Events, "run", fails_late)
    make = await world("one").start()
    ending = asyncio.create_task(make.stop())
    done, _ = await asyncio.wait({ending}, timeout=1.5)
    assert done


def late_copy(shop: World) -> Json:
    """What a former leader had sent before its object was deleted arrives."""
    meta = {"labels": {"kubefed.io/managed": "true"}}
    return shop.members["one"].put(WEB, {"metadata": meta, "data": {"a": "b"}})


async def deleted(shop: World) -> None:
    shop.host.delete(shop.path(CONFIG_MAP, "shop", "web"))
    await until(lambda: shop.federated(CONFIG_MAP, "shop", "web") is None)


async def test_a_copy_that_comes_after_its_deletion_is_deleted_too(world: Make) -> None:
    shop = await world().shop()
    await propagated(shop, "one")
    await deleted(shop)
    late_copy(shop)
    await until(lambda: shop.members["one"].get(WEB) is None)


async def test_a_copy_that_nobody_deleted_lately_is_let_go(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "LATE_SECONDS", 0.0)
    shop = await world().shop()
    await propagated(shop, "one")
    await deleted(shop)
    late_copy(shop)
    await until(lambda: not (shop.members["one"].get(WEB) or {})["metadata"].get("labels"))


async def test_a_copy_of_a_later_object_that_went_without_us_is_let_go(world: Make) -> None:
    """Somebody took the finalizer off the second object of this name: its copies live on."""
    shop = await world().shop()
    await propagated(shop, "one")
    await deleted(shop)
    await propagated(shop, "one")
    shop.host.remove(shop.path(CONFIG_MAP, "shop", "web"))
    await until(lambda: not (shop.members["one"].get(WEB) or {})["metadata"].get("labels"))


async def test_an_orphan_of_a_later_object_lives(world: Make) -> None:
    shop = await world().shop()
    await propagated(shop, "one")
    await deleted(shop)
    await propagated(shop, "one")
    federated = shop.federated(CONFIG_MAP, "shop", "web") or {}
    federated["metadata"]["annotations"] = {"kubefed.io/orphan": "true"}
    shop.host.put(shop.path(CONFIG_MAP, "shop", "web"), federated)
    await deleted(shop)
    late_copy(shop)
    await until(lambda: not (shop.members["one"].get(WEB) or {})["metadata"].get("labels"))


async def test_a_change_whose_event_was_lost_keeps_no_status_from_being_written(
    world: Make,
) -> None:
    shop = await world().shop()
    await propagated(shop, "one", "two")

    def refuse(method: str, path: str, body: Json | None) -> None:
        del body
        if method == "POST" and path == MAPS:
            raise ApiError(403, "Forbidden", "no")

    shop.members["two"].before.append(refuse)
    shop.host.mute.add("types.kubefed.io/federatedconfigmaps")
    shop.host.label(shop.path(CONFIG_MAP, "shop", "web"), {"team": "a"})
    shop.members["two"].remove(WEB)
    wanted = {"one": "", "two": "CreationFailed"}
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == wanted)
