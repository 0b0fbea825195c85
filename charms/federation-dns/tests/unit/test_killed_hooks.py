"""F10: a hook is killed at a call of a hook tool, and run again as Juju does.

Juju drops what a failed hook told it; what the hook did to the machine stays. At the hub that is
the keys that all regions sign with: they may not be drawn twice and stay two.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dns_world import HEALTH, HUB, Context, FakeMachine, again, entry, hub, spoke, state
from federation_dns.dnssec import KeySet
from federation_interfaces import MeshHubAppData
from federation_interfaces.testing import killed_and_repeated, points
from ops import testing
from zone_signing import CONTENT, LABEL

Fresh = Callable[[pytest.MonkeyPatch, Path], FakeMachine]
Story = Callable[[Context], tuple[Any, testing.State]]


def begins(ctx: Context) -> tuple[Any, testing.State]:
    given = state(spoke(HUB, "palermo"), spoke(HUB + 1, "napoli", 2), config={"dnssec": True})
    return ctx.on.config_changed(), given


def signs(ctx: Context) -> tuple[Any, testing.State]:
    out = again(ctx, state(spoke(HUB, "palermo"), testing.Relation("region-health", id=HEALTH)))
    return ctx.on.config_changed(), dataclasses.replace(out, config={"dnssec": True})


def signs_no_more(ctx: Context) -> tuple[Any, testing.State]:
    out = again(ctx, state(spoke(HUB, "palermo"), config={"dnssec": True}))
    return ctx.on.config_changed(), dataclasses.replace(out, config={})


def follows(ctx: Context) -> tuple[Any, testing.State]:
    given = state(hub(entry("napoli", 2), entry("palermo", 1)))
    return ctx.on.update_status(), given


def ended(out: testing.State, machine: FakeMachine) -> object:
    """All that a story is to end with, but for what is drawn anew."""
    bags = {
        r.id: (
            {k: v for k, v in r.local_app_data.items() if k != "dnssec_secret_id"},
            "dnssec_secret_id" in r.local_app_data,
            dict(r.local_unit_data),
        )
        for r in out.relations
    }
    own = [(s.label, s.remote_grants) for s in out.secrets if s.owner]
    wanted = str(machine.wanted).replace(str(machine.data.parents[2]), "")
    left = machine.peers, wanted, machine.kept(), machine.remembered()
    return bags, own, left, out.opened_ports, out.unit_status, out.app_status


def one_key(out: testing.State, machine: FakeMachine) -> None:
    """BIND, the files, the secret and the databags have the same keys, or none."""
    secrets = [each for each in out.secrets if each.label == LABEL]
    assert machine.served.keys == machine.name_server.keys()
    assert bool(secrets) == (machine.served.keys is not None)
    for secret in secrets:
        content = secret.latest_content or {}
        assert KeySet.model_validate_json(content[CONTENT]) == machine.served.keys
        for number in secret.remote_grants:
            said = MeshHubAppData.load(out.get_relation(number).local_app_data).dnssec_secret_id
            assert said is not None
            assert said.endswith(secret.id.removeprefix("secret:"))


@pytest.mark.timeout(900)  # by night
@pytest.mark.parametrize("story", [begins, signs, signs_no_more, follows])
def test_a_hook_that_is_killed_is_done_by_the_next(
    ctx: Context, fresh: Fresh, tmp_path: Path, story: Story
) -> None:
    def play(fatal: int | None) -> tuple[object, int]:
        with pytest.MonkeyPatch.context() as patch:
            machine = fresh(patch, tmp_path / str(fatal))
            event, given = story(ctx)
            out, count = killed_and_repeated(ctx, event, given, patch, fatal)
            one_key(out, machine)
            return ended(out, machine), count

    whole, count = play(None)
    for fatal in points(count):
        assert play(fatal)[0] == whole, f"killed at call {fatal}"
