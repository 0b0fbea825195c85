"""Unit files on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from federation_lab.machine.loader import Loader, MaskedError, NotFoundError, full_name

NAMED = (
    "[Service]\nExecStart=/usr/sbin/named\n[Install]\nWantedBy=multi-user.target\n"
    "Alias=bind9.service\n"
)


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    for name in ("etc", "run", "lib"):
        (tmp_path / name).mkdir()
    (tmp_path / "lib" / "named.service").write_text(NAMED)
    (tmp_path / "lib" / "t@.service").write_text("[Service]\nExecStart=/bin/t %i\n")
    return Loader(tuple(str(tmp_path / name) for name in ("etc", "run", "lib")))


def test_enable_and_disable(loader: Loader, tmp_path: Path) -> None:
    assert loader.enablement("named.service") == "disabled"
    assert loader.enable("named.service") == [
        f"Created symlink {tmp_path}/etc/bind9.service → {tmp_path}/lib/named.service.",
        f"Created symlink {tmp_path}/etc/multi-user.target.wants/named.service → "
        f"{tmp_path}/lib/named.service.",
    ]
    assert loader.enable("named.service") == []
    assert loader.enablement("named.service") == "enabled"
    assert loader.enablement("bind9.service") == "alias"
    assert loader.canonical("bind9.service") == "named.service"
    assert loader.wanted_by("multi-user.target") == ["named.service"]
    assert len(loader.disable("bind9.service")) == 2
    assert loader.enablement("named.service") == "disabled"
    assert os.listdir(tmp_path / "etc" / "multi-user.target.wants") == []


def test_masking(loader: Loader, tmp_path: Path) -> None:
    assert loader.mask("named.service") == [
        f"Created symlink {tmp_path}/etc/named.service → /dev/null."
    ]
    assert loader.enablement("named.service") == "masked"
    with pytest.raises(MaskedError):
        loader.load("named.service")
    assert loader.unmask("named.service") == [f"Removed {tmp_path}/etc/named.service."]
    assert loader.unmask("named.service") == []
    (tmp_path / "etc" / "own.service").write_text(NAMED)
    with pytest.raises(FileExistsError):
        loader.mask("own.service")


def test_drop_ins_and_templates(loader: Loader, tmp_path: Path) -> None:
    for directory, text in (("lib", "User=a"), ("etc", "User=b")):
        folder = tmp_path / directory / "t@.service.d"
        folder.mkdir()
        (folder / "10-user.conf").write_text(f"[Service]\n{text}\n")
    found = loader.load("t@7.service")
    assert found.commands["ExecStart"][0].words == ("/bin/t", "7")
    # One in /etc replaces its namesake elsewhere.
    assert found.user == "b"
    assert loader.enablement("t@7.service") == "static"


def test_what_is_not_there(loader: Loader) -> None:
    assert loader.enablement("no.service") == "not-found"
    with pytest.raises(NotFoundError):
        loader.load("no.service")


def test_a_file_from_elsewhere_is_linked(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "far.service").write_text(NAMED)
    loader.link(str(tmp_path / "far.service"))
    assert loader.load("far.service").commands["ExecStart"][0].words == ("/usr/sbin/named",)


def test_names_get_their_type() -> None:
    assert [full_name(name) for name in ("a", "a.target", "a.b")] == [
        "a.service",
        "a.target",
        "a.b.service",
    ]
