"""What is on disk of a machine: its record, and the layers over the host's directories."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from federation_lab.errors import LabError
from federation_lab.paths import LAYERED, Paths
from federation_lab.processes import Proc, is_alive
from federation_lab.run import write_atomically
from federation_lab.wanplan import Plan


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of a machine across processes.

    Attributes:
        region: its region.
        name: its name, and its host name.
        index: its region's number.
        octet: the last part of its address.
        pid: the host's PID of its init, 0 for none.
        started: the kernel's start time of that process, so that a reused PID isn't taken for it.
        boot: the host's boot, for the same reason.
        wanted: whether it is to be running.
    """

    region: str
    name: str
    index: int
    octet: int
    pid: int = 0
    started: int = 0
    boot: str = ""
    wanted: bool = True


def read_record(path: Path) -> Record:
    """Read a machine's record.

    Raises:
        LabError: it cannot be understood.
    """
    try:
        return Record(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise LabError(f"{path} cannot be read ({error}); `lab down` removes it") from error


def read_records(lab: Paths) -> Iterator[Record]:
    """Read every machine's record; one that is destroyed at this moment has none any more.

    Raises:
        LabError: one cannot be understood.
    """
    # Not Path.glob, which stumbles over a folder that goes away under it.
    for name in glob.glob("*/*/machine.json", root_dir=lab.machines):
        with contextlib.suppress(FileNotFoundError):
            yield read_record(lab.machines / name)


def is_running(record: Record) -> bool:
    """Say whether a record's init is there, and is that one."""
    if not record.pid or record.boot != host_boot():
        return False
    return is_alive(Proc(record.pid, record.started))


def write_record(lab: Paths, record: Record) -> None:
    """Put a machine's record on disk."""
    path = lab.machines / record.region / record.name / "machine.json"
    write_atomically(path, json.dumps(dataclasses.asdict(record), indent=2) + "\n")


def prepare_disk(lab: Paths, record: Record, plan: Plan) -> None:
    """Make a machine's empty disk, with what tells it from the host.

    Raises:
        LabError: the file system cannot hold layers.
    """
    directory = lab.machines / record.region / record.name
    shutil.rmtree(directory, ignore_errors=True)
    disk = directory / "disk"
    for layer in LAYERED:
        for part in ("upper", "work"):
            (disk / layer.strip("/") / part).mkdir(parents=True)
    (disk / "root").mkdir()
    # Not 0700: an interpreter that is exposed below it is for the services of all users.
    (disk / "root").chmod(0o711)
    etc = disk / "etc" / "upper"
    address = plan.address(record.index, record.octet)
    for name, text in {
        "hostname": f"{record.name}\n",
        "hosts": f"127.0.0.1 localhost\n::1 localhost\n{address} {record.name}\n",
        # A machine has no resolver but one that runs on it.
        "resolv.conf": "",
        "machine-id": f"{uuid.uuid4().hex}\n",
    }.items():
        (etc / name).write_text(text)
    # What is enabled on the host isn't enabled here: the directory starts empty.
    units = etc / "systemd" / "system"
    units.mkdir(parents=True)
    try:
        os.setxattr(units, "trusted.overlay.opaque", b"y")
    except OSError as error:
        raise LabError(
            f"{lab.home} is on a file system without the attributes that layers need "
            f"({error.strerror}); run as root, and set LAB_HOME to a directory on ext4, xfs, "
            "btrfs or tmpfs"
        ) from error


def host_boot() -> str:
    """Name the host's present boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
