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
