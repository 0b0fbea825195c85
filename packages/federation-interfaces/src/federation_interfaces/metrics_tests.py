"""The tests of what a charm gives the collector, which are the same for every charm of ours."""

# ruff: noqa: S101 - they are tests
from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Set
from pathlib import Path
from typing import Any, ClassVar

import pytest

from federation_interfaces.cos_agent import TOPOLOGY, Topology, rules_of


def promtool() -> str | None:
    """Return Prometheus' tool, where the bootstrap puts it or the system has it."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return shutil.which("promtool", path=f"{os.environ['PATH']}:{cache}/federation-lab/promtool")


def _check_with_promtool(
    folder: Path, rules: dict[str, Any], tests: str, topology: Topology
) -> None:
    """See that rules are valid and fire when their tests say.

    Args:
        folder: an empty one.
        rules: a rule file's content.
        tests: for `promtool test rules`, with the topology's place in each series.
        topology: the rules'.
    """
    import yaml

    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    (folder / "test.yaml").write_text(tests.replace(TOPOLOGY, topology.matchers))
    for words in (["check", "rules", "rules.yaml"], ["test", "rules", "test.yaml"]):
        done = subprocess.run(
            [promtool() or "", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            pytest.fail(done.stdout + done.stderr, pytrace=False)


class MetricsTests:
    """Whether rules and dashboard are about metrics that there are, and say what to do.

    A charm's own module has the fixture `exported`: the names of all that its program exports.

    Attributes:
        source: where the charm has its rules and its dashboard.
        topology: an application of the charm.
        alerts: tests of the rules, for promtool.
        metric: finds the names of the program's metrics in expressions.
    """

    source: ClassVar[Path]
    topology: ClassVar[Topology]
    alerts: ClassVar[Path]
    metric: ClassVar[re.Pattern[str]]

    @functools.cached_property
    def rules(self) -> dict[str, Any]:
        """The rule file's content."""
        return rules_of(self.source, self.topology)

    @functools.cached_property
    def panels(self) -> list[dict[str, Any]]:
        """The dashboard's."""
        (path,) = (self.source / "grafana_dashboards").glob("*.json")
        return json.loads(path.read_text())["panels"]

    def test_every_metric_of_a_rule_is_exported(self, exported: Set[str]) -> None:
        """Others never fire."""
        expressions = [rule["expr"] for group in self.rules["groups"] for rule in group["rules"]]
        used = set(self.metric.findall(" ".join(expressions)))
        assert len(used) > 6
        assert used <= exported, used - exported

    def test_every_metric_of_the_dashboard_is_exported(self, exported: Set[str]) -> None:
        """Others show nothing."""
        used = set(self.metric.findall(json.dumps(self.panels)))
        assert len(used) > 8
        assert used <= exported, used - exported

    def test_its_panels_have_a_place_and_a_source(self) -> None:
        """Of its own each."""
        places = [tuple(panel["gridPos"].values()) for panel in self.panels]
        assert len(set(places)) == len(self.panels)
        for panel in self.panels:
            assert panel["datasource"]["uid"] == "${prometheusds}"
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
            assert all(target["expr"] for target in panel["targets"])

    def test_every_rule_says_what_to_do_and_is_tested(self) -> None:
        """By promtool, below."""
        tested = self.alerts.read_text()
        for group in self.rules["groups"]:
            for rule in group["rules"]:
                assert rule["labels"]["severity"] in ("critical", "warning")
                assert {"summary", "description"} <= set(rule["annotations"])
                assert f'alertname="{rule["alert"]}"' in tested

    @pytest.mark.skipif(promtool() is None, reason="needs promtool: tools/bootstrap brings it")
    def test_the_rules_fire_when_they_should(self, tmp_path: Path) -> None:
        """And not otherwise."""
        _check_with_promtool(tmp_path, self.rules, self.alerts.read_text(), self.topology)
