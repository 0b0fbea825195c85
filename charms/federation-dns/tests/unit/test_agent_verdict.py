"""A hook that changed the mesh waits a moment for the majority, and never for long."""

from typing import Any

import agent_verdict
import ops
import pytest
from dns_world import HUB, Context, FakeMachine, again, entry, hub, spoke, state
from ops import testing

THREE = ["catania", "napoli", "palermo"]
NONE_YET = {"quorum": False, "panic": True, "electorate": THREE, "regions": {}}
THERE = {"quorum": True, "panic": False, "electorate": THREE, "regions": {}}
MESH = hub(entry("napoli", 2), entry("palermo", 1))
SERVING = "serving federation.example; 3 regions"
WAITING = ops.WaitingStatus(f"{SERVING}: no majority is reached, so the last answers stay")


class TestRule:
    @pytest.mark.parametrize(
        ("verdict", "there"),
        [
            (THERE, True),
            (THERE | {"quorum": False}, False),
            (THERE | {"panic": True}, False),
            # A majority of those that it knew before it read the new file is none.
            (THERE | {"electorate": ["catania"]}, False),
            (THERE | {"electorate": [*THREE, "roma"]}, False),
            # The operator calls it lost: no elector, but known.
            (THERE | {"electorate": THREE[:2], "regions": {"palermo": {}}}, True),
        ],
    )
    def test_when_it_is_settled(self, verdict: dict[str, Any], there: bool):
        assert agent_verdict.settled(verdict, set(THREE)) is there

    def test_only_a_change_is_waited_for(self):
        assert agent_verdict.time_is_up(100.0, changed=False) == 100.0
        assert agent_verdict.time_is_up(100.0, changed=True) == 102.0

    def test_no_time_is_left_for_another_answer(self):
        assert agent_verdict.asks_again(NONE_YET, set(THREE), 0.5)
        assert not agent_verdict.asks_again(NONE_YET, set(THREE), 0.3)


class TestHook:
    def test_the_majority_comes_after_a_moment(self, ctx: Context, machine: FakeMachine):
        machine.said = NONE_YET
        machine.later = [(101.0, THERE)]
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        assert out.unit_status == ops.ActiveStatus(SERVING)
        assert out.app_status == out.unit_status
        assert machine.clock < 101.3

    def test_it_never_comes(self, ctx: Context, machine: FakeMachine):
        machine.said = NONE_YET
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        assert out.unit_status == WAITING
        assert 101.0 < machine.clock <= 102.0  # once for both statuses
        assert len(machine.asked) <= 10

    def test_it_is_there(self, ctx: Context, machine: FakeMachine):
        machine.said = THERE
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        assert out.unit_status == ops.ActiveStatus(SERVING)
        assert len(machine.asked) == 1

    def test_yesterdays_majority_is_not_believed(self, ctx: Context, machine: FakeMachine):
        alone = THERE | {"electorate": ["catania"]}
        machine.said = alone
        machine.later = [(100.5, NONE_YET), (101.0, THERE)]
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        assert out.unit_status == ops.ActiveStatus(SERVING)
        assert machine.clock >= 101.0

    def test_without_a_change_nobody_waits(self, ctx: Context, machine: FakeMachine):
        machine.said = NONE_YET
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        before, machine.asked = machine.clock, []
        out = again(ctx, out)
        assert out.unit_status == WAITING
        assert (len(machine.asked), machine.clock - before) == (1, pytest.approx(0.02))

    def test_an_agent_that_was_started_is_waited_for(self, ctx: Context, machine: FakeMachine):
        machine.said = THERE
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        machine.started, machine.said = True, NONE_YET
        machine.later = [(machine.clock + 1, THERE)]
        assert again(ctx, out).unit_status == ops.ActiveStatus(SERVING)

    def test_a_slow_agent_does_not_make_a_slow_hook(self, ctx: Context, machine: FakeMachine):
        machine.said, machine.answers_in = NONE_YET, 0.9
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        assert out.unit_status == WAITING
        assert len(machine.asked) == 2

    def test_a_hook_that_took_long_waits_less(self, ctx: Context, machine: FakeMachine):
        machine.said, machine.serving_takes = NONE_YET, 1.9
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        assert out.unit_status == WAITING
        assert len(machine.asked) == 1

    def test_a_silent_agent(self, ctx: Context, machine: FakeMachine):
        machine.fail["verdict"] = "the agent does not answer: refused"
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        assert out.unit_status == ops.WaitingStatus("the agent does not answer: refused")
        assert 1 < len(machine.asked) <= 10
        assert machine.clock <= 102.0

    def test_an_answer_before_the_silence_stands(self, ctx: Context, machine: FakeMachine):
        ended = machine.pause

        def pause(seconds: float) -> None:
            machine.fail["verdict"] = "the agent does not answer: timed out"
            ended(seconds)

        machine.said = NONE_YET
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(agent_verdict, "pause", pause)
            out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        assert out.unit_status == WAITING

    def test_an_action_does_not_wait(self, ctx: Context, machine: FakeMachine):
        machine.said = NONE_YET
        out = ctx.run(ctx.on.relation_changed(MESH), state(MESH))
        before = machine.clock
        _ = ctx.run(ctx.on.action("show-verdict"), out)
        assert machine.clock - before < 0.1

    def test_the_hub_waits_too(self, ctx: Context, machine: FakeMachine):
        machine.said = NONE_YET
        machine.later = [(100.6, THERE)]
        relations: list[testing.Relation] = [spoke(HUB, "palermo", 1), spoke(HUB + 1, "napoli", 2)]
        out = ctx.run(ctx.on.relation_changed(relations[0]), state(*relations))
        assert out.unit_status == ops.ActiveStatus(SERVING)


def test_the_clock_and_the_pause_are_real(monkeypatch: pytest.MonkeyPatch):
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    agent_verdict.pause(0.2)
    assert slept == [0.2]
    assert agent_verdict.clock() <= agent_verdict.clock()
