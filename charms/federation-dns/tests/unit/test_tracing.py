"""Where the charm's traces go, and what is not in them."""

import pytest
from dns_world import state
from federation_interfaces.tracing_tests import TracingTests
from ops import testing


@pytest.mark.usefixtures("machine")
class TestTracing(TracingTests):
    secrets = ("admin-token",)

    def state(self) -> testing.State:
        return state()
