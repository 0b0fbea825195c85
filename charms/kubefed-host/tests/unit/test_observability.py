"""What the collector gets, and whether rules and dashboard are about metrics that there are."""

import re
from pathlib import Path
from typing import Any

import host_observability
import pytest
from federation_interfaces.cos_agent import CosAgentUnitData, Topology, unpack
from federation_interfaces.metrics_tests import MetricsTests
from host_world import Context, World, again, kube_control, state
from kubefed.controller.metrics import Metrics
from ops import testing

COS = 9400


def with_collector(**changed: Any) -> testing.State:
    relations = [
        kube_control(),
        testing.PeerRelation("replicas", id=9002),
        testing.Relation("cos-agent", id=COS),
    ]
    return state(relations=relations, **changed)


class TestRelation:
    def given(self, out: testing.State) -> dict[str, Any]:
        config = CosAgentUnitData.load(out.get_relation(COS).local_unit_data).config
        assert config is not None
        return config.model_dump()

    def test_the_collector_is_told_where_and_what(self, ctx: Context, world: World):
        found = self.given(again(ctx, with_collector()))
        (job,) = found["metrics_scrape_jobs"]
        (target,) = job["static_configs"][0]["targets"]
        assert target.endswith(":9091")
        assert target in world.service
        names = [group["name"] for group in found["metrics_alert_rules"]["groups"]]
        assert names == [
            "catania_11111111_kubefed-host_controller_alerts",
            "catania_11111111_kubefed-host_clusters_alerts",
        ]
        assert unpack(found["dashboards"][0])["title"] == "KubeFed host"

    def test_each_unit_tells_its_own(self, ctx: Context, world: World):
        led = again(ctx, with_collector())
        peers = led.get_relation(9002)
        relations = [kube_control(), peers, testing.Relation("cos-agent", id=COS)]
        out = again(ctx, state(relations=relations, leader=False))
        assert self.given(out)["metrics_scrape_jobs"]

    def test_another_port_is_told_at_once(self, ctx: Context, world: World):
        found = self.given(again(ctx, with_collector(config={"metrics-port": 9200})))
        (target,) = found["metrics_scrape_jobs"][0]["static_configs"][0]["targets"]
        assert target.endswith(":9200")


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """The names of all that a controller exports, with those of a histogram's series."""
    found: set[str] = set()
    for family in Metrics().registry.collect():
        if family.type == "counter":
            found.add(f"{family.name}_total")
        elif family.type == "histogram":
            found |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
        else:
            found.add(family.name)
    return found


class TestMetrics(MetricsTests):
    source = host_observability.SOURCE
    topology = Topology("catania", "11111111-2222-4333-8444-555555555555", "host", "kubefed-host")
    alerts = Path(__file__).parent / "alerts/kubefed-host.yaml"
    metric = re.compile(
        r"\b(?:kubefed_|kubefedcluster_|joined_|workqueue_|controller_runtime_|"
        r"dispatch_|cluster_health_)\w+"
    )
