"""No token of the run shows where many may read. Runs last, when there is most to find."""

from __future__ import annotations

import base64
import json

import yaml

from tests.integration.federation import CHARMS, SECRETS, Federation

LONG = 30


def strings(value: object) -> list[str]:
    """Give every string of a document."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [str(value)]


def tokens(federation: Federation) -> set[str]:
    """Collect the real ones: of Juju's secrets, of the units' files, of the host cluster."""
    found: set[str] = set()
    for region in federation.regions:
        juju = federation.model(region)
        for secret in juju.secrets():
            revealed = juju.show_secret(secret.uri, reveal=True)
            for name, text in revealed.content.items():
                if name == "kubeconfig":
                    found.add(yaml.safe_load(text)["users"][0]["user"]["token"])
                elif "token" in name:
                    found.add(text)
        found.add(federation.cluster(region).token)
        found |= on_disk(federation, region)
    host = federation.cluster(federation.host_region)
    for item in (host.get(SECRETS) or {})["items"]:
        found |= {
            base64.b64decode(text).decode()
            for name, text in (item.get("data") or {}).items()
            if name == "token"
        }
    return {token for token in found if len(token) > LONG}


def on_disk(federation: Federation, region: str) -> set[str]:
    found: set[str] = set()
    juju = federation.model(region)
    for app in CHARMS:
        if app not in juju.status().apps:
            continue
        task = juju.exec(
            "cat /var/lib/kubefed-*/token /etc/kubefed/kubeconfig "
            "/etc/federation-dns/kubeconfig 2>/dev/null || true",
            unit=f"{app}/leader",
        )
        found |= {word for word in task.stdout.split() if len(word) > LONG and "LS0" not in word}
    return found


def test_no_token_shows(federation: Federation):
    hidden = tokens(federation)
    assert len(hidden) >= 2 * len(federation.regions)
    for region in federation.regions:
        juju = federation.model(region)
        status = juju.status()
        units = [unit for app in status.apps.values() for unit in app.units]
        shown = {f"databags of {unit}": juju.cli("show-unit", unit) for unit in units}
        shown["status"] = juju.cli("status", "--format", "json")
        shown["debug-log"] = juju.debug_log(limit=100_000)
        shown["action results"] = results(juju.cli("operations", "--format", "json"))
        for place, text in shown.items():
            seen = [token[:8] for token in hidden if token in text]
            assert not seen, f"{region}: {place} shows tokens that begin with {seen}"


def results(operations: str) -> str:
    """Give the actions with their results; the control plane's own get-kubeconfig aside."""
    documents = json.loads(operations)
    ours = [
        each
        for each in documents.values()
        if any(app in each["summary"] for app in CHARMS) and "juju-exec" not in each["summary"]
    ]
    assert ours
    return json.dumps(ours)
