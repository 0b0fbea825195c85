from pathlib import Path
from typing import Any

import pytest
from federation_lab.cluster.kubelet import podfiles

POD: dict[str, Any] = {"metadata": {"name": "web-1", "namespace": "demo"}, "spec": {}}


def test_a_pod_has_the_machines_resolver_unless_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 192.0.2.1\n")
    monkeypatch.setattr(podfiles, "MACHINE_RESOLVER", resolver)
    podfiles.write(tmp_path / "files", POD, "10.1.0.2", {})
    assert (tmp_path / "files" / "resolv.conf").read_text() == "nameserver 192.0.2.1\n"
    assert (tmp_path / "files" / "hostname").read_text() == "web-1\n"
    own = {**POD, "spec": {"dnsConfig": {"nameservers": ["192.0.2.7"]}}}
    podfiles.write(tmp_path / "files", own, "10.1.0.2", {})
    assert (tmp_path / "files" / "resolv.conf").read_text() == "nameserver 192.0.2.7\n"


def test_hosts_are_written_only_when_they_change(tmp_path: Path) -> None:
    podfiles.write_hosts(tmp_path, POD, "10.1.0.2", {})
    before = (tmp_path / "hosts").stat().st_ino
    podfiles.write_hosts(tmp_path, POD, "10.1.0.2", {})
    assert (tmp_path / "hosts").stat().st_ino == before
    podfiles.write_hosts(tmp_path, POD, "10.1.0.2", {"api.demo": ("10.0.0.9",)})
    assert "10.0.0.9\tapi.demo.svc" in (tmp_path / "hosts").read_text()
