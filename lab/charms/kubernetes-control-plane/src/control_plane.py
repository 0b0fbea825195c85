"""The programs of one region's Kubernetes on this machine: files, units, readiness. No ops."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import logging
import shutil
import socket
import ssl
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import federation_lab
import yaml
from federation_lab.cluster.control_plane import ADMIN, ControlPlane
from federation_lab.cluster.kubelet.images import Images, normal

DIRECTORY = Path("/var/lib/kubernetes-lab")
BINARIES = Path("/opt/lab/bin")
UNITS = Path("/etc/systemd/system")
NODE_UNIT = "lab-kubelet"
SYSTEMCTL = "/usr/bin/systemctl"
SYSTEMCTL_SECONDS = 30
ASK_SECONDS = 1.0
POLL_SECONDS = 0.2

logger = logging.getLogger(__name__)


class WorkloadError(Exception):
    """The programs cannot be run; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the operator may set, understood.

    Attributes:
        region: the cluster's name.
        address: where the API server is reached.
        images: entries to add to the shipped images.yaml, as YAML.
        labels: of the node, ``KEY=VALUE``.
        taints: of the node, ``KEY=VALUE:EFFECT``.
        extra_hosts: further names in the API server's certificate.
        extra_args: further options of each program.
    """

    region: str
    address: str
    images: str = ""
    service_cidr: str = "10.152.183.0/24"
    labels: tuple[str, ...] = ()
    taints: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    extra_args: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def control_plane(self) -> ControlPlane:
        """Give what it all is started from."""
        return ControlPlane(
            name=self.region,
            address=self.address,
            directory=DIRECTORY,
            binaries=BINARIES,
            service_cidr=self.service_cidr,
            extra_hosts=self.extra_hosts,
            extra_args=dict(self.extra_args),
        )


def options(text: str) -> tuple[str, ...]:
    """Give the options that ``KEY=VALUE KEY`` stands for, as Charmed Kubernetes reads it."""
    return tuple(f"--{word.removeprefix('--')}" for word in text.split())


def merged_images(extra: str) -> str:
    """Give the shipped images.yaml with an operator's entries in it.

    Raises:
        federation_lab.cluster.kubelet.images.ImagesError: the text isn't of that shape.
    """
    shipped = (resources.files(federation_lab) / "data" / "images.yaml").read_text()
    if not extra.strip():
        return shipped
    Images.parse(extra)
    documents = [yaml.safe_load(text) or {} for text in (shipped, extra)]
    # By its full name, so that `busybox` replaces `docker.io/library/busybox`.
    entries = {normal(name): e for each in documents for name, e in each["images"].items()}
    return yaml.safe_dump({"images": entries}, sort_keys=True)


def units(settings: Settings) -> dict[str, str]:
    """Give the text of each unit file, in the order in which they start."""
    plane = settings.control_plane()
    result = {
        name: unit_text(f"{name} of {settings.region}", command)
        for name, command in plane.commands().items()
    }
    # The charm's interpreter finds the modules by the charm's own start-up; a unit is told.
    site = Path(federation_lab.__file__).parents[1]
    result[NODE_UNIT] = unit_text(
        f"pods and services of {settings.region}",
        node_command(settings),
        environment={"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return result


def node_command(settings: Settings) -> list[str]:
    """Give the command of the node's program."""
    command = [
        *(sys.executable, "-m", "federation_lab.cluster.kubelet"),
        *("--kubeconfig", str(DIRECTORY / "kubelet.kubeconfig")),
        *("--node", socket.gethostname().lower()),
        *("--address", settings.address),
        *("--region", settings.region),
        *("--images", str(DIRECTORY / "images.yaml")),
        *("--programs", str(DIRECTORY / "programs")),
        *("--pki", str(DIRECTORY / "pki")),
        *("--state", str(DIRECTORY / "kubelet")),
    ]
    for label in settings.labels:
        command += ["--label", label]
    for taint in settings.taints:
        command += ["--taint", taint]
    return command


def unit_text(
    description: str, command: list[str], environment: dict[str, str] | None = None
) -> str:
    """Give a unit file: started at boot, started again whenever it ends."""
    lines = [f"Environment={quote(f'{k}={v}')}" for k, v in (environment or {}).items()]
    return "\n".join(
        [
            "[Unit]",
            f"Description=Kubernetes lab: {description}",
            "After=network.target",
            # They need one another and come up in any order: each tries until it succeeds.
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            *lines,
            f"ExecStart={' '.join(quote(word) for word in command)}",
            "Restart=always",
            "RestartSec=500ms",
            # An API server that ends waits a minute for its watchers.
            "TimeoutStopSec=5s",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def quote(word: str) -> str:
    """Give a word as systemd must read it to take it literally."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if any(c in word for c in " \t'\"\\;") or not word else word


class Workload:
    """The programs on this machine."""

    def ensure(self, settings: Settings) -> None:
        """Write all files and have all programs run with them; what changed is started anew.

        Raises:
            WorkloadError: the lab's programs aren't there, or a unit cannot be started.
        """
        if missing := self.missing(settings):
            raise WorkloadError(missing)
        before = _fingerprint(DIRECTORY / "pki")
        settings.control_plane().prepare()
        anew = _fingerprint(DIRECTORY / "pki") != before
        changed = self._write_node_files(settings)
        restart: list[str] = []
        for name, text in units(settings).items():
            path = UNITS / f"{name}.service"
            known = path.read_text() if path.exists() else ""
            if known != text:
                path.write_text(text)
            if known != text or anew or (name == NODE_UNIT and changed):
                restart.append(name)
        if restart:
            systemctl("daemon-reload")
            systemctl("enable", *restart)
            systemctl("restart", *restart)
        stopped = [name for name in units(settings) if name not in restart and not active(name)]
        if stopped:
            systemctl("start", *stopped)

    def missing(self, settings: Settings) -> str:
        """Say which programs the machine lacks; empty: none."""
        names = [p for p in settings.control_plane().commands() if not (BINARIES / p).exists()]
        mend = "run `make tools`, or set LAB_BIN to a directory that has them"
        return f"{BINARIES} lacks {', '.join(names)}: {mend}" if names else ""

    def restart(self, settings: Settings) -> None:
        """Start everything anew.

        Raises:
            WorkloadError: a unit cannot be started.
        """
        systemctl("restart", *units(settings))

    def remove(self) -> None:
        """Stop everything and remove all files."""
        names = [*ControlPlane("", "", DIRECTORY, BINARIES).commands(), NODE_UNIT]
        here = [name for name in names if (UNITS / f"{name}.service").exists()]
        if here:
            systemctl("disable", "--now", *reversed(here))
        for name in here:
            (UNITS / f"{name}.service").unlink()
        shutil.rmtree(DIRECTORY, ignore_errors=True)

    def ready(self, settings: Settings, seconds: float = 0.0) -> bool:
        """Tell whether the API server says that it is ready, waiting for it at most so long."""
        deadline = time.monotonic() + seconds
        while True:
            status, _ = _ask(settings.control_plane(), "/readyz")
            if status == 200:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)

    def version(self, settings: Settings) -> str:
        """Give Kubernetes' version; empty while there is no answer."""
        status, text = _ask(settings.control_plane(), "/version")
        return str(json.loads(text)["gitVersion"]).removeprefix("v") if status == 200 else ""

    def kubeconfig(self, settings: Settings, server: str = "") -> dict[str, Any]:
        """Give the administrator's kubeconfig, perhaps with another server's address in it."""
        plane = settings.control_plane()
        config: dict[str, Any] = dict(plane.kubeconfig())
        if server:
            config["clusters"][0]["cluster"]["server"] = server
        return config

    def admin_token(self, settings: Settings) -> str:
        """Give the administrator's token."""
        return settings.control_plane().token(ADMIN)

    def ca_certificate(self, settings: Settings) -> str:
        """Give the certificate of the cluster's CA in PEM."""
        return settings.control_plane().ca_certificate

    def _write_node_files(self, settings: Settings) -> bool:
        """Write what the kubelet reads; tell whether it must be started anew for it."""
        images = DIRECTORY / "images.yaml"
        text = merged_images(settings.images)
        if not images.exists() or images.read_text() != text:
            # Read again by the kubelet whenever it changes.
            images.write_text(text)
        source = Path(str(resources.files(federation_lab) / "data" / "programs"))
        target = DIRECTORY / "programs"
        target.mkdir(exist_ok=True)
        target.chmod(0o755)
        changed = False
        for program in sorted(source.glob("*.py")):
            copy = target / program.name
            if not copy.exists() or copy.read_bytes() != program.read_bytes():
                copy.write_bytes(program.read_bytes())
                copy.chmod(0o644)
                changed = True
        # A refreshed charm brings another kubelet under the same path.
        stamp = DIRECTORY / "kubelet.code"
        code = _fingerprint(Path(federation_lab.__file__).parent / "cluster")
        changed = changed or not stamp.exists() or stamp.read_text() != code
        stamp.write_text(code)
        return changed


def active(name: str) -> bool:
    """Tell whether a unit runs."""
    command = [SYSTEMCTL, "is-active", "--quiet", name]
    done = subprocess.run(command, check=False, timeout=SYSTEMCTL_SECONDS, capture_output=True)
    return done.returncode == 0


def systemctl(*words: str) -> None:
    """Call systemctl.

    Raises:
        WorkloadError: it refused.
    """
    command = [SYSTEMCTL, *words]
    try:
        subprocess.run(
            command, check=True, timeout=SYSTEMCTL_SECONDS, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise WorkloadError(f"systemctl {words[0]}: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise WorkloadError(f"systemctl {words[0]} did not end") from error


def _ask(plane: ControlPlane, path: str) -> tuple[int, str]:
    """Ask the API server; give status and text, 0 if it doesn't answer."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        context = ssl.create_default_context(cadata=plane.ca_certificate)
        connection = http.client.HTTPSConnection(
            plane.address, plane.api_port, timeout=ASK_SECONDS, context=context
        )
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {plane.token(ADMIN)}"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
    return 0, ""


def _fingerprint(directory: Path) -> str:
    """Give a text that changes when a file below does."""
    found = sorted(p for p in directory.rglob("*") if p.is_file() and p.suffix != ".pyc")
    stats = [(p, p.stat()) for p in found]
    return "\n".join(f"{p.name} {s.st_size} {s.st_mtime_ns}" for p, s in stats)
