"""Where the charm's traces go, and what is not in them."""

import pytest
from federation_interfaces.tracing_tests import TracingTests
from member_world import state
from ops import testing


@pytest.mark.usefixtures("world")
class TestTracing(TracingTests):
    secrets = ("admin-token", "token-1")

    def state(self) -> testing.State:
        return state()
