"""Where the charm's traces go, and what is not in them."""

import pytest
from federation_interfaces.tracing_tests import TracingTests
from host_world import state
from ops import testing


@pytest.mark.usefixtures("world")
class TestTracing(TracingTests):
    secrets = ("admin-token", "palermo-1", "napoli-1")

    def state(self) -> testing.State:
        return state()
