"""What the collector gets, and whether rules and dashboard are about metrics that there are."""

import json
import re
from pathlib import Path
from typing import Any

import host_observability
import pytest
from federation_interfaces.cos_agent import CosAgentUnitData, Topology, unpack
from federation_interfaces.testing import check_with_promtool, promtool
from host_world import Context, World, again, kube_control, state
from kubefed.controller.metrics import Metrics
from ops import testing

TOPOLOGY = Topology("catania", "11111111-2222-4333-8444-555555555555", "host", "kubefed-host")
ALERTS = Path(__file__).parent / "alerts/kubefed-host.yaml"
METRIC = re.compile(
    r"\b(?:kubefed_|kubefedcluster_|joined_|workqueue_|controller_runtime_|"
    r"dispatch_|cluster_health_)\w+"
)
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


def dashboard() -> dict[str, Any]:
    (path,) = host_observability.DASHBOARDS.glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


class TestNames:
    def test_every_metric_of_a_rule_is_exported(self, exported: set[str]):
        expressions = [
            rule["expr"]
            for group in host_observability.rules(TOPOLOGY)["groups"]
            for rule in group["rules"]
        ]
        used = set(METRIC.findall(" ".join(expressions)))
        assert len(used) > 6
        assert used <= exported, used - exported

    def test_every_metric_of_the_dashboard_is_exported(self, exported: set[str]):
        used = set(METRIC.findall(json.dumps(dashboard())))
        assert len(used) > 8
        assert used <= exported, used - exported

    def test_its_panels_have_a_place_and_a_source(self):
        panels = dashboard()["panels"]
        places = [tuple(panel["gridPos"].values()) for panel in panels]
        assert len(set(places)) == len(panels)
        for panel in panels:
            assert panel["datasource"]["uid"] == "${prometheusds}"
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
            assert all(target["expr"] for target in panel["targets"])

    def test_every_rule_says_what_to_do_and_is_tested(self):
        tested = ALERTS.read_text()
        for group in host_observability.rules(TOPOLOGY)["groups"]:
            for rule in group["rules"]:
                assert rule["labels"]["severity"] in ("critical", "warning")
                assert {"summary", "description"} <= set(rule["annotations"])
                assert f'alertname="{rule["alert"]}"' in tested


@pytest.mark.skipif(promtool() is None, reason="needs promtool: tools/bootstrap brings it")
def test_the_rules_fire_when_they_should(tmp_path: Path):
    check_with_promtool(tmp_path, host_observability.rules(TOPOLOGY), ALERTS.read_text(), TOPOLOGY)
