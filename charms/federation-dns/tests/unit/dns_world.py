"""The machine and the other regions, as the charm's tests see them."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from charm import FederationDnsCharm
from dns_provider import Target
from dns_settings import Place, Settings
from federation_dns_unit import Machine
from federation_interfaces import MeshEntry, MeshHubAppData, MeshMemberAppData
from federation_interfaces.access import Access
from federation_interfaces.testing import CA, CERTIFICATES, kube_control_unit_data
from local_agent import VERDICT_TIMEOUT_S, LocalAgent, UnitError
from name_server import Served
from ops import testing

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MODEL = testing.Model(name="catania", uuid="11111111-2222-4333-8444-555555555555")
Context = testing.Context[FederationDnsCharm]
HEALTHY = {"verdict": "healthy", "withdrawn": False, "explain": ""}


class FakeMachine(Machine):
    """The machine, remembered instead of changed; what is kept is kept on disk."""

    def __init__(self, root: Path):
        super().__init__(Path("/charm"), root, user="root", group="root")
        self.agent = FakeAgent(self)
        self.calls: list[str] = []
        self.fail: dict[str, str] = {}
        self.peers: Sequence[MeshEntry] = []
        self.down: list[str] = []
        self.place: Place | None = None
        self.young = False
        self.started = False
        self.watched = ""
        self.looked: list[bool] = []
        self.noted = self.data / "tell/said"
        self.clock = 100.0
        self.serving_takes = 0.0
        self.answers_in = 0.02
        self.asked: list[float] = []
        self.later: list[tuple[float, dict[str, Any]]] = []
        self.ca = ""
        self.served = Served()
        self.parent: dict[str, Any] = {}
        self.secrets: dict[str, str] = {}
        self.wanted: dict[str, Any] = {}
        self.rotates: list[str] = []
        self.following = ""
        self.said: dict[str, Any] = {"quorum": True, "panic": False, "regions": {}}

    def do(self, name: str) -> None:
        if name in self.fail:
            raise UnitError(self.fail[name])
        self.calls.append(name)

    def ensure_packages(self) -> None:
        self.do("packages")

    def ensure_user(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)

    def ensure_keys(self, place: Place, *, own_server: bool = True) -> None:
        self.place = place

    def ensure_kubeconfig(
        self, access: Access, place: Place, moment: datetime, holder: str, *, look: bool = False
    ) -> bool:
        self.looked.append(look)
        assert holder == "federation-dns/0"
        assert access.admin_token == "admin-token"
        self.ca = access.address.ca_certificate
        self.do("kubeconfig")
        return False

    def renew_credentials(self, place: Place, moment: datetime) -> None:
        self.keep(restart=True)
        self.do("renew")

    def end_older_token(self, access: Access, holder: str) -> None:
        if "renew" in self.calls:
            self.do("end older token")

    def ensure_bind(self, settings: Settings, place: Place, served: Served) -> bool:
        self.served = served
        self.do(f"bind {settings.zone} at {place.listen}")
        return True

    def ensure_no_server(self) -> None:
        self.do("no server")

    def ensure_secrets(self, target: Target | None) -> None:
        self.secrets = {} if target is None else target.files

    def ensure_agent(self, settings: Settings, place: Place, target: Target | None = None) -> bool:
        self.wanted = self.agent_configuration(settings, place, target)
        self.do(f"agent {place.region}")
        return True

    def ensure_peers(self, entries: Sequence[MeshEntry]) -> bool:
        changed = list(entries) != list(self.peers)
        self.peers = entries
        return changed

    def ensure_running(self, *, bind_changed: bool, agent_changed: bool, moment: datetime) -> bool:
        self.do(f"start {bind_changed} {agent_changed}")
        self.clock += self.serving_takes
        return self.started

    def ensure_status_service(self, settings: Settings, place: Place, unit: str) -> None:
        self.watched = unit
        self.noted.parent.mkdir(parents=True, exist_ok=True)

    def ensure_no_account(self) -> None:
        self.do("no account")

    def rotate(self, place: Place, entries: Sequence[MeshEntry], moment: datetime) -> bool:
        if self.rotates:
            self.following = self.rotates.pop(0)
            return True
        return False

    def running_not(self, *, own_server: bool = True) -> list[str]:
        return self.down

    def starting(self, moment: datetime) -> bool:
        return self.young

    def stop(self) -> None:
        self.calls.append("stop")

    def end_account(self) -> None:
        self.do("end account")

    def remove(self) -> None:
        self.calls.append("remove")

    def pause(self, seconds: float) -> None:
        self.clock += seconds

    def zone(self, settings: Settings) -> str:
        self.do("zone")
        return "@ 15 IN SOA ..."


class FakeAgent(LocalAgent):
    """The agent, which says what its machine is told to have it say."""

    def __init__(self, machine: FakeMachine):
        super().__init__(Path("/charm/venv/bin/python"), machine.settings, user="root")
        self._machine = machine

    def certificate(self) -> str:
        return CERTIFICATES[0] if self._machine.place else ""

    def next_certificate(self) -> str:
        return self._machine.following

    def verdict(
        self, settings: Settings, place: Place, timeout: float = VERDICT_TIMEOUT_S
    ) -> dict[str, Any]:
        assert 0 < timeout <= VERDICT_TIMEOUT_S
        self._machine.asked.append(self._machine.clock)
        self._machine.clock += self._machine.answers_in
        if self._machine.later and self._machine.clock >= self._machine.later[0][0]:
            self._machine.said = self._machine.later.pop(0)[1]
        if "verdict" in self._machine.fail:
            raise UnitError(self._machine.fail["verdict"])
        return self._machine.said

    def delegation(self) -> dict[str, Any]:
        self._machine.do("delegation")
        return self._machine.parent

    def force_region(self, region: str, verdict: str, *, who: str, until: str) -> str:
        self._machine.do(f"force {region} {verdict} by {who} until {until}")
        return f"{region}: {verdict}\n"

    def cordon(self, region: str, *, who: str, until: str) -> dict[str, Any]:
        self._machine.do(f"cordon {region} by {who} until {until}")
        return {"region": region, "said": "cordoned", "who": who, "changed": True, "note": ""}

    def uncordon(self, region: str) -> dict[str, Any]:
        self._machine.do(f"uncordon {region}")
        return {"region": region, "said": None, "who": None, "changed": False, "note": "no word"}

    def verify(self) -> dict[str, Any]:
        self._machine.do("verify")
        return {"agrees": False, "notes": [], "regions": {"palermo": {"differences": 2}}}


CA_ID = "secret:ca000000000000000000"
KUBE, HUB, MESH, HEALTH = 9001, 9100, 9200, 9300


def entry(region: str, number: int = 1) -> MeshEntry:
    return MeshEntry(
        region=region,
        url=f"https://10.210.{number}.12:8443",
        certificate=CERTIFICATES[number],
        nameserver=f"10.210.{number}.12",
        address_ranges=[f"10.210.{number}.0/24"],
    )


def kube_control(*, with_ca: bool = True) -> testing.Relation:
    data = kube_control_unit_data("federation-dns/0", ca_secret_id=CA_ID if with_ca else "")
    return testing.Relation(
        "kube-control",
        id=KUBE,
        remote_app_name="kubernetes-control-plane",
        remote_units_data={0: data},
    )


def spoke(number: int, region: str, certificate: int = 1) -> testing.Relation:
    bag: dict[str, str] = {}
    _ = MeshMemberAppData(entry=entry(region, certificate)).dump(bag)
    return testing.Relation(
        "mesh-hub", id=number, remote_app_name=f"remote-{number}", remote_app_data=bag
    )


def hub(*entries: MeshEntry) -> testing.Relation:
    bag: dict[str, str] = {}
    _ = MeshHubAppData(entries=list(entries)).dump(bag)
    return testing.Relation(
        "mesh", id=MESH, remote_app_name="federation-mesh", remote_app_data=bag
    )


def network(endpoint: str = "mesh") -> testing.Network:
    address = testing.Address("10.0.0.12", cidr="10.0.0.0/24")
    bind = testing.BindAddress([address])
    return testing.Network(endpoint, [bind], ingress_addresses=["10.0.0.12"])


def state(*relations: testing.Relation, **changed: Any) -> testing.State:
    given: dict[str, Any] = {
        "leader": True,
        "relations": [kube_control(), *relations],
        "secrets": [testing.Secret({"ca-certificate": CA}, id=CA_ID, owner=None)],
        "model": MODEL,
        "networks": {network()},
        "planned_units": 1,
    }
    return testing.State(**(given | changed))


def again(ctx: Context, out: testing.State) -> testing.State:
    return ctx.run(ctx.on.update_status(), out)


def replace(out: testing.State, relation: testing.RelationBase) -> testing.State:
    rest = {each for each in out.relations if each.id != relation.id}
    return dataclasses.replace(out, relations={*rest, relation})


def regions(machine: FakeMachine) -> list[str]:
    return [each.region for each in machine.peers]
