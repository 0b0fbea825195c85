from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kubefed import errors
from kubefed.cli import app
from kubefed.cli.common import exit_status
from typer.testing import CliRunner

runner = CliRunner()

VERBS = {
    "init": ["--host-cluster-context", "--kubefed-namespace", "--dry-run"],
    "uninstall": ["--host-cluster-context"],
    "join": [
        "--cluster-context",
        "--host-cluster-name",
        "--secret-name",
        "--error-on-existing",
        "--dry-run",
    ],
    "unjoin": ["--cluster-context", "--host-cluster-name", "--force"],
    "enable": ["--federated-group", "--version", "--federated-version", "--output", "--filename"],
    "disable": ["--federated-group", "--version", "--delete-crd", "--filename"],
    "federate": ["--enable-type", "--contents", "--filename", "--skip-api-resources"],
    "status": ["--format"],
    "controller": ["--kubeconfig", "--context", "--region-health", "--metrics-address"],
    "version": [],
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_and_their_flags(verb: str) -> None:
    result = runner.invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for flag in VERBS[verb]:
        assert flag in result.stdout


def test_orphaning_deletion_has_its_verbs() -> None:
    result = runner.invoke(app, ["orphaning-deletion", "--help"])
    assert all(verb in result.stdout for verb in ("enable", "disable", "status"))


def test_the_version() -> None:
    assert runner.invoke(app, ["version"]).stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["status"], "cannot use the current context"),
        (["init", "--host-cluster-context", "x"], "cannot use context 'x'"),
        (["enable"], "give either TYPE or --filename"),
        (["enable", "pods", "-o", "json"], "'yaml' is the only one"),
        (["federate", "pods"], "give either TYPE and NAME or --filename"),
        (["federate", "-f", "/nowhere/at.all"], "cannot read"),
        (["join", "a", "--label", "x"], "is no label"),
        (["join", "a", "--token-lifetime", "5m"], "10 minutes at least"),
        (["join", "a", "--token-lifetime", "long"], "is not a duration"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: list[str], text: str, tmp_path: Path) -> None:
    result = runner.invoke(app, arguments, env={"KUBECONFIG": str(tmp_path / "none")})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert text in result.stderr
    assert result.stderr.startswith("kubefed: error: ")
    assert result.stderr.count("\n") == 1


def test_exit_statuses() -> None:
    assert exit_status(errors.UsageError("x")) == 2
    assert exit_status(errors.Unreachable("x")) == 75
    assert exit_status(errors.EndpointUnreachable("x")) == 75
    assert exit_status(errors.AlreadyMember("x")) == 1


def test_manifests_are_translated_without_a_cluster() -> None:
    manifests = """
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: shop}
data: {x: y}
---
{apiVersion: v1, kind: Endpoints, metadata: {name: a, namespace: shop}}
"""
    result = runner.invoke(app, ["federate", "-f", "-", "-o", "yaml"], input=manifests)
    assert result.exit_code == 0, result.stderr
    [manifest] = yaml.safe_load_all(result.stdout)
    assert manifest["kind"] == "FederatedConfigMap"
    assert manifest["spec"]["template"] == {"data": {"x": "y"}}
    assert "left out Endpoints shop/a" in result.stderr


def test_a_directory_of_manifests(tmp_path: Path) -> None:
    one = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}"
    (tmp_path / "a.yaml").write_text(one % "a")
    (tmp_path / "b.yml").write_text((one % "b").replace("ConfigMap", "Secret"))
    (tmp_path / "notes.txt").write_text("not: [a manifest")
    result = runner.invoke(app, ["federate", "-f", str(tmp_path), "-o", "yaml"])
    kinds = [each["kind"] for each in yaml.safe_load_all(result.stdout)]
    assert kinds == ["FederatedConfigMap", "FederatedSecret"]


def test_a_directive_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "directive.yaml"
    for content in ("a: b: c", "[]", "kind: ConfigMap"):
        path.write_text(content)
        result = runner.invoke(app, ["enable", "-f", str(path)])
        assert result.exit_code == 2, content
        assert result.stderr.startswith("kubefed: error: ")
