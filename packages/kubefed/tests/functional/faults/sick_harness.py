"""What the tests of sick members and hosts measure with, and how they make them sick."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import httpx
from controller_harness import FEDERATED, FEDERATION, eventually
from faults_harness import Faulty
from federation_lab.cluster.control_plane import ControlPlane
from kubefed.api import KUBEFED_CONFIG

SOAK = os.environ.get("FEDERATION_SOAK") == "1"
# How long nothing may be written when all is well again.
QUIET = 60.0 if SOAK else 1.5
# So many objects are posted for a measure.
SAMPLE = 15 if SOAK else 8
# So that a lost member is lost within seconds.
QUICK = {"period": "1s", "timeout": "1s", "failureThreshold": 2, "successThreshold": 1}
# What of a delay is the measuring itself; beside other tests, the machine's.
GRAIN = 0.1 if SOAK else 2.0
_EVENT = re.compile("/events$")
_MARK = re.compile(rb"burst-\d{8}")
_WRITERS = 4


@contextlib.contextmanager
def probed_quickly(faulty: Faulty) -> Generator[None]:
    """Clusters are probed every second, by controllers that start now."""
    host, path = faulty.federation.host, KUBEFED_CONFIG.path(FEDERATION, "kubefed")
    before = host.get(path)["spec"]["clusterHealthCheck"]
    host.merge(path, {"spec": {"clusterHealthCheck": QUICK}})
    try:
        yield
    finally:
        host.merge(path, {"spec": {"clusterHealthCheck": before}})


def delays(
    faulty: Faulty, namespace: str, tag: str, member: str = "member1", count: int = SAMPLE
) -> list[float]:
    """Post objects to all members, one by one; give how long each takes to one of them."""
    found: list[float] = []
    for number in range(count):
        name = f"{tag}-{number}"
        faulty.post(namespace, name, "new")
        began = time.monotonic()
        while faulty.value(member, namespace, name) is None:
            assert time.monotonic() - began < 30, f"{name} doesn't come to {member}"
            time.sleep(0.005)
        found.append(time.monotonic() - began)
    return found


def p99(found: Sequence[float]) -> float:
    ranked = sorted(found)
    return ranked[-(len(ranked) // 100) - 1]


def no_later(measure: Callable[[str], list[float]], undisturbed: float, tag: str) -> None:
    """Check I11: p99 is at most 1.5 times the undisturbed one.

    Three times, of which one must do: a busy machine delays some round, a fault delays all.
    """
    bound = 1.5 * undisturbed + GRAIN
    seen: list[float] = []
    for turn in range(3):
        seen.append(p99(measure(f"{tag}{turn}")))
        if seen[-1] <= bound:
            return
    raise AssertionError(f"p99 of {seen} s, undisturbed {undisturbed:.3f} s")


def created_once(faulty: Faulty, began: float, namespace: str) -> None:
    """Check that no object was made twice in one member, unless it was deleted in between."""
    made = Counter[tuple[str, str]]()
    for each in faulty.writes(began, rf"^/api/v1/namespaces/{namespace}/configmaps"):
        if not each.took_effect:
            continue
        if each.verb == "create":
            (name,) = re.findall(rb'"name":"([^"]+)"', each.content)[:1]
            made[each.cluster, name.decode()] += 1
        elif each.verb == "delete":
            made[each.cluster, each.path.rpartition("/")[2]] -= 1
    assert [what for what, times in made.items() if times > 1] == []


def wanted_deletions(faulty: Faulty, began: float, *names: str) -> None:
    """Check that nothing was deleted in the members but what the user deleted."""
    gone = {line.rpartition("/")[2] for line in faulty.deleted(began)}
    assert gone <= set(names)


def whole(faulty: Faulty, namespace: str, seconds: float = 30.0) -> None:
    """Wait until every member holds what the host says, then see nothing written for a while.

    Events are written a few a second, so that after hundreds of objects they come for long.
    """
    eventually(lambda: faulty.settled(namespace), seconds)
    if SOAK:
        faulty.quiet(QUIET)
    else:
        # What was put off, such as the record of the last write or what a server just refused.
        eventually(lambda: not _written(faulty, time.monotonic() - QUIET), 40)
    assert faulty.settled(namespace)
    assert faulty.foreign_untouched(namespace)


def _written(faulty: Faulty, moment: float) -> list[str]:
    found = faulty.writes(moment)
    return [
        f"{each.verb} {each.cluster} {each.path}" for each in found if not _EVENT.search(each.path)
    ]


class Etcd:
    """A control plane's etcd, past its API server."""

    def __init__(self, plane: ControlPlane) -> None:
        pki = plane.directory / "pki"
        self._tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._tls.load_cert_chain(str(pki / "etcd.crt"), str(pki / "etcd.key"))
        self._url = f"https://127.0.0.1:{plane.etcd_port}/v3/kv/"

    def compact(self) -> None:
        """Forget every revision but the latest."""
        with self._client() as http:
            revision = _ask(http, "range", key=_base64(b"/"))["header"]["revision"]
            _ask(http, "compaction", revision=revision, physical=True)

    def burst(self, prefix: str, events: int) -> None:
        """Change objects again and again, as fast as etcd takes it.

        Args:
            prefix: of their keys; they carry "burst-NNNNNNNN", as a label, which is counted up.
            events: how many changes.
        """
        start = prefix.encode()
        end = start[:-1] + bytes([start[-1] + 1])
        with self._client() as http:
            answer = _ask(http, "range", key=_base64(start), range_end=_base64(end))
        values = {each["key"]: base64.b64decode(each["value"]) for each in answer["kvs"]}
        marked = [(key, value) for key, value in values.items() if _MARK.search(value)]
        assert len(marked) >= _WRITERS

        def write(writer: int) -> None:
            mine = marked[writer::_WRITERS]
            with self._client() as http:
                for turn in range(events // _WRITERS):
                    key, value = mine[turn % len(mine)]
                    # Its label alone, which comes first: who changed its spec behind the API
                    # server's back would leave its generation as it was.
                    changed = _MARK.sub(b"burst-%08d" % (turn + 1), value, count=1)
                    _ask(http, "put", key=key, value=_base64(changed))

        with concurrent.futures.ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(write, range(_WRITERS)))

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, verify=self._tls, timeout=30)


def _ask(http: httpx.Client, what: str, **body: object) -> Any:
    answer = http.post(what, json=body)
    # A revision that is forgotten already is no failure to forget it.
    assert answer.is_success or "has been compacted" in answer.text, answer.text
    return answer.json()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Process:
    """`kubefed controller` as a process of its own.

    Args:
        kubeconfig: its.
        log: where what it says goes.
    """

    def __init__(self, kubeconfig: Path, log: Path) -> None:
        self.log = log
        command = [sys.executable, "-m", "kubefed.cli", "controller"]
        command += ["--kubeconfig", str(kubeconfig), "--kubefed-namespace", FEDERATION]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def memory(self, field: str = "VmRSS") -> float:
        """MiB: what it has now, or (VmHWM) had at most."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.findall(rf"{field}:\s+(\d+) kB", text)[0]) / 1024

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def stop(self) -> None:
        """End it as an operator does; it must end well."""
        if self.alive:
            self._process.terminate()
        try:
            status = self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
            raise
        assert status == 0, self.log.read_text()[-4000:]


class Beside:
    """Something done again and again beside a test, until the block is left."""

    def __init__(self, work: Callable[[int], object], pause: float) -> None:
        self._work, self._pause = work, pause
        self.done = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beside")

    def __enter__(self) -> Beside:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._end.wait(self._pause):
            self._work(self.done)
            self.done += 1


def event_texts(faulty: Faulty, namespace: str, name: str, reason: str) -> list[str]:
    """The messages of a federated object's events of one kind."""
    mine = faulty.federation.host.get(FEDERATED["configmap"].path(namespace, name))
    found = faulty.federation.host.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return [
        each["message"]
        for each in found
        if each["involvedObject"].get("uid") == mine["metadata"]["uid"]
        and each["reason"] == reason
    ]
