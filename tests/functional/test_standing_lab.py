"""The standing federation: what it shows, what it refuses, and that it is there for good."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from typing import Any

import dns.message
import dns.query
import dns.rdatatype
import pytest
import yaml

ZONE = "federation.example"
NAME = f"web.demo.svc.{ZONE}"
REGIONS = ("catania", "palermo", "napoli")


def ask(nameserver: str, name: str) -> list[str]:
    """Ask one region's server for a name's addresses, over UDP."""
    address, _, port = nameserver.rpartition(":")
    query = dns.message.make_query(name, dns.rdatatype.A)
    answer = dns.query.udp(query, address, timeout=3, port=int(port))
    return sorted(record.to_text() for each in answer.answer for record in each)


@pytest.fixture
def overview(lab: Any) -> dict[str, Any]:
    return lab.json("overview")


def test_overview_has_the_shape_that_others_script_against(overview: dict[str, Any]):
    assert [region["name"] for region in overview["regions"]] == list(REGIONS)
    for region in overview["regions"]:
        assert (region["alive"], region["joined"], region["ready"]) == (True, True, True)
        assert region["api_endpoint"].startswith("https://")
    assert [region["host"] for region in overview["regions"]] == [True, False, False]
    assert overview["zone"] == ZONE
    (service,) = [s for s in overview["services"] if s["name"] == "web"]
    assert service["dns_name"] == NAME
    assert set(service["answers"]) == set(REGIONS)
    assert {unit["status"] for unit in overview["units"]} == {"active"}


def test_every_server_gives_every_regions_address_and_each_answers(overview: dict[str, Any]):
    answers = {region["name"]: ask(region["nameserver"], NAME) for region in overview["regions"]}

    assert len({tuple(answer) for answer in answers.values()}) == 1
    seen: set[str] = set()
    for address in answers["catania"]:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as reply:
            body = json.load(reply)
        assert body["pod"].startswith("web-")
        assert body["api"].startswith("api-")
        seen.add(body["region"])
    assert seen == set(REGIONS)


def test_a_regions_own_name_gives_its_own_address_everywhere(overview: dict[str, Any]):
    for server in overview["regions"]:
        for region in REGIONS:
            (address,) = ask(server["nameserver"], f"web.demo.svc.{region}.{ZONE}")
            subnet = address.rsplit(".", 1)[0]
            assert any(
                r["nameserver"].startswith(subnet + ".")
                for r in overview["regions"]
                if r["name"] == region
            )


def test_kubeconfig_has_a_context_for_each_region(lab: Any):
    kubeconfig = yaml.safe_load(lab.run("kubeconfig").stdout)

    assert [context["name"] for context in kubeconfig["contexts"]] == list(REGIONS)


def test_a_second_up_changes_nothing(lab: Any):
    before = lab.json("status", "-m", "catania")
    lab.run("up", "--regions", ",".join(REGIONS), timeout=200)
    after = lab.json("status", "-m", "catania")

    def charms(status: dict[str, Any]) -> dict[str, int]:
        return {name: app["charm-rev"] for name, app in status["applications"].items()}

    assert charms(after) == charms(before)


def test_a_cut_between_two_regions_moves_nothing(lab: Any, overview: dict[str, Any]):
    lab.run("cut", "palermo", "napoli")
    try:
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline:
            for region in overview["regions"]:
                assert len(ask(region["nameserver"], NAME)) == len(REGIONS)
            time.sleep(1)
    finally:
        lab.run("heal", "palermo", "napoli")


def test_the_controller_killed_is_back_with_its_state(lab: Any):
    pid = int((lab.home / "run" / "juju.lock").read_text())
    os.kill(pid, signal.SIGKILL)

    assert set(lab.json("models")["models"][0]) >= {"short-name", "model-uuid"}
    assert lab.json("status", "-m", "palermo")["applications"]["kubefed-member"]["units"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["kill", "atlantis"], "atlantis"),
        (["drill", "region-loss", "atlantis"], "atlantis"),
        (["cut", "palermo", "atlantis"], "atlantis"),
        (["deploy", "./no-such-bundle.yaml", "-m", "palermo"], "no-such-bundle.yaml"),
        (["config", "federation-dns", "no-such-option=1", "-m", "palermo"], "no-such-option"),
        (["config", "federation-dns", "ttl=soon", "-m", "palermo"], "ttl"),
        (["integrate", "federation-dns:nowhere", "kubefed-member", "-m", "palermo"], "nowhere"),
        (["run", "federation-dns/leader", "no-such-action", "-m", "palermo"], "no-such-action"),
        (["status", "-m", "atlantis"], "atlantis"),
        (["fly"], "fly"),
    ],
)
def test_what_is_wrong_is_refused_and_named(lab: Any, command: list[str], reason: str):
    done = lab.run(*command, check=False)

    assert done.returncode != 0
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("region", ["napoli", "catania"])
def test_a_region_is_lost_and_found(lab: Any, region: str):
    """The promise: out of DNS within 10 s, replicas within 45 s, then as before."""
    try:
        done = lab.run(
            "drill", "region-loss", region, "--format", "json", timeout=600, check=False
        )
    except subprocess.TimeoutExpired:
        lab.run("revive", region, check=False)  # for the tests that follow
        raise
    result = json.loads(done.stdout)

    assert result["ok"], (result, done.stderr)
    assert done.returncode == 0
    assert result["detected_s"] <= 10
    assert all(seconds <= 10 for seconds in result["dns_out_s"].values()), result
    assert set(result["dns_out_s"]) == set(REGIONS) - {region}
    assert result["requests"]["failed_after_dns"] == 0
    assert result["empty_answers"] == 0
    if region == "catania":
        assert "does not answer" in result["federation_api"]
    else:
        assert result["replicas_back_s"] <= 45


def test_the_command_says_what_it_can(lab: Any):
    help_text = lab.run("--help").stdout

    for verb in ("up", "down", "overview", "drill", "kill", "revive", "cut", "heal", "shell"):
        assert verb in help_text


def test_shell_knows_juju_and_kubectl(lab: Any):
    script = "juju version; kubectl config get-contexts -o name; command -v kubefed"
    done = subprocess.run(
        [str(lab.program), "shell"],
        env={**lab.environment, "SHELL": "/bin/sh"},
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "3.6" in done.stdout
    assert all(region in done.stdout for region in REGIONS)
