"""The controller over a host and two members: real API servers, real watches."""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest
from controller_harness import FEDERATED, Federation, clusters, eventually
from kubefed.api import CONFIG_MAP

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def running(federation: Federation) -> Generator[None]:
    with federation.controller():
        yield


def test_an_object_is_propagated_repaired_and_taken_away(federation: Federation) -> None:
    host, apis = federation.host, federation.apis
    federation.make_namespace("shop")
    red = {"path": "/data/colour", "value": "red"}
    federation.post(
        "ConfigMap",
        "shop",
        "settings",
        template={"data": {"colour": "blue"}},
        placement=clusters(*apis),
        overrides=[{"clusterName": "member2", "clusterOverrides": [red]}],
    )
    path, mine = CONFIG_MAP.path("shop", "settings"), FEDERATED["configmap"].path("shop", "settings")
    found = {
        name: eventually(lambda api=api: api.get(path))["data"]["colour"]
        for name, api in apis.items()
    }
    assert found == {"host": "blue", "member1": "blue", "member2": "red"}
    eventually(lambda: federation.propagated("ConfigMap", "shop", "settings"))
    status = federation.status("ConfigMap", "shop", "settings")
    assert status["clusters"] == [{"name": "host"}, {"name": "member1"}, {"name": "member2"}]

    # A change made in a member is put right at once.
    apis["member1"].merge(path, {"data": {"colour": "green"}})
    began = time.monotonic()
    eventually(lambda: apis["member1"].get(path)["data"]["colour"] == "blue")
    assert time.monotonic() - began < 1.0

    # Taken out of the placement, it goes; deleted, it goes everywhere.
    host.merge(mine, {"spec": {"placement": clusters("host", "member1")}})
    eventually(lambda: apis["member2"].get(path) is None)
    host.call("DELETE", mine)
    eventually(lambda: host.get(mine) is None)
    assert all(api.get(path) is None for api in apis.values())
