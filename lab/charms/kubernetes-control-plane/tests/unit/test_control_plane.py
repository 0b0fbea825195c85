"""The workload module: unit files, images, and what is started when."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from control_plane import (
    Settings,
    Workload,
    WorkloadError,
    merged_images,
    options,
    quote,
    unit_text,
)
from federation_lab.cluster.kubelet.images import Images, ImagesError

SETTINGS = Settings(region="palermo", address="10.210.2.10", labels=("a=b",), taints=("c=d:E",))


class Systemctl:
    """Remembers what was asked for; units are active once started."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.active: set[str] = set()
        self.fails = ""

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        verb, names = command[1], [word for word in command[2:] if not word.startswith("-")]
        if verb == "is-active":
            return subprocess.CompletedProcess(command, 0 if names[0] in self.active else 3)
        self.calls.append([verb, *names])
        if verb == self.fails:
            raise subprocess.CalledProcessError(1, command, stderr="no such thing\n")
        if verb in ("start", "restart"):
            self.active.update(names)
        return subprocess.CompletedProcess(command, 0)

    def take(self) -> list[list[str]]:
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def systemctl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Systemctl:
    fake = Systemctl()
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        (binaries / name).touch()
    (tmp_path / "units").mkdir()
    monkeypatch.setattr("control_plane.DIRECTORY", tmp_path / "lib")
    monkeypatch.setattr("control_plane.BINARIES", binaries)
    monkeypatch.setattr("control_plane.UNITS", tmp_path / "units")
    monkeypatch.setattr("control_plane.subprocess.run", fake)
    return fake


ALL = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "lab-kubelet"]


def test_everything_is_started_once_and_enabled(systemctl: Systemctl, tmp_path: Path) -> None:
    Workload().ensure(SETTINGS)
    assert systemctl.take() == [["daemon-reload"], ["enable", *ALL], ["restart", *ALL]]
    assert (tmp_path / "lib" / "programs" / "web.py").stat().st_mode & 0o777 == 0o644
    node = (tmp_path / "units" / "lab-kubelet.service").read_text()
    assert "--region palermo" in node
    assert "--label a=b --taint c=d:E" in node
    assert "Restart=always" in node
    Workload().ensure(SETTINGS)
    assert systemctl.take() == []


def test_what_stopped_is_started_and_what_changed_is_restarted(systemctl: Systemctl) -> None:
    Workload().ensure(SETTINGS)
    systemctl.take()
    systemctl.active.discard("etcd")
    changed = Settings(
        region="palermo", address="10.210.2.10", extra_args=(("kube-scheduler", ("--v=2",)),)
    )
    Workload().ensure(changed)
    assert systemctl.take() == [
        ["daemon-reload"],
        ["enable", "kube-scheduler", "lab-kubelet"],
        ["restart", "kube-scheduler", "lab-kubelet"],
        ["start", "etcd"],
    ]


def test_another_address_makes_another_certificate(systemctl: Systemctl) -> None:
    Workload().ensure(SETTINGS)
    systemctl.take()
    Workload().ensure(Settings(region="palermo", address="10.210.2.11", extra_hosts=("api.x",)))
    assert ["restart", *ALL] in systemctl.take()


def test_missing_programs_are_named(systemctl: Systemctl, tmp_path: Path) -> None:
    del systemctl
    (tmp_path / "bin" / "etcd").unlink()
    with pytest.raises(WorkloadError, match=r"lacks etcd: run `make tools`"):
        Workload().ensure(SETTINGS)


def test_a_refusal_of_systemctl_is_told(systemctl: Systemctl) -> None:
    systemctl.fails = "restart"
    with pytest.raises(WorkloadError, match="systemctl restart: no such thing"):
        Workload().restart(SETTINGS)


def test_removing_leaves_nothing(systemctl: Systemctl, tmp_path: Path) -> None:
    Workload().ensure(SETTINGS)
    systemctl.take()
    Workload().remove()
    assert systemctl.take() == [["disable", *reversed(ALL)]]
    assert not (tmp_path / "lib").exists()
    assert list((tmp_path / "units").iterdir()) == []
    Workload().remove()
    assert systemctl.take() == []


def test_it_is_not_ready_without_an_answer(systemctl: Systemctl) -> None:
    del systemctl
    settings = Settings(region="palermo", address="127.0.0.1")
    assert not Workload().ready(settings)
    assert Workload().version(settings) == ""


def test_the_kubeconfig_may_name_another_server(systemctl: Systemctl) -> None:
    del systemctl
    SETTINGS.control_plane().prepare()
    config = Workload().kubeconfig(SETTINGS)
    assert config["current-context"] == "palermo"
    assert config["clusters"][0]["cluster"]["server"] == "https://10.210.2.10:6443"
    other = Workload().kubeconfig(SETTINGS, "https://api:443")
    assert other["clusters"][0]["cluster"]["server"] == "https://api:443"


def test_an_operators_images_are_added_to_the_shipped_ones() -> None:
    shipped = merged_images("")
    Images.parse(shipped).find("registry.example.org/federation-demo/web:1.0")
    merged = Images.parse(
        merged_images("images: {my/own: {command: [run]}, busybox: {args: [x]}}")
    )
    assert merged.find("my/own:3").command == ("run",)
    assert merged.find("busybox").args == ("x",)
    merged.find("registry.example.org/federation-demo/web:1.0")
    with pytest.raises(ImagesError):
        merged_images("pictures: {}")


def test_extra_args_as_charmed_kubernetes_reads_them() -> None:
    assert options("a=b --c=d  e") == ("--a=b", "--c=d", "--e")


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("plain=x", "plain=x"), ("a b", '"a b"'), ("50%", "50%%"), ("$HOME", "$$HOME"), ("", '""')],
)
def test_words_are_quoted_for_systemd(word: str, quoted: str) -> None:
    assert quote(word) == quoted


def test_the_charms_options_have_defaults_that_fit() -> None:
    charm = yaml.safe_load((Path(__file__).parents[2] / "charmcraft.yaml").read_text())
    for name, option in charm["config"]["options"].items():
        assert "default" in option, name
    assert unit_text("x", ["/bin/y"]).endswith("WantedBy=multi-user.target\n")
