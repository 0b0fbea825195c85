"""Makes this charm's src importable, though other charms' tests run in the same process."""

import sys
from pathlib import Path

import pytest
from federation_interfaces.testing import own_module, worlds
from ops import testing

sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parent)]
_ = sys.modules.pop("charm", None)  # another charm's

import agent_verdict  # noqa: E402 - found by the lines above
import charm  # noqa: E402
import dns_world  # noqa: E402
import federation_dns_unit  # noqa: E402

pytest_pycollect_makemodule, this_charm = own_module(charm)


def fake(patch: pytest.MonkeyPatch, folder: Path) -> dns_world.FakeMachine:
    """Put a machine of the test's own in the real one's place."""
    found = dns_world.FakeMachine(folder)

    def same(_: Path) -> dns_world.FakeMachine:
        return found

    patch.setattr(charm, "Machine", same)
    patch.setattr(federation_dns_unit, "version", lambda: "0.1.0")
    patch.setattr(federation_dns_unit, "now", lambda: dns_world.NOW)
    patch.setattr(agent_verdict, "clock", lambda: found.clock)
    patch.setattr(agent_verdict, "pause", found.pause)
    return found


machine, fresh = worlds(fake)


@pytest.fixture
def ctx() -> dns_world.Context:
    """This charm in ops.testing."""
    return testing.Context(charm.FederationDnsCharm)
