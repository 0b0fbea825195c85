import dataclasses
import json
from typing import Any

import ops
import pytest
from dns_world import (
    HEALTH,
    HEALTHY,
    HUB,
    MESH,
    Context,
    FakeMachine,
    again,
    entry,
    hub,
    regions,
    replace,
    spoke,
    state,
)
from federation_dns import told
from federation_interfaces import MeshHubAppData, MeshMemberAppData
from federation_interfaces.testing import CA_UNKNOWN, CERTIFICATES
from ops import testing


class TestServing:
    def test_it_sets_the_machine_up(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        assert machine.calls == [
            "packages",
            "kubeconfig",
            "bind federation.example at 10.0.0.12",
            "agent catania",
            "start True True",
        ]
        assert out.opened_ports == {
            testing.TCPPort(53),
            testing.UDPPort(53),
            testing.TCPPort(8443),
        }
        assert out.workload_version == "0.1.0"
        assert out.unit_status == ops.ActiveStatus("serving federation.example; 1 region")
        assert out.app_status == out.unit_status

    def test_its_own_entry(self, ctx: Context, machine: FakeMachine):
        _ = again(ctx, state())
        assert [each.model_dump() for each in machine.peers] == [
            {
                "region": "catania",
                "role": "region",
                "url": "https://10.0.0.12:8443",
                "certificate": CERTIFICATES[0],
                "next_certificate": None,
                "nameserver": "10.0.0.12",
                "address_ranges": ["10.0.0.0/24"],
                "taken": {},
            }
        ]

    def test_configured_region_and_ranges(self, ctx: Context, machine: FakeMachine):
        config = {"region": "palermo", "address-ranges": "10.8.0.0/16, 2001:db8::/64"}
        _ = again(ctx, state(config=config))
        assert machine.peers[0].region == "palermo"
        assert machine.peers[0].address_ranges == ["10.8.0.0/16", "2001:db8::/64"]

    def test_region_health_names_the_agent(self, ctx: Context, machine: FakeMachine):
        health = testing.Relation("region-health", id=HEALTH)
        out = again(ctx, state(health))
        bag = out.get_relation(HEALTH).local_unit_data
        assert json.loads(bag["url"]) == "https://10.0.0.12:8443"
        assert json.loads(bag["certificate"]) == CERTIFICATES[0]

    def test_install(self, ctx: Context, machine: FakeMachine):
        _ = ctx.run(ctx.on.install(), testing.State())
        assert machine.calls == ["packages"]

    def test_an_archive_that_does_not_answer_is_asked_again(
        self, ctx: Context, machine: FakeMachine
    ):
        machine.fail["packages"] = "installing bind9: no answer"
        out = ctx.run(ctx.on.install(), state())
        out = again(ctx, out)
        assert out.unit_status == ops.WaitingStatus("installing bind9: no answer")
        del machine.fail["packages"]
        assert isinstance(again(ctx, out).unit_status, ops.ActiveStatus)

    def test_stop_and_remove(self, ctx: Context, machine: FakeMachine):
        out = ctx.run(ctx.on.stop(), state())
        _ = ctx.run(ctx.on.remove(), out)
        assert machine.calls == ["stop", "remove"]


class TestMesh:
    def test_the_hub_hands_every_entry_to_every_region(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo", 1), spoke(HUB + 1, "napoli", 2)))
        assert regions(machine) == ["catania", "napoli", "palermo"]
        for number in (HUB, HUB + 1):
            given = MeshHubAppData.load(out.get_relation(number).local_app_data).entries or []
            assert [each.region for each in given] == ["catania", "napoli", "palermo"]
        assert out.unit_status == ops.ActiveStatus("serving federation.example; 3 regions")

    def test_a_region_gives_its_own_and_takes_the_hubs_list(
        self, ctx: Context, machine: FakeMachine
    ):
        out = again(ctx, state(hub(entry("napoli", 2), entry("palermo", 1))))
        own = MeshMemberAppData.load(out.get_relation(MESH).local_app_data).entry
        assert own is not None
        assert own.region == "catania"
        assert regions(machine) == ["catania", "napoli", "palermo"]

    def test_the_hubs_old_copy_of_our_entry_is_not_ours(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(hub(entry("catania", 2), entry("palermo", 1))))
        assert machine.peers[0].certificate == CERTIFICATES[0]
        assert isinstance(out.unit_status, ops.ActiveStatus)

    def test_a_silent_hub_is_remembered(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(hub(entry("palermo", 1))))
        silent = dataclasses.replace(out.get_relation(MESH), remote_app_data={})
        _ = again(ctx, replace(out, silent))
        assert regions(machine) == ["catania", "palermo"]

    def test_an_unreadable_hub_is_remembered_and_said(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(hub(entry("palermo", 1))))
        bad = dataclasses.replace(out.get_relation(MESH), remote_app_data={"entries": "3"})
        out = again(ctx, replace(out, bad))
        assert regions(machine) == ["catania", "palermo"]
        assert out.unit_status == ops.BlockedStatus(
            "mesh relation 9200: refused: entries: Input should be a valid list"
        )

    def test_a_region_that_leaves_is_forgotten_by_the_hub(
        self, ctx: Context, machine: FakeMachine
    ):
        out = again(ctx, state(spoke(HUB, "palermo", 1), spoke(HUB + 1, "napoli", 2)))
        out = ctx.run(ctx.on.relation_broken(out.get_relation(HUB)), out)
        assert regions(machine) == ["catania", "napoli"]
        given = MeshHubAppData.load(out.get_relation(HUB + 1).local_app_data).entries or []
        assert [each.region for each in given] == ["catania", "napoli"]

    def test_nobody_takes_anothers_name(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "catania", 1), spoke(HUB + 1, "palermo", 2)))
        assert machine.peers[0].certificate == CERTIFICATES[0]
        assert out.unit_status == ops.BlockedStatus(
            "mesh relation 9100: another region is called catania already"
        )

    def test_nobody_shows_anothers_certificate(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo", 1), spoke(HUB + 1, "napoli", 1)))
        assert regions(machine) == ["catania", "palermo"]
        assert out.unit_status == ops.BlockedStatus(
            "mesh relation 9101: napoli shows the certificate of palermo"
        )

    def test_only_the_leader_writes(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo"), leader=False))
        assert out.get_relation(HUB).local_app_data == {}
        assert regions(machine) == ["catania", "palermo"]


class TestStandby:
    def test_a_second_unit_waits(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(leader=False, planned_units=2))
        assert machine.calls == ["stop"]
        assert out.unit_status == ops.WaitingStatus(
            "one agent a region: the leader serves, this unit stands by"
        )
        with pytest.raises(testing.ActionFailed, match="one agent a region"):
            _ = ctx.run(ctx.on.action("show-zone"), out)


class TestStatus:
    @pytest.mark.parametrize(
        ("config", "text"),
        [
            ({"zone": "Federation"}, "config: zone"),
            ({"region": "X"}, "config: region: a region's name"),
            ({"address-ranges": "10.0.0.1/8"}, "config: address-ranges: must be an address range"),
            ({"evict-after": 4.0}, "config: evict-after must not be shorter"),
            ({"withdraw-after": 1.0}, "config: withdraw-after"),
            ({"service-probes": -1.0}, "config: service-probes"),
            ({"service-probes": 10_001.0}, "config: service-probes"),
            ({"dns-port": 8443}, "config: port, dns-port and metrics-port must differ"),
        ],
    )
    def test_a_refused_configuration_blocks(
        self,
        ctx: Context,
        machine: FakeMachine,
        config: dict[str, str | int | float | bool],
        text: str,
    ):
        out = ctx.run(ctx.on.config_changed(), state(config=config))
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert out.unit_status.message.startswith(text)
        assert machine.calls == []

    def test_which_cluster_it_is_is_seen_now_and_then(self, ctx: Context, machine: FakeMachine):
        out = ctx.run(ctx.on.config_changed(), state())
        _ = again(ctx, out)
        assert machine.looked == [False, True]

    def test_without_control_plane(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(relations=[]))
        assert out.unit_status == ops.BlockedStatus("integrate with kubernetes-control-plane")
        assert machine.calls == []

    def test_a_silent_control_plane(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(relations=[testing.Relation("kube-control")]))
        assert out.unit_status == ops.WaitingStatus("kube-control has not given access yet")
        assert machine.calls == []

    def test_a_secret_that_is_not_granted_yet(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(secrets=[]))
        assert out.unit_status == ops.BlockedStatus(CA_UNKNOWN)

    def test_what_went_wrong(self, ctx: Context, machine: FakeMachine):
        machine.fail["kubeconfig"] = "forbidden (403)"
        out = again(ctx, state())
        assert out.unit_status == ops.WaitingStatus("forbidden (403)")

    def test_a_service_that_does_not_run(self, ctx: Context, machine: FakeMachine):
        machine.down = ["named"]
        out = again(ctx, state())
        assert out.unit_status == ops.WaitingStatus("not running: named")

    def test_an_agent_that_starts(self, ctx: Context, machine: FakeMachine):
        machine.fail["verdict"] = "the agent does not answer: refused"
        machine.young = True
        out = again(ctx, state())
        assert out.unit_status == ops.ActiveStatus(
            "serving federation.example; 1 region; the agent is starting"
        )
        machine.young = False
        out = again(ctx, out)
        assert out.unit_status == ops.WaitingStatus("the agent does not answer: refused")

    def test_two_regions_need_a_witness(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo")))
        assert out.unit_status == ops.ActiveStatus(
            "serving federation.example; 2 regions; "
            "neither can be judged lost without a witness or force-region"
        )

    def test_a_lost_region_is_named(self, ctx: Context, machine: FakeMachine):
        lost = {"verdict": "lost", "withdrawn": True, "explain": "2 of 3 cannot reach it"}
        machine.said["regions"] = {"catania": HEALTHY, "palermo": lost}
        out = again(ctx, state())
        assert out.unit_status == ops.WaitingStatus(
            "serving federation.example; 1 region: palermo: withdrawn (2 of 3 cannot reach it)"
        )

    def test_a_region_of_which_nothing_is_known(self, ctx: Context, machine: FakeMachine):
        machine.said["regions"] = {"palermo": {"verdict": "unknown", "withdrawn": False}}
        out = again(ctx, state())
        assert out.unit_status == ops.WaitingStatus(
            "serving federation.example; 1 region: palermo: unknown (no reason given)"
        )

    @pytest.mark.parametrize("said", [{"panic": True}, {"quorum": False}])
    def test_a_minority(self, ctx: Context, machine: FakeMachine, said: dict[str, bool]):
        machine.said |= said
        out = again(ctx, state())
        assert out.unit_status == ops.WaitingStatus(
            "serving federation.example; 1 region: "
            "no majority is reached, so the last answers stay"
        )


class TestVerdictChanged:
    """The hook that the unit's own service asks for."""

    def run(self, ctx: Context, out: testing.State) -> testing.State:
        # Juju's way: the charm's own name of the hook, in JUJU_DISPATCH_PATH.
        return ctx.run(dataclasses.replace(ctx.on.update_status(), path="verdict_changed"), out)

    def test_the_status_comes_true(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        assert machine.watched == "federation-dns/0"
        assert machine.noted.read_text() == ""
        lost = {"verdict": "lost", "withdrawn": True, "explain": "2 of 3 cannot reach it"}
        machine.said["regions"] = {"catania": HEALTHY, "palermo": lost}
        out = self.run(ctx, out)
        trouble = "palermo: withdrawn (2 of 3 cannot reach it)"
        serving = "serving federation.example; 1 region"
        assert out.unit_status == ops.WaitingStatus(f"{serving}: {trouble}")
        assert out.app_status == out.unit_status
        assert machine.noted.read_text() == trouble
        machine.said["regions"] = {"catania": HEALTHY, "palermo": HEALTHY}
        out = self.run(ctx, out)
        assert out.unit_status == ops.ActiveStatus(serving)
        assert machine.noted.read_text() == ""

    def test_trouble_of_before_stays_in_the_status(self, ctx: Context, machine: FakeMachine):
        machine.fail["bind federation.example at 10.0.0.12"] = "no room"
        out = self.run(ctx, state())
        assert out.unit_status == ops.WaitingStatus("no room")

    def test_silence(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        machine.fail["verdict"] = "the agent does not answer: refused"
        machine.young = True
        out = self.run(ctx, out)
        assert machine.noted.read_text() == told.STARTING
        machine.young = False
        out = self.run(ctx, out)
        assert machine.noted.read_text() == told.SILENT
        machine.down = ["named", "federation-dns"]
        out = self.run(ctx, out)
        assert machine.noted.read_text() == told.SILENT

    @pytest.mark.parametrize("config", [{"ttl": 0}, {}])
    def test_a_status_about_something_else(
        self, ctx: Context, machine: FakeMachine, config: dict[str, Any]
    ):
        out = again(ctx, state())
        machine.down = ["named"]
        _ = self.run(ctx, dataclasses.replace(out, config=config))
        assert machine.noted.read_text() == told.OTHER


class TestActions:
    def test_show_verdict(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        _ = ctx.run(ctx.on.action("show-verdict"), out)
        assert json.loads((ctx.action_results or {})["verdict"]) == machine.said
        machine.fail["verdict"] = "the agent does not answer: refused"
        with pytest.raises(testing.ActionFailed, match="does not answer"):
            _ = ctx.run(ctx.on.action("show-verdict"), out)

    def test_show_zone(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        _ = ctx.run(ctx.on.action("show-zone"), out)
        assert ctx.action_results == {"zone": "@ 15 IN SOA ..."}
        machine.fail["zone"] = "the name server does not give the zone: refused"
        with pytest.raises(testing.ActionFailed, match="does not give the zone"):
            _ = ctx.run(ctx.on.action("show-zone"), out)

    def test_force_region(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        params = {"region": "palermo", "verdict": "lost", "who": "rosa", "until": "30m"}
        _ = ctx.run(ctx.on.action("force-region", params=params), out)
        assert ctx.action_results == {
            "region": "palermo",
            "verdict": "lost",
            "said": "palermo: lost",
        }
        assert machine.calls[-1] == "force palermo lost by rosa until 30m"
        machine.fail[machine.calls[-1]] = "there is no region palermo"
        with pytest.raises(testing.ActionFailed, match="there is no region palermo"):
            _ = ctx.run(ctx.on.action("force-region", params=params), out)

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"config": {"region": "?"}}, "the configuration is refused"),
            ({}, "the agent is not set up yet"),
        ],
    )
    def test_what_is_missing(
        self, ctx: Context, machine: FakeMachine, changed: dict[str, Any], reason: str
    ):
        with pytest.raises(testing.ActionFailed, match=reason):
            _ = ctx.run(ctx.on.action("show-verdict"), state(**changed))
        assert machine.calls == []
