"""Pods, services and load balancers on a real control plane, in network namespaces of the test."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest
from federation_lab import tools
from federation_lab.cluster import loopback
from federation_lab.cluster.control_plane import ADMIN, ControlPlane
from federation_lab.cluster.netns import inside, namespace

ADDRESS = "10.213.9.10"
CLIENT = "10.213.9.20"
# curl's exit status when the connection is refused.
REFUSED = 7

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


class Cluster:
    """A control plane with one node, seen from inside its network."""

    def __init__(self, plane: ControlPlane, client: int, directory: Path) -> None:
        self.plane = plane
        self.client = client
        self.directory = directory
        self.kubelet: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(
            base_url=plane.endpoint,
            verify=ssl.create_default_context(cafile=str(plane.directory / "pki" / "ca.crt")),
            headers={"Authorization": f"Bearer {plane.token(ADMIN)}"},
            timeout=10,
        )

    def start_kubelet(self) -> None:
        data = Path(str(resources.files("federation_lab") / "data"))
        with (self.directory / "kubelet.log").open("ab") as log:
            self.kubelet = subprocess.Popen(
                [
                    *(sys.executable, "-m", "federation_lab.cluster.kubelet"),
                    *("--kubeconfig", str(self.plane.directory / "kubelet.kubeconfig")),
                    *("--node", "palermo-0", "--address", ADDRESS, "--region", "palermo"),
                    *("--images", str(data / "images.yaml")),
                    *("--programs", str(data / "programs")),
                    *("--pki", str(self.plane.directory / "pki")),
                    *("--state", str(self.directory / "kubelet")),
                ],
                stdout=log,
                stderr=log,
            )

    def kill_kubelet(self) -> None:
        assert self.kubelet is not None
        self.kubelet.kill()
        self.kubelet.wait(timeout=10)

    def get(self, path: str) -> dict[str, Any]:
        return self.http.get(path).raise_for_status().json()

    def create(self, path: str, body: dict[str, Any]) -> None:
        self.http.post(path, json=body).raise_for_status()

    def delete(self, path: str) -> None:
        self.http.delete(path).raise_for_status()

    def pods(self, app: str) -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/default/pods?labelSelector=app%3D{app}"
        return self.get(path)["items"]

    def ask(self, url: str) -> subprocess.CompletedProcess[str]:
        """Ask for a page from outside of the machine."""
        return subprocess.run(
            ["nsenter", "-t", str(self.client), "-n", "curl", "-sS", "-m", "3", url],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )


def wait_for(what: str, ready: Callable[[], object], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def shown(*words: str) -> str:
    """Give what ip says of the machine's network."""
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


def network(machine: int, client: int) -> None:
    """One wire between the machine and a client."""
    for pid, address in ((machine, ADDRESS), (client, CLIENT)):
        script = "ip link set lo up;"
        if pid == machine:
            script += f"ip link add eth0 type veth peer name eth0 netns {client};"
        script += f"ip addr add {address}/24 dev eth0; ip link set eth0 up"
        subprocess.run(["nsenter", "-t", str(pid), "-n", "sh", "-ec", script], check=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    directory = tmp_path_factory.mktemp("pods")
    with namespace() as machine, namespace() as client:
        network(machine, client)
        with (
            inside(machine),
            loopback.running(
                "palermo",
                directory / "plane",
                tools.binaries(),
                controllers=True,
                scheduler=True,
                address=ADDRESS,
            ) as plane,
        ):
            cluster = Cluster(plane, client, directory)
            cluster.start_kubelet()
            try:
                yield cluster
            finally:
                cluster.http.close()
                cluster.kill_kubelet()


def deployment(name: str, replicas: int, container: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
            },
        },
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


ANSWER = (
    "import http.server, os, json\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.end_headers()\n"
    "        self.wfile.write(json.dumps({'env': dict(os.environ), 'from': "
    "self.client_address[0]}).encode())\n"
    "    def log_message(self, *a): pass\n"
    "print('serving', flush=True)\n"
    "http.server.ThreadingHTTPServer(('', 8080), H).serve_forever()\n"
)


def server(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": "busybox:1.37",
        "command": ["/usr/bin/python3", "-I", "-c", ANSWER],
        "env": [
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {
                "name": "REGION",
                "valueFrom": {
                    "fieldRef": {"fieldPath": "metadata.labels['topology.kubernetes.io/region']"}
                },
            },
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }


def ready(pod: dict[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def balancer(cluster: Cluster, name: str) -> str:
    def address() -> str:
        found = cluster.get(f"/api/v1/namespaces/default/services/{name}")
        ingress = found["status"].get("loadBalancer", {}).get("ingress") or [{}]
        return ingress[0].get("ip", "")

    return wait_for(f"address of {name}", address)


APPS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> str:
    """Two answering pods behind a load balancer; gives its address."""
    cluster.create(SERVICES, service("web", type="LoadBalancer"))
    cluster.create(APPS, deployment("web", 2, server("web")))
    wait_for("two ready pods", lambda: sum(map(ready, cluster.pods("web"))) == 2, 40)
    return balancer(cluster, "web")


def test_the_load_balancer_answers_from_both_pods(cluster: Cluster, web: str) -> None:
    assert web == "10.213.9.200"
    wait_for("an answer", lambda: cluster.ask(f"http://{web}/").returncode == 0)
    answers = [json.loads(cluster.ask(f"http://{web}/").stdout) for _ in range(30)]
    assert {answer["env"]["POD"] for answer in answers} == {
        pod["metadata"]["name"] for pod in cluster.pods("web")
    }
    assert {answer["from"] for answer in answers} == {CLIENT}
    environment = answers[0]["env"]
    assert environment["REGION"] == "palermo"
    assert environment["IP"].startswith("10.1.0.")
    assert environment["KUBERNETES_SERVICE_HOST"] == "10.152.183.1"
    assert "WEB_SERVICE_HOST" in environment


def test_a_load_balancer_without_ready_pods_refuses(cluster: Cluster, web: str) -> None:
    cluster.create(SERVICES, service("nobody", type="LoadBalancer"))
    address = balancer(cluster, "nobody")
    wait_for("refusal", lambda: cluster.ask(f"http://{address}/").returncode == REFUSED)
    # The machine's own programs are not to be had at a load balancer's address.
    port = cluster.plane.api_port
    assert cluster.ask(f"https://{web}:{port}/readyz").returncode == REFUSED
    cluster.delete(f"{SERVICES}/nobody")
    wait_for("release", lambda: address not in shown("address", "show", "dev", "eth0"))


def job(name: str, script: str, **pod: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["/bin/sh", "-ec", script]}
    container.update(pod.pop("container", {}))
    spec = {"restartPolicy": "Never", "containers": [container], **pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }


def finish(cluster: Cluster, wanted: dict[str, Any]) -> tuple[str, str]:
    """Run a job to its end; give how it ended and what it said."""
    name = wanted["metadata"]["name"]
    path = "/apis/batch/v1/namespaces/default/jobs"
    cluster.create(path, wanted)

    def ended() -> str:
        conditions = cluster.get(f"{path}/{name}")["status"].get("conditions") or []
        return next((c["type"] for c in conditions if c["type"] in ("Complete", "Failed")), "")

    how = wait_for(f"end of {name}", ended, 30)
    pods = cluster.get(f"{PODS}?labelSelector=job-name%3D{name}")["items"]
    said = cluster.http.get(f"{PODS}/{pods[0]['metadata']['name']}/log")
    return how, said.raise_for_status().text


def test_a_pod_sees_its_volumes_services_and_account(cluster: Cluster, web: str) -> None:
    cluster.create(
        "/api/v1/namespaces/default/configmaps",
        {"metadata": {"name": "settings"}, "data": {"greeting": "hello"}},
    )
    cluster.create(
        "/api/v1/namespaces/default/secrets",
        {"metadata": {"name": "key"}, "stringData": {"token": "hidden"}},
    )
    script = """
cat /etc/settings/greeting; echo; cat /opt/new/place/token; echo
test "$(cat /scratch/from-init)" = init
touch /scratch/mine /tmp/mine /var/tmp/mine
test ! -w /usr; test "$(id -u)" = 1234; hostname
curl -sS -m 3 -o /dev/null http://web; curl -sS -m 3 -o /dev/null http://web.default.svc.cluster.local
cd /var/run/secrets/kubernetes.io/serviceaccount
test "$(cat namespace)" = default
curl -sS -m 3 --cacert ca.crt -H "Authorization: Bearer $(cat token)" \
  https://kubernetes.default.svc/api/v1/namespaces/default/pods | grep -o 'User .*default:default'
"""
    wanted = job(
        "sees",
        script,
        securityContext={"runAsUser": 1234},
        initContainers=[
            {
                "name": "init",
                "image": "busybox",
                "command": ["/bin/sh", "-c", "printf init > /scratch/from-init"],
                "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
            }
        ],
        container={
            "volumeMounts": [
                {"name": "settings", "mountPath": "/etc/settings"},
                {"name": "key", "mountPath": "/opt/new/place", "readOnly": True},
                {"name": "scratch", "mountPath": "/scratch"},
            ]
        },
        volumes=[
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "key", "secret": {"secretName": "key"}},
            {"name": "scratch", "emptyDir": {}},
        ],
    )
    how, said = finish(cluster, wanted)
    assert how == "Complete", said
    lines = said.splitlines()
    assert lines[:2] == ["hello", "hidden"]
    assert lines[2].startswith("sees-")
    assert "system:serviceaccount:default:default" in lines[3]
    assert not Path("/opt/new").exists()


def test_a_failing_job_fails(cluster: Cluster) -> None:
    how, said = finish(cluster, job("fails", "echo sorry; exit 3"))
    assert (how, said) == ("Failed", "sorry\n")


def test_a_killed_container_is_started_again(cluster: Cluster, web: str) -> None:
    name = cluster.pods("web")[0]["metadata"]["name"]
    victims = [
        pid
        for pid in filter(str.isdigit, os.listdir("/proc"))
        if f"POD={name}".encode() in _read(Path("/proc", pid, "environ")).split(b"\0")
        and b"-I\0-c" in _read(Path("/proc", pid, "cmdline"))
    ]
    assert len(victims) == 1
    os.kill(int(victims[0]), 9)

    def again() -> bool:
        pod = cluster.get(f"{PODS}/{name}")
        return ready(pod) and pod["status"]["containerStatuses"][0]["restartCount"] == 1

    wait_for("a restart", again)
    last = cluster.get(f"{PODS}/{name}")["status"]["containerStatuses"][0]["lastState"]
    assert last["terminated"]["exitCode"] == 137
    previous = cluster.http.get(f"{PODS}/{name}/log?previous=true").raise_for_status().text
    assert previous == "serving\n"


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def test_liveness_restarts_and_crashes_back_off(cluster: Cluster) -> None:
    spec = {
        "containers": [
            {
                "name": "sick",
                "image": "busybox",
                "command": ["/bin/sleep", "1000"],
                "livenessProbe": {
                    "exec": {"command": ["/bin/sh", "-c", "exit 1"]},
                    "periodSeconds": 1,
                    "failureThreshold": 1,
                },
            },
            {"name": "crashes", "image": "busybox", "command": ["/bin/false"]},
            {"name": "missing", "image": "busybox", "command": ["no-such-program"]},
        ]
    }
    cluster.create(PODS, {"metadata": {"name": "sick"}, "spec": spec})

    def backing_off() -> bool:
        found = cluster.get(f"{PODS}/sick")["status"].get("containerStatuses") or []
        return len(found) == 3 and all(
            c["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" for c in found
        )

    wait_for("back-off", backing_off, 30)
    by_name = {c["name"]: c for c in cluster.get(f"{PODS}/sick")["status"]["containerStatuses"]}
    ended = by_name["missing"]["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert "no-such-program" in ended["message"]
    assert "liveness" in by_name["sick"]["lastState"]["terminated"]["message"]
    cluster.delete(f"{PODS}/sick?gracePeriodSeconds=1")
    wait_for("removal", lambda: cluster.http.get(f"{PODS}/sick").status_code == 404)


def test_an_unknown_image_is_named(cluster: Cluster) -> None:
    container = {"name": "main", "image": "example.org/what:9"}
    cluster.create(PODS, {"metadata": {"name": "unknown"}, "spec": {"containers": [container]}})

    def waiting() -> str:
        found = cluster.get(f"{PODS}/unknown")["status"].get("containerStatuses") or [{}]
        waits = found[0].get("state", {}).get("waiting", {})
        return waits["message"] if waits.get("reason") == "ImagePullBackOff" else ""

    message = wait_for("ImagePullBackOff", waiting)
    assert "images.yaml" in message
    assert "example.org/what:9" in message
    cluster.delete(f"{PODS}/unknown?gracePeriodSeconds=0")
    assert cluster.http.get(f"{PODS}/unknown").status_code == 404


def test_pods_come_back_after_the_machine_was_killed(cluster: Cluster, web: str) -> None:
    before = {p["metadata"]["name"]: p for p in cluster.pods("web")}
    cluster.kill_kubelet()
    wait_for("silence", lambda: cluster.ask(f"http://{web}/").returncode != 0)
    cluster.start_kubelet()
    wait_for("an answer", lambda: cluster.ask(f"http://{web}/").returncode == 0, 10)
    after = wait_for("ready pods", lambda: (p := cluster.pods("web")) and all(map(ready, p)) and p)
    assert {p["metadata"]["name"] for p in after} == set(before)
    for pod in after:
        old = before[pod["metadata"]["name"]]["status"]
        assert pod["status"]["podIP"] == old["podIP"]
        (new_count,) = [c["restartCount"] for c in pod["status"]["containerStatuses"]]
        (old_count,) = [c["restartCount"] for c in old["containerStatuses"]]
        assert new_count == old_count + 1
    assert balancer(cluster, "web") == web


def test_deletion_leaves_nothing(cluster: Cluster, web: str) -> None:
    cluster.delete(f"{APPS}/web?propagationPolicy=Foreground")
    wait_for("no pods", lambda: not cluster.pods("web"), 20)
    assert " pod" not in shown("-o", "link", "show")
    wait_for("refusal", lambda: cluster.ask(f"http://{web}/").returncode == REFUSED)
    kept = {p["metadata"]["uid"] for p in cluster.get(PODS)["items"]}
    files = cluster.directory / "kubelet" / "pods"
    wait_for("no files", lambda: set(os.listdir(files)) <= kept)
