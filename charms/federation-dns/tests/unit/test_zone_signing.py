import dataclasses
import json
from typing import Any

import ops
import pytest
from dns_world import (
    HUB,
    MESH,
    MODEL,
    NOW,
    Context,
    FakeMachine,
    again,
    entry,
    hub,
    spoke,
    state,
)
from federation_dns.dnssec import KeySet, new_key
from federation_interfaces import MeshHubAppData, MeshMemberAppData
from ops import testing
from zone_signing import CONTENT, LABEL

ON = {"dnssec": True}
IDENTITY = "secret:d0000000000000000000"
PUBLISHED = f"secret://{MODEL.uuid}/d0000000000000000000"


def keys() -> KeySet:
    return KeySet(keys=(new_key(NOW),))


def signing_hub(given: KeySet | None = None) -> testing.Relation:
    bag: dict[str, str] = {}
    identity = None if given is None else PUBLISHED
    data = MeshHubAppData(entries=[entry("palermo", 2)], dnssec_secret_id=identity)
    _ = data.dump(bag)
    return dataclasses.replace(hub(), remote_app_data=bag)


def of_the_hub(given: KeySet) -> testing.Secret:
    return testing.Secret({CONTENT: given.model_dump_json()}, id=PUBLISHED, owner=None)


def member(given: KeySet | None, **more: Any) -> testing.State:
    made = state(signing_hub(given), config={**ON, **more.pop("config", {})}, **more)
    secrets = [*made.secrets, *([of_the_hub(given)] if given else [])]
    return dataclasses.replace(made, secrets=secrets)


def entry_sent(out: testing.State) -> dict[str, Any]:
    return json.loads(out.get_relation(MESH).local_app_data["entry"])


class TestHub:
    def test_it_draws_keys_and_grants_them_to_every_region(
        self, ctx: Context, machine: FakeMachine
    ):
        out = again(ctx, state(spoke(HUB, "palermo"), spoke(HUB + 1, "napoli", 2), config=ON))
        secret = out.get_secret(label=LABEL)
        assert set(secret.remote_grants) == {HUB, HUB + 1}
        assert secret.latest_content is not None
        given = KeySet.model_validate_json(secret.latest_content[CONTENT])
        assert machine.served.keys == given == machine.name_server.keys()
        assert machine.name_server.kept.stat().st_mode & 0o777 == 0o600
        for relation in (HUB, HUB + 1):
            bag = out.get_relation(relation).local_app_data
            assert json.loads(bag["dnssec_secret_id"]) == (
                f"secret://{MODEL.uuid}/{secret.id.rpartition(':')[2]}"
            )
            assert given.keys[0].private not in json.dumps(dict(bag))

    def test_the_same_keys_in_every_hook(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo"), config=ON))
        first = machine.served.keys
        out = again(ctx, out)
        assert machine.served.keys == first
        assert len(out.get_secret(label=LABEL).remote_grants) == 1

    def test_off_by_default(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo")))
        assert machine.served.keys is None
        assert not [s for s in out.secrets if s.label == LABEL]
        assert "dnssec_secret_id" not in out.get_relation(HUB).local_app_data

    def test_alone_nobody_draws_keys(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(config=ON))
        assert machine.served.keys is None
        assert "no keys from the hub" in out.unit_status.message
        assert machine.peers[0].nameserver is None

    def test_turned_off_the_secret_goes(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo"), config=ON))
        out = again(ctx, dataclasses.replace(out, config={}))
        assert machine.served.keys is None
        assert not [s for s in out.secrets if s.label == LABEL]
        assert "dnssec_secret_id" not in out.get_relation(HUB).local_app_data


class TestMember:
    def test_it_signs_with_the_hubs_keys(self, ctx: Context, machine: FakeMachine):
        given = keys()
        out = again(ctx, member(given))
        assert machine.served.keys == given
        assert entry_sent(out)["nameserver"] == "10.0.0.12"

    def test_a_new_server_is_not_named_before_it_signs(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, member(None))
        assert entry_sent(out)["nameserver"] is None
        assert isinstance(out.unit_status, ops.WaitingStatus)
        assert "no keys from the hub yet" in out.unit_status.message

    def test_one_that_was_named_stays_so(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(signing_hub()))
        assert entry_sent(out)["nameserver"] == "10.0.0.12"
        out = again(ctx, dataclasses.replace(out, config=ON))
        assert entry_sent(out)["nameserver"] == "10.0.0.12"

    def test_without_the_hub_it_goes_on_signing(self, ctx: Context, machine: FakeMachine):
        given = keys()
        machine.name_server.keep(given)
        for relations in ([hub()], []):
            _ = again(ctx, state(*relations, config=ON))
            assert machine.served.keys == given

    def test_two_hubs_are_not_mixed(self, ctx: Context, machine: FakeMachine):
        mine = keys()
        machine.name_server.keep(mine)
        out = again(ctx, member(keys()))
        assert machine.served.keys == mine
        assert "two hubs" in out.unit_status.message

    def test_a_roll_is_followed(self, ctx: Context, machine: FakeMachine):
        mine = keys()
        machine.name_server.keep(mine)
        given = mine.with_successor(NOW)
        _ = again(ctx, member(given))
        assert machine.served.keys == given

    def test_unsigned_beside_signed_ones_is_said(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(signing_hub(keys())))
        assert "set dnssec=true" in out.unit_status.message

    def test_a_damaged_file_is_named(self, ctx: Context, machine: FakeMachine):
        machine.name_server.kept.parent.mkdir(parents=True)
        machine.name_server.kept.write_text("{}")
        out = again(ctx, member(keys()))
        assert "dnssec.json is damaged" in out.unit_status.message


class TestRoll:
    def run(self, ctx: Context, out: testing.State, step: str) -> testing.State:
        return ctx.run(ctx.on.action("rotate-dnssec-key", params={"step": step}), out)

    def test_begin_and_finish(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo"), config=ON))
        first = machine.served.keys
        assert first is not None
        out = self.run(ctx, out, "begin")
        both = machine.served.keys
        assert both is not None
        assert both.keys[:1] == first.keys
        assert ctx.action_results is not None
        assert ctx.action_results["keys"] == " ".join(map(str, both.tags))
        machine.parent = {"federation.example": {"records": [], "notes": []}}
        _ = self.run(ctx, out, "finish")
        assert machine.served.keys == both.without_oldest()

    def test_not_while_a_region_lacks_the_new_key(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state(spoke(HUB, "palermo"), config=ON))
        out = self.run(ctx, out, "begin")
        note = "key 7 waits: palermo must show it before its DS goes into the parent"
        machine.parent = {"federation.example": {"records": [], "notes": [note]}}
        with pytest.raises(testing.ActionFailed, match="palermo must show it"):
            _ = self.run(ctx, out, "finish")

    def test_at_the_hub_only(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, member(keys()))
        with pytest.raises(testing.ActionFailed, match="hub's"):
            _ = self.run(ctx, out, "begin")


class TestDelegation:
    def test_what_the_parent_gets(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        machine.parent = {"federation.example": {"records": ["a", "b"], "notes": ["c"]}}
        _ = ctx.run(ctx.on.action("show-delegation"), out)
        assert ctx.action_results == {"records": "a\nb", "notes": "c"}


class TestSecondaries:
    def config(self, secondaries: str = "ns1.example.net=192.0.2.53") -> dict[str, Any]:
        return {"secondaries": secondaries, "secondaries-key": IDENTITY}

    def test_the_key_comes_from_the_operators_secret(self, ctx: Context, machine: FakeMachine):
        made = state(config=self.config())
        content = {"name": "others", "secret": "A" * 43 + "="}
        secrets = [*made.secrets, testing.Secret(content, id=IDENTITY, owner=None)]
        _ = again(ctx, dataclasses.replace(made, secrets=secrets))
        assert machine.served.secondaries is not None
        assert machine.served.secondaries.name == "others"

    def test_a_secret_without_its_parts_is_said(self, ctx: Context, machine: FakeMachine):
        made = state(config=self.config())
        secrets = [*made.secrets, testing.Secret({"name": "x"}, id=IDENTITY, owner=None)]
        out = again(ctx, dataclasses.replace(made, secrets=secrets))
        assert "must hold name and secret" in out.unit_status.message

    @pytest.mark.parametrize(
        "text", ["192.0.2.53", "ns1.example.net=", "ns1.example.net=x", "a=1"]
    )
    def test_what_is_no_server_is_refused(self, ctx: Context, machine: FakeMachine, text: str):
        out = again(ctx, state(config=self.config(text)))
        assert isinstance(out.unit_status, ops.BlockedStatus)
        assert "secondaries" in out.unit_status.message


def test_the_entry_says_nothing_secret(ctx: Context, machine: FakeMachine):
    given = keys()
    out = again(ctx, member(given))
    bag = out.get_relation(MESH).local_app_data
    assert MeshMemberAppData.load(dict(bag)).entry is not None
    assert given.keys[0].private not in json.dumps(dict(bag))
