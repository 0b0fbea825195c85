"""What the collector gets, and whether rules and dashboard are about metrics that there are."""

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import observability
import pytest
import yaml
from dns_settings import Settings
from dns_world import Context, FakeMachine, again, state
from federation_dns import keys, metrics
from federation_dns.agent import Agent
from federation_dns.config import read_config
from federation_dns.metrics import AgentCollector
from federation_interfaces.cos_agent import CosAgentUnitData, Topology, unpack
from federation_interfaces.metrics_tests import MetricsTests
from ops import testing

COS = 9400


class TestRelation:
    def given(self, out: testing.State) -> dict[str, Any]:
        config = CosAgentUnitData.load(out.get_relation(COS).local_unit_data).config
        assert config is not None
        return config.model_dump()

    def test_the_collector_is_told_where_and_what(self, ctx: Context, machine: FakeMachine):
        found = self.given(again(ctx, state(testing.Relation("cos-agent", id=COS))))
        (job,) = found["metrics_scrape_jobs"]
        assert job["static_configs"] == [{"targets": ["10.0.0.12:9153"]}]
        names = [group["name"] for group in found["metrics_alert_rules"]["groups"]]
        assert names == [
            "catania_11111111_federation-dns_regions_alerts",
            "catania_11111111_federation-dns_name-server_alerts",
        ]
        assert unpack(found["dashboards"][0])["title"] == "Federation DNS"

    def test_a_witness_has_no_name_server_to_watch(self, ctx: Context, machine: FakeMachine):
        relation = testing.Relation("cos-agent", id=COS)
        config = {"role": "witness", "region": "terzo"}
        found = self.given(again(ctx, state(relation, config=config)))
        (group,) = found["metrics_alert_rules"]["groups"]
        assert "regions" in group["name"]

    def test_another_port_is_told_at_once(self, ctx: Context, machine: FakeMachine):
        relation = testing.Relation("cos-agent", id=COS)
        found = self.given(again(ctx, state(relation, config={"metrics-port": 9200})))
        assert found["metrics_scrape_jobs"][0]["static_configs"][0]["targets"] == [
            "10.0.0.12:9200"
        ]
        assert Settings().metrics_port == 9153


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all that a region's agent exports."""
    folder = tmp_path_factory.mktemp("agent")
    certificate = keys.generate("a", "127.0.0.1", folder, datetime.now(UTC))
    entry = {"region": "a", "url": "https://127.0.0.1:1", "certificate": certificate.read_text()}
    (folder / "peers.json").write_text(json.dumps({"version": 1, "entries": [entry]}))
    secret = keys.new_secret()
    (folder / "key").write_text(f'key "k" {{ algorithm hmac-sha256; secret "{secret}"; }};\n')
    body = {
        "region": "a",
        "zone": "federation.example",
        "listen": {"address": "127.0.0.1", "port": 1},
        "certificate": str(certificate),
        "key": str(certificate.with_suffix(".key")),
        "peers": str(folder / "peers.json"),
        "state": str(folder / "state"),
        "provider": {
            "type": "rfc2136",
            "server": "127.0.0.1",
            "key-name": "k",
            "key-file": str(folder / "key"),
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(body))
    agent = Agent(read_config(folder / "config.yaml"))
    collector = AgentCollector(
        agent.core,
        agent.mesh,
        agent.publishers,
        agent.prober,
        lambda: agent.peers,
        time.monotonic,
        time.time,
        dict[str, int],
    )
    found: set[str] = set()
    for family in metrics.registry(collector).collect():
        found.add(family.name + ("_total" if family.type == "counter" else ""))
    return found


class TestMetrics(MetricsTests):
    source = observability.SOURCE
    topology = Topology("palermo", "11111111-2222-4333-8444-555555555555", "dns", "federation-dns")
    alerts = Path(__file__).parent / "alerts/federation-dns.yaml"
    metric = re.compile(r"\bfederation_dns_\w+")

    def test_the_dashboard_shows_what_an_operator_looks_for(self):
        titles = {panel["title"] for panel in self.panels}
        assert {
            "Answers per region",
            "Changes of the verdict",
            "Certificate days left",
            "Probe latency",
        } <= titles
