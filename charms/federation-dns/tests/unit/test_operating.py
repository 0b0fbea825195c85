"""What an operator does: cordon, uncordon, verify; and the ports."""

import dataclasses
import json
from typing import Any

import pytest
from dns_world import Context, FakeMachine, again, state
from ops import testing


def run(ctx: Context, out: testing.State, action: str, **params: Any) -> dict[str, Any]:
    _ = ctx.run(ctx.on.action(action, params=params), out)
    return ctx.action_results or {}


class TestActions:
    def test_cordon(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        found = run(ctx, out, "cordon-region", region="palermo", who="rosa", until="2h")
        assert found == {
            "region": "palermo",
            "said": "cordoned",
            "who": "rosa",
            "changed": "true",
            "note": "",
        }
        assert machine.calls[-1] == "cordon palermo by rosa until 2h"

    def test_uncordon_what_is_not_cordoned(self, ctx: Context, machine: FakeMachine):
        found = run(ctx, again(ctx, state()), "uncordon-region", region="palermo")
        assert found == {"region": "palermo", "changed": "false", "note": "no word"}

    def test_verify(self, ctx: Context, machine: FakeMachine):
        found = run(ctx, again(ctx, state()), "verify")
        assert found["agrees"] == "false"
        assert json.loads(found["regions"]) == {"palermo": {"differences": 2}}

    def test_new_credentials(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        before = len(machine.calls)
        assert run(ctx, out, "rotate-credentials")["rotated"] == "federation-dns/0"
        done = machine.calls[before:]
        # The token of before ends when the agent has started with the new one.
        assert [call for call in done if call.startswith(("renew", "start", "end"))] == [
            "renew",
            "start True True",
            "end older token",
        ]
        assert not machine.kept().restart

    def test_new_credentials_that_are_not_there_yet(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        machine.fail["kubeconfig"] = "no answer in time"
        with pytest.raises(testing.ActionFailed, match="tried again by each hook: no answer"):
            _ = run(ctx, out, "rotate-credentials")
        assert machine.kept().restart
        machine.fail.clear()
        _ = again(ctx, out)
        assert machine.calls[-1] == "end older token"
        assert not machine.kept().restart

    @pytest.mark.parametrize(
        ("action", "params", "call"),
        [
            (
                "cordon-region",
                {"region": "palermo", "who": "rosa", "until": "1h"},
                "cordon palermo by rosa until 1h",
            ),
            ("uncordon-region", {"region": "palermo"}, "uncordon palermo"),
            ("verify", {}, "verify"),
        ],
    )
    def test_failures(
        self,
        ctx: Context,
        machine: FakeMachine,
        action: str,
        params: dict[str, str],
        call: str,
    ):
        out = again(ctx, state())
        machine.fail[call] = "that would leave no region in the answers"
        with pytest.raises(testing.ActionFailed, match="no region in the answers"):
            _ = run(ctx, out, action, **params)
        standby = dataclasses.replace(out, leader=False, planned_units=2)
        with pytest.raises(testing.ActionFailed, match="stands by"):
            _ = run(ctx, standby, action, **params)
        machine.place = None
        with pytest.raises(testing.ActionFailed, match="not set up yet"):
            _ = run(ctx, out, action, **params)


class TestPorts:
    def test_they_are_closed_when_nobody_serves(self, ctx: Context, machine: FakeMachine):
        out = again(ctx, state())
        assert out.opened_ports
        assert not ctx.run(ctx.on.stop(), out).opened_ports
        standby = dataclasses.replace(out, leader=False, planned_units=2)
        assert not again(ctx, standby).opened_ports
