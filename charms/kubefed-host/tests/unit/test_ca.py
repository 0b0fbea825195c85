"""What changes with the cluster's CA and what is said without; its sources: RegionCluster."""

from pathlib import Path

import ops
import pytest
from federation_interfaces.cluster import (
    Cluster,
    ClusterAddress,
    ClusterRefusedError,
    kubeconfig,
)
from federation_interfaces.testing import CA, CA_UNKNOWN, CERTIFICATES
from host_world import Context, World, act, again, kube_control, state
from kubefed_host import Host, HostError, charm_account
from ops import testing

ADDRESS = ClusterAddress("https://10.0.0.1:6443", CA)


def given(*, told: str | None = None, config: str = "") -> testing.State:
    relations: list[testing.RelationBase] = [
        kube_control(with_ca=False),
        testing.PeerRelation("replicas", id=9002),
    ]
    if told is not None:
        bag = {"ca": told} if told else {}
        relations.append(testing.Relation("certificates", id=9400, remote_units_data={0: bag}))
    return state(relations=relations, config={"ca-certificate": config})


class TestSources:
    def test_a_change_is_followed(self, ctx: Context, world: World):
        _ = again(ctx, given(told=CERTIFICATES[1]))
        changed = given(told=CERTIFICATES[2])
        _ = ctx.run(ctx.on.relation_changed(changed.get_relation(9400)), changed)
        assert world.ca == CERTIFICATES[2]


class TestNone:
    def test_the_status_says_what_to_do(self, ctx: Context, world: World):
        out = again(ctx, given())
        assert out.unit_status == ops.BlockedStatus(CA_UNKNOWN)
        out = again(ctx, given(told=""))
        assert out.unit_status == ops.WaitingStatus(
            "certificates has not given the cluster's CA yet"
        )
        assert world.calls == []

    def test_actions_and_configuration_say_it_too(self, ctx: Context, world: World):
        with pytest.raises(testing.ActionFailed, match="integrate certificates"):
            _ = act(ctx, given(), "list-clusters")
        out = again(ctx, given(config="no certificate"))
        assert out.unit_status == ops.BlockedStatus(
            "config: ca-certificate: must be PEM certificates"
        )
        assert world.calls == []


class TestRemoval:
    def test_the_last_unit_ends_the_accounts(self, ctx: Context, world: World):
        _ = ctx.run(ctx.on.remove(), state(relations=[], planned_units=0))
        assert world.calls == ["end accounts", "remove"]

    def test_others_still_need_them(self, ctx: Context, world: World):
        _ = ctx.run(ctx.on.remove(), state(planned_units=1))
        assert world.calls == ["remove"]

    def test_it_goes_on_without_the_cluster(self, ctx: Context, world: World):
        world.fail_host = "no answer in time"
        _ = ctx.run(ctx.on.remove(), state(planned_units=0))
        assert world.calls == ["remove"]


class TestAccountsEnd:
    def test_by_the_charms_own_token(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        ended: list[str] = []

        def end(cluster: Cluster, role: str) -> bool:
            assert cluster.address == ADDRESS
            if role == "kubefed-host" and "refused" in ended:
                raise ClusterRefusedError("Unauthorized (401)", 401)
            ended.append(role)
            return True

        monkeypatch.setattr(Cluster, "end", end)
        host = Host(Path("/charm"), tmp_path)
        host.end_accounts()
        assert ended == []
        for path, text in (
            (host.settings / "kubeconfig", kubeconfig(ADDRESS, "controllers", name="catania")),
            (host.state / "token", "own"),
        ):
            path.parent.mkdir(parents=True)
            _ = path.write_text(text)
        host.end_accounts()
        assert ended == ["kubefed-controller-manager", "federation-user", "kubefed-host"]
        ended.append("refused")
        with pytest.raises(HostError, match="Unauthorized"):
            host.end_accounts()

    def test_the_charms_account_may(self):
        ended = {"federation-user", "kubefed-host", "kubefed-controller-manager"}
        assert set(charm_account("fed").ends) == ended
