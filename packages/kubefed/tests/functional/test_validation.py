"""What API servers refuse and fill in: the rules of v0.10.0's webhooks, rule by rule.

Each refusal is tried by creating, by replacing and by patching; all are dry runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest
from api_harness import (
    FEDERATION,
    admin,
    change,
    changed,
    cluster,
    config,
    type_config,
    write_status,
)
from federation_lab.cluster.control_plane import ControlPlane
from kubefed import errors, install
from kubefed.api import (
    CONFIG_NAME,
    FEDERATED_TYPE_CONFIG,
    KUBEFED_CLUSTER,
    KUBEFED_CONFIG,
    NAMESPACE,
    KubeFedConfig,
    Manifest,
    Scope,
    TargetKind,
)
from kubefed.clients import Resources

pytestmark = pytest.mark.cluster

KINDS: dict[TargetKind, Callable[[], Manifest]] = {
    KUBEFED_CLUSTER: cluster,
    FEDERATED_TYPE_CONFIG: type_config,
    KUBEFED_CONFIG: config,
}


@pytest.fixture(scope="module")
def host_api(host: ControlPlane) -> Generator[Resources]:
    api = admin(host)
    install.install(api, namespace=FEDERATION)
    found = Resources(api)
    for kind, make in KINDS.items():
        found.create(kind, make())
    yield found
    for kind, make in KINDS.items():
        found.delete(kind, make()["metadata"]["name"], FEDERATION)
    found.delete(NAMESPACE, FEDERATION)
    install.await_gone(found, NAMESPACE, FEDERATION)


LABEL = "DNS-1035 label"
SUBDOMAIN = "DNS-1123 subdomain"
ENUM = "Unsupported value"
REQUIRED = "Required value"
ABOVE_ZERO = "greater than 0"
FROM_ONE = "greater than or equal to 1"
ENDPOINT = "must be a host, host:port or URL"
PORT = "port must be between 1 and 65535"
Refusal = tuple[str, object, str]


def api_resource(field: str, *, domain: bool) -> list[Refusal]:
    """The rules of an APIResource: of the target, or of a type in a domain of its own."""
    path = f"spec.{field}"
    refusals: list[Refusal] = [
        (f"{path}.group", "Ex_a.b", SUBDOMAIN),
        (f"{path}.group", "-a.b", SUBDOMAIN),
        (f"{path}.version", None, REQUIRED),
        (f"{path}.version", "", "at least 1"),
        (f"{path}.version", "1", LABEL),
        (f"{path}.version", "v" * 64, "may not be more than 63"),
        (f"{path}.kind", None, REQUIRED),
        (f"{path}.kind", "", "at least 1"),
        (f"{path}.kind", "Wid_get", LABEL),
        (f"{path}.pluralName", None, REQUIRED),
        (f"{path}.pluralName", "", "at least 1"),
        (f"{path}.pluralName", "Widgets", LABEL),
        (f"{path}.scope", None, REQUIRED),
        (f"{path}.scope", "", ENUM),
        (f"{path}.scope", "World", ENUM),
    ]
    if domain:
        refusals += [
            (f"{path}.group", None, REQUIRED),
            (f"{path}.group", "", "at least 1"),
            (f"{path}.group", "types", "at least one dot"),
        ]
    return refusals


DURATIONS = (
    "controllerDuration.availableDelay",
    "controllerDuration.unavailableDelay",
    "controllerDuration.cacheSyncTimeout",
    "leaderElect.leaseDuration",
    "leaderElect.renewDeadline",
    "leaderElect.retryPeriod",
    "clusterHealthCheck.period",
    "clusterHealthCheck.timeout",
)
COUNTS = (
    "clusterHealthCheck.failureThreshold",
    "clusterHealthCheck.successThreshold",
    "syncController.maxConcurrentReconciles",
    "statusController.maxConcurrentReconciles",
)

REFUSALS: dict[TargetKind, list[Refusal]] = {
    KUBEFED_CLUSTER: [
        ("spec.apiEndpoint", None, REQUIRED),
        ("spec.apiEndpoint", "", "at least 1"),
        ("spec.apiEndpoint", "ftp://host", "scheme must be http or https"),
        ("spec.apiEndpoint", "host/path", ENDPOINT),
        ("spec.apiEndpoint", "/path", ENDPOINT),
        ("spec.apiEndpoint", "https://", ENDPOINT),
        ("spec.apiEndpoint", "https:///path", ENDPOINT),
        ("spec.apiEndpoint", "a b", ENDPOINT),
        ("spec.apiEndpoint", "https://a b", ENDPOINT),
        ("spec.apiEndpoint", "host:port", ENDPOINT),
        ("spec.apiEndpoint", "host:0", PORT),
        ("spec.apiEndpoint", "host:65536", PORT),
        ("spec.apiEndpoint", "10.0.0.1:65536", PORT),
        ("spec.apiEndpoint", "https://host:0", PORT),
        ("spec.apiEndpoint", "https://host:65536/path", PORT),
        ("spec.secretRef", None, REQUIRED),
        ("spec.secretRef.name", None, REQUIRED),
        ("spec.secretRef.name", "", "at least 1"),
        ("spec.secretRef.name", "A_b", SUBDOMAIN),
        ("spec.disabledTLSValidations", ["Age"], ENUM),
        ("spec.disabledTLSValidations", ["*", "SubjectName"], "must be the only entry"),
        ("spec.disabledTLSValidations", ["SubjectName", "*"], "must be the only entry"),
        ("spec.proxyURL", "ftp://proxy", "http, https or socks5"),
        ("spec.proxyURL", "proxy:3128", "http, https or socks5"),
        ("spec.proxyURL", "http://a b", "http, https or socks5"),
        ("spec.caBundle", "not base64!", "must be of type byte"),
    ],
    FEDERATED_TYPE_CONFIG: [
        ("spec.targetType", None, REQUIRED),
        ("spec.targetType.pluralName", "gadgets", "TARGET_PLURAL_NAME"),
        ("spec.targetType.group", "example.org", "TARGET_PLURAL_NAME"),
        ("spec.targetType.group", None, "TARGET_PLURAL_NAME"),
        *api_resource("targetType", domain=False),
        ("spec.federatedType", None, REQUIRED),
        *api_resource("federatedType", domain=True),
        *api_resource("statusType", domain=True),
        ("spec.propagation", None, REQUIRED),
        ("spec.propagation", "", ENUM),
        ("spec.propagation", "On", ENUM),
        ("spec.statusCollection", "", ENUM),
        ("spec.statusCollection", "On", ENUM),
    ],
    KUBEFED_CONFIG: [
        ("spec.scope", None, REQUIRED),
        ("spec.scope", "", ENUM),
        ("spec.scope", "World", ENUM),
        *[
            (f"spec.{field}", value, text)
            for field in DURATIONS
            for value, text in (("0s", ABOVE_ZERO), ("-5m", ABOVE_ZERO), ("soon", "should match"))
        ],
        *[(f"spec.{field}", value, FROM_ONE) for field in COUNTS for value in (0, -1)],
        ("spec.leaderElect", {"leaseDuration": "10s"}, "greater than renewDeadline"),
        ("spec.leaderElect", {"renewDeadline": "15s"}, "greater than renewDeadline"),
        (
            "spec.leaderElect",
            {"leaseDuration": "20s", "renewDeadline": "12s", "retryPeriod": "10s"},
            "greater than retryPeriod",
        ),
        ("spec.leaderElect.resourceLock", "leases", ENUM),
        ("spec.leaderElect.resourceLock", "", ENUM),
        ("spec.syncController.adoptResources", "Yes", ENUM),
        ("spec.syncController.adoptResources", "", ENUM),
        ("spec.featureGates", [{"name": "Flying", "configuration": "Enabled"}], ENUM),
        ("spec.featureGates", [{"name": "PushReconciler", "configuration": "On"}], ENUM),
        ("spec.featureGates", [{"name": "PushReconciler"}], REQUIRED),
        ("spec.featureGates", [{"configuration": "Enabled"}], REQUIRED),
        (
            "spec.featureGates",
            [{"name": "PushReconciler", "configuration": "Enabled"}] * 2,
            "Duplicate value",
        ),
    ],
}
CASES = [(kind, *refusal) for kind, refusals in REFUSALS.items() for refusal in refusals]


@pytest.mark.parametrize(("kind", "path", "value", "text"), CASES)
def test_refused(
    host_api: Resources, kind: TargetKind, path: str, value: object, text: str
) -> None:
    trial = Resources(host_api.api, dry_run=True)
    made = KINDS[kind]()
    name = made["metadata"]["name"]
    # There is one of the name, but what is created is judged before that is seen.
    with pytest.raises(errors.Refused, match=text):
        trial.create(kind, changed(made, path, value))
    stored = host_api.get(kind, name, FEDERATION) or {}
    with pytest.raises(errors.Refused, match=text):
        trial.replace(kind, changed(stored, path, value))
    if isinstance(value, dict):
        # A patch adds to an object, so the fields that it doesn't name stay valid or not.
        return
    with pytest.raises(errors.Refused, match=text):
        trial.patch(kind, name, FEDERATION, change(path, value))


def test_a_type_config_of_another_name(host_api: Resources) -> None:
    trial = Resources(host_api.api, dry_run=True)
    for name in ("widgets", "widgets.example.org", "gadgets.example.com"):
        with pytest.raises(errors.Refused, match="TARGET_PLURAL_NAME"):
            trial.create(FEDERATED_TYPE_CONFIG, changed(type_config(), "metadata.name", name))


TAKEN: dict[TargetKind, list[tuple[str, object]]] = {
    KUBEFED_CLUSTER: [
        ("spec.apiEndpoint", "10.0.0.1"),
        ("spec.apiEndpoint", "10.0.0.1:6443"),
        ("spec.apiEndpoint", "host:6443"),
        ("spec.apiEndpoint", "host:6443/"),
        ("spec.apiEndpoint", "https://host"),
        ("spec.apiEndpoint", "HTTPS://host:1/path"),
        ("spec.apiEndpoint", "https://user:word@host:65535/a/b?c=d"),
        ("spec.apiEndpoint", "[fd00::1]:6443"),
        ("spec.apiEndpoint", "http://[fd00::1]"),
        ("spec.apiEndpoint", "http://host:065535"),
        ("spec.apiEndpoint", f"https://host/{'a' * 2000}"),
        ("spec.disabledTLSValidations", ["*"]),
        ("spec.disabledTLSValidations", ["SubjectName", "ValidityPeriod"]),
        ("spec.disabledTLSValidations", []),
        ("spec.proxyURL", ""),
        ("spec.proxyURL", "socks5://proxy:1080"),
        ("spec.proxyURL", "HTTP://user:word@proxy"),
        ("spec.caBundle", "Q0E="),
        ("metadata.labels", {"country": "it"}),
    ],
    FEDERATED_TYPE_CONFIG: [
        ("spec.propagation", "Disabled"),
        ("spec.statusCollection", "Enabled"),
        ("spec.statusCollection", "Disabled"),
        ("spec.statusType", None),
        ("spec.federatedType.group", "a.b"),
        ("spec.targetType.scope", "Cluster"),
    ],
    KUBEFED_CONFIG: [
        ("spec.clusterHealthCheck.period", "1h0m0.5s"),
        ("spec.clusterHealthCheck.timeout", "1ns"),
        ("spec.leaderElect.resourceLock", "endpoints"),
        (
            "spec.leaderElect",
            {"leaseDuration": "20s", "renewDeadline": "12.001s", "retryPeriod": "10s"},
        ),
        ("spec.featureGates", []),
        ("spec.featureGates", [{"name": "SchedulerPreferences", "configuration": "Disabled"}]),
        ("spec.syncController.adoptResources", "Disabled"),
        ("spec.syncController.maxConcurrentReconciles", 100),
    ],
}


@pytest.mark.parametrize(
    ("kind", "path", "value"), [(kind, *each) for kind, found in TAKEN.items() for each in found]
)
def test_taken(host_api: Resources, kind: TargetKind, path: str, value: object) -> None:
    trial = Resources(host_api.api, dry_run=True)
    stored = host_api.get(kind, KINDS[kind]()["metadata"]["name"], FEDERATION) or {}
    if value is not None:
        stored = changed(stored, path, {} if isinstance(value, dict) else value)
    trial.replace(kind, changed(stored, path, value))


def test_a_type_of_the_core_group(host_api: Resources) -> None:
    trial = Resources(host_api.api, dry_run=True)
    for group in ("", None):
        manifest = changed(type_config(), "metadata.name", "widgets")
        trial.create(FEDERATED_TYPE_CONFIG, changed(manifest, "spec.targetType.group", group))


def test_the_scope_stays(host_api: Resources) -> None:
    trial = Resources(host_api.api, dry_run=True)
    text = "can't be changed once it is set"
    with pytest.raises(errors.Refused, match=text):
        trial.patch(
            KUBEFED_CONFIG, CONFIG_NAME, FEDERATION, {"spec": {"scope": Scope.NAMESPACED.value}}
        )
    stored = host_api.get(KUBEFED_CONFIG, CONFIG_NAME, FEDERATION) or {}
    with pytest.raises(errors.Refused, match=text):
        trial.replace(KUBEFED_CONFIG, changed(stored, "spec.scope", "Namespaced"))
    manifest = changed(stored, "metadata.managedFields", [])
    manifest = changed(manifest, "spec.scope", "Namespaced")
    with pytest.raises(errors.Refused, match=text):
        trial.put(KUBEFED_CONFIG, {**manifest, "metadata": config()["metadata"]})


# The status subresources.


NOW = "2026-01-01T00:00:00Z"
CONDITION: Manifest = {"type": "Ready", "status": "True", "lastProbeTime": NOW}
RUNNING: Manifest = {"observedGeneration": 1, "propagationController": "Running"}
NAMES = {KUBEFED_CLUSTER: "palermo", FEDERATED_TYPE_CONFIG: "widgets.example.com"}


def condition(**fields: object) -> Manifest:
    return {"conditions": [{**CONDITION, **fields}]}


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        (KUBEFED_CLUSTER, {"conditions": [{"type": "Ready", "status": "True"}]}, "lastProbeTime"),
        (KUBEFED_CLUSTER, condition(lastProbeTime=None), "lastProbeTime"),
        (KUBEFED_CLUSTER, condition(lastProbeTime="yesterday"), "date-time"),
        (KUBEFED_CLUSTER, condition(type="Up"), ENUM),
        (KUBEFED_CLUSTER, condition(type=""), ENUM),
        (KUBEFED_CLUSTER, condition(status="Yes"), ENUM),
        (KUBEFED_CLUSTER, condition(status=""), ENUM),
        (KUBEFED_CLUSTER, {"kubernetesVersion": "v1"}, "conditions: Required"),
        (FEDERATED_TYPE_CONFIG, RUNNING | {"observedGeneration": -1}, "equal to 0"),
        (FEDERATED_TYPE_CONFIG, RUNNING | {"propagationController": "Asleep"}, ENUM),
        (FEDERATED_TYPE_CONFIG, RUNNING | {"propagationController": ""}, ENUM),
        (FEDERATED_TYPE_CONFIG, RUNNING | {"statusController": "Asleep"}, ENUM),
        (FEDERATED_TYPE_CONFIG, {"observedGeneration": 1}, "propagationController: Required"),
    ],
)
def test_a_refused_status(
    host_api: Resources, kind: TargetKind, status: Manifest, text: str
) -> None:
    trial = Resources(host_api.api, dry_run=True)
    with pytest.raises(errors.Refused, match=text):
        write_status(trial, kind, NAMES[kind], status)
    stored = host_api.get(kind, NAMES[kind], FEDERATION) or {}
    with pytest.raises(errors.Refused, match=text):
        trial.request(
            "PUT",
            f"{kind.path(FEDERATION, NAMES[kind])}/status",
            body=stored | {"status": status},
            what="write a status",
        )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (KUBEFED_CLUSTER, {"conditions": []}),
        (KUBEFED_CLUSTER, condition() | {"kubernetesVersion": "v1.35.4", "zones": ["a"]}),
        (KUBEFED_CLUSTER, condition(type="Offline", status="False", reason="r", message="m")),
        (KUBEFED_CLUSTER, condition(type="ConfigMalformed", status="Unknown")),
        (FEDERATED_TYPE_CONFIG, RUNNING),
        (
            FEDERATED_TYPE_CONFIG,
            {
                "observedGeneration": 0,
                "propagationController": "NotRunning",
                "statusController": "NotRunning",
            },
        ),
    ],
)
def test_a_status_that_is_taken(host_api: Resources, kind: TargetKind, status: Manifest) -> None:
    write_status(Resources(host_api.api, dry_run=True), kind, NAMES[kind], status)


def test_a_status_is_written_by_its_own_way_only(host_api: Resources) -> None:
    trial = Resources(host_api.api, dry_run=True)
    for kind, name in NAMES.items():
        # As upstream's clients do, who send an empty status with what they create and update.
        answer = trial.patch(kind, name, FEDERATION, {"status": {"conditions": None}})
        assert "status" not in answer
        made = KINDS[kind]() | {"status": {"conditions": [{"type": "Up"}]}}
        stored = host_api.get(kind, name, FEDERATION) or {}
        assert "status" not in trial.replace(kind, stored | {"status": made["status"]})


# What is filled in.


def created(host_api: Resources, spec: Manifest) -> Manifest:
    manifest = config() | {"spec": spec}
    manifest["metadata"]["name"] = "created"
    return Resources(host_api.api, dry_run=True).create(KUBEFED_CONFIG, manifest)["spec"]


def test_settings_are_completed(host_api: Resources) -> None:
    assert created(host_api, {"scope": "Cluster"}) == KubeFedConfig().to_object("")["spec"]
    empty: Manifest = {
        "scope": "Namespaced",
        "controllerDuration": {},
        "leaderElect": {"retryPeriod": None},
        "featureGates": None,
        "clusterHealthCheck": None,
        "syncController": {},
        "statusController": {},
    }
    wanted = KubeFedConfig(scope=Scope.NAMESPACED).to_object("")["spec"]
    assert created(host_api, empty) == wanted


def test_what_the_user_set_is_kept(host_api: Resources) -> None:
    said: Manifest = {
        "scope": "Cluster",
        "controllerDuration": {"unavailableDelay": "90s"},
        "leaderElect": {"leaseDuration": "0.5m", "resourceLock": "endpoints"},
        "featureGates": [{"name": "RawResourceStatusCollection", "configuration": "Enabled"}],
        "clusterHealthCheck": {"failureThreshold": 7},
        "syncController": {"adoptResources": "Disabled"},
        "statusController": {"maxConcurrentReconciles": 4},
    }
    wanted = KubeFedConfig().to_object("")["spec"]
    for group, fields in said.items():
        wanted[group] = wanted[group] | fields if isinstance(fields, dict) else fields
    assert created(host_api, said) == wanted


def test_gates_that_are_not_named_are_added_by_the_next_install(host_api: Resources) -> None:
    only = [{"name": "SchedulerPreferences", "configuration": "Disabled"}]
    host_api.patch(KUBEFED_CONFIG, CONFIG_NAME, FEDERATION, {"spec": {"featureGates": only}})
    install.install(host_api.api, namespace=FEDERATION)
    found = host_api.get(KUBEFED_CONFIG, CONFIG_NAME, FEDERATION) or {}
    assert found["spec"]["featureGates"] == [
        {"name": "PushReconciler", "configuration": "Enabled"},
        {"name": "RawResourceStatusCollection", "configuration": "Disabled"},
        {"name": "SchedulerPreferences", "configuration": "Disabled"},
    ]
