"""Members and host together: databags and secrets travel between models by Juju's rules.

ops.testing runs one charm at a time and lets any grant pass. The bus below carries application
databags and secrets between several of them and refuses what Juju refuses: a grant by the
consuming side, a grant to a unit across models, a secret that was not granted.
"""

import dataclasses
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import charm
import federation_members
import kubefed_host
import ops
import pytest
from charm import KubefedHostCharm
from federation_interfaces import MemberAppData, RegionHealthUnitData
from federation_interfaces.access import Access
from federation_interfaces.cluster import Cluster, ClusterAddress
from federation_interfaces.revocable import RevocableCredential
from federation_interfaces.testing import CA, kube_control_unit_data
from host_world import World
from kubefed_host import Host, Settings
from ops import testing

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOST_UUID = "00000000-2222-4333-8444-555555555555"
CA_ID = "secret:ca000000000000000000"
ROUNDS = 12
FEDERATION = 5001


class GrantRefusedError(Exception):
    """Juju refuses this grant."""


class FakeHost(Host):
    """A host unit without a machine."""

    def ensure_user(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)

    def ensure_tokens(
        self,
        access: Access,
        settings: Settings,
        name: str,
        moment: datetime,
        holder: str,
        *,
        renew: bool = False,
    ) -> bool:
        del access, settings, name, moment, holder, renew
        _ = (self.state / "token").write_text("own")
        return False

    def ensure_region_health(self, agents: Sequence[RegionHealthUnitData] | None) -> None:
        del agents

    def ensure_service(self, settings: Settings, address: str, *, restart: bool) -> None:
        del settings, address, restart

    def ensure_status_service(self, settings: Settings, unit: str) -> None:
        del settings, unit

    def running(self) -> bool:
        return True


class FakeCluster(Cluster):
    def version(self) -> str:
        return "v1.35.4"


def kube_control(user: str) -> testing.Relation:
    data = kube_control_unit_data(user, ca_secret_id=CA_ID)
    return testing.Relation("kube-control", id=4001, remote_units_data={0: data})


def model_secret() -> testing.Secret:
    return testing.Secret({"ca-certificate": CA}, id=CA_ID, owner=None)


@dataclasses.dataclass
class Member:
    """A region's model with kubefed-member in it; the offering side."""

    region: str
    number: int
    ctx: Any
    state: testing.State

    @property
    def uuid(self) -> str:
        return self.state.model.uuid

    @property
    def relation(self) -> testing.Relation | None:
        found = [each for each in self.state.relations if each.id == FEDERATION]
        return found[0] if found and isinstance(found[0], testing.Relation) else None

    def granted(self) -> dict[str, dict[str, str]]:
        """What the host may read: full ID to content."""
        found: dict[str, dict[str, str]] = {}
        for secret in self.state.secrets:
            if secret.owner is None:
                continue
            for names in secret.remote_grants.values():
                if any("/" in name for name in names):
                    raise GrantRefusedError("sharing with a unit across a cross model relation")
            if FEDERATION in secret.remote_grants and self.relation is not None:
                identity = f"secret://{self.uuid}/{secret.id.removeprefix('secret:')}"
                found[identity] = dict(secret.latest_content or {})
        return found


class Bus:
    """The controller: it runs hooks until no databag and no secret changes any more."""

    def __init__(self, tmp_path: Path, member_charm: type[ops.CharmBase]) -> None:
        self.tmp_path = tmp_path
        self.member_charm = member_charm
        self.current = ""
        self.members: list[Member] = []
        self.registered: dict[str, str] = {}
        self.left: list[str] = []
        self.minted = 0
        self.ended: list[str] = []
        self.host_ctx = testing.Context(KubefedHostCharm)
        self.host = testing.State(
            leader=True,
            model=testing.Model(name="catania", uuid=HOST_UUID),
            relations=[kube_control("kubefed-host/0"), testing.PeerRelation("replicas", id=4002)],
            secrets=[model_secret()],
        )
        self.run_host(self.host_ctx.on.start())

    def add(self, region: str) -> Member:
        number = 6001 + len(self.members)
        # On the offering side the other end has no name: remote-<32 hex>, and its model's UUID.
        remote = testing.Relation(
            "federation",
            id=FEDERATION,
            remote_app_name=f"remote-{number:032x}",
            remote_model_uuid=HOST_UUID,
        )
        state = testing.State(
            leader=True,
            model=testing.Model(name=region, uuid=f"{number:08d}-2222-4333-8444-555555555555"),
            relations=[kube_control("kubefed-member/0"), remote],
            secrets=[model_secret()],
        )
        member = Member(region, number, testing.Context(self.member_charm), state)
        self.members.append(member)
        saas = testing.Relation(
            "members", id=number, remote_app_name=f"{region}-member", remote_model_uuid=member.uuid
        )
        self.host = dataclasses.replace(self.host, relations={*self.host.relations, saas})
        self.run_member(member, member.ctx.on.relation_created(remote))
        self.run_host(self.host_ctx.on.relation_created(saas))
        self.settle()
        return member

    def remove(self, member: Member) -> None:
        relation = member.relation
        assert relation is not None
        self.run_member(member, member.ctx.on.relation_broken(relation))
        rest = {each for each in member.state.relations if each.id != FEDERATION}
        member.state = dataclasses.replace(member.state, relations=rest)
        self.run_host(self.host_ctx.on.relation_broken(self.host.get_relation(member.number)))
        rest = {each for each in self.host.relations if each.id != member.number}
        self.host = dataclasses.replace(self.host, relations=rest)
        self.settle()

    def run_member(self, member: Member, event: Any) -> None:
        self.current = member.region
        member.state = member.ctx.run(event, member.state)

    def run_host(self, event: Any) -> None:
        self.host = self.host_ctx.run(event, self.host)
        for secret in self.host.secrets:
            if secret.owner is not None and secret.remote_grants:
                raise GrantRefusedError("only the offering application grants")

    def settle(self) -> None:
        for _ in range(ROUNDS):
            if not any([self._carry(member) for member in self.members if member.relation]):
                return
        raise AssertionError(f"databags still change after {ROUNDS} rounds")

    def _carry(self, member: Member) -> bool:
        changed = self._secrets(member)
        there, here = self.host.get_relation(member.number), member.relation
        assert isinstance(there, testing.Relation)
        assert here is not None
        if dict(there.remote_app_data) != dict(here.local_app_data):
            new = dataclasses.replace(there, remote_app_data=dict(here.local_app_data))
            self.host = swap(self.host, new)
            self.run_host(self.host_ctx.on.relation_changed(new))
            changed = True
        there, here = self.host.get_relation(member.number), member.relation
        assert here is not None
        if dict(here.remote_app_data) != dict(there.local_app_data):
            answer = dataclasses.replace(here, remote_app_data=dict(there.local_app_data))
            member.state = swap(member.state, answer)
            self.run_member(member, member.ctx.on.relation_changed(answer))
            changed = True
        return changed

    def _secrets(self, member: Member) -> bool:
        changed = False
        for identity, content in member.granted().items():
            known = [each for each in self.host.secrets if each.id == identity]
            if known and known[0].latest_content == content:
                continue
            rest = {each for each in self.host.secrets if each.id != identity}
            tracked = known[0].tracked_content if known else content
            new = testing.Secret(tracked, latest_content=content, id=identity, owner=None)
            self.host = dataclasses.replace(self.host, secrets={*rest, new})
            if known:
                self.run_host(self.host_ctx.on.secret_changed(new))
            changed = True
        return changed


def swap(state: testing.State, relation: testing.Relation) -> testing.State:
    rest = {each for each in state.relations if each.id != relation.id}
    return dataclasses.replace(state, relations={*rest, relation})


@pytest.fixture
def member_modules() -> Iterator[Any]:
    """The member's charm under a name of its own, beside this charm's."""
    source = Path(__file__).parents[3] / "kubefed-member" / "src"
    sys.path.insert(0, str(source))
    name = "kubefed_member_charm"
    spec = importlib.util.spec_from_file_location(name, source / "charm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]
    sys.path.remove(str(source))


class Fakes:
    """The clusters, as both charms' workload modules see them."""

    def __init__(self) -> None:
        self.bus: Bus | None = None

    @property
    def now(self) -> "Bus":
        assert self.bus is not None
        return self.bus

    # Of the member

    def mint(
        self, access: Access, cluster: Cluster, federation: Any, lifetime: timedelta
    ) -> RevocableCredential:
        del access, cluster, federation
        self.now.minted += 1
        number = self.now.minted
        token = f"{self.now.current}-{number}"
        return RevocableCredential(token, NOW + lifetime, f"bound-{number}")

    def end_older_tokens(self, access: Access, federation: Any, keep: str) -> int:
        del access
        # What is registered then is what the controller goes on with.
        region = self.now.current
        self.now.ended.append(f"{self.now.registered[region]} goes on, bound to {keep}")
        return 1

    def withdraw(
        self, access: Access, region: str, federation: Any, *, keep_namespace: bool
    ) -> None:
        del access, federation, keep_namespace
        self.now.left.append(f"{region} by itself")

    def identity(self, access: Access) -> str:
        del access
        return f"the cluster of {self.now.current}"

    def own_cluster(self, access: Access, *_: object) -> Cluster:
        return FakeCluster(access.address, "own")

    def prepare(self, access: Access, region: str, federation: Any) -> str:
        del access
        return f"{region}-{federation.host_cluster}"

    # Of the host

    def join(
        self,
        address: ClusterAddress,
        own_token: str,
        namespace: str,
        data: MemberAppData,
        token: str,
        *,
        check_s: float,
        release_orphans: bool,
    ) -> bool:
        del address, own_token, namespace, check_s, release_orphans
        self.now.registered[data.region or ""] = token
        return True

    def leave(
        self, address: object, own: str, namespace: str, region: str, *, force: bool
    ) -> list[str]:
        del address, own, namespace, force
        _ = self.now.registered.pop(region)
        return []

    def list_clusters(self, *_: object) -> list[dict[str, object]]:
        return [
            {"name": each, "ready": True, "message": "", "reason": ""}
            for each in self.now.registered
        ]


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, member_modules: Any) -> Bus:
    fakes = Fakes()
    workload = member_modules.kubefed_member
    real_store = workload.Store
    for name in ("mint", "withdraw", "identity", "own_cluster", "prepare", "end_older_tokens"):
        monkeypatch.setattr(workload, name, getattr(fakes, name))
    for name in ("join", "leave", "list_clusters"):
        monkeypatch.setattr(federation_members, name, getattr(fakes, name))
    monkeypatch.setattr(federation_members, "cluster_states", fakes.list_clusters)
    monkeypatch.setattr(workload, "now", lambda: NOW + timedelta(seconds=fakes.now.minted))
    monkeypatch.setattr(workload, "Store", lambda: real_store(tmp_path / fakes.now.current))
    world = World(tmp_path)
    monkeypatch.setattr(kubefed_host, "install_api", world.install_api)
    monkeypatch.setattr(Access, "admin", lambda _: world.api)
    monkeypatch.setattr(kubefed_host, "version", lambda: "0.1.0")
    monkeypatch.setattr(charm, "Host", lambda _: FakeHost(Path("/charm"), tmp_path / "host"))
    fakes.bus = Bus(tmp_path, member_modules.KubefedMemberCharm)
    return fakes.bus


class TestFederation:
    def test_three_regions_join(self, bus: Bus):
        members = [bus.add(region) for region in ("catania", "napoli", "palermo")]
        assert bus.registered == {
            "catania": "catania-1",
            "napoli": "napoli-2",
            "palermo": "palermo-3",
        }
        assert bus.host.unit_status == ops.ActiveStatus(
            "3 clusters joined: catania napoli palermo"
        )
        for member in members:
            assert member.state.unit_status == ops.ActiveStatus("member of catania")

    def test_a_rotated_token_reaches_the_host_and_the_one_of_before_ends(self, bus: Bus):
        member = bus.add("palermo")
        bus.run_member(member, member.ctx.on.action("rotate-token"))
        assert bus.ended == ["palermo-1 goes on, bound to bound-1"]
        bus.settle()
        assert bus.registered == {"palermo": "palermo-2"}
        assert bus.ended[1:] == ["palermo-2 goes on, bound to bound-2"]

    def test_a_region_that_leaves_is_forgotten_by_both(self, bus: Bus):
        _, palermo = bus.add("napoli"), bus.add("palermo")
        bus.remove(palermo)
        assert bus.registered == {"napoli": "napoli-1"}
        assert bus.left == ["palermo by itself"]
        assert not [each for each in palermo.state.secrets if each.owner == "app"]
        assert bus.host.unit_status == ops.ActiveStatus("1 cluster joined: napoli")

    def test_a_region_that_comes_back_is_joined_again(self, bus: Bus):
        palermo = bus.add("palermo")
        bus.remove(palermo)
        bus.members.remove(palermo)
        _ = bus.add("palermo")
        assert bus.registered == {"palermo": "palermo-2"}

    def test_unjoined_on_demand_it_stays_out(self, bus: Bus):
        palermo = bus.add("palermo")
        params = {"cluster": "palermo", "force": False, "workloads": "keep"}
        bus.run_host(bus.host_ctx.on.action("unjoin-cluster", params=params))
        bus.settle()
        bus.run_member(palermo, palermo.ctx.on.action("rotate-token"))
        bus.settle()
        assert bus.registered == {}
        assert palermo.state.unit_status == ops.ActiveStatus("ready to join catania")
        params = {"cluster": "palermo", "release-orphans": False}
        bus.run_host(bus.host_ctx.on.action("join-cluster", params=params))
        bus.settle()
        assert bus.registered == {"palermo": "palermo-2"}
        assert palermo.state.unit_status == ops.ActiveStatus("member of catania")

    def test_no_databag_holds_a_token(self, bus: Bus):
        _ = bus.add("palermo")
        bags = [dict(each.local_app_data) for each in bus.host.relations]
        bags += [dict(each.local_app_data) for each in bus.members[0].state.relations]
        assert bags
        assert "palermo-1" not in str(bags)


class TestTheBusItself:
    def test_it_refuses_a_grant_to_a_unit(self, bus: Bus):
        palermo = bus.add("palermo")
        secret = next(each for each in palermo.state.secrets if each.owner == "app")
        to_unit = dataclasses.replace(secret, remote_grants={FEDERATION: {"remote-0/0"}})
        rest = {each for each in palermo.state.secrets if each.id != secret.id}
        palermo.state = dataclasses.replace(palermo.state, secrets={*rest, to_unit})
        with pytest.raises(GrantRefusedError):
            bus.settle()

    def test_it_refuses_a_grant_by_the_consuming_side(self, bus: Bus):
        palermo = bus.add("palermo")
        secret = testing.Secret(
            {"any": "thing"}, owner="app", remote_grants={palermo.number: {"palermo-member"}}
        )
        bus.host = dataclasses.replace(bus.host, secrets={*bus.host.secrets, secret})
        with pytest.raises(GrantRefusedError):
            bus.run_host(bus.host_ctx.on.update_status())
