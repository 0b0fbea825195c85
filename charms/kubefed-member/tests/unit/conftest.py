"""Makes this charm's src importable, though other charms' tests run in the same process."""

import sys
from pathlib import Path

import pytest
from federation_interfaces.testing import own_module, worlds
from ops import testing

sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parent)]
_ = sys.modules.pop("charm", None)  # another charm's

import charm  # noqa: E402 - found by the lines above
import kubefed_member  # noqa: E402
import member_world  # noqa: E402

pytest_pycollect_makemodule, this_charm = own_module(charm)

_STORE = kubefed_member.Store


def fake(patch: pytest.MonkeyPatch, folder: Path) -> member_world.World:
    """Put a cluster and a clock of the test's own in their places."""
    found = member_world.World()
    for name in (
        "prepare",
        "identity",
        "own_cluster",
        "mint",
        "end_older_tokens",
        "withdraw",
        "end",
        "delete_workloads",
        "rights",
    ):
        patch.setattr(kubefed_member, name, getattr(found, name))
    patch.setattr(kubefed_member, "remove_own_account", found.remove_own_account)
    patch.setattr(kubefed_member, "now", lambda: found.now)
    patch.setattr(kubefed_member, "Store", lambda: _STORE(folder))
    return found


world, fresh = worlds(fake)


@pytest.fixture
def ctx() -> testing.Context[charm.KubefedMemberCharm]:
    """This charm in ops.testing."""
    return testing.Context(charm.KubefedMemberCharm)
