"""Plain objects federated as they are, over API servers in memory: the host is a member too."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from fake_federation import FEDERATION, World, calm, until
from fake_server import FakeClient, Server
from kubefed.api import (
    CONFIG_MAP,
    DEPLOYMENT,
    KUBEFED_CLUSTER,
    NAMESPACE,
    REPLICA_SCHEDULING_PREFERENCE,
    FederatedType,
    TargetKind,
)
from kubefed.controller import events
from kubefed.controller.client import ApiError
from kubefed.controller.leader import LEASE
from kubefed.controller.objects import Json
from kubefed.controller.transparent import beside, marks, release

WEB = DEPLOYMENT.path("shop", "web")
SHOP = NAMESPACE.path(name="shop")
MANAGED = "kubefed.io/managed"
FNS = FederatedType.of(NAMESPACE).federated.path("shop", "shop")
FEDERATED = FederatedType.of(DEPLOYMENT).federated.path("shop", "web")
RSP = REPLICA_SCHEDULING_PREFERENCE.path("shop", "web")
IDENTITY = NAMESPACE.path(name="kube-system")


class Shop(World):
    """A host that is the member "home", and the member "far"; "shop" asks to be federated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch, ["far"])
        monkeypatch.setattr(beside, "SUMMARY_SECONDS", 0.0)
        monkeypatch.setattr(beside, "LAST_PLAN_SECONDS", 0.01)
        monkeypatch.setattr(release, "RECHECK", 0.005)
        monkeypatch.setattr(release, "RECHECK_TYPES", 0.02)
        monkeypatch.setattr(events, "PER_SECOND", 10_000.0)
        FakeClient.servers["https://home"] = self.host
        self.join("home")
        self.enable(NAMESPACE, CONFIG_MAP, DEPLOYMENT)
        for server in (self.host, self.far):
            server.put(IDENTITY, {})
        self.ask()

    @property
    def far(self) -> Server:
        return self.members["far"]

    def ask(self, **notes: str) -> None:
        meta = {"labels": {marks.FEDERATE: "true"}, "annotations": notes}
        self.host.put(SHOP, {"metadata": meta})

    def unask(self) -> None:
        """Take the label off, and no other."""
        labels = {
            name: value for name, value in self.labels(SHOP).items() if name != marks.FEDERATE
        }
        self.host.label(SHOP, labels)

    def apply(self, replicas: int = 3, **notes: str) -> None:
        """Change what the user wants, as kubectl apply does: everybody else's fields stay."""
        known = self.host.get(WEB) or {"metadata": {"labels": {"app": "web"}}, "status": {}}
        known["metadata"]["annotations"] = known["metadata"].get("annotations", {}) | notes
        self.host.put(WEB, known | {"spec": {"replicas": replicas}})

    def collect(self) -> None:
        """What a garbage collector does."""
        uids = {each["metadata"]["uid"] for kind in self.kinds() for each in self.host.all(kind)}
        for resource in ("types.kubefed.io/federateddeployments", RSP_RESOURCE):
            for each in self.host.all(resource):
                owners = each["metadata"].get("ownerReferences") or []
                if owners and not any(owner["uid"] in uids for owner in owners):
                    group, plural = resource.split("/")
                    version = "v1beta1" if plural.startswith("federated") else "v1alpha1"
                    kind = TargetKind(group, version, "", plural)
                    name = each["metadata"]["name"]
                    self.host.delete(kind.path("shop", name))

    def kinds(self) -> list[str]:
        return ["apps/deployments", "namespaces"]

    def copy(self) -> Json:
        return self.far.get(WEB) or {}

    def replicas(self) -> int | None:
        return self.copy().get("spec", {}).get("replicas")

    def labels(self, path: str, server: Server | None = None) -> Any:
        found = (server or self.host).get(path) or {}
        return found.get("metadata", {}).get("labels") or {}

    def summary(self) -> Any:
        notes = ((self.host.get(WEB) or {}).get("metadata") or {}).get("annotations") or {}
        return json.loads(notes.get(marks.SUMMARY, "{}"))

    def registered(self, name: str) -> Json:
        return self.host.get(KUBEFED_CLUSTER.path(FEDERATION, name)) or {}

    def spec(self) -> Json:
        return (self.host.get(FEDERATED) or {}).get("spec", {})

    async def up(self) -> None:
        """Start, and wait until the Deployment is everywhere and says so."""
        await self.start()
        await until(self.settled)

    def settled(self) -> bool:
        return (
            self.replicas() == (self.host.get(WEB) or {}).get("spec", {}).get("replicas")
            and self.labels(WEB).get(MANAGED) == "true"
            and self.summary().get("propagated") is True
        )

    async def still(self) -> None:
        """Nothing is written any more."""
        # On a busy machine what is under way takes longer; what never ends is never still.
        for _ in range(20):
            before = self.written()
            await calm(0.03)
            if self.written() == before:
                return
        raise AssertionError(f"still written: {self.written()[-5:]}")

    def written(self) -> list[str]:
        """Every write but those of the Lease and of events, which are told behind the work."""
        writes = [*self.host.writes(), *self.far.writes()]
        return [line for line in writes if "/events" not in line and "/leases" not in line]


RSP_RESOURCE = "scheduling.kubefed.io/replicaschedulingpreferences"


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Shop]:
    made = Shop(monkeypatch)
    yield made
    await made.stop()


async def test_a_plain_object_is_everywhere_and_only_labelled_at_home(shop: Shop) -> None:
    shop.apply()
    before = shop.host.get(WEB) or {}
    await shop.up()
    assert shop.replicas() == 3
    after = shop.host.get(WEB) or {}
    assert after["spec"] == before["spec"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"] == {"app": "web", MANAGED: "true", marks.SOURCE: "true"}
    assert set(after["metadata"]["annotations"]) == {marks.SUMMARY}
    assert shop.labels(SHOP) == {marks.FEDERATE: "true", MANAGED: "true", marks.SOURCE: "true"}
    assert not shop.labels(WEB, shop.far).keys() & {marks.SOURCE}
    assert marks.FEDERATE not in shop.labels(SHOP, shop.far)
    assert not [line for line in shop.host.writes(WEB) if not line.startswith("PATCH")]
    await shop.still()


async def test_a_change_goes_everywhere_and_comes_back_from_nowhere(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    shop.apply(5)
    await until(lambda: shop.replicas() == 5)
    await shop.still()
    # A copy that somebody changed is put right; the source isn't.
    shop.far.put(WEB, shop.copy() | {"spec": {"replicas": 9}})
    await until(lambda: shop.replicas() == 5)
    assert (shop.host.get(WEB) or {})["spec"] == {"replicas": 5}


async def test_applying_the_same_again_writes_nothing(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    await calm()
    count = len(shop.far.writes())
    shop.apply()
    await shop.still()
    assert len(shop.far.writes()) == count


async def test_a_deleted_source_takes_its_copies_along_and_is_not_made_again(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    shop.host.delete(WEB)
    await calm()
    # The garbage collector is slow; nobody makes what the user deleted.
    assert shop.host.get(WEB) is None
    shop.collect()
    await until(lambda: shop.far.get(WEB) is None and shop.host.get(FEDERATED) is None)
    await shop.still()
    assert shop.host.get(WEB) is None
    assert not [line for line in shop.host.writes() if line == f"POST {DEPLOYMENT.path('shop')}"]


async def test_a_source_made_anew_has_copies_made_anew(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    uid = shop.copy()["metadata"]["uid"]
    shop.host.delete(WEB)
    shop.apply(4)
    await calm()
    shop.collect()
    await until(lambda: shop.replicas() == 4 and shop.settled())
    assert shop.copy()["metadata"]["uid"] != uid
    await shop.still()


async def test_without_the_label_everything_runs_on_and_nothing_is_left_behind(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    shop.unask()
    await until(lambda: shop.host.get(FEDERATED) is None)
    await until(lambda: shop.host.get(FNS) is None)
    await shop.still()
    assert shop.replicas() == 3
    assert MANAGED not in shop.labels(WEB, shop.far)
    assert shop.far.get(SHOP)
    assert shop.labels(WEB) == {"app": "web"}
    assert shop.summary() == {}
    assert shop.labels(SHOP) == {}
    assert shop.host.all("rbac.authorization.k8s.io/rolebindings") == []
    assert await until(lambda: shop.events("NoLongerFederated"))
    # And back again: what runs is taken up, not made anew.
    uid = shop.copy()["metadata"]["uid"]
    shop.ask()
    await until(shop.settled)
    assert shop.copy()["metadata"]["uid"] == uid
    await shop.still()


async def test_a_label_put_back_in_the_middle_ends_well(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    for _ in range(3):
        shop.unask()
        await calm(0.002)
        shop.ask()
        await calm(0.001)
    await until(shop.settled)
    await until(lambda: shop.host.get(FEDERATED) is not None and shop.labels(SHOP))
    await shop.still()
    assert shop.settled()
    assert "kubefed.io/orphan" not in (shop.host.get(FEDERATED) or {})["metadata"].get(
        "annotations", {}
    )


async def test_a_federated_object_written_by_hand_is_never_touched(shop: Shop) -> None:
    written = shop.federate(DEPLOYMENT, "shop", "web", template={"spec": {"replicas": 1}})
    shop.apply()
    await shop.start()
    assert await until(lambda: shop.events("AlreadyFederated"))
    found = shop.host.get(FEDERATED) or {}
    assert found["spec"] == written["spec"]
    assert "ownerReferences" not in found["metadata"]
    assert shop.far.get(WEB) is None


async def test_a_copy_that_a_handwritten_object_made_at_home_is_no_source(shop: Shop) -> None:
    shop.federate(CONFIG_MAP, "shop", "c", "home", "far", template={"data": {"a": "b"}})
    await shop.start()
    path = CONFIG_MAP.path("shop", "c")
    await until(lambda: shop.host.get(path) and shop.far.get(path))
    await shop.still()
    found = shop.federated(CONFIG_MAP, "shop", "c") or {}
    assert not marks.marked(found)
    shop.host.delete(shop.path(CONFIG_MAP, "shop", "c"))
    await until(lambda: shop.host.get(path) is None and shop.far.get(path) is None)
    await shop.still()


async def test_an_object_that_is_kept_out_later_runs_on(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    shop.apply(3, **{marks.FEDERATE: "false"})
    await until(lambda: shop.host.get(FEDERATED) is None)
    await shop.still()
    assert shop.replicas() == 3
    assert shop.labels(WEB) == {"app": "web"}
    assert shop.summary() == {}
    assert shop.host.get(FNS)


async def test_the_system_is_refused_with_an_event(shop: Shop) -> None:
    meta = {"labels": {marks.FEDERATE: "true"}}
    shop.host.put(IDENTITY, {"metadata": meta})
    shop.host.put(CONFIG_MAP.path("kube-system", "c"), {"data": {}})
    await shop.start()
    [event] = await until(lambda: shop.events("NotFederated"))
    assert event["involvedObject"]["name"] == "kube-system"
    await shop.still()
    assert shop.host.all("types.kubefed.io/federatedconfigmaps") == []


async def test_a_policy_places_and_a_wrong_one_changes_nothing(shop: Shop) -> None:
    shop.ask(**{"kubefed.io/cluster-selector": "region=far"})
    shop.apply()
    await shop.start()
    await until(lambda: shop.replicas() == 3)
    await until(lambda: shop.summary().get("clusters"))
    assert MANAGED not in shop.labels(WEB)
    shop.ask(**{"kubefed.io/cluster-selector": "region=="})
    shop.ask(**{"kubefed.io/cluster-selector": "region in far"})
    assert await until(lambda: shop.events("InvalidPolicy"))
    await shop.still()
    assert shop.replicas() == 3
    shop.ask(**{"kubefed.io/clusters": "home"})
    await until(lambda: shop.far.get(WEB) is None)
    await until(lambda: shop.labels(WEB).get(MANAGED))
    # The namespace stays, for there may be more in it.
    assert shop.far.get(SHOP)
    await shop.still()


async def test_a_total_is_shared_out_around_what_the_manifest_says(shop: Shop) -> None:
    shop.ask(**{"kubefed.io/total-replicas": "7"})
    shop.apply(2)
    seen: list[Any] = []
    shop.far.after.append(lambda *_: seen.append(shop.replicas()))
    await shop.start()
    await until(lambda: shop.replicas() == 5)
    # It was never started with another number first.
    assert set(seen) <= {None, 5}
    assert (shop.host.get(WEB) or {})["spec"]["replicas"] == 2
    await shop.still()
    shop.apply(4)
    await until(lambda: shop.replicas() == 3)
    assert (shop.host.get(WEB) or {})["spec"]["replicas"] == 4
    shop.ask()
    await until(lambda: shop.host.get(RSP) is None and shop.replicas() == 4)
    await until(lambda: "overrides" not in shop.spec() or not shop.spec()["overrides"])
    assert shop.spec()["placement"] == {"clusterSelector": {"matchLabels": {}}}
    await shop.still()


async def test_somebodys_objects_keep_the_namespace_federated(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    shop.federate(CONFIG_MAP, "shop", "mine", "far", template={"data": {}})
    await until(lambda: shop.far.get(CONFIG_MAP.path("shop", "mine")))
    shop.unask()
    await until(lambda: shop.host.get(FEDERATED) is None)
    await until(lambda: not marks.marked(shop.host.get(FNS) or {"metadata": {}}))
    await shop.still()
    assert shop.host.get(FNS)
    assert shop.far.get(CONFIG_MAP.path("shop", "mine"))


async def test_a_restart_writes_nothing(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    await shop.still()
    await shop.stop()
    before = [line for line in shop.written() if "/shop" in line]
    await shop.start()
    await calm(0.05)
    assert [line for line in shop.written() if "/shop" in line] == before


async def test_what_changed_while_no_controller_ran_is_made_up_for(shop: Shop) -> None:
    shop.apply()
    await shop.up()
    await shop.stop()
    shop.apply(6)
    await shop.start()
    await until(lambda: shop.replicas() == 6)
    await shop.stop()
    shop.unask()
    await shop.start()
    await until(lambda: shop.host.get(FNS) is None and shop.host.get(FEDERATED) is None)
    assert shop.replicas() == 6
    await shop.still()


async def test_a_kind_beyond_the_ten_is_federated_too(shop: Shop) -> None:
    widget = TargetKind("example.com", "v1", "Widget", "widgets")
    path = widget.path("shop", "w")
    shop.enable(widget)
    shop.host.put(path, {"spec": {"size": 1}, "status": {"phase": "Up"}})
    await shop.start()
    found = await until(lambda: shop.far.get(path))
    assert found["spec"] == {"size": 1}
    assert "status" not in found

    def told() -> Any:
        notes = (shop.host.get(path) or {})["metadata"].get("annotations") or {}
        return notes.get(marks.SUMMARY)

    # Custom kinds take no annotation by their status.
    assert json.loads(await until(told))["clusters"] == {"far": {}, "home": {}}
    await shop.still()


async def test_a_host_that_is_no_member_is_never_written_but_annotated(shop: Shop) -> None:
    shop.host.remove(KUBEFED_CLUSTER.path(FEDERATION, "home"))
    shop.ask(**{"kubefed.io/total-replicas": "5"})
    shop.apply(2)
    await shop.start()
    await until(lambda: shop.replicas() == 3)
    await until(lambda: shop.summary().get("clusters", {}).keys() == {"far", "(host)"})
    assert shop.labels(WEB) == {"app": "web"}
    await shop.still()


async def test_nothing_marked_is_written_to_a_cluster_that_nobody_knows(shop: Shop) -> None:
    shop.far.before.append(_silent_about_itself)
    shop.apply()
    await shop.start()
    await until(lambda: shop.labels(WEB).get(MANAGED))
    states = await until(lambda: shop.states(DEPLOYMENT, "shop", "web"))
    assert states["far"] == "CachedRetrievalFailed"
    assert shop.far.get(WEB) is None
    # What it says of itself when it was joined is enough.
    uid = (shop.far.get(IDENTITY) or {})["metadata"]["uid"]
    notes = {"metadata": {"annotations": {"kubefed.io/cluster-uid": uid}}}
    shop.host.put(KUBEFED_CLUSTER.path(FEDERATION, "far"), shop.registered("far") | notes)
    await until(lambda: shop.replicas() == 3)


async def test_a_cluster_whose_account_may_not_look_is_known_by_its_address(shop: Shop) -> None:
    shop.far.before.append(_forbidden)
    shop.apply()
    await shop.up()
    assert shop.replicas() == 3


def _silent_about_itself(method: str, path: str, body: Json | None) -> None:
    del method, body
    if path == IDENTITY:
        raise OSError("no answer")


def _forbidden(method: str, path: str, body: Json | None) -> None:
    del method, body
    if path == IDENTITY:
        raise ApiError(403, "Forbidden", "no")


class Crash:
    """Ends the controller at its nth write that counts, with or without the answer.

    Args:
        shop: the federation.
        number: which write; from then on nothing it asks is answered.
        answered: whether that write is answered still.
    """

    def __init__(self, shop: Shop, number: int, *, answered: bool) -> None:
        self.left, self.answered, self.dead = number, answered, False
        for server in (shop.host, shop.far):
            server.before.append(self._before)
            server.after.append(self._after)

    def _before(self, method: str, path: str, body: Json | None) -> None:
        del method, path, body
        if self.dead:
            raise OSError("the controller is gone")

    def _after(self, method: str, path: str, body: Json | None) -> None:
        del body
        if method == "GET" or "/events" in path or "/leases" in path or self.dead:
            return
        self.left -= 1
        if self.left == 0:
            self.dead = True
            if not self.answered:
                raise OSError("the controller is gone")

    async def over(self, shop: Shop, done: Any) -> None:
        """Wait for the end, or for the crash and then for the end."""
        await until(lambda: self.dead or done())
        if self.dead:
            await shop.stop()
            # Its end, which a test need not wait for.
            shop.host.remove(LEASE.path(FEDERATION, "kubefed-controller-manager"))
            self.dead, self.left = False, 0
            await shop.start()
            await until(done)


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("number", range(3, 27))
async def test_a_crash_after_any_write_changes_nothing_of_the_end(
    shop: Shop, number: int, answered: bool
) -> None:
    # A crash of the first two: the clusters' states, which others test.
    shop.apply()
    uid = (shop.host.get(WEB) or {})["metadata"]["uid"]
    crash = Crash(shop, number, answered=answered)
    await shop.start()
    await crash.over(shop, shop.settled)
    copied = shop.copy()["metadata"]["uid"]

    shop.unask()
    bindings = "rbac.authorization.k8s.io/rolebindings"

    def let_go() -> bool:
        return (
            shop.host.get(FEDERATED) is None
            and shop.host.get(FNS) is None
            and shop.host.all(bindings) == []
            and MANAGED not in shop.labels(WEB, shop.far)
        )

    await crash.over(shop, let_go)
    assert shop.copy()["metadata"]["uid"] == copied
    assert shop.replicas() == 3
    left = shop.host.get(WEB) or {}
    assert left["metadata"]["uid"] == uid
    assert left["metadata"]["labels"] == {"app": "web"}
    assert shop.summary() == {}
    await shop.still()
    assert crash.left <= 0, "there are fewer writes than that"
