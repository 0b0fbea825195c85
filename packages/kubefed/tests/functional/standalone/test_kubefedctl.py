"""Upstream's own client, kubefedctl v0.10.0, against this control plane."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from kubefed import rbac
from kubefed.api import (
    CLUSTER_ROLE,
    CONFIG_MAP,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    FederatedType,
    Manifest,
    TargetKind,
)
from kubefed.clients import Resources
from kubefed.install import CRD
from kubefed.policy import POLICY, POLICY_BINDING
from standalone_harness import controller, eventually, objects, shell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

FEDERATION = "ctl-test"
HOST, MEMBER, OTHER = "catania", "palermo", "napoli"
FEDERATED = FederatedType.of(CONFIG_MAP).federated
Run = Callable[..., str]


@pytest.fixture(scope="module")
def host(kubeconfig: Path) -> Resources:
    return objects(kubeconfig, HOST)


@pytest.fixture(scope="module")
def member(kubeconfig: Path) -> Resources:
    return objects(kubeconfig, MEMBER)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controller") / "log"


@pytest.fixture(scope="module")
def kubefed(
    environment: dict[str, str], kubeconfig: Path, log: Path, host: Resources, member: Resources
) -> Generator[Run]:
    """Our command, with a federation and its controller as long as the module's tests run."""

    def run(*arguments: str, status: int = 0, namespace: str = FEDERATION) -> str:
        words = ["kubefed", *arguments, f"--kubefed-namespace={namespace}"]
        result = shell(words, environment, status=status)
        return result.stdout + result.stderr

    run("init")
    line = f"kubefed controller --kubeconfig {kubeconfig} --context {HOST}"
    with controller(f"{line} --kubefed-namespace {FEDERATION}", environment, log):
        yield run
    run("uninstall")
    # The next federation would not take in a member that holds objects of this one.
    for cluster in (host, member):
        cluster.delete(NAMESPACE, "ctl")
        eventually(lambda c=cluster: c.get(NAMESPACE, "ctl") is None, 40, "the end of ctl")


@pytest.fixture(scope="module")
def kubefedctl(environment: dict[str, str], upstream_ctl: Path, kubefed: Run) -> Run:
    """Upstream's client; `kubefed` has made the federation that it works on."""

    def run(*arguments: str, status: int = 0, namespace: str = FEDERATION) -> str:
        words = [str(upstream_ctl), *arguments, f"--kubefed-namespace={namespace}"]
        words += [f"--host-cluster-context={HOST}"]
        result = shell(words, environment, status=status)
        return result.stdout + result.stderr

    return run


def ready(host: Resources, name: str) -> bool:
    entry = host.get(KUBEFED_CLUSTER, name, FEDERATION) or {}
    conditions = (entry.get("status") or {}).get("conditions") or []
    return [(each["type"], each["status"]) for each in conditions] == [("Ready", "True")]


def left_in(member: Resources, namespace: str, name: str = f"{MEMBER}-{HOST}") -> list[str]:
    """What a member has of the federation."""
    role = f"kubefed-controller-manager:{name}"
    health = f"kubefed-controller-manager:{namespace}:healthcheck-{name}"
    places: list[tuple[TargetKind, str, str | None]] = [
        (NAMESPACE, namespace, None),
        (SERVICE_ACCOUNT, name, namespace),
        (CLUSTER_ROLE, role, None),
        (rbac.CLUSTER_ROLE_BINDING, role, None),
        (rbac.ROLE, role, namespace),
        (rbac.ROLE_BINDING, role, namespace),
        (CLUSTER_ROLE, health, None),
        (rbac.CLUSTER_ROLE_BINDING, health, None),
        (POLICY, f"kubefed-{name}", None),
        (POLICY_BINDING, f"kubefed-{name}", None),
    ]
    return [kind.kind for kind, each, where in places if member.get(kind, each, where)]


def test_what_it_joins_is_taken_as_it_is(
    kubefedctl: Run, kubefed: Run, host: Resources, member: Resources, log: Path
) -> None:
    kubefedctl("join", MEMBER, "--v=2")
    before = host.get(KUBEFED_CLUSTER, MEMBER, FEDERATION) or {}
    eventually(lambda: ready(host, MEMBER), 20, "the member's readiness", log)
    entry = host.get(KUBEFED_CLUSTER, MEMBER, FEDERATION) or {}
    assert entry["spec"] == before["spec"]
    assert entry["metadata"]["generation"] == 1
    assert f"{MEMBER} is a member already" in kubefed("join", MEMBER, status=1)


def test_its_federate_reaches_the_member(
    kubefedctl: Run, host: Resources, member: Resources, log: Path
) -> None:
    host.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ctl"}})
    plain: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}
    host.create(CONFIG_MAP, plain | {"metadata": {"name": "web", "namespace": "ctl"}})
    kubefedctl("federate", "namespace", "ctl", "--contents", "--skip-api-resources=sa")
    eventually(
        lambda: member.get(CONFIG_MAP, "web", "ctl"), 20, "the ConfigMap in the member", log
    )
    name = ("FederatedConfigMap", "web", "-n", "ctl")
    kubefedctl("orphaning-deletion", "enable", *name)
    assert "Enabled" in kubefedctl("orphaning-deletion", "status", *name)
    kubefedctl("orphaning-deletion", "disable", *name)
    host.delete(FEDERATED, "web", "ctl")
    eventually(lambda: member.get(CONFIG_MAP, "web", "ctl") is None, 20, "its deletion", log)


def test_its_enable_and_disable(kubefedctl: Run, kubefed: Run, host: Resources, log: Path) -> None:
    kubefedctl("enable", "cronjobs")
    where = (FEDERATED_TYPE_CONFIG, "cronjobs.batch", FEDERATION)

    def running() -> bool:
        status = (host.get(*where) or {}).get("status") or {}
        return status.get("propagationController") == "Running"

    eventually(running, 20, "the type's controller", log)
    # What upstream's client has made, ours leaves as it is but for the schema, and the other way.
    assert "cronjobs.batch is federated as FederatedCronJob" in kubefed("enable", "cronjobs")
    kubefedctl("enable", "cronjobs")
    kubefedctl("disable", "cronjobs", "--delete-crd")
    eventually(lambda: host.get(*where) is None, 20, "the type's end", log)
    eventually(
        lambda: host.get(CRD, "federatedcronjobs.types.kubefed.io") is None, 20, "its kind's", log
    )
    assert "cronjobs is not federated" in kubefed("disable", "cronjobs", status=1)


def test_its_unjoin_leaves_nothing_of_what_either_made(
    kubefedctl: Run, kubefed: Run, host: Resources, member: Resources
) -> None:
    # Ours brings what upstream's join made under its own limits first.
    assert "is a member" in kubefed("join", MEMBER, "--error-on-existing=false")
    assert POLICY.kind in left_in(member, FEDERATION)
    secret = (host.get(KUBEFED_CLUSTER, MEMBER, FEDERATION) or {})["spec"]["secretRef"]["name"]
    kubefedctl("unjoin", MEMBER)
    assert host.get(KUBEFED_CLUSTER, MEMBER, FEDERATION) is None
    assert host.get(SECRET, secret, FEDERATION) is None
    eventually(lambda: left_in(member, FEDERATION) == [], 40, "an empty member")
    # And the whole way: joined by ours, left by upstream's.
    kubefed("join", MEMBER)
    kubefedctl("unjoin", MEMBER)
    eventually(lambda: left_in(member, FEDERATION) == [], 40, "an empty member")


def test_ours_takes_away_what_its_join_made(
    kubefedctl: Run, kubefed: Run, host: Resources, member: Resources
) -> None:
    kubefedctl("join", MEMBER)
    kubefed("unjoin", MEMBER)
    assert left_in(member, FEDERATION) == []
    other = "ctl-namespaced"
    kubefed("init", "--scope=Namespaced", namespace=other)
    kubefedctl("join", MEMBER, namespace=other)
    assert len(left_in(member, other)) == 6
    kubefed("unjoin", MEMBER, namespace=other)
    assert left_in(member, other) == []
    kubefed("uninstall", namespace=other)
    assert host.list(KUBEFED_CLUSTER) == []
