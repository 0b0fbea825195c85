from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml
from kubefed import errors
from kubefed.api import NAMESPACE
from kubefed.cli import app
from kubefed.cli.common import Format, exit_status, go_flags
from kubefed.cli.host import Host
from kubefed.dryrun import current_plan, planned
from typer.testing import CliRunner

runner = CliRunner()

VERBS = {
    "init": ["--host-cluster-context", "--kubefed-namespace", "--dry-run"],
    "uninstall": ["--host-cluster-context", "--dry-run"],
    "join": [
        "--cluster-context",
        "--host-cluster-name",
        "--secret-name",
        "--error-on-existing",
        "--release-orphans",
        "--dry-run",
    ],
    "unjoin": ["--cluster-context", "--host-cluster-name", "--force", "--purge"],
    "forget": ["--undo", "--force", "--dry-run"],
    "enable": ["--federated-group", "--version", "--federated-version", "--output", "--filename"],
    "disable": ["--federated-group", "--version", "--delete-crd", "--filename", "--dry-run"],
    "federate": [
        "--apply",
        "--enable-type",
        "--contents",
        "--filename",
        "--skip-api-resources",
        "--dry-run",
    ],
    "status": [],
    "backup": ["--key-file", "--new-key"],
    "restore": ["--key-file", "--overwrite", "--no-rejoin", "--dry-run"],
    "controller": ["--kubeconfig", "--context", "--region-health", "--metrics-address"],
    "version": [],
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_and_their_flags(verb: str) -> None:
    result = runner.invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for flag in VERBS[verb] if verb == "controller" else [*VERBS[verb], "--format"]:
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
        (["disable", "pods", "--version", "v1"], "which kind --delete-crd deletes; add it"),
        (["disable", "pods", "--federated-group", "a.b"], "which kind --delete-crd deletes"),
        (["federate", "pods", "x", "-f", "y"], "--filename goes without TYPE and NAME"),
        (["federate", "pods", "x", "-o", "yaml", "-t"], "--enable-type changes the host"),
        (["federate", "-f", "y", "-o", "yaml", "--apply"], "--apply changes the host"),
        (["unjoin", "a", "--host-cluster-name", "b/c"], "can't be part of a name"),
        (["unjoin"], "Missing argument 'NAME'; see kubefed unjoin --help"),
        (["jion", "a"], "No such command 'jion'"),
        (["join", "a", "--labels", "b=c"], "No such option: --labels"),
        (["join", "a", "b"], "unexpected extra argument"),
        (["init", "--scope", "World"], "not one of 'Cluster', 'Namespaced'"),
        (["status", "--format", "xml"], "not one of 'table', 'json', 'yaml'"),
        (["init", "--dry-run=maybe"], "--dry-run is either true or false, not 'maybe'"),
        (["status", "--dry-run"], "No such option: --dry-run"),
        (["controller", "--kubeconfg", "x"], "No such option: --kubeconfg"),
        (["orphaning-deletion", "stop"], "No such command 'stop'"),
        (["federate", "pods"], "give either TYPE and NAME or --filename"),
        (["federate", "-f", "/nowhere/at.all"], "cannot read"),
        (["join", "a", "--label", "x"], "is no label"),
        (["backup", "x"], "give the key by --key-file"),
        (["backup", "x", "--key-file", "/nowhere/at.all"], "cannot read /nowhere/at.all"),
        (["restore"], "Missing argument 'FILE'"),
        (["restore", "-", "--key-file", "-"], "can't come from standard input"),
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


def test_no_verb_shows_the_verbs() -> None:
    result = runner.invoke(app, [])
    assert result.exit_code == 2
    assert result.stdout.count("Usage:") == 1
    assert "orphaning-deletion" in result.stdout


def test_flags_as_go_takes_them() -> None:
    words = ["join", "a", "--dry-run=true", "--error-on-existing=false", "--label=x=true"]
    assert go_flags(words) == [
        "join",
        "a",
        "--dry-run",
        "--no-error-on-existing",
        "--label=x=true",
    ]
    assert go_flags(["--force=F", "--delete-crd=0", "--error-on-existing=1"]) == [
        "--error-on-existing"
    ]


def test_kubefedctls_log_level_is_taken(tmp_path: Path) -> None:
    result = runner.invoke(app, ["status", "--v=2", "--kubeconfig", str(tmp_path / "none")])
    assert "cannot use the current context" in result.stderr


def kubeconfig(path: Path, *contexts: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": contexts[0],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [
            {"name": each, "context": {"cluster": "c", "user": "u", "namespace": f"of-{each}"}}
            for each in contexts
        ],
    }
    path.write_text(json.dumps(document))
    return path


def test_the_namespace_is_the_contexts(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "palermo", "napoli")
    assert Host(kubeconfig=path).default_namespace() == "of-palermo"
    assert Host(kubeconfig=path, context="napoli").default_namespace() == "of-napoli"


def test_nobody_there_is_for_later_and_a_host_name_for_now(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "a/b")
    result = runner.invoke(app, ["status", f"--kubeconfig={path}"])
    assert result.exit_code == 75
    assert "unreachable" in result.stderr
    result = runner.invoke(app, ["unjoin", "x", "--force", f"--kubeconfig={path}"])
    assert result.exit_code == 2
    assert "since it has ':' or '/' in it; give another by --host-cluster-name" in result.stderr


def test_answers(capsys: pytest.CaptureFixture[str]) -> None:
    Host().answer("Done.", cluster="palermo")
    assert capsys.readouterr().out == "Done.\n"
    Host(output=Format.JSON).answer("Done.", cluster="palermo")
    assert json.loads(capsys.readouterr().out) == {"cluster": "palermo", "dry_run": False}
    with planned():
        current_plan().note("create", NAMESPACE, "shop")
        Host(dry_run=True).answer("It can be done.")
        assert capsys.readouterr().out == "would create Namespace shop\nIt can be done.\n"
        Host(dry_run=True, output=Format.JSON).answer("It can be done.")
        found = json.loads(capsys.readouterr().out)
    assert found == {"dry_run": True, "would": ["create Namespace shop"]}


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


def test_kinds_that_nobody_has_federated_are_translated_too(tmp_path: Path) -> None:
    manifest = "{apiVersion: example.com/v1, kind: Policy, metadata: {name: a, namespace: shop}}"
    arguments = ["federate", "-f", "-", "-o", "yaml", f"--kubeconfig={tmp_path / 'none'}"]
    result = runner.invoke(app, arguments, input=manifest)
    assert result.exit_code == 0, result.stderr
    [federated] = yaml.safe_load_all(result.stdout)
    assert federated["kind"] == "FederatedPolicy"
    assert federated["metadata"] == {"name": "a", "namespace": "shop"}
    assert "example.com/Policy taken for kinds of the usual names" in result.stderr


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


def test_a_key_is_its_owners_alone_and_no_file_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key"
    done = runner.invoke(app, ["backup", "--new-key", str(path)])
    assert done.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_text()
    assert key.strip() not in done.stdout + done.stderr
    again = runner.invoke(app, ["backup", "--new-key", str(path)])
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert path.read_text() == key
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_a_backup_is_refused_before_the_host_is_asked(tmp_path: Path) -> None:
    key, file = tmp_path / "key", tmp_path / "file"
    runner.invoke(app, ["backup", "--new-key", str(key)])
    file.write_text("something dear")
    done = runner.invoke(app, ["backup", str(file), "--key-file", str(key)])
    assert "is there already" in done.stderr
    config = kubeconfig(tmp_path / "config", "palermo")
    words = ["restore", str(file), "--key-file", str(key), f"--kubeconfig={config}"]
    done = runner.invoke(app, words)
    assert done.exit_code == 2
    assert "this is no backup" in done.stderr
    key.write_text("hunter2")
    done = runner.invoke(app, words)
    assert done.exit_code == 2
    assert "hunter2" not in done.stderr
