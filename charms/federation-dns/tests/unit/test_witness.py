"""A witness: an agent on a third site, with neither cluster nor name server."""

import dataclasses
import json
from pathlib import Path

import charm
import ops
import pytest
import yaml
from charmlibs import systemd
from dns_settings import Place, Settings
from dns_world import (
    MESH,
    MODEL,
    Context,
    FakeMachine,
    again,
    entry,
    hub,
    network,
    regions,
    replace,
)
from federation_dns_unit import Machine
from federation_interfaces import MeshMemberAppData
from ops import testing

WITNESS = Settings(role="witness")
PLACE = Place("terzo", "10.0.0.12", "192.0.2.12", "10.0.0.0/24")


def state(*relations: testing.Relation, **changed: object) -> testing.State:
    given: dict[str, object] = {
        "leader": True,
        "config": {"role": "witness", "region": "terzo"},
        "relations": relations,
        "model": MODEL,
        "networks": {network()},
        "planned_units": 1,
    }
    return testing.State(**(given | changed))  # pyright: ignore[reportArgumentType]


class TestServing:
    def test_it_needs_neither_cluster_nor_name_server(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(hub(entry("catania", 1), entry("palermo", 2))))
        assert machine.calls == ["no account", "no server", "agent terzo", "start False True"]
        assert out.opened_ports == {testing.TCPPort(8443)}
        assert regions(machine) == ["catania", "palermo", "terzo"]
        assert out.unit_status == ops.ActiveStatus("witness; 2 regions")

    def test_its_entry_claims_no_address(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(hub()))
        own = MeshMemberAppData.load(out.get_relation(MESH).local_app_data).entry
        assert own is not None
        assert (own.role, own.nameserver, own.address_ranges) == ("witness", None, [])

    def test_regions_say_that_they_have_one(self, ctx: Context, machine: FakeMachine):
        from dns_world import state as region

        witness = entry("terzo", 2).model_copy(update={"role": "witness", "address_ranges": []})
        out = again(ctx, region(hub(entry("palermo", 1), witness)))
        assert out.unit_status == ops.ActiveStatus(
            "serving federation.example; 2 regions, 1 witness"
        )

    def test_alone_with_one_region_it_decides_nothing(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(hub(entry("catania", 1))))
        assert out.unit_status == ops.ActiveStatus(
            "witness; 1 region; with one region and one witness nobody can be judged lost"
        )

    @pytest.mark.parametrize("provider", ["bind", "designate", "rfc2136"])
    def test_a_provider_is_not_its_concern(
        self, ctx: Context, machine: FakeMachine, provider: str
    ):
        """One configuration for all models: a witness asks for no credential."""
        config = {"role": "witness", "region": "terzo", "provider": provider}
        out = again(ctx, state(hub(entry("catania", 1), entry("palermo", 2)), config=config))
        assert out.unit_status == ops.ActiveStatus("witness; 2 regions")
        assert machine.calls == ["no account", "no server", "agent terzo", "start False True"]
        assert machine.secrets == {}

    def test_install_brings_no_name_server(self, ctx: Context, machine: FakeMachine):
        _ = ctx.run(ctx.on.install(), state())
        assert machine.calls == []

    def test_a_role_that_is_none(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(config={"role": "judge"}))
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert "role" in out.unit_status.message

    def test_it_has_no_zone_to_show(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(hub()))
        with pytest.raises(testing.ActionFailed, match="a witness has no name server"):
            _ = ctx.run(ctx.on.action("show-zone"), out)

    def test_what_a_region_is_told_travels_on(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(hub(entry("catania", 1))))
        silent = dataclasses.replace(out.get_relation(MESH), remote_app_data={})
        _ = again(ctx, replace(out, silent))
        assert regions(machine) == ["catania", "terzo"]


class TestMachine:
    @pytest.fixture
    def found(self, tmp_path: Path) -> Machine:
        return Machine(Path("/charm"), tmp_path, user="root", group="root")

    def test_its_agent_has_neither_cluster_nor_provider(self, found: Machine):
        body = found.agent_configuration(WITNESS, PLACE)
        assert not {"kubeconfig", "provider"} & set(body)
        assert {"kubeconfig", "provider"} <= set(found.agent_configuration(Settings(), PLACE))

    def test_what_a_region_had_goes(self, found: Machine, monkeypatch: pytest.MonkeyPatch):
        told: list[str] = []
        monkeypatch.setattr(Machine, "end_account", lambda _: told.append("account"))
        found.ensure_no_account()
        assert told == []
        found.settings.mkdir(parents=True)
        (found.settings / "kubeconfig").touch()
        found.ensure_no_account()
        assert told == ["account"]
        found.ensure_no_account()
        assert told == ["account"]

    def test_a_name_server_is_not_missed(self, found: Machine, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(systemd, "service_running", lambda _: False)
        assert found.running_not(own_server=WITNESS.own_server) == ["federation-dns"]


def test_the_overlay_makes_one():
    root = Path(charm.__file__).parents[3]
    overlay = yaml.safe_load((root / "overlays/witness.yaml").read_text())
    options = overlay["applications"]["federation-dns"]["options"]
    settings = Settings(**json.loads(json.dumps(options)))
    assert settings.witness
