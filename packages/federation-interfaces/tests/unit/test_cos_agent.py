import json
from typing import Any

import pytest
from federation_interfaces import DatabagError
from federation_interfaces.cos_agent import (
    CosAgentConfig,
    CosAgentUnitData,
    Topology,
    alert_rules,
    dashboard,
    scrape_job,
    unpack,
)

TOPOLOGY = Topology("palermo", "11111111-2222-4333-8444-555555555555", "dns", "federation-dns")
RULES: dict[str, Any] = {
    "groups": [
        {
            "name": "regions",
            "rules": [
                {
                    "alert": "Lost",
                    "expr": "lost{%%juju_topology%%} == 1 and on() b{x='1', %%juju_topology%%}",
                    "labels": {"severity": "critical"},
                }
            ],
        }
    ]
}


def test_the_collector_finds_one_json_text_under_config():
    bag: dict[str, str] = {}
    job = scrape_job("agent", ["10.0.0.12:9153"])
    given = CosAgentConfig(metrics_scrape_jobs=[job], dashboards=["x"])
    assert CosAgentUnitData(config=given).dump(bag)
    assert list(bag) == ["config"]
    body = json.loads(bag["config"])
    assert sorted(body) == [
        "dashboards",
        "log_alert_rules",
        "log_slots",
        "metrics_alert_rules",
        "metrics_scrape_jobs",
    ]
    assert body["metrics_scrape_jobs"] == [
        {
            "job_name": "agent",
            "metrics_path": "/metrics",
            "static_configs": [{"targets": ["10.0.0.12:9153"]}],
        }
    ]
    assert CosAgentUnitData.load(bag).config == given
    assert not CosAgentUnitData(config=given).dump(bag)


def test_a_rule_is_of_one_application_and_the_file_is_left_alone():
    before = json.dumps(RULES)
    (group,) = alert_rules(RULES, TOPOLOGY)["groups"]
    assert group["name"] == "palermo_11111111_dns_regions_alerts"
    (rule,) = group["rules"]
    selector = (
        'juju_model="palermo", juju_model_uuid="11111111-2222-4333-8444-555555555555", '
        'juju_application="dns"'
    )
    assert rule["expr"] == f"lost{{{selector}}} == 1 and on() b{{x='1', {selector}}}"
    assert rule["labels"] == {"severity": "critical", **TOPOLOGY.labels}
    assert json.dumps(RULES) == before


def test_a_dashboard_is_packed_the_same_each_time():
    whole = {"title": "DNS", "tags": ["dns"]}
    packed = dashboard(whole, "federation-dns")
    assert unpack(packed) == {"title": "DNS", "tags": ["dns", "charm: federation-dns"]}
    assert dashboard(whole, "federation-dns") == packed


def test_what_is_none_is_refused():
    with pytest.raises(DatabagError, match="dashboards"):
        _ = CosAgentUnitData.load({"config": json.dumps({"dashboards": "x"})})
