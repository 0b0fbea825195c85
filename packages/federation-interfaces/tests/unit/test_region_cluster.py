import dataclasses
from typing import Any

import ops
import pytest
from federation_interfaces.access import AccessMissingError
from federation_interfaces.region_cluster import RegionCluster
from federation_interfaces.testing import CA, CA_UNKNOWN, CERTIFICATES, kube_control_unit_data
from ops import testing

META = {
    "name": "any",
    "requires": {
        "kube-control": {"interface": "kube-control", "limit": 1},
        "certificates": {"interface": "tls-certificates"},
    },
}
CA_ID = "secret:ca000000000000000000"
SILENT = ops.WaitingStatus("kube-control has not given access yet")


@dataclasses.dataclass
class Settings:
    ca_certificate: str = ""


class Charm(ops.CharmBase):
    """Shows what a charm sees through its region's cluster."""

    settings = Settings()
    seen: str | None = None
    calls = 0

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.cluster = RegionCluster(self)
        for event in (self.on.update_status, *self.cluster.events()):
            framework.observe(event, self._look)

    def _look(self, event: ops.EventBase) -> None:
        del event
        Charm.calls += 1
        access = self.cluster.access_or_ask(self.settings)
        Charm.seen = access.address.ca_certificate if access else None
        assert self.cluster.access_if_any(self.settings) is access
        if access is None:
            with pytest.raises(AccessMissingError):
                _ = self.cluster.access(self.settings)
        self.unit.status = self.cluster.trouble(self.settings) or ops.ActiveStatus()


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Charm, "settings", Settings())
    monkeypatch.setattr(Charm, "seen", None)
    monkeypatch.setattr(Charm, "calls", 0)


@pytest.fixture
def ctx() -> testing.Context[Charm]:
    return testing.Context(Charm, meta=META)


def kube_control(*, with_ca: bool = False) -> testing.Relation:
    data = kube_control_unit_data("any/0", ca_secret_id=CA_ID if with_ca else "")
    return testing.Relation("kube-control", id=1, remote_units_data={0: data})


def certificates(*told: str) -> testing.Relation:
    bags: dict[int, Any] = {number: {"ca": text} for number, text in enumerate(told)}
    return testing.Relation("certificates", id=2, remote_units_data=bags or {0: {}})


def look(
    ctx: testing.Context[Charm], *relations: testing.Relation, granted: bool = True
) -> testing.State:
    secrets = [testing.Secret({"ca-certificate": CA}, id=CA_ID, owner=None)] if granted else []
    state = testing.State(relations=relations, secrets=secrets, leader=True)
    return ctx.run(ctx.on.update_status(), state)


class TestSources:
    @pytest.mark.parametrize(
        ("relations", "configured", "authority"),
        [
            ((kube_control(with_ca=True), certificates(CERTIFICATES[1])), CERTIFICATES[2], CA),
            ((kube_control(), certificates(CERTIFICATES[1])), CERTIFICATES[2], CERTIFICATES[1]),
            ((kube_control(), certificates()), CERTIFICATES[2], CERTIFICATES[2]),
            ((kube_control(),), CERTIFICATES[2], CERTIFICATES[2]),
        ],
    )
    def test_of_the_ca_in_this_order(
        self,
        ctx: testing.Context[Charm],
        monkeypatch: pytest.MonkeyPatch,
        relations: tuple[testing.Relation, ...],
        configured: str,
        authority: str,
    ):
        monkeypatch.setattr(Charm, "settings", Settings(configured))
        out = look(ctx, *relations)
        assert Charm.seen == authority
        assert out.unit_status == ops.ActiveStatus()

    def test_every_unit_of_certificates_is_heard(self, ctx: testing.Context[Charm]):
        _ = look(ctx, kube_control(), certificates(*CERTIFICATES[1:]))
        assert (Charm.seen or "").split() == "".join(CERTIFICATES[1:]).split()

    def test_a_relation_that_ends_counts_no_more(self, ctx: testing.Context[Charm]):
        ending = certificates(CERTIFICATES[1])
        state = testing.State(relations=[kube_control(), ending], leader=True)
        out = ctx.run(ctx.on.relation_broken(ending), state)
        assert Charm.seen is None
        assert out.unit_status == ops.BlockedStatus(CA_UNKNOWN)


class TestMissing:
    @pytest.mark.parametrize(
        ("relations", "status"),
        [
            ((), ops.BlockedStatus("integrate with kubernetes-control-plane")),
            ((testing.Relation("kube-control", id=1, remote_units_data={}),), SILENT),
            ((testing.Relation("kube-control", id=1),), SILENT),
            ((kube_control(),), ops.BlockedStatus(CA_UNKNOWN)),
            (
                (kube_control(), certificates()),
                ops.WaitingStatus("certificates has not given the cluster's CA yet"),
            ),
            (
                (kube_control(), certificates("-----BEGIN CERTIFICATE-----")),
                ops.WaitingStatus(
                    "the CA from certificates is refused: it must be PEM certificates"
                ),
            ),
        ],
    )
    def test_the_status_says_what(
        self,
        ctx: testing.Context[Charm],
        relations: tuple[testing.Relation, ...],
        status: ops.StatusBase,
    ):
        out = look(ctx, *relations)
        assert out.unit_status == status
        assert Charm.seen is None

    def test_a_secret_that_is_not_granted_yet(self, ctx: testing.Context[Charm]):
        _ = look(ctx, kube_control(with_ca=True), granted=False)
        assert Charm.seen is None

    def test_access_is_asked_for_under_the_units_name(self, ctx: testing.Context[Charm]):
        out = look(ctx, testing.Relation("kube-control", id=1))
        asked = out.get_relation(1).local_unit_data
        assert (asked["kubelet_user"], asked["auth_group"]) == ("any/0", "system:masters")


def test_what_is_followed(ctx: testing.Context[Charm]):
    for relation in (kube_control(), certificates(CERTIFICATES[1])):
        state = testing.State(relations=[relation], leader=True)
        _ = ctx.run(ctx.on.relation_changed(relation), state)
    assert Charm.calls >= 2
