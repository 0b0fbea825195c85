"""A pod's hosts, hostname and resolv.conf, in a directory that its containers see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from federation_lab.cluster.kube import Object
from federation_lab.cluster.kubelet import environment

MACHINE_RESOLVER = Path("/etc/resolv.conf")


def write(files: Path, pod: Object, address: str, names: Mapping[str, Iterable[str]]) -> None:
    """Write all of them.

    Args:
        files: the directory, made if it isn't there.
        pod: whose they are.
        address: the pod's.
        names: the addresses of each ``<service>.<namespace>``.
    """
    files.mkdir(mode=0o755, parents=True, exist_ok=True)
    (files / "hostname").write_text(environment.hostname(pod) + "\n")
    given: list[str] = (pod["spec"].get("dnsConfig") or {}).get("nameservers") or []
    text = "".join(f"nameserver {server}\n" for server in given)
    if not given and MACHINE_RESOLVER.exists():
        text = MACHINE_RESOLVER.read_text()
    (files / "resolv.conf").write_text(text)
    write_hosts(files, pod, address, names)


def write_hosts(
    files: Path, pod: Object, address: str, names: Mapping[str, Iterable[str]]
) -> None:
    """Write the hosts file if it isn't as it should be; readers never see half of it."""
    path = files / "hosts"
    text = environment.hosts(pod, address, names)
    if path.exists() and path.read_text() == text:
        return
    fresh = files / "hosts.new"
    fresh.write_text(text)
    os.replace(fresh, path)
