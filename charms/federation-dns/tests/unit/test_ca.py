"""What changes with the cluster's CA and what is said without; its sources: RegionCluster."""

from pathlib import Path

import ops
import pytest
from dns_settings import agent_account
from dns_world import Context, FakeMachine, again, kube_control, state
from federation_dns_unit import Machine
from federation_interfaces.cluster import (
    Cluster,
    ClusterAddress,
    ClusterRefusedError,
    kubeconfig,
)
from federation_interfaces.testing import CA, CA_UNKNOWN, CERTIFICATES
from local_agent import UnitError
from ops import testing

ADDRESS = ClusterAddress("https://10.0.0.1:6443", CA)


def given(*, told: str | None = None, config: str = "") -> testing.State:
    relations: list[testing.RelationBase] = [kube_control(with_ca=False)]
    if told is not None:
        bag = {"ca": told} if told else {}
        relations.append(testing.Relation("certificates", id=9400, remote_units_data={0: bag}))
    return state(relations=relations, config={"ca-certificate": config})


class TestSources:
    def test_a_change_is_followed(self, ctx: Context, machine: FakeMachine):
        _ = again(ctx, given(told=CERTIFICATES[1]))
        changed = given(told=CERTIFICATES[2])
        _ = ctx.run(ctx.on.relation_changed(changed.get_relation(9400)), changed)
        assert machine.ca == CERTIFICATES[2]


class TestNone:
    def test_the_status_says_what_to_do(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, given())
        assert out.unit_status == ops.BlockedStatus(CA_UNKNOWN)
        out = again(ctx, given(told=""))
        assert out.unit_status == ops.WaitingStatus(
            "certificates has not given the cluster's CA yet"
        )
        out = again(ctx, given(config="no certificate"))
        assert out.unit_status == ops.BlockedStatus(
            "config: ca-certificate: must be PEM certificates"
        )
        assert machine.calls == []


class TestRemoval:
    def test_the_last_unit_ends_the_account(self, ctx: Context, machine: FakeMachine):
        _ = ctx.run(ctx.on.remove(), state(planned_units=0))
        assert machine.calls == ["end account", "remove"]

    def test_others_still_need_it(self, ctx: Context, machine: FakeMachine):
        _ = ctx.run(ctx.on.remove(), state(planned_units=1))
        assert machine.calls == ["remove"]

    def test_it_goes_on_without_the_cluster(self, ctx: Context, machine: FakeMachine):
        machine.fail["end account"] = "no answer in time"
        _ = ctx.run(ctx.on.remove(), state(planned_units=0))
        assert machine.calls == ["remove"]

    def test_the_agents_own_token_does_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        ended: list[str] = []

        def end(cluster: Cluster, role: str) -> bool:
            assert cluster.address == ADDRESS
            if ended:
                raise ClusterRefusedError("Unauthorized (401)", 401)
            ended.append(role)
            return True

        monkeypatch.setattr(Cluster, "end", end)
        found = Machine(Path("/charm"), tmp_path)
        found.end_account()
        assert ended == []
        found.settings.mkdir(parents=True)
        text = kubeconfig(ADDRESS, "agents", name="catania")
        _ = (found.settings / "kubeconfig").write_text(text)
        found.end_account()
        assert ended == [*agent_account().ends] == ["federation-dns"]
        with pytest.raises(UnitError, match="Unauthorized"):
            found.end_account()
