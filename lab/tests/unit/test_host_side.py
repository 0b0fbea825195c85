"""Paths, locks, control groups, processes, records: what the lab asks of the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from federation_lab import cgroups, processes, run
from federation_lab.errors import LabError
from federation_lab.locks import lock
from federation_lab.paths import check_home, resolve
from federation_lab.processes import Proc
from federation_lab.records import (
    Record,
    host_boot,
    is_running,
    read_record,
    read_records,
    write_record,
)


def test_paths_by_default_and_by_environment() -> None:
    user = Path("/home/u")
    found = resolve({}, user)
    assert (found.home, found.cache) == (
        user / ".local/share/federation-lab",
        user / ".cache/federation-lab",
    )
    other = resolve({"LAB_ID": "4", "LAB_CACHE": "/c"}, user)
    assert (other.home.name, other.cache, other.prefix) == ("federation-lab-4", Path("/c"), "lab4")
    assert resolve({"LAB_HOME": "/h", "LAB_ID": "4"}, user).home == Path("/h")


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"LAB_ID": "30"}, "from 0 to 29"),
        ({"LAB_ID": "x"}, "number"),
        ({"LAB_HOME": "h"}, "absolute"),
    ],
)
def test_refused_settings(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(LabError, match=reason):
        resolve(environ, Path("/home/u"))


def test_a_home_below_a_layer_is_refused(tmp_path: Path) -> None:
    check_home(tmp_path)
    with pytest.raises(LabError, match="below /var"):
        check_home(Path("/var/lib/lab"))


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    told: list[str] = []
    with (
        lock(tmp_path / "l"),
        pytest.raises(LabError, match="held"),
        lock(tmp_path / "l", timeout_s=0, waiting=lambda: told.append("waiting")),
    ):
        pass
    with lock(tmp_path / "l", timeout_s=0):
        pass


def test_the_hierarchy_with_a_freezer() -> None:
    v1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /f cgroup rw,freezer 0 0\n"
    v2 = "cgroup2 /u cgroup2 rw 0 0\n"
    assert cgroups.hierarchy(v1 + v2) == ("v2", "/u")
    assert cgroups.hierarchy(v1) == ("v1", "/f")
    assert cgroups.hierarchy(v1 + "cgroup2 /u cgroup2 ro 0 0\n") == ("v1", "/f")
    assert cgroups.hierarchy("proc /proc proc rw 0 0\n") == ("", "")


def test_without_control_groups_nothing_is_done() -> None:
    groups = cgroups.Groups("lab0", mounts="")
    assert groups.make("r", "m") is None
    assert groups.freeze("r", frozen=True) is False
    assert groups.processes() == set()
    groups.remove()


def test_a_process_and_a_later_one_with_its_number() -> None:
    own = os.getpid()
    started = processes.start_time(own)
    assert processes.is_alive(Proc(own, started))
    assert not processes.is_alive(Proc(own, started + 1))
    assert processes.start_time(0) == 0


def test_a_record_counts_for_this_boot_only() -> None:
    own = os.getpid()
    record = Record("r", "m", 1, 10, own, processes.start_time(own), host_boot())
    assert is_running(record)
    assert not is_running(Record("r", "m", 1, 10, own, record.started, "another boot"))
    assert not is_running(Record("r", "m", 1, 10))


def test_a_record_that_cannot_be_read_names_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    for text in ("{", '{"odd": 1}', "[]"):
        path.write_text(text)
        with pytest.raises(LabError, match="lab down"):
            read_record(path)


def test_programs_that_fail_or_are_missing() -> None:
    with pytest.raises(LabError, match="apt-get install"):
        run.run(["no-such-program-here"])
    with pytest.raises(LabError, match="exit status 1"):
        run.run(["false"])
    assert run.run(["false"], check=False).returncode == 1
    with pytest.raises(LabError, match="didn't end"):
        run.run(["sleep", "9"], timeout_s=0.01)


def test_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "d" / "f"
    run.write_atomically(path, "a")
    run.write_atomically(path, "b")
    assert path.read_text() == "b"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["f"]


def test_a_machine_that_is_destroyed_meanwhile_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = resolve({"LAB_HOME": str(tmp_path)}, tmp_path)
    assert list(read_records(lab)) == []
    for octet, name in enumerate(("here", "gone")):
        write_record(lab, Record("palermo", name, 1, octet))
    real = Path.read_text

    def read_text(path: Path) -> str:
        if path.parent.name == "gone":
            path.unlink()
        return real(path)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert [record.name for record in read_records(lab)] == ["here"]
