"""What the shell reads: configuration, clusters, endpoints."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from federation_lab.cluster.pki import CertificateAuthority
from kubefed.api import DEPLOYMENT
from kubefed.controller import backoff, config, region_health, types
from kubefed.controller.client import Connection, MalformedError
from kubefed.controller.health import Thresholds
from kubefed.controller.member_cluster import connection


def test_a_config_that_says_nothing_has_the_defaults() -> None:
    parsed = config.parse({})
    assert (parsed.period, parsed.timeout) == (10, 3)
    assert parsed.thresholds == Thresholds(3, 1)
    assert (parsed.available_delay, parsed.unavailable_delay) == (20, 60)
    assert parsed.adopt
    assert parsed.scheduler
    assert not parsed.remote_status
    assert not parsed.namespaced_scope


def test_a_config_that_says_all() -> None:
    parsed = config.parse(
        {
            "spec": {
                "scope": "Namespaced",
                "controllerDuration": {"availableDelay": "1m30s", "unavailableDelay": "bad"},
                "clusterHealthCheck": {"period": "500ms", "timeout": "1s", "failureThreshold": 5},
                "syncController": {"adoptResources": "Disabled", "maxConcurrentReconciles": 99},
                "featureGates": [
                    {"name": "RawResourceStatusCollection", "configuration": "Enabled"},
                    {"name": "SchedulerPreferences", "configuration": "Disabled"},
                ],
            }
        }
    )
    assert parsed.namespaced_scope
    assert (parsed.available_delay, parsed.unavailable_delay) == (90, 60)
    assert (parsed.period, parsed.timeout, parsed.thresholds.failure) == (0.5, 1, 5)
    assert (parsed.adopt, parsed.workers) == (False, 99)
    assert (parsed.remote_status, parsed.scheduler) == (True, False)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def cluster(**spec: Any) -> dict[str, Any]:
    wanted = {
        "apiEndpoint": "10.0.0.1:6443",
        "caBundle": encoded("CA"),
        "secretRef": {"name": "s"},
    }
    return {"spec": wanted | spec}


SECRET = {"data": {"token": encoded("abc\n")}}


def test_how_a_cluster_is_reached() -> None:
    assert connection(cluster(), SECRET) == Connection(
        url="https://10.0.0.1:6443", ca="CA", token="abc"
    )
    plain = connection(cluster(apiEndpoint="http://x/", disabledTLSValidations=["*"]), SECRET)
    assert (plain.url, plain.verify) == ("http://x", False)
    lax = connection(cluster(disabledTLSValidations=["SubjectName", "ValidityPeriod"]), SECRET)
    assert (lax.verify, lax.check_name, lax.check_time) == (True, False, False)


@pytest.mark.parametrize(
    ("given", "secret", "message"),
    [
        (cluster(), None, "the Secret s is not there"),
        (cluster(), {"data": {}}, "no token"),
        (cluster(), {"data": {"token": "%"}}, "token is not base64"),
        (cluster(caBundle="%"), SECRET, "caBundle is not base64"),
        (cluster(apiEndpoint=""), SECRET, "apiEndpoint"),
        (cluster(proxyURL="socks5://x"), SECRET, "proxyURL"),
    ],
)
def test_a_malformed_cluster_says_what_is_wrong(
    given: dict[str, Any], secret: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(MalformedError, match=message):
        connection(given, secret)


def test_a_connections_token_is_not_shown() -> None:
    assert "secret" not in repr(Connection("https://x", token="secret"))


def test_a_ca_that_is_none_is_malformed() -> None:
    with pytest.raises(MalformedError, match="CA"):
        Connection("https://x", ca="no certificate").context()


def test_tls_checks_can_be_switched_off(tmp_path: Path) -> None:
    pem = CertificateAuthority(tmp_path, "ca").pem
    assert Connection("https://x", ca=pem).context().verify_mode is ssl.CERT_REQUIRED
    assert Connection("https://x", ca=pem).context().check_hostname
    assert not Connection("https://x", ca=pem, check_name=False).context().check_hostname
    assert Connection("https://x", verify=False).context().verify_mode is ssl.CERT_NONE


def test_the_endpoints_of_region_health(tmp_path: Path) -> None:
    pem = CertificateAuthority(tmp_path, "ca").pem
    entry = {"url": "https://10.0.0.1:8443/", "certificate": pem}
    (found,) = region_health.parse_endpoints({"endpoints": [entry]})
    assert found.url == "https://10.0.0.1:8443"
    assert len(found.fingerprint) == 32


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"endpoints": {}},
        {"endpoints": [{"url": "http://x", "certificate": ""}]},
        {"endpoints": [{"url": "https://x", "certificate": "none"}]},
    ],
)
def test_a_malformed_file_is_refused(content: Any) -> None:
    with pytest.raises(ValueError):
        region_health.parse_endpoints(content)


def test_a_type_is_read() -> None:
    target = {"group": "apps", "version": "v1", "kind": "Deployment", "scope": "Namespaced"}
    federated = {"group": "types.kubefed.io", "version": "v1beta1", "kind": "FederatedDeployment"}
    spec = {
        "targetType": target | {"pluralName": "deployments"},
        "federatedType": federated | {"pluralName": "federateddeployments", "scope": "Namespaced"},
    }
    kind = types.parse({"spec": spec})
    assert kind is not None
    assert kind.target == DEPLOYMENT
    assert kind.federated.plural == "federateddeployments"
    assert types.parse({"spec": {"targetType": target}}) is None


def test_delays_grow_to_their_bound_and_never_overflow() -> None:
    delays = [backoff.delay(n, first=0.25, longest=30, jitter=1) for n in range(1, 5000)]
    assert delays == sorted(delays)
    assert delays[-1] == 30
    assert backoff.delay(1, first=1, longest=30, jitter=0) == 0.5
