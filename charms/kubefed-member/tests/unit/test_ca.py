"""From where the cluster's CA comes, and what is said when nobody gives it."""

import dataclasses

import ops
import pytest
from charm import KubefedMemberCharm
from federation_interfaces.testing import CA, CA_UNKNOWN, CERTIFICATES
from member_world import World, again, federation, kube_control, published, state
from ops import testing

Context = testing.Context[KubefedMemberCharm]
SILENT = kube_control(with_ca=False)


def certificates(*authorities: str) -> testing.Relation:
    bags = {number: {"ca": text} for number, text in enumerate(authorities)}
    return testing.Relation(
        "certificates", id=9400, remote_app_name="easyrsa", remote_units_data=bags or {0: {}}
    )


class TestSources:
    def test_kube_control_comes_first(self, ctx: Context, world: World):
        relations = (kube_control(), federation(), certificates(CERTIFICATES[1]))
        out = again(ctx, state(*relations, config={"ca-certificate": CERTIFICATES[2]}))
        assert published(out).ca_certificate == CA
        assert world.minted == 1

    def test_certificates_where_kube_control_gives_none(self, ctx: Context, world: World):
        relation = certificates(f"Certificate:\n  Data: in words\n{CERTIFICATES[1]}")
        given = state(SILENT, federation(), relation, config={"ca-certificate": CERTIFICATES[2]})
        out = ctx.run(ctx.on.relation_changed(relation), given)
        assert published(out).ca_certificate == CERTIFICATES[1]
        assert relation.local_unit_data.keys() & {"cert_requests", "common_name"} == set()
        assert world.minted == 1

    def test_configuration_comes_last(self, ctx: Context, world: World):
        config = {"ca-certificate": CERTIFICATES[2]}
        out = again(ctx, state(SILENT, federation(), certificates(), config=config))
        assert published(out).ca_certificate == CERTIFICATES[2]
        assert world.minted == 1

    def test_another_ca_is_followed(self, ctx: Context, world: World):
        out = again(ctx, state(SILENT, federation(), certificates(CERTIFICATES[1])))
        rest = {each for each in out.relations if each.endpoint != "certificates"}
        moved = certificates(CERTIFICATES[2])
        out = dataclasses.replace(out, relations={*rest, moved})
        out = ctx.run(ctx.on.relation_changed(moved), out)
        assert published(out).ca_certificate == CERTIFICATES[2]
        assert world.calls == ["prepare palermo for catania"] * 2


class TestNone:
    @pytest.mark.parametrize(
        ("relations", "status"),
        [
            ([], ops.BlockedStatus(CA_UNKNOWN)),
            (
                [certificates()],
                ops.WaitingStatus("certificates has not given the cluster's CA yet"),
            ),
            (
                [certificates("-----BEGIN CERTIFICATE-----")],
                ops.WaitingStatus(
                    "the CA from certificates is refused: it must be PEM certificates"
                ),
            ),
        ],
    )
    def test_the_status_says_what_to_do(
        self,
        ctx: Context,
        world: World,
        relations: list[testing.Relation],
        status: ops.StatusBase,
    ):
        out = again(ctx, state(SILENT, federation(), *relations))
        assert out.unit_status == status
        assert world.calls == []

    def test_an_action_says_it_too(self, ctx: Context, world: World):
        with pytest.raises(testing.ActionFailed, match="integrate certificates"):
            _ = ctx.run(ctx.on.action("rotate-token"), state(SILENT, federation()))
        assert world.minted == 0

    def test_the_end_of_the_relation(self, ctx: Context, world: World):
        relation = certificates(CERTIFICATES[1])
        out = ctx.run(ctx.on.relation_broken(relation), state(SILENT, relation))
        assert out.unit_status == ops.BlockedStatus(CA_UNKNOWN)
        assert world.calls == []
