"""What is built, and under which name; the building itself takes minutes and Go."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from federation_lab import golang, tools
from federation_lab.errors import LabError
from federation_lab.tools import ToolsMissing
from rich.console import Console

GO_MOD = "module x\n\ngo 1.25.0\n\nrequire (\n\tk8s.io/kubernetes v1.35.4 // indirect\n)\n"


def fill(directory: Path, names: tuple[str, ...] = tools.LAB.programs) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text("")
        (directory / name).chmod(0o755)
    return directory


def test_versions_are_read_from_the_pins() -> None:
    assert tools.version_of("k8s.io/kubernetes", GO_MOD) == "v1.35.4"
    assert tools.version_of("a.b/c", "require a.b/c v1.0.0\n") == "v1.0.0"
    with pytest.raises(LabError, match="pins no"):
        tools.version_of("k8s.io", GO_MOD)
    assert golang.go_needed([GO_MOD, "go 1.26.0\n"]) == (1, 26, 0)
    assert golang.as_numbers("go1.26.8") > (1, 26, 0)


def test_kubernetes_is_told_its_version() -> None:
    flags = tools.linker_flags("kubernetes", GO_MOD)
    assert "version.gitVersion=v1.35.4" in flags
    assert "version.gitMajor=1 " in flags
    assert flags.endswith("version.gitMinor=35")
    assert tools.linker_flags("etcd", "") == "-s -w"


def test_the_key_changes_with_the_pins_only() -> None:
    files = [("a/go.mod", b"1"), ("a/go.sum", b"2")]
    assert tools.key(files) == tools.key(list(files))
    assert tools.key(files) != tools.key([("a/go.mod", b"12"), ("a/go.sum", b"")])


def test_the_checkouts_pins_are_whole() -> None:
    names = [name for name, _ in tools.source_files(tools.sources())]
    assert len(names) == 6
    text = (tools.sources() / "kubernetes" / "go.mod").read_text()
    assert tools.linker_flags("kubernetes", text)


def test_given_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_BIN", str(tmp_path))
    fill(tmp_path, tools.LAB.programs[:-2])
    with pytest.raises(ToolsMissing, match=r"lacks kubectl, kwok; put them there"):
        tools.binaries()
    fill(tmp_path)
    assert tools.binaries() == tmp_path


def test_built_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_BIN", raising=False)
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    with pytest.raises(ToolsMissing, match="make tools"):
        tools.binaries()
    directory = fill(tools.built_directory())
    assert directory.parent == tmp_path / "bin"
    assert tools.binaries() == directory
    # What is there isn't built again.
    assert tools.build() == directory


def test_an_interrupted_build_leaves_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    leftover = tmp_path / "bin" / ".building-old"
    leftover.mkdir(parents=True)

    def interrupted(directory: Path, *_: object) -> None:
        fill(directory, tools.LAB.programs[:1])
        raise KeyboardInterrupt

    def whole(directory: Path, *_: object) -> None:
        fill(directory)

    monkeypatch.setattr(tools, "_build_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tools.build()
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["build.lock"]
    monkeypatch.setattr(tools, "_build_all", whole)
    assert tools.missing(tools.build()) == []


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    return tmp_path


def test_upstreams_programs_are_apart(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their pins change nothing of the lab's, and the lab needs none of them."""
    tree = elsewhere / "tools"
    shutil.copytree(tools.sources(), tree)
    monkeypatch.setattr(tools, "sources", lambda: tree)
    before = tools.built_directory(), tools.built_directory(tools.UPSTREAM)
    with (tree / "kubefed" / "go.mod").open("a") as file:
        file.write("// another pin\n")
    assert tools.built_directory() == before[0]
    assert tools.built_directory(tools.UPSTREAM) != before[1]
    fill(tools.built_directory())
    assert tools.binaries()
    with pytest.raises(ToolsMissing, match="--tests"):
        tools.upstream()


def go(directory: Path, script: str) -> Path:
    """A compiler that says what a script says."""
    program = directory / "go"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_sources_that_nobody_serves_are_told_and_no_failure(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = go(elsewhere, "echo 'sigs.k8s.io/kubefed@v0.10.0: 403 Forbidden' >&2; exit 1")
    monkeypatch.setattr(tools, "find_go", lambda *_: refusing)
    said = io.StringIO()
    assert tools.build_upstream(Console(file=said)) is None
    assert "403 Forbidden; the tests with KubeFed's own programs are skipped" in said.getvalue()
    with pytest.raises(ToolsMissing, match="403 Forbidden"):
        tools.upstream()

    def whole(directory: Path, *_: object) -> None:
        fill(directory, tools.UPSTREAM.programs)

    monkeypatch.setattr(tools, "_build_all", whole)
    assert tools.build_upstream(Console(file=said)) == tools.upstream()
    assert [path.suffix for path in tools.upstream().parent.glob("*.absent")] == []


@pytest.mark.parametrize(
    "script",
    [
        "echo 'verifying module: checksum mismatch' >&2; exit 1",
        '[ "$1" = list ] || { echo "undefined: x" >&2; exit 1; }',
    ],
)
def test_wrong_sources_and_failed_builds_are_failures(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(tools, "find_go", lambda *_: go(elsewhere, script))
    with pytest.raises(LabError) as caught:
        tools.build_upstream(Console(file=io.StringIO()))
    assert not isinstance(caught.value, tools.NotServed)
    with pytest.raises(ToolsMissing):
        tools.upstream()
