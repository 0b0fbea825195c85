"""Makes this charm's src importable, though other charms' tests run in the same process."""

import sys
from pathlib import Path

import pytest
from federation_interfaces.access import Access
from federation_interfaces.testing import own_module, worlds
from ops import testing

sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parent)]
_ = sys.modules.pop("charm", None)  # another charm's

import charm  # noqa: E402 - found by the lines above
import control_planes  # noqa: E402
import federation_members  # noqa: E402
import handover  # noqa: E402
import host_world  # noqa: E402
import kubefed_host  # noqa: E402

pytest_pycollect_makemodule, this_charm = own_module(charm)


def fake(patch: pytest.MonkeyPatch, folder: Path) -> host_world.World:
    """Put a cluster, members and a unit of the test's own in their places."""
    found = host_world.World(folder)
    patch.setattr(kubefed_host, "install_api", found.install_api)
    patch.setattr(kubefed_host, "user_kubeconfig", found.user_kubeconfig)
    patch.setattr(kubefed_host, "end_user_kubeconfigs", found.end_user_kubeconfigs)
    patch.setattr(kubefed_host, "version", lambda: "0.1.0")
    for name in ("join", "let_go", "leave", "list_clusters", "delete_workloads"):
        patch.setattr(federation_members, name, getattr(found, name))
    patch.setattr(federation_members, "cluster_states", found.list_clusters)
    patch.setattr(Access, "admin", lambda _: found.api)
    patch.setattr(control_planes, "deploy", found.deploy)
    for module in (control_planes, handover):
        patch.setattr(module, "clock", lambda: found.time)
        patch.setattr(module, "sleep", found.sleep)
    host = host_world.FakeHost(found)

    def same_host(_: Path) -> host_world.FakeHost:
        return host

    patch.setattr(charm, "Host", same_host)
    return found


world, fresh = worlds(fake)


@pytest.fixture
def ctx() -> testing.Context[charm.KubefedHostCharm]:
    """This charm in ops.testing."""
    return testing.Context(charm.KubefedHostCharm)
