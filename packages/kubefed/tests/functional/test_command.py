"""The `kubefed` command from init to uninstall, against real API servers."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_harness import federated, merged_kubeconfig, write_status
from federation_lab.cluster.control_plane import ControlPlane
from kubefed import clients, errors, membership
from kubefed.api import (
    CLUSTER_ROLE,
    CONFIG_MAP,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    LEFT_BEHIND_ANNOTATION,
    MANAGED_LABEL,
    NAMESPACE,
    SERVICE_ACCOUNT,
    TYPE_CONFIG_FINALIZER,
    FederatedType,
    Manifest,
    TargetKind,
)
from kubefed.cli import app
from kubefed.clients import Resources
from kubefed.install import CRD, await_gone
from kubefed.policy import POLICY, POLICY_BINDING
from kubefed.rbac import CLUSTER_ROLE_BINDING
from typer.testing import CliRunner, Result

pytestmark = pytest.mark.cluster

# member2 is the host here: what this installs and takes away, the other tests have on `host`.
HOST, MEMBER = "member2", "member1"
FEDERATION = "command-test"


class Command:
    """The command with a kubeconfig of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def __call__(self, *arguments: str, status: int = 0, stdin: str | None = None) -> Result:
        shared = [f"--kubeconfig={self.kubeconfig}", f"--host-cluster-context={HOST}"]
        if arguments[0] != "controller":
            shared.append(f"--kubefed-namespace={FEDERATION}")
        result = CliRunner().invoke(app, [*arguments, *shared], input=stdin)
        assert result.exit_code == status, (arguments, result.stdout, result.stderr)
        return result


@pytest.fixture(scope="module")
def kubefed(
    clusters: Mapping[str, ControlPlane], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Command]:
    path = tmp_path_factory.mktemp("command") / "kubeconfig"
    path.write_text(json.dumps(merged_kubeconfig(clusters.values(), HOST)))
    command = Command(path)
    command("init")
    yield command
    command("uninstall")
    host = Resources(clients.from_kubeconfig(path, HOST))
    assert host.get(NAMESPACE, FEDERATION) is None


@pytest.fixture
def host(kubefed: Command) -> Resources:
    return Resources(clients.from_kubeconfig(kubefed.kubeconfig, HOST))


@pytest.fixture
def member(kubefed: Command) -> Resources:
    return Resources(clients.from_kubeconfig(kubefed.kubeconfig, MEMBER))


def test_join_and_unjoin(kubefed: Command, host: Resources, member: Resources) -> None:
    kubefed("init")
    trial = kubefed("join", MEMBER, "--dry-run").stdout
    assert trial.splitlines()[-1].endswith("can become a member of the federation.")
    account = membership.account_name(MEMBER, HOST)
    for step in (
        f"Namespace {FEDERATION}",
        f"ServiceAccount {FEDERATION}/{account}",
        f"ClusterRoleBinding kubefed-controller-manager:{account}",
        f"ValidatingAdmissionPolicyBinding kubefed-{account}",
        f"KubeFedCluster {FEDERATION}/{MEMBER}",
        f"Secret {FEDERATION}/{MEMBER}-token",
    ):
        assert f"would create {step}\n" in trial
    assert member.get(NAMESPACE, FEDERATION) is None
    assert host.list(KUBEFED_CLUSTER, FEDERATION) == []
    bad = kubefed("join", MEMBER, "--dry-run", "--label=country=not valid!", status=1)
    assert "Invalid value" in bad.stderr
    kubefed("join", MEMBER, "--label=country=it", "--token-lifetime=1h")
    again = kubefed("join", MEMBER, status=1)
    assert "is a member already; use --error-on-existing=false" in again.stderr
    # A token that doesn't end in place of the one that does.
    kubefed("join", MEMBER, "--error-on-existing=false", "--label=country=it")
    overview = json.loads(kubefed("status", "--format=json", status=3).stdout)
    assert overview["healthy"] is False
    assert overview["clusters"][0] | {"joined_at": "", "endpoint": ""} == {
        "name": MEMBER,
        "ready": None,
        "version": "",
        "endpoint": "",
        "joined_at": "",
        "message": "not probed yet",
        "labels": {"country": "it"},
        "forgotten": False,
        "left_behind": [],
    }
    assert member.get(SERVICE_ACCOUNT, account, FEDERATION) is not None
    twin = kubefed("join", "twin", f"--cluster-context={MEMBER}", status=1)
    assert f"twin is the same cluster as {MEMBER}" in twin.stderr
    assert member.get(SERVICE_ACCOUNT, f"twin-{HOST}", FEDERATION) is None
    assert "there is no member nobody" in kubefed("unjoin", "nobody", status=1).stderr
    trial = kubefed("unjoin", MEMBER, "--dry-run").stdout
    assert f"would delete Namespace {FEDERATION}\n" in trial
    assert f"would delete KubeFedCluster {FEDERATION}/{MEMBER}\n" in trial
    assert host.get(KUBEFED_CLUSTER, MEMBER, FEDERATION) is not None
    assert member.get(SERVICE_ACCOUNT, account, FEDERATION) is not None
    kubefed("unjoin", MEMBER)
    assert member.get(NAMESPACE, FEDERATION) is None
    assert host.list(KUBEFED_CLUSTER, FEDERATION) == []


def test_a_member_that_is_gone_for_good(kubefed: Command, host: Resources) -> None:
    kubefed("join", MEMBER)
    kind = FederatedType.of(CONFIG_MAP).federated
    held = federated(kind, "held", finalizers=["example.com/hold"])
    host.create(kind, held)
    write_status(host, kind, "held", {"clusters": [{"name": MEMBER}]}, "default")
    host.delete(kind, "held", "default")
    unknown = kubefed("forget", MEMBER, status=1).stderr
    assert f"{MEMBER} is not given up: nobody knows whether it answers" in unknown
    condition = {
        "type": "Ready",
        "status": "True",
        "lastProbeTime": "2026-01-01T00:00:00Z",
        "message": "fine",
    }
    say(host, condition)
    answers = kubefed("forget", MEMBER, "--dry-run", status=1).stderr
    assert "it answered at 2026-01-01T00:00:00Z (fine); deletions there would be" in answers
    say(host, condition | {"type": "Offline"})
    trial = kubefed("forget", MEMBER, "--dry-run")
    assert f"would change KubeFedCluster {FEDERATION}/{MEMBER}" in trial.stdout
    assert "ConfigMap default/held" in trial.stderr

    def word() -> bool:
        found = json.loads(kubefed("status", "--format=json", status=3).stdout)["clusters"]
        return bool(found[0]["forgotten"])

    assert not word()
    told = json.loads(kubefed("forget", MEMBER, "--format=json").stdout)
    assert told == {
        "cluster": MEMBER,
        "forgotten": True,
        "changed": True,
        "waiting": ["ConfigMap default/held"],
        "left_behind": [],
        "dry_run": False,
    }
    assert word()
    assert "(kubefed forget --undo ends that)" in kubefed("status", status=3).stdout
    assert json.loads(kubefed("forget", MEMBER, "--format=json").stdout)["changed"] is False
    assert f"wait again for {MEMBER}" in kubefed("forget", MEMBER, "--undo").stdout
    assert not word()
    say(host, condition)
    kubefed("forget", MEMBER, "--force")
    assert word()
    # What only its entry lists is told before the entry goes.
    listed: Manifest = {"metadata": {"annotations": {LEFT_BEHIND_ANNOTATION: '["secrets a/b"]'}}}
    host.patch(KUBEFED_CLUSTER, MEMBER, FEDERATION, listed)
    left = json.loads(kubefed("unjoin", MEMBER, "--format=json").stdout)["still_placed"]
    assert left == ["ConfigMap default/held", "secrets a/b, deleted in the host"]
    host.patch(kind, "held", "default", {"metadata": {"finalizers": None}})
    assert "there is no member nobody" in kubefed("forget", "nobody", status=1).stderr


def say(host: Resources, condition: Manifest) -> None:
    """Have a member's entry say how it stands, as a controller would."""
    write_status(host, KUBEFED_CLUSTER, MEMBER, {"conditions": [condition]}, FEDERATION)


def test_the_host_joins_itself_and_keeps_its_namespace(kubefed: Command, host: Resources) -> None:
    kubefed("join", HOST)
    kubefed("unjoin", HOST)
    assert host.get(NAMESPACE, FEDERATION) is not None


def test_the_accounts_limits_go_with_its_role(kubefed: Command, member: Resources) -> None:
    kubefed("join", MEMBER)
    account = membership.account_name(MEMBER, HOST)
    # All that upstream's client deletes of what limits the account knows.
    assert member.delete(CLUSTER_ROLE_BINDING, f"kubefed-controller-manager:{account}")
    assert member.get(POLICY, f"kubefed-{account}") is not None
    assert member.delete(CLUSTER_ROLE, f"kubefed-controller-manager:{account}")
    await_gone(member, POLICY, f"kubefed-{account}")
    await_gone(member, POLICY_BINDING, f"kubefed-{account}")
    kubefed("unjoin", MEMBER)


def test_a_member_that_is_gone_leaves_by_force(kubefed: Command, host: Resources) -> None:
    kubefed("join", MEMBER)
    config = json.loads(kubefed.kubeconfig.read_text())
    for cluster in config["clusters"]:
        if cluster["name"] == MEMBER:
            cluster["cluster"]["server"] = "https://127.0.0.1:1"
    gone = Command(kubefed.kubeconfig.with_name("gone"))
    gone.kubeconfig.write_text(json.dumps(config))
    result = gone("unjoin", MEMBER, status=75)
    assert f"{MEMBER} stays a member" in result.stderr
    assert host.get(KUBEFED_CLUSTER, MEMBER, FEDERATION) is not None
    result = gone("unjoin", MEMBER, "--force")
    assert "left behind in the member" in result.stderr
    assert host.get(KUBEFED_CLUSTER, MEMBER, FEDERATION) is None
    # It comes back, joins and leaves as usual.
    kubefed("join", MEMBER)
    kubefed("unjoin", MEMBER)


def test_a_member_leaves_with_or_without_what_was_placed_there(
    kubefed: Command, member: Resources
) -> None:
    kubefed("join", MEMBER)
    for name in ("managed", "local"):
        member.create(
            NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
    managed = {"metadata": {"labels": {MANAGED_LABEL: "true"}}}
    member.patch(NAMESPACE, "managed", None, managed)
    plain: Manifest = {"apiVersion": "v1", "kind": "ConfigMap"}
    for name, labels in (("placed", {MANAGED_LABEL: "true"}), ("own", {})):
        metadata: Manifest = {"name": name, "namespace": "local", "labels": labels}
        member.create(CONFIG_MAP, plain | {"metadata": metadata})
    kubefed("unjoin", MEMBER)
    assert member.get(CONFIG_MAP, "placed", "local") is not None
    told = kubefed("join", MEMBER, "--release-orphans", "--dry-run", "--format=json").stdout
    assert {"ConfigMap local/placed", "Namespace managed"} <= set(json.loads(told)["lets_go_of"])
    told = kubefed("join", MEMBER, "--release-orphans").stdout
    assert " of a federation that the host knows nothing of (" in told
    trial = kubefed("unjoin", MEMBER, "--purge", "--dry-run").stdout
    # Other tests of the session may have placed something there too.
    assert {"would delete ConfigMap local/placed", "would delete Namespace managed"} <= set(
        trial.splitlines()
    )
    assert member.get(CONFIG_MAP, "placed", "local") is not None
    kubefed("unjoin", MEMBER, "--purge")
    await_gone(member, NAMESPACE, "managed")
    assert member.get(CONFIG_MAP, "placed", "local") is None
    assert member.get(CONFIG_MAP, "own", "local") is not None
    assert member.delete(NAMESPACE, "local")


WEB = """
apiVersion: v1
kind: Namespace
metadata: {name: store}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: store, annotations: {a: b}}
data: {color: red}
"""


def test_federate(kubefed: Command, host: Resources) -> None:
    apply = ("federate", "--apply", "-f", "-")
    trial = kubefed(*apply, "--dry-run", stdin=WEB).stdout
    assert trial.splitlines() == [
        "would create Namespace store",
        "would create FederatedNamespace store/store",
        "would create FederatedConfigMap store/web",
        "2 objects can be federated.",
    ]
    # As kubefedctl has it: a file is only printed.
    printed = list(yaml.safe_load_all(kubefed("federate", "-f", "-", "-t", stdin=WEB).stdout))
    assert [each["kind"] for each in printed] == ["FederatedNamespace", "FederatedConfigMap"]
    assert host.get(NAMESPACE, "store") is None
    first = kubefed(*apply, stdin=WEB).stdout
    assert "FederatedConfigMap store/web created" in first
    assert "unchanged" in kubefed(*apply, stdin=WEB).stdout
    kind = FederatedType.of(CONFIG_MAP).federated
    placement: Manifest = {"spec": {"placement": {"clusters": []}}}
    host.patch(kind, "web", "store", placement)
    changed = kubefed(*apply, stdin=WEB.replace("red", "blue")).stdout
    assert "FederatedConfigMap store/web changed" in changed
    spec = (host.get(kind, "web", "store") or {})["spec"]
    assert spec["template"]["data"] == {"color": "blue"}
    assert spec["placement"]["clusters"] == []
    result = kubefed("status", status=3)
    lines = [each.split() for each in result.stdout.splitlines()]
    assert lines[0] == ["WHAT", "NAME", "WHERE", "STATE", "EXPLAIN"]
    assert ["type", "configmaps", "FederatedConfigMap", "unknown", "1", "objects"] in lines
    assert any(each[:3] == ["object", "FederatedConfigMap", "store/web"] for each in lines)
    assert "no controller has looked at it yet" in result.stdout
    host.create(
        CONFIG_MAP,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "plain", "namespace": "store"},
        },
    )
    translated = kubefed("federate", "namespace", "store", "--contents", "-o", "yaml").stdout
    assert translated.count("kind: Federated") == 2
    assert "FederatedConfigMap default/nothing" not in translated
    name = ("federate", "configmap", "plain", "-n", "store")
    assert "FederatedConfigMap store/plain created" in kubefed(*name).stdout
    for flags in ((), ("--dry-run",)):
        refused = kubefed(*name, *flags, status=1).stderr
        assert "FederatedConfigMap store/plain exists already; --apply gives" in refused
    assert "FederatedConfigMap store/plain unchanged" in kubefed(*name, "--apply").stdout
    missing = kubefed("federate", "configmap", "nothing", "-n", "store", status=1)
    assert "there is no ConfigMap nothing in namespace store" in missing.stderr


def test_objects_without_a_namespace(kubefed: Command, host: Resources) -> None:
    text = WEB.split("---")[1].replace(", namespace: store", "")
    [printed] = json.loads(kubefed("federate", "-f", "-", "--format=json", stdin=text).stdout)[
        "items"
    ]
    assert printed["metadata"] == {"name": "web"}
    apply = ("federate", "--apply", "-f", "-", "--dry-run")
    assert "FederatedConfigMap default/web" in kubefed(*apply, stdin=text).stdout
    assert "FederatedConfigMap x/web" in kubefed(*apply, "-n", "x", stdin=text).stdout


def test_orphaning_deletion(kubefed: Command) -> None:
    kubefed("federate", "--apply", "-f", "-", stdin=WEB)
    name = ("FederatedConfigMap", "web", "-n", "store")
    assert kubefed("orphaning-deletion", "status", *name).stdout == "Disabled\n"
    kubefed("orphaning-deletion", "enable", *name)
    assert (
        kubefed("orphaning-deletion", "status", "cm", "web", "-n", "store").stdout == "Enabled\n"
    )
    kubefed("orphaning-deletion", "disable", *name)
    assert kubefed("orphaning-deletion", "status", *name).stdout == "Disabled\n"


def test_enable_and_disable(kubefed: Command, host: Resources) -> None:
    printed = kubefed("enable", "statefulsets.apps", "-o", "yaml").stdout
    assert "shortNames:\n    - fsts" in printed
    assert "retainReplicas" in printed
    assert host.get(FEDERATED_TYPE_CONFIG, "statefulsets.apps", FEDERATION) is None
    assert "can be federated" in kubefed("enable", "sts", "--dry-run").stdout
    kubefed("enable", "sts")
    kubefed("enable", "sts")
    other = kubefed("enable", "sts", "--federated-group=a.example.com", status=2)
    assert "as federatedstatefulsets.types.kubefed.io/v1beta1; disable it before" in other.stderr
    assert host.get(CRD, "federatedstatefulsets.a.example.com") is None
    stateful = TargetKind(
        "types.kubefed.io", "v1beta1", "FederatedStatefulSet", "federatedstatefulsets"
    )
    manifest = {
        "apiVersion": stateful.api_version,
        "kind": stateful.kind,
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {},
    }
    host.create(stateful, manifest)
    held = kubefed("disable", "sts", "--delete-crd", status=1)
    assert "still has 1 objects" in held.stderr
    host.delete(stateful, "a", "default")
    trial = kubefed("disable", "sts", "--delete-crd", "--dry-run").stdout
    assert f"would change FederatedTypeConfig {FEDERATION}/statefulsets.apps" in trial
    assert "would delete CustomResourceDefinition federatedstatefulsets" in trial
    assert host.get(FEDERATED_TYPE_CONFIG, "statefulsets.apps", FEDERATION) is not None
    kubefed("disable", "sts", "--delete-crd")
    assert host.get(CRD, "federatedstatefulsets.types.kubefed.io") is None
    assert "is not federated" in kubefed("disable", "sts", status=1).stderr
    assert "has no kind gadgets" in kubefed("enable", "gadgets", status=1).stderr
    assert "of the federation itself" in kubefed("enable", "kfc", status=2).stderr
    assert "know no" in kubefed("enable", "tokenreviews", status=2).stderr


def test_a_kind_left_of_a_type_that_is_gone(kubefed: Command, host: Resources) -> None:
    kubefed("enable", "daemonsets", "--federated-group=left.example.com")
    kubefed("disable", "daemonsets")
    name = "federateddaemonsets.left.example.com"
    assert host.get(CRD, name) is not None
    kubefed("disable", "daemonsets", "--delete-crd", "--federated-group=left.example.com")
    assert host.get(CRD, name) is None
    gone = kubefed("disable", "daemonsets", "--delete-crd", status=1)
    assert "there is no federateddaemonsets.types.kubefed.io" in gone.stderr


def test_a_type_and_its_object_in_one_go(kubefed: Command, host: Resources) -> None:
    quota = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "a"}, "spec": {}}
    text = json.dumps(quota)
    apply = ("federate", "--apply", "-f", "-")
    refused = kubefed(*apply, stdin=text, status=1)
    assert "not federated: LimitRange; use kubefed enable" in refused.stderr
    printed = kubefed("federate", "-f", "-", "-o", "yaml", stdin=text).stdout
    assert "kind: FederatedLimitRange" in printed
    trial = kubefed(*apply, "-t", "--dry-run", stdin=text).stdout
    assert "would create CustomResourceDefinition federatedlimitranges.types.kubefed.io" in trial
    assert "would create FederatedLimitRange default/a" in trial
    assert host.get(CRD, "federatedlimitranges.types.kubefed.io") is None
    made = kubefed(*apply, "-t", stdin=text).stdout
    assert "FederatedLimitRange default/a created" in made
    kind = FederatedType.of(TargetKind("", "v1", "LimitRange", "limitranges")).federated
    host.delete(kind, "a", "default")
    kubefed("disable", "limitranges", "--delete-crd")


def test_answers_for_programs(kubefed: Command, host: Resources) -> None:
    def answer(*arguments: str, stdin: str | None = None) -> Any:
        return json.loads(kubefed(*arguments, "--format=json", stdin=stdin).stdout)

    endpoint = host.api.configuration.host
    where = {"endpoint": endpoint, "namespace": FEDERATION}
    assert answer("init") == {**where, "dry_run": False}
    assert answer("init", "--dry-run") == {**where, "dry_run": True, "would": []}
    joined = answer("join", MEMBER, "--label=country=it")
    assert (joined["cluster"], joined["labels"]) == (MEMBER, {"country": "it"})
    enabled = answer("enable", "cronjobs")
    assert enabled["federated"] == "federatedcronjobs.types.kubefed.io"
    disabled = answer("disable", "cronjobs", "--delete-crd")
    assert (disabled["type"], disabled["deleted_crd"]) == ("cronjobs.batch", True)
    objects = answer("federate", "--apply", "-f", "-", stdin=WEB)["objects"]
    assert [each["object"] for each in objects] == [
        "FederatedNamespace store/store",
        "FederatedConfigMap store/web",
    ]
    name = ("cm", "web", "-n", "store")
    assert answer("orphaning-deletion", "enable", *name)["orphaning"] is True
    assert answer("orphaning-deletion", "status", *name)["orphaning"] is True
    assert answer("orphaning-deletion", "disable", *name)["orphaning"] is False
    left = answer("unjoin", MEMBER)
    assert (left["left_in_member"], left["still_placed"]) == ([], [])
    assert "would delete" in kubefed("uninstall", "--dry-run").stdout
    assert host.get(NAMESPACE, FEDERATION) is not None


def test_a_dry_run_of_init_tells_everything(kubefed: Command, member: Resources) -> None:
    arguments = [f"--kubeconfig={kubefed.kubeconfig}", f"--host-cluster-context={MEMBER}"]
    result = CliRunner().invoke(app, ["init", "--dry-run", *arguments])
    assert result.exit_code == 0, result.stderr
    steps = result.stdout.splitlines()
    assert steps[-1].startswith("The federation can be installed in namespace kube-federation")
    if member.get(CRD, KUBEFED_CLUSTER.full_name) is None:
        created = [each for each in steps if each.startswith("would create")]
        assert sum("CustomResourceDefinition" in each for each in created) == 17
        assert sum("FederatedTypeConfig" in each for each in created) == 10
    enable = CliRunner().invoke(
        app, ["enable", "cronjobs", "--kubefed-namespace=nowhere", *arguments]
    )
    assert enable.exit_code == 1
    assert "has no federation in namespace nowhere; install it there first" in enable.stderr


def test_disable_waits_for_a_controller(kubefed: Command, host: Resources) -> None:
    kubefed("enable", "cronjobs")
    where = (FEDERATED_TYPE_CONFIG, "cronjobs.batch", FEDERATION)
    host.patch(*where, {"metadata": {"finalizers": [TYPE_CONFIG_FINALIZER]}})
    waited = kubefed("disable", "cronjobs", status=75)
    assert "no controller has confirmed within 10 s" in waited.stderr
    kubefed("disable", "cronjobs", "--force", "--delete-crd")
    assert host.get(*where) is None


def test_namespaced_scope(kubefed: Command, member: Resources) -> None:
    other = "command-namespaced"
    last = f"--kubefed-namespace={other}"
    # The last one of a flag counts, so this is another federation in the same host.
    runner = CliRunner()
    base = [f"--kubeconfig={kubefed.kubeconfig}", f"--host-cluster-context={HOST}", last]
    for arguments in (["init", "--scope=Namespaced"], ["join", MEMBER]):
        result = runner.invoke(app, [*arguments, *base])
        assert result.exit_code == 0, result.stderr
    token = membership.lasting_token(
        member.api, service_account=f"{MEMBER}-{HOST}", namespace=other
    ).token
    api = clients.from_token(str(member.api.configuration.host), token)
    api.configuration.ssl_ca_cert = member.api.configuration.ssl_ca_cert
    account = Resources(type(api)(api.configuration))
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": other, "labels": {"kubefed.io/managed": "true"}},
    }
    account.create(CONFIG_MAP, manifest)
    manifest["metadata"]["namespace"] = "default"
    with pytest.raises(errors.Forbidden):
        account.create(CONFIG_MAP, manifest)
    for arguments in (["unjoin", MEMBER], ["uninstall"]):
        result = runner.invoke(app, [*arguments, *base])
        assert result.exit_code == 0, result.stderr
    # The other federation of this host still has its kinds.
    host = Resources(clients.from_kubeconfig(kubefed.kubeconfig, HOST))
    assert host.get(CRD, KUBEFED_CLUSTER.full_name) is not None
