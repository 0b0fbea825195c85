"""What the charm does on each event, with the programs replaced."""

import json
from typing import Any

import ops
import pytest
from charm import KubernetesControlPlaneCharm
from control_plane import Settings, WorkloadError
from ops import testing

TOKEN = "admin-token"


class FakeWorkload:
    """Stands for the programs; tests set what they find."""

    is_ready = True
    lacks = ""
    broken = ""
    calls: list[str]
    waited: list[float]

    def ensure(self, settings: Settings) -> None:
        self.calls.append(f"ensure {settings.region} {settings.address}")
        if self.broken:
            raise WorkloadError(self.broken)

    def restart(self, settings: Settings) -> None:
        del settings
        self.calls.append("restart")
        if self.broken:
            raise WorkloadError(self.broken)

    def remove(self) -> None:
        self.calls.append("remove")

    def missing(self, settings: Settings) -> str:
        del settings
        return self.lacks

    def ready(self, settings: Settings, seconds: float = 0.0) -> bool:
        del settings
        self.waited.append(seconds)
        return self.is_ready

    def version(self, settings: Settings) -> str:
        del settings
        return "1.35.4"

    def kubeconfig(self, settings: Settings, server: str = "") -> dict[str, Any]:
        return {"current-context": settings.region, "server": server}

    def admin_token(self, settings: Settings) -> str:
        del settings
        return TOKEN

    def ca_certificate(self, settings: Settings) -> str:
        del settings
        return "PEM"


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch) -> FakeWorkload:
    fake = FakeWorkload()
    fake.calls, fake.waited = [], []
    monkeypatch.setattr("charm.Workload", lambda: fake)
    return fake


@pytest.fixture
def context(workload: FakeWorkload) -> testing.Context[KubernetesControlPlaneCharm]:
    del workload
    return testing.Context(KubernetesControlPlaneCharm)


Context = testing.Context[KubernetesControlPlaneCharm]


def requirer(**data: str) -> testing.Relation:
    return testing.Relation("kube-control", remote_app_name="member", remote_units_data={0: data})


def state(*relations: testing.RelationBase, **fields: Any) -> testing.State:
    fields.setdefault("model", testing.Model(name="palermo"))
    fields.setdefault("leader", True)
    return testing.State(relations=relations, **fields)


def test_install_starts_everything_and_waits_within_a_bound(
    context: Context, workload: FakeWorkload
) -> None:
    out = context.run(context.on.install(), state())
    assert workload.calls == ["ensure palermo 192.0.2.0"]
    assert workload.waited[0] == 60
    assert out.unit_status == testing.ActiveStatus("ready at https://192.0.2.0:6443")
    assert out.workload_version == "1.35.4"


def test_the_first_hook_after_a_boot_waits_for_the_api_server(
    context: Context, workload: FakeWorkload
) -> None:
    context.run(context.on.start(), state())
    assert workload.waited[0] == 30


@pytest.mark.parametrize("event", ["upgrade_charm", "config_changed", "update_status"])
def test_other_hooks_wait_little(context: Context, workload: FakeWorkload, event: str) -> None:
    workload.is_ready = False
    out = context.run(getattr(context.on, event)(), state())
    assert max(workload.waited) <= 1.5
    assert out.unit_status == testing.WaitingStatus("the API server does not answer yet")


def test_kube_control_gets_what_the_real_charm_gives(context: Context) -> None:
    asking = requirer(kubelet_user="member/0", auth_group="system:masters", schema_vers="[0, 1]")
    out = context.run(context.on.relation_changed(asking), state(asking))
    data = out.get_relation(asking.id).local_unit_data
    assert json.loads(data["api-endpoints"]) == ["https://192.0.2.0:6443"]
    assert data["cluster-tag"] == "kubernetes-palermo"
    assert data["domain"] == "cluster.local"
    assert (data["has-xcp"], data["enable-kube-dns"], data["port"]) == ("false", "False", "53")
    for name in ("default-cni", "taints", "labels"):
        json.loads(data[name])
    creds = json.loads(data["creds"])["member/0"]
    assert (creds["client_token"], creds["scope"]) == ("", "member/0")
    secrets = {secret.label: secret for secret in out.secrets}
    tokens = secrets["member/0-creds"].latest_content or secrets["member/0-creds"].tracked_content
    assert tokens["client-token"] == TOKEN
    assert TOKEN not in json.dumps(dict(data))
    assert secrets["ca-certificate"].tracked_content["ca-certificate"] == "PEM"


def test_an_old_requirer_gets_the_token_itself(context: Context) -> None:
    asking = requirer(kubelet_user="old/0", auth_group="system:masters", schema_vers="[0]")
    out = context.run(context.on.relation_changed(asking), state(asking))
    creds = json.loads(out.get_relation(asking.id).local_unit_data["creds"])
    assert creds["old/0"]["client_token"] == TOKEN


def test_nothing_is_given_before_the_api_server_answers(
    context: Context, workload: FakeWorkload
) -> None:
    workload.is_ready = False
    asking = requirer(kubelet_user="m/0", auth_group="g", schema_vers="[0, 1]")
    out = context.run(context.on.relation_changed(asking), state(asking))
    assert "creds" not in out.get_relation(asking.id).local_unit_data


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("images", "pictures: {}", "images: images.yaml"),
        ("labels", "what", "labels: expected KEY=VALUE, found 'what'"),
        ("register-with-taints", "a=b", "register-with-taints"),
    ],
)
def test_a_bad_option_blocks_and_is_named(
    context: Context, workload: FakeWorkload, option: str, value: str, said: str
) -> None:
    out = context.run(context.on.config_changed(), state(config={option: value}))
    assert isinstance(out.unit_status, ops.BlockedStatus | testing.BlockedStatus)
    assert said in out.unit_status.message
    assert workload.calls == []


def test_options_reach_the_programs(context: Context) -> None:
    config = {"region": "napoli", "api-extra-args": "v=2", "labels": "a=b", "extra_sans": "x y"}
    with context(context.on.update_status(), state(config=config)) as manager:
        settings = manager.charm.settings()
    assert settings.region == "napoli"
    assert dict(settings.extra_args)["kube-apiserver"] == ("--v=2",)
    assert (settings.labels, settings.extra_hosts) == (("a=b",), ("x", "y"))


def test_missing_programs_block(context: Context, workload: FakeWorkload) -> None:
    workload.broken = workload.lacks = "/opt/lab/bin lacks etcd: run `make tools`"
    out = context.run(context.on.install(), state())
    assert out.unit_status == testing.BlockedStatus(workload.lacks)


def test_a_second_unit_is_refused(context: Context, workload: FakeWorkload) -> None:
    second = testing.Context(KubernetesControlPlaneCharm, unit_id=1)
    out = second.run(second.on.install(), state(leader=False, planned_units=2))
    assert isinstance(out.unit_status, testing.BlockedStatus)
    assert workload.calls == []
    del context


def test_get_kubeconfig_gives_a_json_text(context: Context) -> None:
    params = {"server": "https://x"}
    context.run(context.on.action("get-kubeconfig", params=params), state())
    given = json.loads((context.action_results or {})["kubeconfig"])
    assert given == {"current-context": "palermo", "server": "https://x"}


def test_an_action_fails_while_there_is_no_answer(
    context: Context, workload: FakeWorkload
) -> None:
    workload.is_ready = False
    with pytest.raises(testing.ActionFailed, match="not ready"):
        context.run(context.on.action("get-kubeconfig"), state())


def test_restart(context: Context, workload: FakeWorkload) -> None:
    context.run(context.on.action("restart"), state())
    assert "restart" in workload.calls
    workload.broken = "systemctl restart: no"
    with pytest.raises(testing.ActionFailed, match="systemctl restart: no"):
        context.run(context.on.action("restart"), state())


def test_restart_is_for_what_does_not_answer(context: Context, workload: FakeWorkload) -> None:
    workload.is_ready = False
    with pytest.raises(testing.ActionFailed, match="not ready after 30 s"):
        context.run(context.on.action("restart"), state())
    assert "restart" in workload.calls


def test_remove(context: Context, workload: FakeWorkload) -> None:
    context.run(context.on.remove(), state())
    assert workload.calls == ["remove"]
